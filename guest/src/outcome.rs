//! What a unit of work ended with, as it is answered and as it is kept for a repeat.

use ::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use ::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use http_body_util::Full;

use crate::answer::Answer;
use crate::clock::rfc3339;
use crate::problem::Problem;
use crate::telling::batch;

const WAKE_AT: HeaderName = HeaderName::from_static("wake-at");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A status, a body and a wish to be woken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub status: StatusCode,
    pub content_type: String,
    pub body: Bytes,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For the bridge, which is the caller of events and wakes.
    pub wake_at_ms: Option<i64>,
    /// It comes from an earlier call.
    pub is_replayed: bool,
}

impl Outcome {
    fn new(status: StatusCode, content_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Outcome {
            status,
            content_type: content_type.into(),
            body: body.into(),
            headers: Vec::new(),
            wake_at_ms: None,
            is_replayed: false,
        }
    }

    /// For a client: what the handler answered. Its wish to be woken goes to the bridge, with the push.
    pub fn of_command(answer: Answer) -> Self {
        Outcome::new(answer.status, answer.content_type, answer.body)
    }

    /// For the bridge: the reply, or nothing.
    pub fn of_event(reply: Option<String>, wake_at_ms: Option<i64>) -> Self {
        let outcome = match reply {
            Some(reply) => Outcome::new(StatusCode::OK, event::BATCH_JSON, reply),
            None => Outcome::new(StatusCode::NO_CONTENT, "", ""),
        };
        Outcome { wake_at_ms, ..outcome }
    }

    /// The reply of encoded events; none is no reply.
    pub fn reply(events: &[String]) -> Option<String> {
        (!events.is_empty()).then(|| batch(events.iter().map(String::as_str)))
    }

    /// What was stored under a client's key.
    pub fn replayed(status: StatusCode, content_type: String, body: String) -> Self {
        Outcome { is_replayed: true, ..Outcome::new(status, content_type, body) }
    }

    /// A problem document under a status.
    pub fn of_problem(problem: &Problem, status: StatusCode) -> Self {
        let mut outcome = Outcome::new(status, "application/problem+json", problem.document(status));
        let retry_after = problem.retry_after_s.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds)));
        outcome.headers.extend(retry_after);
        if status == StatusCode::UNAUTHORIZED {
            outcome.headers.push((::http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        outcome
    }

    /// The HTTP response.
    pub fn into_response(self) -> Response<Full<Bytes>> {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = HeaderValue::from_str(&self.content_type).ok().filter(|value| !value.is_empty()) {
            headers.insert(CONTENT_TYPE, content_type);
        }
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        if let Some(instant) = self.wake_at_ms.and_then(|at_ms| HeaderValue::from_str(&rfc3339(at_ms)).ok()) {
            headers.insert(WAKE_AT, instant);
        }
        if self.is_replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;

    #[test]
    fn an_event_without_facts_is_answered_with_nothing() {
        let response = Outcome::of_event(Outcome::reply(&[]), Some(0)).into_response();
        assert_eq!(response.status(), 204);
        assert_eq!(response.headers()["wake-at"], "1970-01-01T00:00:00.000Z");
        assert!(!response.headers().contains_key("content-type"));
    }

    #[test]
    fn a_reply_is_a_batch() {
        let response = Outcome::of_event(Outcome::reply(&["{}".to_owned()]), None).into_response();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], event::BATCH_JSON);
    }

    // promise: DOMAIN: a replay answers the stored status and body with Idempotent-Replayed: true
    #[test]
    fn a_replay_says_that_it_is_one() {
        let outcome = Outcome::replayed(StatusCode::CREATED, "application/json".into(), "{}".into());
        let response = outcome.into_response();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["idempotent-replayed"]),
            (201, &HeaderValue::from_static("true"))
        );
    }

    #[test]
    fn a_failure_says_when_to_come_back_and_a_stranger_what_to_bring() {
        let away = Problem::new(Code::DatabaseUnavailable, "").retry_after_s(3);
        assert_eq!(Outcome::of_problem(&away, away.code.status()).into_response().headers()["retry-after"], "3");
        let stranger = Problem::new(Code::Unauthenticated, "");
        let response = Outcome::of_problem(&stranger, stranger.code.status()).into_response();
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }
}
