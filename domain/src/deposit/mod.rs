//! Money seen on chain. What the chain shows comes in, what becomes of the deposit goes out:
//!
//! ```text
//! seen ──▶ Detected ──enough confirmations──▶ Confirmed
//!            │  ▲                               │
//!     block dropped │ seen again         block dropped
//!            ▼  │                               ▼
//!          Orphaned                          Reverted ──seen again──▶ Detected
//! ```

pub mod chain;
pub mod start;

use uuid::Uuid;

use crate::amount::Money;
use crate::asset::Confirmations;
use crate::facts::payment::{Additional, DepositTold};

/// Where on the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The block's hash.
    pub block: String,
    /// The block's number.
    pub height: u64,
}

/// One payment to one of our addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposit {
    /// What never changes about it.
    pub origin: Origin,
    /// How far it is.
    pub stage: Stage,
}

/// What identifies a deposit, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `dep_…`, by [`deposit_id`].
    pub id: String,
    /// How much of what.
    pub money: Money,
    /// EIP-155 chain id.
    pub chain: u64,
    /// Where it arrived, EIP-55.
    pub address: String,
    /// Hash of the chain's transaction.
    pub txid: String,
    /// The merchant of the invoice, or the owner of the standing address.
    pub user: Option<String>,
    /// The invoice whose address it is.
    pub invoice: Option<String>,
    /// Whether it came after its invoice had expired.
    pub is_late: bool,
}

/// How far a deposit is; each with the block where it was seen last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// In a block.
    Detected(Place),
    /// Deep enough for its amount.
    Confirmed(Place),
    /// Its block was dropped before it was confirmed.
    Orphaned(Place),
    /// Its block was dropped although it was confirmed.
    Reverted(Place),
}

/// What the chain shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// The payment is in this block.
    Seen(Place),
    /// The chain has grown to `head`; up to `finalized` nothing is dropped any more.
    Grown {
        /// Height of the newest block.
        head: u64,
        /// Height of the newest final block.
        finalized: u64,
    },
    /// This block is no longer on the chain.
    Dropped {
        /// Its hash.
        block: String,
    },
}

/// What is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// `payment.deposit.detected`
    Detected,
    /// `payment.deposit.confirmed`
    Confirmed,
    /// `payment.deposit.orphaned`
    Orphaned,
    /// `payment.deposit.reverted`
    Reverted,
}

/// A deposit on a chain that its asset is not placed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the deposit {0} is of an asset that its chain does not have")]
pub struct Misplaced(String);

/// The id of the `ordinal`-th payment of `asset` to `address` in a chain's transaction.
pub fn deposit_id(chain: u64, txid: &str, asset: &str, address: &str, ordinal: u32) -> String {
    let namespace = Uuid::new_v5(&Uuid::NAMESPACE_OID, b"till deposit");
    let name = format!("{chain}\n{txid}\n{asset}\n{address}\n{ordinal}");
    format!("dep_{}", Uuid::new_v5(&namespace, name.as_bytes()).simple())
}

impl Deposit {
    /// A payment that was never seen before.
    pub fn detect(origin: Origin, place: Place) -> (Deposit, Vec<Effect>) {
        (Deposit { origin, stage: Stage::Detected(place) }, vec![Effect::Detected])
    }

    /// What becomes of it.
    pub fn decide(self, happening: &Happening) -> Result<(Deposit, Vec<Effect>), Misplaced> {
        let (stage, effect) = match (self.stage, happening) {
            (Stage::Orphaned(_) | Stage::Reverted(_), Happening::Seen(place)) => {
                (Stage::Detected(place.clone()), Some(Effect::Detected))
            }
            (Stage::Detected(place), Happening::Grown { head, finalized }) => {
                if self.origin.is_confirmed(place.height, *head, *finalized)? {
                    (Stage::Confirmed(place), Some(Effect::Confirmed))
                } else {
                    (Stage::Detected(place), None)
                }
            }
            (Stage::Detected(place), Happening::Dropped { block }) if place.block == *block => {
                (Stage::Orphaned(place), Some(Effect::Orphaned))
            }
            (Stage::Confirmed(place), Happening::Dropped { block }) if place.block == *block => {
                (Stage::Reverted(place), Some(Effect::Reverted))
            }
            (stage, _) => (stage, None),
        };
        Ok((Deposit { origin: self.origin, stage }, effect.into_iter().collect()))
    }

    /// Where it was seen last.
    pub fn place(&self) -> &Place {
        match &self.stage {
            Stage::Detected(place) | Stage::Confirmed(place) | Stage::Orphaned(place) | Stage::Reverted(place) => place,
        }
    }

    /// The payload of a fact about it; `additional` is what is now remarkable about its invoice.
    pub fn told(&self, additional: Vec<Additional>) -> DepositTold {
        let (origin, place) = (&self.origin, self.place());
        DepositTold {
            deposit: origin.id.clone(),
            money: origin.money,
            chain: origin.chain,
            address: origin.address.clone(),
            txid: origin.txid.clone(),
            block: place.block.clone(),
            height: place.height,
            user: origin.user.clone(),
            invoice: origin.invoice.clone(),
            additional,
        }
    }
}

impl Origin {
    /// Confirmations count the deposit's own block as the first.
    fn is_confirmed(&self, height: u64, head: u64, finalized: u64) -> Result<bool, Misplaced> {
        let placement = self.money.asset.on(self.chain).ok_or_else(|| Misplaced(self.id.clone()))?;
        Ok(match placement.confirmations(self.money.amount) {
            Confirmations::Blocks(blocks) => (head + 1).saturating_sub(height) >= blocks,
            Confirmations::Finalized => finalized >= height,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::Amount;
    use crate::asset::Asset;

    const ETH: u128 = 1_000_000_000_000_000_000;

    fn deposit(units: u128) -> Deposit {
        let money = Money::new(Asset::parse("ETH").expect("listed"), Amount::new(units));
        let origin = Origin {
            id: "dep_1".into(),
            money,
            chain: 1,
            address: "0x".into(),
            txid: "0x1".into(),
            user: None,
            invoice: None,
            is_late: false,
        };
        Deposit::detect(origin, place("a", 10)).0
    }

    fn place(block: &str, height: u64) -> Place {
        Place { block: block.into(), height }
    }

    fn effects(deposit: Deposit, happenings: &[Happening]) -> Vec<Effect> {
        let mut told = Vec::new();
        happenings.iter().fold(deposit, |deposit, happening| {
            let (deposit, effects) = deposit.decide(happening).expect("is placed");
            told.extend(effects);
            deposit
        });
        told
    }

    fn grown(head: u64, finalized: u64) -> Happening {
        Happening::Grown { head, finalized }
    }

    // promise: DOMAIN: confirmations per amount tier, `finalized` for the highest
    #[test]
    fn a_deposit_is_confirmed_by_the_blocks_of_its_amount() {
        assert_eq!(effects(deposit(ETH), &[grown(14, 0)]), []);
        assert_eq!(effects(deposit(ETH), &[grown(14, 0), grown(15, 0), grown(16, 0)]), [Effect::Confirmed]);
        assert_eq!(effects(deposit(51 * ETH), &[grown(1_000, 9)]), []);
        assert_eq!(effects(deposit(51 * ETH), &[grown(1_000, 10)]), [Effect::Confirmed]);
    }

    // promise: DOMAIN: tells payment.deposit.detected, confirmed, orphaned and reverted
    #[test]
    fn a_dropped_block_orphans_or_reverts_and_the_payment_may_come_again() {
        let dropped = |block: &str| Happening::Dropped { block: block.into() };
        let seen = Happening::Seen(place("b", 11));
        let orphaned = [dropped("other"), dropped("a"), dropped("a"), seen.clone(), dropped("b")];
        assert_eq!(effects(deposit(1), &orphaned), [Effect::Orphaned, Effect::Detected, Effect::Orphaned]);
        let reverted = [grown(15, 0), dropped("a"), seen.clone(), grown(16, 0)];
        let expected = [Effect::Confirmed, Effect::Reverted, Effect::Detected, Effect::Confirmed];
        assert_eq!(effects(deposit(1), &reverted), expected);
    }

    #[test]
    fn a_payment_seen_twice_in_the_same_block_is_told_once() {
        assert_eq!(effects(deposit(1), &[Happening::Seen(place("a", 10))]), []);
    }

    // promise: DOMAIN: a repeat of a derived thing has the same id
    #[test]
    fn the_same_payment_has_the_same_id_and_another_output_another() {
        let id = |ordinal| deposit_id(1, "0x1", "ETH", "0xa", ordinal);
        assert_eq!(id(0), id(0));
        assert_ne!(id(0), id(1));
    }
}
