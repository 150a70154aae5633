//! The payloads on topic `payment`: invoices, and deposits seen on chain. Each fact about an invoice carries the whole
//! invoice as it then was, so that a reader needs no earlier one.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::amount::{Amount, Money};
use crate::asset::Asset;

/// [`InvoiceTold`]: it waits for money; subject of all these: the invoice.
pub const INVOICE_CREATED: &str = "payment.invoice.created";
/// [`InvoiceTold`]: enough was seen on chain, not confirmed yet.
pub const INVOICE_PROCESSING: &str = "payment.invoice.processing";
/// [`InvoiceTold`]: enough is confirmed.
pub const INVOICE_PAID: &str = "payment.invoice.paid";
/// [`InvoiceTold`]: not enough was seen in time. Money that still arrives is credited, and said by its deposit's facts.
pub const INVOICE_EXPIRED: &str = "payment.invoice.expired";
/// [`InvoiceTold`]: enough was seen, but it was not confirmed in time.
pub const INVOICE_INVALID: &str = "payment.invoice.invalid";
/// [`InvoiceTold`]: it had been paid, and the chain took a payment back.
pub const INVOICE_REVERTED: &str = "payment.invoice.reverted";

/// [`DepositTold`]: seen in a block; subject of all these: the deposit.
pub const DEPOSIT_DETECTED: &str = "payment.deposit.detected";
/// [`DepositTold`]: has the confirmations of its amount.
pub const DEPOSIT_CONFIRMED: &str = "payment.deposit.confirmed";
/// [`DepositTold`]: its block was dropped before it was confirmed.
pub const DEPOSIT_ORPHANED: &str = "payment.deposit.orphaned";
/// [`DepositTold`]: its block was dropped after it had been confirmed.
pub const DEPOSIT_REVERTED: &str = "payment.deposit.reverted";

/// An invoice at the moment of the fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InvoiceTold {
    /// `inv_…`
    pub invoice: String,
    /// The user who is paid.
    pub merchant: String,
    /// The merchant's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// What the merchant asked for.
    pub price: Price,
    /// What the payer owes on chain.
    pub due: Money,
    /// What was seen on chain, confirmed or not.
    pub received: Amount,
    /// The confirmed part of it.
    pub confirmed: Amount,
    /// What is remarkable about the sums; empty when everything is as asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional: Vec<Additional>,
    /// EIP-155 chain id.
    pub chain: u64,
    /// Where it is paid to, EIP-55.
    pub address: String,
    /// RFC 3339.
    pub expires_at: String,
    /// As the merchant gave it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

/// What an invoice asks for: in an asset, or in a currency whose rate was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// `EUR`, `USD`, or an asset's code.
    pub currency: Asset,
    /// In the currency's smallest unit: cents, wei.
    pub amount: Amount,
}

/// What is remarkable about an invoice's sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Additional {
    /// Something came, less than due less the tolerance.
    PaidPartial,
    /// More came than due.
    PaidOver,
    /// Something came after the invoice expired.
    PaidLate,
}

/// Money seen on chain at one of our addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DepositTold {
    /// `dep_…`, derived from chain, transaction and ordinal: the same payment is always the same deposit.
    pub deposit: String,
    /// How much of what.
    pub money: Money,
    /// EIP-155 chain id.
    pub chain: u64,
    /// Where it arrived, EIP-55.
    pub address: String,
    /// Hash of the chain's transaction.
    pub txid: String,
    /// Hash of the block that holds it.
    pub block: String,
    /// Height of that block.
    pub height: u64,
    /// Whose it is: the invoice's merchant, or the owner of the standing address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The invoice whose address it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<String>,
    /// What is now remarkable about that invoice's sums: how short, excess and late money is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional: Vec<Additional>,
}
