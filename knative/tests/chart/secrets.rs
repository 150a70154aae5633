//! Tokens are arrows: who gets which secret, and that none is anywhere else.

use std::collections::{BTreeMap, BTreeSet};

use chart_tests::chart::{functions, list, of_kind, text, title};
use serde_json::{Value, json};

use crate::charts;

/// The (Secret, key) pairs that a function's environment takes.
fn taken(function: &Value) -> Vec<(&str, &str)> {
    let refs = list(function, "/spec/template/spec/containers/0/env").iter();
    refs.filter_map(|entry| entry.pointer("/valueFrom/secretKeyRef"))
        .map(|key| (text(key, "/name"), text(key, "/key")))
        .collect()
}

/// The bridge's files: path → (Secret, key).
fn files(objects: &[Value]) -> BTreeMap<&str, (&str, &str)> {
    let bridge = of_kind(objects, "apps", "StatefulSet").next().expect("there is a bridge");
    let volumes = list(bridge, "/spec/template/spec/volumes").iter();
    let sources =
        volumes.flat_map(|volume| list(volume, "/projected/sources")).filter_map(|source| source.get("secret"));
    sources
        .flat_map(|secret| {
            let name = text(secret, "/name");
            list(secret, "/items").iter().map(move |item| (text(item, "/path"), (name, text(item, "/key"))))
        })
        .collect()
}

#[test]
fn every_function_has_its_own_two_tokens_and_the_bridge_both_ends_of_each() {
    for chart in charts("every_function_has_its_own_two_tokens_and_the_bridge_both_ends_of_each") {
        let objects = chart.objects();
        let files = files(&objects);
        for function in functions(&objects) {
            let (name, taken) = (text(function, "/metadata/name"), taken(function));
            let secret = format!("till-{name}");
            assert!(taken.iter().all(|(its, _)| **its == secret), "{name} takes what belongs to another: {taken:?}");
            for (key, path) in [("bridge-token", format!("bridge/{name}")), ("push-token", format!("push/{name}"))] {
                assert!(taken.contains(&(&secret, key)), "{name} has no {key}");
                assert_eq!(files.get(path.as_str()), Some(&(secret.as_str(), key)), "{path}");
            }
        }
        let arrows: BTreeSet<_> = files.values().collect();
        assert_eq!(arrows.len(), files.len(), "two files of the bridge hold one token: {files:?}");
    }
}

#[test]
fn the_bridge_finds_its_tokens_where_sources_and_arguments_say() {
    for chart in charts("the_bridge_finds_its_tokens_where_sources_and_arguments_say") {
        let objects = chart.objects();
        let bridge = of_kind(&objects, "apps", "StatefulSet").next().expect("there is a bridge");
        let container = bridge.pointer("/spec/template/spec/containers/0").expect("it has a container");
        let tokens = list(container, "/volumeMounts").iter().find(|mount| mount["name"] == "tokens").expect("tokens");
        let folder = text(tokens, "/mountPath");
        assert!(tokens.get("subPath").is_none(), "a subPath never changes in a running pod");
        let environment =
            list(container, "/env").iter().find(|entry| entry["name"] == "TILL_TOKENS").expect("TILL_TOKENS");
        assert_eq!(text(environment, "/value"), folder);
        assert!(list(container, "/args").contains(&json!(format!("--ingress-tokens={folder}/push"))));
        let sources = chart_tests::chart::file("sources.yaml");
        let read = sources.split("${TILL_TOKENS}/").skip(1).filter_map(|rest| rest.split('"').next());
        let (files, read) = (files(&objects), read.collect::<Vec<_>>());
        assert_eq!(read.len(), 6);
        assert!(read.iter().all(|path| files.contains_key(path)), "{read:?}");
    }
}

/// Values of every function's Secret that can be found again.
fn marked() -> Value {
    let keys = |keys: &[&str], name: &str| -> Value {
        let all = ["bridge-token", "push-token", "database-url"].iter().chain(keys);
        all.map(|key| ((*key).to_owned(), json!(format!("MARKED-{name}-{key}"))))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    json!({"bridge": {"api-token": "MARKED-api"}, "admin": keys(&[], "admin"), "core": keys(&[], "core"), "cron": keys(&[], "cron"),
        "mailer": keys(&["mail-api-key"], "mailer"), "payment": keys(&["chain-url", "xpub"], "payment"),
        "webhook": keys(&[], "webhook")})
}

#[test]
fn a_secret_stands_in_its_secret_and_nowhere_else() {
    for chart in charts("a_secret_stands_in_its_secret_and_nowhere_else") {
        let changes = ["secrets.kind=\"plain\"".to_owned(), format!("secrets.values={}", marked())];
        let objects = chart.render(&changes).expect("it renders");
        let secrets: Vec<_> = of_kind(&objects, "", "Secret").collect();
        assert_eq!(secrets.len(), 7, "one for each function, and the bridge's");
        for secret in secrets {
            let name = text(secret, "/metadata/name").trim_start_matches("till-");
            assert_eq!(secret["stringData"], marked()[name], "{name}");
        }
        for object in objects.iter().filter(|object| text(object, "/kind") != "Secret") {
            assert!(!object.to_string().contains("MARKED"), "{} holds a secret", title(object));
        }
    }
}

#[test]
fn external_secrets_ask_for_each_functions_own() {
    let stage =
        charts("external_secrets_ask_for_each_functions_own").into_iter().find(|one| one.environment == "stage");
    let Some(chart) = stage else { return };
    let objects = chart.objects();
    for function in functions(&objects) {
        let name = text(function, "/metadata/name");
        let wanted: BTreeSet<_> =
            taken(function).into_iter().map(|(_, key)| (format!("till/stage/{name}"), key)).collect();
        let mut externals = of_kind(&objects, "external-secrets.io", "ExternalSecret");
        let external = externals.find(|one| text(one, "/spec/target/name") == format!("till-{name}"));
        let data = list(external.expect("there is an ExternalSecret"), "/spec/data");
        let asked: BTreeSet<_> =
            data.iter().map(|one| (text(one, "/remoteRef/key").to_owned(), text(one, "/remoteRef/property"))).collect();
        assert_eq!(asked, wanted, "{name}");
        assert!(data.iter().all(|one| text(one, "/secretKey") == text(one, "/remoteRef/property")), "{name}");
    }
}

#[test]
fn kafkas_credentials_reach_whoever_speaks_to_kafka() {
    let stage =
        charts("kafkas_credentials_reach_whoever_speaks_to_kafka").into_iter().find(|one| one.environment == "stage");
    let Some(chart) = stage else { return };
    let objects = chart.objects();
    let speakers = objects.iter().filter(|object| ["StatefulSet", "Job"].contains(&text(object, "/kind")));
    for object in speakers {
        let pod = object.pointer("/spec/template/spec").expect("it has a pod");
        let volume = list(pod, "/volumes").iter().find(|volume| volume["secret"]["secretName"] == "till-kafka");
        let name = text(volume.expect("the Secret is a volume"), "/name");
        let container = &pod["containers"][0];
        let mount = list(container, "/volumeMounts").iter().find(|mount| mount["name"] == name).expect("it is mounted");
        let folder =
            text(mount, "/mountPath").strip_suffix("/till-kafka").expect("the Secret's name is the last folder");
        assert!(list(container, "/args").contains(&json!(format!("--secrets={folder}"))), "{}", title(object));
    }
    let sources = chart_tests::chart::file("sources.yaml");
    let read = sources.split("name: till-kafka, key: ").skip(1).filter_map(|rest| rest.split(' ').next());
    let mut externals = of_kind(&objects, "external-secrets.io", "ExternalSecret");
    let kafka =
        externals.find(|one| text(one, "/spec/target/name") == "till-kafka").expect("there is an ExternalSecret");
    let keys = list(kafka, "/spec/data").iter().map(|one| text(one, "/secretKey"));
    assert_eq!(keys.collect::<BTreeSet<_>>(), read.collect::<BTreeSet<_>>());
}
