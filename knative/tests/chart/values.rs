//! Every value of values.yaml changes what it says it changes: each is set to something else, and what is rendered then holds
//! a text that it did not hold before. A value without a row here fails.

use std::collections::BTreeSet;

use chart_tests::chart::{self, Chart};
use chart_tests::yaml;
use serde_json::Value;

use crate::charts;

/// A value, what it is set to, and the text that must appear.
struct Row {
    path: &'static str,
    value: &'static str,
    appears: &'static str,
    /// Values that it needs beside it.
    beside: &'static [&'static str],
}

const fn row(path: &'static str, value: &'static str, appears: &'static str) -> Row {
    Row { path, value, appears, beside: &[] }
}

const ALB: &[&str] =
    &["ingress.kind=\"alb\"", "ingress.domain=\"d.example\"", "ingress.alb.certificateArn=\"arn:aws:acm:x\""];
const EXTERNAL: &[&str] = &["secrets.kind=\"external\"", "secrets.external.storeName=\"s\""];
const KEDA: &[&str] = &["bridge.keda.enabled=true"];

const ROWS: &[Row] = &[
    row("images.registry", "\"r.example\"", "r.example/till-host:"),
    row("images.pullPolicy", "\"Never\"", "\"imagePullPolicy\":\"Never\""),
    row("images.pullSecrets", "[\"pull\"]", "\"imagePullSecrets\":[{\"name\":\"pull\"}]"),
    row("images.host.name", "\"h\"", "dev.local/h:"),
    row("images.host.tag", "\"9.9\"", "till-host:9.9"),
    row("images.host.digest", DIGEST, "till-host@sha256:0123"),
    row("images.bridge.name", "\"b\"", "dev.local/b:"),
    row("images.bridge.tag", "\"9.9\"", "till-bridge:9.9"),
    row("images.bridge.digest", DIGEST, "till-bridge@sha256:0123"),
    row("clusterDomain", "\"c.example\"", ".svc.c.example:3001"),
    row("kafka.bootstrapServers", "\"k.example:1\"", "\"value\":\"k.example:1\""),
    row("kafka.replication", "5", "\"name\":\"KAFKA_REPLICATION\",\"value\":\"5\""),
    row("kafka.tls", "true", "{\"name\":\"KAFKA_TLS\",\"value\":\"true\"}"),
    row("kafka.sasl", "true", "{\"name\":\"KAFKA_SASL\",\"value\":\"true\"}"),
    row("kafka.ports", "[9094]", "\"port\":9094"),
    row("database.address", "\"p.example:6432\"", "\"port\":6432"),
    row("database.ca", "\"PEM\"", "\"name\":\"SPIN_VARIABLE_POSTGRES_CA\",\"value\":\"PEM\""),
    row("auth.jwks", "\"{}\"", "\"name\":\"SPIN_VARIABLE_JWKS\",\"value\":\"{}\""),
    row("auth.audience", "\"aud\"", "\"name\":\"SPIN_VARIABLE_JWT_AUDIENCE\",\"value\":\"aud\""),
    row("auth.issuer", "\"iss\"", "\"name\":\"SPIN_VARIABLE_JWT_ISSUER\",\"value\":\"iss\""),
    row("epoch", "\"7\"", "\"name\":\"SPIN_VARIABLE_EPOCH\",\"value\":\"7\""),
    row("rotation", "\"once\"", "\"till.dev/rotation\":\"once\""),
    Row { beside: &["secrets.external.storeName=\"s\""], ..row("secrets.kind", "\"external\"", "ExternalSecret") },
    Row { beside: EXTERNAL, ..row("secrets.external.storeKind", "\"SecretStore\"", "\"kind\":\"SecretStore\"") },
    Row { beside: EXTERNAL, ..row("secrets.external.storeName", "\"other\"", "\"name\":\"other\"") },
    Row { beside: EXTERNAL, ..row("secrets.external.path", "\"p/q\"", "\"key\":\"p/q/core\"") },
    Row { beside: EXTERNAL, ..row("secrets.external.refreshInterval", "\"5m\"", "\"refreshInterval\":\"5m\"") },
    row("functionDefaults.scale.min", "1", "\"autoscaling.knative.dev/min-scale\":\"1\""),
    row("functionDefaults.scale.max", "9", "\"autoscaling.knative.dev/max-scale\":\"9\""),
    row("functionDefaults.concurrency", "3", "\"containerConcurrency\":3"),
    row("functionDefaults.memoryMib", "24", "--memory-mib-max=24"),
    row("functionDefaults.window", "\"11s\"", "\"autoscaling.knative.dev/window\":\"11s\""),
    row("functionDefaults.retention", "\"7s\"", "scale-to-zero-pod-retention-period\":\"7s\""),
    row("functionDefaults.timeoutSeconds", "77", "\"timeoutSeconds\":77"),
    row("functionDefaults.resources.requests.cpu", "\"33m\"", "\"cpu\":\"33m\""),
    row("functionDefaults.resources.requests.memory", "\"33Mi\"", "\"memory\":\"33Mi\""),
    row("functionDefaults.resources.limits.cpu", "\"777m\"", "\"cpu\":\"777m\""),
    row("functionDefaults.resources.limits.memory", "\"99Mi\"", "\"memory\":\"99Mi\""),
    row("functionDefaults.variables", "{\"some\":\"thing\"}", "\"name\":\"SPIN_VARIABLE_SOME\",\"value\":\"thing\""),
    row("functionDefaults.secretVariables", "[\"a_b\"]", "\"secretKeyRef\":{\"key\":\"a-b\",\"name\":\"till-core\"}"),
    row("bridge.replicas", "2", "\"replicas\":2"),
    row("bridge.drainSeconds", "21", "--drain=21s"),
    row("bridge.logLevel", "\"trace\"", "\"name\":\"RUST_LOG\",\"value\":\"trace\""),
    row("bridge.resources.requests.cpu", "\"55m\"", "\"cpu\":\"55m\""),
    row("bridge.resources.requests.memory", "\"55Mi\"", "\"memory\":\"55Mi\""),
    row("bridge.resources.limits.cpu", "\"555m\"", "\"cpu\":\"555m\""),
    row("bridge.resources.limits.memory", "\"155Mi\"", "\"memory\":\"155Mi\""),
    row("bridge.keda.enabled", "true", "ScaledObject"),
    Row { beside: KEDA, ..row("bridge.keda.maxReplicas", "7", "\"maxReplicaCount\":7") },
    Row { beside: KEDA, ..row("bridge.keda.lagThreshold", "50", "\"lagThreshold\":\"50\"") },
    Row { beside: KEDA, ..row("bridge.keda.authentication", "\"who\"", "\"authenticationRef\":{\"name\":\"who\"}") },
    Row { beside: ALB, ..row("ingress.kind", "\"alb\"", "\"ingressClassName\":\"alb\"") },
    Row { beside: ALB, ..row("ingress.domain", "\"x.example\"", "\"host\":\"core.x.example\"") },
    Row { beside: ALB, ..row("ingress.alb.certificateArn", "\"arn:aws:acm:y\"", "arn:aws:acm:y") },
    Row { beside: ALB, ..row("ingress.alb.scheme", "\"internal\"", "io/scheme\":\"internal\"") },
    Row { beside: ALB, ..row("ingress.alb.group", "\"shared\"", "io/group.name\":\"shared\"") },
    Row { beside: ALB, ..row("ingress.alb.annotations", "{\"a.example/b\":\"c\"}", "\"a.example/b\":\"c\"") },
    Row { beside: ALB, ..row("ingress.gateway.namespace", "\"istio-system\"", "\"namespace\":\"istio-system\"") },
    Row { beside: ALB, ..row("ingress.gateway.service", "\"gate\"", "\"service\":{\"name\":\"gate\"") },
    Row { beside: ALB, ..row("ingress.gateway.port", "81", "\"number\":81") },
    row("networkPolicy.dataPlaneNamespaces", "[\"plane\"]", "\"kubernetes.io/metadata.name\":\"plane\""),
    row("networkPolicy.metricsNamespaces", "[\"looks\"]", "\"kubernetes.io/metadata.name\":\"looks\""),
    row("networkPolicy.dns.namespace", "\"names\"", "\"kubernetes.io/metadata.name\":\"names\""),
    row("networkPolicy.neighbourNamespaces", "[\"next\"]", "\"kubernetes.io/metadata.name\":\"next\""),
    row("networkPolicy.databaseNetworks", "[\"10.9.0.0/16\"]", "\"cidr\":\"10.9.0.0/16\""),
    row("networkPolicy.kafkaNetworks", "[\"10.8.0.0/16\"]", "\"cidr\":\"10.8.0.0/16\""),
    row("networkPolicy.outsidePorts", "[4443]", "\"port\":4443"),
    row("networkPolicy.outsideExcept", "[\"10.7.0.0/16\"]", "\"except\":[\"10.7.0.0/16\"]"),
];

const DIGEST: &str = "\"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"";

/// Tested where their own tests are: what they change is that something is refused, or not there.
const ELSEWHERE: &[&str] =
    &["database.kind", "secrets.values", "kafka.topics.apply", "networkPolicy.enabled", "functionDefaults.public"];

fn rendered(chart: &Chart, changes: &[String]) -> String {
    let objects = chart.render(changes).unwrap_or_else(|error| panic!("{changes:?}: {error}"));
    objects.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_value_changes_what_it_says() {
    let Some(chart) = charts("every_value_changes_what_it_says").into_iter().next() else { return };
    let rows: Vec<_> = ROWS.iter().collect();
    // Each rendering is a process of its own.
    let next = std::sync::Mutex::new(rows.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(row) = { next.lock().expect("no holder panics").next() } {
                    check(&chart, row);
                }
            });
        }
    });
}

fn check(chart: &Chart, row: &Row) {
    let change = format!("{}={}", row.path, row.value);
    let beside: Vec<String> = row.beside.iter().map(|one| (*one).to_owned()).collect();
    let without = beside.iter().filter(|one| !one.starts_with(&format!("{}=", row.path))).cloned().collect::<Vec<_>>();
    let is_choice = beside.len() != without.len() && row.path == "ingress.kind";
    let before = rendered(chart, if is_choice { &[] } else { &beside });
    assert!(!before.contains(row.appears), "{}: `{}` is there without it", row.path, row.appears);
    let after = rendered(chart, &[without, vec![change]].concat());
    assert!(after.contains(row.appears), "{}: `{}` does not appear", row.path, row.appears);
}

#[test]
fn every_value_has_a_row() {
    let values = yaml::documents(&chart::file("values.yaml")).expect("values.yaml is YAML").remove(0);
    let mut paths = BTreeSet::new();
    leaves(&values, String::new(), &mut paths);
    let rows: BTreeSet<String> =
        ROWS.iter().map(|row| row.path).chain(ELSEWHERE.iter().copied()).map(str::to_owned).collect();
    let bare: Vec<_> = paths.difference(&rows).collect();
    assert!(bare.is_empty(), "values without a test: {bare:?}");
    let gone: Vec<_> = rows.difference(&paths).collect();
    assert!(gone.is_empty(), "tests of values that are not there: {gone:?}");
}

/// Paths of everything that can be set; the functions differ from their defaults only.
fn leaves(value: &Value, path: String, paths: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields.iter().filter(|(name, _)| *name != "functions") {
                leaves(value, if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, paths);
            }
        }
        _ => drop(paths.insert(path)),
    }
}

#[test]
fn what_is_switched_off_is_not_there() {
    let Some(chart) = charts("what_is_switched_off_is_not_there").into_iter().next() else { return };
    for (change, kind) in
        [("kafka.topics.apply=false", "\"Job\""), ("networkPolicy.enabled=false", "\"NetworkPolicy\"")]
    {
        let kind = format!("\"kind\":{kind}");
        assert!(rendered(&chart, &[]).contains(&kind), "{kind}");
        assert!(!rendered(&chart, &[change.to_owned()]).contains(&kind), "{change}");
    }
}

#[test]
fn a_function_that_says_otherwise_is_otherwise_and_alone() {
    let Some(chart) = charts("a_function_that_says_otherwise_is_otherwise_and_alone").into_iter().next() else {
        return;
    };
    let objects = chart.render(&["functions.core.scale={\"max\":7}".to_owned()]).expect("it renders");
    for function in chart::functions(&objects) {
        let max = chart::text(function, "/spec/template/metadata/annotations/autoscaling.knative.dev~1max-scale");
        let expected = if chart::text(function, "/metadata/name") == "core" { "7" } else { "2" };
        assert_eq!(max, expected, "{}", chart::title(function));
    }
}

#[test]
fn only_a_public_function_is_seen_from_outside() {
    let Some(chart) = charts("only_a_public_function_is_seen_from_outside").into_iter().next() else { return };
    let within = |change: &str| {
        let objects = chart.render(&[change.to_owned()]).expect("it renders");
        let within = chart::functions(&objects)
            .filter(|one| chart::text(one, "/metadata/labels/networking.knative.dev~1visibility") == "cluster-local");
        within.map(|one| chart::text(one, "/metadata/name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(within("rotation=\"\""), ["cron"]);
    assert_eq!(within("functionDefaults.public=true"), [""; 0]);
    assert_eq!(within("functions.admin.public=false"), ["admin", "cron"]);
}
