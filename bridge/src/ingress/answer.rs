//! What the ingress answers: 202, or a problem document (RFC 9457) that names what is wrong.

use bytes::Bytes;
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;

use crate::problem;

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
        let mut response = problem::response(self.status(), &self.to_string());
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
