//! What a function does with the same thing twice, and with its first moment many times at once.

use std::time::Duration;

use tests::house::House;
use tests::outside::{Database, Log};
use tests::skip::skip;
use till::address::url;
use till::until::until;
use tokio::task::JoinSet;

use crate::deposit;
use crate::shop::Shop;

const KIND: &str = "payment.deposit.detected";
const INSTANCES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(30);

async fn replied_alike(name: &str, database: Database) {
    let house = match House::start(database, Log::Embedded).await {
        Ok(house) => house,
        Err(lacks) => return skip(name, &lacks),
    };
    let shop = Shop::open(&house).await;
    let event = deposit::fact(KIND, "dep_twice", "7", &shop.merchant.id);
    let door = format!("{}/core/events", url(house.visitor.ports().functions));
    let token = house.data.token("bridge/core").expect("the house has this token");
    let first = deposit::tell(&house, &door, Some(&token), &event).await;
    assert_eq!(first.status, 200, "{first:?}");
    assert!(!first.body.is_empty(), "the fact is replied to with one of core's");
    for _ in 0..3 {
        let again = deposit::tell(&house, &door, Some(&token), &event).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        for header in first.headers.keys().filter(|name| name.as_str().starts_with("ce-") || *name == "content-type") {
            assert_eq!(again.headers.get(header), first.headers.get(header), "{header}");
        }
    }
}

// promise: DOMAIN: a redelivered event gets the same reply
#[tokio::test(flavor = "multi_thread")]
async fn a_redelivered_event_gets_the_same_reply_on_sqlite() {
    replied_alike("a_redelivered_event_gets_the_same_reply_on_sqlite", Database::Sqlite).await;
}

// promise: DOMAIN: a redelivered event gets the same reply
#[tokio::test(flavor = "multi_thread")]
async fn a_redelivered_event_gets_the_same_reply_on_postgresql() {
    replied_alike("a_redelivered_event_gets_the_same_reply_on_postgresql", Database::Postgres).await;
}

async fn migrated_by_many(name: &str, database: Database) {
    let mut house = match House::start(database, Log::Embedded).await {
        Ok(house) => house,
        Err(lacks) => return skip(name, &lacks),
    };
    house.bridge.stop().expect("a bridge stops when it is asked to");
    house.host.stop().expect("a host stops when it is asked to");
    house.forget("core").await;
    let before = migrations_told(&house);
    house.host.start().expect("a host starts again");
    let metrics = url(house.visitor.ports().metrics);
    let listens = until("the host", PATIENCE, async || house.visitor.client.get(&metrics).await.map(Some));
    listens.await.expect("the host listens");
    let mut proofs = JoinSet::new();
    for _ in 0..INSTANCES {
        let (visitor, operator) = (house.visitor.clone(), house.visitor.person("olga", &["operator"]));
        proofs.spawn(async move { visitor.get(&operator, "/core/v1/verify").await });
    }
    for proof in proofs.join_all().await {
        let proof = proof.unwrap_or_else(|error| panic!("each of them finds its tables: {error}\n{}", house.said()));
        assert_eq!(proof["holds"], true);
    }
    let told = migrations_told(&house);
    assert_eq!((told.0 - before.0, told.1 - before.1), (1, 1), "{}", house.said());
}

/// How often the log says that core's own tables, and those of every function in core's database, were made.
fn migrations_told(house: &House) -> (usize, usize) {
    let log = std::fs::read_to_string(house.data.path("host.out")).expect("the host has a log");
    let told = |name: &str| {
        let line = format!("migration 001 of {name} applied");
        log.lines().filter(|said| said.contains(&line) && said.contains("core")).count()
    };
    (told("core"), told("guest"))
}

// promise: DOMAIN: migrations are applied once when many instances start
#[tokio::test(flavor = "multi_thread")]
async fn twenty_instances_at_once_make_the_tables_once_on_sqlite() {
    migrated_by_many("twenty_instances_at_once_make_the_tables_once_on_sqlite", Database::Sqlite).await;
}

// promise: DOMAIN: migrations are applied once when many instances start
#[tokio::test(flavor = "multi_thread")]
async fn twenty_instances_at_once_make_the_tables_once_on_postgresql() {
    migrated_by_many("twenty_instances_at_once_make_the_tables_once_on_postgresql", Database::Postgres).await;
}
