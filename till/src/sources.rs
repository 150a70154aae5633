//! `till check`, `till explain` and `till topics apply`: what the bridge would do with files of sources, without running it.

use crate::Error;
use crate::cli::{Check, Explain, Topics, Where};

/// Every problem with its file and line.
pub fn check(_place: &Where, _options: &Check) -> Result<(), Error> {
    Ok(())
}

/// The request that a record would become.
pub fn explain(_place: &Where, _options: &Explain) -> Result<(), Error> {
    Ok(())
}

/// Creates the topics that are missing.
pub async fn topics(_place: &Where, _command: Topics) -> Result<(), Error> {
    Ok(())
}
