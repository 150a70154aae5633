//! A member's thread: it joins the group, polls (but while a revocation is drained), and hands records, ends, assignments and troubles to the feed's
//! queue. When the queue is full it leaves records where librdkafka has them and goes on polling for the rest, so that the group
//! never takes a slow sink for a dead member.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;

use super::Member;
use super::arrivals::{Arrivals, Polled, Trouble};
use super::failure::is_away;
use super::missing::Missing;
use super::{kept, positions};
use crate::log::{Alarm, Error, Happening, Initial, Partition, Position, Record, Release, Revoked};

const POLL: Duration = Duration::from_millis(100);
/// How often a thread that waits for room looks for rebalances.
const FULL_WAIT: Duration = Duration::from_millis(50);
/// How often a cluster that was away is asked whether it is back.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(500);
/// How long the next try waits when only a person can help: a wrong password is not shown every second.
const HOPELESS_RETRY: Duration = Duration::from_secs(5);

/// How many records go to the queue at once.
const TOGETHER_MAX: usize = 64;
const TOGETHER_BYTES_MAX: usize = 64 << 10;

pub(super) struct Reader {
    pub(super) member: Arc<Member>,
    /// Topics that did not exist when the group was joined.
    appeared: BTreeSet<String>,
    missing: Missing,
    away_since_probe: Option<Instant>,
    /// Whether the cause of being away has been told, and not its consequence alone.
    cause_told: bool,
    /// The client has died: nothing follows.
    pub(super) dead: bool,
    /// Records on their way to the queue; empty between two turns.
    together: Vec<Happening>,
}

pub(super) fn start(member: Arc<Member>) -> Result<(), Error> {
    let reader = Reader {
        member: Arc::clone(&member),
        appeared: BTreeSet::new(),
        missing: Missing::new(),
        away_since_probe: None,
        cause_told: false,
        dead: false,
        together: Vec::new(),
    };
    on_a_thread(member, move || reader.run())
}

/// However `work` ends, the feed ends with it, and its owner joins again.
fn on_a_thread(member: Arc<Member>, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let name = format!("kafka-{}", member.group.source);
    let left = Left(member);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let _left = left;
        work();
    });
    thread.map(drop).map_err(|error| Error::Config(format!("no thread for the source: {error}")))
}

/// Says at its end that nothing follows, also when the thread panics.
struct Left(Arc<Member>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.left();
    }
}

impl Reader {
    fn run(mut self) {
        let consumer = Arc::clone(&self.member.consumer);
        let mut arrivals = Arrivals::of(&consumer);
        if self.enter() {
            while !self.dead && !self.member.is_over() {
                self.turn(&mut arrivals);
            }
            self.leave(&mut arrivals.events);
        }
    }

    /// Settles what a predecessor left open, then joins; answers whether it did before the close.
    fn enter(&mut self) -> bool {
        while !self.member.is_over() {
            match self.try_enter() {
                Ok(()) => return true,
                Err(error) => {
                    self.away(match error {
                        Error::Unavailable(reason) => reason,
                        error => error.to_string(),
                    });
                    self.member.queue.wait_for_nudge(if self.cause_told { HOPELESS_RETRY } else { RETRY });
                }
            }
        }
        false
    }

    fn try_enter(&mut self) -> Result<(), Error> {
        self.member.writer.settle_predecessor()?;
        let unavailable = |error: rdkafka::error::KafkaError| Error::Unavailable(error.to_string());
        let (group, consumer) = (&self.member.group, &self.member.consumer);
        for topic in group.topics.iter().filter(|_| group.initial == Initial::Latest) {
            if !positions::exists(consumer, topic).map_err(unavailable)? {
                self.appeared.insert(topic.clone());
            }
        }
        let topics: Vec<&str> = group.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(unavailable)?;
        self.back();
        Ok(())
    }

    /// Waits for something to happen and passes it on.
    fn turn(&mut self, arrivals: &mut Arrivals) {
        self.member.beat();
        match arrivals.events.poll(Duration::ZERO) {
            Polled::Nothing => self.read(arrivals),
            polled => self.pass_on(polled, arrivals),
        }
        self.probe();
        self.look_for_missing();
    }

    fn read(&mut self, arrivals: &mut Arrivals) {
        let queue = &self.member.queue;
        if queue.is_full() && !queue.wait_for_room(FULL_WAIT) {
            return;
        }
        match arrivals.records.poll(POLL) {
            Polled::Record(record) => self.pass_on_all(record, arrivals),
            polled => self.pass_on(polled, arrivals),
        }
    }

    /// A record and those that wait behind it, since the queue's lock costs more than a record.
    fn pass_on_all(&mut self, first: Record, arrivals: &mut Arrivals) {
        let mut bytes = first.size();
        self.together.push(Happening::Record(first));
        let next = loop {
            if self.together.len() >= TOGETHER_MAX || bytes >= TOGETHER_BYTES_MAX {
                break Polled::Nothing;
            }
            match arrivals.records.poll(Duration::ZERO) {
                Polled::Record(record) => {
                    bytes += record.size();
                    self.together.push(Happening::Record(record));
                }
                polled => break polled,
            }
        };
        self.member.queue.push_all(self.together.drain(..));
        self.pass_on(next, arrivals);
    }

    fn pass_on(&mut self, polled: Polled, arrivals: &Arrivals) {
        match polled {
            Polled::Nothing => {}
            Polled::Record(record) => self.member.queue.push(Happening::Record(record)),
            Polled::End { partition, next } => self.member.queue.push(Happening::End { partition, next }),
            Polled::Gained(partitions) => self.gain(partitions, arrivals),
            Polled::Lost(partitions) => self.lose(partitions),
            Polled::Trouble(trouble) => self.trouble(trouble),
        }
    }

    fn gain(&mut self, partitions: Vec<Partition>, arrivals: &Arrivals) {
        if partitions.is_empty() {
            // A member that joins a running group gets nothing at first, and must say that it is content.
            let _ = self.member.consumer.incremental_assign(&TopicPartitionList::new());
            // Its owner must hear it too: having no partition is no reason to be unready.
            self.member.queue.push_urgent(Happening::Assigned(Vec::new()));
            return;
        }
        let Some(mut positions) = self.positions(&partitions) else { return };
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for Position { partition, next, .. } in &positions {
            let added = list.add_partition_offset(&partition.topic, partition.number, Offset::Offset(*next));
            added.expect("the offset is a number");
        }
        self.member.own(&positions);
        for text in positions.iter_mut().filter_map(|position| position.metadata.as_mut()) {
            text.truncate(kept::unmarked(text).len());
        }
        for partition in &partitions {
            self.missing.forget(&partition.topic);
            arrivals.receive(partition);
        }
        self.member.queue.push_urgent(Happening::Assigned(positions));
        if let Err(error) = self.member.consumer.incremental_assign(&list) {
            tracing::warn!(%error, source = self.member.group.source, "an assignment came too late");
        }
        self.member.let_flow(&partitions);
    }

    /// Asks for the positions until the cluster answers; `None` when the close comes first.
    fn positions(&mut self, partitions: &[Partition]) -> Option<Vec<Position>> {
        while !self.member.is_over() {
            let member = &self.member;
            member.beat();
            match positions::of(&member.consumer, &member.group, partitions, &self.appeared) {
                Ok(positions) => {
                    self.back();
                    return Some(positions);
                }
                Err(error) => {
                    self.away(format!("positions: {error}"));
                    self.member.queue.wait_for_nudge(RETRY);
                }
            }
        }
        None
    }

    pub(super) fn lose(&mut self, partitions: Vec<Partition>) {
        let member = &self.member;
        let lost = member.consumer.assignment_lost();
        member.queue.forget(&partitions);
        let owned = partitions.iter().any(|partition| member.owns(partition));
        if owned {
            let (release, released) = Release::new();
            let revoked = Revoked { partitions: partitions.clone(), lost, release };
            member.queue.push_urgent(Happening::Revoked(revoked));
            if !lost {
                await_release(member, &released);
            }
        }
        member.disown(&partitions);
        if let Err(error) = member.consumer.incremental_unassign(&list(&partitions)) {
            tracing::warn!(%error, source = member.group.source, "a revocation came too late");
        }
    }

    fn trouble(&mut self, trouble: Trouble) {
        let Trouble { code, reason, fatal, place } = trouble;
        match (code, place) {
            _ if fatal => {
                self.alarm(Alarm::Fatal(reason));
                self.dead = true;
            }
            (RDKafkaErrorCode::AutoOffsetReset, Some((partition, next))) => self.out_of_range(partition, next),
            (RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::TopicAuthorizationFailed, place) => {
                self.topic_trouble(code, place.map(|(partition, _)| partition), reason);
            }
            _ if is_away(code) => {
                self.member.reach.hear(code, &reason);
                self.away(reason);
            }
            _ => tracing::warn!(%code, reason, source = self.member.group.source, "the consumer had trouble"),
        }
    }

    fn topic_trouble(&mut self, code: RDKafkaErrorCode, place: Option<Partition>, reason: String) {
        let topics = &self.member.group.topics;
        let said = || topics.iter().find(|topic| reason.contains(&format!(": {topic}: "))).cloned();
        let topic = place.as_ref().map(|partition| partition.topic.to_string()).or_else(said).unwrap_or_default();
        // A topic that may not be read is there all the same: only an assignment tells that this is over.
        if place.is_none() || code == RDKafkaErrorCode::UnknownTopicOrPartition {
            self.missing.add(topic.clone());
        }
        self.alarm(Alarm::Topic { topic, reason });
    }

    /// Who gets no partition of a topic that appears would never hear of it.
    fn look_for_missing(&mut self) {
        for topic in self.missing.look(&self.member.consumer) {
            self.alarm(Alarm::Found { topic });
        }
    }

    /// librdkafka has stopped fetching the partition; it stays so.
    fn out_of_range(&self, partition: Partition, next: i64) {
        let (start, end) = positions::span(&self.member.consumer, &partition).unwrap_or((-1, -1));
        self.alarm(Alarm::OutOfRange { partition, next, start, end });
    }

    fn away(&mut self, reason: String) {
        let first = self.away_since_probe.replace(Instant::now()).is_none();
        let cause = if self.cause_told { None } else { self.member.reach.why() };
        self.cause_told |= cause.is_some();
        match cause {
            Some(cause) => self.alarm(Alarm::Unavailable(cause)),
            None if first => self.alarm(Alarm::Unavailable(reason)),
            None => {}
        }
    }

    fn back(&mut self) {
        if self.away_since_probe.take().is_some() {
            self.member.reach.healed();
            self.cause_told = false;
            self.alarm(Alarm::Cleared);
        }
    }

    /// While the cluster is away nothing comes that could tell of its return: ask.
    fn probe(&mut self) {
        if self.away_since_probe.is_some_and(|last| last.elapsed() > PROBE_INTERVAL) {
            self.away_since_probe = Some(Instant::now());
            let topic = self.member.group.topics.first().map(String::as_str);
            if self.member.consumer.fetch_metadata(topic, PROBE_INTERVAL).is_ok() {
                self.back();
            }
        }
    }

    fn alarm(&self, alarm: Alarm) {
        self.member.queue.push_urgent(Happening::Alarm(alarm));
    }
}

/// Nobody polls meanwhile, and it would help nobody: from the moment that librdkafka tells of a revocation until it is answered, all
/// partitions of the member stand still, also those that stay.
fn await_release(member: &Member, released: &Receiver<()>) {
    let deadline = Instant::now() + member.group.revoke_timeout;
    while Instant::now() < deadline && released.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
        member.beat();
    }
}

pub(super) fn list(partitions: &[Partition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for Partition { topic, number } in partitions {
        list.add_partition(topic, *number);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Group;
    use crate::log::kafka::{Cluster, SILENCE_MAX};

    /// Of a cluster that is not there.
    fn join() -> (crate::log::Feed, Arc<Member>) {
        let properties = [("bootstrap.servers".to_owned(), "127.0.0.1:9".to_owned())].into();
        let cluster = Cluster::open(properties, "r", Default::default()).unwrap();
        cluster.join(Group::new("s", "g", &["t"], "r", Initial::Earliest)).unwrap()
    }

    // promise: BRIDGE: readiness tells the truth
    #[tokio::test]
    async fn a_thread_that_panics_ends_its_feed() {
        let (mut feed, member) = join();
        on_a_thread(Arc::clone(&member), || panic!("a bug")).unwrap();
        let ended = async { while feed.next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the feed ends");
        member.close();
    }

    // promise: BRIDGE: readiness tells the truth
    #[test]
    fn who_has_not_polled_for_long_does_not_read() {
        let (_feed, member) = join();
        let now = Instant::now();
        assert!(member.is_reading(now) && !member.is_reading(now + SILENCE_MAX + Duration::from_secs(60)));
        member.close();
    }
}
