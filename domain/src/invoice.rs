//! A request to be paid. What has come in and what time it is come in, the invoice's next stage and its facts go out:
//!
//! ```text
//! New ──enough seen──▶ Processing ──enough confirmed──▶ Paid
//!  │ ◀──a payment vanished──┤ ◀────────reverted──────────┘ (or to New, Expired)
//!  └─time is up─▶ Expired   └─a day after expiry─▶ Invalid
//! ```
//!
//! Expired and Invalid are final: money that still arrives is credited to the merchant, and said by its deposit's facts.

pub mod request;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::amount::{Amount, Money};
use crate::facts::payment::{self, Additional, InvoiceTold, Price};

/// How long after its expiry an invoice's address is still watched.
pub const MONITORING_MS: i64 = 24 * 60 * 60 * 1000;
/// Basis points in a whole.
const BPS: u128 = 10_000;

/// An invoice: what was agreed, what has come, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// What never changes about it.
    pub terms: Terms,
    /// What has come.
    pub sums: Sums,
    /// How far it is.
    pub stage: Stage,
}

/// What was agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// `inv_…`
    pub id: String,
    /// The user who is paid.
    pub merchant: String,
    /// The merchant's own reference.
    pub order_id: Option<String>,
    /// What the merchant asked for.
    pub price: Price,
    /// What the payer owes.
    pub due: Money,
    /// The rate that made the one the other: currency for one whole unit of the asset, as decimal text.
    pub rate: Option<String>,
    /// How much less than due is enough.
    pub tolerance_bps: u32,
    /// EIP-155 chain id.
    pub chain: u64,
    /// Where it is paid to, EIP-55.
    pub address: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Money seen from then on is late.
    pub expires_ms: i64,
    /// As the merchant gave it.
    pub metadata: Map<String, Value>,
}

/// How far an invoice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits for money until it expires.
    New,
    /// Enough was seen; it waits for confirmations until its monitoring ends.
    Processing,
    /// Enough is confirmed.
    Paid {
        /// Since when.
        at_ms: i64,
    },
    /// Not enough was seen in time.
    Expired,
    /// Enough was seen, but never confirmed.
    Invalid,
}

/// A deposit of the invoice's asset, as far as the invoice cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    /// How much.
    pub amount: Amount,
    /// Whether it has its confirmations.
    pub is_confirmed: bool,
    /// Whether it came after expiry.
    pub is_late: bool,
}

/// What came: the one place where payments are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Seen in time, confirmed or not.
    pub in_time: Amount,
    /// The confirmed part of it.
    pub in_time_confirmed: Amount,
    /// Seen after expiry, confirmed or not.
    pub late: Amount,
    /// The confirmed part of it.
    pub late_confirmed: Amount,
}

/// The chain was looked at, up to its tip: these payments are on it, and it is that late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// All payments that are on the chain.
    pub payments: Vec<Payment>,
    /// Milliseconds since 1970.
    pub now_ms: i64,
}

/// A fact that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It waits for money.
    Created,
    /// Enough was seen.
    Processing,
    /// Enough is confirmed.
    Paid,
    /// Not enough was seen in time.
    Expired,
    /// Not confirmed in time.
    Invalid,
    /// It is not paid any more.
    Reverted,
}

/// Why a happening is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvoiceRefusal {
    /// The payments do not fit 128 bits together.
    #[error("the invoice's payments add up to more than an amount can say")]
    OutOfRange,
}

impl Invoice {
    /// A new one.
    pub fn open(terms: Terms) -> (Invoice, Vec<Effect>) {
        (Invoice { terms, sums: Sums::default(), stage: Stage::New }, vec![Effect::Created])
    }

    /// Where it stands after the chain was looked at.
    pub fn decide(self, happening: &Happening) -> Result<(Invoice, Vec<Effect>), InvoiceRefusal> {
        let sums = Sums::of(&happening.payments).ok_or(InvoiceRefusal::OutOfRange)?;
        let stage = self.next(&sums, happening.now_ms);
        let effects = effects(self.stage, stage);
        Ok((Invoice { terms: self.terms, sums, stage }, effects))
    }

    fn next(&self, sums: &Sums, now_ms: i64) -> Stage {
        let enough = self.terms.enough();
        match self.stage {
            Stage::Expired | Stage::Invalid => self.stage,
            Stage::Paid { .. } if sums.in_time_confirmed >= enough => self.stage,
            _ if sums.in_time_confirmed >= enough => Stage::Paid { at_ms: now_ms },
            _ if sums.in_time >= enough && now_ms < self.terms.watched_until_ms() => Stage::Processing,
            _ if sums.in_time >= enough => Stage::Invalid,
            _ if now_ms < self.terms.expires_ms => Stage::New,
            _ => Stage::Expired,
        }
    }

    /// When it must be looked at although nothing comes.
    pub fn due_ms(&self) -> Option<i64> {
        match self.stage {
            Stage::New => Some(self.terms.expires_ms),
            Stage::Processing => Some(self.terms.watched_until_ms()),
            Stage::Paid { .. } | Stage::Expired | Stage::Invalid => None,
        }
    }

    /// Whether a payment that was first on the chain at that time counts as late.
    pub fn is_late(&self, seen_ms: i64) -> bool {
        matches!(self.stage, Stage::Expired | Stage::Invalid) || seen_ms >= self.terms.expires_ms
    }

    /// What is remarkable about its sums.
    pub fn additional(&self) -> Vec<Additional> {
        let (due, received) = (self.terms.due.amount, self.sums.received());
        let remarks = [
            (Additional::PaidPartial, !received.is_zero() && received < self.terms.enough()),
            (Additional::PaidOver, received > due),
            (Additional::PaidLate, !self.sums.late.is_zero()),
        ];
        remarks.into_iter().filter(|(_, holds)| *holds).map(|(remark, _)| remark).collect()
    }

    /// The payload of a fact about it.
    pub fn told(&self) -> InvoiceTold {
        let terms = &self.terms;
        InvoiceTold {
            invoice: terms.id.clone(),
            merchant: terms.merchant.clone(),
            order_id: terms.order_id.clone(),
            price: terms.price,
            due: terms.due,
            received: self.sums.received(),
            confirmed: self.sums.confirmed(),
            additional: self.additional(),
            chain: terms.chain,
            address: terms.address.clone(),
            expires_at: instant(terms.expires_ms),
            metadata: terms.metadata.clone(),
        }
    }
}

impl Terms {
    /// The least that counts as paid: due less the tolerance, rounded up.
    pub fn enough(&self) -> Amount {
        let due = self.due.amount.units();
        let tolerance = u128::from(self.tolerance_bps);
        // due / BPS * tolerance, exactly and without leaving 128 bits.
        let less = due / BPS * tolerance + due % BPS * tolerance / BPS;
        Amount::new(due.saturating_sub(less))
    }

    /// Its address is watched until then.
    pub fn watched_until_ms(&self) -> i64 {
        self.expires_ms + MONITORING_MS
    }
}

impl Sums {
    fn of(payments: &[Payment]) -> Option<Sums> {
        payments.iter().try_fold(Sums::default(), |sums, payment| sums.with(payment))
    }

    fn with(mut self, payment: &Payment) -> Option<Sums> {
        let (seen, confirmed) = match payment.is_late {
            false => (&mut self.in_time, &mut self.in_time_confirmed),
            true => (&mut self.late, &mut self.late_confirmed),
        };
        *seen = seen.plus(payment.amount)?;
        if payment.is_confirmed {
            *confirmed = confirmed.plus(payment.amount)?;
        }
        self.in_time.plus(self.late)?;
        Some(self)
    }

    /// Everything seen on chain.
    pub fn received(&self) -> Amount {
        self.in_time.plus(self.late).expect("`with` has added them up before")
    }

    /// Everything confirmed.
    pub fn confirmed(&self) -> Amount {
        self.in_time_confirmed.plus(self.late_confirmed).expect("it is no more than was received")
    }
}

impl Stage {
    /// One word for people and tables.
    pub fn label(self) -> &'static str {
        match self {
            Stage::New => "new",
            Stage::Processing => "processing",
            Stage::Paid { .. } => "paid",
            Stage::Expired => "expired",
            Stage::Invalid => "invalid",
        }
    }

    /// Since when it is paid, if it is.
    pub fn paid_ms(self) -> Option<i64> {
        match self {
            Stage::Paid { at_ms } => Some(at_ms),
            Stage::New | Stage::Processing | Stage::Expired | Stage::Invalid => None,
        }
    }
}

impl Effect {
    /// The event's type.
    pub fn kind(self) -> &'static str {
        match self {
            Effect::Created => payment::INVOICE_CREATED,
            Effect::Processing => payment::INVOICE_PROCESSING,
            Effect::Paid => payment::INVOICE_PAID,
            Effect::Expired => payment::INVOICE_EXPIRED,
            Effect::Invalid => payment::INVOICE_INVALID,
            Effect::Reverted => payment::INVOICE_REVERTED,
        }
    }
}

/// What is told on the way from one stage to another: who is paid was always processing first.
fn effects(from: Stage, to: Stage) -> Vec<Effect> {
    if from == to {
        return Vec::new();
    }
    let reverted = matches!(from, Stage::Paid { .. }).then_some(Effect::Reverted);
    let skipped = (from == Stage::New && matches!(to, Stage::Paid { .. })).then_some(Effect::Processing);
    let arrived = match to {
        Stage::New => None,
        Stage::Processing => Some(Effect::Processing),
        Stage::Paid { .. } => Some(Effect::Paid),
        Stage::Expired => Some(Effect::Expired),
        Stage::Invalid => Some(Effect::Invalid),
    };
    [reverted, skipped, arrived].into_iter().flatten().collect()
}

/// RFC 3339 of milliseconds since 1970.
pub fn instant(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests;
