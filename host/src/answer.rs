//! What goes back to a client: the component's answer, or a problem document (RFC 9457) of the host's own.

use crate::invocation::{Invocation, Outcome};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use wasmtime_wasi_http::{Error, WasiBody};

pub type Answer = Response<AnswerBody>;

/// The body of an answer, with the invocation that ends with it.
pub struct AnswerBody {
    body: WasiBody,
    invocation: Option<Invocation>,
}

/// The component's answer.
pub fn of_component(answer: Response<WasiBody>, mut invocation: Invocation) -> Answer {
    invocation.ended(answer.status().as_u16(), Outcome::Answered);
    answer.map(|body| AnswerBody { body, invocation: Some(invocation) })
}

/// The host's answer in place of the component's.
pub fn of_host(status: StatusCode, outcome: Outcome, detail: &str, mut invocation: Invocation) -> Answer {
    invocation.ended(status.as_u16(), outcome);
    problem(status, detail, Some(invocation))
}

/// No component stands behind this path.
pub fn nobody() -> Answer {
    problem(StatusCode::NOT_FOUND, "no component has a route for this path", None)
}

fn problem(status: StatusCode, detail: &str, invocation: Option<Invocation>) -> Answer {
    let title = status.canonical_reason().unwrap_or_default();
    // All texts here are the host's own and need no escaping.
    let json =
        format!(r#"{{"type":"about:blank","title":"{title}","status":{},"detail":"{detail}"}}"#, status.as_u16());
    let mut answer = Response::new(whole(json.into(), invocation));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// A plain text, as metrics and health are told.
pub fn text(text: String) -> Answer {
    let mut answer = Response::new(whole(text.into(), None));
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    answer
}

fn whole(bytes: Bytes, invocation: Option<Invocation>) -> AnswerBody {
    AnswerBody { body: Full::new(bytes).map_err(|never| match never {}).boxed_unsync(), invocation }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let (Poll::Ready(Some(Err(_))), Some(invocation)) = (&frame, &mut self.invocation) {
            invocation.ended(500, Outcome::Failed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
