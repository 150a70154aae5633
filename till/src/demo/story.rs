//! Story 1 of the domain, "paid by invoice", played from outside and told as it happens. Names are fresh in every run, so
//! that it can be told again in a house that has heard it before, or was killed in the middle of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::narrator::Narrator;
use crate::visitor::{Person, Visitor};
use crate::{Error, random};

/// Within it everything happens that the house does by itself. A killed house needs some of it to catch up first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plays it from the registration to the last mail.
pub async fn paid_by_invoice(house: &Visitor, say: &Narrator) -> Result<(), Error> {
    let run = random::run_name();
    say.plain(&format!("Paid by invoice (run {run})\n"));
    let alice = house.person(&format!("alice-{run}"), &["user"]);
    let shop = house.person(&format!("shop-{run}"), &["user", "merchant"]);
    register(house, say, &alice).await?;
    register(house, say, &shop).await?;
    open_endpoint(house, say, &shop).await?;
    let invoice = open_invoice(house, say, &shop, &run).await?;
    pay(house, say, &shop, &invoice).await?;
    confirm(house, say, &shop, text(&invoice, "id")?).await?;
    let due = text(&invoice["due"], "amount")?;
    credited(house, say, &shop, due).await?;
    told(house, say, &shop).await
}

async fn register(house: &Visitor, say: &Narrator, person: &Person) -> Result<(), Error> {
    say.act(&format!("{} registers", person.id));
    house.register(person).await?;
    let mail = house.mail_with(person, "welcome", PATIENCE).await?;
    say.hear(&format!("mail to {}: \"{}\"", person.email, text(&mail, "Subject")?));
    Ok(())
}

async fn open_endpoint(house: &Visitor, say: &Narrator, shop: &Person) -> Result<(), Error> {
    let endpoint = house.open_endpoint(shop).await?;
    say.act(&format!("{} opens endpoint {} for webhooks and keeps its secret", shop.id, text(&endpoint, "id")?));
    Ok(())
}

async fn open_invoice(house: &Visitor, say: &Narrator, shop: &Person, run: &str) -> Result<Value, Error> {
    let body =
        json!({ "price": { "currency": "EUR", "amount": "2500" }, "asset": "ETH", "order_id": format!("order-{run}") });
    let invoice = house.open_invoice(shop, body).await?;
    say.act(&format!("{} opens invoice {} over 25.00 EUR", shop.id, text(&invoice, "id")?));
    say.hear(&format!("due: {} ETH at {}", ether(text(&invoice["due"], "amount")?), text(&invoice, "address")?));
    Ok(invoice)
}

async fn pay(house: &Visitor, say: &Narrator, shop: &Person, invoice: &Value) -> Result<(), Error> {
    let due = text(&invoice["due"], "amount")?;
    let wei = due.parse().map_err(|_| Error::Story(format!("`{due}` is no amount of wei")))?;
    let transaction = house.chain.pay(text(invoice, "address")?, wei).await?;
    say.act(&format!("a payer sends {} ETH, transaction {}…", ether(due), &transaction[..18.min(transaction.len())]));
    house.invoice_is(shop, text(invoice, "id")?, "processing", PATIENCE).await?;
    say.hear("the invoice is processing: the payment was seen on the chain");
    Ok(())
}

/// The miner adds blocks one by one until the payment has its confirmations.
async fn confirm(house: &Visitor, say: &Narrator, shop: &Person, invoice: &str) -> Result<(), Error> {
    say.act("a miner adds blocks");
    let blocks = house.mine_until(shop, invoice, "paid", PATIENCE).await?;
    say.hear(&format!("the invoice is paid, after {blocks} more blocks"));
    Ok(())
}

async fn credited(house: &Visitor, say: &Narrator, shop: &Person, due: &str) -> Result<(), Error> {
    house.has_balance(shop, "ETH", due, PATIENCE).await?;
    say.hear(&format!("the ledger has {} ETH for {}", ether(due), shop.id));
    Ok(())
}

async fn told(house: &Visitor, say: &Narrator, shop: &Person) -> Result<(), Error> {
    let hook = house.webhook_about(shop, "payment.invoice.paid", PATIENCE).await?;
    say.hear(&format!("webhook {} at the merchant's endpoint: its signature verifies", text(&hook, "id")?));
    let mail = house.mail_with(shop, "paid", PATIENCE).await?;
    say.hear(&format!("mail to {}: \"{}\"", shop.email, text(&mail, "Subject")?));
    Ok(())
}

fn text<'a>(value: &'a Value, member: &str) -> Result<&'a str, Error> {
    value[member].as_str().ok_or_else(|| Error::Story(format!("the house's answer has no `{member}`: {value}")))
}

/// Wei as ether, exactly: `1500000000000000000` is 1.5.
fn ether(wei: &str) -> String {
    let padded = format!("{wei:0>19}");
    let (whole, part) = padded.split_at(padded.len() - 18);
    match part.trim_end_matches('0') {
        "" => whole.to_owned(),
        part => format!("{whole}.{part}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wei_are_told_as_ether_exactly() {
        let check = |wei, expected| assert_eq!(ether(wei), expected);
        check("1500000000000000000", "1.5");
        check("1", "0.000000000000000001");
        check("10000000000000000", "0.01");
        check("2000000000000000000", "2");
        check("0", "0");
    }
}
