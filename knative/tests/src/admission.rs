//! What Knative Serving's webhook refuses and no JSON Schema sees, as of Knative 1.20: a Service comes in, every reason to
//! refuse it comes out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::chart::{list, text};

const AUTOSCALING: &str = "autoscaling.knative.dev/";
/// queue-proxy's own, in the same pod.
const RESERVED_PORTS: [i64; 7] = [8008, 8012, 8013, 8022, 8112, 9090, 9091];
const RESERVED_VARIABLES: [&str; 4] = ["PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"];
const RESERVED_PATHS: [&str; 3] = ["/", "/dev", "/dev/log"];
/// `stable-window` is between them.
const WINDOW_SECONDS: std::ops::RangeInclusive<u64> = 6..=3_600;
/// `max-revision-timeout-seconds` of config-defaults.
const TIMEOUT_SECONDS_MAX: i64 = 600;

/// Every reason for which the Service would be refused. `accounts` are the ServiceAccounts that there are.
pub fn refusals(service: &Value, accounts: &BTreeSet<String>) -> Vec<String> {
    let mut found = scaling(service);
    let spec = service.pointer("/spec/template/spec").unwrap_or(&Value::Null);
    let account = text(spec, "/serviceAccountName");
    if !account.is_empty() && !accounts.contains(account) {
        found.push(format!("there is no ServiceAccount {account}"));
    }
    let (timeout, concurrency) = (number(spec, "/timeoutSeconds"), number(spec, "/containerConcurrency"));
    found.extend((timeout > TIMEOUT_SECONDS_MAX).then(|| format!("timeoutSeconds {timeout} is too long")));
    found.extend((!(0..=1_000).contains(&concurrency)).then(|| format!("containerConcurrency {concurrency}")));
    found.extend(volumes(spec));
    match list(spec, "/containers") {
        [container] => found.extend(refused_container(container)),
        several => found.push(format!("{} containers", several.len())),
    }
    found
}

fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn scaling(service: &Value) -> Vec<String> {
    let annotations = service.pointer("/spec/template/metadata/annotations").and_then(Value::as_object);
    let ours: BTreeMap<&str, Option<&str>> = annotations
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.strip_prefix(AUTOSCALING)?, value.as_str())))
        .collect();
    let mut found: Vec<String> = ours.iter().filter_map(|(name, value)| refused_annotation(name, *value)).collect();
    let bound = |name| ours.get(name).copied().flatten().and_then(|text: &str| text.parse::<u32>().ok());
    if let (Some(min), Some(max)) = (bound("min-scale"), bound("max-scale"))
        && max != 0
        && max < min
    {
        found.push(format!("max-scale {max} is below min-scale {min}"));
    }
    found
}

fn refused_annotation(name: &str, value: Option<&str>) -> Option<String> {
    let Some(value) = value else { return Some(format!("{name} is no text")) };
    let is_right = match name {
        "min-scale" | "max-scale" => value.parse::<u32>().is_ok_and(|count| i32::try_from(count).is_ok()),
        "initial-scale" => value.parse::<u32>().is_ok_and(|count| count > 0),
        "window" => seconds(value).is_some_and(|window| WINDOW_SECONDS.contains(&window)),
        "scale-to-zero-pod-retention-period" | "scale-down-delay" => seconds(value).is_some_and(|time| time <= 3_600),
        "target" => value.parse::<f64>().is_ok_and(|target| target >= 0.01),
        "target-utilization-percentage" => value.parse::<f64>().is_ok_and(|share| (1.0..=100.0).contains(&share)),
        "target-burst-capacity" => value.parse::<f64>().is_ok_and(|room| room >= 0.0 || room == -1.0),
        "class" => ["kpa.autoscaling.knative.dev", "hpa.autoscaling.knative.dev"].contains(&value),
        "metric" => ["concurrency", "rps"].contains(&value),
        _ => false,
    };
    (!is_right).then(|| format!("{name}: {value}"))
}

/// Whole seconds, as `6s` or `2m`.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.len().checked_sub(1)?);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * factor)
}

fn volumes(spec: &Value) -> Vec<String> {
    let mounts: Vec<&Value> = list(spec, "/containers").iter().flat_map(|one| list(one, "/volumeMounts")).collect();
    let mounted: BTreeSet<&str> = mounts.iter().map(|mount| text(mount, "/name")).collect();
    let volumes: BTreeSet<&str> = list(spec, "/volumes").iter().map(|volume| text(volume, "/name")).collect();
    let mut found: Vec<String> = volumes
        .symmetric_difference(&mounted)
        .map(|name| format!("volume {name} is not both there and mounted"))
        .collect();
    for mount in mounts {
        let path = text(mount, "/mountPath");
        if !path.starts_with('/') || RESERVED_PATHS.contains(&path) {
            found.push(format!("mountPath {path}"));
        }
        if mount.pointer("/readOnly") != Some(&Value::Bool(true)) {
            found.push(format!("{path} is mounted for writing"));
        }
    }
    found
}

fn refused_container(container: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if text(container, "/name") == "queue-proxy" {
        found.push("queue-proxy is a reserved name".to_owned());
    }
    if text(container, "/image").is_empty() {
        found.push("there is no image".to_owned());
    }
    let variables = list(container, "/env").iter().map(|variable| text(variable, "/name"));
    found.extend(variables.filter(|name| RESERVED_VARIABLES.contains(name)).map(|name| format!("{name} is reserved")));
    found.extend(ports(list(container, "/ports")));
    found.extend(resources(container));
    found.extend(probes(container));
    found
}

fn ports(ports: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    if ports.len() > 1 {
        found.push("more than one port".to_owned());
    }
    for port in ports {
        let (name, number) = (text(port, "/name"), number(port, "/containerPort"));
        if RESERVED_PORTS.contains(&number) || !(1..=65_535).contains(&number) {
            found.push(format!("port {number} is reserved or none"));
        }
        if !["", "http1", "h2c"].contains(&name) {
            found.push(format!("a port cannot be called {name}"));
        }
    }
    found
}

/// A request above its limit.
fn resources(container: &Value) -> Vec<String> {
    let amount = |kind: &str, resource: &str| quantity(text(container, &format!("/resources/{kind}/{resource}")));
    let above = |resource: &&str| match (amount("requests", resource), amount("limits", resource)) {
        (Some(request), Some(limit)) => request > limit,
        _ => false,
    };
    ["cpu", "memory"]
        .into_iter()
        .filter(above)
        .map(|resource| format!("the request of {resource} is above its limit"))
        .collect()
}

/// Kubernetes' quantity in thousandths of its unit.
pub fn quantity(text: &str) -> Option<u128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let factor: f64 = match &text[digits..] {
        "m" => 1.0,
        "" => 1e3,
        "k" => 1e6,
        "M" => 1e9,
        "G" => 1e12,
        "Ki" => 1024e3,
        "Mi" => 1024.0 * 1024e3,
        "Gi" => 1024.0 * 1024.0 * 1024e3,
        _ => return None,
    };
    Some((text[..digits].parse::<f64>().ok()? * factor).round() as u128)
}

fn probes(container: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["readinessProbe", "livenessProbe"] {
        let Some(probe) = container.get(name) else { continue };
        let ways = ["httpGet", "tcpSocket", "exec", "grpc"].iter().filter(|way| probe.get(**way).is_some()).count();
        if ways != 1 {
            found.push(format!("{name} asks in {ways} ways"));
        }
        if name == "readinessProbe" {
            found.extend(refused_readiness(probe));
        }
    }
    found
}

/// Without a period Knative asks as often as it likes, and then nothing else may be said.
fn refused_readiness(probe: &Value) -> Option<String> {
    let of = |field: &str| number(probe, field);
    let is_quick = of("/periodSeconds") == 0;
    let wrong = is_quick && (of("/failureThreshold") != 0 || of("/timeoutSeconds") != 0)
        || !is_quick && (of("/failureThreshold") < 1 || of("/timeoutSeconds") < 1);
    wrong.then(|| "readinessProbe: period, timeout and threshold stand together or not at all".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service() -> Value {
        json!({"spec": {"template": {
            "metadata": {"annotations": {"autoscaling.knative.dev/min-scale": "0", "autoscaling.knative.dev/max-scale": "5",
                "autoscaling.knative.dev/window": "6s"}},
            "spec": {"serviceAccountName": "a", "timeoutSeconds": 60, "containerConcurrency": 8,
                "volumes": [{"name": "v", "configMap": {"name": "c"}}],
                "containers": [{"name": "host", "image": "i:1", "ports": [{"name": "http1", "containerPort": 8080}],
                    "env": [{"name": "A", "value": "1"}],
                    "volumeMounts": [{"name": "v", "mountPath": "/etc/till", "readOnly": true}],
                    "readinessProbe": {"tcpSocket": {"port": 0}, "successThreshold": 1},
                    "resources": {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "0.5", "memory": "64Mi"}}}]}}}})
    }

    fn check(pointer: &str, value: Value, expected: &str) {
        let mut service = service();
        *service.pointer_mut(pointer).expect("the pointer leads somewhere") = value;
        let found = refusals(&service, &BTreeSet::from(["a".to_owned()]));
        assert_eq!(found.len(), 1, "{pointer}: {found:?}");
        assert!(found[0].contains(expected), "{found:?}");
    }

    #[test]
    fn a_service_that_knative_takes_has_no_refusals() {
        assert_eq!(refusals(&service(), &BTreeSet::from(["a".to_owned()])), Vec::<String>::new());
    }

    #[test]
    fn annotations_and_their_bounds_are_looked_at() {
        let annotation = |name: &str| format!("/spec/template/metadata/annotations/autoscaling.knative.dev~1{name}");
        check(&annotation("min-scale"), json!("-1"), "min-scale");
        check(&annotation("min-scale"), json!(0), "no text");
        check(&annotation("min-scale"), json!("6"), "below");
        check(&annotation("max-scale"), json!("many"), "max-scale");
        check(&annotation("window"), json!("5s"), "window");
        check(&annotation("window"), json!("2h"), "window");
    }

    #[test]
    fn the_container_is_looked_at() {
        let at = |field: &str| format!("/spec/template/spec/containers/0/{field}");
        check(&at("ports/0/containerPort"), json!(8012), "8012");
        check(&at("ports/0/name"), json!("web"), "web");
        check(&at("env/0/name"), json!("PORT"), "PORT");
        check(&at("name"), json!("queue-proxy"), "reserved");
        check(&at("image"), json!(""), "image");
        check(&at("resources/requests/cpu"), json!("1"), "cpu");
        check(&at("resources/requests/memory"), json!("1Gi"), "memory");
        check(&at("volumeMounts/0/readOnly"), json!(false), "writing");
        check(&at("volumeMounts/0/mountPath"), json!("/dev"), "/dev");
        check(&at("readinessProbe"), json!({"tcpSocket": {}, "timeoutSeconds": 1}), "together");
        check(&at("readinessProbe"), json!({"periodSeconds": 0}), "0 ways");
    }

    #[test]
    fn the_revision_is_looked_at() {
        check("/spec/template/spec/serviceAccountName", json!("b"), "ServiceAccount b");
        check("/spec/template/spec/timeoutSeconds", json!(601), "too long");
        check("/spec/template/spec/containerConcurrency", json!(-1), "-1");
        check("/spec/template/spec/volumes", json!([]), "volume v");
    }
}
