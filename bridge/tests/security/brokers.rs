//! Towards brokers: every way to log in, and what is said when one does not work.

use std::path::Path;
use std::time::{Duration, Instant};

use bridge::log::{Log, NewTopic};

use crate::broker::{PASSWORD, Secure, secure};
use crate::certificates::{Authority, mount};
use crate::front::Front;
use crate::process::Process;
use crate::support::*;
use crate::world::unique;

pub const SASL: &str = "    sasl:\n      enable: true\n      user: { secretKeyRef: { name: kafka, key: user } }\n      password: { secretKeyRef: { name: \
                    kafka, key: password } }\n      type: { secretKeyRef: { name: kafka, key: sasl.mechanism } }\n";
pub const TLS: &str = "    tls: { enable: true, caCert: { secretKeyRef: { name: kafka, key: ca.crt } } }\n";
const MTLS: &str = "    tls:\n      enable: true\n      caCert: { secretKeyRef: { name: kafka, key: ca.crt } }\n      cert: { secretKeyRef: { name: \
                    kafka, key: user.crt } }\n      key: { secretKeyRef: { name: kafka, key: user.key } }\n";

/// A KafkaSource as Knative has it, and a KafkaSink for what it gives up, with the same Secret.
pub fn documents(topic: &str, servers: &str, net: &str, sink: &Sink) -> String {
    format!(
        "apiVersion: sources.knative.dev/v1\nkind: KafkaSource\nmetadata: {{ name: s }}\nspec:\n  bootstrapServers: [\"{servers}\"]\n  topics: \
         [{topic}]\n  consumerGroup: {topic}\n  initialOffset: earliest\n  net:\n{net}  sink: {{ uri: 'http://{}/' }}\n  delivery: {{ \
         deadLetterSink: {{ ref: {{ kind: KafkaSink, name: dead, apiVersion: eventing.knative.dev/v1alpha1 }} }} }}\n---\napiVersion: \
         eventing.knative.dev/v1alpha1\nkind: KafkaSink\nmetadata: {{ name: dead }}\nspec:\n  topic: {topic}-dead\n  bootstrapServers: \
         [\"{servers}\"]\n  auth: {{ secret: {{ ref: {{ name: kafka }} }} }}\n",
        sink.address
    )
}

/// A topic of its own, made through the plain door.
pub fn topic(broker: &Secure) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let log = Log::kafka([("bootstrap.servers".to_owned(), broker.plain())].into(), "maker").unwrap();
    let name = unique("in");
    let topic = |name: String| NewTopic { name, partitions: 1, replication: 1, retention: None };
    runtime.block_on(log.create_topics(vec![topic(name.clone()), topic(format!("{name}-dead"))])).unwrap();
    name
}

fn token(folder: &Path, topic: &str) {
    std::fs::create_dir_all(folder.join("tokens")).unwrap();
    std::fs::write(folder.join("tokens").join(topic), "push").unwrap();
}

/// An event goes in by the ingress, over Kafka, to a sink: both ways with the credentials in `secrets`.
fn round_trip(broker: &Secure, servers: &str, net: &str, mount: impl FnOnce(&Path)) {
    let (folder, topic) = (tempfile::tempdir().unwrap(), topic(broker));
    mount(&folder.path().join("secrets"));
    token(folder.path(), &topic);
    let sink = Sink::start(|_, _| answer(422));
    let process = Process::start(folder.path(), "kafka", &documents(&topic, servers, net, &sink));
    process.wait_until_ready();
    wait("the push to be taken", || process.push(&topic, "push").filter(|(status, _)| *status == 202));
    sink.wait_for(1);
    wait("its dead letter", || {
        process.get("/metrics").filter(|(_, page)| page.contains("till_dead_letters_total{source=\"s\"} 1"))
    });
    assert!(!process.said().contains(PASSWORD), "the password is in the log");
}

// promise: BRIDGE: SASL and TLS to brokers
#[test]
fn every_way_to_log_in_carries_events_both_ways() {
    let Some(broker) = secure() else { return };
    let password = broker.password_door();
    std::thread::scope(|all| {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let (net, password) = (format!("{SASL}{TLS}"), &password);
            all.spawn(move || {
                round_trip(broker, password, &net, |secrets| broker.mount(secrets, "till", PASSWORD, mechanism))
            });
        }
        all.spawn(|| {
            round_trip(broker, &broker.certificate_door(), MTLS, |secrets| {
                broker.mount_certificate(secrets, &broker.till)
            })
        });
    });
}

/// A bridge that no broker lets in says `word`, calmly, answers a push with 503, and tells no secret.
fn refused(servers: &str, net: &str, word: &str, mount: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    mount(&folder.path().join("secrets"));
    token(folder.path(), "in");
    let sink = Sink::start(|_, _| answer(204));
    let process = Process::start(folder.path(), "kafka", &documents("in", servers, net, &sink));
    let complaint = process.wait_for_complaint(word);
    assert!(complaint.contains("the log is away"), "{complaint}");
    let (begun, lines) = (Instant::now(), process.loud_lines());
    assert_eq!(process.push("in", "push").map(|(status, _)| status), Some(503));
    wait("three seconds", || (begun.elapsed() > Duration::from_secs(3)).then_some(()));
    assert!(process.loud_lines() <= lines + 5, "it says more and more: {}", process.said());
    let said = process.said();
    assert!(said.contains(word), "{said}");
    for secret in [PASSWORD, "wrong-secret-9", "PRIVATE KEY"] {
        assert!(!said.contains(secret), "a secret in the log: {said}");
    }
}

// promise: BRIDGE: wrong credentials for brokers are told with their remedy, in readiness and log, without spinning
#[test]
fn what_keeps_brokers_from_letting_us_in_is_told_calmly() {
    let Some(broker) = secure() else { return };
    let (password, certificates, net) = (broker.password_door(), broker.certificate_door(), format!("{SASL}{TLS}"));
    let other = Authority::new("others");
    std::thread::scope(|all| {
        for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
            let (net, password) = (&net, &password);
            all.spawn(move || {
                refused(password, net, "look at the user, the password and the type", |secrets| {
                    broker.mount(secrets, "till", "wrong-secret-9", mechanism);
                });
            });
        }
        all.spawn(|| {
            refused(&password, &net, "give the authority that signed it", |secrets| {
                broker.mount(secrets, "till", PASSWORD, "PLAIN");
                mount(&secrets.join("kafka"), &[("ca.crt", &other.pem)]);
            });
        });
        all.spawn(|| {
            refused(&certificates, MTLS, "does not accept our client certificate", |secrets| {
                broker.mount_certificate(secrets, &other.sign("till"));
            });
        });
    });
}

#[test]
fn a_broker_that_nobody_knows_or_that_has_expired_is_told_calmly() {
    let authority = Authority::new("brokers");
    let nobody = Sink::start(|_, _| answer(204));
    let expired = Front::start(&authority.sign_until("localhost", 2021), None, nobody.address);
    let secrets = |secrets: &Path| {
        let keys = [
            ("user", "u"),
            ("password", PASSWORD),
            ("sasl.mechanism", "PLAIN"),
            ("protocol", "SASL_SSL"),
            ("ca.crt", &*authority.pem),
        ];
        mount(&secrets.join("kafka"), &keys);
    };
    let net = format!("{SASL}{TLS}");
    std::thread::scope(|all| {
        all.spawn(|| {
            refused("no-such-broker.invalid:9092", &net, "is the name in bootstrapServers spelt right?", secrets)
        });
        all.spawn(|| refused(&expired.address.to_string(), &net, "has expired; it must be renewed", secrets));
    });
    assert!(expired.dialled() < 40, "{} connections", expired.dialled());
}
