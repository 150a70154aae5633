//! One connection to a sink: a message is written, an answer is read. It is driven by whose call is on it, so that nobody else has to
//! be woken for the answer.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use super::wire::{Head, Malformed};

/// The longest answer that is read: a batch of replies may hold several records of the largest size.
const ANSWER_BYTES_MAX: usize = 4 << 20;
const READ_BYTES: usize = 4 << 10;

/// Plain or over TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

pub struct Connection {
    stream: Box<dyn Stream>,
    /// What has come and was not looked at yet.
    unread: Vec<u8>,
}

/// A request as bytes: a long body is not copied behind its head.
pub struct Message {
    pub head: Vec<u8>,
    pub body: Bytes,
}

/// What came back, and whether the connection may carry another request.
pub struct Received {
    pub answer: Response<Bytes>,
    pub keeps_alive: bool,
}

/// Why no answer came back.
pub enum Failure {
    /// Nothing of the request was written.
    Unsent(io::Error),
    /// The sink may have heard it.
    Lost(io::Error),
    Malformed(Malformed),
    /// The answer is longer than anybody may need.
    TooLong(Response<()>),
}

/// How far a request came.
enum Written {
    All,
    /// It was answered before it had been heard.
    Answered(Box<Head>),
    /// The sink has hung up. It may have said why.
    Cut,
}

impl Message {
    /// What of it is to be written next.
    fn rest(&self, written: usize) -> Option<&[u8]> {
        let rest = match written.checked_sub(self.head.len()) {
            None => &self.head[written..],
            Some(written) => &self.body[written..],
        };
        (!rest.is_empty()).then_some(rest)
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Failure::Malformed(malformed)
    }
}

impl Connection {
    pub fn on(stream: impl Stream + 'static) -> Self {
        Connection { stream: Box::new(stream), unread: Vec::new() }
    }

    /// Whether a kept connection is still open, as far as is known without writing to it. Who speaks unasked has lost count.
    pub async fn is_open(&mut self) -> bool {
        poll_fn(|context| Poll::Ready(self.poll_fill(context).is_pending())).await
    }

    /// One request and its answer. Whoever drops this midway must drop the connection as well.
    pub async fn exchange(&mut self, message: &Message) -> Result<Received, Failure> {
        let written = self.write(message).await?;
        let written_whole = matches!(written, Written::All);
        let mut head = match written {
            Written::Answered(head) => *head,
            Written::All | Written::Cut => self.head().await?,
        };
        loop {
            let taken = head.body.take(&self.unread)?;
            self.unread.drain(..taken);
            if head.body.length() > ANSWER_BYTES_MAX {
                return Err(Failure::TooLong(head.answer().map(drop)));
            }
            if head.body.is_whole() {
                break;
            }
            if self.fill().await? == 0 {
                head.body.end()?;
                break;
            }
        }
        let keeps_alive = head.keeps_alive && written_whole && self.unread.is_empty();
        Ok(Received { answer: head.answer(), keeps_alive })
    }

    /// Looks for an answer as long as the sink takes nothing: it may have one before it has heard everything.
    async fn write(&mut self, message: &Message) -> Result<Written, Failure> {
        let mut written = 0;
        poll_fn(|context| {
            loop {
                match self.poll_write(context, message, &mut written) {
                    Poll::Ready(Ok(())) => return Poll::Ready(Ok(Written::All)),
                    Poll::Ready(Err(error)) if written == 0 => return Poll::Ready(Err(Failure::Unsent(error))),
                    Poll::Ready(Err(_)) => return Poll::Ready(Ok(Written::Cut)),
                    Poll::Pending => {}
                }
                if ready!(self.poll_fill(context)).map_err(Failure::Lost)? == 0 {
                    return Poll::Ready(Ok(Written::Cut));
                }
                if let Some(head) = self.take_head()? {
                    return Poll::Ready(Ok(Written::Answered(Box::new(head))));
                }
            }
        })
        .await
    }

    fn poll_write(&mut self, context: &mut Context, message: &Message, written: &mut usize) -> Poll<io::Result<()>> {
        while let Some(rest) = message.rest(*written) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => *written += more,
            }
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    async fn head(&mut self) -> Result<Head, Failure> {
        loop {
            if let Some(head) = self.take_head()? {
                return Ok(head);
            }
            if self.fill().await? == 0 {
                return Err(Malformed::Cut.into());
            }
        }
    }

    /// The head of the answer, once it has come. Words between are heard and forgotten.
    fn take_head(&mut self) -> Result<Option<Head>, Malformed> {
        while let Some((head, length)) = Head::read(&self.unread)? {
            self.unread.drain(..length);
            if !head.is_interim() {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    async fn fill(&mut self) -> Result<usize, Failure> {
        poll_fn(|context| self.poll_fill(context)).await.map_err(Failure::Lost)
    }

    /// Reads what is there; nothing is the end.
    fn poll_fill(&mut self, context: &mut Context) -> Poll<io::Result<usize>> {
        self.unread.reserve(READ_BYTES);
        pin!(self.stream.read_buf(&mut self.unread)).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    fn message(body: usize) -> Message {
        Message { head: b"POST / HTTP/1.1\r\n\r\n".to_vec(), body: vec![b'x'; body].into() }
    }

    /// What a sink reads until it has so much, or nothing more comes.
    async fn hear(sink: &mut DuplexStream, length: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        while heard.len() < length && sink.read_buf(&mut heard).await.unwrap() > 0 {}
        heard
    }

    /// A pipe that takes so much until somebody reads.
    fn pipe(takes: usize) -> (Connection, DuplexStream) {
        let (ours, theirs) = duplex(takes);
        (Connection::on(ours), theirs)
    }

    #[tokio::test]
    async fn a_long_request_arrives_whole_and_the_connection_stays() {
        let (mut connection, mut sink) = pipe(1_000);
        let message = message(100_000);
        for _ in 0..2 {
            let serve = async {
                let heard = hear(&mut sink, 100_019).await;
                assert!(heard.starts_with(b"POST") && heard.len() == 100_019);
                sink.write_all(OK).await.unwrap();
            };
            let (received, ()) = tokio::join!(connection.exchange(&message), serve);
            let received = received.ok().expect("it was answered");
            assert!(received.keeps_alive && received.answer.body() == "ok");
            assert!(connection.is_open().await);
        }
    }

    #[tokio::test]
    async fn who_answers_before_it_has_heard_everything_is_heard() {
        for hangs_up in [false, true] {
            let (mut connection, mut sink) = pipe(1_000);
            let message = message(100_000);
            let serve = async {
                hear(&mut sink, 19).await;
                // A word between ends nothing.
                for word in ["HTTP/1.1 103 Early Hints\r\n\r\nHTTP", "/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n"]
                {
                    sink.write_all(word.as_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                }
                (!hangs_up).then_some(sink)
            };
            let (received, _sink) = tokio::join!(connection.exchange(&message), serve);
            let received = received.ok().expect("it was answered");
            assert_eq!((received.answer.status().as_u16(), received.keeps_alive), (413, false));
        }
    }

    #[tokio::test]
    async fn words_between_are_skipped() {
        let (mut connection, mut sink) = pipe(1_000);
        sink.write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nx: y\r\n\r\n").await.unwrap();
        sink.write_all(OK).await.unwrap();
        let received = connection.exchange(&message(0)).await.ok().expect("it was answered");
        assert_eq!((received.answer.status().as_u16(), received.keeps_alive), (200, true));
    }

    #[tokio::test]
    async fn nothing_is_read_of_an_answer_that_nobody_may_need() {
        let (mut connection, mut sink) = pipe(1_000);
        let head = format!("HTTP/1.1 429 No\r\nretry-after: 7\r\ncontent-length: {}\r\n\r\n", ANSWER_BYTES_MAX + 1);
        sink.write_all(head.as_bytes()).await.unwrap();
        let Err(Failure::TooLong(answer)) = connection.exchange(&message(0)).await else { panic!("it is too long") };
        assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"7".parse().unwrap()));
    }

    #[tokio::test]
    async fn an_answer_of_the_largest_size_comes_whole() {
        let (mut connection, mut sink) = pipe(64 << 10);
        let serve = async {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            sink.write_all(head.as_bytes()).await.unwrap();
            sink.write_all(format!("{ANSWER_BYTES_MAX:x}\r\n").as_bytes()).await.unwrap();
            sink.write_all(&vec![b'y'; ANSWER_BYTES_MAX]).await.unwrap();
            sink.write_all(b"\r\n0\r\n\r\n").await.unwrap();
        };
        let message = message(0);
        let (received, ()) = tokio::join!(connection.exchange(&message), serve);
        assert_eq!(received.ok().expect("it was answered").answer.body().len(), ANSWER_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_or_spoke_unasked_is_not_used_again() {
        let (mut closed, sink) = pipe(1_000);
        assert!(closed.is_open().await);
        drop(sink);
        assert!(!closed.is_open().await);
        assert!(matches!(closed.exchange(&message(0)).await, Err(Failure::Unsent(_))), "nothing was written");
        let (mut spoken, mut sink) = pipe(1_000);
        sink.write_all(b"HTTP/1.1 408 Request Timeout\r\n").await.unwrap();
        assert!(!spoken.is_open().await);
        let (mut both, mut sink) = pipe(1_000);
        sink.write_all(&[OK, b"more"].concat()).await.unwrap();
        assert!(!both.exchange(&message(0)).await.ok().expect("it was answered").keeps_alive);
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_is_none() {
        for said in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-le", &OK[..OK.len() - 1]] {
            let (mut connection, mut sink) = pipe(1_000);
            sink.write_all(said).await.unwrap();
            let serve = async {
                hear(&mut sink, 19).await;
                drop(sink);
            };
            let message = message(0);
            let (received, ()) = tokio::join!(connection.exchange(&message), serve);
            assert!(matches!(received, Err(Failure::Malformed(Malformed::Cut))));
        }
    }
}
