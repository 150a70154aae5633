//! Whether topics are there, as large as their documents say, and may be read and written by us.

use std::collections::{BTreeMap, BTreeSet};

use super::{Level, Place, Report, transactions};
use crate::config::{Config, Reply, Source};
use crate::log::{Log, Right, Rights};

type Partitions = BTreeMap<String, i32>;

/// A topic, where it is needed, and what for.
struct Need<'a> {
    topic: String,
    place: Place<'a>,
    right: Right,
    what: String,
}

const APPLY: &str =
    "`till topics apply` creates what KafkaSink documents name; others are created with Kafka's own tools";

pub async fn check(config: &Config, report: &mut Report) {
    let Some(place) = first(config) else { return };
    let log = match crate::open_log(config) {
        Ok(log) => log,
        Err(error) => return report.push(Level::Error, place, error.to_string(), "correct spec.net and spec.kafka"),
    };
    let found = match log.topics().await {
        Ok(found) => found,
        Err(error) => {
            let text = format!("Kafka at {}: {error}", config.bootstrap_servers().unwrap_or_default());
            return report.push(Level::Error, place, text, "look at bootstrapServers, and whether Kafka runs there");
        }
    };
    let needs = needs(config);
    check_topics(config, &needs, &found, report);
    check_rights(config, &log, &needs, &found, report).await;
    transactions::check(config, &log, report).await;
}

/// With the embedded log, every topic is made from its document.
pub fn check_declared(config: &Config, report: &mut Report) {
    let declared: BTreeSet<&str> = config.topics.iter().map(|topic| topic.topic.name.as_str()).collect();
    for need in needs(config).iter().filter(|need| !declared.contains(need.topic.as_str())) {
        let text = format!("the topic {} {}, and no KafkaSink document makes it", need.topic, need.what);
        report.push(Level::Warning, need.place, text, "add a KafkaSink document for it");
    }
}

pub(super) fn first(config: &Config) -> Option<Place<'_>> {
    let source = config.sources.first().map(|source| Place { file: &source.file, line: source.line });
    source.or_else(|| config.topics.first().map(|topic| Place { file: &topic.file, line: topic.line }))
}

fn needs(config: &Config) -> Vec<Need<'_>> {
    config.sources.iter().flat_map(|source| needs_of(config, source)).collect()
}

fn needs_of<'a>(config: &Config, source: &'a Source) -> Vec<Need<'a>> {
    let place = Place { file: &source.file, line: source.line };
    let need = |topic: &str, right, what: String| Need { topic: topic.to_owned(), place, right, what };
    let read = source.topics.iter().map(|topic| need(topic, Right::Read, format!("is read by {}", source.name)));
    let replies = reply_topics(&source.reply);
    let replies =
        replies.iter().map(|topic| need(topic, Right::Write, format!("takes the replies of {}", source.name)));
    let dead_topic = config.dead_letter_topic(source);
    let dead =
        dead_topic.iter().map(|topic| need(topic, Right::Write, format!("takes the dead letters of {}", source.name)));
    // Orders to deliver a letter again stand in that topic as well.
    let ordered = dead_topic.iter().filter(|_| config.api_token.is_some());
    let ordered =
        ordered.map(|topic| need(topic, Right::Read, format!("is read by {} and the operating API", source.name)));
    read.chain(replies).chain(dead).chain(ordered).collect()
}

fn reply_topics(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Topic { topic, .. } => vec![topic.clone()],
        Reply::ByType { types } => {
            types.iter().filter_map(|kind| kind.split_once('.')).map(|(topic, _)| topic.to_owned()).collect()
        }
        _ => Vec::new(),
    }
}

fn check_topics(config: &Config, needs: &[Need], found: &Partitions, report: &mut Report) {
    for need in needs.iter().filter(|need| !found.contains_key(&need.topic)) {
        let text = format!("the topic {} {}, and is not there or hidden from us", need.topic, need.what);
        report.push(Level::Error, need.place, text, APPLY);
    }
    for topic in &config.topics {
        let (place, wanted) = (Place { file: &topic.file, line: topic.line }, topic.topic.partitions);
        let name = &topic.topic.name;
        match found.get(name) {
            None => report.push(Level::Error, place, format!("the topic {name} is not there or hidden from us"), APPLY),
            Some(found) if *found < wanted => {
                let text = format!("the topic {name} has {found} partitions, and its document says {wanted}");
                let remedy =
                    "nobody changes it, since key order hangs on it: correct the document, or move to a new topic";
                report.push(Level::Error, place, text, remedy);
            }
            Some(_) => {}
        }
    }
}

/// As far as the broker tells.
async fn check_rights(config: &Config, log: &Log, needs: &[Need<'_>], found: &Partitions, report: &mut Report) {
    let topics: Vec<String> =
        needs.iter().map(|need| need.topic.clone()).filter(|topic| found.contains_key(topic)).collect();
    let groups: Vec<String> = config.sources.iter().map(|source| source.group.clone()).collect();
    let rights = match log.rights(topics, groups).await {
        Ok(rights) => rights,
        Err(error) => {
            let Some(place) = first(config) else { return };
            let text = format!("the broker does not tell what we may do: {error}");
            return report.push(Level::Warning, place, text, "look at the ACLs with Kafka's own tools");
        }
    };
    for need in needs.iter().filter(|need| !rights.of_topic(&need.topic, need.right)) {
        let text = format!("the topic {} {}, and we may not {} it", need.topic, need.what, need.right);
        report.push(Level::Error, need.place, text, format!("give our user an ACL: {} on the topic", need.right));
    }
    for source in config.sources.iter().filter(|source| !rights.of_group(&source.group)) {
        let place = Place { file: &source.file, line: source.line };
        let text = format!("we may not join the consumer group {}", source.group);
        report.push(Level::Error, place, text, "give our user an ACL: Read on the group");
    }
}

impl Rights {
    /// What was not told is believed to be allowed.
    fn of_topic(&self, topic: &str, right: Right) -> bool {
        self.topics.get(topic).is_none_or(|rights| rights.contains(&right))
    }

    fn of_group(&self, group: &str) -> bool {
        self.groups.get(group).is_none_or(|rights| rights.contains(&Right::Read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;

    // promise: BRIDGE: `check` finds topics that are missing or too small, and what the broker says that we may not do
    #[test]
    fn with_the_operating_api_dead_letters_must_be_readable() {
        let text = "apiVersion: eventing.knative.dev/v1alpha1\nkind: KafkaSink\nmetadata: { name: dead }\nspec: { topic: dead, \
                    bootstrapServers: [b:1] }\n---\napiVersion: till.dev/v1\nkind: Source\nmetadata: { name: s }\nspec:\n  \
                    bootstrapServers: [b:1]\n  topics: [in]\n  sink: { uri: 'http://h/' }\n  delivery: { deadLetterSink: { ref: { \
                    kind: KafkaSink, name: dead, apiVersion: eventing.knative.dev/v1alpha1 } } }\n";
        let check = |api_token: Option<&str>, expected: &[Right]| {
            let options = Options { api_token: api_token.map(Into::into), ..Options::default() };
            let config = Config::parse(&[("f.yaml".into(), text.into())], &options, &|_| None).unwrap();
            let rights: Vec<Right> =
                needs(&config).iter().filter(|need| need.topic == "dead").map(|need| need.right).collect();
            assert_eq!(rights, expected);
        };
        check(None, &[Right::Write]);
        check(Some("/token"), &[Right::Write, Right::Read]);
    }
}
