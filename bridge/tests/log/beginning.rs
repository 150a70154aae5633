//! Where a group begins to read a topic that it has no commit in.

use bridge::log::{Initial, NewRecord, Partition};

use crate::world::{Member, World, create, group, record, topic, unique};

// promise: BRIDGE: with latest, the end offsets are committed at the first assignment
#[tokio::test]
async fn latest_begins_at_the_end_and_keeps_that() {
    for world in World::all() {
        let log = world.open();
        let topic = topic(&log, 2).await;
        let partitions = vec![Partition::new(topic.as_str(), 0), Partition::new(topic.as_str(), 1)];
        log.append((0..20).map(|n| record(&topic, &n.to_string(), "before")).collect()).await.unwrap();
        let group = group(&[&topic], Initial::Latest);
        let mut first = Member::join(&log, &group);
        first.assigned().await;
        assert_eq!(log.committed(&group.group, partitions).await.unwrap().len(), 2, "on {}", world.name());
        first.leave().await;
        log.append(vec![record(&topic, "k", "between")]).await.unwrap();
        let mut second = Member::join(&log, &group);
        assert_eq!(second.values(1).await, ["between"], "on {}", world.name());
    }
}

// promise: BRIDGE: with latest, a topic that appears later is read from its beginning
#[tokio::test]
async fn a_topic_that_appears_later_is_read_from_its_beginning() {
    for world in World::all() {
        let log = world.open();
        let (now, later) = (topic(&log, 1).await, unique("later"));
        let mut member = Member::join(&log, &group(&[&now, &later], Initial::Latest));
        let assigned = member.assigned().await;
        assert_eq!(assigned.len(), 1);
        create(&log, &later, 1).await;
        log.append(vec![record(&later, "k", "first")]).await.unwrap();
        assert_eq!(member.values(1).await, ["first"], "on {}", world.name());
    }
}

#[tokio::test]
async fn a_topic_that_begins_at_its_end_does_so_whatever_is_initial() {
    for world in World::all() {
        let log = world.open();
        let (ordinary, orders) = (topic(&log, 1).await, topic(&log, 1).await);
        log.append([&ordinary, &orders].map(|topic| record(topic, "k", "before")).to_vec()).await.unwrap();
        let mut group = group(&[&ordinary, &orders], Initial::Earliest);
        group.from_end.insert(orders.clone());
        let mut first = Member::join(&log, &group);
        assert_eq!(first.values(1).await, ["before"], "on {}", world.name());
        first.leave().await;
        let asked = vec![Partition::new(orders.as_str(), 0)];
        assert_eq!(log.committed(&group.group, asked).await.unwrap().len(), 1, "on {}", world.name());
        log.append(vec![record(&orders, "k", "between")]).await.unwrap();
        let mut second = Member::join(&log, &group);
        let values = second.values(2).await;
        assert!(values.contains(&"between".to_owned()), "on {}: {values:?}", world.name());
    }
}

// promise: BRIDGE: startAt begins at the first record of that instant or later
#[tokio::test]
async fn reading_begins_at_an_instant() {
    for world in World::all() {
        let log = world.open();
        let topic = topic(&log, 1).await;
        let at = |ms: i64| NewRecord { timestamp_ms: Some(ms), ..record(&topic, "k", &ms.to_string()) };
        // An hour ago: what is older than its retention may be deleted at any moment.
        let base = jiff::Timestamp::now().as_millisecond() - 3_600_000;
        log.append((0..5).map(|n| at(base + n * 1_000)).collect()).await.unwrap();
        let mut member = Member::join(&log, &group(&[&topic], Initial::At(base + 2_500)));
        assert_eq!(member.assigned().await[0].next, 3);
        assert_eq!(member.values(2).await, [(base + 3_000).to_string(), (base + 4_000).to_string()]);
    }
}
