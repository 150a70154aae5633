//! "Derived (Reply) Events": when an answer is an event, and when it is not.

use event::Event;

use crate::support::*;

const REPLIES: &str = "  reply: { byType: true, types: [out.] }\n";

fn reply() -> Event {
    let mut event = Event::new("r", "/s", "out.thing.done");
    event.data = Some("1".into());
    event.datacontenttype = Some("application/json".into());
    event
}

/// A reply in one of the modes of HTTP.
fn in_mode((headers, body): (http::HeaderMap, bytes::Bytes), status: u16) -> Answer {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    Answer { status, headers, body, ..Answer::default() }
}

/// The ids in the topic of replies after one record was settled, and the `Prefer` of its call.
fn replies(more: &str, say: impl Fn() -> Answer + Send + Sync + 'static) -> (Vec<String>, Option<String>) {
    let house = House::new();
    let sink = Sink::start(move |call, _| if call.is_wake() { answer(204) } else { say() });
    let _bridge = house.start(&source(sink.address, more));
    house.write(vec![record("k", "v")]);
    house.wait_for_commits("g", 1);
    let ids = house.read("out").iter().map(|record| header(&record.headers, "ce_id")).collect();
    let prefer = sink.deliveries()[0].headers.get("prefer").map(|value| value.to_str().unwrap().to_owned());
    (ids, prefer)
}

// promise: BRIDGE: 200 with CloudEvents is the reply, binary, structured or batch
#[test]
fn a_200_with_an_event_is_a_reply_in_binary_and_structured_mode_and_as_a_batch() {
    let prefer = Some("reply".to_owned());
    let binary = || in_mode(event::http::encode_binary(&reply()), 200);
    assert_eq!(replies(REPLIES, binary), (vec!["r".into()], prefer.clone()));
    let structured = || in_mode(event::http::encode_structured(&reply()), 200);
    assert_eq!(replies(REPLIES, structured), (vec!["r".into()], prefer.clone()));
    let batch = || in_mode(event::http::encode_batch(&[reply(), reply()]), 200);
    assert_eq!(replies(REPLIES, batch), (vec!["r".into(), "r".into()], prefer));
}

// promise: BRIDGE: Prefer: reply stands only where replies are used
#[test]
fn prefer_reply_is_sent_where_replies_are_used_and_nowhere_else() {
    assert_eq!(replies(REPLIES, || answer(204)).1.as_deref(), Some("reply"));
    assert_eq!(replies("", || answer(204)).1, None);
}

#[test]
fn a_200_without_a_body_completes_the_delivery() {
    assert_eq!(replies(REPLIES, || answer(200)).0, Vec::<String>::new());
}

// promise: BRIDGE: 200 without a body, 202, 204 and other 2xx settle; a 202 is never a reply
#[test]
fn a_202_is_never_a_reply_even_if_it_is_an_event() {
    for status in [201, 202] {
        let event = move || in_mode(event::http::encode_binary(&reply()), status);
        assert_eq!(replies(REPLIES, event).0, Vec::<String>::new(), "{status}");
    }
}

#[test]
fn an_event_that_nobody_asked_for_completes_the_delivery_and_goes_nowhere() {
    let event = || in_mode(event::http::encode_binary(&reply()), 200);
    assert_eq!(replies("", event).0, Vec::<String>::new());
}

#[test]
fn an_answer_that_is_longer_than_anybody_may_need_is_refused_where_it_would_be_a_reply() {
    let huge = || Answer { body: vec![b'x'; 5 << 20].into(), ..answer(200) };
    assert_eq!(replies("", huge).0, Vec::<String>::new());
    let house = House::new();
    let sink = Sink::start(move |call, _| if call.is_wake() { answer(204) } else { huge() });
    let _bridge = house.start(&source(sink.address, &format!("{REPLIES}  delivery: {{ {DEAD_LETTERS} }}\n")));
    house.write(vec![record("k", "v")]);
    assert_eq!(header(&house.wait_for_records("dead", 1)[0].headers, "knativeerrorcode"), "200");
    assert_eq!(sink.deliveries().len(), 1);
}
