//! Where a cluster's partitions are read from when they are assigned: their committed offset, or what the group's initial
//! policy says, which is committed at once where it would be another the next time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::client::Client;
use crate::log::{Commit, Group, Initial, Partition, Position};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The beginnings of assigned partitions, in their order. `appeared` are the topics that did not exist when the group was
/// joined.
pub(super) fn of(
    consumer: &BaseConsumer<Client>,
    group: &Group,
    partitions: &[Partition],
    appeared: &BTreeSet<String>,
) -> KafkaResult<Vec<Position>> {
    let found: BTreeMap<Partition, Commit> =
        committed(consumer, partitions)?.into_iter().map(|commit| (commit.partition.clone(), commit)).collect();
    let missing: Vec<&Partition> = partitions.iter().filter(|partition| !found.contains_key(partition)).collect();
    let (from_end, missing): (Vec<&Partition>, Vec<&Partition>) =
        missing.into_iter().partition(|partition| group.from_end.contains(&*partition.topic));
    let mut initial = initial(consumer, group.initial, &missing, appeared)?;
    initial.extend(ends(consumer, &from_end)?);
    let position = |partition: &Partition| match found.get(partition) {
        Some(Commit { next, metadata, .. }) => {
            let metadata = (!metadata.is_empty()).then(|| metadata.clone());
            Position { partition: partition.clone(), next: *next, metadata }
        }
        None => Position { partition: partition.clone(), next: initial[partition], metadata: None },
    };
    Ok(partitions.iter().map(position).collect())
}

/// What the consumer's group has committed; partitions without a commit are left out.
pub(super) fn committed(consumer: &BaseConsumer<Client>, partitions: &[Partition]) -> KafkaResult<Vec<Commit>> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut asked = TopicPartitionList::with_capacity(partitions.len());
    for Partition { topic, number } in partitions {
        asked.add_partition(topic, *number);
    }
    let answered = consumer.committed_offsets(asked, TIMEOUT)?;
    let mut commits = Vec::with_capacity(partitions.len());
    for element in answered.elements() {
        element.error()?;
        if let Offset::Offset(next) = element.offset() {
            let partition = Partition::new(element.topic(), element.partition());
            commits.push(Commit { partition, next, metadata: element.metadata().to_owned() });
        }
    }
    Ok(commits)
}

/// Puts a commit into a list that is to be committed.
pub(super) fn add(list: &mut TopicPartitionList, commit: &Commit) -> KafkaResult<()> {
    let mut element = list.add_partition(&commit.partition.topic, commit.partition.number);
    element.set_offset(Offset::Offset(commit.next))?;
    if !commit.metadata.is_empty() {
        element.set_metadata(&commit.metadata);
    }
    Ok(())
}

/// First offset and end of a partition.
pub(super) fn span(consumer: &BaseConsumer<Client>, partition: &Partition) -> KafkaResult<(i64, i64)> {
    consumer.fetch_watermarks(&partition.topic, partition.number, TIMEOUT)
}

fn initial(
    consumer: &BaseConsumer<Client>,
    initial: Initial,
    missing: &[&Partition],
    appeared: &BTreeSet<String>,
) -> KafkaResult<BTreeMap<Partition, i64>> {
    let each = missing.iter().map(|partition| (*partition).clone());
    match initial {
        Initial::Earliest => each.map(|partition| Ok((partition.clone(), span(consumer, &partition)?.0))).collect(),
        Initial::At(instant_ms) => at(consumer, missing, instant_ms),
        Initial::Latest => {
            let topics: BTreeSet<&str> = missing.iter().map(|partition| &*partition.topic).collect();
            let mut decided = BTreeMap::new();
            for topic in topics {
                let own = missing.iter().copied().filter(|partition| &*partition.topic == topic);
                decided.extend(latest(consumer, topic, own, appeared.contains(topic))?);
            }
            Ok(decided)
        }
    }
}

/// The ends of these partitions, committed at once: what comes from now on is read, also after a restart.
fn ends(consumer: &BaseConsumer<Client>, missing: &[&Partition]) -> KafkaResult<BTreeMap<Partition, i64>> {
    let end = |partition: &&Partition| Ok(((*partition).clone(), span(consumer, partition)?.1));
    let ends: BTreeMap<Partition, i64> = missing.iter().map(end).collect::<KafkaResult<_>>()?;
    if !ends.is_empty() {
        keep(consumer, &ends)?;
    }
    Ok(ends)
}

fn at(
    consumer: &BaseConsumer<Client>,
    missing: &[&Partition],
    instant_ms: i64,
) -> KafkaResult<BTreeMap<Partition, i64>> {
    let mut asked = TopicPartitionList::with_capacity(missing.len());
    for Partition { topic, number } in missing {
        asked.add_partition_offset(topic, *number, Offset::Offset(instant_ms))?;
    }
    let mut found = BTreeMap::new();
    if missing.is_empty() {
        return Ok(found);
    }
    for element in consumer.offsets_for_times(asked, TIMEOUT)?.elements() {
        element.error()?;
        let partition = Partition::new(element.topic(), element.partition());
        let next = match element.offset() {
            Offset::Offset(next) => next,
            _ => span(consumer, &partition)?.1,
        };
        found.insert(partition, next);
    }
    Ok(found)
}

/// A partition without a commit is new to the group with its whole topic, and begins at its end, or it appeared later, and
/// begins at its beginning. Later ones have the higher numbers: one with a commit above it was there from the start. So the
/// first member of a group commits the end of the highest partition even when another member has it.
fn latest<'a>(
    consumer: &BaseConsumer<Client>,
    topic: &str,
    own: impl Iterator<Item = &'a Partition>,
    topic_appeared: bool,
) -> KafkaResult<BTreeMap<Partition, i64>> {
    let all = all_partitions(consumer, topic)?;
    let highest = committed(consumer, &all)?.iter().map(|commit| commit.partition.number).max();
    let mut decided = BTreeMap::new();
    for partition in own {
        let (start, end) = span(consumer, partition)?;
        let appeared = topic_appeared || highest.is_some_and(|highest| partition.number > highest);
        decided.insert(partition.clone(), if appeared { start } else { end });
    }
    let mut kept = decided.clone();
    if let (None, false, Some(last)) = (highest, topic_appeared, all.last()) {
        let end = span(consumer, last)?.1;
        kept.entry(last.clone()).or_insert(end);
    }
    keep(consumer, &kept)?;
    Ok(decided)
}

fn all_partitions(consumer: &BaseConsumer<Client>, topic: &str) -> KafkaResult<Vec<Partition>> {
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    Ok((0..count as i32).map(|number| Partition::new(topic, number)).collect())
}

fn keep(consumer: &BaseConsumer<Client>, decided: &BTreeMap<Partition, i64>) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(decided.len());
    for (partition, next) in decided {
        add(&mut list, &Commit { partition: partition.clone(), next: *next, metadata: String::new() })?;
    }
    consumer.commit(&list, CommitMode::Sync)
}

/// Whether a topic exists.
pub(super) fn exists(consumer: &BaseConsumer<Client>, topic: &str) -> KafkaResult<bool> {
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let code = metadata.topics().first().and_then(|topic| topic.error()).map(RDKafkaErrorCode::from);
    Ok(!matches!(code, Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)))
}
