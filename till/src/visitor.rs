//! What people outside do with a house: register, ask to be paid, pay, look at their money, open their mail. The demo and
//! the tests speak with the house in no other way.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::address::{Ports, url};
use crate::chain::Node;
use crate::client::{Answer, Client};
use crate::key::{Claims, Key};
use crate::metrics::Samples;
use crate::until::until;
use crate::{Error, random};

/// How long a person's token is valid.
const TOKEN_VALID: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a command is repeated while its function is away.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);
/// Mails that are looked through for one recipient.
const MAILS_MAX: u32 = 10_000;
/// No confirmation rule of a development chain asks for more.
const BLOCKS_MAX: u32 = 64;
/// How long a miner waits before the next block.
const BLOCK_TIME: Duration = Duration::from_millis(100);

/// Someone who visits a house from outside.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// For calls that are none of the common ones.
    pub client: Client,
    /// The chain that payers pay on.
    pub chain: Node,
    ports: Ports,
    key: Key,
}

/// Someone with a token.
#[derive(Debug, Clone)]
pub struct Person {
    /// The token's `sub`, which is the user's id.
    pub id: String,
    /// Where mail reaches them.
    pub email: String,
    /// The JWT.
    pub token: String,
}

impl Visitor {
    /// A visitor of the house with these ports, who can sign tokens.
    pub fn new(ports: &Ports, key: &Key) -> Self {
        let client = Client::default();
        let chain = Node::new(client.clone(), url(ports.chain));
        Visitor { client, chain, ports: ports.clone(), key: key.clone() }
    }

    /// Where the house listens.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// A person with roles; the house does not know them yet.
    pub fn person(&self, name: &str, roles: &[&str]) -> Person {
        let roles: Vec<String> = roles.iter().map(|role| role.to_string()).collect();
        let token = self.key.sign(&Claims { subject: name, roles: &roles, valid: TOKEN_VALID });
        Person { id: name.to_owned(), email: format!("{name}@example.org"), token }
    }

    /// Waits until bridge and host say that they are ready.
    pub async fn ready(&self, patience: Duration) -> Result<(), Error> {
        let bridge = format!("{}/health/ready", url(self.ports.bridge));
        until("a ready bridge", patience, async || {
            self.client.get(&bridge).await?.ok(&bridge)?;
            self.host_metrics().await.map(Some)
        })
        .await
        .map(drop)
    }

    /// Makes a person a user, and answers what core said.
    pub async fn register(&self, person: &Person) -> Result<Value, Error> {
        self.post(person, "/core/v1/users", json!({ "email": person.email, "locale": "en" })).await
    }

    /// Opens an invoice: `currency` and `amount` are the price (cents or wei), it is paid in ETH.
    pub async fn open_invoice(&self, merchant: &Person, body: Value) -> Result<Value, Error> {
        self.post(merchant, "/payment/v1/invoices", body).await
    }

    /// The invoice as its merchant sees it.
    pub async fn invoice(&self, merchant: &Person, id: &str) -> Result<Value, Error> {
        self.get(merchant, &format!("/payment/v1/invoices/{id}")).await
    }

    /// Mines blocks one by one until an invoice has a state, and answers how many it took.
    pub async fn mine_until(&self, merchant: &Person, id: &str, state: &str, patience: Duration) -> Result<u32, Error> {
        for blocks in 1..=BLOCKS_MAX {
            self.chain.mine(1).await?;
            if self.invoice_is(merchant, id, state, BLOCK_TIME).await.is_ok() {
                return Ok(blocks);
            }
        }
        self.invoice_is(merchant, id, state, patience).await.map(|_| BLOCKS_MAX)
    }

    /// Waits until an invoice has a state.
    pub async fn invoice_is(
        &self,
        merchant: &Person,
        id: &str,
        state: &str,
        patience: Duration,
    ) -> Result<Value, Error> {
        until(format!("invoice {state}"), patience, async || {
            Ok(Some(self.invoice(merchant, id).await?).filter(|invoice| invoice["status"] == state))
        })
        .await
    }

    /// Opens an endpoint for webhooks at the merchant's stand-in, and tells it the secret.
    pub async fn open_endpoint(&self, merchant: &Person) -> Result<Value, Error> {
        let shop = url(self.ports.merchant);
        let endpoint = self
            .post(merchant, "/webhook/v1/endpoints", json!({ "url": format!("{shop}/hooks/{}", merchant.id) }))
            .await?;
        let secret = json!({ "secret": endpoint["secret"] }).to_string();
        let address = format!("{shop}/secrets/{}", merchant.id);
        self.client.call(Method::PUT, &address, &[], Some(Bytes::from(secret))).await?.ok(&address)?;
        Ok(endpoint)
    }

    /// What a person owns, as core tells it.
    pub async fn balances(&self, person: &Person) -> Result<Value, Error> {
        self.get(person, "/core/v1/me/balances").await
    }

    /// Waits until a person has exactly this much of an asset, posted.
    pub async fn has_balance(
        &self,
        person: &Person,
        asset: &str,
        amount: &str,
        patience: Duration,
    ) -> Result<(), Error> {
        until(format!("a balance of {amount} {asset}"), patience, async || {
            let balances = self.balances(person).await?;
            let found = balances["balances"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|one| one["asset"] == asset && one["available"] == amount);
            Ok(found.then_some(()))
        })
        .await
    }

    /// The mails that reached a person, the oldest first, as the mailbox lists them.
    pub async fn mails(&self, person: &Person) -> Result<Vec<Value>, Error> {
        let address = format!("{}/api/v1/messages?limit={MAILS_MAX}", url(self.ports.mailbox));
        let list = self.client.get(&address).await?.ok(&address)?.json();
        let theirs = |mail: &&Value| mail["To"][0]["Address"] == person.email.as_str();
        Ok(list["messages"].as_array().into_iter().flatten().rev().filter(theirs).cloned().collect())
    }

    /// Waits for a mail whose subject has a word.
    pub async fn mail_with(&self, person: &Person, word: &str, patience: Duration) -> Result<Value, Error> {
        let has = |mail: &Value| {
            mail["Subject"].as_str().is_some_and(|subject| subject.to_lowercase().contains(&word.to_lowercase()))
        };
        until(format!("a mail about `{word}`"), patience, async || Ok(self.mails(person).await?.into_iter().find(has)))
            .await
    }

    /// The webhooks that reached a merchant, in order.
    pub async fn webhooks(&self, merchant: &Person) -> Result<Vec<Value>, Error> {
        let address = format!("{}/received?endpoint={}", url(self.ports.merchant), merchant.id);
        let heard = self.client.get(&address).await?.ok(&address)?.json();
        Ok(heard["received"].as_array().cloned().unwrap_or_default())
    }

    /// Waits for a verified webhook about an event type.
    pub async fn webhook_about(&self, merchant: &Person, kind: &str, patience: Duration) -> Result<Value, Error> {
        let about = |hook: &Value| hook["body"]["type"] == kind && hook["verified"] == true;
        until(format!("a verified webhook about `{kind}`"), patience, async || {
            Ok(self.webhooks(merchant).await?.into_iter().find(about))
        })
        .await
    }

    /// A scrape of the bridge's metrics.
    pub async fn bridge_metrics(&self) -> Result<Samples, Error> {
        self.scrape(self.ports.bridge).await
    }

    /// A scrape of the host's metrics.
    pub async fn host_metrics(&self) -> Result<Samples, Error> {
        self.scrape(self.ports.metrics).await
    }

    async fn scrape(&self, port: u16) -> Result<Samples, Error> {
        let address = format!("{}/metrics", url(port));
        Ok(Samples::parse(&self.client.get(&address).await?.ok(&address)?.text()))
    }

    /// GET of a function's path as a person; anything but 2xx is an error.
    pub async fn get(&self, person: &Person, path: &str) -> Result<Value, Error> {
        Ok(self.ask(person, Method::GET, path, None).await?.ok(path)?.json())
    }

    /// POST of a command with a fresh idempotency key; anything but 2xx is an error. While the function is away it is asked
    /// again with the same key, as a good client does.
    pub async fn post(&self, person: &Person, path: &str, body: Value) -> Result<Value, Error> {
        let key = random::token();
        let what = format!("an answer to POST {path}");
        let answer = until(what, COMMAND_PATIENCE, async || {
            let answer = self.ask_with_key(person, Method::POST, path, Some(body.clone()), &key).await?;
            Ok((!answer.status.is_server_error() && answer.status != StatusCode::CONFLICT).then_some(answer))
        });
        Ok(answer.await?.ok(path)?.json())
    }

    /// Any request of a function as a person, with whatever it answers.
    pub async fn ask(&self, person: &Person, method: Method, path: &str, body: Option<Value>) -> Result<Answer, Error> {
        self.ask_with_key(person, method, path, body, &random::token()).await
    }

    async fn ask_with_key(
        &self,
        person: &Person,
        method: Method,
        path: &str,
        body: Option<Value>,
        key: &str,
    ) -> Result<Answer, Error> {
        let address = format!("{}{path}", url(self.ports.functions));
        let bearer = format!("Bearer {}", person.token);
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        self.client.call(method, &address, &headers, body.map(|body| Bytes::from(body.to_string()))).await
    }
}
