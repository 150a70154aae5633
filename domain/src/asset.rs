//! The registry of what money there is: assets on chains with their contracts, minima and confirmations, and the
//! currencies that prices may be told in. A text from outside becomes an [`Asset`] here, or is refused.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::amount::Amount;

/// One row of the registry. Two are equal when they are the same row.
#[derive(Clone, Copy)]
pub struct Asset(&'static Row);

struct Row {
    code: &'static str,
    scale: u8,
    placements: &'static [Placement],
}

/// An asset on one chain.
#[derive(Debug, PartialEq, Eq)]
pub struct Placement {
    /// EIP-155 chain id.
    pub chain: u64,
    /// The ERC-20 contract in lower case, or the chain's own coin.
    pub contract: Option<&'static str>,
    /// The least that an invoice may ask for, in smallest units.
    pub invoice_min: Amount,
    /// By rising amount: what a deposit up to that amount waits for; larger ones wait for the chain's `finalized`.
    tiers: &'static [Tier],
}

#[derive(Debug, PartialEq, Eq)]
struct Tier {
    up_to: Amount,
    blocks: u64,
}

/// What must be seen before a deposit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmations {
    /// That many blocks, the deposit's own among them.
    Blocks(u64),
    /// The chain calls the deposit's block final.
    Finalized,
}

/// A code that is not in the registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a known asset; known are ETH, USDC, EUR, USD")]
pub struct UnknownAsset(String);

/// Ethereum.
const MAINNET: u64 = 1;
/// The development chain of anvil: the only one that may begin anew.
pub const DEVELOPMENT: u64 = 31337;

const ETH: u128 = 1_000_000_000_000_000_000;
const USDC: u128 = 1_000_000;

const fn tier(up_to: u128, blocks: u64) -> Tier {
    Tier { up_to: Amount::new(up_to), blocks }
}

const fn placement(chain: u64, contract: Option<&'static str>, invoice_min: u128, tiers: &'static [Tier]) -> Placement {
    Placement { chain, contract, invoice_min: Amount::new(invoice_min), tiers }
}

/// On the development chain the token is what account 0 of anvil deploys first.
static REGISTRY: [Row; 4] = [
    Row {
        code: "ETH",
        scale: 18,
        placements: &[
            placement(MAINNET, None, ETH / 10_000, &[tier(ETH, 6), tier(50 * ETH, 12)]),
            placement(DEVELOPMENT, None, ETH / 10_000, &[tier(ETH, 2), tier(50 * ETH, 4)]),
        ],
    },
    Row {
        code: "USDC",
        scale: 6,
        placements: &[
            placement(
                MAINNET,
                Some("0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"),
                USDC / 10,
                &[tier(2_000 * USDC, 6), tier(100_000 * USDC, 12)],
            ),
            placement(
                DEVELOPMENT,
                Some("0x5fbdb2315678afecb367f032d93f642f64180aa3"),
                USDC / 10,
                &[tier(2_000 * USDC, 2), tier(100_000 * USDC, 4)],
            ),
        ],
    },
    Row { code: "EUR", scale: 2, placements: &[] },
    Row { code: "USD", scale: 2, placements: &[] },
];

impl Asset {
    /// Finds a code such as `ETH` in the registry.
    pub fn parse(code: &str) -> Result<Self, UnknownAsset> {
        let row = REGISTRY.iter().find(|row| row.code == code);
        row.map(Asset).ok_or_else(|| UnknownAsset(code.chars().take(32).collect()))
    }

    /// Every asset and currency.
    pub fn all() -> impl Iterator<Item = Asset> {
        REGISTRY.iter().map(Asset)
    }

    /// Its short name.
    pub fn code(self) -> &'static str {
        self.0.code
    }

    /// How many decimal places the smallest unit stands for.
    pub fn scale(self) -> u8 {
        self.0.scale
    }

    /// Where it lives on a chain, if it does.
    pub fn on(self, chain: u64) -> Option<&'static Placement> {
        self.0.placements.iter().find(|placement| placement.chain == chain)
    }

    /// Whether it is a currency for prices, which lives on no chain.
    pub fn is_currency(self) -> bool {
        self.0.placements.is_empty()
    }

    /// The asset of an ERC-20 contract (lower case) on a chain.
    pub fn of_contract(chain: u64, contract: &str) -> Option<Asset> {
        Asset::all().find(|asset| asset.on(chain).is_some_and(|placement| placement.contract == Some(contract)))
    }
}

impl Placement {
    /// What a deposit of this amount waits for.
    pub fn confirmations(&self, amount: Amount) -> Confirmations {
        let tier = self.tiers.iter().find(|tier| amount <= tier.up_to);
        tier.map_or(Confirmations::Finalized, |tier| Confirmations::Blocks(tier.blocks))
    }
}

impl PartialEq for Asset {
    fn eq(&self, other: &Self) -> bool {
        self.code() == other.code()
    }
}

impl Eq for Asset {}

impl fmt::Debug for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Asset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Asset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Asset::parse(&code).map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Asset {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Asset".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let codes: Vec<&str> = Asset::all().map(Asset::code).collect();
        schemars::json_schema!({ "type": "string", "enum": codes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_refused_and_says_what_is_known() {
        let refusal = Asset::parse("eth").expect_err("codes are upper case").to_string();
        assert!(Asset::all().all(|asset| refusal.contains(asset.code())), "{refusal}");
    }

    #[test]
    fn a_larger_deposit_waits_longer_and_the_largest_for_finality() {
        let eth = Asset::parse("ETH").expect("listed").on(1).expect("on mainnet");
        assert_eq!(eth.confirmations(Amount::new(ETH)), Confirmations::Blocks(6));
        assert_eq!(eth.confirmations(Amount::new(ETH + 1)), Confirmations::Blocks(12));
        assert_eq!(eth.confirmations(Amount::new(50 * ETH + 1)), Confirmations::Finalized);
    }

    #[test]
    fn a_contract_names_its_asset_on_its_own_chain_only() {
        let contract = "0x5fbdb2315678afecb367f032d93f642f64180aa3";
        assert_eq!(Asset::of_contract(31337, contract).map(Asset::code), Some("USDC"));
        assert_eq!(Asset::of_contract(1, contract), None);
    }

    #[test]
    fn currencies_live_on_no_chain() {
        let euro = Asset::parse("EUR").expect("listed");
        assert!(euro.is_currency() && euro.on(1).is_none() && euro.on(31337).is_none());
    }
}
