//! The payloads on topic `core`: users, transfers of the ledger, and proofs of it.

use serde::{Deserialize, Serialize};

use crate::amount::{Amount, Money};
use crate::asset::Asset;

/// [`UserRegistered`]; subject: the user.
pub const USER_REGISTERED: &str = "core.user.registered";
/// [`TransferTold`]: reserved, not spendable yet; subject: the transfer.
pub const TRANSFER_PENDING: &str = "core.transfer.pending";
/// [`TransferTold`]: it took effect; subject: the transfer.
pub const TRANSFER_POSTED: &str = "core.transfer.posted";
/// [`TransferTold`]: what was reserved is released, nothing moved; subject: the transfer.
pub const TRANSFER_VOIDED: &str = "core.transfer.voided";
/// [`LedgerVerified`]; subject: [`LEDGER`].
pub const LEDGER_VERIFIED: &str = "core.ledger.verified";
/// [`LedgerBroken`]; subject: [`LEDGER`].
pub const LEDGER_BROKEN: &str = "core.ledger.broken";

/// The subject of facts about the ledger as a whole.
pub const LEDGER: &str = "ledger";

/// A principal became a user. The only event that carries an e-mail address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserRegistered {
    /// The `sub` of the user's tokens; invoices and accounts name their owner by it.
    pub user: String,
    /// Where mail is sent.
    pub email: String,
    /// BCP 47 tag, such as `en` or `de-AT`.
    pub locale: String,
}

/// One movement of money between two accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TransferTold {
    /// `tr_…`
    pub transfer: String,
    /// Account that gives, such as `custody:31337:ETH`.
    pub debit: String,
    /// Account that receives, such as `user:usr_1:ETH`.
    pub credit: String,
    /// What moves.
    pub money: Money,
    /// The user whose balance changes, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it is done for: the deposit's id for instance.
    pub cause: String,
    /// Set on a correction: the transfer whose effect it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrects: Option<String>,
}

/// The ledger was summed and everything holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LedgerVerified {
    /// How many transfers were summed.
    pub transfers: u64,
    /// How many accounts were compared with their transfers.
    pub accounts: u64,
    /// The sums that were found equal.
    pub assets: Vec<AssetProof>,
}

/// Debits and credits of one asset, over all accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AssetProof {
    /// Which asset.
    pub asset: Asset,
    /// Posted debits of all accounts.
    pub debits: Amount,
    /// Posted credits of all accounts.
    pub credits: Amount,
}

/// The ledger was summed and something does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LedgerBroken {
    /// Everything that was found, at most 100 of them.
    pub findings: Vec<Finding>,
}

/// One thing that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// `unbalanced`, `account-differs`, `limit-exceeded`, `resolved-twice`, `resolved-without-pending`.
    pub code: String,
    /// The asset, account or transfer that it is about.
    pub about: String,
    /// The numbers, for people.
    pub detail: String,
}
