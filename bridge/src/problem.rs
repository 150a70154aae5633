//! Problem documents (RFC 9457): how the bridge says over HTTP what is wrong.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

/// A response that tells a problem. `detail` says what to do about it.
pub fn response(status: StatusCode, detail: &str) -> Response<Full<Bytes>> {
    let problem = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut response = Response::new(Full::from(problem.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
