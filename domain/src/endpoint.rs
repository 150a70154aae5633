//! The address of a merchant's endpoint: a text from outside goes in; an address that may be called, or a refusal, comes out.
//!
//! The accepted grammar is a small part of what URL libraries understand, so that none of them can read another host out
//! of it: a host is a canonical dotted IPv4 address, an IPv6 address in brackets, or a name whose last label is no number.
//! Thereby decimal, octal, hexadecimal and shortened spellings of an IPv4 address are refused without being decoded.

use std::net::{Ipv4Addr, Ipv6Addr};

const ADDRESS_CHARACTERS_MAX: usize = 2_048;
const NAME_CHARACTERS_MAX: usize = 253;
/// The label before a cluster's own domain, in the names of its Services.
const CLUSTER_LABEL: &str = "svc";
/// Names that never leave the machine or its network (RFC 6761, RFC 6762, RFC 9476 and ICANN's `internal`).
const PRIVATE_SUFFIXES: [&str; 5] = ["localhost", "local", "internal", "alt", "arpa"];

/// An address that a webhook may be sent to, as its merchant wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

/// Hosts that are told apart from all others.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exceptions<'a> {
    /// The one `host:port` that may be called although it is private; empty for none.
    pub private_host: &'a str,
    /// The bridge's URL: its host and port are never called, wherever they are. Empty for none.
    pub bridge_url: &'a str,
}

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefusal {
    /// Longer than any address needs to be.
    #[error("an address has at most {ADDRESS_CHARACTERS_MAX} characters")]
    Length,
    /// Neither `http://` nor `https://`.
    #[error("an address begins with https:// or http://")]
    Scheme,
    /// Spaces, control characters, letters outside of ASCII, backslashes.
    #[error("an address is visible ASCII without spaces, backslashes and quotes; write other letters percent-encoded")]
    Characters,
    /// `user:password@`.
    #[error("an address holds no user name or password; check the signature instead")]
    Credentials,
    /// `#…`.
    #[error("an address has no fragment")]
    Fragment,
    /// The host is missing or malformed.
    #[error("the host must be a domain name, a dotted IPv4 address or an IPv6 address in brackets")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// A private, loopback, link-local or otherwise not public address.
    #[error("the host is not on the public internet; give an address that everybody can reach")]
    Private,
    /// The bridge.
    #[error("the host is this house's own")]
    Own,
}

impl Address {
    /// Reads an address.
    pub fn parse(text: &str, exceptions: Exceptions) -> Result<Self, AddressRefusal> {
        check_characters(text)?;
        let (host, port) = split_authority(text)?;
        let own = split_authority(exceptions.bridge_url);
        if own.is_ok_and(|(own_host, own_port)| own_port == port && canonical(own_host) == canonical(host)) {
            return Err(AddressRefusal::Own);
        }
        let private_host = exceptions.private_host;
        if !private_host.is_empty() && format!("{host}:{port}").eq_ignore_ascii_case(private_host) {
            return Ok(Address(text.to_owned()));
        }
        check_host(host)?;
        Ok(Address(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_characters(text: &str) -> Result<(), AddressRefusal> {
    if text.len() > ADDRESS_CHARACTERS_MAX {
        return Err(AddressRefusal::Length);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte)) {
        return Err(AddressRefusal::Characters);
    }
    if text.contains('#') { Err(AddressRefusal::Fragment) } else { Ok(()) }
}

fn split_authority(text: &str) -> Result<(&str, u16), AddressRefusal> {
    let (rest, default_port) = split_scheme(text)?;
    split_port(rest.split(['/', '?']).next().unwrap_or_default(), default_port)
}

/// One spelling for each host.
fn canonical(host: &str) -> String {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner.and_then(|inner| inner.parse::<Ipv6Addr>().ok()) {
        Some(address) => format!("[{address}]"),
        None => host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(),
    }
}

fn split_scheme(text: &str) -> Result<(&str, u16), AddressRefusal> {
    let (scheme, rest) = text.split_once("://").ok_or(AddressRefusal::Scheme)?;
    match scheme.to_ascii_lowercase().as_str() {
        "https" => Ok((rest, 443)),
        "http" => Ok((rest, 80)),
        _ => Err(AddressRefusal::Scheme),
    }
}

fn split_port(authority: &str, default_port: u16) -> Result<(&str, u16), AddressRefusal> {
    if authority.contains('@') {
        return Err(AddressRefusal::Credentials);
    }
    let after_brackets = authority.rfind(']').map_or(0, |end| end + 1);
    let Some(colon) = authority[after_brackets..].find(':').map(|at| at + after_brackets) else {
        return Ok((authority, default_port));
    };
    let digits = &authority[colon + 1..];
    let port = digits.parse().ok().filter(|port| *port > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()));
    Ok((&authority[..colon], port.ok_or(AddressRefusal::Port)?))
}

fn check_host(host: &str) -> Result<(), AddressRefusal> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(AddressRefusal::Host)?;
        let address: Ipv6Addr = inner.parse().map_err(|_| AddressRefusal::Host)?;
        return if is_public_v6(address) { Ok(()) } else { Err(AddressRefusal::Private) };
    }
    match host.parse::<Ipv4Addr>() {
        Ok(address) if is_public_v4(address) => Ok(()),
        Ok(_) => Err(AddressRefusal::Private),
        Err(_) => check_name(host),
    }
}

fn check_name(name: &str) -> Result<(), AddressRefusal> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let labels: Vec<&str> = name.split('.').collect();
    let last = labels.last().copied().unwrap_or_default();
    if name.len() > NAME_CHARACTERS_MAX || !labels.iter().all(|label| is_label(label)) {
        return Err(AddressRefusal::Host);
    }
    if is_number(last) {
        return Err(AddressRefusal::Host);
    }
    // A name without a dot is looked up in the network's own domain.
    if labels.len() < 2 || PRIVATE_SUFFIXES.contains(&last) || labels[1..].contains(&CLUSTER_LABEL) {
        return Err(AddressRefusal::Private);
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    let fits = (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
    fits && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// What URL libraries read as part of an IPv4 address: decimal, octal and hexadecimal alike.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || label.bytes().all(|byte| byte.is_ascii_digit())
}

/// By IANA's registry of special-purpose IPv4 addresses.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0 | 10 | 127, ..] => true,
        [100, 64..=127, ..] => true,
        [169, 254, ..] => true,
        [172, 16..=31, ..] => true,
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [192, 168, ..] => true,
        [198, 18 | 19, ..] | [198, 51, 100, _] => true,
        [203, 0, 113, _] => true,
        [first, ..] => first >= 224,
    };
    !special
}

/// Global unicast is 2000::/3; of that, what is for documentation or has an IPv4 address inside is refused. So are the
/// mapped, compatible and translated forms of IPv4 addresses, which lie outside of 2000::/3.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let special = match address.segments() {
        [0x2001, 0..=0x01ff, ..] => true,
        [0x2001, 0x0db8, ..] => true,
        [0x2002, ..] => true,
        [0x3fff, 0..=0x0fff, ..] => true,
        [first, ..] => first & 0xe000 != 0x2000,
    };
    !special
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO: Exceptions = Exceptions { private_host: "127.0.0.1:3003", bridge_url: "http://127.0.0.1:3001" };

    fn check(text: &str, expected: Result<(), AddressRefusal>) {
        assert_eq!(Address::parse(text, DEMO).map(|_| ()), expected, "{text}");
    }

    #[test]
    fn public_addresses_are_taken_as_they_were_written() {
        for text in [
            "https://shop.example.com/hooks?source=till",
            "http://shop.example.com:8080",
            "HTTPS://Shop.Example.com./a",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]:8443/x",
            "https://xn--bcher-kva.example/%C3%BC?q=@:1",
            "https://svc.example.com/",
        ] {
            assert_eq!(Address::parse(text, Exceptions::default()).unwrap().as_str(), text);
        }
    }

    // promise: DOMAIN: literal private, loopback and link-local addresses of endpoints are refused, in every spelling
    #[test]
    fn private_addresses_are_refused_in_every_spelling() {
        use AddressRefusal::{Host, Private};
        for host in "127.0.0.1 10.1.2.3 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 \
             255.255.255.255 224.0.0.1 198.18.0.1 192.0.2.1 localhost LOCALHOST localhost. a.localhost \
             printer.local db.internal core kubernetes.default.svc.cluster.local core.till.svc \
             core.till.SVC. core.till.svc.k8s.example.com [::1] [::] [fe80::1] \
             [fc00::1] [fd12::1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] [64:ff9b::7f00:1] \
             [2002:7f00:1::] [2001:0:1::] [2001:db8::1] [ff02::1] [0:0:0:0:0:0:0:1] [::FFFF:A9FE:A9FE]"
            .split(' ')
        {
            check(&format!("http://{host}/"), Err(Private));
        }
        for host in "2130706433 0x7f000001 0x7F.0.0.1 0177.0.0.1 127.1 127.0.1 017700000001 127.0.0.1. 127.0.0.01 \
             0x7f.1 1.2.3.4.5 256.256.256.256 example.0x example.1 [::1%25lo] [::1]a [127.0.0.1] a..b \
             -a.example %31%32%37.0.0.1"
            .split(' ')
        {
            check(&format!("http://{host}/"), Err(Host));
        }
        check("http:///", Err(Host));
    }

    #[test]
    fn the_one_private_host_that_is_named_is_taken_with_its_port_only() {
        check("http://127.0.0.1:3003/hook", Ok(()));
        check("http://127.0.0.1:3002/hook", Err(AddressRefusal::Private));
        check("http://127.0.0.1/hook", Err(AddressRefusal::Private));
        check("http://2130706433:3003/hook", Err(AddressRefusal::Host));
        assert_eq!(Address::parse("http://127.0.0.1:3003/", Exceptions::default()), Err(AddressRefusal::Private));
    }

    #[test]
    fn the_bridge_is_no_endpoint_wherever_it_is() {
        let parse =
            |text, bridge_url| Address::parse(text, Exceptions { private_host: "10.0.0.1:80", bridge_url }).map(|_| ());
        let own = Err(AddressRefusal::Own);
        assert_eq!(parse("http://bridge.example.com/topics/core", "http://Bridge.Example.com"), own);
        assert_eq!(parse("https://BRIDGE.example.com.:8443", "http://bridge.example.com:8443/base/"), own);
        assert_eq!(parse("https://[2606:4700:0::1111]/", "https://[2606:4700::1111]"), own);
        assert_eq!(parse("http://10.0.0.1/", "http://10.0.0.1:80"), own);
        assert_eq!(parse("https://bridge.example.com/", "http://bridge.example.com"), Ok(()));
        assert_eq!(parse("http://shop.example.com/", ""), Ok(()));
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        use AddressRefusal::*;
        check("shop.example.com", Err(Scheme));
        check("ftp://shop.example.com", Err(Scheme));
        check("file:///etc/passwd", Err(Scheme));
        check("https://user:pass@shop.example.com", Err(Credentials));
        check("https://shop.example.com@10.0.0.1/", Err(Credentials));
        check("https://shop.example.com\\@10.0.0.1/", Err(Characters));
        check("https://shop.example.com/ a", Err(Characters));
        check("https://shop.example.com/\r\nX: y", Err(Characters));
        check("https://１２７.0.0.1/", Err(Characters));
        check("https://shop.example.com/#a", Err(Fragment));
        check("https://shop.example.com:0/", Err(Port));
        check("https://shop.example.com:65536/", Err(Port));
        check("https://shop.example.com:+80/", Err(Port));
        check("https://shop.example.com:/", Err(Port));
        check(&format!("https://shop.example.com/{}", "a".repeat(2_048)), Err(Length));
    }
}
