//! The rate of an asset in a currency: two feeds are asked, on demand, and must agree.

use domain::asset::Asset;
use domain::rate::price::{Quoted, RateError, Ratio, agreed};
use guest::{Code, Problem, http, now_ms, variable};
use serde::Deserialize;

const FEED_TIMEOUT_MS: u64 = 3_000;
const FEED_BYTES_MAX: usize = 16_384;

/// `{"data":{"amount":"3000.12","base":"ETH","currency":"EUR"}}`
#[derive(Deserialize)]
struct Spot {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    amount: String,
    base: String,
    currency: String,
}

/// What one whole unit of `base` costs in `currency`, as both feeds say.
pub async fn rate(base: Asset, currency: Asset) -> Result<Ratio, Problem> {
    let a = quoted("rate_feed_a", base, currency).await?;
    let b = quoted("rate_feed_b", base, currency).await?;
    agreed(a, b, now_ms()).map_err(unavailable)
}

async fn quoted(feed: &str, base: Asset, currency: Asset) -> Result<Quoted, Problem> {
    let origin = variable(feed).await?;
    let url = format!("{}/v2/prices/{base}-{currency}/spot", origin.trim_end_matches('/'));
    let away = |failure: http::Failure| failure.as_problem(Code::RateUnavailable);
    let request = http::get(url).timeout_ms(FEED_TIMEOUT_MS).response_bytes_max(FEED_BYTES_MAX);
    let response = request.send().await.map_err(away)?;
    if !response.is_success() {
        return Err(Problem::new(Code::RateUnavailable, format!("{feed} answered {}", response.status)));
    }
    let spot = response.json::<Spot>().map_err(away)?;
    if spot.data.base != base.code() || spot.data.currency != currency.code() {
        return Err(Problem::new(Code::RateUnavailable, format!("{feed} answered for another pair")));
    }
    Ok(Quoted { ratio: Ratio::parse(&spot.data.amount).map_err(unavailable)?, at_ms: now_ms() })
}

fn unavailable(error: RateError) -> Problem {
    Problem::new(Code::RateUnavailable, error.to_string())
}
