//! A request as it comes: bounded, with its path in segments and its query by names.

use std::collections::BTreeMap;

use ::http::{HeaderMap, Method, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;

use crate::problem::{Code, Problem};

/// The longest body of a command or event that is taken.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// A whole request.
pub struct Request {
    pub method: Method,
    /// After `/{function}`.
    pub path: Vec<String>,
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    /// Reads a request to its end.
    pub async fn read(request: spin_sdk::http::Request, function: &str) -> Result<Request, Problem> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Problem::new(Code::PayloadTooLarge, format!("a body has at most {BODY_BYTES_MAX} bytes"))
            } else {
                Problem::validation("the body broke off")
            }
        })?;
        Ok(Request {
            method: head.method,
            path: segments(&head.uri, function)?,
            query: parameters(head.uri.query().unwrap_or_default()),
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    /// The bearer's token, if one was brought.
    pub fn token(&self) -> Option<&str> {
        let (scheme, token) = self.headers.get("authorization")?.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// Whether the caller uses replies (RFC 7240; Knative's way to say it).
    pub fn prefers_reply(&self) -> bool {
        let values = self.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split([',', ';'])).any(|word| word.trim().eq_ignore_ascii_case("reply"))
    }
}

fn segments(uri: &Uri, function: &str) -> Result<Vec<String>, Problem> {
    let mut segments = uri.path().split('/').filter(|segment| !segment.is_empty()).map(decode);
    if segments.next() != Some(function.to_owned()) {
        return Err(Problem::no_route());
    }
    Ok(segments.collect())
}

/// `application/x-www-form-urlencoded`, as browsers write queries.
fn parameters(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(&name.replace('+', " ")), decode(&value.replace('+', " "))))
        .collect()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::HeaderValue;

    fn request(name: &'static str, value: &'static str) -> Request {
        Request {
            method: Method::GET,
            path: vec![],
            query: BTreeMap::new(),
            headers: HeaderMap::from_iter([(::http::HeaderName::from_static(name), HeaderValue::from_static(value))]),
            body: Bytes::new(),
        }
    }

    #[test]
    fn a_path_is_split_after_the_functions_name() {
        let segments = |path: &'static str| segments(&Uri::from_static(path), "core");
        assert_eq!(segments("/core/v1/users/a%20b?x=1"), Ok(vec!["v1".into(), "users".into(), "a b".into()]));
        assert_eq!(segments("/core/a%2Fb"), Ok(vec!["a/b".into()]));
        assert!(segments("/cron/v1").is_err() && segments("/").is_err());
    }

    #[test]
    fn a_query_is_read_by_name() {
        let query = parameters("limit=5&after=a%26b+c&flag");
        assert_eq!(query["limit"], "5");
        assert_eq!(query["after"], "a&b c");
        assert_eq!(query["flag"], "");
        assert!(parameters("").is_empty());
    }

    #[test]
    fn a_bearer_brings_a_token_and_others_do_not() {
        assert_eq!(request("authorization", "Bearer abc").token(), Some("abc"));
        assert_eq!(request("authorization", "bearer abc").token(), Some("abc"));
        assert_eq!(request("authorization", "Basic abc").token(), None);
        assert_eq!(request("x", "y").token(), None);
    }

    #[test]
    fn a_reply_is_wanted_by_whoever_says_so() {
        assert!(request("prefer", "reply").prefers_reply());
        assert!(request("prefer", "wait=5, Reply").prefers_reply());
        assert!(!request("prefer", "return=minimal").prefers_reply());
        assert!(!request("x", "reply").prefers_reply());
    }
}
