//! How much: an [`Amount`] counts an asset's smallest unit, [`Money`] says of which asset. Text of JSON or SQL comes in and
//! is checked once here; afterwards arithmetic is exact and an overflow is a value, never a wrap-around.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::asset::Asset;

/// Decimal digits of the longest amount, and the width of an amount in SQL.
pub const DIGITS_MAX: usize = 39;

/// A count of smallest units (wei, cents…), from 0 to 2^128 − 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u128);

/// An amount of one asset; in JSON `{"asset":"ETH","amount":"1500000000000000000"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Money {
    /// Which unit is counted.
    pub asset: Asset,
    /// How many smallest units.
    pub amount: Amount,
}

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not `0`, nor digits without a leading zero: a sign, a point, an exponent, a space, nothing at all…
    #[error("an amount is a string of digits that counts the smallest unit, such as \"1500000000000000000\"")]
    Shape,
    /// More than 2^128 − 1.
    #[error("an amount is at most 340282366920938463463374607431768211455")]
    TooLarge,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(0);

    /// That many smallest units.
    pub const fn new(units: u128) -> Self {
        Amount(units)
    }

    /// The number of smallest units.
    pub const fn units(self) -> u128 {
        self.0
    }

    /// Reads `^(0|[1-9][0-9]{0,38})$`.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        let leading_zero = text.len() > 1 && text.starts_with('0');
        if text.is_empty() || leading_zero || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AmountError::Shape);
        }
        text.parse().map(Amount).map_err(|_| AmountError::TooLarge)
    }

    /// 39 digits with leading zeros, so that text compares and sorts like the number on every database.
    pub fn to_sql(self) -> String {
        format!("{:039}", self.0)
    }

    /// Reads what [`Amount::to_sql`] wrote.
    pub fn from_sql(text: &str) -> Result<Self, AmountError> {
        if text.len() != DIGITS_MAX || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AmountError::Shape);
        }
        text.parse().map(Amount).map_err(|_| AmountError::TooLarge)
    }

    /// The sum, or nothing where it does not fit.
    pub fn plus(self, other: Amount) -> Option<Amount> {
        self.0.checked_add(other.0).map(Amount)
    }

    /// The difference, or nothing where it would be negative.
    pub fn minus(self, other: Amount) -> Option<Amount> {
        self.0.checked_sub(other.0).map(Amount)
    }

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Amount::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Amount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^(0|[1-9][0-9]{0,38})$" })
    }
}

impl Money {
    /// That many smallest units of the asset.
    pub const fn new(asset: Asset, amount: Amount) -> Self {
        Money { asset, amount }
    }
}

/// For people: the decimal number and the asset, `1.5 ETH`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.asset.scale());
        let digits = format!("{:0>width$}", self.amount.to_string(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{whole}{point}{fraction} {}", self.asset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // promise: DOMAIN: an amount is a JSON string matching ^(0|[1-9][0-9]{0,38})$, and nothing else is read
    #[test]
    fn only_plain_digits_without_leading_zeros_are_an_amount() {
        for text in ["0", "1", "10", "340282366920938463463374607431768211455"] {
            assert_eq!(Amount::parse(text).expect(text).to_string(), text);
        }
        for text in ["", "00", "01", "-1", "+1", "1.0", "1e3", " 1", "1 ", "١", "0x10", "1_000"] {
            assert_eq!(Amount::parse(text), Err(AmountError::Shape), "{text:?}");
        }
    }

    #[test]
    fn what_does_not_fit_128_bits_is_too_large() {
        for text in ["340282366920938463463374607431768211456", "1000000000000000000000000000000000000000"] {
            assert_eq!(Amount::parse(text), Err(AmountError::TooLarge), "{text:?}");
        }
    }

    // promise: DOMAIN: in SQL an amount is 39 zero-padded digits, which sort like the numbers
    #[test]
    fn amounts_in_sql_sort_like_their_numbers() {
        let mut amounts = [Amount::new(u128::MAX), Amount::ZERO, Amount::new(9), Amount::new(10)];
        let mut texts = amounts.map(Amount::to_sql);
        amounts.sort();
        texts.sort();
        assert_eq!(texts.clone().map(|text| Amount::from_sql(&text).expect("was written by to_sql")), amounts);
        assert!(texts.iter().all(|text| text.len() == DIGITS_MAX));
    }

    #[test]
    fn an_overflow_is_nothing_instead_of_a_wrong_number() {
        assert_eq!(Amount::new(u128::MAX).plus(Amount::new(1)), None);
        assert_eq!(Amount::ZERO.minus(Amount::new(1)), None);
    }

    #[test]
    fn money_in_json_is_an_asset_and_a_string() {
        let text = r#"{"asset":"ETH","amount":"1500000000000000000"}"#;
        let money: Money = serde_json::from_str(text).expect("money");
        assert_eq!(serde_json::to_string(&money).expect("json"), text);
        for wrong in [r#"{"asset":"ETH","amount":1}"#, r#"{"asset":"XXX","amount":"1"}"#, r#"{"asset":"ETH"}"#] {
            assert!(serde_json::from_str::<Money>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn people_read_decimal_numbers() {
        let eth = |units| Money::new(Asset::parse("ETH").expect("listed"), Amount::new(units)).to_string();
        assert_eq!(eth(1_500_000_000_000_000_000), "1.5 ETH");
        assert_eq!(eth(2_000_000_000_000_000_000), "2 ETH");
        assert_eq!(eth(1), "0.000000000000000001 ETH");
        assert_eq!(eth(0), "0 ETH");
    }
}
