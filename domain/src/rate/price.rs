//! Prices as exact ratios: decimal texts of two feeds come in, and where both are fresh and agree, a currency's amount
//! becomes an asset's. No float on the way; what is owed is rounded up.

use ruint::aliases::U256;

use crate::amount::{Amount, Money};
use crate::asset::Asset;

/// A feed's answer older than this is no answer.
pub const AGE_MAX_MS: i64 = 60_000;
/// How far two feeds may be apart, in basis points of the lower one.
pub const BAND_BPS: u64 = 100;

/// Fraction digits that are kept exactly; feeds tell fewer.
const FRACTION_DIGITS_MAX: usize = 18;
const INTEGER_DIGITS_MAX: usize = 18;

/// A positive decimal as `numerator / denominator`: currency units for one whole unit of the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    numerator: u128,
    denominator: u128,
}

/// What one feed said, and when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    /// Its price.
    pub ratio: Ratio,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

/// Why there is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Zero, negative, an exponent, too many digits…
    #[error("`{0}` is not a positive decimal price")]
    Shape(String),
    /// One of the two was asked too long ago, or claims the future.
    #[error("a price is older than {} s, or claims to be of the future", AGE_MAX_MS / 1000)]
    Stale,
    /// They are too far apart to trust either.
    #[error("two price feeds differ by more than {BAND_BPS} basis points")]
    Apart,
    /// The amount does not fit 128 bits.
    #[error("the amount is too large to be converted")]
    TooLarge,
}

impl Ratio {
    /// Reads `3000.12`.
    pub fn parse(text: &str) -> Result<Self, RateError> {
        let shape = || RateError::Shape(text.chars().take(64).collect());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str, digits_max| {
            (1..=digits_max).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, INTEGER_DIGITS_MAX) || !digits(fraction, FRACTION_DIGITS_MAX) {
            return Err(shape());
        }
        let numerator: u128 = format!("{whole}{fraction}").parse().map_err(|_| shape())?;
        let denominator = pow10(fraction.len());
        if numerator == 0 { Err(shape()) } else { Ok(Ratio { numerator, denominator }) }
    }

    /// Its decimal text, without zeros at the end.
    pub fn to_decimal(self) -> String {
        let places = self.denominator.ilog10() as usize;
        let digits = format!("{:0>width$}", self.numerator.to_string(), width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
    }

    /// The numerator over a common denominator of 10^18.
    fn scaled(self) -> U256 {
        U256::from(self.numerator) * U256::from(pow10(FRACTION_DIGITS_MAX) / self.denominator)
    }
}

/// One rate out of two feeds: the lower of both, so that the merchant does not lose where the higher one is wrong.
pub fn agreed(a: Quoted, b: Quoted, now_ms: i64) -> Result<Ratio, RateError> {
    let fresh = |quoted: Quoted| (0..=AGE_MAX_MS).contains(&(now_ms - quoted.at_ms));
    if !fresh(a) || !fresh(b) {
        return Err(RateError::Stale);
    }
    let (low, high) = if a.ratio.scaled() <= b.ratio.scaled() { (a.ratio, b.ratio) } else { (b.ratio, a.ratio) };
    let (least, most) = (low.scaled(), high.scaled());
    if (most - least) * U256::from(10_000) > least * U256::from(BAND_BPS) { Err(RateError::Apart) } else { Ok(low) }
}

/// What `price` (of a currency) comes to in `asset`, rounded up to its smallest unit.
pub fn due(price: Money, rate: Ratio, asset: Asset) -> Result<Amount, RateError> {
    let above = wide(price.amount.units(), pow10(asset.scale().into()));
    let above = above.checked_mul(U256::from(rate.denominator)).ok_or(RateError::TooLarge)?;
    let below = wide(rate.numerator, pow10(price.asset.scale().into()));
    let units = above.div_ceil(below);
    u128::try_from(units).map(Amount::new).map_err(|_| RateError::TooLarge)
}

fn wide(a: u128, b: u128) -> U256 {
    U256::from(a) * U256::from(b)
}

fn pow10(exponent: usize) -> u128 {
    (0..exponent).fold(1, |power, _| power * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(text: &str) -> Ratio {
        Ratio::parse(text).expect(text)
    }

    fn quoted(text: &str, at_ms: i64) -> Quoted {
        Quoted { ratio: ratio(text), at_ms }
    }

    fn money(code: &str, units: u128) -> Money {
        Money::new(Asset::parse(code).expect("listed"), Amount::new(units))
    }

    #[test]
    fn a_price_is_a_positive_decimal_and_nothing_else() {
        for (text, decimal) in [("3000.12", "3000.12"), ("1", "1"), ("0.5000", "0.5"), ("100.0", "100")] {
            assert_eq!(ratio(text).to_decimal(), decimal);
        }
        for text in ["", "0", "0.00", "-1", "1e3", "1.", ".5", "1,5", "NaN", "1.2.3", "1.0000000000000000001"] {
            assert!(Ratio::parse(text).is_err(), "{text:?}");
        }
    }

    // promise: DOMAIN: due is rounded up
    #[test]
    fn what_is_owed_is_rounded_up() {
        let eth = Asset::parse("ETH").expect("listed");
        assert_eq!(due(money("EUR", 300_000), ratio("3000"), eth), Ok(Amount::new(1_000_000_000_000_000_000)));
        // 0.01 EUR at 3 EUR: a third of a cent, whose last wei is rounded up.
        assert_eq!(due(money("EUR", 1), ratio("3"), eth), Ok(Amount::new(3_333_333_333_333_334)));
        let usdc = Asset::parse("USDC").expect("listed");
        assert_eq!(due(money("USD", 1_999), ratio("0.9997"), usdc), Ok(Amount::new(19_995_999)));
        assert_eq!(due(money("EUR", u128::MAX), ratio("0.000001"), eth), Err(RateError::TooLarge));
    }

    // promise: DOMAIN: at least two rate feeds that agree within a band and are younger than 60 s, else rate-unavailable
    #[test]
    fn two_feeds_must_agree_and_be_fresh() {
        let now = 1_000_000;
        assert_eq!(agreed(quoted("3000", now), quoted("3030", now), now), Ok(ratio("3000")));
        assert_eq!(agreed(quoted("3031", now), quoted("3000", now), now), Err(RateError::Apart));
        assert_eq!(
            agreed(quoted("3000", now - 60_000), quoted("3000.0", now), now).map(Ratio::to_decimal),
            Ok("3000".into())
        );
        assert_eq!(agreed(quoted("3000", now - 60_001), quoted("3000", now), now), Err(RateError::Stale));
        assert_eq!(agreed(quoted("3000", now), quoted("3000", now + 1), now), Err(RateError::Stale));
    }
}
