//! What an answer means (BRIDGE.md has the table). What came back from a call goes in, and a verdict comes out: settled, a reply,
//! a refusal, a failure, or nobody there.

use bytes::Bytes;
use event::Event;
use http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{Response, StatusCode};
use jiff::Timestamp;

use crate::dispatch::{Millis, Verdict};

/// What a call came to.
#[derive(Debug)]
pub enum Outcome {
    Answer(Response<Bytes>),
    /// The answer is longer than anybody may need.
    TooLong(Response<()>),
    /// There was no call: the token to be shown cannot be read.
    NoToken,
    /// Nobody listens there.
    ConnectionRefused,
    TimedOut,
    Lost(String),
    /// TLS failed: the sink is not who it should be, or does not believe us.
    Untrusted(String),
}

/// What the machine hears, and what must be kept beside it.
#[derive(Debug, PartialEq)]
pub enum Meaning {
    Settled,
    Reply(Vec<Event>),
    Refused,
    Unauthorized,
    Failed { answered: bool, retry_after: Option<Millis> },
    Silent,
}

impl Outcome {
    pub fn meaning(&self, replies_used: bool, now: Timestamp) -> Meaning {
        match self {
            Outcome::Answer(response) => answered(response, replies_used, now),
            Outcome::TooLong(response) => too_long(response, replies_used, now),
            Outcome::ConnectionRefused => Meaning::Silent,
            Outcome::TimedOut | Outcome::Lost(_) | Outcome::Untrusted(_) | Outcome::NoToken => {
                Meaning::Failed { answered: false, retry_after: None }
            }
        }
    }

    /// When the sink wants to be woken.
    pub fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Outcome::Answer(response) => wake_at(response.headers()),
            Outcome::TooLong(response) => wake_at(response.headers()),
            _ => None,
        }
    }

    /// The status for a person and for `knativeerrorcode`: HTTP's, or 0 when there was none.
    pub fn code(&self) -> u16 {
        match self {
            Outcome::Answer(response) => response.status().as_u16(),
            Outcome::TooLong(response) => response.status().as_u16(),
            Outcome::ConnectionRefused
            | Outcome::TimedOut
            | Outcome::Lost(_)
            | Outcome::Untrusted(_)
            | Outcome::NoToken => 0,
        }
    }

    /// What the sink said, for `knativeerrordata`.
    pub fn data(&self) -> Bytes {
        match self {
            Outcome::Answer(response) => response.body().clone(),
            Outcome::TooLong(_) => Bytes::from_static(b"the answer is too long"),
            Outcome::NoToken => Bytes::from_static(b"the token for the sink cannot be read"),
            Outcome::ConnectionRefused => Bytes::from_static(b"connection refused"),
            Outcome::TimedOut => Bytes::from_static(b"no answer in time"),
            Outcome::Lost(reason) | Outcome::Untrusted(reason) => Bytes::copy_from_slice(reason.as_bytes()),
        }
    }

    /// The name of the outcome in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Outcome::Answer(response) => match response.status().as_u16() / 100 {
                2 => "2xx",
                4 => "4xx",
                5 => "5xx",
                _ => "other",
            },
            Outcome::TooLong(_) => "too_long",
            Outcome::NoToken => "no_token",
            Outcome::ConnectionRefused => "connection_refused",
            Outcome::TimedOut => "timed_out",
            Outcome::Lost(_) => "lost",
            Outcome::Untrusted(_) => "untrusted",
        }
    }
}

impl Meaning {
    pub fn verdict(&self) -> Verdict {
        match self {
            Meaning::Settled => Verdict::Settled,
            Meaning::Reply(_) => Verdict::Reply,
            Meaning::Refused => Verdict::Refused,
            Meaning::Unauthorized => Verdict::Unauthorized,
            Meaning::Failed { answered, retry_after } => {
                Verdict::Failed { answered: *answered, retry_after: *retry_after }
            }
            Meaning::Silent => Verdict::Silent,
        }
    }
}

/// The instant of a `Wake-At` header.
pub fn wake_at(headers: &HeaderMap) -> Option<Timestamp> {
    headers.get("wake-at")?.to_str().ok()?.trim().parse().ok()
}

fn answered(response: &Response<Bytes>, replies_used: bool, now: Timestamp) -> Meaning {
    match response.status().as_u16() {
        200 if replies_used => replied(response),
        200..=299 => Meaning::Settled,
        401 | 403 => Meaning::Unauthorized,
        502..=504 if is_bare(response.headers()) => Meaning::Silent,
        // What nobody knows is retried, as Knative says.
        404 | 408 | 409 | 425 | 429 | 500.. => {
            Meaning::Failed { answered: true, retry_after: retry_after(response.headers(), now) }
        }
        _ => Meaning::Refused,
    }
}

/// A 200 that may hold events.
fn replied(response: &Response<Bytes>) -> Meaning {
    if !event::http::is_event(response.headers()) {
        return if response.body().is_empty() { Meaning::Settled } else { Meaning::Refused };
    }
    match event::http::decode(response.headers(), response.body().clone()) {
        Ok(events) if events.is_empty() => Meaning::Settled,
        Ok(events) => Meaning::Reply(events),
        Err(_) => Meaning::Refused,
    }
}

/// The length matters where the body does: in a 200 that may hold a reply.
fn too_long(response: &Response<()>, replies_used: bool, now: Timestamp) -> Meaning {
    if response.status() == StatusCode::OK && replies_used {
        return Meaning::Refused;
    }
    answered(&response.clone().map(|()| Bytes::new()), replies_used, now)
}

/// A gateway's word and not the sink's own: neither a problem document nor a time to come back.
fn is_bare(headers: &HeaderMap) -> bool {
    let problem = headers.get(CONTENT_TYPE).is_some_and(|kind| is_problem(kind.as_bytes()));
    let cold = headers.get("x-keda-http-cold-start").is_some_and(|value| value == "true");
    cold || (!problem && !headers.contains_key(RETRY_AFTER))
}

fn is_problem(content_type: &[u8]) -> bool {
    let problem = b"application/problem+json";
    content_type.get(..problem.len()).is_some_and(|head| head.eq_ignore_ascii_case(problem))
}

/// Seconds, or an HTTP date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Millis> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(date.as_millisecond().saturating_sub(now.as_millisecond()).max(0) as Millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &'static str) -> Outcome {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Outcome::Answer(response.body(Bytes::from_static(body.as_bytes())).unwrap())
    }

    fn check(outcome: &Outcome, replies_used: bool, expected: Meaning) {
        assert_eq!(outcome.meaning(replies_used, Timestamp::UNIX_EPOCH), expected, "{outcome:?}");
    }

    const FAILED: Meaning = Meaning::Failed { answered: true, retry_after: None };

    // promise: BRIDGE: 200 with CloudEvents is the reply, binary, structured or batch
    #[test]
    fn events_in_a_200_are_the_reply() {
        let event = Event::new("1", "/s", "a.b");
        for (headers, body) in [
            event::http::encode_binary(&event),
            event::http::encode_structured(&event),
            event::http::encode_batch(std::slice::from_ref(&event)),
        ] {
            let mut response = Response::new(body);
            *response.headers_mut() = headers;
            let outcome = Outcome::Answer(response);
            check(&outcome, true, Meaning::Reply(vec![event.clone()]));
            check(&outcome, false, Meaning::Settled);
        }
    }

    // promise: BRIDGE: 200 with another body where replies are used is a dead letter and is not retried
    #[test]
    fn another_body_where_replies_are_used_is_refused() {
        check(&answer(200, &[], "hello"), true, Meaning::Refused);
        check(&answer(200, &[("content-type", "application/cloudevents+json")], "{"), true, Meaning::Refused);
        check(&answer(200, &[], "hello"), false, Meaning::Settled);
    }

    // promise: BRIDGE: 200 without a body, 202, 204 and other 2xx settle; a 202 is never a reply
    #[test]
    fn answers_without_a_reply_settle() {
        let batch = ("content-type", "application/cloudevents-batch+json");
        check(&answer(200, &[], ""), true, Meaning::Settled);
        check(&answer(200, &[batch], "[]"), true, Meaning::Settled);
        for status in [201, 202, 204, 299] {
            check(&answer(status, &[batch], "[{}]"), true, Meaning::Settled);
        }
    }

    // promise: BRIDGE: 1xx, 3xx, 400 and other 4xx are refused: a dead letter at once, and the lane goes on
    #[test]
    fn wrong_input_is_refused() {
        for status in [301, 302, 304, 400, 405, 410, 413, 415, 422, 499] {
            check(&answer(status, &[("retry-after", "5")], ""), true, Meaning::Refused);
        }
        for status in [401, 403] {
            check(&answer(status, &[], ""), true, Meaning::Unauthorized);
        }
    }

    // promise: BRIDGE: 404, 408, 409, 425, 429, 5xx, a time-out and a lost connection are failures that are retried
    #[test]
    fn a_wrong_world_is_a_failure() {
        for status in [404, 408, 409, 425, 429, 500, 501, 507, 600, 999] {
            check(&answer(status, &[], ""), true, FAILED);
        }
        let unanswered = || Meaning::Failed { answered: false, retry_after: None };
        check(&Outcome::TimedOut, true, unanswered());
        check(&Outcome::Lost("reset".into()), true, unanswered());
    }

    // promise: BRIDGE: connection refused, a bare 502, 503 or 504, and KEDA's cold start mean that nobody was there
    #[test]
    fn nobody_there_is_told_apart_from_failing() {
        check(&Outcome::ConnectionRefused, true, Meaning::Silent);
        for status in [502, 503, 504] {
            check(&answer(status, &[], "<html>"), true, Meaning::Silent);
            check(&answer(status, &[("content-type", "Application/Problem+JSON; x")], "{}"), true, FAILED);
        }
        let after = Meaning::Failed { answered: true, retry_after: Some(7_000) };
        check(&answer(503, &[("retry-after", "7")], ""), true, after);
        check(&answer(503, &[("retry-after", "7"), ("x-keda-http-cold-start", "true")], ""), true, Meaning::Silent);
    }

    #[test]
    fn an_answer_that_is_too_long_means_what_its_head_says() {
        let check = |status, headers, expected| {
            let Outcome::Answer(response) = answer(status, headers, "") else { unreachable!() };
            check(&Outcome::TooLong(response.map(drop)), true, expected);
        };
        check(200, &[], Meaning::Refused);
        check(201, &[], Meaning::Settled);
        check(401, &[], Meaning::Unauthorized);
        check(404, &[], FAILED);
        check(503, &[], Meaning::Silent);
        check(429, &[("retry-after", "7")], Meaning::Failed { answered: true, retry_after: Some(7_000) });
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |text| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text)]), Timestamp::UNIX_EPOCH);
        let header = http::HeaderValue::from_static;
        assert_eq!(after(header("120")), Some(120_000));
        assert_eq!(after(header("Thu, 01 Jan 1970 00:01:00 GMT")), Some(60_000));
        assert_eq!(after(header("soon")), None);
    }

    #[test]
    fn any_answer_may_ask_for_a_wake() {
        let asked = answer(503, &[("wake-at", "2026-01-02T03:04:05Z")], "").wake_at();
        assert_eq!(asked, Some("2026-01-02T03:04:05Z".parse().unwrap()));
        assert_eq!(answer(200, &[("wake-at", "tomorrow")], "").wake_at(), None);
    }
}
