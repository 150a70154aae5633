//! What only a cluster has: members that share partitions, replicas that come back, transactions that abort.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bridge::log::{Alarm, Error, Fault, Happening, Initial, Log, NewRecord, Partition};

use crate::world::{Broker, DEADLINE, Member, World, commit, create, group, record, reply, topic, unique, value};

// promise: BRIDGE: on a revocation what is settled is committed and the rest is left
#[tokio::test]
async fn two_members_share_the_partitions_and_no_record_comes_twice() {
    let Some(world) = World::kafka() else { return };
    let log = world.open();
    let topic = topic(&log, 4).await;
    let to = |number: i32, value: String| NewRecord { partition: Some(number), ..record(&topic, "k", &value) };
    log.append((0..40).map(|n| to(n % 4, n.to_string())).collect()).await.unwrap();
    let one = group(&[&topic], Initial::Earliest);
    let mut two = one.clone();
    two.replica = "replica-1".into();
    let mut first = Member::join(&log, &one);
    let mut seen: Vec<String> = first.records(40).await.iter().map(value).collect();

    let mut second = Member::join(&log, &two);
    let revoked = first.revoked().await;
    assert!(!revoked.lost);
    let settled = revoked.partitions.iter().map(|partition| commit(partition, 10, "from the first")).collect();
    first.control.settle(vec![], settled).await.unwrap();
    let given = revoked.partitions.clone();
    drop(revoked.release);
    let positions = second.assigned().await;
    assert_eq!(positions.len(), given.len());
    assert!(positions.iter().all(|position| position.next == 10));
    assert!(positions.iter().all(|position| position.metadata.as_deref() == Some("from the first")));
    let late = first.control.settle(vec![], vec![commit(&given[0], 10, "")]).await;
    assert_eq!(late, Err(Error::NotOurs(given[0].clone())));

    log.append((40..80).map(|n| to(n % 4, n.to_string())).collect()).await.unwrap();
    let theirs = given.len() * 10;
    seen.extend(second.values(theirs).await);
    seen.extend(first.values(40 - theirs).await);
    seen.sort_by_key(|value| value.parse::<usize>().unwrap());
    assert_eq!(seen, (0..80).map(|n| n.to_string()).collect::<Vec<_>>());
}

// promise: BRIDGE: nothing is lost when the bridge is killed, and the next delivery comes in seconds
#[tokio::test]
async fn a_replica_that_comes_back_is_delivered_to_soon() {
    let Some(world) = World::kafka() else { return };
    let log = world.open();
    let topic = topic(&log, 2).await;
    log.append(vec![record(&topic, "k", "0")]).await.unwrap();
    let group = group(&[&topic], Initial::Earliest);
    let mut first = Member::join(&log, &group);
    let read = first.records(1).await.remove(0);
    first.control.settle(vec![], vec![commit(&read.partition, read.offset + 1, "")]).await.unwrap();
    // As after a SIGKILL: nothing is said to the broker.
    std::mem::forget(first);
    log.append(vec![record(&topic, "k", "1")]).await.unwrap();
    let began = Instant::now();
    let mut again = Member::join(&log, &group);
    assert_eq!(again.values(1).await, ["1"]);
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
}

// promise: BRIDGE: readiness tells the truth
#[tokio::test]
async fn that_a_topic_is_there_now_is_told_to_who_gets_nothing_of_it_as_well() {
    let Some(world) = World::kafka() else { return };
    let log = world.open();
    let topic = unique("late");
    let one = group(&[&topic], Initial::Earliest);
    let mut two = one.clone();
    two.replica = "replica-1".into();
    let mut members = [Member::join(&log, &one), Member::join(&log, &two)];
    for member in &mut members {
        let alarm = member.alarm().await;
        assert!(matches!(&alarm, Alarm::Topic { topic: missing, .. } if *missing == topic), "{alarm:?}");
    }
    create(&log, &topic, 1).await;
    let mut owners = 0;
    for member in &mut members {
        owners += loop {
            match member.next().await {
                Happening::Assigned(positions) if !positions.is_empty() => break positions.len(),
                Happening::Alarm(Alarm::Found { topic: found }) if found == topic => break 0,
                _ => {}
            }
        };
    }
    assert_eq!(owners, 1);
}

// promise: BRIDGE: who stops leaves its group, and the others have its partitions at once
#[tokio::test]
async fn who_closes_leaves_its_partitions_to_the_others_at_once() {
    let Some(world) = World::kafka() else { return };
    let log = world.open();
    let topic = topic(&log, 2).await;
    let one = group(&[&topic], Initial::Earliest);
    let mut two = one.clone();
    two.replica = "replica-1".into();
    let mut first = Member::join(&log, &one);
    first.assigned().await;
    let mut second = Member::join(&log, &two);
    drop(first.revoked().await.release);
    assert_eq!(second.assigned().await.len(), 1);
    let began = Instant::now();
    first.leave().await;
    while !matches!(second.next().await, Happening::Assigned(positions) if positions.len() == 1) {}
    println!("the others had its partitions after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    second.leave().await;
}

// promise: BRIDGE: partitions with lag are read abreast, also while the sink is slow
#[tokio::test]
async fn no_partition_waits_for_the_end_of_anothers_lag() {
    const PARTITIONS: i32 = 12;
    let Some(world) = World::kafka() else { return };
    let log = world.open();
    let topic = topic(&log, PARTITIONS).await;
    let value = "x".repeat(4_000);
    let to = |number| NewRecord { partition: Some(number), ..record(&topic, "k", &value) };
    // 600 KB of each partition, in batches of 16 KB as most producers write them.
    for _ in 0..38 {
        log.append((0..4 * PARTITIONS).map(|n| to(n % PARTITIONS)).collect()).await.unwrap();
    }
    let mut group = group(&[&topic], Initial::Earliest);
    group.waiting_max = 48;
    let mut member = Member::join(&log, &group);
    let mut seen: BTreeMap<i32, usize> = BTreeMap::new();
    for _ in 0..12 {
        // Long enough for the reading side to find no room.
        tokio::time::sleep(Duration::from_millis(100)).await;
        for read in member.records(48).await {
            *seen.entry(read.partition.number).or_default() += 1;
        }
    }
    // 48 of each are fair; an answer holds 16 of each.
    let counts: Vec<usize> = (0..PARTITIONS).map(|number| seen.get(&number).copied().unwrap_or_default()).collect();
    assert!(counts.iter().all(|count| (32..=64).contains(count)), "{counts:?}");
    member.leave().await;
}

// promise: BRIDGE: several bridges in one group share the partitions, and a rebalance loses and doubles nothing that is settled
#[tokio::test]
async fn a_partition_that_was_paused_when_it_went_flows_when_it_comes_back() {
    let Some(world) = World::kafka() else { return };
    let log = world.open();
    let topic = topic(&log, 2).await;
    let to = |number: i32, value: String| NewRecord { partition: Some(number), ..record(&topic, "k", &value) };
    let one = group(&[&topic], Initial::Earliest);
    let mut two = one.clone();
    two.replica = "replica-1".into();
    let mut first = Member::join(&log, &one);
    first.assigned().await;
    first.control.pause(&[Partition::new(topic.as_str(), 0), Partition::new(topic.as_str(), 1)]);
    let mut second = Member::join(&log, &two);
    let revoked = first.revoked().await;
    let given = revoked.partitions.clone();
    drop(revoked.release);
    second.assigned().await;
    second.leave().await;
    while !matches!(first.next().await, Happening::Assigned(positions) if positions.len() == 1) {}
    log.append((0..10).map(|n| to(given[0].number, n.to_string())).collect()).await.unwrap();
    assert_eq!(first.values(10).await, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    first.leave().await;
}

// promise: BRIDGE: a bridge that was alone in its group and is started again goes on at once
#[tokio::test]
async fn who_was_alone_finds_its_place_again_without_a_rebalance() {
    let Some(world) = World::kafka() else { return };
    let log = world.open();
    let topic = topic(&log, 2).await;
    let group = group(&[&topic], Initial::Earliest);
    let mut first = Member::join(&log, &group);
    assert_eq!(first.assigned().await.len(), 2);
    first.leave().await;
    let began = Instant::now();
    let mut again = Member::join(&log, &group);
    assert_eq!(again.assigned().await.len(), 2);
    println!("it had its partitions again after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
    again.leave().await;
}

#[tokio::test]
async fn a_record_that_the_broker_refuses_is_named_and_its_batch_is_not_to_blame() {
    let Some(World::Kafka(broker)) = World::kafka() else { return };
    let log = World::Kafka(broker.clone()).open();
    let narrow = narrow_topic(&broker, "2000").await;
    let written = |size: usize| record(&narrow, "k", &"x".repeat(size));
    // Each fits; the batch that they would be sent in does not.
    log.append((0..20).map(|_| written(500)).collect()).await.unwrap();
    let refused = log.append(vec![written(500), written(3_000), written(500)]).await;
    assert!(matches!(refused, Err(Error::Record { index: 1, fault: Fault::TooLarge, .. })), "{refused:?}");
    assert_eq!(log.read(Partition::new(narrow.as_str(), 0), 0, 100).await.unwrap().len(), 20);
}

/// A topic whose records may measure so many bytes.
async fn narrow_topic(broker: &str, bytes_max: &str) -> String {
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    let client: AdminClient<rdkafka::client::DefaultClientContext> =
        rdkafka::ClientConfig::new().set("bootstrap.servers", broker).create().unwrap();
    let name = unique("narrow");
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1)).set("max.message.bytes", bytes_max);
    client.create_topics(&[topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    name
}

// promise: BRIDGE: readers of a topic never see what was aborted
#[tokio::test]
async fn records_of_an_aborted_settlement_are_never_read() {
    let Some(world) = World::kafka() else { return };
    let log = world.open();
    let (input, output) = (topic(&log, 1).await, topic(&log, 1).await);
    let partition = Partition::new(input.as_str(), 0);
    let mut member = Member::join(&log, &group(&[&input], Initial::Earliest));
    member.assigned().await;
    let aborted = vec![reply(&output, "k", "aborted"), reply(&output, "k", &"x".repeat(2 << 20))];
    let refused = member.control.settle(aborted, vec![commit(&partition, 0, "")]).await;
    assert!(matches!(refused, Err(Error::Record { index: 1, .. })), "{refused:?}");
    member.control.settle(vec![reply(&output, "k", "kept")], vec![commit(&partition, 0, "")]).await.unwrap();

    let out = Partition::new(output.as_str(), 0);
    let mut reader = Member::join(&log, &group(&[&output], Initial::Earliest));
    let (read, end) = reader.until_end(&out).await;
    assert_eq!(read.iter().map(value).collect::<Vec<_>>(), ["kept"]);
    assert!(end > read[0].offset + 1, "the marker behind the last record counts");
}

// promise: BRIDGE: who takes a predecessor's place shuts it out
#[tokio::test]
async fn a_predecessor_that_is_still_there_is_fenced() {
    let Some(world) = World::kafka() else { return };
    let log = world.open();
    let topic = topic(&log, 1).await;
    let partition = Partition::new(topic.as_str(), 0);
    let group = group(&[&topic], Initial::Earliest);
    let mut first = Member::join(&log, &group);
    first.assigned().await;
    first.control.settle(vec![], vec![commit(&partition, 0, "first")]).await.unwrap();
    let mut second = Member::join(&log, &group);
    second.assigned().await;
    second.control.settle(vec![], vec![commit(&partition, 0, "second")]).await.unwrap();
    let zombie = first.control.settle(vec![reply(&topic, "k", "zombie")], vec![commit(&partition, 0, "zombie")]).await;
    assert!(zombie.is_err(), "a predecessor wrote: {zombie:?}");
    let kept = log.committed(&group.group, vec![partition.clone()]).await.unwrap();
    assert_eq!(kept, vec![commit(&partition, 0, "second")]);
    assert_eq!(log.read(partition, 0, 10).await, Ok(vec![]));
}

#[tokio::test]
async fn a_replaced_member_ends_with_an_alarm() {
    let Some(world) = World::kafka() else { return };
    let log = world.open();
    let topic = topic(&log, 1).await;
    let group = group(&[&topic], Initial::Earliest);
    let mut first = Member::join(&log, &group);
    first.assigned().await;
    let mut second = Member::join(&log, &group);
    second.assigned().await;
    let alarm = first.alarm().await;
    assert!(matches!(alarm, Alarm::Fatal(_)), "{alarm:?}");
    while let Some(happening) = tokio::time::timeout(DEADLINE, first.feed.next()).await.unwrap() {
        assert!(matches!(happening, Happening::Revoked(_) | Happening::End { .. } | Happening::Alarm(_)));
    }
}

/// Calls until it succeeds.
async fn insist<T, F: Future<Output = Result<T, Error>>>(mut call: impl FnMut() -> F) -> T {
    let began = Instant::now();
    loop {
        match call().await {
            Ok(done) => return done,
            Err(error) => assert!(began.elapsed() < DEADLINE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

// promise: BRIDGE: replies, dead letters and offsets are one transaction, all or none
#[tokio::test]
async fn a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing() {
    if World::kafka().is_none() {
        return;
    }
    let broker = Broker::start();
    let world = broker.world();
    let log = world.open();
    let (input, output) = (topic(&log, 1).await, topic(&log, 1).await);
    let (partition, out) = (Partition::new(input.as_str(), 0), Partition::new(output.as_str(), 0));
    let group = group(&[&input], Initial::Earliest);
    let mut member = Member::join(&log, &group);
    member.assigned().await;
    for n in 0..20 {
        log.append(vec![record(&input, "k", &n.to_string())]).await.unwrap();
    }
    for read in member.records(20).await {
        let settle = || {
            let reply = reply(&output, "k", &value(&read));
            member.control.settle(vec![reply], vec![commit(&partition, read.offset + 1, &value(&read))])
        };
        if value(&read) == "10" {
            broker.run("kill");
            let away = settle().await;
            assert!(matches!(away, Err(Error::Unavailable(_))), "{away:?}");
            broker.run("start");
        }
        insist(settle).await;
    }
    let replies = insist(|| log.read(out.clone(), 0, 100)).await;
    assert_eq!(replies.iter().map(value).collect::<Vec<_>>(), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());

    insist(|| log.append(vec![record(&input, "k", "after")])).await;
    is_told_and_healed(&mut member).await;
    member.leave().await;
    broker.run("wipe");
}

/// That the log was away is heard before what came after.
async fn is_told_and_healed(member: &mut Member) {
    let (mut alarms, mut revoked) = (Vec::new(), false);
    loop {
        match member.next().await {
            Happening::Alarm(alarm) => alarms.push(alarm),
            Happening::Revoked(_) => revoked = true,
            Happening::Record(read) if value(&read) == "after" => break,
            // Only a member that was away for too long reads again what it had not committed.
            Happening::Record(read) => assert!(revoked, "{} came twice", value(&read)),
            _ => {}
        }
    }
    assert!(matches!(alarms.first(), Some(Alarm::Unavailable(_))), "{alarms:?}");
}

#[tokio::test]
async fn two_processes_of_one_name_both_append() {
    let Some(World::Kafka(broker)) = World::kafka() else { return };
    let properties = std::collections::BTreeMap::from([("bootstrap.servers".to_owned(), broker)]);
    let name = unique("replica");
    let logs = [(); 2].map(|()| Log::kafka(properties.clone(), &name).unwrap());
    let topic = topic(&logs[0], 1).await;
    for n in 0..6 {
        logs[n % 2].append(vec![record(&topic, "k", &n.to_string())]).await.unwrap();
    }
    let written = logs[0].read(Partition::new(topic.as_str(), 0), 0, 10).await.unwrap();
    assert_eq!(written.iter().map(value).collect::<Vec<_>>(), ["0", "1", "2", "3", "4", "5"]);
}
