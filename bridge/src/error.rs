//! Why a bridge does not start or does not go on.

use crate::config::Problem;
use crate::log;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The documents are wrong, in all these ways.
    #[error("{}", lines(.0))]
    Config(Vec<Problem>),
    /// What a command was given cannot be read.
    #[error("{0}")]
    Usage(String),
    #[error("the log: {0}")]
    Log(#[from] log::Error),
    /// A source ended that nobody had told to. The others were drained.
    #[error("a source ended by itself{0}")]
    Ended(String),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// The exit code of the process, as in sysexits.h.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) | Error::Usage(_) | Error::Log(log::Error::Config(_)) => 64,
            Error::Log(_) => 69,
            Error::Ended(_) => 70,
            Error::Io(_) => 71,
        }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
