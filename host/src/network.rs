//! Which addresses a component may be connected to. A name is resolved here and the connection goes to the very address
//! that was looked at, so that a name server cannot answer twice.

use crate::hosts::Permission;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

/// Networks that functions may not reach (`[outbound_networking] block_networks`).
///
/// `private` stands for every address that is not public. It gives way where the component's `allowed_outbound_hosts`
/// names that very host and port without a wildcard: an operator who wrote it down means it. (Stock Spin never gives way.)
/// A network that is listed itself (`10.0.0.0/8`) never gives way here either.
#[derive(Debug, Default, Clone)]
pub struct Blocked {
    private: bool,
    networks: Vec<Network>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Network {
    address: u128,
    prefix: u32,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("allowed_outbound_hosts does not allow it")]
    Denied,
    #[error("its address is in a blocked network")]
    Blocked,
    #[error("its name has no address")]
    Unknown,
    #[error("no connection in time")]
    Timeout,
    #[error("no connection: {0}")]
    Io(#[from] std::io::Error),
}

impl Blocked {
    pub fn parse(texts: &[String]) -> Result<Self, Vec<String>> {
        let (mut blocked, mut problems) = (Self::default(), Vec::new());
        for text in texts {
            match (text.as_str(), Network::parse(text)) {
                ("private", _) => blocked.private = true,
                (_, Some(network)) => blocked.networks.push(network),
                _ => problems.push(format!("block_networks: `{text}` is neither `private` nor ADDRESS/PREFIX")),
            }
        }
        if problems.is_empty() { Ok(blocked) } else { Err(problems) }
    }

    #[cfg(test)]
    pub fn is_private_blocked(&self) -> bool {
        self.private
    }

    fn allows(&self, address: IpAddr, permission: Permission) -> bool {
        let listed = self.networks.iter().any(|network| network.holds(address) || network.holds_embedded(address));
        let hidden = self.private && permission != Permission::Named && is_private(address);
        permission != Permission::Denied && !listed && !hidden
    }

    /// Resolves and connects within `timeout`, trying every address that is allowed.
    pub async fn connect(
        &self,
        (host, port): (&str, u16),
        permission: Permission,
        timeout: Duration,
    ) -> Result<TcpStream, ConnectError> {
        if permission == Permission::Denied {
            return Err(ConnectError::Denied);
        }
        let attempt = async { connect_any(&self.addresses(host, port, permission).await?).await };
        tokio::time::timeout(timeout, attempt).await.unwrap_or(Err(ConnectError::Timeout))
    }

    async fn addresses(&self, host: &str, port: u16, permission: Permission) -> Result<Vec<SocketAddr>, ConnectError> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let found: Vec<_> = tokio::net::lookup_host((host, port)).await.map_err(|_| ConnectError::Unknown)?.collect();
        if found.is_empty() {
            return Err(ConnectError::Unknown);
        }
        let allowed: Vec<_> = found.into_iter().filter(|one| self.allows(one.ip(), permission)).collect();
        if allowed.is_empty() { Err(ConnectError::Blocked) } else { Ok(allowed) }
    }
}

async fn connect_any(addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
    let stream = TcpStream::connect(addresses).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().ok()?;
        let bits: u32 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(bits), |prefix| prefix.parse().ok().filter(|prefix| *prefix <= bits))?;
        Some(Self { address: number(address), prefix: prefix + 128 - bits })
    }

    fn holds(self, address: IpAddr) -> bool {
        let differing = self.address ^ number(address);
        self.prefix == 0 || differing >> (128 - self.prefix) == 0
    }

    /// A gateway would carry the connection on to the IPv4 address.
    fn holds_embedded(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => false,
            IpAddr::V6(v6) => embedded_v4(v6).is_some_and(|v4| self.holds(v4.into())),
        }
    }
}

/// IPv4 addresses count by their IPv6 mapping, so that one form cannot get past a rule for the other.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// Whether an address is anything but a public one: loopback, private, link-local, shared, multicast, reserved.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => embedded_v4(v6).map_or_else(|| is_private_v6(v6), is_private_v4),
    }
}

fn is_private_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special =
        matches!((a, b, c), (0, _, _) | (100, 64..=127, _) | (192, 0, 0) | (198, 18..=19, _) | (240..=255, _, _));
    special || v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_multicast() || v4.is_documentation()
}

fn is_private_v6(v6: Ipv6Addr) -> bool {
    // Global unicast addresses are 2000::/3; of those, 2001:db8::/32 is for documents only.
    let [first, second, ..] = v6.segments();
    first & 0xe000 != 0x2000 || (first == 0x2001 && second == 0x0db8)
}

/// The IPv4 address within a mapped, NAT64 or 6to4 IPv6 address. The old compatible ones (`::10.0.0.1`) lead nowhere.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let number = u128::from(v6);
    let low = Ipv4Addr::from(number as u32);
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(low),
        [0x2002, ..] => Some(Ipv4Addr::from((number >> 80) as u32)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(networks: &[&str], address: &str, permission: Permission, expected: bool) {
        let networks: Vec<_> = networks.iter().map(|text| (*text).to_owned()).collect();
        let blocked = Blocked::parse(&networks).expect("networks");
        assert_eq!(blocked.allows(address.parse().expect("an address"), permission), expected, "{address}");
    }

    #[test]
    fn private_means_everything_that_is_not_public() {
        let hidden = "127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255 \
                      ::1 :: fc00::1 fe80::1 ff02::1 ::ffff:10.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: ::127.0.0.1 2001:db8::1";
        for address in hidden.split_whitespace() {
            check(&["private"], address, Permission::Wildcard, false);
            check(&[], address, Permission::Wildcard, true);
        }
        for address in ["1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"] {
            check(&["private"], address, Permission::Wildcard, true);
        }
    }

    #[test]
    fn a_host_that_is_named_may_be_private_but_not_in_a_listed_network() {
        check(&["private"], "127.0.0.1", Permission::Named, true);
        check(&["private", "127.0.0.0/8"], "127.0.0.1", Permission::Named, false);
        check(&["10.0.0.0/8"], "::ffff:10.0.0.1", Permission::Named, false);
        check(&["10.0.0.0/8"], "64:ff9b::a00:1", Permission::Named, false);
        check(&["10.0.0.0/8"], "2002:a00:1::", Permission::Named, false);
        check(&["10.0.0.0/8"], "2002:b00:1::", Permission::Named, true);
        check(&["10.0.0.0/8"], "11.0.0.1", Permission::Named, true);
        check(&[], "1.1.1.1", Permission::Denied, false);
    }
}
