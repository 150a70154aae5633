//! How a cluster is reached: servers, `net` of a source, `auth` of a KafkaSink and properties that are passed through become
//! the properties of librdkafka.

use std::collections::BTreeMap;

use super::delivery::Dialect;
use super::fields::Fields;
use super::secrets::{Secret, Secrets};
use super::sink::Resolver;
use crate::log;

/// A cluster, and who we are to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    pub servers: Vec<String>,
    /// Of librdkafka, without the servers.
    pub properties: BTreeMap<String, Secret>,
}

const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

impl Connection {
    /// All properties, for the log.
    pub fn for_log(&self) -> BTreeMap<String, String> {
        let servers = ("bootstrap.servers".to_owned(), self.servers.join(","));
        let others = self.properties.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned()));
        others.chain([servers]).collect()
    }

    /// The connection of a source.
    pub fn of_source(spec: &mut Fields, dialect: Dialect, resolver: Resolver) -> Connection {
        let mut connection = Connection { servers: servers(spec), properties: BTreeMap::new() };
        let secrets = resolver.secrets;
        if !resolver.has_brokers {
            spec.ignored("net");
            (dialect == Dialect::Till).then(|| spec.ignored("kafka"));
            return connection;
        }
        if let Some(mut net) = spec.fields("net") {
            let sasl = net.fields("sasl").map(|fields| connection.sasl(fields, secrets));
            let tls = net.fields("tls").map(|fields| connection.tls(fields, secrets));
            connection.protocol(sasl == Some(true), tls == Some(true));
            net.finish();
        }
        if dialect == Dialect::Till
            && let Some(properties) = spec.fields("kafka")
        {
            connection.pass_through(properties, secrets);
        }
        connection
    }

    /// The connection of a KafkaSink. Its Secret says everything, by Knative's keys.
    pub fn of_topic(spec: &mut Fields, resolver: Resolver) -> Connection {
        let mut connection = Connection { servers: servers(spec), properties: BTreeMap::new() };
        let secrets = resolver.secrets;
        if !resolver.has_brokers {
            spec.ignored("auth");
            return connection;
        }
        let Some(mut auth) = spec.fields("auth") else { return connection };
        if let Some(mut secret) = auth.fields("secret") {
            if let Some(mut reference) = secret.fields("ref") {
                let (line, name) = (reference.line, reference.required("name"));
                reference.finish();
                let read = if name.is_empty() { Ok(()) } else { connection.whole_secret(&name, secrets) };
                read.unwrap_or_else(|reason| secret.problem(line, format!("`spec.auth.secret.ref`: {reason}")));
            }
            secret.finish();
        }
        auth.finish();
        connection
    }

    /// Answers whether it is enabled. What is disabled is not read.
    fn sasl(&mut self, mut sasl: Fields, secrets: Secrets) -> bool {
        sasl.unsupported("tokenProvider", "it needs a cluster's controllers");
        sasl.unsupported("roleARN", "it needs a cluster's controllers");
        let enabled = sasl.parsed::<bool>("enable", "true or false") == Some(true);
        if enabled {
            let line = sasl.line_of("type");
            let mechanism = secrets.text(&mut sasl, "type").unwrap_or_else(|| Secret::new(MECHANISMS[0]));
            known_mechanism(&mechanism)
                .unwrap_or_else(|reason| sasl.problem(line, format!("`spec.net.sasl.type` {reason}")));
            self.put("sasl.mechanism", Some(mechanism));
            for (field, property) in [("user", "sasl.username"), ("password", "sasl.password")] {
                sasl.needs(field);
                let value = secrets.text(&mut sasl, field);
                self.put(property, value);
            }
        } else {
            ["type", "user", "password"].into_iter().for_each(|field| sasl.ignored(field));
        }
        sasl.finish();
        enabled
    }

    fn tls(&mut self, mut tls: Fields, secrets: Secrets) -> bool {
        let enabled = tls.parsed::<bool>("enable", "true or false") == Some(true);
        let fields = [("caCert", "ssl.ca.pem"), ("cert", "ssl.certificate.pem"), ("key", "ssl.key.pem")];
        for (field, property) in fields {
            if enabled {
                let value = secrets.text(&mut tls, field);
                self.put(property, value);
            } else {
                tls.ignored(field);
            }
        }
        let has = |property| self.properties.contains_key(property);
        if has("ssl.certificate.pem") != has("ssl.key.pem") {
            tls.problem(tls.line, "`spec.net.tls.cert` and `spec.net.tls.key` go together");
        }
        tls.finish();
        enabled
    }

    fn whole_secret(&mut self, name: &str, secrets: Secrets) -> Result<(), String> {
        let key = |key: &str| secrets.key(name, key);
        let needed = |key: &str| {
            let found = secrets.key(name, key)?;
            found.ok_or_else(|| format!("the Secret `{name}` has no key `{key}`"))
        };
        let protocol = needed("protocol")?;
        let (sasl, tls) = match protocol.reveal() {
            "PLAINTEXT" => (false, false),
            "SASL_PLAINTEXT" => (true, false),
            "SSL" => (false, true),
            "SASL_SSL" => (true, true),
            _ => return Err("its protocol must be one of PLAINTEXT, SASL_PLAINTEXT, SSL, SASL_SSL".into()),
        };
        self.protocol(sasl, tls);
        if sasl {
            let mechanism = key("sasl.mechanism")?.unwrap_or_else(|| Secret::new(MECHANISMS[0]));
            known_mechanism(&mechanism).map_err(|reason| format!("its sasl.mechanism {reason}"))?;
            self.put("sasl.mechanism", Some(mechanism));
            self.put("sasl.username", Some(needed("user")?));
            self.put("sasl.password", Some(needed("password")?));
        }
        if tls {
            self.put("ssl.ca.pem", key("ca.crt")?);
        }
        let skip = key("user.skip")?.is_some_and(|skip| skip.reveal() == "true");
        if tls && !sasl && !skip {
            let remedy = |reason| format!("{reason} (or user.skip: \"true\", where brokers ask for none)");
            self.put("ssl.certificate.pem", Some(needed("user.crt").map_err(remedy)?));
            self.put("ssl.key.pem", Some(needed("user.key").map_err(remedy)?));
        }
        Ok(())
    }

    fn protocol(&mut self, sasl: bool, tls: bool) {
        let protocol = match (sasl, tls) {
            (true, true) => "sasl_ssl",
            (true, false) => "sasl_plaintext",
            (false, true) => "ssl",
            (false, false) => return,
        };
        self.put("security.protocol", Some(Secret::new(protocol)));
    }

    /// `spec.kafka`: any property of librdkafka. What has a field of its own, and what the bridge's promises hang on, is refused.
    fn pass_through(&mut self, mut properties: Fields, secrets: Secrets) {
        for name in properties.names() {
            let line = properties.line_of(&name);
            let value = match properties.is_mapping(&name) {
                true => secrets.text(&mut properties, &name),
                false => properties.text(&name).map(Secret::new),
            };
            let Some(value) = value else { continue };
            match self.allowed(&name, &value) {
                Ok(()) => self.put(&name, Some(value)),
                Err(reason) => properties.problem(line, format!("`spec.kafka.{name}` {reason}")),
            }
        }
        properties.finish();
    }

    fn allowed(&self, name: &str, value: &Secret) -> Result<(), String> {
        if name == "bootstrap.servers" || name == "metadata.broker.list" {
            return Err("has a field of its own: spec.bootstrapServers".into());
        }
        if self.properties.contains_key(name) {
            return Err("is said twice: spec.net says it as well".into());
        }
        log::check_property(name, value.reveal())
    }

    fn put(&mut self, property: &str, value: Option<Secret>) {
        if let Some(value) = value {
            self.properties.insert(property.to_owned(), value);
        }
    }
}

fn servers(spec: &mut Fields) -> Vec<String> {
    let servers = spec.texts("bootstrapServers");
    if servers.is_empty() {
        spec.problem(spec.line, "`spec.bootstrapServers` must name at least one server");
    }
    servers
}

fn known_mechanism(mechanism: &Secret) -> Result<(), String> {
    let known = MECHANISMS.contains(&mechanism.reveal());
    if known { Ok(()) } else { Err(format!("must be one of {}", MECHANISMS.join(", "))) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, LogKind, Options};

    const SOURCE: &str = "apiVersion: till.dev/v1\nkind: Source\nmetadata: { name: s }\nspec:\n  bootstrapServers: [b:1]\n  \
                          topics: [t]\n  sink: { uri: 'http://h/' }\n";
    const SASL: &str = "  net:\n    sasl:\n      enable: true\n      user: { secretKeyRef: { name: k, key: user } }\n      password: { \
                        secretKeyRef: { name: k, key: password } }\n      type: { secretKeyRef: { name: k, key: type } }\n";
    const TOPIC: &str = "---\napiVersion: eventing.knative.dev/v1alpha1\nkind: KafkaSink\nmetadata: { name: d }\nspec:\n  topic: d\n  \
                         bootstrapServers: [b:1]\n";

    struct Mounted(tempfile::TempDir);

    impl Mounted {
        fn new(keys: &[(&str, &str)]) -> Mounted {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("k")).unwrap();
            for (key, text) in keys {
                std::fs::write(folder.path().join("k").join(key), text).unwrap();
            }
            Mounted(folder)
        }

        fn parse(&self, text: &str) -> Result<Config, String> {
            parse(text, Some(self.0.path()), LogKind::Kafka)
        }

        fn properties(&self, text: &str) -> Result<String, String> {
            let connection = self.parse(text)?.connection().cloned().unwrap_or_default();
            let told = connection.properties.iter().map(|(name, value)| format!("{name}={}", value.reveal()));
            Ok(told.collect::<Vec<_>>().join(" "))
        }
    }

    fn parse(text: &str, secrets: Option<&Path>, log: LogKind) -> Result<Config, String> {
        let options = Options { log, secrets: secrets.map(Path::to_owned), ..Options::default() };
        Config::parse(&[("f.yaml".into(), text.into())], &options, &|_| None)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn credentials() -> Mounted {
        Mounted::new(&[("user", "alice\n"), ("password", "hunter2"), ("type", "SCRAM-SHA-512"), ("odd", "GSSAPI")])
    }

    #[test]
    fn net_becomes_the_properties_of_librdkafka() {
        let mounted = credentials();
        let sasl = "sasl.mechanism=SCRAM-SHA-512 sasl.password=hunter2 sasl.username=alice security.protocol=";
        assert_eq!(mounted.properties(&format!("{SOURCE}{SASL}")), Ok(format!("{sasl}sasl_plaintext")));
        let both = format!("{SOURCE}{SASL}    tls: {{ enable: true }}\n");
        assert_eq!(mounted.properties(&both), Ok(format!("{sasl}sasl_ssl")));
        let tls = format!("{SOURCE}  net: {{ tls: {{ enable: true }} }}\n");
        assert_eq!(mounted.properties(&tls), Ok("security.protocol=ssl".into()));
        let disabled = format!("{SOURCE}{SASL}").replace("enable: true", "enable: false");
        assert_eq!(mounted.properties(&disabled), Ok(String::new()));
    }

    #[test]
    fn what_is_wrong_with_secrets_is_told_at_once_and_never_a_secret() {
        let mounted = credentials();
        let wrong = SASL.replace("key: type", "key: odd").replace("key: user", "key: nobody");
        let problems = mounted
            .parse(&format!(
                "{SOURCE}{wrong}    tls: {{ enable: true, cert: {{ secretKeyRef: {{ name: k, \
                                               key: user }} }} }}\n"
            ))
            .unwrap_err();
        for (line, word) in
            [(11, "has no key `nobody`"), (13, "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"), (14, "go together")]
        {
            assert!(
                problems.lines().any(|told| told.starts_with(&format!("f.yaml:{line}: ")) && told.contains(word)),
                "{word}: {problems}"
            );
        }
        assert!(!problems.contains("hunter2") && !problems.contains("GSSAPI"), "{problems}");
        let problems = parse(&format!("{SOURCE}{SASL}"), None, LogKind::Kafka).unwrap_err();
        assert!(problems.contains("--secrets DIR"), "{problems}");
        assert!(parse(&format!("{SOURCE}{SASL}"), None, LogKind::Embedded("l.db".into())).is_ok());
        let config = mounted.parse(&format!("{SOURCE}{SASL}")).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_kafka_sink_s_secret_has_knatives_keys() {
        let topic = format!("{TOPIC}  auth: {{ secret: {{ ref: {{ name: k }} }} }}\n");
        let check = |keys: &[(&str, &str)], expected: Result<&str, &str>| match (
            Mounted::new(keys).properties(&topic),
            expected,
        ) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(word)) => assert!(found.contains(word), "{word}: {found}"),
            (found, expected) => panic!("{found:?} and not {expected:?}"),
        };
        let (user, password) = (("user", "alice"), ("password", "hunter2"));
        let plain = "sasl.mechanism=PLAIN sasl.password=hunter2 sasl.username=alice security.protocol=sasl_plaintext";
        check(&[("protocol", "SASL_PLAINTEXT"), user, password], Ok(plain));
        check(&[("protocol", "SSL"), ("user.skip", "true")], Ok("security.protocol=ssl"));
        check(&[("protocol", "PLAINTEXT")], Ok(""));
        check(&[user], Err("has no key `protocol`"));
        check(&[("protocol", "SSL")], Err("user.skip"));
        check(&[("protocol", "SASL_SSL"), user], Err("has no key `password`"));
        check(&[("protocol", "SASL_SSL"), ("sasl.mechanism", "X"), user, password], Err("its sasl.mechanism must be"));
        check(&[("protocol", "HTTP")], Err("its protocol must be"));
    }

    // promise: BRIDGE: any property of librdkafka is passed through, and what the bridge must say itself is refused by name
    #[test]
    fn properties_are_passed_through_unless_the_bridge_hangs_on_them() {
        let mounted = credentials();
        let source = |properties: &str| format!("{SOURCE}  kafka:\n{properties}");
        let passed =
            source("    socket.timeout.ms: 9000\n    ssl.key.password: { secretKeyRef: { name: k, key: password } }\n");
        assert_eq!(mounted.properties(&passed), Ok("socket.timeout.ms=9000 ssl.key.password=hunter2".into()));
        let wrong =
            "    group.id: x\n    acks: 1\n    colour: red\n    socket.timeout.ms: long\n    bootstrap.servers: c:1\n";
        let problems = mounted.parse(&source(wrong)).unwrap_err();
        let expected = [
            (9, "by the bridge itself"),
            (10, "always all"),
            (11, "no property"),
            (12, "this value"),
            (13, "field of its own"),
        ];
        for (line, word) in expected {
            assert!(
                problems.lines().any(|told| told.starts_with(&format!("f.yaml:{line}: ")) && told.contains(word)),
                "{word}: {problems}"
            );
        }
        let knative = source("    socket.timeout.ms: 9000\n")
            .replace("till.dev/v1", "sources.knative.dev/v1")
            .replace("kind: Source", "kind: KafkaSource");
        assert!(mounted.parse(&knative).unwrap_err().contains("`spec.kafka` is unknown"));
    }

    #[test]
    fn what_fits_no_client_is_told_before_the_start() {
        let mounted = Mounted::new(&[("ca", "no PEM")]);
        let text = format!(
            "{SOURCE}  net: {{ tls: {{ enable: true, caCert: {{ secretKeyRef: {{ name: k, key: ca }} }} }} }}\n"
        );
        assert!(mounted.parse(&text).unwrap_err().contains("f.yaml:5: the connection to Kafka: "));
    }

    #[test]
    fn one_bridge_is_one_user_of_one_cluster() {
        let mounted =
            Mounted::new(&[("user", "a"), ("password", "b"), ("type", "PLAIN"), ("protocol", "SASL_PLAINTEXT")]);
        let other = SOURCE.replace("name: s", "name: o");
        let auth = "  auth: { secret: { ref: { name: k } } }\n";
        assert!(mounted.parse(&format!("{SOURCE}{SASL}{TOPIC}")).is_ok(), "a topic may be silent");
        assert!(mounted.parse(&format!("{SOURCE}{SASL}{TOPIC}{auth}")).is_ok(), "or say the same");
        for foreign in [format!("---\n{other}"), format!("{TOPIC}{auth}").replace("[b:1]", "[c:1]")] {
            let problems = mounted.parse(&format!("{SOURCE}{SASL}{foreign}")).unwrap_err();
            assert!(problems.contains("run one bridge for each"), "{problems}");
        }
    }
}
