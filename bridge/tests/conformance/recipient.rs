//! The bridge as an event recipient: its ingress.

use crate::support::*;

struct Ingress {
    house: House,
    bridge: Bridge,
}

impl Ingress {
    fn open() -> Ingress {
        let house = House::new();
        let tokens = house.path().join("tokens");
        std::fs::create_dir(&tokens).unwrap();
        std::fs::write(tokens.join("out"), "secret").unwrap();
        let options = bridge::Options { ingress_tokens: Some(tokens), ..house.options(std::time::Duration::ZERO) };
        let bridge = house.start_with("", &options);
        Ingress { house, bridge }
    }

    fn send(&self, method: &str, more: &str, body: &str) -> u16 {
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: bridge\r\nauthorization: Bearer secret\r\nconnection: close\r\n{more}content-length: \
             {}\r\n\r\n{body}",
            body.len()
        );
        self.bridge.exchange(&request).unwrap().0
    }
}

const BINARY: &str =
    "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: out.x\r\ncontent-type: text/plain\r\n";

#[test]
fn events_are_accepted_in_binary_and_structured_mode_when_the_log_has_them() {
    let ingress = Ingress::open();
    assert_eq!(ingress.send("POST", BINARY, "hello"), 202);
    assert_eq!(ingress.house.read("out").len(), 1);
    let body = r#"{"specversion":"1.0","id":"2","source":"/s","type":"out.x"}"#;
    assert_eq!(ingress.send("POST", "content-type: application/cloudevents+json\r\n", body), 202);
    assert_eq!(ingress.house.read("out").len(), 2);
}

#[test]
fn duplicates_are_accepted() {
    let ingress = Ingress::open();
    for _ in 0..2 {
        assert_eq!(ingress.send("POST", BINARY, "hello"), 202);
    }
    let ids: Vec<String> = ingress.house.read("out").iter().map(|record| header(&record.headers, "ce_id")).collect();
    assert_eq!(ids, ["1", "1"], "a reader tells them by source and id");
}

#[test]
fn negotiation_that_is_not_understood_is_ignored() {
    let ingress = Ingress::open();
    assert_eq!(ingress.send("POST", &format!("upgrade: h2c\r\nprefer: reply\r\n{BINARY}"), "hello"), 202);
}

#[test]
fn what_is_no_event_is_a_400_and_no_place_is_a_404() {
    let ingress = Ingress::open();
    assert_eq!(ingress.send("POST", "content-type: text/plain\r\n", "hello"), 400);
    assert_eq!(ingress.send("POST", &BINARY.replace("ce-id: 1", "ce-id: %C0%A0"), "hello"), 400);
    assert_eq!(ingress.bridge.get("/elsewhere").0, 404);
}

#[test]
fn a_probe_by_options_is_told_that_post_is_understood() {
    let ingress = Ingress::open();
    let request = "OPTIONS / HTTP/1.1\r\nhost: bridge\r\nconnection: close\r\n\r\n";
    let head = ingress.bridge.head(request);
    assert!(head.to_ascii_lowercase().contains("\r\nallow: post"), "{head}");
}
