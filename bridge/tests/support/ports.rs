//! Ports for processes that a test starts.

#![allow(dead_code, clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that the kernel gives to clients.
const FROM: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Where no test of this process has looked yet.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(..)));

/// A port of 127.0.0.1 with `more` behind it, at all of which nobody listens, and which no other test is given.
///
/// It knocks instead of listening for a moment: a process that another test starts just then would inherit the listener, and
/// keep the port until it has become another program.
pub fn free(more: u16) -> u16 {
    let is_free = |port: u16| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err();
    loop {
        let port = FROM + NEXT.fetch_add(more + 1, Ordering::Relaxed) % COUNT;
        if (port..=port + more).all(is_free) {
            return port;
        }
    }
}

/// An address of this machine at which nobody listens.
pub fn address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free(0)).into()
}
