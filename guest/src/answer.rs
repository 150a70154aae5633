//! What a handler says: a status and body for the caller, facts for the world, and when it wants to be woken.

use ::http::StatusCode;
use bytes::Bytes;
use serde::Serialize;

/// The outcome of a unit of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// For a client; an event's answer is always 200 or 204.
    pub status: StatusCode,
    /// Of `body`; empty for none.
    pub content_type: &'static str,
    /// For a client.
    pub body: Bytes,
    /// What happened.
    pub facts: Vec<Fact>,
    /// The earliest instant at which something is due, in milliseconds since 1970.
    pub wake_at_ms: Option<i64>,
}

/// Something that happened to one aggregate: becomes an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// `function.aggregate.fact`.
    pub kind: String,
    /// The aggregate's id.
    pub subject: String,
    /// The payload's JSON.
    pub data: Bytes,
    /// What the id is derived from in place of the sequence.
    pub identity: Option<String>,
}

impl Fact {
    /// A fact about an aggregate.
    pub fn new(kind: impl Into<String>, subject: impl Into<String>, payload: &impl Serialize) -> Self {
        Fact { kind: kind.into(), subject: subject.into(), data: json(payload), identity: None }
    }

    /// Derives the event's id from this text in place of the sequence, for a fact that is the same however often it is
    /// told (a schedule's run: its instant).
    pub fn identified_by(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }
}

/// An answer that says nothing to the caller and these facts to the world.
pub fn tell(facts: impl IntoIterator<Item = Fact>) -> Answer {
    Answer::no_content().and_tell(facts)
}

impl Answer {
    /// 204, and nothing happened.
    pub fn no_content() -> Self {
        Answer {
            status: StatusCode::NO_CONTENT,
            content_type: "",
            body: Bytes::new(),
            facts: Vec::new(),
            wake_at_ms: None,
        }
    }

    /// 200 with JSON.
    pub fn ok(body: &impl Serialize) -> Self {
        Answer::json(StatusCode::OK, body)
    }

    /// 201 with JSON.
    pub fn created(body: &impl Serialize) -> Self {
        Answer::json(StatusCode::CREATED, body)
    }

    /// 202 with JSON.
    pub fn accepted(body: &impl Serialize) -> Self {
        Answer::json(StatusCode::ACCEPTED, body)
    }

    /// Any status with JSON.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Self {
        Answer { status, content_type: "application/json", body: json(body), ..Answer::no_content() }
    }

    /// The same with more facts, in this order.
    pub fn and_tell(mut self, facts: impl IntoIterator<Item = Fact>) -> Self {
        self.facts.extend(facts);
        self
    }

    /// The same, and wakes this function at an instant (milliseconds since 1970). The earliest of several counts; one in
    /// the past means at once.
    pub fn wake_at(mut self, at_ms: impl Into<Option<i64>>) -> Self {
        self.wake_at_ms = self.wake_at_ms.into_iter().chain(at_ms.into()).min();
        self
    }
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("our own types have string keys and finite numbers").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_wake_counts() {
        assert_eq!(Answer::no_content().wake_at(7).wake_at(None).wake_at(5).wake_at(9).wake_at_ms, Some(5));
        assert_eq!(Answer::no_content().wake_at(None).wake_at_ms, None);
    }

    #[test]
    fn telling_says_nothing_to_the_caller() {
        let answer = tell([Fact::new("core.user.registered", "usr_1", &1)]);
        assert_eq!((answer.status.as_u16(), answer.body.len(), answer.facts.len()), (204, 0, 1));
    }
}
