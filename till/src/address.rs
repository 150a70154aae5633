//! Where the parts of a house listen on this machine, and the URLs made of it.

use std::net::{Ipv4Addr, TcpStream};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use serde::{Deserialize, Serialize};

use crate::random;

/// Linux gives clients ports from 32768 on.
const FREE_FROM: u16 = 20_000;
const FREE_COUNT: u16 = 12_000;
/// Where nobody in this process has looked for a free port yet.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(u16::from_le_bytes(random::bytes())));

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
    /// Ports that nobody listens on now, for a house beside others.
    pub fn free() -> Self {
        Ports {
            functions: free(0),
            bridge: free(0),
            metrics: free(0),
            merchant: free(0),
            feeds: free(0),
            mailbox: free(0),
            chain: free(0),
        }
    }
}

/// A port of 127.0.0.1 with `more` behind it, at all of which nobody listens now, and which nobody else in this process is
/// given. They lie below those that the kernel gives out to clients by itself, so that none is taken before it is used.
///
/// It knocks instead of listening for a moment: a process that another thread starts just then would inherit the listener, and
/// keep the port until it has become another program.
pub fn free(more: u16) -> u16 {
    let is_free = |port: u16| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err();
    loop {
        let port = FREE_FROM + NEXT.fetch_add(more + 1, Ordering::Relaxed) % FREE_COUNT;
        if (port..=port + more).all(is_free) {
            return port;
        }
    }
}

/// `http://127.0.0.1:PORT`.
pub fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
