//! Nobody but payment can say that a deposit is confirmed: the forged fact is tried at every door of the house.

use serde_json::Value;
use tests::house::House;
use tests::outside::{Database, Log};
use till::address::url;

use crate::deposit;
use crate::shop::Shop;

const KIND: &str = "payment.deposit.confirmed";

async fn knock(house: &House, door: &str, token: Option<&str>, event: &Value) -> u16 {
    deposit::tell(house, door, token, event).await.status.as_u16()
}

// promise: DOMAIN: an event from anybody but the bridge is refused
// promise: BRIDGE: a token names the topic that it may write
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_confirmation_is_refused_at_every_door() {
    let house = House::start(Database::Sqlite, Log::Embedded).await.expect("this house needs nothing from outside");
    let shop = Shop::open(&house).await;
    // The fact that would make somebody rich.
    let event = deposit::fact(KIND, "dep_forged", "1000000000000000000000", &shop.merchant.id);
    let bridge = url(house.visitor.ports().bridge);
    let core = format!("{}/core/events", url(house.visitor.ports().functions));
    let token = |place: &str| house.data.token(place).expect("the house has this token");
    let (payment, mailer, person) = (token("push/payment"), token("push/mailer"), shop.merchant.token.clone());
    let doors = [
        ("ingress without a token", format!("{bridge}/topics/payment"), None, 401),
        ("ingress with a made-up token", format!("{bridge}/topics/payment"), Some("made-up"), 401),
        ("ingress with a person's token", format!("{bridge}/topics/payment"), Some(&*person), 401),
        ("ingress with another function's token", format!("{bridge}/topics/payment"), Some(&*mailer), 403),
        ("the function without a token", core.clone(), None, 401),
        ("the function with a person's token", core.clone(), Some(&*person), 401),
        ("the function with a push token", core.clone(), Some(&*payment), 401),
        ("the function with another function's token", core, Some(&*mailer), 401),
    ];
    for (name, door, token, expected) in doors {
        assert_eq!(knock(&house, &door, token, &event).await, expected, "{name}");
    }
    // Another function may write its own topic, and its own facts only.
    for function in ["core", "cron"] {
        let own = token(&format!("push/{function}"));
        assert_eq!(knock(&house, &format!("{bridge}/topics/{function}"), Some(&own), &event).await, 403, "{function}");
    }
    shop.owns_nothing().await;
}
