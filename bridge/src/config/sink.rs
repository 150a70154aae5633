//! Where a source's events go: a ref, an absolute URI, or a URI relative to a ref, becomes one URL.

use std::fmt;

use url::Url;

use super::fields::Fields;
use super::secrets::Secrets;
use super::yaml::Environment;
use crate::tls::{Identity, Tls};

/// A sink: its name, by which wakes and people call it, its address, and what TLS to it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    pub name: String,
    pub url: Url,
    pub tls: Tls,
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.shown())
    }
}

impl Sink {
    /// Its address for logs, people and dead letters.
    pub fn shown(&self) -> String {
        shown(&self.url)
    }
}

/// An address without what may be a secret in it: its query, and who says to be whom.
pub fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    if shown.query().is_some() {
        shown.set_query(Some("***"));
    }
    if !shown.username().is_empty() || shown.password().is_some() {
        let _ = shown.set_username("***");
        let _ = shown.set_password(None);
    }
    shown.set_fragment(None);
    shown.to_string()
}

/// How refs become addresses and secrets.
#[derive(Clone, Copy)]
pub struct Resolver<'a> {
    /// `http://127.0.0.1:3000/{name}`; `None` is the cluster's DNS.
    pub template: Option<&'a str>,
    pub environment: Environment<'a>,
    pub secrets: Secrets<'a>,
    /// Whether there are brokers: with the embedded log, credentials for them are not looked for.
    pub has_brokers: bool,
}

impl Resolver<'_> {
    /// The sink of a document called `owner`. Without the field, `K_SINK` is honoured.
    pub fn read(&self, spec: &mut Fields, owner: &str, namespace: &str) -> Option<Sink> {
        let line = spec.line;
        let Some(sink) = spec.fields("sink") else {
            let Some(uri) = (self.environment)("K_SINK") else {
                spec.problem(line, format!("`{}` is missing", spec.name("sink")));
                return None;
            };
            return checked(
                spec,
                line,
                owner,
                Url::parse(&uri).map_err(|error| format!("K_SINK: {error}")),
                Tls::default(),
            );
        };
        self.destination(sink, owner, namespace)
    }

    /// Knative's Destination: a ref, a URI, or a URI relative to a ref.
    pub fn destination(&self, mut sink: Fields, owner: &str, namespace: &str) -> Option<Sink> {
        let tls = Tls { authorities: authorities(&mut sink), identity: None };
        sink.unsupported("audience", "it needs a cluster's controllers");
        let (line, uri) = (sink.line, sink.text("uri"));
        let service = sink.fields("ref").and_then(|reference| service(reference, namespace));
        let name = service.as_ref().map_or(owner, |(name, _)| name).to_owned();
        let base = service.map(|(name, namespace)| self.address(&name, &namespace));
        let checked = checked(&sink, line, &name, joined(base, uri.as_deref()), tls);
        sink.finish();
        checked
    }

    fn address(&self, name: &str, namespace: &str) -> String {
        match self.template {
            Some(template) => template.replace("{name}", name).replace("{namespace}", namespace),
            None => format!("http://{name}.{namespace}.svc.cluster.local"),
        }
    }
}

/// Who the bridge is to a sink. The files are looked at again at each connection.
pub fn identity(mut fields: Fields, resolver: Resolver) -> Option<Identity> {
    ["cert", "key"].into_iter().for_each(|field| fields.needs(field));
    let (cert, key) = (resolver.secrets.file(&mut fields, "cert"), resolver.secrets.file(&mut fields, "key"));
    let ((line, cert), (_, key)) = (cert?, key?);
    let identity = Identity { cert, key };
    if let Err(reason) = (Tls { authorities: None, identity: Some(identity.clone()) }).check() {
        fields.problem(line, format!("`spec.auth.tls`: {reason}"));
    }
    fields.finish();
    Some(identity)
}

/// PEM that is trusted beside the well-known authorities.
fn authorities(sink: &mut Fields) -> Option<String> {
    sink.map("CACerts", |pem| {
        let tls = Tls { authorities: Some(pem.to_owned()), identity: None };
        tls.check().map(|()| pem.to_owned())
    })
}

fn service(mut reference: Fields, namespace: &str) -> Option<(String, String)> {
    let (line, name, kind) = (reference.line, reference.required("name"), reference.required("kind"));
    let namespace = reference.text("namespace").unwrap_or_else(|| namespace.to_owned());
    reference.ignored("apiVersion");
    if kind != "Service" && !kind.is_empty() {
        reference
            .problem(line, format!("a ref to a `{kind}` needs a cluster's controllers; only a Service can be called"));
    }
    reference.finish();
    (!name.is_empty()).then_some((name, namespace))
}

/// RFC 3986, section 5: `uri` may be absolute, or relative to the ref. A text that is no address is not told: nobody knows what in it
/// is a secret.
fn joined(base: Option<String>, uri: Option<&str>) -> Result<Url, String> {
    let wrong = |what: &str, error| format!("{what} is no URL: {error}");
    match (base, uri) {
        (Some(base), uri) => {
            let url = Url::parse(&base).map_err(|error| wrong(&format!("`{base}`"), error))?;
            uri.map_or(Ok(url.clone()), |uri| url.join(uri).map_err(|error| wrong("the sink's `uri`", error)))
        }
        (None, Some(uri)) => Url::parse(uri).map_err(|error| wrong("the sink's `uri`", error)),
        (None, None) => Err("a sink needs a `ref` or a `uri`".into()),
    }
}

fn checked(spec: &Fields, line: usize, name: &str, url: Result<Url, String>, tls: Tls) -> Option<Sink> {
    let url = url.and_then(|url| match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => {
            Err("the sink's address holds credentials, which would be told with it; use a token's file".into())
        }
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(format!("`{}` is no HTTP address", shown(&url))),
    });
    url.map_err(|problem| spec.problem(line, problem)).ok().map(|url| Sink { name: name.to_owned(), url, tls })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fields::Problems;
    use crate::config::yaml;

    fn read(spec: &str, template: Option<&str>) -> Result<String, String> {
        let documents = yaml::documents(spec, &|_| None).unwrap();
        let problems = Problems::of("f.yaml");
        let environment = |name: &str| (name == "K_SINK").then(|| "http://k:1/s".into());
        let resolver = Resolver { template, environment: &environment, secrets: Secrets(None), has_brokers: true };
        let sink = resolver.read(&mut Fields::of(&documents[0], "spec", &problems), "owner", "shop");
        let problems = problems.into_vec();
        match problems.first() {
            Some(problem) => Err(problem.text.clone()),
            None => sink.map(|sink| format!("{} {}", sink.name, sink.url)).ok_or_else(|| "no sink".into()),
        }
    }

    // promise: BRIDGE: sink refs resolve to a cluster's DNS, or by --resolve
    #[test]
    fn refs_resolve_in_a_cluster_and_on_a_laptop() {
        let spec = "sink: { ref: { apiVersion: v1, kind: Service, name: core }, uri: /core/events }";
        assert_eq!(read(spec, None).unwrap(), "core http://core.shop.svc.cluster.local/core/events");
        assert_eq!(read(spec, Some("http://127.0.0.1:3000/{name}")).unwrap(), "core http://127.0.0.1:3000/core/events");
        let relative = "sink: { ref: { kind: Service, name: core, namespace: n }, uri: events?x=1 }";
        assert_eq!(read(relative, Some("http://h/{namespace}/{name}/")).unwrap(), "core http://h/n/core/events?x=1");
    }

    #[test]
    fn an_absolute_uri_needs_no_ref_and_k_sink_stands_in() {
        assert_eq!(read("sink: { uri: 'http://h:1/p' }", None).unwrap(), "owner http://h:1/p");
        assert_eq!(read("sink: { uri: 'https://h/p' }", None).unwrap(), "owner https://h/p");
        assert_eq!(read("a: 1", None).unwrap(), "owner http://k:1/s");
    }

    // promise: BRIDGE: secrets in an address or a record reach no log, no answer of the API and no dead letter
    #[test]
    fn what_may_be_a_secret_in_an_address_is_not_shown() {
        let sink = |url: &str| Sink { name: "s".into(), url: url.parse().unwrap(), tls: Tls::default() };
        assert_eq!(sink("https://h/p?token=hunter2#f").to_string(), "s (https://h/p?***)");
        assert_eq!(sink("https://h/p").shown(), "https://h/p");
        assert_eq!(shown(&"ftp://me:hunter2@h/p".parse().unwrap()), "ftp://***@h/p");
        for spec in ["'http://me:hunter2@h/'", "'http://h:x/?k=hunter2'", "'ftp://h/?k=hunter2'", "'//h?k=hunter2'"] {
            let problem = read(&format!("sink: {{ uri: {spec} }}"), None).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn what_cannot_be_called_is_refused_by_name() {
        let broker = "sink: { ref: { kind: Broker, name: b } }";
        let documents = yaml::documents(broker, &|_| None).unwrap();
        let problems = Problems::of("f.yaml");
        let resolver = Resolver { template: None, environment: &|_| None, secrets: Secrets(None), has_brokers: true };
        resolver.read(&mut Fields::of(&documents[0], "spec", &problems), "o", "n");
        assert!(problems.into_vec()[0].text.contains("`Broker`"));
        assert!(read("sink: { uri: 'https://h', CACerts: x }", None).unwrap_err().contains("no PEM certificate"));
        assert!(read("sink: { uri: 'ftp://h' }", None).unwrap_err().contains("no HTTP"));
        assert!(read("sink: {}", None).unwrap_err().contains("`ref` or a `uri`"));
    }
}
