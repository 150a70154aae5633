//! serve.
use crate::*;
use bytes::Bytes;
/// Serves.
pub async fn serve<F: Function>(_function: F, _request: spin_sdk::http::Request) -> ::http::Response<http_body_util::Full<Bytes>> {
    ::http::Response::new(http_body_util::Full::new(Bytes::new()))
}
