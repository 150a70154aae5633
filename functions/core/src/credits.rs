//! Deposits: what payment says of money on chain becomes transfers from custody to its user, or to suspense where there is
//! no such user.

use domain::account::credit::{Heard, Wanted};
use domain::facts::payment::{self, DepositTold};
use event::Event;
use guest::{Answer, Problem, Tx, now_ms, payload, sequence, subject, tell};

use crate::ledger::{facts, refuse};
use crate::store;

/// A fact about a deposit: `payment.deposit.detected`, `.confirmed`, `.orphaned` or `.reverted`.
pub async fn deposit(tx: &Tx<'_>, event: &Event) -> Result<Answer, Problem> {
    let heard = heard(tx, event).await?;
    let credit = store::credit(tx, &heard.deposit).await?;
    let available = store::available(tx, credit.holder()).await?;
    let (credit, movements) = credit.decide(&heard, available).map_err(refuse)?;
    store::save_credit(tx, &heard.deposit, &credit).await?;
    for movement in &movements {
        store::enter(tx, movement, now_ms()).await?;
    }
    Ok(tell(facts(&movements)))
}

async fn heard(tx: &Tx<'_>, event: &Event) -> Result<Heard, Problem> {
    let told: DepositTold = payload(event)?;
    if subject(event)? != told.deposit {
        return Err(Problem::validation("the event's subject is not its deposit"));
    }
    let user = match &told.user {
        Some(user) => store::user(tx, user).await?.map(|user| user.user),
        None => None,
    };
    let sequence = u64::try_from(sequence(event)?).map_err(|_| Problem::validation("a sequence counts from 1"))?;
    let wanted = wanted(&event.kind);
    Ok(Heard { deposit: told.deposit, sequence, wanted, money: told.money, chain: told.chain, user })
}

fn wanted(kind: &str) -> Wanted {
    match kind {
        payment::DEPOSIT_DETECTED => Wanted::Pending,
        payment::DEPOSIT_CONFIRMED => Wanted::Posted,
        _ => Wanted::Nothing,
    }
}
