//! The ledger as its users see it, and its movements as facts.

use domain::account::ledger::{Balance, LedgerRefusal, Movement, Transfer};
use domain::amount::{Amount, Money};
use domain::asset::Asset;
use domain::facts::core::{TRANSFER_PENDING, TRANSFER_POSTED, TRANSFER_VOIDED, TransferTold};
use guest::{Answer, Code, Command, Fact, Problem, Tx};
use serde::Serialize;

use crate::store;

const STATEMENT_MAX: i64 = 200;
const STATEMENT_USUAL: i64 = 50;

#[derive(Serialize)]
struct Balances {
    balances: Vec<Held>,
}

#[derive(Serialize)]
struct Held {
    asset: Asset,
    available: Amount,
    debits_pending: Amount,
    debits_posted: Amount,
    credits_pending: Amount,
    credits_posted: Amount,
}

#[derive(Serialize)]
struct Statement {
    entries: Vec<Line>,
    /// Pass it as `after` for what follows; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// One step of a transfer, from the side of the account.
#[derive(Serialize)]
pub struct Line {
    /// Counts the account's entries.
    pub position: i64,
    /// `tr_…`
    pub transfer: String,
    /// `debit` or `credit`.
    pub side: String,
    /// `pending`, `posted` or `voided`.
    pub phase: String,
    /// How much the transfer moves.
    pub amount: Amount,
    /// The account on the other side.
    pub counterpart: String,
    /// What it was done for.
    pub cause: String,
    /// Set on a correction: the transfer that it takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrects: Option<String>,
    /// RFC 3339.
    pub at: String,
}

/// `GET /core/v1/me/balances`
pub async fn balances(tx: &Tx<'_>, command: &Command) -> Result<Answer, Problem> {
    let accounts = store::balances(tx, &command.principal()?.id).await?;
    Ok(Answer::ok(&Balances { balances: accounts.into_iter().map(held).collect() }))
}

fn held((asset, balance): (Asset, Balance)) -> Held {
    Held {
        asset,
        available: balance.available(),
        debits_pending: balance.debits_pending,
        debits_posted: balance.debits_posted,
        credits_pending: balance.credits_pending,
        credits_posted: balance.credits_posted,
    }
}

/// `GET /core/v1/me/statement?asset&after&limit`
pub async fn statement(tx: &Tx<'_>, command: &Command) -> Result<Answer, Problem> {
    let code = command.query("asset").ok_or_else(|| Problem::validation("`asset` says which account, such as ETH"))?;
    let asset = Asset::parse(code).map_err(|unknown| Problem::validation(unknown.to_string()))?;
    let after = command.query_number("after", 0, 0..=i64::MAX)?;
    let limit = command.query_number("limit", STATEMENT_USUAL, 1..=STATEMENT_MAX)?;
    let user = command.principal()?.id.clone();
    let entries = store::lines(tx, &domain::account::Account::User { user, asset }, after, limit).await?;
    let is_full = entries.len() as i64 == limit;
    let next = entries.last().map(|line| line.position).filter(|_| is_full);
    Ok(Answer::ok(&Statement { entries, next }))
}

/// What is told of movements, in their order.
pub fn facts(movements: &[Movement]) -> Vec<Fact> {
    movements.iter().map(fact).collect()
}

fn fact(movement: &Movement) -> Fact {
    let kind = match movement.transfer {
        Transfer::Pending(_) => TRANSFER_PENDING,
        Transfer::Posted(_) => TRANSFER_POSTED,
        Transfer::Voided(_) => TRANSFER_VOIDED,
    };
    let order = movement.transfer.order();
    let told = TransferTold {
        transfer: order.id.clone(),
        debit: order.debit.to_string(),
        credit: order.credit.to_string(),
        money: Money::new(order.debit.asset(), order.amount),
        user: order.credit.user().or(order.debit.user()).map(str::to_owned),
        cause: order.cause.clone(),
        corrects: order.corrects.clone(),
    };
    Fact::new(kind, &order.id, &told)
}

/// What a client or the bridge is told when the ledger refuses.
pub fn refuse(refusal: LedgerRefusal) -> Problem {
    match refusal {
        LedgerRefusal::InsufficientFunds(_) => Problem::new(Code::InsufficientFunds, refusal.to_string()),
        LedgerRefusal::Resolved(_) => Problem::new(Code::InvalidState, refusal.to_string()),
        LedgerRefusal::Unbalanced(_) => Problem::validation(refusal.to_string()),
        LedgerRefusal::OutOfRange(_) => Problem::new(Code::AmountTooHigh, refusal.to_string()),
    }
}
