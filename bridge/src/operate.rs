//! `dead-letters list|show|redrive`: the operating API's client, for `till-bridge` and `till` alike. Options come in; text for a person,
//! or JSON for a machine, goes to standard output, progress to standard error.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use url::Url;

use crate::config;
use crate::token::tokens_in;

const BRIDGE: &str = "http://127.0.0.1:3001";
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a bridge that is still reading is asked again, a second apart.
const PATIENCE: u32 = 120;
const PAGE: usize = 100;

const EXAMPLES: &str = "\
Examples:
  till-bridge dead-letters list --source core --since 2026-11-23T00:00:00Z
  till-bridge dead-letters show dead-letters/3/17
  till-bridge dead-letters redrive --reason 422 --dry-run
  till-bridge dead-letters redrive --source core --rate 50

Exit codes: 0 done, 1 something was refused or is not there, 64 asked wrongly, 69 no bridge answers, 77 the token is refused.";

/// Which bridge is asked, and how it is told.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct DeadLetters {
    /// The bridge's address; http://127.0.0.1:3001 when not given
    #[arg(long = "bridge", value_name = "URL", env = "TILL_BRIDGE", global = true)]
    pub address: Option<Url>,
    /// The file with the token of its API
    #[arg(long, value_name = "FILE", env = "TILL_API_TOKEN", global = true)]
    pub api_token: Option<PathBuf>,
    /// JSON, one document
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub ask: Ask,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Ask {
    /// List dead letters, the oldest of a partition first
    List {
        #[command(flatten)]
        which: Which,
        /// open, redriven or all
        #[arg(long, default_value = "open")]
        state: String,
        /// How many at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one letter with everything about it
    Show {
        /// topic/partition/offset, as `list` tells it
        id: String,
    },
    /// Deliver letters again, to the source that gave up and to nobody else
    Redrive {
        /// These letters and no others
        ids: Vec<String>,
        #[command(flatten)]
        which: Which,
        /// All that are open
        #[arg(long)]
        all: bool,
        /// Only tell what would be done
        #[arg(long)]
        dry_run: bool,
        /// Letters a second
        #[arg(long, default_value_t = 100)]
        rate: usize,
        /// How often one letter may be redriven
        #[arg(long, default_value_t = 5)]
        loops_max: u32,
    },
}

/// The letters that are meant. What is not said does not matter.
#[derive(Debug, Clone, Default, Args)]
pub struct Which {
    /// The topic that the record came from
    #[arg(long)]
    topic: Option<String>,
    /// The source that gave up
    #[arg(long)]
    source: Option<String>,
    /// The status that the sink answered; 0 when it did not
    #[arg(long, value_name = "STATUS")]
    reason: Option<u16>,
    /// The record's key
    #[arg(long)]
    key: Option<String>,
    /// Given up at this instant (RFC 3339) or later
    #[arg(long, value_name = "INSTANT")]
    since: Option<String>,
    /// Given up before this instant
    #[arg(long, value_name = "INSTANT")]
    until: Option<String>,
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("{bridge}: {reason}\n  remedy: start it with --api-token FILE, or name another one by --bridge URL")]
    Away { bridge: String, reason: String },
    #[error("the bridge refuses the token: {0}\n  remedy: name the file of its --api-token by --api-token FILE")]
    Token(String),
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// As in sysexits.h.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Refused(_) => 1,
            Error::Usage(_) => 64,
            Error::Away { .. } => 69,
            Error::Token(_) => 77,
        }
    }
}

impl Which {
    fn entries(&self) -> Map<String, Value> {
        let Which { topic, source, reason, key, since, until } = self;
        let texts = [("topic", topic), ("source", source), ("key", key), ("since", since), ("until", until)];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::from(text.clone()?))));
        texts.chain(reason.map(|code| ("reason".to_owned(), code.into()))).collect()
    }

    fn query(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.entries() {
            query.append_pair(&name, value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str());
        }
        query.finish()
    }
}

/// Does what is asked; answers the exit code.
pub async fn dead_letters(asked: &DeadLetters) -> Result<u8, Error> {
    let client = Client::new(asked)?;
    match &asked.ask {
        Ask::List { which, state, limit } => list(asked, &client, which, state, *limit).await,
        Ask::Show { id } => {
            let letter = client.ask(Method::GET, &format!("/dead-letters/{id}"), None).await?;
            print(&format!("{letter:#}"));
            Ok(0)
        }
        Ask::Redrive { .. } => redrive(asked, &client).await,
    }
}

async fn list(asked: &DeadLetters, client: &Client, which: &Which, state: &str, limit: usize) -> Result<u8, Error> {
    let (mut letters, mut cursor) = (Vec::new(), String::new());
    let more = loop {
        let (query, page) = (which.query(), PAGE.min(limit.saturating_sub(letters.len()).max(1)));
        let path = format!("/dead-letters?state={state}&limit={page}&{query}{cursor}");
        let found = client.ask(Method::GET, &path, None).await?;
        letters.extend(found["letters"].as_array().cloned().unwrap_or_default());
        let Some(next) = found["cursor"].as_str() else { break false };
        if letters.len() >= limit {
            break true;
        }
        cursor = format!("&cursor={next}");
        progress(&format!("{} letters so far", letters.len()));
    };
    progress("");
    if asked.json {
        print(&format!("{:#}", json!({ "letters": letters, "more": more })));
        return Ok(0);
    }
    letters.iter().for_each(|letter| print(&line(letter)));
    match (letters.len(), more) {
        (0, _) => eprintln!("no dead letters"),
        (count, true) => eprintln!("the first {count}; --limit shows more"),
        (count, false) => eprintln!("{count} dead letters"),
    }
    Ok(0)
}

async fn redrive(asked: &DeadLetters, client: &Client) -> Result<u8, Error> {
    let Ask::Redrive { ids, which, all, dry_run, rate, loops_max } = &asked.ask else { return Ok(0) };
    let mut filter = which.entries();
    if !ids.is_empty() {
        filter.insert("ids".into(), json!(ids));
    }
    let mut order =
        json!({ "where": filter, "all": all, "dry_run": dry_run, "rate": rate, "loops_max": loops_max, "limit": 500 });
    let (mut redriven, mut refused) = (Vec::new(), Vec::new());
    let stopped = loop {
        let told = client.ask(Method::POST, "/dead-letters/redrive", Some(order.to_string())).await?;
        redriven.extend(told["redriven"].as_array().cloned().unwrap_or_default());
        refused.extend(told["refused"].as_array().cloned().unwrap_or_default());
        let cursor = told["cursor"].clone();
        if !told["stopped"].is_null() || cursor.is_null() {
            break told["stopped"].as_str().map(str::to_owned);
        }
        order["cursor"] = cursor;
        progress(&format!("{} redriven, {} refused", redriven.len(), refused.len()));
    };
    progress("");
    if asked.json {
        let told = json!({ "dry_run": dry_run, "redriven": redriven, "refused": refused, "stopped": stopped });
        print(&format!("{told:#}"));
    } else {
        tell(&redriven, &refused, *dry_run);
    }
    match stopped {
        Some(reason) => Err(Error::Refused(format!("it was broken off: {reason}\n  remedy: the same command goes on"))),
        None => Ok(u8::from(!refused.is_empty())),
    }
}

fn tell(redriven: &[Value], refused: &[Value], dry_run: bool) {
    let (red, plain) = if std::io::stdout().is_terminal() { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
    if dry_run {
        redriven.iter().for_each(|letter| print(&line(letter)));
    }
    for letter in refused {
        print(&format!("{red}{}  refused: {}{plain}", text(&letter["id"]), text(&letter["reason"])));
    }
    let verb = if dry_run { "would be redriven" } else { "redriven" };
    print(&format!("{} {verb}, {} refused", redriven.len(), refused.len()));
}

/// One letter on one line.
fn line(letter: &Value) -> String {
    let [id, given_up, source, reason] = ["id", "given_up", "source", "reason"].map(|name| text(&letter[name]));
    let origin = format!("{}/{}/{}", text(&letter["topic"]), letter["partition"], letter["offset"]);
    let loops = letter["redriven"].as_u64().filter(|loops| *loops > 0);
    let loops = loops.map_or_else(String::new, |loops| format!("  redriven {loops}×"));
    let key = letter["key"].as_str().map_or_else(String::new, |key| format!("  key {key:?}"));
    format!("{id}  {given_up}  {source}  {reason} {:?}  from {origin}{key}{loops}", text(&letter["said"]))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A reader that has gone is no reason to fail.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// One line that is written over, for a person who waits.
fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

/// One bridge, called with its token.
struct Client {
    bridge: Url,
    token: Option<String>,
}

impl Client {
    fn new(asked: &DeadLetters) -> Result<Self, Error> {
        let bridge = asked.address.clone().unwrap_or_else(|| Url::parse(BRIDGE).expect("it is an address"));
        if bridge.scheme() != "http" || !bridge.has_host() {
            return Err(Error::Usage(format!("`{}` is no address such as {BRIDGE}", config::shown(&bridge))));
        }
        let read = |file: &PathBuf| {
            let text = std::fs::read_to_string(file)
                .map_err(|error| Error::Usage(format!("the token in {}: {error}", file.display())))?;
            Ok(tokens_in(&text).next().unwrap_or_default().to_owned())
        };
        Ok(Client { bridge, token: asked.api_token.as_ref().map(read).transpose()? })
    }

    /// Asks, again while the bridge says that it is not ready to tell.
    async fn ask(&self, method: Method, path: &str, body: Option<String>) -> Result<Value, Error> {
        let mut tries = 0;
        loop {
            let body = body.clone().unwrap_or_default();
            let called = tokio::time::timeout(CALL_TIMEOUT, self.call(method.clone(), path, body)).await;
            let away = |reason: String| Error::Away { bridge: config::shown(&self.bridge), reason };
            let (status, told) = called.map_err(|_| away("no answer in time".into()))?.map_err(away)?;
            let detail = || text(&told["detail"]);
            match status.as_u16() {
                200..=299 => return Ok(told),
                503 if tries < PATIENCE => {
                    tries += 1;
                    progress(&detail());
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                401 => return Err(Error::Token(detail())),
                400 => return Err(Error::Usage(detail())),
                404 if told["detail"].is_null() => return Err(away("this is no bridge".into())),
                _ => return Err(Error::Refused(detail())),
            }
        }
    }

    async fn call(&self, method: Method, path: &str, body: String) -> Result<(StatusCode, Value), String> {
        let (host, port) = (self.bridge.host_str().unwrap_or_default(), self.bridge.port_or_known_default());
        let authority = format!("{host}:{}", port.unwrap_or(80));
        let stream = TcpStream::connect(&authority).await.map_err(|error| error.to_string())?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, driver) = handshake.map_err(|error| error.to_string())?;
        let request = Request::builder().method(method).uri(path).header(HOST, authority);
        let request = request.header(CONTENT_LENGTH, body.len());
        let request = match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        };
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        tokio::spawn(driver);
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_told_on_one_line_whatever_is_in_it() {
        let letter = json!({
            "id": "dead/0/1", "given_up": "2026-01-01T00:00:00Z", "source": "core", "reason": 422, "said": "no\nnever",
            "topic": "in", "partition": 2, "offset": 9, "key": "k\u{1b}", "redriven": 2,
        });
        let told = line(&letter);
        assert!(
            told.contains("422 \"no\\nnever\"") && told.contains("from in/2/9") && told.ends_with("redriven 2×"),
            "{told}"
        );
        assert!(!told.contains(['\n', '\u{1b}']), "{told}");
    }

    #[test]
    fn what_is_meant_becomes_a_query() {
        let which = Which { key: Some("a b&c".into()), reason: Some(0), ..Which::default() };
        assert_eq!(which.query(), "key=a+b%26c&reason=0");
    }
}
