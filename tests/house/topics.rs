//! Reads what lies on the topics of a house whose bridge does not run: every event of every function's topic, and the dead
//! letters.

use std::collections::{BTreeMap, BTreeSet};

use bridge::log::{Log, Partition, Record};
use event::Event;
use tests::house::House;
use till::data::FUNCTIONS;

/// Records that are read at once.
const PAGE: usize = 1000;

/// Everything on the six topics.
pub struct Topics {
    pub events: Vec<Event>,
    pub dead_letters: Vec<Record>,
}

impl Topics {
    /// Opens the log of a stopped bridge.
    pub async fn read(house: &House) -> Self {
        let log = match house.log() {
            Ok(file) => Log::embedded(&file),
            Err(brokers) => Log::kafka(BTreeMap::from([("bootstrap.servers".to_owned(), brokers)]), "reader"),
        };
        let log = log.expect("the log of a stopped bridge can be opened");
        let counts = log.topics().await.expect("the log tells its topics");
        let mut topics = Topics { events: Vec::new(), dead_letters: Vec::new() };
        for (topic, partitions) in &counts {
            for number in 0..*partitions {
                let records = whole(&log, Partition::new(topic.as_str(), number)).await;
                topics.add(topic, records);
            }
        }
        topics
    }

    fn add(&mut self, topic: &str, records: Vec<Record>) {
        if topic == "dead-letters" {
            self.dead_letters.extend(records);
        } else if FUNCTIONS.contains(&topic) {
            // What is no event was written by a test.
            let event = |record: Record| event::kafka::decode(&record.headers, record.value).ok();
            self.events.extend(records.into_iter().filter_map(event));
        }
    }

    /// How many different events of a type are about a subject.
    pub fn count(&self, kind: &str, subject: &str) -> usize {
        let about = self.events.iter().filter(|event| event.kind == kind && event.subject.as_deref() == Some(subject));
        about.map(|event| &event.id).collect::<BTreeSet<_>>().len()
    }

    /// The types of events with an e-mail address anywhere in them.
    pub fn with_an_address(&self) -> BTreeSet<&str> {
        let has = |event: &&Event| format!("{event:?}").contains('@');
        self.events.iter().filter(has).map(|event| event.kind.as_str()).collect()
    }

    /// Events that stand on the topics more often than they may. A push may come twice, when its function was killed before
    /// it knew of the first (its id is the same, and readers take it once); a reply stands there once for each record that
    /// it answers.
    pub fn repeated(&self) -> Vec<String> {
        let mut copies: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
        self.events.iter().for_each(|event| copies.entry(&event.id).or_default().push(event));
        let allowed = |event: &Event| match event.extensions.get("causationid") {
            Some(cause) => copies.get(cause.as_str()).map_or(1, Vec::len),
            None => usize::MAX,
        };
        let wrong =
            |same: &&Vec<&Event>| same.len() > allowed(same[0]) || same.iter().any(|event| event.data != same[0].data);
        copies.values().filter(wrong).map(|same| format!("{} × {:?}", same.len(), same[0])).collect()
    }
}

async fn whole(log: &Log, partition: Partition) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let from = records.last().map_or(0, |record| record.offset + 1);
        let page = log.read(partition.clone(), from, PAGE).await.expect("a partition can be read");
        let is_last = page.len() < PAGE;
        records.extend(page);
        if is_last {
            return records;
        }
    }
}
