//! What must be true after the fire, from what the sink was asked and what the topics hold.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use bridge::log::Record;

use crate::sink::{Answered, Call, Place, REFUSE};
use crate::support::header;
use crate::world::Interruption;

/// Everything that is known.
pub struct Evidence {
    pub input: Vec<Record>,
    pub replies: Vec<Record>,
    pub letters: Vec<Record>,
    pub calls: Vec<Call>,
    pub interruptions: Vec<Interruption>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    pub violations: Vec<String>,
    /// Calls of records that the sink had answered before.
    pub repeats: usize,
    pub repeats_max: u64,
}

pub fn check(evidence: &Evidence) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.each_is_settled_once(evidence);
    verdict.replies_keep_the_order(evidence);
    verdict.lanes_keep_the_order(evidence);
    verdict.repeats_have_a_cause(evidence);
    verdict
}

fn place(record: &Record) -> Place {
    (record.partition.number, record.offset)
}

/// The place of the record that this one answers.
fn answered(reply: &Record) -> Option<Place> {
    let id = header(&reply.headers, "ce_id");
    let (partition, offset) = id.split_once('/')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}

fn given_up(letter: &Record) -> Option<Place> {
    let number = |name| header(&letter.headers, name).parse::<i64>().ok();
    Some((number("tillpartition")? as i32, number("tilloffset")?))
}

impl Verdict {
    fn says(&mut self, violation: String) {
        // The first ones tell enough.
        if self.violations.len() < 20 {
            self.violations.push(violation);
        }
    }

    /// No loss, exactly once, and a dead letter or a reply, never both.
    fn each_is_settled_once(&mut self, evidence: &Evidence) {
        let mut outcomes: HashMap<Place, (usize, usize)> = HashMap::new();
        for place in evidence.replies.iter().filter_map(answered) {
            outcomes.entry(place).or_default().0 += 1;
        }
        for place in evidence.letters.iter().filter_map(given_up) {
            outcomes.entry(place).or_default().1 += 1;
        }
        for record in &evidence.input {
            let (replies, letters) = outcomes.remove(&place(record)).unwrap_or_default();
            let refused = record.value.as_deref() == Some(REFUSE.as_bytes());
            if (replies, letters) != (usize::from(!refused), usize::from(refused)) {
                self.says(format!("{:?} has {replies} replies and {letters} dead letters", place(record)));
            }
        }
        for place in outcomes.keys() {
            self.says(format!("{place:?} was answered and never asked"));
        }
    }

    fn replies_keep_the_order(&mut self, evidence: &Evidence) {
        let mut last: HashMap<(&[u8], i32), i64> = HashMap::new();
        for reply in &evidence.replies {
            let Some((partition, offset)) = answered(reply) else { continue };
            let before = last.insert((reply.key.as_deref().unwrap_or_default(), partition), offset);
            if before.is_some_and(|before| before >= offset) {
                self.says(format!("the reply to {partition}/{offset} stands behind that to {before:?} of its key"));
            }
        }
    }

    /// A record is sent when all before it of its key were answered, and while none of them is under way.
    fn lanes_keep_the_order(&mut self, evidence: &Evidence) {
        let mut lanes: BTreeMap<(i32, &[u8]), Vec<i64>> = BTreeMap::new();
        for record in &evidence.input {
            let lane = (record.partition.number, record.key.as_deref().unwrap_or_default());
            lanes.entry(lane).or_default().push(record.offset);
        }
        let mut settled_at: HashMap<Place, Instant> = HashMap::new();
        for call in evidence.calls.iter().filter(|call| call.answered.is_final()) {
            let at = settled_at.entry(call.place).or_insert(call.ended);
            *at = (*at).min(call.ended);
        }
        for call in &evidence.calls {
            let (partition, offset) = call.place;
            let lane = lanes.get(&(partition, call.key.as_bytes())).map(Vec::as_slice).unwrap_or_default();
            let at = lane.partition_point(|other| *other < offset);
            let before = at.checked_sub(1).map(|index| (partition, lane[index]));
            if let Some(before) = before
                && settled_at.get(&before).is_none_or(|settled| *settled > call.begun)
            {
                self.says(format!("{:?} was sent before {before:?} of its key was answered", call.place));
            }
        }
    }

    /// What the sink has answered comes again only after an interruption, and not more than was in memory then.
    fn repeats_have_a_cause(&mut self, evidence: &Evidence) {
        let mut first: HashMap<Place, &Call> = HashMap::new();
        for call in &evidence.calls {
            if let Some(first) = first.get(&call.place) {
                self.repeats += 1;
                let between = |cause: &Interruption| first.begun <= cause.at && cause.at <= call.ended;
                if !evidence.interruptions.iter().any(between) {
                    self.says(format!("{:?} was answered, and delivered again without a cause", call.place));
                }
            } else if call.answered.is_final() {
                first.insert(call.place, call);
            }
        }
        self.repeats_max = evidence.interruptions.iter().map(|cause| cause.in_memory).sum();
        if self.repeats as u64 > self.repeats_max {
            self.says(format!("{} deliveries came again, and {} were in memory", self.repeats, self.repeats_max));
        }
    }
}

/// How the tricks and the truths of a sink are told apart in a report.
pub fn count(calls: &[Call], of: impl Fn(Answered) -> bool) -> usize {
    calls.iter().filter(|call| of(call.answered)).count()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bridge::log::Partition;

    use super::*;

    fn record(topic: &str, offset: i64, headers: &[(&str, &str)]) -> Record {
        let header = |(name, value): &(&str, &str)| (name.to_string(), Some(value.to_string().into()));
        Record {
            partition: Partition::new(topic, 0),
            offset,
            timestamp_ms: None,
            key: Some("k".into()),
            headers: headers.iter().map(header).collect(),
            value: Some("work".into()),
        }
    }

    /// Two records of one key, well delivered; each call took a second.
    fn evidence() -> Evidence {
        let begun = Instant::now();
        let call = |n: u64| Call {
            begun: begun + Duration::from_secs(10 * n),
            ended: begun + Duration::from_secs(10 * n + 1),
            place: (0, n as i64),
            key: "k".into(),
            answered: Answered::Reply,
        };
        let reply = |n: i64| record("out", n, &[("ce_id", &format!("0/{n}"))]);
        Evidence {
            input: vec![record("in", 0, &[]), record("in", 1, &[])],
            replies: vec![reply(0), reply(1)],
            letters: vec![],
            calls: vec![call(0), call(1)],
            interruptions: vec![],
        }
    }

    fn complains(change: impl Fn(&mut Evidence), about: &str) {
        let mut evidence = evidence();
        change(&mut evidence);
        let said = check(&evidence).violations.join("\n");
        assert!(said.contains(about), "{about}: {said}");
    }

    #[test]
    fn the_checker_is_content_with_what_is_well() {
        assert!(check(&evidence()).violations.is_empty());
    }

    #[test]
    fn the_checker_sees_what_is_lost_doubled_swapped_or_repeated() {
        complains(|all| drop(all.replies.pop()), "0 replies and 0 dead letters");
        complains(|all| all.replies.push(all.replies[1].clone()), "2 replies");
        complains(
            |all| all.letters.push(record("dead", 0, &[("tillpartition", "0"), ("tilloffset", "1")])),
            "1 replies and 1 dead letters",
        );
        complains(|all| all.replies.swap(0, 1), "stands behind");
        complains(|all| all.calls[1].begun = all.calls[0].begun, "before (0, 0) of its key was answered");
        complains(|all| all.calls.push(all.calls[1].clone()), "without a cause");
        let with_cause = |all: &mut Evidence| {
            let again = all.calls[1].clone();
            all.interruptions.push(Interruption { at: again.ended, in_memory: 1 });
            all.calls.push(again);
        };
        let mut repeated = evidence();
        with_cause(&mut repeated);
        assert!(check(&repeated).violations.is_empty());
        complains(|all| (with_cause(all), all.calls.push(all.calls[1].clone())).0, "were in memory");
    }
}
