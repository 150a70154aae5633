//! A consumer group that no bridge is in, whose commits lie in the same partition of the cluster's own log as those of the bridges.
//! If the cluster forgets what it has acknowledged to this one, then also what it has acknowledged to them, and what comes after
//! says nothing of a bridge.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::support::wait_within;

/// Kafka puts a group into a partition by the hash of its name: this one is in that of the bridges' group `g`, of four.
const GROUP: &str = "k";
const TIMEOUT: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Canary {
    consumer: BaseConsumer,
    /// The last commit that was acknowledged.
    acknowledged: i64,
}

impl Canary {
    pub fn new(servers: &str) -> Canary {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers).set("group.id", GROUP).set("enable.auto.commit", "false");
        Canary { consumer: config.create().unwrap(), acknowledged: 0 }
    }

    /// Looks whether the last commit is still there, and makes the next one. Panics when the cluster has forgotten it.
    pub fn sings(&mut self) {
        let is_there = wait_within(PATIENCE, "the canary's offset", || self.committed());
        assert!(
            is_there >= self.acknowledged,
            "the cluster has forgotten commits that it had acknowledged ({} in group {GROUP}, {is_there} is there): not the bridge",
            self.acknowledged
        );
        let next = self.acknowledged + 1;
        wait_within(PATIENCE, "a commit of the canary", || self.commit(next));
        self.acknowledged = next;
    }

    fn committed(&self) -> Option<i64> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition("in", 0);
        let told = self.consumer.committed_offsets(asked, TIMEOUT).ok()?;
        match told.elements().first()?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => Some(0),
        }
    }

    fn commit(&self, offset: i64) -> Option<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("in", 0, Offset::Offset(offset)).unwrap();
        self.consumer.commit(&list, CommitMode::Sync).ok()
    }
}
