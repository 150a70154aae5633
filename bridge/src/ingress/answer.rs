//! What the ingress answers: 202, or a problem document (RFC 9457) that names what is wrong.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

/// Why a push is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("post CloudEvents to `/` or `/topics/{{topic}}`")]
    NoSuchPath,
    #[error("CloudEvents are posted")]
    NotPost,
    #[error("{0}")]
    Unauthorized(&'static str),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    Malformed(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("the body did not come in time")]
    TooSlow,
    #[error("the body broke off: {0}")]
    BrokenOff(String),
    #[error("{0}; nothing was lost if it is pushed again")]
    Away(&'static str),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::NoSuchPath => StatusCode::NOT_FOUND,
            Refusal::NotPost => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
            Refusal::Malformed(_) | Refusal::BrokenOff(_) => StatusCode::BAD_REQUEST,
            Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Refusal::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether the same push would be refused again.
    pub(super) fn is_final(&self) -> bool {
        !matches!(self, Refusal::TooSlow | Refusal::BrokenOff(_) | Refusal::Away(_))
    }

    fn header(&self) -> Option<(HeaderName, &'static str)> {
        match self {
            Refusal::NotPost => Some((ALLOW, "POST")),
            Refusal::Unauthorized(_) => Some((WWW_AUTHENTICATE, "Bearer")),
            Refusal::Away(_) => Some((RETRY_AFTER, "1")),
            _ => None,
        }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let status = self.status();
        let problem = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        let mut response = Response::new(Full::from(problem.to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

pub(super) fn accepted() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}
