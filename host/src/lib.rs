//! Runs the components of a spin.toml natively on Wasmtime: requests come in over HTTP, wake an instance of the component
//! that their route names, and its answer goes back. What a component may use (variables, SQLite, PostgreSQL, outbound
//! HTTP) is what its manifest grants, and every invocation has bounds in memory and time.
//!
//! ```no_run
//! # async fn run() -> Result<(), host::Error> {
//! let host = host::Host::load(host::Config::new("spin.toml"))?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! host.serve(listener, async { tokio::signal::ctrl_c().await.expect("a signal handler") }).await
//! # }
//! ```

mod answer;
mod app;
mod artifact;
mod bindings;
mod clock;
mod config;
mod document;
mod engine;
mod function;
mod guest;
mod hosts;
mod invocation;
mod linker;
mod manifest;
mod metrics;
mod network;
mod outbound;
mod output;
mod postgres;
mod routes;
mod runtime_config;
mod serve;
mod sqlite;
mod stream;
mod template;
mod tls;
mod variables;

#[cfg(feature = "compile")]
pub use artifact::compile;
pub use config::{Args, Config, Limits, variables_from_environment};
pub use metrics::{ComponentReport, Report};
pub use serve::Host;

/// What can go wrong with a host.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Everything that is wrong with flags, environment and files, one problem an entry. No entry holds a variable's value.
    #[error("the configuration is not usable:\n  - {}", .0.join("\n  - "))]
    Configuration(Vec<String>),
    /// A component asks for imports that it was not granted.
    #[error("component `{component}` asks for what it was not granted: {}", .missing.join(", "))]
    NotGranted { component: String, missing: Vec<String> },
    /// A component's file cannot be run.
    #[error("component `{component}`: {why}")]
    Component { component: String, why: String },
    /// The file behind an SQLite label cannot be used.
    #[error("database {}: {why}", .file.display())]
    Database { file: std::path::PathBuf, why: String },
    #[error("cannot listen on {address}: {why}")]
    Listen { address: std::net::SocketAddr, why: std::io::Error },
    #[error("Wasmtime: {0}")]
    Engine(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    /// The exit code of a process that ends by this error (sysexits.h): 64 when it was called wrongly.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::NotGranted { .. } => 64,
            Self::Component { .. } => 65,
            Self::Listen { .. } => 69,
            Self::Engine(_) => 70,
            Self::Database { .. } | Self::Io(_) => 74,
        }
    }
}
