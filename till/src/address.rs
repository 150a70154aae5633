//! Where the parts of a house listen on this machine, and the URLs made of it.

use std::net::TcpListener;

use serde::{Deserialize, Serialize};

use crate::random;

/// Linux gives clients ports from 32768 on.
const FREE_FROM: u16 = 20_000;
const FREE_COUNT: u16 = 12_000;

/// One port for each part; all bind 127.0.0.1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[command(next_help_heading = "Ports")]
pub struct Ports {
    /// The six functions
    #[arg(long = "functions-port", value_name = "PORT", default_value_t = 3000, global = true)]
    pub functions: u16,
    /// The bridge: ingress, health, metrics and its API
    #[arg(long = "bridge-port", value_name = "PORT", default_value_t = 3001, global = true)]
    pub bridge: u16,
    /// The host's metrics
    #[arg(long = "metrics-port", value_name = "PORT", default_value_t = 3002, global = true)]
    pub metrics: u16,
    /// The merchant's endpoint
    #[arg(long = "merchant-port", value_name = "PORT", default_value_t = 3003, global = true)]
    pub merchant: u16,
    /// The two rate feeds
    #[arg(long = "feeds-port", value_name = "PORT", default_value_t = 3004, global = true)]
    pub feeds: u16,
    /// The mailbox
    #[arg(long = "mailbox-port", value_name = "PORT", default_value_t = 8025, global = true)]
    pub mailbox: u16,
    /// The development chain
    #[arg(long = "chain-port", value_name = "PORT", default_value_t = 8545, global = true)]
    pub chain: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Ports { functions: 3000, bridge: 3001, metrics: 3002, merchant: 3003, feeds: 3004, mailbox: 8025, chain: 8545 }
    }
}

impl Ports {
    /// Seven ports that nobody listens on now, for a house beside others. They lie below those that the kernel gives out to
    /// clients by itself, so that none of them is taken before the house uses it.
    pub fn free() -> std::io::Result<Self> {
        let mut held: Vec<TcpListener> = Vec::new();
        while held.len() < 7 {
            let port = FREE_FROM + u16::from_le_bytes(random::bytes()) % FREE_COUNT;
            held.extend(TcpListener::bind(("127.0.0.1", port)).ok());
        }
        let mut ports = held.iter().map(|listener| listener.local_addr().map(|address| address.port()));
        let mut next = || ports.next().expect("seven ports are held");
        Ok(Ports {
            functions: next()?,
            bridge: next()?,
            metrics: next()?,
            merchant: next()?,
            feeds: next()?,
            mailbox: next()?,
            chain: next()?,
        })
    }
}

/// `http://127.0.0.1:PORT`.
pub fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
