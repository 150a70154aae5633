//! The SQL of payment: invoices and their addresses, deposits, and the chain.

pub mod chain;
pub mod deposit;
pub mod invoice;

use domain::amount::{Amount, Money};
use domain::asset::Asset;
use guest::{Problem, Row};

fn amount(row: &Row, column: &str) -> Result<Amount, Problem> {
    Amount::from_sql(&row.get::<String>(column)?).map_err(|error| Problem::internal(format!("`{column}`: {error}")))
}

fn asset(row: &Row, column: &str) -> Result<Asset, Problem> {
    Asset::parse(&row.get::<String>(column)?).map_err(|error| Problem::internal(error.to_string()))
}

fn money(row: &Row, asset_column: &str, amount_column: &str) -> Result<Money, Problem> {
    Ok(Money::new(asset(row, asset_column)?, amount(row, amount_column)?))
}

/// Heights and chain ids as the database counts.
fn integer(number: u64) -> Result<i64, Problem> {
    i64::try_from(number).map_err(|_| Problem::internal(format!("{number} does not fit 63 bits")))
}

fn natural(row: &Row, column: &str) -> Result<u64, Problem> {
    u64::try_from(row.get::<i64>(column)?).map_err(|_| Problem::internal(format!("`{column}` is negative")))
}
