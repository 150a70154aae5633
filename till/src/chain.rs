//! What a payer, a miner and a malicious miner do on the development chain, over its JSON-RPC.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::Error;
use crate::client::Client;

/// A node to talk to.
#[derive(Debug, Clone)]
pub struct Node {
    client: Client,
    url: String,
}

impl Node {
    /// Nothing is asked yet.
    pub fn new(client: Client, url: String) -> Self {
        Node { client, url }
    }

    /// The number of the newest block.
    pub async fn height(&self) -> Result<u64, Error> {
        let answer = self.call("eth_blockNumber", json!([])).await?;
        let digits = answer.as_str().and_then(|text| text.strip_prefix("0x")).unwrap_or_default();
        u64::from_str_radix(digits, 16).map_err(|_| self.fail(format!("{answer} is no block number")))
    }

    /// Mines empty blocks, so that payments get confirmations.
    pub async fn mine(&self, blocks: u64) -> Result<(), Error> {
        self.call("anvil_mine", json!([format!("{blocks:#x}")])).await.map(drop)
    }

    /// Sends wei from the first of anvil's rich accounts; it is in a block when this returns. Answers the transaction's hash.
    pub async fn pay(&self, to: &str, wei: u128) -> Result<String, Error> {
        let payer = self.call("eth_accounts", json!([])).await?[0].clone();
        let sent = self
            .call("eth_sendTransaction", json!([{ "from": payer, "to": to, "value": format!("{wei:#x}") }]))
            .await?;
        sent.as_str().map(str::to_owned).ok_or_else(|| self.fail(format!("{sent} is no transaction hash")))
    }

    /// Replaces the newest `depth` blocks by empty ones: what was paid in them is gone.
    pub async fn reorganise(&self, depth: u64) -> Result<(), Error> {
        self.call("anvil_reorg", json!([depth, []])).await.map(drop)
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value, Error> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.client.call(Method::POST, &self.url, &[], Some(Bytes::from(body.to_string()))).await?;
        let answer = answer.ok(&self.url)?.json();
        match answer.get("error") {
            Some(error) => Err(self.fail(format!("{method}: {}", error["message"]))),
            None => Ok(answer["result"].clone()),
        }
    }

    fn fail(&self, reason: String) -> Error {
        Error::Http { url: self.url.clone(), reason }
    }
}
