//! The operating API: dead letters and the state of sources. A request with the API's token comes in, JSON goes out; what is wrong is
//! told in a problem document.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body;
use serde::Serialize;
use serde_json::json;

use crate::health::Health;
use crate::letters::{self, Desk, Filter, Redrive, Which};
use crate::log;
use crate::problem;
use crate::token;

const BODY_BYTES_MAX: usize = 64 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const PAGE: usize = 50;

/// What the API reaches.
pub struct Api {
    pub token: Option<PathBuf>,
    pub health: Rc<Health>,
    pub desk: Desk,
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("there is no operating API here: start the bridge with --api-token FILE")]
    Off,
    #[error("a bearer token is needed, the one of --api-token")]
    Unauthorized,
    #[error(
        "there is nothing here: GET /dead-letters, GET /dead-letters/ID, POST /dead-letters/redrive, GET /sources, POST /sources/NAME/retry"
    )]
    NoSuchPath,
    #[error("only {0} is understood here")]
    Method(&'static str),
    #[error("there is no source `{0}` here")]
    NoSuchSource(String),
    #[error("the source `{0}` does not answer")]
    Silent(String),
    #[error("{0}")]
    Malformed(String),
    #[error(transparent)]
    Letters(#[from] letters::Refusal),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Off | Refusal::NoSuchPath | Refusal::NoSuchSource(_) => StatusCode::NOT_FOUND,
            Refusal::Unauthorized => StatusCode::UNAUTHORIZED,
            Refusal::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
            Refusal::Silent(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Letters(refusal) => match refusal {
                letters::Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
                letters::Refusal::NoSuchLetter(_) => StatusCode::NOT_FOUND,
                // It would be the same again.
                letters::Refusal::TooMany(_) => StatusCode::CONFLICT,
                letters::Refusal::Log(log::Error::Config(_)) => StatusCode::INTERNAL_SERVER_ERROR,
                letters::Refusal::StillReading { .. }
                | letters::Refusal::NotHeard { .. }
                | letters::Refusal::Busy
                | letters::Refusal::Log(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }

    fn header(&self) -> Option<(HeaderName, &'static str)> {
        match self {
            Refusal::Unauthorized => Some((WWW_AUTHENTICATE, "Bearer")),
            Refusal::Method(method) => Some((ALLOW, method)),
            refusal => (refusal.status() == StatusCode::SERVICE_UNAVAILABLE).then_some((RETRY_AFTER, "1")),
        }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = problem::response(self.status(), &self.to_string());
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl Api {
    /// Whether a path is the API's.
    pub fn has(path: &str) -> bool {
        let first = path.split('/').nth(1);
        matches!(first, Some("dead-letters" | "sources"))
    }

    /// `local` says that the request comes from this machine, which may ask for the sources where there is no API.
    pub async fn answer<B>(&self, request: Request<B>, local: bool) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        if let Err(refusal) = self.admit(&head.headers, head.uri.path(), local) {
            return refusal.into_response();
        }
        let query = head.uri.query().unwrap_or_default();
        let steps: Vec<&str> = head.uri.path().split('/').skip(1).collect();
        let told = match (steps.as_slice(), &head.method) {
            (["dead-letters"], &Method::GET) => self.list(query).await,
            (["dead-letters", "redrive"], &Method::POST) => self.redrive(body).await,
            (["dead-letters", topic, partition, offset], &Method::GET) => {
                self.show(&format!("{topic}/{partition}/{offset}")).await
            }
            (["sources"], &Method::GET) => Ok(json(&self.health.sources().await)),
            (["sources", name, "retry"], &Method::POST) => self.retry(name).await,
            (["dead-letters", "redrive"] | ["sources", _, "retry"], _) => Err(Refusal::Method("POST")),
            (["dead-letters" | "sources"] | ["dead-letters", _, _, _], _) => Err(Refusal::Method("GET")),
            _ => Err(Refusal::NoSuchPath),
        };
        told.unwrap_or_else(Refusal::into_response)
    }

    fn admit(&self, headers: &HeaderMap, path: &str, local: bool) -> Result<(), Refusal> {
        match &self.token {
            Some(file) if token::admits(file, headers) => Ok(()),
            Some(_) => Err(Refusal::Unauthorized),
            None if local && path == "/sources" => Ok(()),
            None => Err(Refusal::Off),
        }
    }

    async fn list(&self, query: &str) -> Result<Response<Full<Bytes>>, Refusal> {
        let asked = Asked::parse(query)?;
        let page = self.desk.list(&asked.filter, asked.which, asked.limit, asked.cursor.as_deref()).await?;
        Ok(json(&page))
    }

    async fn show(&self, id: &str) -> Result<Response<Full<Bytes>>, Refusal> {
        Ok(json(&self.desk.show(id.parse().map_err(Refusal::Malformed)?).await?))
    }

    async fn redrive<B>(&self, body: B) -> Result<Response<Full<Bytes>>, Refusal>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let body = Box::pin(Limited::new(body, BODY_BYTES_MAX).collect());
        let body = tokio::time::timeout(BODY_TIMEOUT, body).await;
        let body = body.map_err(|_| Refusal::Malformed("the body did not come in time".into()))?;
        let body = body.map_err(|error| Refusal::Malformed(format!("the body: {error}")))?.to_bytes();
        let asked: Redrive = serde_json::from_slice(&body)
            .map_err(|error| Refusal::Malformed(format!("the body is no order to redrive: {error}")))?;
        Ok(json(&self.desk.redrive(asked).await?))
    }

    async fn retry(&self, name: &str) -> Result<Response<Full<Bytes>>, Refusal> {
        let retried = match self.health.retry(name).await {
            None => Err(Refusal::NoSuchSource(name.to_owned())),
            Some(None) => Err(Refusal::Silent(name.to_owned())),
            Some(Some(retried)) => Ok(retried),
        }?;
        Ok(json(&json!({ "source": name, "retried_lanes": retried })))
    }
}

/// What a list is asked for, in the query.
struct Asked {
    filter: Filter,
    which: Which,
    limit: usize,
    cursor: Option<String>,
}

impl Asked {
    fn parse(query: &str) -> Result<Self, Refusal> {
        let mut asked = Asked { filter: Filter::default(), which: Which::Open, limit: PAGE, cursor: None };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let wrong = |must: &str| Refusal::Malformed(format!("`{name}` must be {must}, and is `{value}`"));
            let instant = || value.parse().map_err(|_| wrong("an RFC 3339 instant"));
            match &*name {
                "topic" => asked.filter.topic = Some(value.into_owned()),
                "source" => asked.filter.source = Some(value.into_owned()),
                "key" => asked.filter.key = Some(value.into_owned()),
                "reason" => asked.filter.reason = Some(value.parse().map_err(|_| wrong("a status, or 0"))?),
                "since" => asked.filter.since = Some(instant()?),
                "until" => asked.filter.until = Some(instant()?),
                "limit" => asked.limit = value.parse().map_err(|_| wrong("a whole number"))?,
                "cursor" => asked.cursor = Some(value.into_owned()),
                "state" => {
                    asked.which = match &*value {
                        "open" => Which::Open,
                        "redriven" => Which::Redriven,
                        "all" => Which::All,
                        _ => return Err(wrong("open, redriven or all")),
                    }
                }
                _ => {
                    let known = "topic, source, key, reason, since, until, state, limit and cursor";
                    return Err(Refusal::Malformed(format!("`{name}` is unknown; there are {known}")));
                }
            }
        }
        Ok(asked)
    }
}

fn json(told: &impl Serialize) -> Response<Full<Bytes>> {
    let mut body = serde_json::to_string_pretty(told).unwrap_or_default();
    body.push('\n');
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
