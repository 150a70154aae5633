//! The wire: a CloudEvents 1.0 envelope and its bindings. Bytes of HTTP or Kafka come in, an [`Event`] goes out, and back.
//!
//! Our own and not `cloudevents-sdk`, because the bridge must carry any bytes through without a copy and without
//! refusing what a stricter reader would (BRIDGE.md, "Bad bytes never stop a partition"), and needs batches.

pub mod http;
mod json;
pub mod kafka;
mod percent;

use std::collections::BTreeMap;

use bytes::Bytes;

/// The only specification version that is read and written.
pub const SPEC_VERSION: &str = "1.0";
/// Media type of one event with its attributes inside the JSON.
pub const STRUCTURED_JSON: &str = "application/cloudevents+json";
/// Media type of a JSON array of structured events.
pub const BATCH_JSON: &str = "application/cloudevents-batch+json";

/// Extensions that one event may have. More is no event that anybody could pass on: a header has room for less in most servers.
pub const EXTENSIONS_MAX: usize = 256;

/// A fact that happened, with its context attributes and its data as bytes.
///
/// Attribute values are kept as the text of their canonical string encoding (CloudEvents 1.0, "Type System"), so that
/// an event passes through unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Unique together with `source`.
    pub id: String,
    /// URI-reference of who says so.
    pub source: String,
    /// The attribute `type`: `function.aggregate.fact` for our own.
    pub kind: String,
    /// What it is about: the aggregate's id, and the Kafka key.
    pub subject: Option<String>,
    /// RFC 3339.
    pub time: Option<String>,
    /// Media type of `data`.
    pub datacontenttype: Option<String>,
    /// URI of the schema of `data`.
    pub dataschema: Option<String>,
    /// Extension attributes, by lower-case name.
    pub extensions: BTreeMap<String, String>,
    /// `None` is an event without data (a tombstone's), which differs from empty data.
    pub data: Option<Bytes>,
}

/// Why bytes are not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A required attribute is absent or empty.
    #[error("the required attribute `{0}` is missing or empty")]
    Missing(&'static str),
    /// The version is not 1.0.
    #[error("specversion is `{0}`, and only 1.0 is understood")]
    SpecVersion(String),
    /// A header or JSON member is no attribute.
    #[error("the attribute `{name}` is not valid: {reason}")]
    Attribute {
        /// As it was found.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The body is not the JSON that its content type promises.
    #[error("the body is not valid JSON of a CloudEvent: {0}")]
    Json(String),
    /// The content type is `application/cloudevents…` in a format other than JSON.
    #[error("the event format `{0}` is not understood; use JSON")]
    Format(String),
}

impl Event {
    /// An event with the required attributes and nothing else.
    pub fn new(id: impl Into<String>, source: impl Into<String>, kind: impl Into<String>) -> Self {
        Event {
            id: id.into(),
            source: source.into(),
            kind: kind.into(),
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: BTreeMap::new(),
            data: None,
        }
    }

    /// The value of a context attribute by its CloudEvents name (`type`, `id`, `comexampleextension`, …).
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "specversion" => Some(SPEC_VERSION),
            "id" => Some(&self.id),
            "source" => Some(&self.source),
            "type" => Some(&self.kind),
            "subject" => self.subject.as_deref(),
            "time" => self.time.as_deref(),
            "datacontenttype" => self.datacontenttype.as_deref(),
            "dataschema" => self.dataschema.as_deref(),
            other => self.extensions.get(other).map(String::as_str),
        }
    }

    /// Every attribute but `datacontenttype`, which each binding carries in a place of its own.
    fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let fixed = [
            ("specversion", Some(SPEC_VERSION)),
            ("id", Some(self.id.as_str())),
            ("source", Some(self.source.as_str())),
            ("type", Some(self.kind.as_str())),
            ("subject", self.subject.as_deref()),
            ("time", self.time.as_deref()),
            ("dataschema", self.dataschema.as_deref()),
        ];
        let extensions = self.extensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        fixed.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(extensions)
    }
}

/// Collects attributes as a binding finds them, and checks at the end that an event has what it must.
#[derive(Default)]
struct Collector {
    specversion: Option<String>,
    id: Option<String>,
    source: Option<String>,
    kind: Option<String>,
    subject: Option<String>,
    time: Option<String>,
    datacontenttype: Option<String>,
    dataschema: Option<String>,
    extensions: BTreeMap<String, String>,
}

impl Collector {
    fn set(&mut self, name: &str, value: String) -> Result<(), Malformed> {
        let slot = match name {
            "specversion" => &mut self.specversion,
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.kind,
            "subject" => &mut self.subject,
            "time" => &mut self.time,
            "datacontenttype" => &mut self.datacontenttype,
            "dataschema" => &mut self.dataschema,
            other if is_extension_name(other) => {
                if self.extensions.len() >= EXTENSIONS_MAX {
                    let reason = "an event has at most 256 extensions";
                    return Err(Malformed::Attribute { name: other.to_owned(), reason });
                }
                self.extensions.insert(other.to_owned(), value);
                return Ok(());
            }
            other => {
                let reason = "a name is lower-case letters and digits, and not `data`";
                return Err(Malformed::Attribute { name: other.to_owned(), reason });
            }
        };
        *slot = Some(value);
        Ok(())
    }

    fn finish(self, data: Option<Bytes>) -> Result<Event, Malformed> {
        match self.specversion.as_deref() {
            Some(SPEC_VERSION) => {}
            Some(other) => return Err(Malformed::SpecVersion(other.to_owned())),
            None => return Err(Malformed::Missing("specversion")),
        }
        Ok(Event {
            id: required("id", self.id)?,
            source: required("source", self.source)?,
            kind: required("type", self.kind)?,
            subject: self.subject.filter(|subject| !subject.is_empty()),
            time: self.time,
            datacontenttype: self.datacontenttype,
            dataschema: self.dataschema,
            extensions: self.extensions,
            data,
        })
    }
}

fn required(name: &'static str, value: Option<String>) -> Result<String, Malformed> {
    value.filter(|value| !value.is_empty()).ok_or(Malformed::Missing(name))
}

/// Whether an extension may be called so.
pub fn is_extension_name(name: &str) -> bool {
    let fixed = [
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
        "data",
        "data_base64",
    ];
    is_attribute_name(name) && !fixed.contains(&name)
}

/// CloudEvents 1.0, "Naming Conventions": lower-case ASCII letters and digits. The recommended 20 characters are no bound.
fn is_attribute_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Whether a media type says "an event is inside", in any case and with any parameters.
pub fn is_cloudevents_media_type(content_type: &str) -> bool {
    let prefix = "application/cloudevents";
    content_type.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// The media type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// `application/json`, `text/json` and `…+json` hold JSON (CloudEvents JSON format 1.0, section 3.1).
fn is_json_media_type(content_type: &str) -> bool {
    let kind = essence(content_type).to_ascii_lowercase();
    kind.ends_with("/json") || kind.ends_with("+json")
}

#[cfg(test)]
pub(crate) fn sample() -> Event {
    let mut event = Event::new("id-1", "/till/payment", "payment.invoice.paid");
    event.subject = Some("inv_1".into());
    event.time = Some("2026-01-02T03:04:05Z".into());
    event.datacontenttype = Some("application/json".into());
    event.extensions.insert("sequence".into(), "7".into());
    event.data = Some(Bytes::from_static(b"{\"n\":1.0}"));
    event
}
