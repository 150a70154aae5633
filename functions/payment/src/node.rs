//! The chain's node by JSON-RPC: its tip, and blocks with the payments in them, always by hash.

use std::collections::BTreeMap;

use domain::address::Address;
use domain::amount::{Amount, Money};
use domain::asset::Asset;
use domain::deposit::chain::Link;
use guest::{Code, Problem, http};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const NODE_TIMEOUT_MS: u64 = 10_000;
const BLOCK_BYTES_MAX: usize = 16 << 20;
/// keccak256("Transfer(address,address,uint256)"), the first topic of an ERC-20 transfer's log.
const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

/// A chain's node.
pub struct Node {
    url: String,
    chain: u64,
}

/// Where a chain stands.
#[derive(Debug)]
pub struct Tip {
    /// Hash of block 0: another one is another chain.
    pub genesis: String,
    /// The newest block.
    pub hash: String,
    /// Its number.
    pub height: u64,
    /// Number of the newest block that is never dropped.
    pub finalized: u64,
}

/// A block and the payments in it, to whomever.
#[derive(Debug)]
pub struct Block {
    /// Its place on the chain.
    pub link: Link,
    /// Milliseconds since 1970, as its miner says.
    pub at_ms: i64,
    /// In the order of the block.
    pub payments: Vec<Payment>,
}

/// Money that arrived at an address.
#[derive(Debug)]
pub struct Payment {
    /// Hash of the chain's transaction.
    pub txid: String,
    /// Which of the transaction's payments of that asset to that address it is, from 0.
    pub ordinal: u32,
    /// Who receives.
    pub to: Address,
    /// How much of what.
    pub money: Money,
}

#[derive(Deserialize)]
struct Header {
    hash: String,
    number: String,
    timestamp: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FullBlock {
    hash: String,
    parent_hash: String,
    number: String,
    timestamp: String,
    transactions: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    hash: String,
    to: Option<String>,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    address: String,
    topics: Vec<String>,
    data: String,
    transaction_hash: String,
}

#[derive(Deserialize)]
struct Reply {
    id: usize,
    #[serde(default)]
    result: Value,
    error: Option<Value>,
}

impl Node {
    /// The node behind a URL, for a chain that it must be of.
    pub fn new(url: String, chain: u64) -> Self {
        Node { url, chain }
    }

    /// Where the chain stands. A node of another chain is a failure.
    pub async fn tip(&self) -> Result<Tip, Problem> {
        let calls = [
            ("eth_chainId", json!([])),
            ("eth_getBlockByNumber", json!(["latest", false])),
            ("eth_getBlockByNumber", json!(["finalized", false])),
            ("eth_getBlockByNumber", json!(["0x0", false])),
        ];
        let [chain, latest, finalized, genesis] = self.call(calls).await?;
        let chain = number(&read::<String>(chain)?)?;
        if chain != self.chain {
            return Err(away(format!("the node is of chain {chain}, not {}", self.chain)));
        }
        let (latest, genesis) = (read::<Header>(latest)?, read::<Header>(genesis)?);
        let finalized = read::<Option<Header>>(finalized)?.map_or(Ok(0), |header| number(&header.number))?;
        Ok(Tip { genesis: genesis.hash, height: number(&latest.number)?, hash: latest.hash, finalized })
    }

    async fn header_at(&self, height: u64) -> Result<Header, Problem> {
        let [block] = self.call([("eth_getBlockByNumber", json!([format!("{height:#x}"), false]))]).await?;
        read(block)
    }

    /// The chain's own coin. A plain transfer to an address without code cannot fail once it is in a block.
    fn coins(&self, transactions: &[Transaction]) -> Result<Vec<Payment>, Problem> {
        let native = |asset: &Asset| asset.on(self.chain).is_some_and(|placement| placement.contract.is_none());
        let Some(asset) = Asset::all().find(native) else { return Ok(Vec::new()) };
        let mut payments = Vec::new();
        for transaction in transactions {
            let Some(to) = &transaction.to else { continue };
            let Some(amount) = amount(&transaction.value).filter(|amount| !amount.is_zero()) else { continue };
            let to = Address::parse(&to.to_lowercase()).map_err(|error| away(error.to_string()))?;
            payments.push(Payment { txid: transaction.hash.clone(), ordinal: 0, to, money: Money::new(asset, amount) });
        }
        Ok(payments)
    }

    fn tokens(&self, logs: &[Log]) -> Result<Vec<Payment>, Problem> {
        let mut counted: BTreeMap<(String, Address, &str), u32> = BTreeMap::new();
        let mut payments = Vec::new();
        for log in logs {
            let [_, _, to] = log.topics.as_slice() else { continue };
            let Some(asset) = Asset::of_contract(self.chain, &log.address.to_lowercase()) else { continue };
            let (Some(to), Some(amount)) = (Address::of_word(to), amount(&log.data)) else { continue };
            let count = counted.entry((log.transaction_hash.clone(), to, asset.code())).or_default();
            let ordinal = *count;
            *count += 1;
            if !amount.is_zero() {
                let money = Money::new(asset, amount);
                payments.push(Payment { txid: log.transaction_hash.clone(), ordinal, to, money });
            }
        }
        Ok(payments)
    }

    /// Several calls in one request; the results in the order of the calls.
    async fn call<const N: usize>(&self, calls: [(&str, Value); N]) -> Result<[Value; N], Problem> {
        let request = |(id, (method, params)): (usize, &(&str, Value))| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let batch: Vec<Value> = calls.iter().enumerate().map(request).collect();
        let post = http::post(&self.url).json(&batch).timeout_ms(NODE_TIMEOUT_MS).response_bytes_max(BLOCK_BYTES_MAX);
        let response = post.send().await.map_err(unreached)?;
        if !response.is_success() {
            return Err(away(format!("the node answered {}", response.status)));
        }
        let replies = response.json::<Vec<Reply>>().map_err(|failure| away(failure.to_string()))?;
        let mut results = [const { None }; N];
        for reply in replies {
            if let Some(error) = reply.error {
                return Err(away(format!("the node answered {error}")));
            }
            if let Some(slot) = results.get_mut(reply.id) {
                *slot = Some(reply.result);
            }
        }
        if results.iter().any(Option::is_none) {
            return Err(away("the node did not answer everything".to_owned()));
        }
        Ok(results.map(Option::unwrap_or_default))
    }
}

/// What reading a chain block by block asks for.
pub trait Blocks {
    /// A block with its payments.
    async fn block(&self, hash: &str) -> Result<Block, Problem>;
    /// The hash of the block that now has a number.
    async fn hash_at(&self, height: u64) -> Result<String, Problem>;
    /// When the block that now has a number was made, in milliseconds since 1970.
    async fn time_at(&self, height: u64) -> Result<i64, Problem>;
}

impl Blocks for Node {
    async fn block(&self, hash: &str) -> Result<Block, Problem> {
        let contracts: Vec<&str> = Asset::all().filter_map(|asset| asset.on(self.chain)?.contract).collect();
        let logs = json!([{ "blockHash": hash, "address": contracts, "topics": [TRANSFER] }]);
        let calls = [("eth_getBlockByHash", json!([hash, true])), ("eth_getLogs", logs)];
        let [block, logs] = self.call(calls).await?;
        let (block, logs) = (read::<FullBlock>(block)?, read::<Vec<Log>>(logs)?);
        let mut payments = self.coins(&block.transactions)?;
        payments.extend(self.tokens(&logs)?);
        let link = Link { hash: block.hash, parent: block.parent_hash, height: number(&block.number)? };
        Ok(Block { link, at_ms: milliseconds(&block.timestamp)?, payments })
    }

    async fn hash_at(&self, height: u64) -> Result<String, Problem> {
        Ok(self.header_at(height).await?.hash)
    }

    async fn time_at(&self, height: u64) -> Result<i64, Problem> {
        milliseconds(&self.header_at(height).await?.timestamp)
    }
}

fn read<T: DeserializeOwned>(result: Value) -> Result<T, Problem> {
    serde_json::from_value(result).map_err(|error| away(format!("the node's answer is not understood: {error}")))
}

/// A quantity such as `0x1b4`.
fn number(quantity: &str) -> Result<u64, Problem> {
    let digits = quantity.strip_prefix("0x").unwrap_or_default();
    u64::from_str_radix(digits, 16).map_err(|_| away(format!("`{quantity}` is not a quantity")))
}

/// A block's time.
fn milliseconds(seconds: &str) -> Result<i64, Problem> {
    Ok(i64::try_from(number(seconds)?.saturating_mul(1000)).unwrap_or(i64::MAX))
}

/// A 256-bit word or quantity as an amount; nothing where it needs more than 128 bits.
fn amount(word: &str) -> Option<Amount> {
    let digits = word.strip_prefix("0x")?.trim_start_matches('0');
    if digits.is_empty() { Some(Amount::ZERO) } else { u128::from_str_radix(digits, 16).ok().map(Amount::new) }
}

/// The node's URL may hold a key: what is told does not repeat it.
fn unreached(failure: http::Failure) -> Problem {
    match failure {
        http::Failure::NotARequest(_) => Problem::internal("the variable chain_url is not a URL"),
        failure => away(failure.to_string()),
    }
}

/// The node gives no answer to go by.
pub fn away(detail: String) -> Problem {
    Problem::new(Code::ChainUnavailable, detail).retry_after_s(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "0x9858effd232b4033e47d90003d41ec34ecaeda94";
    const USDC: &str = "0x5FbDB2315678afecb367f032d93F642f64180aa3";

    fn node() -> Node {
        Node::new("http://127.0.0.1:1".into(), 31337)
    }

    fn log(contract: &str, to: &str, data: &str) -> Log {
        let word = format!("0x{}{}", "0".repeat(24), &to[2..]);
        let topics = vec![TRANSFER.to_owned(), word.clone(), word];
        Log { address: contract.into(), topics, data: data.into(), transaction_hash: "0x1".into() }
    }

    fn coin(to: Option<&str>, value: &str) -> Transaction {
        Transaction { hash: "0x1".into(), to: to.map(str::to_owned), value: value.into() }
    }

    #[test]
    fn quantities_are_hexadecimal() {
        assert_eq!(number("0x7a69"), Ok(31337));
        assert!(number("31337").is_err() && number("0x").is_err() && number("0xzz").is_err());
        assert_eq!(amount("0x0"), Some(Amount::ZERO));
        assert_eq!(amount(&format!("0x{}ff", "0".repeat(62))), Some(Amount::new(255)));
        assert_eq!(amount(&format!("0x1{}", "0".repeat(32))), None, "it needs 129 bits");
    }

    #[test]
    fn coins_that_go_nowhere_or_are_nothing_are_no_payment() {
        let transactions = [coin(Some(OURS), "0x5"), coin(None, "0x5"), coin(Some(OURS), "0x0")];
        let payments = node().coins(&transactions).expect("plain transactions");
        assert_eq!(payments.len(), 1);
        assert_eq!(
            (payments[0].to.to_lower().as_str(), payments[0].money.to_string().as_str()),
            (OURS, "0.000000000000000005 ETH")
        );
    }

    // promise: DOMAIN: a deposit's id comes from chain, txid and the ordinal of the matching output in the transaction
    #[test]
    fn tokens_are_counted_within_their_transaction() {
        let logs = [log(USDC, OURS, "0x5"), log(USDC, OURS, "0x0"), log(USDC, OURS, "0x6")];
        let payments = node().tokens(&logs).expect("plain logs");
        let found: Vec<(u32, u128)> = payments.iter().map(|one| (one.ordinal, one.money.amount.units())).collect();
        assert_eq!(found, [(0, 5), (2, 6)]);
    }

    #[test]
    fn logs_of_other_contracts_and_other_shapes_are_no_payment() {
        let mut short = log(USDC, OURS, "0x5");
        short.topics.pop();
        let logs = [log(OURS, OURS, "0x5"), short, log(USDC, OURS, "0x")];
        assert!(node().tokens(&logs).expect("odd logs").is_empty());
    }
}
