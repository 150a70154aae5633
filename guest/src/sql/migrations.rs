//! Tables.
use super::Db;
use crate::problem::Problem;
/// Prepare.
pub async fn prepare(_db: &Db, _function: &str, _migrations: &[&str]) -> Result<(), Problem> { Ok(()) }
