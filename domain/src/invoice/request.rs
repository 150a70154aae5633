//! The door of invoices: a merchant's wish as JSON comes in, a [`Request`] that can be fulfilled goes out, or a refusal that
//! says what to change. Together with a rate it is priced.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::amount::{Amount, Money};
use crate::asset::{Asset, Placement};
use crate::facts::payment::Price;
use crate::rate::price::{self, RateError, Ratio};

/// An invoice lives this long unless it says otherwise.
const TTL_S: u32 = 900;
const TTL_S_MAX: u32 = 30 * 24 * 60 * 60;
/// Half of what is due is the most that may be forgiven.
const TOLERANCE_BPS_MAX: u32 = 5_000;
const ORDER_ID_BYTES_MAX: usize = 255;
const METADATA_BYTES_MAX: usize = 4_096;

/// What a merchant writes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    price: Price,
    asset: Asset,
    #[serde(default)]
    order_id: Option<String>,
    #[serde(default = "ttl_s")]
    ttl_s: u32,
    #[serde(default)]
    tolerance_bps: u32,
    #[serde(default)]
    metadata: Map<String, Value>,
}

/// A wish that can be fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked for, in the asset itself or in a currency.
    pub price: Price,
    /// What is paid with.
    pub asset: Asset,
    /// Where that asset lives.
    pub placement: &'static Placement,
    /// The merchant's own reference.
    pub order_id: Option<String>,
    /// How long it waits for money.
    pub ttl_ms: i64,
    /// How much less than due is enough.
    pub tolerance_bps: u32,
    /// As given.
    pub metadata: Map<String, Value>,
}

/// Why there will be no invoice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefusal {
    /// It cannot be paid with that.
    #[error("`{0}` cannot be paid on chain {1}; choose an asset of that chain")]
    NotOnChain(Asset, u64),
    /// Prices are in the asset itself or in a currency.
    #[error("a price is told in the asset itself or in a currency without a chain, and `{0}` is neither")]
    Currency(Asset),
    /// A member is out of bounds.
    #[error("`{member}` must be {bounds}")]
    Bounds {
        /// Which.
        member: &'static str,
        /// What would do.
        bounds: &'static str,
    },
    /// Less than is worth a transfer on chain.
    #[error("the least that an invoice may ask for is {0}")]
    TooLow(Money),
    /// More than an amount can say.
    #[error("the price is larger than an amount can say")]
    TooHigh,
    /// No rate, although the price needs one.
    #[error("there is no rate for this price now; try again, or price the invoice in the asset itself")]
    NoRate,
}

impl Wish {
    /// Checks everything that needs no rate.
    pub fn checked(self, chain: u64) -> Result<Request, RequestRefusal> {
        let placement = self.asset.on(chain).ok_or(RequestRefusal::NotOnChain(self.asset, chain))?;
        if self.price.currency != self.asset && !self.price.currency.is_currency() {
            return Err(RequestRefusal::Currency(self.price.currency));
        }
        self.check_bounds()?;
        Ok(Request {
            price: self.price,
            asset: self.asset,
            placement,
            order_id: self.order_id,
            ttl_ms: i64::from(self.ttl_s) * 1000,
            tolerance_bps: self.tolerance_bps,
            metadata: self.metadata,
        })
    }

    fn check_bounds(&self) -> Result<(), RequestRefusal> {
        let metadata_bytes = serde_json::to_string(&self.metadata).map_or(usize::MAX, |text| text.len());
        let order_id_bytes = self.order_id.as_deref().map_or(1, str::len);
        let bounds = [
            ("price.amount", "more than zero", !self.price.amount.is_zero()),
            ("ttl_s", "1 to 2592000 seconds", (1..=TTL_S_MAX).contains(&self.ttl_s)),
            ("tolerance_bps", "0 to 5000 basis points", self.tolerance_bps <= TOLERANCE_BPS_MAX),
            ("order_id", "1 to 255 bytes of text", (1..=ORDER_ID_BYTES_MAX).contains(&order_id_bytes)),
            ("metadata", "an object of at most 4096 bytes", metadata_bytes <= METADATA_BYTES_MAX),
        ];
        match bounds.into_iter().find(|(_, _, holds)| !holds) {
            Some((member, bounds, _)) => Err(RequestRefusal::Bounds { member, bounds }),
            None => Ok(()),
        }
    }
}

impl Request {
    /// Whether a rate between asset and currency must be looked up.
    pub fn needs_rate(&self) -> bool {
        self.price.currency != self.asset
    }

    /// What the payer owes.
    pub fn due(&self, rate: Option<Ratio>) -> Result<Money, RequestRefusal> {
        let amount = match rate {
            _ if !self.needs_rate() => self.price.amount,
            None => return Err(RequestRefusal::NoRate),
            Some(rate) => self.converted(rate)?,
        };
        let least = self.placement.invoice_min;
        if amount < least {
            Err(RequestRefusal::TooLow(Money::new(self.asset, least)))
        } else {
            Ok(Money::new(self.asset, amount))
        }
    }

    fn converted(&self, rate: Ratio) -> Result<Amount, RequestRefusal> {
        let price = Money::new(self.price.currency, self.price.amount);
        price::due(price, rate, self.asset).map_err(|error| match error {
            RateError::TooLarge => RequestRefusal::TooHigh,
            RateError::Shape(_) | RateError::Stale | RateError::Apart => RequestRefusal::NoRate,
        })
    }
}

fn ttl_s() -> u32 {
    TTL_S
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: u64 = 31337;

    fn wish(text: &str) -> Result<Request, String> {
        let wish: Wish = serde_json::from_str(text).map_err(|error| error.to_string())?;
        wish.checked(CHAIN).map_err(|refusal| refusal.to_string())
    }

    fn refused(text: &str, reason: &str) {
        let refusal = wish(text).expect_err(text);
        assert!(refusal.contains(reason), "{text}: {refusal}");
    }

    #[test]
    fn a_short_wish_gets_the_defaults() {
        let request = wish(r#"{"price":{"currency":"EUR","amount":"1250"},"asset":"ETH"}"#).expect("complete");
        assert_eq!((request.ttl_ms, request.tolerance_bps, request.needs_rate()), (900_000, 0, true));
    }

    #[test]
    fn what_cannot_be_fulfilled_is_refused_with_what_to_change() {
        refused(r#"{"price":{"currency":"EUR","amount":"1"},"asset":"EUR"}"#, "cannot be paid on chain");
        refused(r#"{"price":{"currency":"ETH","amount":"1"},"asset":"USDC"}"#, "neither");
        refused(r#"{"price":{"currency":"XXX","amount":"1"},"asset":"ETH"}"#, "not a known asset");
        for amount in
            [r#""1.5""#, r#""-1""#, "1", r#""1e3""#, r#""""#, "null", r#""1000000000000000000000000000000000000000""#]
        {
            refused(&format!(r#"{{"price":{{"currency":"EUR","amount":{amount}}},"asset":"ETH"}}"#), "");
        }
        let with = |members: &str| format!(r#"{{"price":{{"currency":"EUR","amount":"9"}},"asset":"ETH",{members}}}"#);
        refused(&with(r#""ttl_s":0"#), "ttl_s");
        refused(&with(r#""ttl_s":-1"#), "");
        refused(&with(r#""ttl_s":2592001"#), "ttl_s");
        refused(&with(r#""tolerance_bps":5001"#), "tolerance_bps");
        refused(&with(r#""order_id":"""#), "order_id");
        refused(&with(r#""metadata":[]"#), "");
        refused(&with(&format!(r#""metadata":{{"a":"{}"}}"#, "x".repeat(5_000))), "metadata");
        refused(&with(r#""tollerance":1"#), "unknown field");
        refused(r#"{"price":{"currency":"EUR","amount":"0"},"asset":"ETH"}"#, "price.amount");
    }

    #[test]
    fn a_price_in_the_asset_needs_no_rate_and_another_does() {
        let own = wish(r#"{"price":{"currency":"ETH","amount":"100000000000000"},"asset":"ETH"}"#).expect("complete");
        assert_eq!(own.due(None).map(|due| due.amount.units()), Ok(100_000_000_000_000));
        let euro = wish(r#"{"price":{"currency":"EUR","amount":"300000"},"asset":"ETH"}"#).expect("complete");
        assert_eq!(euro.due(None), Err(RequestRefusal::NoRate));
        let rate = Ratio::parse("3000.00").expect("a price");
        assert_eq!(euro.due(Some(rate)).map(|due| due.to_string()), Ok("1 ETH".into()));
    }

    #[test]
    fn dust_and_immensity_are_refused() {
        let dust = wish(r#"{"price":{"currency":"ETH","amount":"1"},"asset":"ETH"}"#).expect("complete");
        assert!(matches!(dust.due(None), Err(RequestRefusal::TooLow(_))));
        let most = u128::MAX;
        let immense =
            wish(&format!(r#"{{"price":{{"currency":"EUR","amount":"{most}"}},"asset":"ETH"}}"#)).expect("complete");
        assert_eq!(immense.due(Ratio::parse("1").ok()), Err(RequestRefusal::TooHigh));
    }
}
