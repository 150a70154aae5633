//! Towards sinks: https, a certificate of our own, and what is said when somebody is not who he should be.

use std::time::{Duration, Instant};

use crate::certificates::{Authority, Pair, block};
use crate::front::Front;
use crate::process::Process;
use crate::support::*;

const IDENTITY: &str = "  auth:\n    tls:\n      cert: { secretKeyRef: { name: me, key: tls.crt } }\n      key: { secretKeyRef: { name: me, key: \
                        tls.key } }\n";

/// A bridge on an embedded log, one source to `url`, and one record that waits for it.
fn start(folder: &std::path::Path, url: &str, trust: &Authority, more: &str) -> Process {
    let documents = format!(
        "{}---\napiVersion: till.dev/v1\nkind: Source\nmetadata: {{ name: s }}\nspec:\n  bootstrapServers: [b:1]\n  topics: [in]\n  sink:\n    \
         uri: {url}\n    CACerts: {}  delivery: {{ retry: forever, backoffDelay: PT0.2S, maxBackoff: PT1S }}\n{more}",
        topics(&[("in", 1)]),
        block(&trust.pem),
    );
    begin(folder, &documents)
}

/// A bridge with one record to deliver.
fn begin(folder: &std::path::Path, documents: &str) -> Process {
    std::fs::create_dir_all(folder.join("tokens")).unwrap();
    std::fs::write(folder.join("tokens/in"), "push").unwrap();
    let process = Process::start(folder, &format!("embedded:{}", folder.join("log.db").display()), documents);
    assert_eq!(process.push("in", "push").map(|(status, _)| status), Some(202));
    process
}

fn https(front: &Front) -> String {
    format!("https://localhost:{}/events", front.address.port())
}

// promise: BRIDGE: a sink is called over https, and trusted by the well-known authorities and by sink.CACerts
#[test]
fn a_sink_is_called_over_https() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("sinks"));
    let sink = Sink::start(|_, _| answer(204));
    let front = Front::start(&authority.sign("sink"), None, sink.address);
    let process = start(folder.path(), &https(&front), &authority, "");
    sink.wait_for(1);
    process.wait_until_ready();
    assert_eq!(process.push("in", "push").map(|(status, _)| status), Some(202));
    sink.wait_for(2);
    let calls = sink.calls().len();
    assert!(front.dialled() < calls, "{} connections for {calls} calls: none was kept", front.dialled());
}

// promise: BRIDGE: a sink that asks for a certificate is shown the one of auth.tls, which is replaced without a restart
#[test]
fn a_sink_that_asks_is_shown_a_certificate_and_then_its_successor() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("sinks"));
    // A sink that closes each connection after its answer: the next call needs a new one.
    let sink = Sink::start(|_, _| answer(204).header("connection", "close"));
    let front = Front::start(&authority.sign("sink"), Some(&authority), sink.address);
    let (first, second) = (authority.sign("first"), authority.sign("second"));
    first.mount(&folder.path().join("secrets/me"));
    let process = start(folder.path(), &https(&front), &authority, IDENTITY);
    sink.wait_for(1);
    assert!(front.has_seen(&first) && !front.has_seen(&second));
    second.mount(&folder.path().join("secrets/me"));
    assert_eq!(process.push("in", "push").map(|(status, _)| status), Some(202));
    sink.wait_for(2);
    assert!(front.has_seen(&second));
}

// promise: BRIDGE: a dead letter sink is trusted by its own CACerts, and shown the certificate of auth.tls
#[test]
fn a_dead_letter_sink_that_asks_is_shown_the_same_certificate() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("sinks"));
    let (sink, letters) = (Sink::start(|_, _| answer(422)), Sink::start(|_, _| answer(204)));
    let front = Front::start(&authority.sign("sink"), Some(&authority), letters.address);
    let me = authority.sign("me");
    me.mount(&folder.path().join("secrets/me"));
    let documents = format!(
        "{}---\napiVersion: till.dev/v1\nkind: Source\nmetadata: {{ name: s }}\nspec:\n  bootstrapServers: [b:1]\n  topics: [in]\n  sink: {{ \
         uri: 'http://{}/' }}\n  delivery:\n   deadLetterSink:\n    uri: {}\n    CACerts: {}{IDENTITY}",
        topics(&[("in", 1)]),
        sink.address,
        https(&front),
        block(&authority.pem),
    );
    let _process = begin(folder.path(), &documents);
    let calls = letters.wait_for(1);
    assert_eq!(calls[0].event.extensions["knativeerrorcode"], "422");
    assert!(front.has_seen(&me));
}

/// A bridge that cannot call its sink says `word`, calmly; nothing reaches the sink.
fn refused(front: &Front, sink: &Sink, trust: &Authority, identity: Option<&Pair>, word: &str) {
    let folder = tempfile::tempdir().unwrap();
    if let Some(pair) = identity {
        pair.mount(&folder.path().join("secrets/me"));
    }
    let process = start(folder.path(), &https(front), trust, if identity.is_some() { IDENTITY } else { "" });
    let complaint = process.wait_for_complaint(word);
    assert!(complaint.contains("TLS with localhost:"), "{complaint}");
    let (dialled, begun, lines) = (front.dialled(), Instant::now(), process.loud_lines());
    wait("two seconds", || (begun.elapsed() > Duration::from_secs(2)).then_some(()));
    let again = front.dialled() - dialled;
    assert!((1..30).contains(&again), "{word}: {again} connections in two seconds");
    assert!(process.loud_lines() <= lines + 2, "it says more and more: {}", process.said());
    assert!(process.said().contains(word), "{}", process.said());
    let keys = [identity.map_or("PRIVATE KEY", |pair| pair.key.lines().nth(1).unwrap()), "Bearer"];
    assert!(keys.iter().all(|secret| !process.said().contains(secret)), "a secret in the log: {}", process.said());
    assert_eq!(sink.calls().len(), 0);
}

// promise: BRIDGE: a sink whose TLS is wrong is told with its remedy, in readiness and log, without spinning
#[test]
fn what_is_wrong_with_a_sink_s_tls_is_told_calmly() {
    let (ours, other) = (Authority::new("sinks"), Authority::new("others"));
    let sink = Sink::start(|_, _| answer(204));
    let fine = Front::start(&ours.sign("sink"), None, sink.address);
    let expired = Front::start(&ours.sign_until("sink", 2021), None, sink.address);
    let asking = Front::start(&ours.sign("sink"), Some(&ours), sink.address);
    std::thread::scope(|all| {
        all.spawn(|| refused(&fine, &sink, &other, None, "give the authority that signed it"));
        all.spawn(|| refused(&expired, &sink, &ours, None, "has expired; it must be renewed"));
        all.spawn(|| refused(&asking, &sink, &ours, None, "wants a client certificate"));
        all.spawn(|| refused(&asking, &sink, &ours, Some(&other.sign("me")), "does not accept our client certificate"));
    });
}

// promise: BRIDGE: an unknown host is told with its remedy, in readiness and log, without spinning
#[test]
fn a_sink_whose_name_nobody_knows_is_told_calmly() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("sinks"));
    let process = start(folder.path(), "https://no-such-sink.invalid/", &authority, "");
    process.wait_for_complaint("is the sink's name spelt right?");
    assert!(process.said().contains("no-such-sink.invalid"));
}
