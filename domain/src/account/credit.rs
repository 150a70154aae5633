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
//!
//! What a correction cannot take back, because it is spent, is carried by suspense and remembered as the deposit's
//! shortfall. When the deposit is posted again, its user repays that first.

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
    /// What suspense carries for it; nothing while it is posted.
    pub shortfall: Amount,
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
    /// Whose it is, if it is a user's. Who has not registered yet finds it when they do.
    pub user: Option<String>,
}

impl Credit {
    /// Of a deposit that nothing was heard of.
    pub const NONE: Credit = Credit { sequence: 0, holding: Holding::Nothing, shortfall: Amount::ZERO };

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
        let (mut shortfall, mut movements) = (self.shortfall, Vec::new());
        let holding = match (self.holding, heard.wanted) {
            (holding @ Holding::Pending(_), Wanted::Pending) | (holding @ Holding::Posted(_), Wanted::Posted) => {
                holding
            }
            (Holding::Nothing, wanted) => open(heard, wanted, &mut movements)?,
            (Holding::Pending(order), Wanted::Posted) => {
                movements.push(Transfer::Pending(order.clone()).post()?);
                Holding::Posted(order)
            }
            (Holding::Pending(order), Wanted::Nothing) => {
                movements.push(Transfer::Pending(order).void()?);
                Holding::Nothing
            }
            (Holding::Posted(order), wanted) => {
                shortfall = correct(&order, heard, available, &mut movements)?;
                open(heard, wanted, &mut movements)?
            }
        };
        if let Holding::Posted(order) = &holding {
            movements.extend(repay(order, heard, shortfall)?);
            shortfall = Amount::ZERO;
        }
        Ok((Credit { sequence: heard.sequence, holding, shortfall }, movements))
    }
}

/// A new transfer for the deposit: from custody to its user, or to suspense where it is nobody's.
fn open(heard: &Heard, wanted: Wanted, movements: &mut Vec<Movement>) -> Result<Holding, LedgerRefusal> {
    let asset = heard.money.asset;
    let credit = match &heard.user {
        Some(user) => Account::User { user: user.clone(), asset },
        None => Account::Suspense { asset },
    };
    let custody = Account::Custody { chain: heard.chain, asset };
    let order = heard.leg("credit", custody, credit, heard.money.amount);
    let (holding, movement) = match wanted {
        Wanted::Nothing => return Ok(Holding::Nothing),
        Wanted::Pending => (Holding::Pending(order.clone()), Transfer::pend(order)?),
        Wanted::Posted => (Holding::Posted(order.clone()), Transfer::post_at_once(order)?),
    };
    movements.push(movement);
    Ok(holding)
}

/// Takes a posted transfer back. What its user has spent meanwhile cannot be taken: it is returned, and suspense carries it.
fn correct(
    posted: &Order,
    heard: &Heard,
    available: Amount,
    movements: &mut Vec<Movement>,
) -> Result<Amount, LedgerRefusal> {
    let taken = if posted.credit.is_limited() { posted.amount.min(available) } else { posted.amount };
    let shortfall = posted.amount.minus(taken).unwrap_or(Amount::ZERO);
    let suspense = Account::Suspense { asset: posted.credit.asset() };
    for (leg, debit, amount) in [("correction", posted.credit.clone(), taken), ("shortfall", suspense, shortfall)] {
        if !amount.is_zero() {
            let credit = posted.debit.clone();
            movements.push(Transfer::post_at_once(Order {
                corrects: Some(posted.id.clone()),
                ..heard.leg(leg, debit, credit, amount)
            })?);
        }
    }
    Ok(shortfall)
}

/// The money is there again: its user had spent the shortfall before, so suspense gets that back.
fn repay(posted: &Order, heard: &Heard, shortfall: Amount) -> Result<Option<Movement>, LedgerRefusal> {
    if shortfall.is_zero() || !posted.credit.is_limited() {
        return Ok(None);
    }
    let suspense = Account::Suspense { asset: posted.credit.asset() };
    Transfer::post_at_once(heard.leg("repayment", posted.credit.clone(), suspense, shortfall)).map(Some)
}

impl Heard {
    /// One of the transfers that this fact leads to.
    fn leg(&self, leg: &str, debit: Account, credit: Account, amount: Amount) -> Order {
        Order {
            id: transfer_id(&self.deposit, &format!("{} {leg}", self.sequence)),
            debit,
            credit,
            amount,
            cause: self.deposit.clone(),
            corrects: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::ledger::Side;
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
    fn a_deposit_of_nobody_goes_to_suspense() {
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

    /// What `user:u:ETH` holds after facts; before each, it spends what is said. Suspense and custody go below nothing.
    fn holds(facts: &[(Wanted, i128)]) -> [i128; 3] {
        let (mut credit, mut books) = (Credit::NONE, [0_i128; 3]);
        let names = ["user:u:ETH", "suspense:ETH", "custody:1:ETH"];
        for (sequence, (wanted, spent)) in (1..).zip(facts) {
            books[0] -= spent;
            let available = Amount::new(books[0].unsigned_abs());
            let (next, movements) = credit.decide(&heard(sequence, *wanted, Some("u")), available).expect("decides");
            for movement in &movements {
                for entry in movement.entries() {
                    let at = names.iter().position(|name| *name == entry.account.to_string()).expect("a known account");
                    let sign = if entry.side == Side::Credit { 1 } else { -1 };
                    books[at] += sign * i128::try_from(entry.posted.units()).expect("small");
                    assert!(books[0] >= 0, "the limit holds after each movement");
                }
            }
            credit = next;
        }
        books
    }

    #[test]
    fn what_was_spent_before_a_deposit_was_reverted_is_repaid_when_it_is_seen_again() {
        let reverted = [(Wanted::Posted, 0), (Wanted::Nothing, 70)];
        assert_eq!(holds(&reverted), [0, -70, 0]);
        let again = [&reverted[..], &[(Wanted::Pending, 0), (Wanted::Posted, 0)]].concat();
        assert_eq!(holds(&again), [30, 0, -100], "70 were spent before: not 170 for a deposit of 100");
        assert_eq!(
            holds(&[&reverted[..], &[(Wanted::Posted, 0)]].concat()),
            [30, 0, -100],
            "without being pending first"
        );
        let taken_twice = [&again[..], &[(Wanted::Nothing, 30)]].concat();
        assert_eq!(holds(&taken_twice), [0, -100, 0]);
        assert_eq!(holds(&[&taken_twice[..], &[(Wanted::Posted, 0)]].concat()), [0, 0, -100], "all of it was spent");
    }

    #[test]
    fn what_suspense_carries_is_remembered_while_a_deposit_comes_and_goes() {
        let flicker = [(Wanted::Pending, 0), (Wanted::Nothing, 0)];
        let facts = [&[(Wanted::Posted, 0), (Wanted::Nothing, 70)], &flicker[..], &flicker[..]].concat();
        assert_eq!(holds(&facts), [0, -70, 0]);
        assert_eq!(holds(&[&facts[..], &[(Wanted::Posted, 0)]].concat()), [30, 0, -100]);
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
