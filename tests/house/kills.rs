//! Bridge and host are killed with SIGKILL, again and again, while invoices are paid. In the end everything took effect once:
//! in the ledger, in the mailbox, at the merchant's endpoint and on the topics. Chance has a printed seed
//! (`TILL_TEST_SEED`), and `TILL_TEST_KILLS` says how many kills there are.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tests::house::House;
use tests::outside::{Database, Log};
use tests::skip::skip;
use till::until::until;
use till::visitor::Person;

use crate::shop::{Bill, DUE, PATIENCE, Shop};
use crate::topics::Topics;

const KILLS: u32 = 10;
const QUARTER: Duration = Duration::from_secs(15 * 60);
/// A kill comes at most so long after a payer has paid: by then a story without kills is over.
const LATEST_KILL: Duration = Duration::from_millis(1500);
/// How soon after a restart the next delivery must come: seconds, not a session's time-out.
const NEXT_DELIVERY: Duration = Duration::from_secs(15);

/// A seeded source of choices (SplitMix64).
struct Chance(u64);

impl Chance {
    fn from_environment() -> Self {
        let given = std::env::var("TILL_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from_le_bytes(till::random::bytes()));
        eprintln!("TILL_TEST_SEED={seed}");
        Chance(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[derive(Debug, Clone, Copy)]
enum Victim {
    Bridge,
    Host,
    Both,
}

async fn survives(test: &str, database: Database, log: Log) {
    let mut house = match House::start(database, log).await {
        Ok(house) => house,
        Err(lacks) => return skip(test, &lacks),
    };
    let mut chance = Chance::from_environment();
    let kills = std::env::var("TILL_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let merchant = Shop::open(&house).await.merchant;
    let mut bills = vec![Shop { house: &house, merchant: merchant.clone() }.invoice(QUARTER).await];
    let mut waits = Vec::new();
    for _ in 0..kills {
        let shop = Shop { house: &house, merchant: merchant.clone() };
        shop.pay(&bills[bills.len() - 1], DUE).await;
        shop.visitor().chain.mine(chance.below(16)).await.expect("a miner mines");
        tokio::time::sleep(Duration::from_millis(chance.below(LATEST_KILL.as_millis() as u64))).await;
        let victim = [Victim::Bridge, Victim::Host, Victim::Both][chance.below(3) as usize];
        let (wait, bill) = kill(&mut house, &merchant, victim).await;
        waits.push((victim, wait));
        bills.push(bill);
    }
    let shop = Shop { house: &house, merchant: merchant.clone() };
    shop.pay(&bills[bills.len() - 1], DUE).await;
    for bill in &bills {
        shop.mines_until(bill, "paid").await;
    }
    once(&shop, &bills).await;
    tell(test, waits);
    house.bridge.stop().expect("a bridge stops when it is asked to");
    once_on_topics(&house, &bills).await;
    still_once(&house, &merchant, &bills).await;
}

/// Kills, starts again, and measures until the next delivery comes through. A merchant opens an invoice meanwhile, so that
/// there is something to deliver even when everything before was.
async fn kill(house: &mut House, merchant: &Person, victim: Victim) -> (Duration, Bill) {
    match victim {
        Victim::Bridge => house.bridge.kill(),
        Victim::Host => house.host.kill(),
        Victim::Both => {
            house.bridge.kill();
            house.host.kill();
        }
    }
    let killed = Instant::now();
    let before = deliveries(house).await.unwrap_or(0.0);
    house.bridge.start().expect("a bridge starts again");
    house.host.start().expect("a host starts again");
    let shop = Shop { house, merchant: merchant.clone() };
    let next = until("the next delivery after a kill", NEXT_DELIVERY, async || {
        Ok((deliveries(house).await? > before).then(|| killed.elapsed()))
    });
    let (waited, bill) = tokio::join!(next, shop.invoice(QUARTER));
    let waited = waited.unwrap_or_else(|error| panic!("{error} ({victim:?})\n{}", house.said()));
    house.up().await.expect("a house comes back");
    (waited, bill)
}

/// Attempts that a function answered well; a bridge that starts again counts from 0.
async fn deliveries(house: &House) -> Result<f64, till::Error> {
    Ok(house.visitor.bridge_metrics().await?.sum("till_attempts_total", &[("outcome", "2xx")]))
}

fn tell(test: &str, mut waits: Vec<(Victim, Duration)>) {
    waits.sort_by_key(|(_, wait)| *wait);
    let middle = waits[waits.len() / 2].1;
    let (victim, worst) = waits[waits.len() - 1];
    println!("{test}: {} kills; next delivery after {middle:?} (median), {worst:?} (worst, {victim:?})", waits.len());
}

/// Ledger, mailbox and endpoint have each fact once.
async fn once(shop: &Shop<'_>, bills: &[Bill]) {
    shop.owns(DUE * bills.len() as u128).await;
    // A welcome, and for each invoice "on its way" and "is paid".
    let expected = 1 + 2 * bills.len();
    let mails = until(format!("{expected} mails"), PATIENCE, async || {
        Ok(Some(shop.visitor().mails(&shop.merchant).await?).filter(|mails| mails.len() >= expected))
    });
    let mails = mails.await.unwrap_or_else(|error| panic!("{error}\n{}", shop.house.said()));
    assert_eq!(mails.len(), expected, "{mails:#?}");
    // Created, processing, paid; the same id may come twice, and counts once.
    let expected = 3 * bills.len();
    let hooks = until(format!("{expected} webhooks"), PATIENCE, async || {
        let hooks = shop.visitor().webhooks(&shop.merchant).await?;
        let ids: BTreeSet<String> = hooks.iter().filter_map(|hook| hook["id"].as_str().map(str::to_owned)).collect();
        Ok((ids.len() >= expected).then_some((ids, hooks)))
    });
    let (ids, hooks) = hooks.await.unwrap_or_else(|error| panic!("{error}\n{}", shop.house.said()));
    assert_eq!(ids.len(), expected, "{hooks:#?}");
    assert!(hooks.iter().all(|hook| hook["verified"] == true), "{hooks:#?}");
}

/// Nothing more came while the bridge drained: a doubled credit would pass through the right sum on its way.
async fn still_once(house: &House, merchant: &Person, bills: &[Bill]) {
    let visitor = &house.visitor;
    let owned = (DUE * bills.len() as u128).to_string();
    visitor.has_balance(merchant, "ETH", &owned, Duration::ZERO).await.expect("the balance stays");
    assert_eq!(visitor.mails(merchant).await.expect("a mailbox").len(), 1 + 2 * bills.len());
    let hooks = visitor.webhooks(merchant).await.expect("an endpoint");
    let ids: BTreeSet<&str> = hooks.iter().filter_map(|hook| hook["id"].as_str()).collect();
    assert_eq!(ids.len(), 3 * bills.len(), "{hooks:#?}");
    super::stories::proved(house).await;
}

/// On the topics each fact stands once, and nothing was given up.
async fn once_on_topics(house: &House, bills: &[Bill]) {
    let topics = Topics::read(house).await;
    assert_eq!(topics.repeated(), Vec::<String>::new(), "{}", house.said());
    assert!(topics.dead_letters.is_empty(), "{:#?}", topics.dead_letters);
    assert_eq!(topics.with_an_address(), BTreeSet::from(["core.user.registered"]));
    for bill in bills {
        for kind in ["payment.invoice.created", "payment.invoice.processing", "payment.invoice.paid"] {
            assert_eq!(topics.count(kind, &bill.id), 1, "{kind} of {}", bill.id);
        }
    }
}

// promise: BRIDGE: nothing is lost and nothing takes effect twice when bridge or host are killed
// promise: BRIDGE: nothing is lost when the bridge is killed, and the next delivery comes in seconds
// promise: DOMAIN: a fact takes effect once, however often and in whatever order it comes
// promise: DOMAIN: one message per event, recipient and template
// promise: DOMAIN: no e-mail address but in the event of registration
#[tokio::test(flavor = "multi_thread")]
async fn every_fact_takes_effect_once_when_killed_on_sqlite_and_the_embedded_log() {
    survives(
        "every_fact_takes_effect_once_when_killed_on_sqlite_and_the_embedded_log",
        Database::Sqlite,
        Log::Embedded,
    )
    .await;
}

// promise: BRIDGE: nothing is lost and nothing takes effect twice when bridge or host are killed
// promise: BRIDGE: nothing is lost when the bridge is killed, and the next delivery comes in seconds
#[tokio::test(flavor = "multi_thread")]
async fn every_fact_takes_effect_once_when_killed_on_postgresql_and_kafka() {
    let test = "every_fact_takes_effect_once_when_killed_on_postgresql_and_kafka";
    survives(test, Database::Postgres, Log::Kafka).await;
}
