//! Story 1, "paid by invoice", as people outside live it.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use till::Error;
use till::address::url;
use till::visitor::{Person, Visitor};

use crate::world::{DOMAIN, MERCHANT_PORT};

const PATIENCE: Duration = Duration::from_secs(60);
/// 25.00 EUR at 2500.00 EUR for one ETH.
const DUE: u128 = 10_000_000_000_000_000;

pub async fn paid_by_invoice(visitor: &Visitor) {
    told(visitor).await.unwrap_or_else(|error| panic!("{error}"));
}

async fn told(visitor: &Visitor) -> Result<(), Error> {
    let merchant = visitor.person("shop", &["user", "merchant"]);
    visitor.register(&merchant).await?;
    visitor.mail_with(&merchant, "welcome", PATIENCE).await?;
    open_endpoint(visitor, &merchant).await?;
    let price = json!({ "price": { "currency": "EUR", "amount": "2500" }, "asset": "ETH" });
    let invoice = visitor.open_invoice(&merchant, price).await?;
    assert_eq!(invoice["due"]["amount"], DUE.to_string(), "{invoice}");
    let (id, address) = (member(&invoice, "id"), member(&invoice, "address"));
    visitor.chain.pay(address, DUE).await?;
    visitor.invoice_is(&merchant, id, "processing", PATIENCE).await?;
    visitor.mine_until(&merchant, id, "paid", PATIENCE).await?;
    visitor.has_balance(&merchant, "ETH", &DUE.to_string(), PATIENCE).await?;
    visitor.webhook_about(&merchant, "payment.invoice.paid", PATIENCE).await?;
    visitor.mail_with(&merchant, "is paid", PATIENCE).await?;
    let operator = visitor.person("olga", &["operator"]);
    let proof = visitor.get(&operator, "/core/v1/verify").await?;
    assert_eq!(proof["holds"], true, "{proof}");
    let schedules = visitor.get(&operator, "/cron/v1/schedules").await?;
    assert!(schedules.is_object(), "{schedules}");
    Ok(())
}

/// The merchant's stand-in, by the name under which containers know it.
async fn open_endpoint(visitor: &Visitor, merchant: &Person) -> Result<(), Error> {
    let hooks = format!("http://merchant.{DOMAIN}:{MERCHANT_PORT}/hooks/{}", merchant.id);
    let endpoint = visitor.post(merchant, "/webhook/v1/endpoints", json!({ "url": hooks })).await?;
    let secret = json!({ "secret": endpoint["secret"] }).to_string();
    let address = format!("{}/secrets/{}", url(visitor.ports().merchant), merchant.id);
    visitor.client.call(Method::PUT, &address, &[], Some(Bytes::from(secret))).await?.ok(&address)?;
    Ok(())
}

fn member<'a>(invoice: &'a Value, name: &str) -> &'a str {
    invoice[name].as_str().unwrap_or_else(|| panic!("no {name} in {invoice}"))
}
