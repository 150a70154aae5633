//! The ingress: CloudEvents come in over HTTP and become records of the topic that their sender's token names. 202 means
//! that the log has them, all of a batch; everything else means that it was told to have none.

mod answer;
mod push;
mod tokens;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Body;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::log::{Error, Fault, Log};
use answer::{Refusal, accepted};
use push::Push;
use tokens::Tokens;

/// What one event may measure as a record, if nothing else is said.
pub const EVENT_BYTES_MAX: usize = 256 << 10;
/// A batch may measure this many times what one event may.
const BATCH_FACTOR: usize = 16;
/// Pushes that are read or written at a time, and their bytes as bodies; more are asked to come again. A batch that is larger than
/// all of it comes alone.
const PUSHES_MAX: usize = 64;
const PUSHED_BYTES_MAX: usize = 8 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const APPEND_TIMEOUT: Duration = Duration::from_secs(15);

/// What the rest of the bridge hears of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Events were written to the topic.
    Written { topic: String, events: usize },
    /// The sender, whose topic this is, asks to be woken then.
    WakeAt { topic: String, at: Timestamp },
    /// A push was not written, or its sender did not wait for the answer: wake it later, so that it comes again.
    TurnedAway { topic: String },
}

/// The state of the ingress.
pub struct Ingress {
    log: Log,
    tokens: Tokens,
    event_bytes_max: usize,
    notice: Box<dyn Fn(Notice)>,
    places: Semaphore,
    bytes: Semaphore,
}

impl Ingress {
    /// `tokens` is a folder with a file for each topic, named after it, that holds the tokens which may write there, one a
    /// line or separated by commas; it is read again when it changes. Without it nobody may write.
    pub fn new(log: Log, tokens: Option<&Path>, event_bytes_max: usize, notice: impl Fn(Notice) + 'static) -> Self {
        let (tokens, places, bytes) =
            (Tokens::in_folder(tokens), Semaphore::new(PUSHES_MAX), Semaphore::new(PUSHED_BYTES_MAX));
        Ingress { log, tokens, event_bytes_max, notice: Box::new(notice), places, bytes }
    }

    /// Answers `POST /` and `POST /topics/{topic}`.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.take(request).await.map_or_else(Refusal::into_response, |()| accepted())
    }

    async fn take<B>(&self, request: Request<B>) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let wanted = wanted_topic(&head.method, head.uri.path())?;
        let topic = self.tokens.topic(&head.headers, wanted)?;
        let unheard = Unheard { ingress: self, topic: &topic };
        let taken = self.push(&topic, &head.headers, body).await;
        // A push that is bad would be as bad again: nobody is woken for it.
        if taken.as_ref().err().is_none_or(Refusal::is_final) {
            unheard.forget();
        }
        taken
    }

    async fn push<B>(&self, topic: &str, headers: &HeaderMap, body: B) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let _place = self.places.try_acquire().map_err(|_| Refusal::Away("too many pushes are under way"))?;
        let bytes_max = self.event_bytes_max * BATCH_FACTOR;
        // A body that does not say how long it is may become as long as any.
        let bytes = body.size_hint().upper().map_or(bytes_max, |bytes| bytes.min(bytes_max as u64) as usize);
        let permits = bytes.min(PUSHED_BYTES_MAX) as u32;
        let _bytes =
            self.bytes.try_acquire_many(permits).map_err(|_| Refusal::Away("too large pushes are under way"))?;
        let body = read(body, bytes_max).await?;
        self.write(topic, Push::parse(topic, headers, body, self.event_bytes_max)?).await
    }

    async fn write(&self, topic: &str, push: Push) -> Result<(), Refusal> {
        let Push { records, wake_at } = push;
        let events = records.len();
        if events > 0 {
            let written = tokio::time::timeout(APPEND_TIMEOUT, self.log.append(records)).await;
            let written = written.unwrap_or_else(|_| Err(Error::Unavailable("it did not answer in time".into())));
            written.map_err(not_written)?;
            (self.notice)(Notice::Written { topic: topic.to_owned(), events });
        }
        if let Some(at) = wake_at {
            (self.notice)(Notice::WakeAt { topic: topic.to_owned(), at });
        }
        Ok(())
    }
}

/// A push that has not been written yet. Dropped, also because its sender did not wait for the answer, it says so.
struct Unheard<'a> {
    ingress: &'a Ingress,
    topic: &'a str,
}

impl Unheard<'_> {
    fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        (self.ingress.notice)(Notice::TurnedAway { topic: self.topic.to_owned() });
    }
}

fn not_written(error: Error) -> Refusal {
    match error {
        Error::Record { fault: Fault::TooLarge, reason, .. } => Refusal::TooLarge(reason),
        Error::Record { fault: Fault::Invalid, reason, .. } => Refusal::Malformed(reason),
        // The sender cannot help it when its topic is missing or closed to the bridge.
        error => {
            tracing::warn!(%error, "a push was turned away");
            Refusal::Away("the log does not take records now")
        }
    }
}

/// The topic that a path names; `None` is the token's own.
fn wanted_topic<'a>(method: &Method, path: &'a str) -> Result<Option<&'a str>, Refusal> {
    let topic = match path {
        "/" => None,
        path => Some(path.strip_prefix("/topics/").filter(|topic| !topic.is_empty()).ok_or(Refusal::NoSuchPath)?),
    };
    if *method == Method::POST { Ok(topic) } else { Err(Refusal::NotPost) }
}

async fn read<B>(body: B, bytes_max: usize) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let limited = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(BODY_TIMEOUT, Box::pin(limited)).await {
        Err(_) => Err(Refusal::TooSlow),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refusal::TooLarge(format!("the body has more than {bytes_max} bytes")))
        }
        Ok(Err(error)) => Err(Refusal::BrokenOff(error.to_string())),
    }
}
