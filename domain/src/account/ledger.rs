//! Double entry in two phases. A transfer moves one asset from a debit to a credit account and is immutable: it is opened
//! pending or posted, and a pending one is resolved at most once.
//!
//! ```text
//! open ──▶ Pending ──post──▶ Posted
//!   │         └─────void──▶ Voided
//!   └───────────────────────▶ Posted
//! ```
//!
//! Each step is a [`Movement`], whose two [`Entry`]s change the four-number [`Balance`]s of both accounts.

use uuid::Uuid;

use super::Account;
use crate::amount::Amount;

/// What is to move, why, and under which id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// `tr_…`, derived by [`transfer_id`], so that a repeat is the same transfer.
    pub id: String,
    /// The account that gives.
    pub debit: Account,
    /// The account that receives, of the same asset.
    pub credit: Account,
    /// How much of the accounts' asset.
    pub amount: Amount,
    /// What it is done for: a deposit's id for instance.
    pub cause: String,
    /// On a correction: the transfer whose effect it takes back.
    pub corrects: Option<String>,
}

/// An order that was carried out, as far as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transfer {
    /// Reserved: the debit cannot be spent elsewhere, the credit cannot be spent yet.
    Pending(Order),
    /// It took effect.
    Posted(Order),
    /// It was released without effect.
    Voided(Order),
}

/// One step of a transfer: its state after the step, and whether the step opened it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// The state after the step.
    pub transfer: Transfer,
    /// Whether there was no such transfer before.
    pub opens: bool,
}

/// Which side of a transfer an account is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It gives.
    Debit,
    /// It receives.
    Credit,
}

/// One account's half of a movement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Whose balance changes.
    pub account: &'a Account,
    /// On which side.
    pub side: Side,
    /// Added to what is pending.
    pub pended: Amount,
    /// Taken from what is pending.
    pub released: Amount,
    /// Added to what is posted.
    pub posted: Amount,
}

/// What an account holds, as four sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// Reserved to leave.
    pub debits_pending: Amount,
    /// Has left.
    pub debits_posted: Amount,
    /// Announced, not spendable.
    pub credits_pending: Amount,
    /// Has come.
    pub credits_posted: Amount,
}

/// Why a step is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerRefusal {
    /// The account has a limit, and less than this is free.
    #[error("the account {0} has not enough funds")]
    InsufficientFunds(String),
    /// Only a pending transfer can be posted or voided, and only once.
    #[error("the transfer {0} is already resolved")]
    Resolved(String),
    /// Debit and credit must be two accounts of one asset, the amount above zero.
    #[error("the transfer {0} moves nothing between two accounts of one asset")]
    Unbalanced(String),
    /// A sum does not fit 128 bits, or more is released than was pending.
    #[error("the balance of {0} would leave its range")]
    OutOfRange(String),
}

/// The id of the transfer that does `leg` of `cause`: the same words give the same id.
pub fn transfer_id(cause: &str, leg: &str) -> String {
    let namespace = Uuid::new_v5(&Uuid::NAMESPACE_OID, b"till transfer");
    format!("tr_{}", Uuid::new_v5(&namespace, format!("{cause}\n{leg}").as_bytes()).simple())
}

impl Transfer {
    /// Reserves.
    pub fn pend(order: Order) -> Result<Movement, LedgerRefusal> {
        order.checked().map(|order| Movement { transfer: Transfer::Pending(order), opens: true })
    }

    /// Takes effect at once.
    pub fn post_at_once(order: Order) -> Result<Movement, LedgerRefusal> {
        order.checked().map(|order| Movement { transfer: Transfer::Posted(order), opens: true })
    }

    /// What was reserved takes effect.
    pub fn post(self) -> Result<Movement, LedgerRefusal> {
        self.pending().map(|order| Movement { transfer: Transfer::Posted(order), opens: false })
    }

    /// What was reserved is released.
    pub fn void(self) -> Result<Movement, LedgerRefusal> {
        self.pending().map(|order| Movement { transfer: Transfer::Voided(order), opens: false })
    }

    /// What was ordered.
    pub fn order(&self) -> &Order {
        match self {
            Transfer::Pending(order) | Transfer::Posted(order) | Transfer::Voided(order) => order,
        }
    }

    fn pending(self) -> Result<Order, LedgerRefusal> {
        match self {
            Transfer::Pending(order) => Ok(order),
            Transfer::Posted(order) | Transfer::Voided(order) => Err(LedgerRefusal::Resolved(order.id)),
        }
    }
}

impl Order {
    fn checked(self) -> Result<Self, LedgerRefusal> {
        let same_asset = self.debit.asset() == self.credit.asset();
        if self.amount.is_zero() || !same_asset || self.debit == self.credit {
            return Err(LedgerRefusal::Unbalanced(self.id));
        }
        Ok(self)
    }
}

impl Movement {
    /// Both halves, in the order of their accounts' names, which is the order in which accounts are touched.
    pub fn entries(&self) -> [Entry<'_>; 2] {
        let order = self.transfer.order();
        let (pended, released, posted) = self.amounts();
        let half = |account, side| Entry { account, side, pended, released, posted };
        let mut entries = [half(&order.debit, Side::Debit), half(&order.credit, Side::Credit)];
        entries.sort_by_key(|entry| entry.account.to_string());
        entries
    }

    fn amounts(&self) -> (Amount, Amount, Amount) {
        let (none, all) = (Amount::ZERO, self.transfer.order().amount);
        match (&self.transfer, self.opens) {
            (Transfer::Pending(_), _) => (all, none, none),
            (Transfer::Posted(_), true) => (none, none, all),
            (Transfer::Posted(_), false) => (none, all, all),
            (Transfer::Voided(_), _) => (none, all, none),
        }
    }
}

impl Balance {
    /// What may be spent: posted credits less all debits, pending ones too.
    pub fn available(&self) -> Amount {
        let free = self.credits_posted.minus(self.debits_posted).and_then(|free| free.minus(self.debits_pending));
        free.unwrap_or(Amount::ZERO)
    }

    /// The balance after one entry, or why it cannot be.
    pub fn after(self, entry: &Entry) -> Result<Balance, LedgerRefusal> {
        let out_of_range = || LedgerRefusal::OutOfRange(entry.account.to_string());
        let (pending, posted) = match entry.side {
            Side::Debit => (self.debits_pending, self.debits_posted),
            Side::Credit => (self.credits_pending, self.credits_posted),
        };
        let pending = pending.plus(entry.pended).and_then(|sum| sum.minus(entry.released)).ok_or_else(out_of_range)?;
        let posted = posted.plus(entry.posted).ok_or_else(out_of_range)?;
        let after = match entry.side {
            Side::Debit => Balance { debits_pending: pending, debits_posted: posted, ..self },
            Side::Credit => Balance { credits_pending: pending, credits_posted: posted, ..self },
        };
        if entry.account.is_limited() && !after.holds_limit() {
            return Err(LedgerRefusal::InsufficientFunds(entry.account.to_string()));
        }
        Ok(after)
    }

    /// Debits, pending ones counted, do not exceed posted credits.
    pub fn holds_limit(&self) -> bool {
        self.debits_posted.plus(self.debits_pending).is_some_and(|debits| debits <= self.credits_posted)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::chance::Chance;

    fn order(id: &str, debit: &str, credit: &str, units: u128) -> Order {
        let account = |name| Account::parse(name).expect("account");
        let (debit, credit) = (account(debit), account(credit));
        Order { id: id.into(), debit, credit, amount: Amount::new(units), cause: "test".into(), corrects: None }
    }

    #[derive(Default)]
    struct Books(BTreeMap<String, Balance>);

    impl Books {
        fn take(&mut self, movement: &Movement) -> Result<(), LedgerRefusal> {
            let mut after = self.0.clone();
            for entry in movement.entries() {
                let balance = after.entry(entry.account.to_string()).or_default();
                *balance = balance.after(&entry)?;
            }
            self.0 = after;
            Ok(())
        }

        fn of(&self, account: &str) -> Balance {
            self.0.get(account).copied().unwrap_or_default()
        }
    }

    // promise: DOMAIN: a pending credit is not spendable
    #[test]
    fn a_pending_credit_is_not_spendable_until_it_is_posted() {
        let mut books = Books::default();
        let deposit = Transfer::pend(order("a", "custody:1:ETH", "user:u:ETH", 10)).expect("opens");
        let spend = Transfer::post_at_once(order("b", "user:u:ETH", "user:v:ETH", 10)).expect("opens");
        books.take(&deposit).expect("taken");
        assert_eq!(books.take(&spend), Err(LedgerRefusal::InsufficientFunds("user:u:ETH".into())));
        books.take(&deposit.transfer.post().expect("pending")).expect("taken");
        books.take(&spend).expect("now there are funds");
        assert_eq!(books.of("user:u:ETH").available(), Amount::ZERO);
        assert_eq!(books.of("user:v:ETH").available(), Amount::new(10));
    }

    #[test]
    fn a_pending_debit_reserves_at_once_and_a_void_releases_it() {
        let mut books = Books::default();
        books
            .take(&Transfer::post_at_once(order("a", "custody:1:ETH", "user:u:ETH", 10)).expect("opens"))
            .expect("taken");
        let hold = Transfer::pend(order("b", "user:u:ETH", "custody:1:ETH", 7)).expect("opens");
        books.take(&hold).expect("taken");
        assert_eq!(books.of("user:u:ETH").available(), Amount::new(3));
        let second = Transfer::pend(order("c", "user:u:ETH", "custody:1:ETH", 4)).expect("opens");
        assert!(books.take(&second).is_err(), "pending debits count against the limit");
        books.take(&hold.transfer.void().expect("pending")).expect("taken");
        assert_eq!(books.of("user:u:ETH").available(), Amount::new(10));
    }

    #[test]
    fn a_transfer_is_resolved_at_most_once() {
        let posted = Transfer::pend(order("a", "custody:1:ETH", "user:u:ETH", 1)).expect("opens").transfer.post();
        let posted = posted.expect("pending").transfer;
        assert_eq!(posted.clone().post(), Err(LedgerRefusal::Resolved("a".into())));
        assert_eq!(posted.void(), Err(LedgerRefusal::Resolved("a".into())));
    }

    #[test]
    fn nothing_moves_within_an_account_or_between_assets_or_by_zero() {
        for wrong in [
            order("a", "suspense:ETH", "suspense:ETH", 1),
            order("a", "suspense:ETH", "suspense:USDC", 1),
            order("a", "custody:1:ETH", "suspense:ETH", 0),
        ] {
            assert_eq!(Transfer::pend(wrong.clone()), Err(LedgerRefusal::Unbalanced("a".into())));
            assert_eq!(Transfer::post_at_once(wrong), Err(LedgerRefusal::Unbalanced("a".into())));
        }
    }

    // promise: DOMAIN: a repeat of a derived thing has the same id
    #[test]
    fn a_repeat_has_the_same_id_and_another_leg_another() {
        assert_eq!(transfer_id("dep_1", "2"), transfer_id("dep_1", "2"));
        assert_ne!(transfer_id("dep_1", "2"), transfer_id("dep_1", "3"));
    }

    // promise: DOMAIN: double entry: debits equal credits, and user accounts keep debits ≤ credits, pending ones counted
    #[test]
    fn whatever_is_tried_debits_equal_credits_and_limits_hold() {
        let mut chance = Chance::new("whatever_is_tried_debits_equal_credits_and_limits_hold");
        let names = ["user:a:ETH", "user:b:ETH", "custody:1:ETH", "suspense:ETH"];
        let (mut books, mut open) = (Books::default(), Vec::new());
        for step in 0..2_000 {
            let movement = match chance.below(3) {
                0 if !open.is_empty() => {
                    let transfer: Transfer = open.swap_remove(chance.below(open.len()));
                    if chance.below(2) == 0 { transfer.post() } else { transfer.void() }
                }
                kind => {
                    let (debit, credit) = (names[chance.below(4)], names[chance.below(4)]);
                    let order = order(&step.to_string(), debit, credit, chance.below(100) as u128);
                    if kind == 1 { Transfer::pend(order) } else { Transfer::post_at_once(order) }
                }
            };
            let Ok(movement) = movement else { continue };
            if books.take(&movement).is_err() {
                continue;
            }
            if let Transfer::Pending(_) = movement.transfer {
                open.push(movement.transfer);
            }
            let sum =
                |part: fn(&Balance) -> Amount| books.0.values().map(|balance| part(balance).units()).sum::<u128>();
            assert_eq!(sum(|balance| balance.debits_posted), sum(|balance| balance.credits_posted), "step {step}");
            assert_eq!(sum(|balance| balance.debits_pending), sum(|balance| balance.credits_pending), "step {step}");
            assert!(books.of("user:a:ETH").holds_limit() && books.of("user:b:ETH").holds_limit(), "step {step}");
        }
    }
}
