//! The payment function: invoices are opened for merchants, the chain is watched while anything is open, and what is seen on
//! it goes out as facts about deposits and invoices.

mod invoices;
mod look;
mod node;
mod rates;
mod settings;
mod store;
mod watch;

use guest::{Answer, Command, Db, Door, Function, Input, Problem, Tx};

struct Payment;

/// What was learned outside before the transaction.
enum Gathered {
    Nothing,
    Opening(Box<invoices::Opening>),
    Look(look::Glance),
}

impl Function for Payment {
    const NAME: &'static str = "payment";
    const MIGRATIONS: &'static [&'static str] = &[include_str!("../migrations/001.sql")];
    type Gathered = Gathered;

    fn door(&self, command: &Command) -> Door {
        if opens_invoice(command) { Door::Money } else { Door::Client }
    }

    async fn gather(&self, db: &Db, input: &Input) -> Result<Gathered, Problem> {
        match input {
            Input::Command(command) if opens_invoice(command) => {
                Ok(Gathered::Opening(Box::new(invoices::gather(command).await?)))
            }
            Input::Wake => Ok(Gathered::Look(look::gather(db).await?)),
            Input::Command(_) | Input::Event(_) => Ok(Gathered::Nothing),
        }
    }

    async fn handle(&self, tx: &Tx<'_>, input: &Input, gathered: &Gathered) -> Result<Answer, Problem> {
        match (input, gathered) {
            (Input::Command(command), Gathered::Opening(opening)) => invoices::open(tx, command, opening).await,
            (Input::Command(command), _) => obey(tx, command).await,
            (Input::Wake, Gathered::Look(glance)) => watch::apply(tx, glance).await,
            (Input::Wake | Input::Event(_), _) => Ok(Answer::no_content()),
        }
    }
}

#[spin_sdk::http_service]
async fn handle(request: spin_sdk::http::Request) -> impl spin_sdk::http::IntoResponse {
    guest::serve(Payment, request).await
}

fn opens_invoice(command: &Command) -> bool {
    let (method, path) = command.route();
    matches!((method, path.as_slice()), ("POST", ["v1", "invoices"]))
}

async fn obey(tx: &Tx<'_>, command: &Command) -> Result<Answer, Problem> {
    let (method, path) = command.route();
    match (method, path.as_slice()) {
        ("GET", ["v1", "invoices", id]) => invoices::show(tx, command, id).await,
        _ => Err(Problem::no_route()),
    }
}
