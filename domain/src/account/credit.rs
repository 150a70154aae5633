//! What the ledger holds for a deposit. Facts about a deposit come in any order; only one with a higher sequence than the
//! last counts, and it says what should be held. The decision is the shortest way from what is held to that:
//!
//! ```text
//!              detected              confirmed
//! Nothing ────────────────▶ Pending ───────────▶ Posted
//!    ▲  └──────────── confirmed ────────────────▲  │
//!    ├───────── orphaned: void ────────┘           │
//!    └───────── reverted: correcting transfer ─────┘
//! ```

use super::Account;
use super::ledger::{LedgerRefusal, Movement, Order, Transfer, transfer_id};
use crate::amount::{Amount, Money};

/// What is held for one deposit, and the sequence of the fact that said so (0: none was heard).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    /// The highest sequence heard.
    pub sequence: u64,
    /// What is held since then.
    pub holding: Holding,
}

/// What is held for a deposit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// Nothing, not yet or not any more.
    Nothing,
    /// A transfer that waits for confirmation.
    Pending(Order),
    /// A transfer that took effect.
    Posted(Order),
}

/// What a fact about a deposit asks of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Orphaned, reverted: the money is not there.
    Nothing,
    /// Detected: it is announced.
    Pending,
    /// Confirmed: it is there.
    Posted,
}

/// A fact about a deposit, as far as the ledger cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// `dep_…`
    pub deposit: String,
    /// Of the deposit's facts.
    pub sequence: u64,
    /// What it asks for.
    pub wanted: Wanted,
    /// How much arrived.
    pub money: Money,
    /// On which chain.
    pub chain: u64,
    /// Whose it is, if that is a user we know.
    pub user: Option<String>,
}

impl Credit {
    /// Of a deposit that nothing was heard of.
    pub const NONE: Credit = Credit { sequence: 0, holding: Holding::Nothing };

    /// The account whose available money a correction would take.
    pub fn holder(&self) -> Option<&Account> {
        match &self.holding {
            Holding::Posted(order) => Some(&order.credit),
            Holding::Nothing | Holding::Pending(_) => None,
        }
    }

    /// What is held after a fact, and the movements that lead there. `available` is what [`Credit::holder`] could spend.
    pub fn decide(self, heard: &Heard, available: Amount) -> Result<(Credit, Vec<Movement>), LedgerRefusal> {
        if heard.sequence <= self.sequence {
            return Ok((self, Vec::new()));
        }
        let (holding, movements) = match (self.holding, heard.wanted) {
            (Holding::Nothing, Wanted::Nothing) => (Holding::Nothing, Vec::new()),
            (holding @ Holding::Pending(_), Wanted::Pending) | (holding @ Holding::Posted(_), Wanted::Posted) => {
                (holding, Vec::new())
            }
            (Holding::Nothing, wanted) => open(heard, wanted)?,
            (Holding::Pending(order), Wanted::Posted) => {
                (Holding::Posted(order.clone()), vec![Transfer::Pending(order).post()?])
            }
            (Holding::Pending(order), Wanted::Nothing) => (Holding::Nothing, vec![Transfer::Pending(order).void()?]),
            (Holding::Posted(order), wanted) => {
                let mut movements = correct(&order, heard, available)?;
                let (holding, opened) = open(heard, wanted)?;
                movements.extend(opened);
                (holding, movements)
            }
        };
        Ok((Credit { sequence: heard.sequence, holding }, movements))
    }
}

/// A new transfer for the deposit: from custody to its user, or to suspense where we know none.
fn open(heard: &Heard, wanted: Wanted) -> Result<(Holding, Vec<Movement>), LedgerRefusal> {
    let asset = heard.money.asset;
    let credit = match &heard.user {
        Some(user) => Account::User { user: user.clone(), asset },
        None => Account::Suspense { asset },
    };
    let order = Order {
        id: transfer_id(&heard.deposit, &format!("{} credit", heard.sequence)),
        debit: Account::Custody { chain: heard.chain, asset },
        credit,
        amount: heard.money.amount,
        cause: heard.deposit.clone(),
        corrects: None,
    };
    Ok(match wanted {
        Wanted::Nothing => (Holding::Nothing, Vec::new()),
        Wanted::Pending => (Holding::Pending(order.clone()), vec![Transfer::pend(order)?]),
        Wanted::Posted => (Holding::Posted(order.clone()), vec![Transfer::post_at_once(order)?]),
    })
}

/// Takes a posted transfer back. What its user has spent meanwhile cannot be taken: suspense carries it, for an operator.
fn correct(posted: &Order, heard: &Heard, available: Amount) -> Result<Vec<Movement>, LedgerRefusal> {
    let taken = if posted.credit.is_limited() { posted.amount.min(available) } else { posted.amount };
    let shortfall = posted.amount.minus(taken).unwrap_or(Amount::ZERO);
    let suspense = Account::Suspense { asset: posted.credit.asset() };
    let legs = [("correction", posted.credit.clone(), taken), ("shortfall", suspense, shortfall)];
    let moving = legs.into_iter().filter(|(_, _, amount)| !amount.is_zero());
    let correction = |(leg, debit, amount): (&str, Account, Amount)| {
        Transfer::post_at_once(Order {
            id: transfer_id(&heard.deposit, &format!("{} {leg}", heard.sequence)),
            debit,
            credit: posted.debit.clone(),
            amount,
            cause: heard.deposit.clone(),
            corrects: Some(posted.id.clone()),
        })
    };
    moving.map(correction).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asset::Asset;
    use crate::chance::Chance;

    fn heard(sequence: u64, wanted: Wanted, user: Option<&str>) -> Heard {
        let money = Money::new(Asset::parse("ETH").expect("listed"), Amount::new(100));
        Heard { deposit: "dep_1".into(), sequence, wanted, money, chain: 1, user: user.map(str::to_owned) }
    }

    fn told(movements: &[Movement]) -> Vec<String> {
        let line = |movement: &Movement| {
            let order = movement.transfer.order();
            let state = match movement.transfer {
                Transfer::Pending(_) => "pending",
                Transfer::Posted(_) => "posted",
                Transfer::Voided(_) => "voided",
            };
            format!("{state} {} {} → {}", order.amount, order.debit, order.credit)
        };
        movements.iter().map(line).collect()
    }

    fn after(facts: &[Heard], available: u128) -> (Credit, Vec<String>) {
        let mut credit = Credit::NONE;
        let mut lines = Vec::new();
        for fact in facts {
            let (next, movements) = credit.decide(fact, Amount::new(available)).expect("decides");
            lines.extend(told(&movements));
            credit = next;
        }
        (credit, lines)
    }

    // promise: DOMAIN: core hears payment.deposit.detected and confirmed: a pending credit, then its post
    #[test]
    fn a_deposit_is_pending_and_then_posted() {
        let (_, lines) = after(&[heard(1, Wanted::Pending, Some("u")), heard(2, Wanted::Posted, Some("u"))], 0);
        assert_eq!(lines, ["pending 100 custody:1:ETH → user:u:ETH", "posted 100 custody:1:ETH → user:u:ETH"]);
    }

    // promise: DOMAIN: a reader takes state only from a higher sequence, and never waits for a missing one
    #[test]
    fn confirmed_before_detected_still_ends_right() {
        let (credit, lines) = after(&[heard(2, Wanted::Posted, Some("u")), heard(1, Wanted::Pending, Some("u"))], 0);
        assert_eq!(lines, ["posted 100 custody:1:ETH → user:u:ETH"]);
        assert_eq!(credit.sequence, 2);
    }

    #[test]
    fn a_deposit_of_nobody_we_know_goes_to_suspense() {
        let (_, lines) = after(&[heard(1, Wanted::Posted, None), heard(2, Wanted::Nothing, None)], 0);
        assert_eq!(lines, ["posted 100 custody:1:ETH → suspense:ETH", "posted 100 suspense:ETH → custody:1:ETH"]);
    }

    #[test]
    fn an_orphaned_deposit_is_voided_and_may_come_again() {
        let facts = [Wanted::Pending, Wanted::Nothing, Wanted::Pending, Wanted::Posted];
        let facts: Vec<Heard> = (1..).zip(facts).map(|(at, wanted)| heard(at, wanted, Some("u"))).collect();
        let (_, lines) = after(&facts, 0);
        let states: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(states, ["pending", "voided", "pending", "posted"]);
    }

    // promise: DOMAIN: a reverted deposit is taken back by a correcting transfer
    #[test]
    fn a_reverted_deposit_is_taken_back_and_what_was_spent_is_carried_by_suspense() {
        let facts = [heard(1, Wanted::Posted, Some("u")), heard(2, Wanted::Nothing, Some("u"))];
        assert_eq!(after(&facts, 100).1[1..], ["posted 100 user:u:ETH → custody:1:ETH"]);
        let spent = ["posted 30 user:u:ETH → custody:1:ETH", "posted 70 suspense:ETH → custody:1:ETH"];
        assert_eq!(after(&facts, 30).1[1..], spent);
    }

    // promise: DOMAIN: a reader takes each (source, id) once, whatever the order
    #[test]
    fn in_any_order_and_number_the_last_fact_decides_what_is_held() {
        let mut chance = Chance::new("in_any_order_and_number_the_last_fact_decides_what_is_held");
        let kinds = [Wanted::Nothing, Wanted::Pending, Wanted::Posted];
        for round in 0..500 {
            let facts: Vec<Heard> = (1..=6).map(|at| heard(at, kinds[chance.below(3)], Some("u"))).collect();
            let mut heard_facts: Vec<Heard> = (0..12).map(|_| facts[chance.below(6)].clone()).collect();
            heard_facts.push(facts[5].clone());
            let (credit, _) = after(&heard_facts, 100);
            let held = match credit.holding {
                Holding::Nothing => Wanted::Nothing,
                Holding::Pending(_) => Wanted::Pending,
                Holding::Posted(_) => Wanted::Posted,
            };
            assert_eq!((held, credit.sequence), (facts[5].wanted, 6), "round {round}");
        }
    }
}
