//! What the bridge knows of itself: it asks its sources, and tells readiness, metrics and states.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::hop::{PartitionState, Question, State};
use crate::http::Sender;
use crate::log::{Log, Partition, Span};
use crate::metrics::{Metrics, Page, Reading, label, labelled};
use crate::wakes::Wakes;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// A source as it can be asked.
pub struct Member {
    pub name: String,
    pub metrics: Rc<Metrics>,
    pub sender: Rc<Sender>,
    pub questions: mpsc::UnboundedSender<Question>,
}

pub struct Health {
    pub members: Vec<Member>,
    pub wakes: Wakes,
    pub log: Log,
}

impl Health {
    /// Why the bridge is not ready, source by source; nothing when it is.
    pub async fn complaints(&self) -> Vec<String> {
        let states = self.ask().await;
        let told = self.members.iter().zip(&states);
        told.flat_map(|(member, state)| {
            member.complaints(state.as_ref()).into_iter().map(|complaint| format!("{}: {complaint}", member.name))
        })
        .collect()
    }

    /// The state of every source that answers.
    pub async fn sources(&self) -> Vec<State> {
        self.ask().await.into_iter().flatten().collect()
    }

    /// Lets the stopped lanes of a source try again: answers how many, `None` when it does not say; `None` when there is no such
    /// source.
    pub async fn retry(&self, name: &str) -> Option<Option<usize>> {
        let member = self.members.iter().find(|member| member.name == name)?;
        let (question, answer) = oneshot::channel();
        let asked = member.questions.send(Question::Retry(question)).is_ok();
        let answer = async { if asked { answer.await.ok() } else { None } };
        Some(tokio::time::timeout(ANSWER_TIMEOUT, answer).await.unwrap_or(None))
    }

    /// Everybody is asked at once, and has the same time to answer.
    async fn ask(&self) -> Vec<Option<State>> {
        let deadline = tokio::time::Instant::now() + ANSWER_TIMEOUT;
        let asked: Vec<_> = self.members.iter().map(Member::ask).collect();
        let mut states = Vec::with_capacity(asked.len());
        for answer in asked {
            states.push(tokio::time::timeout_at(deadline, answer).await.ok().and_then(Result::ok));
        }
        states
    }

    /// The page of metrics.
    pub async fn metrics(&self) -> String {
        let mut page = Page::default();
        let members: Vec<_> =
            self.members.iter().map(|member| (member.name.clone(), Rc::clone(&member.metrics))).collect();
        page.sources(&members);
        let states = self.ask().await;
        let ready = self.members.iter().zip(&states).map(|(member, state)| {
            (label(&member.name), f64::from(u8::from(member.complaints(state.as_ref()).is_empty())))
        });
        page.family(("till_ready", "gauge", "1 when nothing is wrong"), ready);
        let states: Vec<State> = states.into_iter().flatten().collect();
        gauges(&mut page, &states);
        page.family(("till_lag", "gauge", "Records that are not settled yet"), self.lag(&states).await);
        self.wake_counts(&mut page);
        page.into_text()
    }

    /// The distance from the safe offset to the end, per partition.
    async fn lag(&self, states: &[State]) -> Vec<(String, f64)> {
        let partitions = states.iter().flat_map(|state| state.partitions.iter().map(partition)).collect();
        let spans = tokio::time::timeout(ANSWER_TIMEOUT, self.log.spans(partitions)).await;
        let Ok(Ok(spans)) = spans else { return Vec::new() };
        states.iter().flat_map(|state| lag_of(state, &spans)).collect()
    }

    fn wake_counts(&self, page: &mut Page) {
        let counts = self.wakes.counts();
        let sample = |name: &str, value: u64| (labelled("sink", name), value as f64);
        let woken = counts.iter().map(|(name, woken, ..)| sample(name, *woken)).collect::<Vec<_>>();
        let failed = counts.iter().map(|(name, _, failed, _)| sample(name, *failed)).collect::<Vec<_>>();
        page.family(("till_wakes_total", "counter", "Wakes that were answered"), woken);
        page.family(("till_wakes_failed_total", "counter", "Wakes that failed or were refused"), failed);
    }
}

impl Member {
    /// Why it is not ready, by what it has answered.
    fn complaints(&self, state: Option<&State>) -> Vec<String> {
        let told = state.map_or_else(|| vec!["does not answer".into()], State::complaints);
        told.into_iter().chain(self.sender.trouble()).collect()
    }

    /// An answer that never comes is closed.
    fn ask(&self) -> oneshot::Receiver<State> {
        let (question, answer) = oneshot::channel();
        let _ = self.questions.send(Question::State(question));
        answer
    }
}

fn gauges(page: &mut Page, states: &[State]) {
    let gauges: [Reading<State>; 4] = [
        (("till_in_flight", "gauge", "Calls of the sink under way"), |state| state.in_flight as f64),
        (("till_lanes", "gauge", "Lanes with something in them"), |state| state.lanes as f64),
        (("till_buffered_records", "gauge", "Records in memory"), |state| state.buffered_records as f64),
        (("till_stopped_lanes", "gauge", "Lanes that wait for a person"), |state| state.stopped_lanes.len() as f64),
    ];
    for (head, read) in gauges {
        page.family(head, states.iter().map(|state| (label(&state.source), read(state))));
    }
}

fn partition(state: &PartitionState) -> Partition {
    Partition { topic: state.topic.as_str().into(), number: state.partition }
}

fn lag_of<'a>(state: &'a State, spans: &'a BTreeMap<Partition, Span>) -> impl Iterator<Item = (String, f64)> + 'a {
    state.partitions.iter().filter_map(|place| {
        let lag = (spans.get(&partition(place))?.end - place.safe_offset).max(0);
        let topic = labelled("topic", &place.topic);
        let labels = format!("{},{topic},partition=\"{}\"", label(&state.source), place.partition);
        Some((labels, lag as f64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // promise: BRIDGE: readiness tells the truth
    #[tokio::test]
    async fn a_source_that_does_not_answer_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::embedded(&folder.path().join("log.db")).unwrap();
        let (questions, asked) = mpsc::unbounded_channel();
        drop(asked);
        let sender = Sender::new(&"http://127.0.0.1:9/".parse().unwrap(), None, &Default::default());
        let member = Member { name: "s".into(), metrics: Rc::default(), sender, questions };
        let health = Health { members: vec![member], wakes: Wakes::default(), log };
        assert_eq!(health.complaints().await, ["s: does not answer"]);
        let page = health.metrics().await;
        assert!(page.contains("till_ready{source=\"s\"} 0"), "{page}");
        assert_eq!((health.retry("s").await, health.retry("other").await), (Some(None), None));
    }
}
