//! HTTP/1.1 as bytes (RFC 9112): the head and the body of an answer are read from what has come so far. Nothing here waits.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use httparse::Status;

use super::chunks::{Chunk, keep};

/// The longest head, or line between two chunks, that is read.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 128;
/// Fields that belong to the connection, and others that nobody looks at in any answer: they are not kept.
const UNKEPT: &[&str] = &["connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"];

/// Why bytes are no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the answer is not HTTP/1.1: {0}")]
    Head(httparse::Error),
    #[error("the head of the answer is too long")]
    TooLong,
    #[error("the answer does not say clearly how long it is")]
    Length,
    #[error("the answer has a transfer coding that nobody asked for")]
    Coding,
    #[error("the chunks of the answer are not well formed")]
    Chunk,
    #[error("the connection was closed before the end of the answer")]
    Cut,
}

/// The first lines of an answer.
#[derive(Debug)]
pub struct Head {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    /// Whether another request may follow on the connection.
    pub keeps_alive: bool,
}

/// A body that is being read.
#[derive(Debug)]
pub struct Body {
    bytes: Vec<u8>,
    rest: Rest,
}

/// How the end of a body is known.
#[derive(Debug, PartialEq, Eq)]
enum Rest {
    Known(usize),
    Chunks(Chunk),
    UntilClose,
}

/// What the fields of a head say of framing.
#[derive(Default)]
struct Framing {
    length: Option<usize>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Head {
    /// The head at the start of `bytes` and how long it is; `None` while its end has not come.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields) {
            Ok(Status::Complete(length)) if length <= HEAD_BYTES_MAX => Ok(Some((Head::of(&parsed)?, length))),
            Ok(Status::Partial) if bytes.len() < HEAD_BYTES_MAX => Ok(None),
            Ok(_) => Err(Malformed::TooLong),
            Err(error) => Err(Malformed::Head(error)),
        }
    }

    /// Whether this is a word between, and the answer is still to come.
    pub fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// The answer, with what has come of its body.
    pub fn answer(self) -> Response<Bytes> {
        let mut answer = Response::new(self.body.bytes.into());
        (*answer.status_mut(), *answer.headers_mut()) = (self.status, self.headers);
        answer
    }

    fn of(parsed: &httparse::Response) -> Result<Self, Malformed> {
        let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed::Length)?;
        let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        let (mut headers, mut framing) = (HeaderMap::new(), Framing::default());
        for field in parsed.headers.iter() {
            framing.hear(field.name, field.value)?;
            if UNKEPT.iter().any(|name| name.eq_ignore_ascii_case(field.name)) {
                continue;
            }
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(field.name.as_bytes()), HeaderValue::from_bytes(field.value))
            {
                headers.append(name, value);
            }
        }
        let rest = framing.rest(status, version)?;
        let keeps_alive = framing.keeps_alive(version) && rest != Rest::UntilClose && !status.is_informational();
        Ok(Head { status, headers, body: Body { bytes: Vec::new(), rest }, keeps_alive })
    }
}

impl Framing {
    fn hear(&mut self, name: &str, value: &[u8]) -> Result<(), Malformed> {
        let mut words = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        if name.eq_ignore_ascii_case("content-length") {
            return words.try_for_each(|word| self.hear_length(word));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            let chunked = !self.chunked && words.all(|word| word.eq_ignore_ascii_case(b"chunked"));
            self.chunked = chunked;
            return if chunked { Ok(()) } else { Err(Malformed::Coding) };
        }
        if name.eq_ignore_ascii_case("connection") {
            for word in words {
                self.close |= word.eq_ignore_ascii_case(b"close");
                self.keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        Ok(())
    }

    /// Said twice it must be the same: else two readers see two bodies.
    fn hear_length(&mut self, word: &[u8]) -> Result<(), Malformed> {
        let digits = std::str::from_utf8(word).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits.and_then(|digits| digits.parse().ok()).ok_or(Malformed::Length)?;
        match self.length.replace(length) {
            Some(other) if other != length => Err(Malformed::Length),
            _ => Ok(()),
        }
    }

    /// RFC 9112, section 6.3.
    fn rest(&self, status: StatusCode, version: Version) -> Result<Rest, Malformed> {
        let empty = status.is_informational() || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        match self.length {
            _ if empty => Ok(Rest::Known(0)),
            _ if self.chunked && version == Version::HTTP_10 => Err(Malformed::Coding),
            _ if self.chunked => Ok(Rest::Chunks(Chunk::Size)),
            Some(length) => Ok(Rest::Known(length)),
            None => Ok(Rest::UntilClose),
        }
    }

    /// A length beside chunks may be somebody's trick on who reads it otherwise: nothing more is believed of that connection.
    fn keeps_alive(&self, version: Version) -> bool {
        let wanted = if version == Version::HTTP_10 { self.keep_alive } else { true };
        wanted && !self.close && !(self.chunked && self.length.is_some())
    }
}

impl Body {
    pub fn is_whole(&self) -> bool {
        matches!(self.rest, Rest::Known(0) | Rest::Chunks(Chunk::Nothing))
    }

    /// How long it is at least: it may say more than has come.
    pub fn length(&self) -> usize {
        let known = match self.rest {
            Rest::Known(rest) | Rest::Chunks(Chunk::Data(rest)) => rest,
            _ => 0,
        };
        self.bytes.len().saturating_add(known)
    }

    /// Takes what is its own of `bytes`; answers how much that was. What it left has to come again, with more behind it.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut taken = 0;
        while !self.is_whole() {
            match self.step(&bytes[taken..])? {
                0 => break,
                step => taken += step,
            }
        }
        Ok(taken)
    }

    /// Nothing more will come.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.is_whole() || self.rest == Rest::UntilClose { Ok(()) } else { Err(Malformed::Cut) }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match &mut self.rest {
            Rest::Known(rest) => {
                let taken = keep(&mut self.bytes, bytes, *rest);
                *rest -= taken;
                Ok(taken)
            }
            Rest::UntilClose => Ok(keep(&mut self.bytes, bytes, usize::MAX)),
            Rest::Chunks(chunk) => chunk.step(&mut self.bytes, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer that comes in parts of at most `part` bytes: its status, its body, what was left, and whether the connection stays.
    fn read(answer: &[u8], part: usize) -> Result<(u16, Vec<u8>, usize, bool), Malformed> {
        let (mut come, mut unread) = (answer.chunks(part), Vec::new());
        let mut head = loop {
            if let Some((head, length)) = Head::read(&unread)? {
                unread.drain(..length);
                break head;
            }
            unread.extend_from_slice(come.next().ok_or(Malformed::Cut)?);
        };
        loop {
            let taken = head.body.take(&unread)?;
            unread.drain(..taken);
            if head.body.is_whole() {
                break;
            }
            match come.next() {
                Some(more) => unread.extend_from_slice(more),
                None => break head.body.end()?,
            }
        }
        let left = unread.len() + come.map(<[u8]>::len).sum::<usize>();
        Ok((head.status.as_u16(), head.body.bytes, left, head.keeps_alive))
    }

    /// The same, however the bytes are cut.
    #[track_caller]
    fn check(answer: &str, expected: Result<(u16, &str, usize, bool), Malformed>) {
        let expected = expected.map(|(status, body, left, alive)| (status, body.as_bytes().to_vec(), left, alive));
        for part in [1, 2, 3, 7, answer.len().max(1)] {
            assert_eq!(read(answer.as_bytes(), part), expected, "{answer:?} in parts of {part}");
        }
    }

    #[test]
    fn a_body_ends_where_its_length_says() {
        check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokmore", Ok((200, "ok", 4, true)));
        check("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\ncontent-length: 2\r\n\r\nok", Ok((200, "ok", 0, true)));
        check("HTTP/1.1 202 \r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", Ok((202, "", 0, false)));
        check("HTTP/1.1 500 Oh\r\ncontent-length: 3\r\n\r\nok", Err(Malformed::Cut));
    }

    #[test]
    fn some_answers_have_no_body_whatever_they_say() {
        check("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", Ok((204, "", 0, true)));
        check("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", Ok((304, "", 0, true)));
        check("HTTP/1.1 101 Switching Protocols\r\n\r\nwhatever", Ok((101, "", 8, false)));
    }

    #[test]
    fn chunks_are_put_together_and_trailers_left_out() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
        check(&format!("{head}2;x=y\r\nok\r\nA\r\n0123456789\r\n0\r\n\r\n!"), Ok((200, "ok0123456789", 1, true)));
        check(&format!("{head}0\r\nexpires: never\r\nx: y\r\n\r\n"), Ok((200, "", 0, true)));
        check(&format!("{head}2\r\nok\r\n"), Err(Malformed::Cut));
        check(&format!("{head}2\r\nokay\r\n"), Err(Malformed::Chunk));
        check(&format!("{head}two\r\nok\r\n"), Err(Malformed::Chunk));
        check(&format!("{head}fffffffffffffffff\r\nok\r\n"), Err(Malformed::Chunk));
    }

    #[test]
    fn without_a_length_the_close_is_the_end() {
        check("HTTP/1.1 200 OK\r\n\r\nall of it", Ok((200, "all of it", 0, false)));
        check("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", Ok((200, "ok", 0, false)));
        check("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", Ok((200, "ok", 0, true)));
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_refused() {
        for fields in ["content-length: 1\r\ncontent-length: 2", "content-length: 1, 2", "content-length: +1"] {
            check(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nok"), Err(Malformed::Length));
        }
        for coding in ["gzip, chunked", "gzip", "chunked, chunked\r\ntransfer-encoding: chunked"] {
            check(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}\r\n\r\n"), Err(Malformed::Coding));
        }
        check("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Err(Malformed::Coding));
        let both = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        check(both, Ok((200, "", 0, false)));
    }

    #[test]
    fn fields_of_the_connection_are_not_kept_and_others_are() {
        let answer = b"HTTP/1.1 200 OK\r\nDate: now\r\nCE-Id: 1\r\nx: a\r\nX: b\r\ncontent-length: 0\r\n\r\n";
        let (head, _) = Head::read(answer).unwrap().unwrap();
        let kept: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(kept, [("ce-id", "1"), ("x", "a"), ("x", "b")]);
    }

    #[test]
    fn no_head_and_no_line_grows_without_bound() {
        let long = "a".repeat(HEAD_BYTES_MAX + 1);
        assert_eq!(read(format!("HTTP/1.1 200 {long}").as_bytes(), 4_096), Err(Malformed::TooLong));
        let many = "x: y\r\n".repeat(HEADERS_MAX + 1);
        let many = read(format!("HTTP/1.1 200 OK\r\n{many}\r\n").as_bytes(), 4_096);
        assert_eq!(many, Err(Malformed::Head(httparse::Error::TooManyHeaders)));
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        for line in [format!("{head}1;{long}"), format!("{head}0\r\n{long}")] {
            assert!(read(line.as_bytes(), 4_096).is_err(), "{:?}", &line[..80]);
        }
    }

    #[test]
    fn any_bytes_are_an_answer_or_an_error() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let words: &[&str] = &[
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.0 500 \r\n",
            "content-length: 3\r\n",
            "transfer-encoding: chunked\r\n",
            "\r\n",
            "\r",
            "\n",
            "3\r\n",
            "0\r\n",
            "abc",
            "connection: close\r\n",
            ";",
            "f",
            "\0",
            "é",
        ];
        for _ in 0..20_000 {
            let answer: String = (0..random.usize(..12)).map(|_| words[random.usize(..words.len())]).collect();
            let whole = read(answer.as_bytes(), answer.len().max(1));
            let cut = read(answer.as_bytes(), random.usize(1..5));
            // Where it is wrong may be noticed before it is all there.
            assert_eq!(whole.as_ref().ok(), cut.as_ref().ok(), "{answer:?}");
        }
    }
}
