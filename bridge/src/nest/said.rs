//! What a sink says to a caller: its answer becomes the values that Nest would have written, and events besides.

use bytes::Bytes;
use event::Event;
use http::header::CONTENT_TYPE;

use crate::answer::Outcome;

/// What a sink said to a caller.
#[derive(Debug, Default, PartialEq)]
pub struct Said {
    /// Facts of a reply, beside their data being the answer.
    pub events: Vec<Event>,
    /// One record each.
    pub values: Vec<Option<Bytes>>,
}

/// A 2xx that cannot be passed on.
#[derive(Debug, PartialEq, Eq)]
pub struct Unusable;

/// What a 2xx answers; `None` when the outcome is none.
pub fn said(outcome: &Outcome) -> Option<Result<Said, Unusable>> {
    let response = match outcome {
        Outcome::TooLong(response) => return response.status().is_success().then_some(Err(Unusable)),
        Outcome::Answer(response) if response.status().is_success() => response,
        _ => return None,
    };
    if !event::http::is_event(response.headers()) {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        return Some(Ok(Said { events: Vec::new(), values: vec![value_of(kind, response.body())] }));
    }
    let Ok(events) = event::http::decode(response.headers(), response.body().clone()) else {
        return Some(Err(Unusable));
    };
    let value = |event: &Event| event.data.as_ref().and_then(|data| value_of(event.datacontenttype.as_deref(), data));
    let values = events.iter().map(value).collect();
    // A 202 is never a reply.
    let events = if response.status() == http::StatusCode::OK { events } else { Vec::new() };
    Some(Ok(Said { events, values }))
}

/// As Nest writes values: a JSON string as its text, null as no value, anything else as it is.
fn value_of(content_type: Option<&str>, body: &Bytes) -> Option<Bytes> {
    if !content_type.is_some_and(is_json) {
        return Some(body.clone()).filter(|body| !body.is_empty());
    }
    // A Nest client only reads what begins with a brace or a bracket as JSON.
    let body = body.slice_ref(body.trim_ascii());
    match body.first()? {
        b'"' => Some(serde_json::from_slice::<String>(&body).map_or(body, Bytes::from)),
        b'n' if body == "null" => None,
        _ => Some(body),
    }
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || media_type.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;

    fn answer(status: u16, content_type: &str, body: &'static str) -> Outcome {
        let response = Response::builder().status(status).header(CONTENT_TYPE, content_type);
        Outcome::Answer(response.body(Bytes::from_static(body.as_bytes())).unwrap())
    }

    #[test]
    fn the_body_of_a_2xx_is_the_answer_as_nest_would_write_it() {
        let check = |content_type: &str, body: &'static str, expected: Option<&str>| {
            let said = said(&answer(201, content_type, body)).unwrap().unwrap();
            assert_eq!(said.values, [expected.map(|text| Bytes::copy_from_slice(text.as_bytes()))], "{body}");
            assert!(said.events.is_empty());
        };
        check("application/json", "{\"a\": 1}", Some("{\"a\": 1}"));
        check("application/json; charset=utf-8", " [1]\n", Some("[1]"));
        check("application/vnd.x+json", "\"caf\\u00e9\"", Some("caf\u{e9}"));
        check("application/json", "null", None);
        check("application/json", "42", Some("42"));
        check("application/json", "\"broken", Some("\"broken"));
        check("text/plain", "\"quoted\"", Some("\"quoted\""));
        check("text/plain", "", None);
        check("application/json", "", None);
        assert_eq!(said(&answer(500, "text/plain", "no")), None);
        assert_eq!(said(&Outcome::TimedOut), None);
    }

    #[test]
    fn the_data_of_events_is_the_answer_and_those_of_a_200_are_facts() {
        let mut event = Event::new("1", "/s", "sum.done");
        (event.datacontenttype, event.data) = (Some("application/json".into()), Some("\"3\"".into()));
        let (headers, body) = event::http::encode_batch(&[event.clone(), Event::new("2", "/s", "sum.told")]);
        let outcome = |status: u16| {
            let mut response = Response::new(body.clone());
            *response.headers_mut() = headers.clone();
            *response.status_mut() = status.try_into().unwrap();
            said(&Outcome::Answer(response)).unwrap().unwrap()
        };
        assert_eq!(outcome(200).values, [Some(Bytes::from_static(b"3")), None]);
        assert_eq!((outcome(200).events.len(), outcome(202).events.len()), (2, 0));
        assert_eq!(said(&answer(200, "application/cloudevents+json", "{")), Some(Err(Unusable)));
        assert_eq!(said(&Outcome::TooLong(Response::new(()))), Some(Err(Unusable)));
    }
}
