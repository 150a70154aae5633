//! Bad input at the functions' doors: a clear refusal with a stable code, and nothing is half done.

use http::Method;
use serde_json::{Value, json};
use tests::house::House;
use tests::outside::{Database, Log};
use tests::rows;
use till::address::url;
use till::key::Key;
use till::visitor::Person;

use crate::shop::Shop;

/// A request and what must be answered.
struct Case {
    what: &'static str,
    path: &'static str,
    body: String,
    expected: (u16, &'static str),
}

fn invoice(price: Value, more: Value) -> String {
    let mut body = json!({ "price": price, "asset": "ETH" });
    for (name, value) in more.as_object().expect("members") {
        body[name] = value.clone();
    }
    body.to_string()
}

fn eth(amount: Value) -> String {
    invoice(json!({ "currency": "ETH", "amount": amount }), json!({}))
}

fn cases() -> Vec<Case> {
    let invoices = "/payment/v1/invoices";
    let users = "/core/v1/users";
    let endpoints = "/webhook/v1/endpoints";
    let case = |what, path, body: String, status, code| Case { what, path, body, expected: (status, code) };
    vec![
        case("no JSON", invoices, "{\"price\":".to_owned(), 400, "validation"),
        case("another type", invoices, "[1, 2]".to_owned(), 400, "validation"),
        case("no body", invoices, String::new(), 400, "validation"),
        case("a number as amount", invoices, eth(json!(1)), 400, "validation"),
        case("a negative amount", invoices, eth(json!("-1")), 400, "validation"),
        case("a fractional amount", invoices, eth(json!("1.5")), 400, "validation"),
        case("an amount with a leading zero", invoices, eth(json!("01")), 400, "validation"),
        case("an amount of forty digits", invoices, eth(json!("9".repeat(40))), 400, "validation"),
        case(
            "an unknown asset",
            invoices,
            json!({ "price": { "currency": "ETH", "amount": "1" }, "asset": "DOGE" }).to_string(),
            400,
            "validation",
        ),
        case(
            "an unknown currency",
            invoices,
            invoice(json!({ "currency": "XXX", "amount": "1" }), json!({})),
            400,
            "validation",
        ),
        case(
            "an unknown member",
            invoices,
            invoice(json!({ "currency": "ETH", "amount": "20000000000000000" }), json!({ "discount": 1 })),
            400,
            "validation",
        ),
        case("no e-mail address", users, json!({ "email": "alice" }).to_string(), 400, "validation"),
        case(
            "a header in an e-mail address",
            users,
            json!({ "email": "a@b.c\r\nBcc: d@e.f" }).to_string(),
            400,
            "validation",
        ),
        case(
            "an endpoint in a private network",
            endpoints,
            json!({ "url": "http://10.0.0.1/hook" }).to_string(),
            400,
            "destination-invalid",
        ),
        case(
            "an endpoint on this machine",
            endpoints,
            json!({ "url": "http://127.0.0.1:1/hook" }).to_string(),
            400,
            "destination-invalid",
        ),
        case("an endpoint that is no URL", endpoints, json!({ "url": "shop" }).to_string(), 400, "destination-invalid"),
        case("no such path", "/core/v1/nothing", "{}".to_owned(), 404, "not-found"),
    ]
}

async fn post(house: &House, token: Option<&str>, path: &str, key: Option<&str>, body: &str) -> (u16, String) {
    let address = format!("{}{path}", url(house.visitor.ports().functions));
    let bearer = format!("Bearer {}", token.unwrap_or_default());
    let mut headers = Vec::new();
    headers.extend(token.map(|_| ("authorization", bearer.as_str())));
    headers.extend(key.map(|key| ("idempotency-key", key)));
    let body = bytes::Bytes::from(body.to_owned());
    let answer =
        house.visitor.client.call(Method::POST, &address, &headers, Some(body)).await.expect("a function answers");
    let problem = answer.json();
    (answer.status.as_u16(), problem["code"].as_str().unwrap_or_default().to_owned())
}

async fn house() -> House {
    House::start(Database::Sqlite, Log::Embedded).await.expect("this house needs nothing from outside")
}

// promise: DOMAIN: an error is a problem document with a stable code
// promise: DOMAIN: money is an integer in text, and nothing else is read as money
#[tokio::test(flavor = "multi_thread")]
async fn bad_commands_are_refused_with_a_code_and_leave_nothing_behind() {
    let house = house().await;
    let shop = Shop::open(&house).await;
    let before = rows::at_rest(&house).await.expect("a house comes to rest");
    for case in cases() {
        let (status, code) =
            post(&house, Some(&shop.merchant.token), case.path, Some(&till::random::token()), &case.body).await;
        // 400 and 422 both say "the input is wrong"; the code is what clients read.
        let same = status == case.expected.0 || (case.expected.0 == 400 && status == 422);
        assert!(
            same && code == case.expected.1,
            "{}: {status} {code}, not {:?}\n{}",
            case.what,
            case.expected,
            house.said()
        );
    }
    shop.owns_nothing().await;
    let after = rows::at_rest(&house).await.expect("a house comes to rest");
    assert_eq!(after, before, "a refusal left rows behind");
}

fn odd_tokens(house: &House, person: &Person) -> Vec<(&'static str, String)> {
    let key = house.data.key();
    let claims = |issuer: &str, audience: &str, not_before: i64, expires: i64| json!({ "iss": issuer, "aud": audience, "sub": person.id, "roles": ["merchant"], "nbf": not_before, "exp": expires });
    let now = 1_800_000_000;
    let far = 4_000_000_000;
    let tail = &person.token[person.token.len() - 4..];
    vec![
        ("no JWT", "abc".to_owned()),
        ("a signature cut short", person.token.trim_end_matches(tail).to_owned()),
        ("an expired one", key.sign_payload(&claims("till", "till", 0, 1_600_000_000))),
        ("one of the future", key.sign_payload(&claims("till", "till", far - now, far))),
        ("one for another audience", key.sign_payload(&claims("till", "bank", 0, far))),
        ("one of another issuer", key.sign_payload(&claims("mallory", "till", 0, far))),
        ("one signed by a stranger", Key::generate().sign_payload(&claims("till", "till", 0, far))),
    ]
}

// promise: DOMAIN: a token that is wrong, expired or foreign opens nothing
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_wrong_expired_or_foreign_opens_nothing() {
    let house = house().await;
    let shop = Shop::open(&house).await;
    let body = eth(json!("20000000000000000"));
    let path = "/payment/v1/invoices";
    assert_eq!(post(&house, None, path, Some("k"), &body).await, (401, "unauthenticated".to_owned()), "none");
    for (what, token) in odd_tokens(&house, &shop.merchant) {
        assert_eq!(
            post(&house, Some(&token), path, Some("k"), &body).await,
            (401, "unauthenticated".to_owned()),
            "{what}"
        );
    }
    let viewer = house.visitor.person("victor", &["viewer"]);
    assert_eq!(post(&house, Some(&viewer.token), path, Some("k"), &body).await, (403, "forbidden".to_owned()));
}

// promise: DOMAIN: a money command needs an idempotency key, and a repeat replays its answer
#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_is_needed_bound_and_replayed() {
    let house = house().await;
    let shop = Shop::open(&house).await;
    let (path, body) = ("/payment/v1/invoices", eth(json!("20000000000000000")));
    let token = Some(shop.merchant.token.as_str());
    assert_eq!(post(&house, token, path, None, &body).await, (400, "idempotency-key-missing".to_owned()));
    let ask = async |body: &str| {
        let address = format!("{}{path}", url(house.visitor.ports().functions));
        let bearer = format!("Bearer {}", shop.merchant.token);
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "same")];
        let body = bytes::Bytes::from(body.to_owned());
        house.visitor.client.call(Method::POST, &address, &headers, Some(body)).await.expect("payment answers")
    };
    let (first, again) = (ask(&body).await, ask(&body).await);
    assert_eq!((first.status, &first.body), (again.status, &again.body), "{}", house.said());
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let other = ask(&eth(json!("30000000000000000"))).await;
    assert_eq!((other.status.as_u16(), other.json()["code"].as_str()), (422, Some("idempotency-key-reused")));
}

// promise: DOMAIN: one user never sees another's data
#[tokio::test(flavor = "multi_thread")]
async fn one_merchant_never_sees_the_invoice_of_another() {
    let house = house().await;
    let (one, other) = (Shop::open(&house).await, Shop::open(&house).await);
    let bill = one.invoice(std::time::Duration::from_secs(900)).await;
    let path = format!("/payment/v1/invoices/{}", bill.id);
    let answer = house.visitor.ask(&other.merchant, Method::GET, &path, None).await.expect("payment answers");
    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (404, Some("not-found")));
}
