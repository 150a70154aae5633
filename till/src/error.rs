//! What can go wrong in a command, told so that a newcomer knows what to do next, and the exit code that it ends with.

use std::path::{Path, PathBuf};

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line or a configuration asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// Something that must be installed or built first is not there.
    #[error("{what} is missing\n  remedy: {remedy}")]
    Missing {
        /// What was looked for, and where.
        what: String,
        /// A command that brings it.
        remedy: String,
    },
    /// Another process listens where a part of the house must.
    #[error("port {port} for {part} is taken by {holder}\n  remedy: stop it, or choose another port with {option}")]
    PortTaken {
        /// The port.
        port: u16,
        /// The part of the house that needs it.
        part: &'static str,
        /// Who has it, as far as this user may see.
        holder: String,
        /// The option that moves our part.
        option: &'static str,
    },
    /// More than one of these, told together so that they can be mended together.
    #[error("{}", list(.0))]
    Several(Vec<Error>),
    /// A file or folder of the house could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A part of the house, or of the outside world, did not answer as it should.
    #[error("{url}: {reason}")]
    Http {
        /// Who was asked.
        url: String,
        /// What came instead of the answer.
        reason: String,
    },
    /// A part of the house did not start, or stopped by itself.
    #[error("{part}: {reason}")]
    Part {
        /// Which one.
        part: &'static str,
        /// In its own words.
        reason: String,
    },
    /// The bridge of the house did not do what was asked.
    #[error(transparent)]
    Bridge(#[from] bridge::operate::Error),
    /// The demo's story did not end as told.
    #[error("{0}")]
    Story(String),
}

impl Error {
    /// Names the file that an operation was about.
    pub fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    }

    /// 64 (`EX_USAGE` of sysexits.h) when the caller must ask differently, 1 when the world must change.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 64,
            Error::Bridge(error) => error.exit_code(),
            Error::Missing { .. }
            | Error::PortTaken { .. }
            | Error::Several(_)
            | Error::File { .. }
            | Error::Http { .. }
            | Error::Part { .. }
            | Error::Story(_) => 1,
        }
    }
}

fn list(errors: &[Error]) -> String {
    errors.iter().map(Error::to_string).collect::<Vec<_>>().join("\n")
}
