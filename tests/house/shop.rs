//! A merchant with an endpoint in a house, and what they and their payers do: the words that stories are told in.

use std::time::Duration;

use serde_json::{Value, json};
use tests::house::House;
use till::until::until;
use till::visitor::{Person, Visitor};

/// Within it everything happens that a house does by itself.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What invoices are over here: 0.02 ETH.
pub const DUE: u128 = 20_000_000_000_000_000;

/// A registered merchant.
pub struct Shop<'a> {
    pub house: &'a House,
    pub merchant: Person,
}

impl<'a> Shop<'a> {
    /// Registers a merchant under a fresh name and opens their endpoint.
    pub async fn open(house: &'a House) -> Self {
        let merchant = house.visitor.person(&format!("shop-{}", till::random::run_name()), &["user", "merchant"]);
        house.visitor.register(&merchant).await.expect("a merchant registers");
        house.visitor.open_endpoint(&merchant).await.expect("a merchant opens an endpoint");
        Shop { house, merchant }
    }

    pub fn visitor(&self) -> &Visitor {
        &self.house.visitor
    }

    /// Opens an invoice over [`DUE`] that waits for `ttl`.
    pub async fn invoice(&self, ttl: Duration) -> Bill {
        let price = json!({ "currency": "ETH", "amount": DUE.to_string() });
        let body = json!({ "price": price, "asset": "ETH", "ttl_s": ttl.as_secs() });
        let invoice = self.visitor().open_invoice(&self.merchant, body).await.expect("a merchant opens an invoice");
        let text =
            |member: &str| invoice[member].as_str().unwrap_or_else(|| panic!("no {member} in {invoice}")).to_owned();
        Bill { id: text("id"), address: text("address") }
    }

    /// Somebody pays to an invoice's address.
    pub async fn pay(&self, bill: &Bill, wei: u128) {
        self.visitor().chain.pay(&bill.address, wei).await.expect("a payer pays");
    }

    /// Waits for a state of an invoice.
    pub async fn sees(&self, bill: &Bill, state: &str) -> Value {
        self.visitor()
            .invoice_is(&self.merchant, &bill.id, state, PATIENCE)
            .await
            .unwrap_or_else(|error| self.fail(&error))
    }

    /// Mines until an invoice has a state.
    pub async fn mines_until(&self, bill: &Bill, state: &str) {
        let mined = self.visitor().mine_until(&self.merchant, &bill.id, state, PATIENCE).await;
        mined.unwrap_or_else(|error| self.fail(&error));
    }

    /// Mines until the merchant has exactly this much.
    pub async fn mines_until_owning(&self, wei: u128) {
        for _ in 0..64 {
            self.visitor().chain.mine(1).await.expect("a miner mines");
            if self
                .visitor()
                .has_balance(&self.merchant, "ETH", &wei.to_string(), Duration::from_millis(100))
                .await
                .is_ok()
            {
                return;
            }
        }
        self.owns(wei).await;
    }

    /// Waits until the merchant has exactly this much.
    pub async fn owns(&self, wei: u128) {
        let found = self.visitor().has_balance(&self.merchant, "ETH", &wei.to_string(), PATIENCE).await;
        found.unwrap_or_else(|error| self.fail(&error));
    }

    /// The merchant has no balance at all, or an empty one.
    pub async fn owns_nothing(&self) {
        let balances = self.visitor().balances(&self.merchant).await.unwrap_or_else(|error| self.fail(&error));
        let all = balances["balances"].as_array().cloned().unwrap_or_default();
        assert!(all.iter().all(|one| one["available"] == "0" && one["credits_pending"] == "0"), "{balances}");
    }

    /// Waits for a verified webhook.
    pub async fn hears(&self, kind: &str) -> Value {
        self.visitor().webhook_about(&self.merchant, kind, PATIENCE).await.unwrap_or_else(|error| self.fail(&error))
    }

    /// Waits for a mail.
    pub async fn gets_mail_about(&self, word: &str) -> Value {
        self.visitor().mail_with(&self.merchant, word, PATIENCE).await.unwrap_or_else(|error| self.fail(&error))
    }

    /// Waits until an invoice says something remarkable about its sums.
    pub async fn remarks(&self, bill: &Bill, remark: &str) -> Value {
        let found = until(format!("the remark {remark}"), PATIENCE, async || {
            let invoice = self.visitor().invoice(&self.merchant, &bill.id).await?;
            Ok(Some(invoice).filter(|invoice| remarks(invoice).contains(&remark)))
        });
        found.await.unwrap_or_else(|error| self.fail(&error))
    }

    fn fail(&self, error: &dyn std::fmt::Display) -> ! {
        panic!("{error}\n{}", self.house.said())
    }
}

/// What an invoice says about its sums.
pub fn remarks(invoice: &Value) -> Vec<&str> {
    invoice["additional"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// An invoice that is to be paid.
pub struct Bill {
    pub id: String,
    pub address: String,
}
