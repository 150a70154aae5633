//! How letters are told in JSON: a line in a list, or everything about one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::letter::Letter;

/// How much of a key and of what the sink said a list shows.
const SHOWN_MAX: usize = 256;

/// A letter in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub id: String,
    pub state: String,
    pub source: String,
    pub sink: String,
    /// Where the record came from.
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    pub reason: u16,
    pub said: String,
    pub attempts: u32,
    pub redriven: u32,
    pub given_up: String,
    pub bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub letters: Vec<Line>,
    /// Where to go on; absent at the end.
    pub cursor: Option<String>,
}

pub fn line(letter: &Letter, open: bool) -> Line {
    let original = &letter.original;
    Line {
        id: letter.id(),
        state: if open { "open" } else { "redriven" }.into(),
        source: letter.source.clone(),
        sink: letter.sink.clone(),
        topic: original.partition.topic.to_string(),
        partition: original.partition.number,
        offset: original.offset,
        key: original.key.as_deref().map(shown),
        reason: letter.code,
        said: shown(&letter.data),
        attempts: letter.attempts,
        redriven: letter.loops,
        given_up: instant(letter.given_up_ms),
        bytes: original.size(),
    }
}

/// The line, and what a list leaves out: the whole record, and the whole of what the sink said.
pub fn everything(letter: &Letter, open: bool) -> serde_json::Value {
    let original = &letter.original;
    let headers: Vec<serde_json::Value> = original
        .headers
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value.as_deref().map(bytes) }))
        .collect();
    let mut told = serde_json::to_value(line(letter, open)).unwrap_or_default();
    told["said"] = bytes(&letter.data);
    told["record"] = json!({
        "timestamp": original.timestamp_ms.map(instant),
        "key": original.key.as_deref().map(bytes),
        "headers": headers,
        "value": original.value.as_deref().map(bytes),
    });
    told
}

/// Text as it is, and other bytes as base64 with a word about it.
fn bytes(bytes: &[u8]) -> serde_json::Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": BASE64.encode(bytes) }),
    }
}

/// The beginning of a text, for a list; bytes that are no text are written as escapes.
fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().take(SHOWN_MAX).collect(),
        Err(_) => bytes[..bytes.len().min(SHOWN_MAX / 4)].escape_ascii().to_string(),
    }
}

fn instant(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
