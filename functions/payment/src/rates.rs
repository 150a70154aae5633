//! The rate of an asset in a currency: two feeds are asked, on demand, and must agree.

use std::collections::BTreeMap;

use domain::asset::Asset;
use domain::rate::price::{Quoted, RateError, Ratio, agreed};
use guest::{Code, Problem, http, now_ms, variable};
use serde::Deserialize;

const FEED_TIMEOUT_MS: u64 = 3_000;
const FEED_BYTES_MAX: usize = 16_384;

/// What a feed says, in Coinbase's words or in Kraken's.
#[derive(Deserialize)]
struct Spot {
    /// `{"data":{"amount":"3000.12","base":"ETH","currency":"EUR"}}`
    data: Option<Data>,
    /// `{"error":[],"result":{"XETHZEUR":{"c":["3000.12000","0.05"]}}}`
    result: Option<BTreeMap<String, Ticker>>,
}

#[derive(Deserialize)]
struct Data {
    amount: String,
    base: String,
    currency: String,
}

#[derive(Deserialize)]
struct Ticker {
    /// The last trade's price and volume.
    c: (String, String),
}

impl Spot {
    /// The amount, when the feed answered for this pair.
    fn amount(self, base: Asset, currency: Asset) -> Option<String> {
        match self {
            Spot { data: Some(data), .. } => {
                (data.base == base.code() && data.currency == currency.code()).then_some(data.amount)
            }
            Spot { result: Some(mut tickers), .. } => {
                let (pair, ticker) = tickers.pop_first().filter(|_| tickers.is_empty())?;
                is_pair(&pair, base.code(), currency.code()).then_some(ticker.c.0)
            }
            _ => None,
        }
    }
}

/// Kraken puts an X before an old coin and a Z before an old currency: `XETHZEUR`, but `USDCEUR`.
fn is_pair(pair: &str, base: &str, currency: &str) -> bool {
    pair == format!("{base}{currency}") || pair == format!("X{base}Z{currency}")
}

/// Where a feed is asked: at its own address where that has places for the pair, else as Coinbase is.
fn address(feed: &str, base: Asset, currency: Asset) -> String {
    if feed.contains("{base}") {
        feed.replace("{base}", base.code()).replace("{currency}", currency.code())
    } else {
        format!("{}/v2/prices/{base}-{currency}/spot", feed.trim_end_matches('/'))
    }
}

/// What one whole unit of `base` costs in `currency`, as both feeds say.
pub async fn rate(base: Asset, currency: Asset) -> Result<Ratio, Problem> {
    let a = quoted("rate_feed_a", base, currency).await?;
    let b = quoted("rate_feed_b", base, currency).await?;
    agreed(a, b, now_ms()).map_err(unavailable)
}

async fn quoted(feed: &str, base: Asset, currency: Asset) -> Result<Quoted, Problem> {
    let url = address(&variable(feed).await?, base, currency);
    let away = |failure: http::Failure| failure.as_problem(Code::RateUnavailable);
    let request = http::get(url).timeout_ms(FEED_TIMEOUT_MS).response_bytes_max(FEED_BYTES_MAX);
    let response = request.send().await.map_err(away)?;
    if !response.is_success() {
        return Err(Problem::new(Code::RateUnavailable, format!("{feed} answered {}", response.status)));
    }
    let amount = response.json::<Spot>().map_err(away)?.amount(base, currency);
    let amount = amount
        .ok_or_else(|| Problem::new(Code::RateUnavailable, format!("{feed} has no price for {base}-{currency}")))?;
    Ok(Quoted { ratio: Ratio::parse(&amount).map_err(unavailable)?, at_ms: now_ms() })
}

fn unavailable(error: RateError) -> Problem {
    Problem::new(Code::RateUnavailable, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(code: &str) -> Asset {
        Asset::parse(code).unwrap()
    }

    fn check(answer: &str, base: &str, expected: Option<&str>) {
        let amount = serde_json::from_str::<Spot>(answer).unwrap().amount(asset(base), asset("EUR"));
        assert_eq!(amount.as_deref(), expected, "{answer}");
    }

    #[test]
    fn both_feeds_are_understood_and_only_for_the_pair_that_was_asked() {
        let coinbase = r#"{"data":{"amount":"3000.12","base":"ETH","currency":"EUR"}}"#;
        check(coinbase, "ETH", Some("3000.12"));
        check(coinbase, "USDC", None);
        let kraken = r#"{"error":[],"result":{"XETHZEUR":{"a":["1","1","1.0"],"c":["3000.12000","0.05"]}}}"#;
        check(kraken, "ETH", Some("3000.12000"));
        check(kraken, "USDC", None);
        check(r#"{"error":[],"result":{"USDCEUR":{"c":["0.92","1"]}}}"#, "USDC", Some("0.92"));
    }

    #[test]
    fn an_answer_without_one_price_is_none() {
        check(r#"{"error":["EQuery:Unknown asset pair"]}"#, "ETH", None);
        check(r#"{"error":[],"result":{}}"#, "ETH", None);
        check(r#"{"result":{"XETHZEUR":{"c":["1","1"]},"XETHZUSD":{"c":["1","1"]}}}"#, "ETH", None);
    }

    #[test]
    fn a_feed_says_itself_where_the_pair_stands_or_is_asked_as_coinbase_is() {
        let (eth, eur) = (asset("ETH"), asset("EUR"));
        let own = address("https://api.kraken.com/0/public/Ticker?pair={base}{currency}", eth, eur);
        assert_eq!(own, "https://api.kraken.com/0/public/Ticker?pair=ETHEUR");
        assert_eq!(address("http://127.0.0.1:3004/a/", eth, eur), "http://127.0.0.1:3004/a/v2/prices/ETH-EUR/spot");
    }
}
