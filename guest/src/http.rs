//! Calls of named outside hosts. A request goes out with a time-out, a response of bounded size or a [`Failure`] comes back.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::{Code, Problem};

const TIMEOUT_MS: u64 = 5_000;
const RESPONSE_BYTES_MAX: usize = 1 << 20;

/// A call that is being put together: `http::post(url).json(&body).timeout_ms(3_000).send().await?`.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    timeout_ms: u64,
    /// `None`: the body is not read.
    response_bytes_max: Option<usize>,
    mistake: Option<String>,
}

/// What an outside host answered, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// As they came.
    pub headers: HeaderMap,
    /// The whole body, within the request's bound; empty where it was not read.
    pub body: Bytes,
}

/// Why there is no answer. Whether the host has seen the request is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No whole answer in time.
    #[error("no answer within {0} ms")]
    TimedOut(u64),
    /// The body is longer than the request's bound.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// Refused, broken off, or forbidden by `allowed_outbound_hosts`.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The answer is not what it should be.
    #[error("the answer is not understood: {0}")]
    Malformed(String),
    /// The request could not be put together: our mistake or a wrong URL.
    #[error("not a request: {0}")]
    NotARequest(String),
}

impl Failure {
    /// The same as a problem under a code of the caller's choice.
    pub fn as_problem(&self, code: Code) -> Problem {
        Problem::new(code, self.to_string())
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        failure.as_problem(Code::ProviderUnavailable)
    }
}

/// A GET of a URL.
pub fn get(url: impl Into<String>) -> Request {
    Request::new(Method::GET, url)
}

/// A POST to a URL.
pub fn post(url: impl Into<String>) -> Request {
    Request::new(Method::POST, url)
}

impl Request {
    /// A request without headers and body, bound to 5 seconds and 1 MiB.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Request {
            method,
            url: url.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout_ms: TIMEOUT_MS,
            response_bytes_max: Some(RESPONSE_BYTES_MAX),
            mistake: None,
        }
    }

    /// With a header in place of one of the same name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => drop(self.headers.insert(name, value)),
            _ => self.mistake = Some(format!("the header `{name}` has a value that no header can have")),
        }
        self
    }

    /// With a body as it is.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// With JSON as its body.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.body = bytes.into(),
            Err(error) => self.mistake = Some(error.to_string()),
        }
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self
    }

    /// Waits that long for the whole answer.
    pub fn timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.timeout_ms = timeout_ms;
        self
    }

    /// Takes a body of at most that many bytes.
    pub fn response_bytes_max(mut self, bytes: usize) -> Self {
        self.response_bytes_max = Some(bytes);
        self
    }

    /// Takes status and headers, and no body, however long it is.
    pub fn without_response_body(mut self) -> Self {
        self.response_bytes_max = None;
        self
    }

    /// Sends it, once.
    pub async fn send(self) -> Result<Response, Failure> {
        let timeout_ms = self.timeout_ms;
        within(timeout_ms, self.exchange()).await.unwrap_or(Err(Failure::TimedOut(timeout_ms)))
    }

    async fn exchange(self) -> Result<Response, Failure> {
        let bytes_max = self.response_bytes_max;
        let response = spin_sdk::http::send(self.into_http()?).await;
        let (head, body) = response.map_err(|error| Failure::Unreachable(error.to_string()))?.into_parts();
        let body = match bytes_max {
            Some(bytes_max) => {
                let collected = Limited::new(body, bytes_max).collect().await;
                collected.map_err(|error| unread(&*error, bytes_max))?.to_bytes()
            }
            None => Bytes::new(),
        };
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
    }

    fn into_http(self) -> Result<::http::Request<Full<Bytes>>, Failure> {
        if let Some(mistake) = self.mistake {
            return Err(Failure::NotARequest(mistake));
        }
        let mut request = ::http::Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        // Without the URL, which may hold a provider's key.
        *request.uri_mut() = self.url.parse().map_err(|error| Failure::NotARequest(format!("its URL: {error}")))?;
        *request.headers_mut() = self.headers;
        Ok(request)
    }
}

impl Response {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON of a type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| Failure::Malformed(error.to_string()))
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn unread(error: &(dyn std::error::Error + Send + Sync + 'static), bytes_max: usize) -> Failure {
    if error.is::<LengthLimitError>() {
        return Failure::TooLong(bytes_max);
    }
    Failure::Unreachable(error.to_string())
}

/// The outcome of work, or `None` when it took too long and was dropped.
pub(crate) async fn within<T>(timeout_ms: u64, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut alarm = pin!(spin_sdk::time::sleep(Duration::from_millis(timeout_ms)));
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => alarm.as_mut().poll(context).map(|()| None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_put_together_from_its_parts() {
        let request = post("http://127.0.0.1:1/a").header("x-a", "1").json(&[1]).into_http().expect("a request");
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/a"));
        assert_eq!(request.headers()["content-type"], "application/json");
    }

    #[test]
    fn an_impossible_header_or_url_is_told_and_not_sent() {
        assert!(matches!(get("http://a").header("x", "a\nb").into_http(), Err(Failure::NotARequest(_))));
        assert!(matches!(get("not a url").into_http(), Err(Failure::NotARequest(_))));
    }

    #[test]
    fn a_failure_never_tells_the_url() {
        let failure = get("https://node example/v2/s3cret").into_http().expect_err("a space in the host");
        assert!(!failure.to_string().contains("s3cret"), "{failure}");
    }

    #[test]
    fn an_outside_failure_is_a_failure_for_the_caller() {
        let problem = Problem::from(Failure::TimedOut(5));
        assert_eq!((problem.code, problem.retry_after_s), (Code::ProviderUnavailable, Some(1)));
        assert_eq!(Failure::TimedOut(5).as_problem(Code::ChainUnavailable).code, Code::ChainUnavailable);
    }
}
