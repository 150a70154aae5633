//! Story 1, "paid by invoice", with its variants, told in whole houses: on each database and on each log.

use std::time::Duration;

use tests::house::House;
use tests::outside::{Database, Log};
use tests::skip::skip;

use crate::shop::{DUE, Shop, remarks};

const QUARTER: Duration = Duration::from_secs(15 * 60);

async fn paid_exactly(house: &House) {
    let shop = Shop::open(house).await;
    shop.gets_mail_about("welcome").await;
    let bill = shop.invoice(QUARTER).await;
    shop.pay(&bill, DUE).await;
    shop.sees(&bill, "processing").await;
    shop.mines_until(&bill, "paid").await;
    shop.owns(DUE).await;
    shop.hears("payment.invoice.processing").await;
    shop.hears("payment.invoice.paid").await;
    shop.gets_mail_about("is paid").await;
    assert!(remarks(&shop.sees(&bill, "paid").await).is_empty());
}

async fn priced_in_euro(house: &House) {
    let shop = Shop::open(house).await;
    let body = serde_json::json!({ "price": { "currency": "EUR", "amount": "2500" }, "asset": "ETH" });
    let invoice = shop.visitor().open_invoice(&shop.merchant, body).await.expect("a merchant opens an invoice");
    // 25.00 EUR at 2500.00 EUR for one ETH.
    assert_eq!(invoice["due"]["amount"], "10000000000000000", "{invoice}");
}

async fn short(house: &House) {
    let shop = Shop::open(house).await;
    let bill = shop.invoice(QUARTER).await;
    shop.pay(&bill, DUE / 2).await;
    shop.remarks(&bill, "paid-partial").await;
    shop.sees(&bill, "new").await;
    shop.mines_until_owning(DUE / 2).await;
}

async fn over(house: &House) {
    let shop = Shop::open(house).await;
    let bill = shop.invoice(QUARTER).await;
    shop.pay(&bill, DUE + 1).await;
    shop.mines_until(&bill, "paid").await;
    shop.owns(DUE + 1).await;
    assert_eq!(remarks(&shop.sees(&bill, "paid").await), ["paid-over"]);
}

async fn late(house: &House) {
    let shop = Shop::open(house).await;
    let bill = shop.invoice(Duration::from_secs(60)).await;
    house.move_clock(Duration::from_secs(61));
    shop.sees(&bill, "expired").await;
    shop.hears("payment.invoice.expired").await;
    shop.pay(&bill, DUE).await;
    shop.mines_until_owning(DUE).await;
    shop.remarks(&bill, "paid-late").await;
}

async fn two_parts(house: &House) {
    let shop = Shop::open(house).await;
    let bill = shop.invoice(QUARTER).await;
    shop.pay(&bill, DUE / 4).await;
    shop.remarks(&bill, "paid-partial").await;
    shop.pay(&bill, DUE - DUE / 4).await;
    shop.mines_until(&bill, "paid").await;
    shop.owns(DUE).await;
}

async fn reorganised_before_it_was_paid(house: &House) {
    let shop = Shop::open(house).await;
    let bill = shop.invoice(QUARTER).await;
    shop.pay(&bill, DUE).await;
    shop.sees(&bill, "processing").await;
    shop.visitor().chain.reorganise(1).await.expect("the chain forgets a block");
    shop.visitor().chain.mine(1).await.expect("a miner mines");
    shop.sees(&bill, "new").await;
    shop.pay(&bill, DUE).await;
    shop.mines_until(&bill, "paid").await;
    shop.owns(DUE).await;
}

async fn reorganised_after_it_was_paid(house: &House) {
    let shop = Shop::open(house).await;
    let bill = shop.invoice(QUARTER).await;
    let before = shop.visitor().chain.height().await.expect("the chain has a height");
    shop.pay(&bill, DUE).await;
    shop.mines_until(&bill, "paid").await;
    shop.owns(DUE).await;
    let after = shop.visitor().chain.height().await.expect("the chain has a height");
    shop.visitor().chain.reorganise(after - before).await.expect("the chain forgets blocks");
    shop.visitor().chain.mine(1).await.expect("a miner mines");
    shop.hears("payment.invoice.reverted").await;
    shop.owns(0).await;
}

/// Starts a house and tells one story in it, or skips.
async fn told_in<F: AsyncFnOnce(&House)>(name: &str, database: Database, log: Log, story: F) {
    match House::start(database, log).await {
        Ok(house) => {
            story(&house).await;
            proved(&house).await;
        }
        Err(lacks) => skip(name, &lacks),
    }
}

/// After every story the ledger's own proof holds.
pub async fn proved(house: &House) {
    let operator = house.visitor.person("olga", &["operator"]);
    let proof = house.visitor.get(&operator, "/core/v1/verify").await.expect("an operator may ask for the proof");
    assert_eq!(proof["holds"], true, "{proof}");
}

async fn all(house: &House) {
    paid_exactly(house).await;
    priced_in_euro(house).await;
    short(house).await;
    over(house).await;
    late(house).await;
    two_parts(house).await;
    reorganised_before_it_was_paid(house).await;
    reorganised_after_it_was_paid(house).await;
}

// promise: DOMAIN: paid by invoice
// promise: DOMAIN: an invoice becomes processing when it is paid in full and paid when it is confirmed
#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_is_paid_exactly() {
    told_in("an_invoice_is_paid_exactly", Database::Sqlite, Log::Embedded, paid_exactly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_in_euro_is_converted() {
    told_in("a_price_in_euro_is_converted", Database::Sqlite, Log::Embedded, priced_in_euro).await;
}

// promise: DOMAIN: money that comes short, over or late is credited and said
#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_paid_short_is_credited_and_said() {
    told_in("an_invoice_paid_short_is_credited_and_said", Database::Sqlite, Log::Embedded, short).await;
}

// promise: DOMAIN: money that comes short, over or late is credited and said
#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_paid_over_is_credited_and_said() {
    told_in("an_invoice_paid_over_is_credited_and_said", Database::Sqlite, Log::Embedded, over).await;
}

// promise: DOMAIN: money that comes short, over or late is credited and said
#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_paid_late_is_credited_and_said() {
    told_in("an_invoice_paid_late_is_credited_and_said", Database::Sqlite, Log::Embedded, late).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_is_paid_in_two_parts() {
    told_in("an_invoice_is_paid_in_two_parts", Database::Sqlite, Log::Embedded, two_parts).await;
}

// promise: DOMAIN: a reorganisation orphans the payments of dropped blocks
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_the_chain_forgets_makes_the_invoice_new_again() {
    told_in(
        "a_payment_that_the_chain_forgets_makes_the_invoice_new_again",
        Database::Sqlite,
        Log::Embedded,
        reorganised_before_it_was_paid,
    )
    .await;
}

// promise: DOMAIN: a paid invoice whose block is dropped is said to be reverted
// promise: DOMAIN: a transfer is corrected by another one
#[tokio::test(flavor = "multi_thread")]
async fn a_paid_invoice_is_reverted_when_the_chain_forgets_its_payment() {
    told_in(
        "a_paid_invoice_is_reverted_when_the_chain_forgets_its_payment",
        Database::Sqlite,
        Log::Embedded,
        reorganised_after_it_was_paid,
    )
    .await;
}

// promise: DOMAIN: paid by invoice
#[tokio::test(flavor = "multi_thread")]
async fn all_stories_on_postgresql_and_the_embedded_log() {
    told_in("all_stories_on_postgresql_and_the_embedded_log", Database::Postgres, Log::Embedded, all).await;
}

// promise: DOMAIN: paid by invoice
#[tokio::test(flavor = "multi_thread")]
async fn all_stories_on_sqlite_and_kafka() {
    told_in("all_stories_on_sqlite_and_kafka", Database::Sqlite, Log::Kafka, all).await;
}

// promise: DOMAIN: paid by invoice
#[tokio::test(flavor = "multi_thread")]
async fn all_stories_on_postgresql_and_kafka() {
    told_in("all_stories_on_postgresql_and_kafka", Database::Postgres, Log::Kafka, all).await;
}
