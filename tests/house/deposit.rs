//! What payment says of a deposit, as anybody could write it down, and the telling of it at a door of the house.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tests::house::House;
use till::client::Answer;

/// A structured event about a deposit of so many wei for a user.
pub fn fact(kind: &str, deposit: &str, amount: &str, user: &str) -> Value {
    json!({
        "specversion": "1.0", "id": till::random::token(), "source": "/till/payment", "type": kind,
        "subject": deposit, "datacontenttype": "application/json", "sequence": "1", "data": {
            "deposit": deposit, "money": { "asset": "ETH", "amount": amount }, "chain": 31337,
            "address": "0x9858EfFD232B4033E47d90003D41EC34EcaEda94", "txid": format!("0x{}", "1".repeat(64)),
            "block": format!("0x{}", "2".repeat(64)), "height": 1, "user": user,
        },
    })
}

/// As the bridge would, asking for a reply; with whose token is the caller's to say.
pub async fn tell(house: &House, door: &str, token: Option<&str>, event: &Value) -> Answer {
    let bearer = format!("Bearer {}", token.unwrap_or_default());
    let mut headers = vec![("content-type", "application/cloudevents+json"), ("prefer", "reply")];
    if token.is_some() {
        headers.push(("authorization", &bearer));
    }
    let body = Some(Bytes::from(event.to_string()));
    house.visitor.client.call(Method::POST, door, &headers, body).await.expect("a door answers")
}
