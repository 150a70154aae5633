//! One SQL for two databases: every statement of every function is prepared on SQLite and on PostgreSQL, over the tables that
//! the function's own migrations make.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tests::outside;
use tests::project;
use tests::skip::skip;
use tests::statements::{self, Statement};
use till::data::FUNCTIONS;

/// The scripts of what every function shares, then the function's own, in order.
fn migrations(function: &str) -> Vec<String> {
    let folders = ["guest/migrations".to_owned(), format!("functions/{function}/migrations")];
    folders.iter().flat_map(|folder| scripts(project::root().join(folder))).collect()
}

fn scripts(folder: PathBuf) -> Vec<String> {
    let entries = std::fs::read_dir(&folder).expect("a folder of migrations");
    let files: BTreeSet<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.into_iter().map(|file| std::fs::read_to_string(file).expect("a script")).collect()
}

fn report(function: &str, problems: Vec<String>) {
    assert!(problems.is_empty(), "{function}:\n{}", problems.join("\n"));
}

fn problem(statement: &Statement, reason: impl std::fmt::Display) -> String {
    format!("{}: {reason}\n    {}", statement.file, statement.sql)
}

// promise: DOMAIN: every statement runs on both databases
#[test]
fn every_statement_can_be_prepared_on_sqlite() {
    for function in FUNCTIONS {
        let db = rusqlite::Connection::open_in_memory().expect("SQLite is linked in");
        db.execute_batch(&statements::history()).expect("the history");
        migrations(function).iter().for_each(|script| db.execute_batch(script).expect("a migration runs"));
        let wrong = |statement: &Statement| db.prepare(&statement.sql).err().map(|error| problem(statement, error));
        report(function, statements::of(function).iter().filter_map(wrong).collect());
    }
}

// promise: DOMAIN: every statement runs on both databases
#[tokio::test(flavor = "multi_thread")]
async fn every_statement_can_be_prepared_on_postgresql() {
    let server = match outside::postgres() {
        Ok(server) => server,
        Err(lacks) => return skip("every_statement_can_be_prepared_on_postgresql", &lacks),
    };
    let urls = outside::databases(&server, &till::random::run_name()).await.expect("databases can be made");
    for (function, url) in urls {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("PostgreSQL");
        let connection = tokio::spawn(connection);
        client.batch_execute(&statements::history()).await.expect("the history");
        for script in migrations(&function) {
            client.batch_execute(&script).await.expect("a migration runs");
        }
        let mut wrong = Vec::new();
        for statement in statements::of(&function) {
            if let Err(error) = client.prepare(&statement.sql).await {
                let said = error.as_db_error().map_or_else(|| error.to_string(), |said| said.message().to_owned());
                wrong.push(problem(&statement, said));
            }
        }
        report(&function, wrong);
        drop(client);
        connection.await.ok();
    }
}

/// SQLite binds by first appearance and would swap `$2, $1` without a word.
#[test]
fn placeholders_are_numbered_in_order_of_their_first_appearance() {
    for function in FUNCTIONS {
        let swapped = |statement: &Statement| {
            let mut seen = 0;
            let numbers = statement.sql.split('$').skip(1).filter_map(|rest| {
                rest.split(|letter: char| !letter.is_ascii_digit()).next().and_then(|digits| digits.parse::<u32>().ok())
            });
            let in_order = numbers.into_iter().all(|number| {
                let fits = number <= seen + 1;
                seen = seen.max(number);
                fits
            });
            (!in_order).then(|| problem(statement, "placeholders out of order"))
        };
        report(function, statements::of(function).iter().filter_map(swapped).collect());
    }
}
