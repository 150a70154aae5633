//! Calling a sink: one request goes out over a kept connection, one outcome comes back. All of the bridge's calls stand behind
//! [`Sender::send`], in plain HTTP or over TLS.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderValue};
use http::{Method, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::Url;

use crate::answer::Outcome;
use crate::request::Request;
use crate::tls::{self, Connector, Tls};
use crate::token::Token;

/// The longest answer that is read: a batch of replies may hold several records of the largest size.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Connections to one sink. There are never more than its callers have calls under way.
pub struct Sender {
    authority: String,
    host: HeaderValue,
    target: Uri,
    token: Option<Token>,
    /// `None` is plain HTTP.
    tls: Option<Result<Connector, String>>,
    idle: RefCell<Vec<Connection>>,
    /// Why the last call did not come as far as a request, while no answer has come since.
    trouble: RefCell<Option<String>>,
}

/// A connection is driven by whose call is on it: nobody else has to be woken for its answer.
struct Connection {
    requests: SendRequest<Full<Bytes>>,
    driver: Pin<Box<dyn Future<Output = hyper::Result<()>>>>,
    ended: bool,
}

impl Connection {
    /// What `work` comes to, for which the connection has to move.
    async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            self.turn(context);
            work.as_mut().poll(context)
        })
        .await
    }

    /// Whether a kept connection is still open, as far as is known without writing to it.
    async fn is_open(&mut self) -> bool {
        poll_fn(|context| {
            self.turn(context);
            Poll::Ready(!self.ended && self.requests.is_ready())
        })
        .await
    }

    fn turn(&mut self, context: &mut Context) {
        self.ended = self.ended || self.driver.as_mut().poll(context).is_ready();
    }
}

impl Sender {
    /// `url` has been checked by the configuration: it is absolute, and HTTP or HTTPS. `tls` matters to the latter.
    pub fn new(url: &Url, token: Option<Token>, tls: &Tls) -> Rc<Self> {
        let host = url.host_str().unwrap_or_default();
        let authority = format!("{host}:{}", url.port_or_known_default().unwrap_or(80));
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Rc::new(Sender {
            host: HeaderValue::from_str(&url[url::Position::BeforeHost..url::Position::AfterPort])
                .unwrap_or(HeaderValue::from_static("sink")),
            target: target.parse().unwrap_or(Uri::from_static("/")),
            tls: (url.scheme() == "https").then(|| Connector::to(host.trim_matches(['[', ']']), tls)),
            authority,
            token,
            idle: RefCell::default(),
            trouble: RefCell::default(),
        })
    }

    /// What keeps calls from the sink that a person must put right: its name or its TLS. Gone with the next answer.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// One attempt, from connecting to the last byte of the answer, within `timeout`.
    pub async fn send(&self, request: Request, timeout: Duration) -> Outcome {
        tokio::time::timeout(timeout, self.call(request)).await.unwrap_or(Outcome::TimedOut)
    }

    async fn call(&self, request: Request) -> Outcome {
        let Some(mut request) = self.compose(request) else { return Outcome::NoToken };
        loop {
            let (mut connection, reused) = match self.idle_connection().await {
                Some(connection) => (connection, true),
                None => match self.connect().await {
                    Ok(connection) => (connection, false),
                    Err(outcome) => return *outcome,
                },
            };
            let answer = connection.requests.try_send_request(request);
            match connection.drive(answer).await {
                Ok(response) => return self.receive(response, connection).await,
                // The sink closed the kept connection before anything was written to it: nothing happened yet.
                Err(mut error) => match error.take_message().filter(|_| reused) {
                    Some(unsent) => request = unsent,
                    // A server may finish the handshake and refuse our certificate then.
                    None => match tls::reason(error.error()) {
                        Some(reason) => return self.untrusted(reason),
                        None => return Outcome::Lost(error.error().to_string()),
                    },
                },
            }
        }
    }

    /// `None` when there should be a token and is none: a call without it would be refused for good.
    fn compose(&self, request: Request) -> Option<http::Request<Full<Bytes>>> {
        // hyper leaves it out of an empty POST, and many a server waits for it or fails without it.
        let empty = request.body.is_empty();
        let mut composed = http::Request::new(Full::new(request.body));
        *composed.method_mut() = Method::POST;
        *composed.uri_mut() = self.target.clone();
        *composed.headers_mut() = request.headers;
        composed.headers_mut().insert(HOST, self.host.clone());
        if empty {
            composed.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if let Some(token) = &self.token {
            composed.headers_mut().insert(AUTHORIZATION, token.bearer()?);
        }
        Some(composed)
    }

    async fn idle_connection(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle.borrow_mut().pop()?;
            if connection.is_open().await {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Box<Outcome>> {
        let stream = self.dial().await?;
        match &self.tls {
            None => begin(stream).await,
            Some(Ok(tls)) => match tls.connect(stream).await {
                Ok(stream) => begin(stream).await,
                Err(reason) => Err(Box::new(self.untrusted(reason))),
            },
            Some(Err(reason)) => Err(Box::new(self.untrusted(reason.clone()))),
        }
    }

    async fn dial(&self) -> Result<TcpStream, Box<Outcome>> {
        let addresses = tokio::net::lookup_host(&self.authority).await.map_err(|error| {
            let reason = format!("{}: {error}; is the sink's name spelt right?", self.authority);
            self.tell(reason.clone());
            Box::new(Outcome::Lost(reason))
        })?;
        let addresses: Vec<_> = addresses.collect();
        let stream = TcpStream::connect(addresses.as_slice()).await.map_err(|error| {
            Box::new(match error.kind() {
                ErrorKind::ConnectionRefused => Outcome::ConnectionRefused,
                _ => Outcome::Lost(format!("{}: {error}", self.authority)),
            })
        })?;
        // A request is written at once, so there is nothing to gain from waiting for more.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    fn untrusted(&self, reason: String) -> Outcome {
        let reason = format!("TLS with {}: {reason}", self.authority);
        self.tell(reason.clone());
        Outcome::Untrusted(reason)
    }

    /// Once, however often it is tried.
    fn tell(&self, reason: String) {
        let mut trouble = self.trouble.borrow_mut();
        if trouble.as_ref() != Some(&reason) {
            tracing::error!(reason, "the sink cannot be called");
            *trouble = Some(reason);
        }
    }

    async fn receive(&self, response: Response<Incoming>, mut connection: Connection) -> Outcome {
        self.trouble.borrow_mut().take();
        let (head, body) = response.into_parts();
        let body = match connection.drive(Limited::new(body, ANSWER_BYTES_MAX).collect()).await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Outcome::TooLong(Response::from_parts(head, ())),
            Err(error) => return Outcome::Lost(error.to_string()),
        };
        self.idle.borrow_mut().push(connection);
        Outcome::Answer(Response::from_parts(head, body))
    }
}

async fn begin<T: AsyncRead + AsyncWrite + Unpin + 'static>(stream: T) -> Result<Connection, Box<Outcome>> {
    let lost = |error: hyper::Error| Box::new(Outcome::Lost(error.to_string()));
    let (requests, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    Ok(Connection { requests, driver: Box::pin(driver), ended: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    fn request() -> Request {
        Request { headers: HeaderMap::new(), body: Bytes::from_static(b"hello") }
    }

    async fn local<T>(test: impl Future<Output = T>) -> T {
        tokio::task::LocalSet::new().run_until(test).await
    }

    /// A sink that says `answer` to each of `calls` requests on one connection and then closes it.
    async fn sink(answer: &'static str, calls: usize) -> (Url, tokio::task::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/p?q=1", listener.local_addr().unwrap())).unwrap();
        let connections = tokio::task::spawn_local(async move {
            let mut connections = 0;
            while let Ok(Ok((mut stream, _))) =
                tokio::time::timeout(Duration::from_millis(500), listener.accept()).await
            {
                connections += 1;
                for _ in 0..calls {
                    let mut buffer = vec![0; 4_096];
                    let read = stream.read(&mut buffer).await.unwrap();
                    assert!(read == 0 || buffer.starts_with(b"POST /p?q=1 HTTP/1.1\r\n"));
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
            connections
        });
        (url, connections)
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    #[tokio::test]
    async fn a_connection_is_kept_and_replaced_when_the_sink_has_closed_it() {
        local(async {
            let (url, connections) = sink(OK, 2).await;
            let sender = Sender::new(&url, None, &Tls::default());
            for _ in 0..4 {
                let outcome = sender.send(request(), Duration::from_secs(5)).await;
                assert!(matches!(&outcome, Outcome::Answer(answer) if answer.body() == "ok"), "{outcome:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(connections.await.unwrap(), 2);
        })
        .await;
    }

    #[test]
    fn an_empty_call_says_that_it_is_empty() {
        let sender = Sender::new(&Url::parse("http://h/").unwrap(), None, &Tls::default());
        let length = |body| {
            let composed = sender.compose(Request { headers: HeaderMap::new(), body }).unwrap();
            composed.headers().get(CONTENT_LENGTH).cloned()
        };
        assert_eq!(length(Bytes::new()), Some(HeaderValue::from_static("0")));
        assert_eq!(length(Bytes::from_static(b"x")), None, "hyper says it");
    }

    #[tokio::test]
    async fn silence_of_each_kind_has_its_own_outcome() {
        local(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
            let sender = Sender::new(&url, None, &Tls::default());
            let outcome = sender.send(request(), Duration::from_millis(50)).await;
            assert!(matches!(outcome, Outcome::TimedOut), "{outcome:?}");
            drop(listener);
            let outcome = sender.send(request(), Duration::from_secs(5)).await;
            assert!(matches!(outcome, Outcome::ConnectionRefused), "{outcome:?}");
            let (url, _) = sink("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", 1).await;
            let outcome = Sender::new(&url, None, &Tls::default()).send(request(), Duration::from_secs(5)).await;
            assert!(matches!(outcome, Outcome::Lost(_)), "{outcome:?}");
        })
        .await;
    }
}
