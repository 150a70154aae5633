//! The function's own variables as types; what is wrong with one is told by its name.

use std::fmt::Display;
use std::str::FromStr;

use guest::{Problem, variable};

/// A variable that is a number.
pub async fn number<T: FromStr<Err: Display>>(name: &str) -> Result<T, Problem> {
    let text = variable(name).await?;
    text.parse().map_err(|error| Problem::internal(format!("the variable {name} is `{text}`: {error}")))
}

/// EIP-155 id of the chain that is watched.
pub async fn chain() -> Result<u64, Problem> {
    number("chain_id").await
}
