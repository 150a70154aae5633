//! Documents as people write them, right and wrong.

use super::*;
use crate::dispatch::{Backoff, OnExhausted, Ordering};
use crate::log::Initial;

fn parse(text: &str) -> Result<Config, Vec<String>> {
    let options = Options { resolve: Some("http://127.0.0.1:3000/{name}".into()), ..Options::default() };
    let environment = |name: &str| match name {
        "KAFKA" => Some("k:9092".into()),
        "KAFKA_REPLICATION" => Some("3".into()),
        "TILL_TOKENS" => Some("/tokens".into()),
        _ => None,
    };
    Config::parse(&[("f.yaml".into(), text.into())], &options, &environment)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

// promise: BRIDGE: the house's own sources.yaml runs unchanged
#[test]
fn the_house_file_is_understood() {
    let config = parse(include_str!("../../../knative/till/sources.yaml")).unwrap();
    assert_eq!((config.sources.len(), config.topics.len(), config.pings.len()), (5, 7, 1));
    let core = &config.sources[0];
    assert_eq!((core.ordering, core.initial, core.in_flight_max), (Ordering::Key, Initial::Earliest, 16));
    assert_eq!(core.sink.url.as_str(), "http://127.0.0.1:3000/core/events");
    assert_eq!(core.token_file.as_deref(), Some(Path::new("/tokens/bridge/core")));
    assert_eq!(core.reply, Reply::ByType { types: vec!["core.".into()] });
    assert_eq!((core.delivery.retry.retries_max, core.delivery.retry.delay), (None, 200));
    assert_eq!(config.dead_letter_topic(core).as_deref(), Some("dead-letters"));
    assert_eq!(config.topics[0].topic.replication, 3);
    assert_eq!(config.pings[0].token_file.as_deref(), Some(Path::new("/tokens/bridge/cron")));
    assert_eq!(config.bootstrap_servers().as_deref(), Some("k:9092"));
}

const KAFKA_SOURCE: &str = "apiVersion: sources.knative.dev/v1
kind: KafkaSource
metadata: { name: s, labels: { kafkasources.sources.knative.dev/key-type: int } }
spec:
  consumers: 2
  bootstrapServers: [a:1]
  topics: [t]
  consumerGroup: g
  sink: { uri: 'http://h/' }
";

// promise: BRIDGE: a KafkaSource has Knative's meaning and defaults
#[test]
fn a_kafka_source_has_knatives_defaults() {
    let config = parse(KAFKA_SOURCE).unwrap();
    let source = &config.sources[0];
    assert_eq!(
        (source.initial, source.ordering, source.key_type),
        (Initial::Latest, Ordering::Partition, KeyType::Int)
    );
    let retry = &source.delivery.retry;
    assert_eq!((retry.retries_max, retry.backoff, retry.delay), (Some(10), Backoff::Exponential, 300));
    assert_eq!(source.delivery.timeout, Duration::from_secs(600));
    assert_eq!((source.delivery.on_exhausted, source.reply.clone()), (OnExhausted::Drop, Reply::None));
}

// promise: BRIDGE: a Source document has its own defaults
#[test]
fn a_source_has_its_own_defaults() {
    let text =
        KAFKA_SOURCE.replace("sources.knative.dev/v1", "till.dev/v1").replace("kind: KafkaSource", "kind: Source");
    let source = parse(&text).unwrap().sources.remove(0);
    assert_eq!((source.initial, source.ordering, source.in_flight_max), (Initial::Earliest, Ordering::Key, 64));
    assert_eq!((source.delivery.on_exhausted, source.reply), (OnExhausted::Stop, Reply::None));
    assert!(source.filter.accepts_all() && source.token_file.is_none() && source.sink.tls == Default::default());
}

#[test]
fn a_client_certificate_needs_both_its_parts() {
    let text =
        KAFKA_SOURCE.replace("sources.knative.dev/v1", "till.dev/v1").replace("kind: KafkaSource", "kind: Source");
    let cert = "cert: { secretKeyRef: { name: me, key: tls.crt } }";
    let problems = parse(&format!("{text}  auth: {{ tls: {{ {cert} }} }}\n")).unwrap_err().join("\n");
    assert!(problems.contains("`spec.auth.tls.key` is missing") && problems.contains("--secrets DIR"), "{problems}");
    assert!(parse(&format!("{text}  auth: {{}}\n")).unwrap_err()[0].contains("tokenFile or tls"));
}

// promise: BRIDGE: all problems are reported at once, with file and line, and unknown fields are refused
#[test]
fn all_problems_are_told_at_once_with_their_lines() {
    let text = format!(
        "{KAFKA_SOURCE}  filters: []\n  ordering: key\n  net: {{ tls: {{ enable: perhaps }} }}\n---\nkind: Mystery\n"
    );
    let problems = parse(&text).unwrap_err();
    for (line, word) in
        [(10, "`spec.filters` is unknown"), (11, "ordered, unordered"), (12, "true or false"), (14, "Mystery")]
    {
        let found =
            problems.iter().any(|problem| problem.starts_with(&format!("f.yaml:{line}:")) && problem.contains(word));
        assert!(found, "{line} {word}: {problems:#?}");
    }
}

// promise: BRIDGE: what only a cluster's controllers can do is refused by name
#[test]
fn what_cannot_be_done_here_is_refused_by_name() {
    let sink = "{ ref: { kind: Broker, name: b }, audience: a, CACerts: c }";
    let problems = parse(&KAFKA_SOURCE.replace("{ uri: 'http://h/' }", sink)).unwrap_err().join("\n");
    for word in ["Broker", "audience", "CACerts"] {
        assert!(problems.contains(word), "{word}: {problems}");
    }
}

#[test]
fn a_dead_letter_sink_must_exist() {
    let text = format!("{KAFKA_SOURCE}  delivery: {{ deadLetterSink: {{ ref: {{ kind: KafkaSink, name: d }} }} }}\n");
    assert!(parse(&text).unwrap_err()[0].contains("no KafkaSink `d`"));
}

#[test]
fn dead_letters_never_go_where_their_source_reads() {
    let sink = |topic: &str| {
        format!(
            "---\napiVersion: eventing.knative.dev/v1alpha1\nkind: KafkaSink\nmetadata: {{ name: d }}\nspec: {{ topic: {topic}, \
             bootstrapServers: [a:1] }}\n"
        )
    };
    let text = format!("{KAFKA_SOURCE}  delivery: {{ deadLetterSink: {{ ref: {{ kind: KafkaSink, name: d }} }} }}\n");
    let problems = parse(&format!("{text}{}", sink("t"))).unwrap_err();
    assert!(problems.len() == 1 && problems[0].starts_with("f.yaml:10:"), "{problems:?}");
    assert!(problems[0].contains("go to `t`, which it reads"), "{problems:?}");
    assert!(parse(&format!("{text}{}", sink("other"))).is_ok());
}

#[test]
fn two_sources_never_share_a_group() {
    let problems = parse(&format!("{KAFKA_SOURCE}---\n{KAFKA_SOURCE}")).unwrap_err().join("\n");
    assert!(problems.contains("one consumerGroup") && problems.contains("another document of this kind"), "{problems}");
}

#[test]
fn a_name_is_given_once_a_kind() {
    let ping = "---\napiVersion: sources.knative.dev/v1\nkind: PingSource\nmetadata: { name: same }\nspec:\n  \
                schedule: '* * * * *'\n  sink: { uri: 'http://h/' }\n";
    let topic = "---\napiVersion: eventing.knative.dev/v1alpha1\nkind: KafkaSink\nmetadata: { name: same }\nspec: { topic: t, \
                 bootstrapServers: [b:1] }\n";
    assert!(parse(&format!("{ping}{topic}")).is_ok());
    for twice in [ping, topic] {
        let problems = parse(&format!("{twice}{twice}")).unwrap_err();
        assert!(problems.len() == 1 && problems[0].contains("`same`"), "{problems:?}");
    }
}

#[test]
fn credentials_in_an_address_are_refused_and_not_told() {
    let problems = parse(&KAFKA_SOURCE.replace("http://h/", "http://me:secret@h/")).unwrap_err().join("\n");
    assert!(problems.contains("holds credentials") && !problems.contains("secret"), "{problems}");
}

#[test]
fn the_name_of_an_extension_is_checked() {
    for (name, fine) in [("colour", true), ("Colour", false), ("a-b", false), ("type", false)] {
        let text = format!("{KAFKA_SOURCE}  ceOverrides: {{ extensions: {{ {name}: red }} }}\n");
        assert_eq!(parse(&text).is_ok(), fine, "{name}");
    }
}

#[test]
fn the_variables_that_are_missing_are_all_named() {
    let problems = parse("a: ${ONE}\nb: ${TWO}").unwrap_err();
    assert_eq!(problems.len(), 2);
    assert!(problems[0].contains("ONE") && problems[1].contains("TWO"));
}

#[test]
fn a_ping_is_checked_at_the_door() {
    let ping = |schedule: &str, zone: &str| {
        parse(&format!(
            "apiVersion: sources.knative.dev/v1\nkind: PingSource\nmetadata: {{ name: p }}\nspec:\n  schedule: '{schedule}'\n  \
             timezone: {zone}\n  sink: {{ uri: 'http://h/' }}\n"
        ))
    };
    assert!(ping("*/5 * * * * *", "Europe/Prague").is_ok());
    let problems = ping("61 * * * *", "Nowhere/At").unwrap_err();
    assert!(problems.iter().any(|text| text.contains("spec.schedule")), "{problems:?}");
    assert!(problems.iter().any(|text| text.contains("Nowhere/At")), "{problems:?}");
}

#[test]
fn where_callers_may_await_an_answer_is_a_list_of_patterns() {
    let source = KAFKA_SOURCE.replace("sources.knative.dev/v1", "till.dev/v1").replace("KafkaSource", "Source");
    let read = |more: &str| parse(&format!("{source}{more}")).map(|mut config| config.sources.remove(0));
    let topics = |more: &str| read(more).unwrap().answer_topics;
    assert_eq!(topics(""), ["*.reply"]);
    assert_eq!(topics("  reply: { byType: true }\n"), ["*.reply"]);
    assert_eq!(topics("  reply: { topics: [a.*, b] }\n"), ["a.*", "b"]);
    assert!(topics("  reply: { none: true, topics: [] }\n").is_empty());
    assert_eq!(parse(KAFKA_SOURCE).unwrap().sources[0].answer_topics, ["*.reply"]);
    let problems = read("  reply: { topics: ['a b', ''] }\n").unwrap_err();
    assert!(problems.len() == 2 && problems[0].contains("spec.reply.topics"), "{problems:?}");
}

#[test]
fn a_reply_goes_to_exactly_one_place() {
    let source = KAFKA_SOURCE.replace("sources.knative.dev/v1", "till.dev/v1").replace("KafkaSource", "Source");
    assert!(parse(&format!("{source}  reply: {{ byType: true, topic: t }}\n")).unwrap_err()[0].contains("exactly one"));
    let config = parse(&format!("{source}  reply: {{ topic: t, types: [a.] }}\n")).unwrap();
    assert_eq!(config.sources[0].reply, Reply::Topic { topic: "t".into(), types: vec!["a.".into()] });
    assert_eq!(config.sources[0].delivery.on_exhausted, OnExhausted::Stop);
}
