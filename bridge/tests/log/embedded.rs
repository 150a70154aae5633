//! What only the embedded log promises: one process, one member a group, and a file that outlives both.

use bridge::log::{Error, Happening, Initial, Partition};

use crate::world::{Member, World, commit, group, record, topic};

#[tokio::test]
async fn an_embedded_log_that_is_taken_says_by_whom() {
    let world = World::embedded();
    let World::Embedded(folder) = &world else { unreachable!() };
    let first = world.open();
    let second = bridge::log::Log::embedded(&folder.path().join("log.db")).err();
    let Some(Error::Config(reason)) = second else { panic!("{second:?}") };
    assert!(reason.contains(&format!("process {}", std::process::id())), "{reason}");
    drop(first);
    world.open();
}

#[tokio::test]
async fn an_embedded_log_keeps_records_and_offsets_over_a_restart() {
    let world = World::embedded();
    let log = world.open();
    let topic = topic(&log, 1).await;
    log.append(vec![record(&topic, "k", "0"), record(&topic, "k", "1")]).await.unwrap();
    let group = group(&[&topic], Initial::Earliest);
    let mut member = Member::join(&log, &group);
    member.records(2).await;
    member.control.settle(vec![], vec![commit(&Partition::new(topic.as_str(), 0), 1, "m")]).await.unwrap();
    drop((member, log));
    let log = world.open();
    let mut member = Member::join(&log, &group);
    let begin = member.assigned().await;
    assert_eq!((begin[0].next, begin[0].metadata.as_deref()), (1, Some("m")));
    assert_eq!(member.values(1).await, ["1"]);
}

#[tokio::test]
async fn an_embedded_group_has_one_member() {
    let log = World::embedded();
    let log = log.open();
    let topic = topic(&log, 1).await;
    let group = group(&[&topic], Initial::Earliest);
    let first = Member::join(&log, &group);
    assert!(matches!(log.join(group.clone()), Err(Error::Config(_))));
    first.leave().await;
    let mut second = Member::join(&log, &group);
    assert!(matches!(second.next().await, Happening::Assigned(_)));
}
