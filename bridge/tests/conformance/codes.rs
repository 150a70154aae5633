//! "Event Acknowledgement and Delivery Retry": what each response code means, row by row.

use crate::raw::{RawSink, status};
use crate::support::*;

#[derive(Debug, PartialEq)]
enum Fate {
    /// Delivered, and never again.
    Completed,
    /// Not delivered, and not tried again.
    Refused,
    /// Tried again.
    Retried,
}

/// What becomes of a record whose first call is answered with `code` and whose second call would be taken.
fn fate_after(code: u16) -> Fate {
    let house = House::new();
    let sink = RawSink::start(move |before| {
        status(if before == 0 { code } else { 204 }, "content-type: application/problem+json\r\n")
    });
    let _bridge =
        house.start(&plain(sink.address, &format!("  delivery: {{ backoffDelay: PT0.005S, {DEAD_LETTERS} }}\n")));
    house.write(vec![record("k", "v")]);
    house.wait_for_commits("g", 1);
    match (sink.calls(), house.read("dead").len()) {
        (1, 0) => Fate::Completed,
        (1, 1) => Fate::Refused,
        (2, 0) => Fate::Retried,
        other => panic!("{code}: calls and dead letters: {other:?}"),
    }
}

/// A KafkaSource: it is sent no wakes.
pub fn plain(sink: std::net::SocketAddr, more: &str) -> String {
    source(sink, &format!("  initialOffset: earliest\n{more}"))
        .replace("till.dev/v1", "sources.knative.dev/v1")
        .replace("kind: Source", "kind: KafkaSource")
}

fn check(codes: &[u16], expected: Fate) {
    for code in codes {
        assert_eq!(fate_after(*code), expected, "{code}");
    }
}

// promise: BRIDGE: 1xx, 3xx, 400 and other 4xx are refused: a dead letter at once, and the lane goes on
#[test]
fn code_1xx_is_an_error_without_a_retry() {
    check(&[101], Fate::Refused);
}

// promise: BRIDGE: 200 without a body, 202, 204 and other 2xx settle; a 202 is never a reply
#[test]
fn code_200_completes_the_delivery() {
    check(&[200], Fate::Completed);
}

#[test]
fn code_202_completes_the_delivery() {
    check(&[202], Fate::Completed);
}

#[test]
fn other_codes_2xx_complete_the_delivery() {
    check(&[201, 203, 204, 206, 299], Fate::Completed);
}

#[test]
fn codes_3xx_are_errors_without_a_retry_and_nobody_is_redirected() {
    check(&[300, 304], Fate::Refused);
    let (house, elsewhere) = (House::new(), RawSink::start(|_| status(204, "")));
    let location = format!("location: http://{}/events\r\n", elsewhere.address);
    let sink = RawSink::start(move |_| status(307, &location));
    let _bridge = house.start(&plain(sink.address, &format!("  delivery: {{ {DEAD_LETTERS} }}\n")));
    house.write(vec![record("k", "v")]);
    assert_eq!(header(&house.wait_for_records("dead", 1)[0].headers, "knativeerrorcode"), "307");
    assert_eq!((sink.calls(), elsewhere.calls()), (1, 0));
}

#[test]
fn code_400_is_an_error_without_a_retry() {
    check(&[400], Fate::Refused);
}

#[test]
fn code_401_is_an_error_without_a_retry() {
    check(&[401], Fate::Refused);
}

#[test]
fn code_403_is_an_error_without_a_retry() {
    check(&[403], Fate::Refused);
}

// promise: BRIDGE: 404, 408, 409, 425, 429, 5xx, a time-out and a lost connection are failures that are retried
#[test]
fn code_404_is_retried() {
    check(&[404], Fate::Retried);
}

#[test]
fn code_408_is_retried() {
    check(&[408], Fate::Retried);
}

#[test]
fn code_409_is_retried() {
    check(&[409], Fate::Retried);
}

#[test]
fn code_429_is_retried_and_425_as_well() {
    check(&[429, 425], Fate::Retried);
}

#[test]
fn other_codes_4xx_are_errors_without_a_retry() {
    check(&[405, 410, 413, 422, 451], Fate::Refused);
}

#[test]
fn codes_5xx_are_retried() {
    check(&[500, 501, 502, 503, 504, 507], Fate::Retried);
}

#[test]
fn a_code_that_nobody_knows_is_retried() {
    check(&[600, 999], Fate::Retried);
}
