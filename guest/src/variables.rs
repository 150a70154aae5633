//! The variables that spin.toml gives to a component.

use spin_sdk::variables;

use crate::problem::Problem;

/// The value of a variable. One that is missing is a mistake of the manifest, and the answer is 500.
pub async fn variable(name: &str) -> Result<String, Problem> {
    variables::get(name).await.map_err(|error| Problem::internal(format!("the variable `{name}`: {error}")))
}
