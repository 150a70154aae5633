//! Where a component may connect to: its `allowed_outbound_hosts`, as Spin writes them (`scheme://host:port`, with `*` for
//! any scheme, host or port, and `*.example.com` for any host below).

/// The rules of one component.
#[derive(Debug, Default)]
pub struct AllowedHosts(Vec<Rule>);

/// How far a component's rules let it go to one host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    Denied,
    /// A wildcard covers it: private addresses stay out of reach.
    Wildcard,
    /// A rule names this very host and port: the operator means it, even where its address is private.
    Named,
}

#[derive(Debug, PartialEq)]
struct Rule {
    scheme: Option<String>,
    host: HostPattern,
    port: Option<u16>,
}

#[derive(Debug, PartialEq)]
enum HostPattern {
    Any,
    Below(String),
    Exactly(String),
}

impl AllowedHosts {
    /// Reads the rules; tells all that are wrong, by the text before rendering, because the rendered one may hold a secret.
    pub fn parse<'a>(rules: impl Iterator<Item = (&'a str, String)>) -> Result<Self, Vec<String>> {
        let (mut good, mut problems) = (Vec::new(), Vec::new());
        for (written, rendered) in rules {
            match Rule::parse(&rendered) {
                Ok(rule) => good.push(rule),
                Err(why) => problems.push(format!("allowed_outbound_hosts: `{written}` {why}")),
            }
        }
        if problems.is_empty() { Ok(Self(good)) } else { Err(problems) }
    }

    pub fn permission(&self, scheme: &str, host: &str, port: u16) -> Permission {
        let host = normal(host);
        let covering = || self.0.iter().filter(|rule| rule.covers(scheme, &host, port));
        match covering().any(|rule| matches!(rule.host, HostPattern::Exactly(_)) && rule.port.is_some()) {
            true => Permission::Named,
            false if covering().next().is_some() => Permission::Wildcard,
            false => Permission::Denied,
        }
    }

    /// Whether any rule speaks of this scheme.
    pub fn mentions(&self, scheme: &str) -> bool {
        self.0.iter().any(|rule| rule.scheme.as_deref().is_none_or(|one| one == scheme))
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("has no `scheme://`")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err("has a path; only scheme, host and port count");
        }
        if rest.contains('@') {
            return Err("has a user in it; only scheme, host and port count");
        }
        let (host, port) = split_port(rest)?;
        let port = match port {
            Some("*") => None,
            Some(port) => Some(port.parse().map_err(|_| "has a port that is neither a number nor `*`")?),
            None => Some(default_port(scheme).ok_or("has no port, and its scheme has no usual one")?),
        };
        let scheme = (scheme != "*").then(|| scheme.to_ascii_lowercase());
        Ok(Self { scheme, host: HostPattern::parse(host)?, port })
    }

    fn covers(&self, scheme: &str, host: &str, port: u16) -> bool {
        let same_scheme = self.scheme.as_ref().is_none_or(|one| one.eq_ignore_ascii_case(scheme));
        same_scheme && self.port.is_none_or(|one| one == port) && self.host.covers(host)
    }
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "" => Err("has no host"),
            "*" => Ok(Self::Any),
            "self" | "self.alt" => Err("names `self`, which this host does not offer: functions never call functions"),
            _ => match text.strip_prefix("*.") {
                Some(rest) if !rest.contains('*') => Ok(Self::Below(format!(".{}", normal(rest)))),
                None if !text.contains('*') => Ok(Self::Exactly(normal(text))),
                _ => Err("has a wildcard that is neither `*` nor a leading `*.`"),
            },
        }
    }

    fn covers(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Below(suffix) => host.ends_with(suffix),
            Self::Exactly(name) => host == name,
        }
    }
}

/// `host:port` or `[v6]:port` apart.
fn split_port(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    let end_of_host = match text.strip_prefix('[') {
        Some(_) => text.find(']').ok_or("has `[` without `]`")? + 1,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(end_of_host);
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err("has something between host and port"),
    }
}

/// The port that a scheme means when none is written.
pub fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "postgres" => Some(5432),
        _ => None,
    }
}

/// Hosts are compared in lower case, without the brackets of IPv6 and the dot of a full name.
fn normal(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &[&str], (scheme, host, port): (&str, &str, u16), expected: Permission) {
        let rules = AllowedHosts::parse(rules.iter().map(|rule| (*rule, (*rule).to_owned()))).expect("rules");
        assert_eq!(rules.permission(scheme, host, port), expected, "{scheme}://{host}:{port}");
    }

    #[test]
    fn scheme_host_and_port_must_all_agree() {
        check(&["http://a.example:81"], ("http", "a.example", 81), Permission::Named);
        check(&["http://a.example:81"], ("http", "A.EXAMPLE.", 81), Permission::Named);
        check(&["http://a.example:81"], ("https", "a.example", 81), Permission::Denied);
        check(&["http://a.example:81"], ("http", "a.example", 80), Permission::Denied);
        check(&["http://a.example"], ("http", "a.example", 80), Permission::Named);
        check(&["postgres://db:5432"], ("postgres", "db", 5432), Permission::Named);
        check(&["http://[::1]:80/"], ("http", "[::1]", 80), Permission::Named);
        check(&[], ("http", "a.example", 80), Permission::Denied);
    }

    #[test]
    fn a_wildcard_allows_without_naming() {
        check(&["*://*:*"], ("http", "10.0.0.1", 80), Permission::Wildcard);
        check(&["https://*.example:443"], ("https", "x.example", 443), Permission::Wildcard);
        check(&["https://*.example:443"], ("https", "example", 443), Permission::Denied);
        check(&["http://a:*"], ("http", "a", 1), Permission::Wildcard);
        check(&["http://*:*", "http://127.0.0.1:3003"], ("http", "127.0.0.1", 3003), Permission::Named);
        check(&["http://*:*", "http://127.0.0.1:3003"], ("http", "127.0.0.1", 3001), Permission::Wildcard);
    }

    #[test]
    fn broken_rules_are_told_by_their_template() {
        for rule in
            ["a.example", "http://a/b", "http://u@a", "ftp://a", "http://self", "http://a:x", "http://a*b", "http://"]
        {
            let problems = AllowedHosts::parse([("{{ url }}", rule.to_owned())].into_iter()).expect_err(rule);
            assert!(problems[0].contains("{{ url }}") && !problems[0].contains("a.example"), "{problems:?}");
        }
    }
}
