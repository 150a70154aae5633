//! Deposits: what payment says of money on chain becomes transfers from custody to its user, registered or not, or to
//! suspense where it is nobody's.

use domain::account::credit::{Heard, Wanted};
use domain::facts::payment::{self, DepositTold};
use event::Event;
use guest::{Answer, Problem, Tx, now_ms, payload, sequence, subject, tell};

use crate::ledger::{facts, refuse};
use crate::store;

/// A fact about a deposit: `payment.deposit.detected`, `.confirmed`, `.orphaned` or `.reverted`.
pub async fn deposit(tx: &Tx<'_>, event: &Event) -> Result<Answer, Problem> {
    let heard = heard(event)?;
    let credit = store::credit(tx, &heard.deposit).await?;
    let available = store::available(tx, credit.holder()).await?;
    let (credit, movements) = credit.decide(&heard, available).map_err(refuse)?;
    store::save_credit(tx, &heard.deposit, &credit).await?;
    for movement in &movements {
        store::enter(tx, movement, now_ms()).await?;
    }
    Ok(tell(facts(&movements)))
}

fn heard(event: &Event) -> Result<Heard, Problem> {
    let told: DepositTold = payload(event)?;
    if subject(event)? != told.deposit {
        return Err(Problem::validation("the event's subject is not its deposit"));
    }
    let sequence = u64::try_from(sequence(event)?).map_err(|_| Problem::validation("a sequence counts from 1"))?;
    let wanted = wanted(&event.kind);
    // Whoever has not registered yet owns it all the same: an account is named by its owner and needs no row of users.
    let user = told.user.filter(|user| !user.is_empty());
    Ok(Heard { deposit: told.deposit, sequence, wanted, money: told.money, chain: told.chain, user })
}

fn wanted(kind: &str) -> Wanted {
    match kind {
        payment::DEPOSIT_DETECTED => Wanted::Pending,
        payment::DEPOSIT_CONFIRMED => Wanted::Posted,
        _ => Wanted::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use domain::account::credit::Credit;
    use domain::amount::Amount;

    use super::*;

    fn confirmed(user: &str) -> Event {
        let data = format!(
            r#"{{"deposit":"dep_1","money":{{"asset":"ETH","amount":"100"}},"chain":1,"address":"0x","txid":"0x1",
                "block":"0xb","height":7{user}}}"#
        );
        Event {
            id: "1".into(),
            source: "/till/payment".into(),
            kind: payment::DEPOSIT_CONFIRMED.into(),
            subject: Some("dep_1".into()),
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: [("sequence".into(), "2".into())].into(),
            data: Some(data.into_bytes().into()),
        }
    }

    fn receiver(user: &str) -> String {
        let heard = heard(&confirmed(user)).expect("a fact of payment");
        let (_, movements) = Credit::NONE.decide(&heard, Amount::ZERO).expect("decides");
        movements[0].transfer.order().credit.to_string()
    }

    #[test]
    fn a_deposit_is_its_users_before_they_register() {
        assert_eq!(receiver(r#","user":"shop-1""#), "user:shop-1:ETH");
    }

    #[test]
    fn a_deposit_of_nobody_goes_to_suspense() {
        assert_eq!(receiver(""), "suspense:ETH");
        assert_eq!(receiver(r#","user":"""#), "suspense:ETH");
    }
}
