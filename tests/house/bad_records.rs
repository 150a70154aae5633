//! Records that nobody should write lie on every topic, before the good ones: nothing stops, nothing of them takes effect.

use std::time::Duration;

use bridge::log::{Header, Log, NewRecord};
use bytes::Bytes;
use tests::house::House;
use tests::outside::{Database, Log as Kind};
use till::data::FUNCTIONS;

use crate::shop::{DUE, PATIENCE, Shop};

const QUARTER: Duration = Duration::from_secs(900);
/// As large as a broker takes by default; the ingress takes a quarter of it.
const LARGE: usize = 1_000_000;

fn odd_records(topic: &str) -> Vec<NewRecord> {
    let record = |key: Option<&'static [u8]>, headers: Vec<Header>, value: Option<Vec<u8>>| NewRecord {
        topic: topic.to_owned(),
        partition: None,
        key: key.map(Bytes::from_static),
        headers,
        value: value.map(Bytes::from),
        timestamp_ms: None,
    };
    let header = |name: &str, value: &'static [u8]| (name.to_owned(), Some(Bytes::from_static(value)));
    let half =
        vec![header("ce_specversion", b"1.0"), header("ce_id", b"1"), header("ce_type", b"payment.deposit.confirmed")];
    let structured = vec![header("content-type", b"application/cloudevents+json")];
    vec![
        record(Some(b"plain"), Vec::new(), Some(b"no event".to_vec())),
        record(Some(b"\xff\xfe"), vec![header("odd", b"\xff")], Some(b"\x00\xff".to_vec())),
        record(Some(b"tombstone"), Vec::new(), None),
        record(None, half, Some(b"{}".to_vec())),
        record(None, structured, Some(b"{\"specversion\":".to_vec())),
        record(Some(b"large"), Vec::new(), Some(vec![b'x'; LARGE])),
    ]
}

// promise: BRIDGE: bad bytes (non-UTF-8 keys and headers, 1 MiB values, malformed CloudEvents) never stop a partition
#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_no_events_stop_nothing() {
    let mut house =
        House::start(Database::Sqlite, Kind::Embedded).await.expect("this house needs nothing from outside");
    house.bridge.stop().expect("a bridge stops when it is asked to");
    let log = Log::embedded(&house.data.path("log.db")).expect("the log of a stopped bridge can be opened");
    for topic in FUNCTIONS {
        log.append(odd_records(topic)).await.expect("the log takes any bytes");
    }
    drop(log);
    house.up().await.expect("a house comes back");
    let shop = Shop::open(&house).await;
    let bill = shop.invoice(QUARTER).await;
    shop.pay(&bill, DUE).await;
    shop.mines_until(&bill, "paid").await;
    shop.owns(DUE).await;
    shop.hears("payment.invoice.paid").await;
    house.visitor.ready(PATIENCE).await.expect("nothing is stopped or paused");
}
