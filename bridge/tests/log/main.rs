//! What every log promises the bridge, run over each implementer of the port.

#![allow(clippy::unwrap_used)]

mod beginning;
mod embedded;
#[path = "../support/ports.rs"]
mod ports;
mod sharing;
mod world;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bridge::log::{Alarm, Error, Fault, Happening, Initial, NewRecord, Partition, Span, Stretch};
use world::{Member, World, commit, create, group, record, reply, topic, unique, value};

#[tokio::test]
async fn records_come_in_offset_order_and_as_they_were_written() {
    for world in World::all() {
        let log = world.open();
        let topic = topic(&log, 3).await;
        let written: Vec<NewRecord> =
            (0..300).map(|n| record(&topic, &format!("key-{}", n % 7), &n.to_string())).collect();
        for part in written.chunks(50) {
            log.append(part.to_vec()).await.unwrap();
        }
        let mut member = Member::join(&log, &group(&[&topic], Initial::Earliest));
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        let mut seen: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for read in member.records(300).await {
            assert!(read.offset >= *next.get(&read.partition.number).unwrap_or(&0));
            next.insert(read.partition.number, read.offset + 1);
            let number: usize = value(&read).parse().unwrap();
            assert_eq!((&read.key, &read.headers), (&written[number].key, &written[number].headers));
            assert!(read.timestamp_ms.is_some());
            seen.entry(format!("{:?}", read.key)).or_default().push(number);
        }
        assert!(seen.values().all(|numbers| numbers.is_sorted()), "a key was overtaken on {}", world.name());
    }
}

// promise: BRIDGE: the same key lands on the same partition as with Java and KafkaJS
#[tokio::test]
async fn a_key_is_written_where_javas_partitioner_would_write_it() {
    // org.apache.kafka.common.utils.Utils.murmur2 of each, made positive, modulo 10.
    let expected = [("21", 0), ("foobar", 6), ("a-little-bit-long-string", 2), ("abc", 7)];
    for world in World::all() {
        let log = world.open();
        let topic = topic(&log, 10).await;
        log.append(expected.map(|(key, _)| record(&topic, key, key)).to_vec()).await.unwrap();
        let mut member = Member::join(&log, &group(&[&topic], Initial::Earliest));
        let found: BTreeMap<String, i32> =
            member.records(4).await.iter().map(|read| (value(read), read.partition.number)).collect();
        let hash: BTreeMap<&str, i32> = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("abc", 479_470_107),
        ]
        .into();
        for (key, _) in expected {
            assert_eq!(found[key], (hash[key] & 0x7fff_ffff) % 10, "{key} on {}", world.name());
        }
    }
}

// promise: BRIDGE: replies, dead letters and offsets are one transaction, all or none
#[tokio::test]
async fn a_settlement_is_all_or_nothing() {
    for world in World::all() {
        let log = world.open();
        let (input, output) = (topic(&log, 1).await, topic(&log, 1).await);
        let partition = Partition::new(input.as_str(), 0);
        log.append(vec![record(&input, "k", "in")]).await.unwrap();
        let group = group(&[&input], Initial::Earliest);
        let mut member = Member::join(&log, &group);
        member.records(1).await;

        let huge = "x".repeat(2 << 20);
        let replies = vec![reply(&output, "k", "first"), reply(&output, "k", &huge)];
        let refused = member.control.settle(replies, vec![commit(&partition, 1, "")]).await;
        assert!(matches!(refused, Err(Error::Record { index: 1, fault: Fault::TooLarge, .. })), "{refused:?}");
        let unknown = vec![reply(&output, "k", "second"), reply(&unique("absent"), "k", "")];
        let refused = member.control.settle(unknown, vec![commit(&partition, 1, "")]).await;
        assert!(matches!(refused, Err(Error::Record { index: 1, fault: Fault::UnknownTopic, .. })), "{refused:?}");
        for name in ["", "a b", "a\0b", "t/0"] {
            let refused = member.control.settle(vec![reply(name, "k", "")], vec![commit(&partition, 1, "")]).await;
            assert!(matches!(refused, Err(Error::Record { fault: Fault::UnknownTopic, .. })), "{name}: {refused:?}");
        }
        assert_eq!(log.committed(&group.group, vec![partition.clone()]).await, Ok(vec![]));

        let kept = commit(&partition, 1, "all of it");
        member.control.settle(vec![reply(&output, "k", "third")], vec![kept.clone()]).await.unwrap();
        assert_eq!(log.committed(&group.group, vec![partition]).await, Ok(vec![kept]));
        let written = log.read(Partition::new(output.as_str(), 0), 0, 10).await.unwrap();
        assert_eq!(written.iter().map(value).collect::<Vec<_>>(), ["third"], "on {}", world.name());
    }
}

// promise: BRIDGE: a push is answered after the log has it, and a batch is all or none
#[tokio::test]
async fn an_appended_batch_is_all_or_nothing() {
    for world in World::all() {
        let log = world.open();
        let topic = topic(&log, 1).await;
        let huge = "x".repeat(2 << 20);
        let refused = log.append(vec![record(&topic, "k", "a"), record(&topic, "k", &huge)]).await;
        assert!(matches!(refused, Err(Error::Record { index: 1, fault: Fault::TooLarge, .. })), "{refused:?}");
        let mut outside = record(&topic, "k", "b");
        outside.partition = Some(9);
        let refused = log.append(vec![record(&topic, "k", "c"), outside]).await;
        assert!(matches!(refused, Err(Error::Record { index: 1, fault: Fault::UnknownPartition, .. })), "{refused:?}");
        log.append(vec![record(&topic, "k", "d"), record(&topic, "k", "e")]).await.unwrap();
        let written = log.read(Partition::new(topic.as_str(), 0), 0, 10).await.unwrap();
        assert_eq!(written.iter().map(value).collect::<Vec<_>>(), ["d", "e"], "on {}", world.name());
    }
}

#[tokio::test]
async fn what_was_not_committed_comes_again() {
    for world in World::all() {
        let log = world.open();
        let topic = topic(&log, 1).await;
        log.append((0..5).map(|n| record(&topic, "k", &n.to_string())).collect()).await.unwrap();
        let group = group(&[&topic], Initial::Earliest);
        let mut first = Member::join(&log, &group);
        assert_eq!(first.values(5).await, ["0", "1", "2", "3", "4"]);
        first.control.settle(vec![], vec![commit(&Partition::new(topic.as_str(), 0), 2, "")]).await.unwrap();
        first.leave().await;
        let mut second = Member::join(&log, &group);
        assert_eq!(second.values(3).await, ["2", "3", "4"], "on {}", world.name());
    }
}

// promise: BRIDGE: attempt counts, and which records beyond the safe offset are settled, survive a restart in the commit's metadata
#[tokio::test]
async fn metadata_comes_back_with_the_position() {
    for world in World::all() {
        let log = world.open();
        let topic = topic(&log, 1).await;
        let partition = Partition::new(topic.as_str(), 0);
        log.append((0..3).map(|n| record(&topic, "k", &n.to_string())).collect()).await.unwrap();
        let group = group(&[&topic], Initial::Earliest);
        let mut first = Member::join(&log, &group);
        let begin = first.assigned().await;
        assert_eq!((begin[0].next, &begin[0].metadata), (0, &None));
        let text = "m".repeat(4_000);
        first.control.settle(vec![], vec![commit(&partition, 1, &text)]).await.unwrap();
        let refused = first.control.settle(vec![], vec![commit(&partition, 2, &"m".repeat(5_000))]).await;
        assert!(matches!(refused, Err(Error::Metadata(_))), "{refused:?}");
        let third = vec![reply(&topic, "k", "3")];
        first.control.settle(third, vec![commit(&partition, 1, &text)]).await.unwrap();
        first.leave().await;
        let mut second = Member::join(&log, &group);
        let begin = second.assigned().await;
        assert_eq!((begin[0].next, begin[0].metadata.as_deref()), (1, Some(text.as_str())), "on {}", world.name());
    }
}

// promise: BRIDGE: an offset out of range is an alarm and a stop
#[tokio::test]
async fn an_offset_out_of_range_is_an_alarm_and_a_stop() {
    for world in World::all() {
        let log = world.open();
        let topic = topic(&log, 2).await;
        let (bad, good) = (Partition::new(topic.as_str(), 0), Partition::new(topic.as_str(), 1));
        let group = group(&[&topic], Initial::Earliest);
        let mut first = Member::join(&log, &group);
        first.assigned().await;
        first.control.settle(vec![], vec![commit(&bad, 99, "kept"), commit(&good, 0, "")]).await.unwrap();
        first.leave().await;
        let to = |partition: &Partition, value: &str| NewRecord {
            partition: Some(partition.number),
            ..record(&topic, "k", value)
        };
        log.append(vec![to(&bad, "never"), to(&good, "read")]).await.unwrap();
        let mut second = Member::join(&log, &group);
        let (mut alarmed, mut read) = (false, Vec::new());
        while !alarmed || read.is_empty() {
            match second.next().await {
                Happening::Alarm(Alarm::OutOfRange { partition, next: 99, .. }) => alarmed = partition == bad,
                Happening::Record(record) => read.push(value(&record)),
                _ => {}
            }
        }
        assert_eq!(read, ["read"], "on {}", world.name());
        let kept = log.committed(&group.group, vec![bad.clone()]).await.unwrap();
        assert_eq!(kept, vec![commit(&bad, 99, "kept")]);
    }
}

// promise: BRIDGE: the committed offset of an idle partition is its end, so that its lag is zero
#[tokio::test]
async fn the_end_of_a_partition_counts_what_no_reader_sees() {
    for world in World::all() {
        let log = world.open();
        let topic = topic(&log, 1).await;
        let partition = Partition::new(topic.as_str(), 0);
        let group = group(&[&topic], Initial::Earliest);
        let mut member = Member::join(&log, &group);
        member.assigned().await;
        for n in 0..3 {
            log.append(vec![record(&topic, "k", &n.to_string())]).await.unwrap();
        }
        let mut seen = 0;
        let end = loop {
            let (records, end) = member.until_end(&partition).await;
            seen += records.len();
            let spans = log.spans(vec![partition.clone()]).await.unwrap();
            if seen == 3 && spans[&partition].end == end {
                break end;
            }
        };
        member.control.settle(vec![], vec![commit(&partition, end, "")]).await.unwrap();
        member.leave().await;
        let mut again = Member::join(&log, &group);
        assert_eq!(again.assigned().await[0].next, end);
        assert_eq!(again.until_end(&partition).await, (vec![], end), "on {}", world.name());
    }
}

#[tokio::test]
async fn a_paused_partition_waits_and_goes_on_where_it_stopped() {
    for world in World::all() {
        let log = world.open();
        let topic = topic(&log, 2).await;
        let (still, flowing) = (Partition::new(topic.as_str(), 0), Partition::new(topic.as_str(), 1));
        let to = |partition: &Partition, value: &str| NewRecord {
            partition: Some(partition.number),
            ..record(&topic, "k", value)
        };
        let mut member = Member::join(&log, &group(&[&topic], Initial::Earliest));
        member.assigned().await;
        member.control.pause(std::slice::from_ref(&still));
        log.append(vec![to(&still, "later"), to(&flowing, "now")]).await.unwrap();
        assert_eq!(member.values(1).await, ["now"]);
        log.append(vec![to(&flowing, "now too")]).await.unwrap();
        assert_eq!(member.values(1).await, ["now too"], "on {}", world.name());
        member.control.resume(&[still]);
        assert_eq!(member.values(1).await, ["later"], "on {}", world.name());
    }
}

// promise: BRIDGE: memory is bounded by records and by bytes, whatever the lag
#[tokio::test]
async fn a_feed_that_nobody_reads_is_bounded_and_loses_nothing() {
    for world in World::all() {
        let log = world.open();
        let topic = topic(&log, 1).await;
        for hundred in 0..10 {
            let records = (0..100).map(|n| record(&topic, "k", &(hundred * 100 + n).to_string()));
            log.append(records.collect()).await.unwrap();
        }
        let mut group = group(&[&topic], Initial::Earliest);
        group.waiting_max = 10;
        let mut member = Member::join(&log, &group);
        member.assigned().await;
        let expected: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
        // Slow at first, so that the reading side meets the full feed; then as fast as it goes.
        let mut values = member.values(5).await;
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        values.extend(member.values(995).await);
        assert_eq!(values, expected, "on {}", world.name());
    }
}

// promise: BRIDGE: on a revocation what is settled is committed and the rest is left
#[tokio::test]
async fn a_close_waits_for_the_release_and_takes_a_last_settlement() {
    for world in World::all() {
        let log = world.open();
        let topic = topic(&log, 1).await;
        let partition = Partition::new(topic.as_str(), 0);
        log.append(vec![record(&topic, "k", "0")]).await.unwrap();
        let group = group(&[&topic], Initial::Earliest);
        let mut member = Member::join(&log, &group);
        member.records(1).await;
        member.control.close();
        let revoked = member.revoked().await;
        assert_eq!((revoked.partitions, revoked.lost), (vec![partition.clone()], false));
        let last = commit(&partition, 1, "last");
        member.control.settle(vec![], vec![last.clone()]).await.unwrap();
        drop(revoked.release);
        while member.feed.next().await.is_some() {}
        assert_eq!(member.control.settle(vec![], vec![last.clone()]).await, Err(Error::Closed));
        assert_eq!(log.committed(&group.group, vec![partition]).await, Ok(vec![last]), "on {}", world.name());
    }
}

#[tokio::test]
async fn a_look_that_ends_too_soon_says_how_far_it_came() {
    for world in World::all() {
        let log = world.open();
        let topic = topic(&log, 1).await;
        log.append(vec![record(&topic, "k", "v")]).await.unwrap();
        let count = |seen: &mut usize, _| {
            *seen += 1;
            true
        };
        let stretch = |limit| Stretch { partition: Partition::new(topic.as_str(), 0), from: 0, limit };
        let look = |limit| log.scan(stretch(limit), 0_usize, count);
        let short = look(Duration::ZERO).await.unwrap();
        assert!(short.gathered as i64 == short.next && !short.ended, "on {}: {short:?}", world.name());
        let long = look(Duration::from_secs(20)).await.unwrap();
        assert_eq!((long.gathered, long.ended), (1, true), "on {}", world.name());
    }
}

#[tokio::test]
async fn topics_are_created_once_and_left_as_they_are() {
    for world in World::all() {
        let log = world.open();
        let name = unique("once");
        create(&log, &name, 3).await;
        let again = bridge::log::NewTopic { name: name.clone(), partitions: 5, replication: 1, retention: None };
        assert_eq!(log.create_topics(vec![again]).await, Ok(vec![]));
        assert_eq!(log.topics().await.unwrap()[&name], 3, "on {}", world.name());
        let (there, absent) = (Partition::new(name.as_str(), 2), Partition::new(unique("absent"), 0));
        let spans = log.spans(vec![there.clone(), absent]).await.unwrap();
        assert_eq!(spans, BTreeMap::from([(there, Span { start: 0, end: 0 })]));
    }
}

// promise: BRIDGE: bad bytes (non-UTF-8 keys and headers, 1 MiB values, malformed CloudEvents) never stop a partition
#[tokio::test]
async fn tombstones_and_keyless_records_are_carried() {
    for world in World::all() {
        let log = world.open();
        let topic = topic(&log, 4).await;
        let tombstone = NewRecord { value: None, headers: vec![], ..record(&topic, "gone", "") };
        let keyless = NewRecord { key: None, ..record(&topic, "", "keyless") };
        let odd = NewRecord { key: Some(bytes::Bytes::from_static(b"\xff\xfe")), ..record(&topic, "", "odd") };
        log.append(vec![tombstone, keyless, odd]).await.unwrap();
        let mut member = Member::join(&log, &group(&[&topic], Initial::Earliest));
        let read = member.records(3).await;
        let seen: HashSet<_> = read.iter().map(|read| (read.key.clone(), read.value.clone())).collect();
        let bytes = |text: &'static [u8]| Some(bytes::Bytes::from_static(text));
        let expected = [(bytes(b"gone"), None), (None, bytes(b"keyless")), (bytes(b"\xff\xfe"), bytes(b"odd"))];
        assert_eq!(seen, HashSet::from(expected), "on {}", world.name());
    }
}
