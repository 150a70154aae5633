//! What this house wants of every object, and what the chart, sources.yaml and spin.toml must agree on.

use std::collections::{BTreeMap, BTreeSet};

use chart_tests::chart::{self, Chart, containers, functions, list, of_kind, pod, text, title};
use chart_tests::programs::root;
use chart_tests::yaml;
use serde_json::{Value, json};

use crate::charts;

/// The documents of sources.yaml.
fn documents() -> Vec<Value> {
    yaml::documents(&chart::file("sources.yaml")).expect("sources.yaml is YAML")
}

fn names(objects: &[Value]) -> BTreeSet<&str> {
    functions(objects).map(|function| text(function, "/metadata/name")).collect()
}

#[test]
fn every_image_has_a_version_that_stays() {
    for chart in charts("every_image_has_a_version_that_stays") {
        for (object, container) in containers(&chart.objects()) {
            let image = text(container, "/image");
            let (_, name) = image.rsplit_once('/').expect("a registry is named");
            assert!(name.contains([':', '@']) && !name.ends_with(":latest"), "{object}: {image}");
        }
    }
}

#[test]
fn every_container_has_requests_and_limits() {
    for chart in charts("every_container_has_requests_and_limits") {
        for (object, container) in containers(&chart.objects()) {
            for pointer in ["requests/cpu", "requests/memory", "limits/cpu", "limits/memory"] {
                assert_ne!(text(container, &format!("/resources/{pointer}")), "", "{object}: {pointer}");
            }
        }
    }
}

#[test]
fn every_container_runs_with_nothing_that_it_does_not_need() {
    let wanted = json!({
        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "readOnlyRootFilesystem": true,
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}
    });
    for chart in charts("every_container_runs_with_nothing_that_it_does_not_need") {
        let objects = chart.objects();
        for (object, container) in containers(&objects) {
            assert_eq!(container.get("securityContext"), Some(&wanted), "{object}");
            assert!(list(container, "/volumeMounts").iter().all(|mount| mount["readOnly"] == true), "{object}");
        }
        for object in objects.iter().filter(|object| pod(object).is_some()) {
            assert!(has_no_token(object, &objects), "{} gets a token of Kubernetes", title(object));
        }
    }
}

/// By the pod itself or by its ServiceAccount.
fn has_no_token(object: &Value, objects: &[Value]) -> bool {
    let pod = pod(object).expect("it has a pod");
    let account = text(pod, "/serviceAccountName");
    let its = of_kind(objects, "", "ServiceAccount").find(|one| text(one, "/metadata/name") == account);
    pod["automountServiceAccountToken"] == false || its.is_some_and(|its| its["automountServiceAccountToken"] == false)
}

#[test]
fn whatever_serves_has_probes() {
    for chart in charts("whatever_serves_has_probes") {
        let objects = chart.objects();
        let serving = objects.iter().filter(|object| ["Service", "StatefulSet"].contains(&text(object, "/kind")));
        for object in serving.filter(|object| pod(object).is_some()) {
            for container in list(pod(object).expect("it has a pod"), "/containers") {
                let both = container.get("readinessProbe").is_some() && container.get("livenessProbe").is_some();
                assert!(both, "{}", title(object));
            }
        }
    }
}

#[test]
fn a_function_sleeps_seconds_after_its_last_event() {
    for chart in charts("a_function_sleeps_seconds_after_its_last_event") {
        for function in functions(&chart.objects()) {
            let scaling = |name: &str| {
                text(function, &format!("/spec/template/metadata/annotations/autoscaling.knative.dev~1{name}"))
                    .to_owned()
            };
            assert_eq!(scaling("min-scale"), "0", "{}", title(function));
            assert_eq!((scaling("window"), scaling("scale-to-zero-pod-retention-period")), ("6s".into(), "0s".into()));
        }
    }
}

#[test]
fn the_sources_in_the_cluster_are_the_file_that_a_laptop_runs() {
    for chart in charts("the_sources_in_the_cluster_are_the_file_that_a_laptop_runs") {
        let objects = chart.objects();
        for map in ["till-sources", "till-topics"] {
            let map = of_kind(&objects, "", "ConfigMap").find(|one| text(one, "/metadata/name") == map);
            let sources = text(map.expect("the ConfigMap is there"), "/data/sources.yaml");
            assert!(sources == chart::file("sources.yaml"), "{}: it is another text", chart.environment);
        }
    }
}

#[test]
fn every_topic_has_a_document_and_every_function_its_source() {
    let documents = documents();
    let kind = |kind: &str| documents.iter().filter(move |one| text(one, "/kind") == kind).collect::<Vec<_>>();
    let topics: BTreeSet<&str> = kind("KafkaSink").iter().map(|sink| text(sink, "/spec/topic")).collect();
    for source in kind("Source") {
        let heard = list(source, "/spec/topics").iter().filter_map(Value::as_str);
        let told = list(source, "/spec/reply/types").iter().filter_map(Value::as_str);
        let told = told.map(|kind| kind.split('.').next().expect("a split has a first"));
        let strangers: Vec<_> = heard.chain(told).filter(|topic| !topics.contains(topic)).collect();
        assert!(strangers.is_empty(), "{} uses topics without a document: {strangers:?}", title(source));
    }
    let sinks = documents.iter().map(|one| text(one, "/spec/sink/ref/name"));
    let sinks: BTreeSet<&str> = sinks.filter(|name| !name.is_empty()).collect();
    for chart in charts("every_topic_has_a_document_and_every_function_its_source") {
        let objects = chart.objects();
        assert_eq!(names(&objects), sinks, "the functions are those that sources call");
        assert!(names(&objects).is_subset(&topics), "each function has its topic");
    }
}

/// Variables of spin.toml by name, each with its default.
fn variables() -> BTreeMap<String, Option<String>> {
    let manifest = manifest();
    let all = manifest["variables"].as_table().expect("spin.toml has variables");
    let default = |value: &toml::Value| Some(value.get("default")?.as_str()?.to_owned());
    all.iter().map(|(name, value)| (name.clone(), default(value))).collect()
}

fn manifest() -> toml::Table {
    let text = std::fs::read_to_string(root().join("spin.toml")).expect("spin.toml can be read");
    text.parse().expect("spin.toml is TOML")
}

/// The variables that a component's section names.
fn wanted(component: &str) -> BTreeSet<String> {
    let manifest = manifest();
    let section = format!("{:?}", manifest["component"][component]);
    let holes = section.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.trim().to_owned()));
    holes.collect()
}

#[test]
fn every_function_gets_the_variables_of_its_component() {
    let defaults = variables();
    for chart in charts("every_function_gets_the_variables_of_its_component") {
        for function in functions(&chart.objects()) {
            let name = text(function, "/metadata/name");
            let given: BTreeSet<String> = environment(function).map(|(name, _)| name).collect();
            let wanted = wanted(name);
            let strangers: Vec<_> = given.difference(&wanted).collect();
            assert!(strangers.is_empty(), "{name}: spin.toml does not know {strangers:?}");
            // A laptop's default may stand in for nothing that a cluster has.
            let lacks =
                |variable: &&String| !given.contains(*variable) && is_for_a_laptop(defaults[*variable].as_deref());
            let missing: Vec<_> = wanted.iter().filter(lacks).collect();
            assert!(missing.is_empty(), "{name}: add {missing:?} to functions.{name} in knative/till/values.yaml");
        }
    }
}

fn is_for_a_laptop(default: Option<&str>) -> bool {
    default.is_none_or(|default| default.contains("127.0.0.1") || default.contains("localhost"))
}

/// The spin variables of a function, each with its entry.
fn environment(function: &Value) -> impl Iterator<Item = (String, &Value)> {
    list(function, "/spec/template/spec/containers/0/env")
        .iter()
        .filter_map(|entry| Some((text(entry, "/name").strip_prefix("SPIN_VARIABLE_")?.to_lowercase(), entry)))
}

#[test]
fn what_spin_toml_calls_secret_comes_from_a_secret() {
    let manifest = manifest();
    let is_secret = |name: &str| manifest["variables"][name].get("secret").and_then(toml::Value::as_bool) == Some(true);
    for chart in charts("what_spin_toml_calls_secret_comes_from_a_secret") {
        for function in functions(&chart.objects()) {
            let open: Vec<_> =
                environment(function).filter(|(name, entry)| is_secret(name) && entry.get("value").is_some()).collect();
            assert!(open.is_empty(), "{}: {open:?}", title(function));
        }
    }
}

#[test]
fn functions_are_called_by_the_data_plane_alone_and_reach_what_they_need() {
    for chart in charts("functions_are_called_by_the_data_plane_alone_and_reach_what_they_need") {
        let objects = chart.objects();
        let policy = policy(&objects, "till-functions");
        let from: Vec<_> = list(policy, "/spec/ingress/0/from")
            .iter()
            .map(|peer| text(peer, "/namespaceSelector/matchLabels/kubernetes.io~1metadata.name"))
            .collect();
        assert_eq!((from, list(policy, "/spec/ingress").len()), (vec!["knative-serving", "kourier-system"], 1));
        let ports: Vec<i64> = list(policy, "/spec/egress")
            .iter()
            .flat_map(|rule| list(rule, "/ports"))
            .filter_map(|port| port["port"].as_i64())
            .collect();
        let outside: &[i64] = match chart.environment {
            "dev" => &[443, 8025],
            "kind" => &[443, 8025, 8080, 8545],
            _ => &[443],
        };
        let expected = [&[53, 53, 5432, 3001], outside].concat();
        assert_eq!(ports, expected, "{}", chart.environment);
        every_pod_is_in_a_policy(&chart, &objects);
    }
}

fn policy<'a>(objects: &'a [Value], name: &str) -> &'a Value {
    let mut policies = of_kind(objects, "networking.k8s.io", "NetworkPolicy");
    policies.find(|one| text(one, "/metadata/name") == name).expect("the policy is there")
}

/// Each pod that stays is chosen by one policy.
fn every_pod_is_in_a_policy(chart: &Chart, objects: &[Value]) {
    let policies: Vec<&Value> = of_kind(objects, "networking.k8s.io", "NetworkPolicy").collect();
    for object in objects.iter().filter(|one| pod(one).is_some() && text(one, "/kind") != "Pod") {
        let labels = &object["spec"]["template"]["metadata"]["labels"];
        let choosing = policies.iter().filter(|policy| chooses(&policy["spec"]["podSelector"], labels)).count();
        assert_eq!(choosing, 1, "{}: policies of {}", chart.environment, title(object));
    }
}

fn chooses(selector: &Value, labels: &Value) -> bool {
    let mut wanted = selector["matchLabels"].as_object().into_iter().flatten();
    let is_among = |rule: &Value| list(rule, "/values").contains(&labels[text(rule, "/key")]);
    wanted.all(|(name, value)| labels[name] == *value) && list(selector, "/matchExpressions").iter().all(is_among)
}

#[test]
fn no_function_has_a_database_on_a_disk_or_reaches_a_private_network_that_nobody_named() {
    for chart in charts("no_function_has_a_database_on_a_disk_or_reaches_a_private_network_that_nobody_named") {
        let objects = chart.objects();
        let map = of_kind(&objects, "", "ConfigMap").find(|one| text(one, "/metadata/name") == "till-functions");
        let config = text(map.expect("the ConfigMap is there"), "/data/runtime-config.toml");
        let config: toml::Table = config.parse().expect("it is TOML");
        let databases = config["sqlite_database"].as_table().expect("the labels are there");
        assert_eq!(databases.keys().map(String::as_str).collect::<BTreeSet<_>>(), names(&objects));
        assert!(databases.values().all(|database| database["type"].as_str() == Some("none")), "{databases:?}");
        assert_eq!(config["outbound_networking"]["block_networks"], toml::Value::from(vec!["private"]));
    }
}
