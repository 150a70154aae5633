//! Two rate feeds, `/a` and `/b`, each answering `GET /{feed}/v2/prices/ETH-EUR/spot` as Coinbase does. A `PUT` of
//! `{"amount": "2500.00"}` to the same path sets a price, of `{"status": 503}` makes the feed fail until a price is set again.
//! `GET /b/0/public/Ticker?pair=ETHEUR` answers as Kraken does, always with the usual price.

use std::collections::HashMap;
use std::sync::Mutex;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::serve::{self, Ask, Door, Say};

/// What one ETH costs in EUR until somebody says otherwise.
const PRICE: &str = "2500.00";

/// Both feeds; what was set is forgotten with the process.
#[derive(Debug, Default)]
pub struct Feeds(Mutex<HashMap<String, Quote>>);

#[derive(Debug, Clone)]
enum Quote {
    Price(String),
    Failing(StatusCode),
}

impl Door for Feeds {
    fn answer(&self, ask: Ask) -> Say {
        if ask.path == "/b/0/public/Ticker" {
            return ticker(ask.query("pair"));
        }
        let Some((base, currency)) = pair(&ask.path) else { return serve::status(StatusCode::NOT_FOUND) };
        let mut quotes = self.0.lock().expect("no holder of the lock panics");
        match ask.method {
            Method::GET => match quotes.get(&ask.path) {
                None if (base, currency) == ("ETH", "EUR") => spot(base, currency, PRICE),
                None => serve::status(StatusCode::NOT_FOUND),
                Some(Quote::Price(price)) => spot(base, currency, price),
                Some(Quote::Failing(status)) => serve::status(*status),
            },
            Method::PUT => match quote(&ask.json()) {
                Some(quote) => {
                    quotes.insert(ask.path, quote);
                    serve::status(StatusCode::NO_CONTENT)
                }
                None => serve::json(
                    StatusCode::BAD_REQUEST,
                    &json!({ "error": "say {\"amount\": \"2500.00\"} or {\"status\": 503}" }),
                ),
            },
            _ => serve::status(StatusCode::METHOD_NOT_ALLOWED),
        }
    }
}

/// `/a/v2/prices/ETH-EUR/spot` has the pair ETH, EUR.
fn pair(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/a/").or_else(|| path.strip_prefix("/b/"))?;
    rest.strip_prefix("v2/prices/")?.strip_suffix("/spot")?.split_once('-')
}

fn quote(said: &Value) -> Option<Quote> {
    if let Some(amount) = said["amount"].as_str() {
        return Some(Quote::Price(amount.to_owned()));
    }
    let status = u16::try_from(said["status"].as_u64()?).ok()?;
    Some(Quote::Failing(StatusCode::from_u16(status).ok()?))
}

fn spot(base: &str, currency: &str, amount: &str) -> Say {
    serve::json(StatusCode::OK, &json!({ "data": { "amount": amount, "base": base, "currency": currency } }))
}

fn ticker(pair: Option<&str>) -> Say {
    let answer = match pair {
        Some("ETHEUR") => json!({ "error": [], "result": { "XETHZEUR": { "c": [PRICE, "1.0"] } } }),
        _ => json!({ "error": ["EQuery:Unknown asset pair"] }),
    };
    serve::json(StatusCode::OK, &answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(feeds: &Feeds, method: Method, path: &str, body: Value) -> u16 {
        let ask = Ask {
            method,
            path: path.to_owned(),
            query: String::new(),
            headers: Default::default(),
            body: body.to_string().into(),
        };
        feeds.answer(ask).status().as_u16()
    }

    #[test]
    fn each_feed_can_fail_alone() {
        let feeds = Feeds::default();
        let (a, b) = ("/a/v2/prices/ETH-EUR/spot", "/b/v2/prices/ETH-EUR/spot");
        assert_eq!(ask(&feeds, Method::PUT, a, json!({ "status": 503 })), 204);
        assert_eq!((ask(&feeds, Method::GET, a, Value::Null), ask(&feeds, Method::GET, b, Value::Null)), (503, 200));
        assert_eq!(ask(&feeds, Method::PUT, a, json!({ "amount": "1.00" })), 204);
        assert_eq!(ask(&feeds, Method::GET, a, Value::Null), 200);
        assert_eq!(ask(&feeds, Method::GET, "/c/v2/prices/ETH-EUR/spot", Value::Null), 404);
    }
}
