//! What people ask for: letters by topic, source, reason, key and time, page by page.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::letter::Letter;
use crate::log::Partition;

/// Where a letter stands; its text is `topic/partition/offset`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Place {
    pub partition: Partition,
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.rsplitn(3, '/');
        let mut number = || parts.next()?.parse::<i64>().ok().filter(|number| *number >= 0);
        let (offset, partition) = (number(), number().and_then(|number| i32::try_from(number).ok()));
        match (parts.next(), partition, offset) {
            (Some(topic), Some(partition), Some(offset)) if !topic.is_empty() => {
                Ok(Place { partition: Partition::new(topic, partition), offset })
            }
            _ => Err(format!("`{text}` is no letter's id: topic/partition/offset")),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Which letters are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    #[default]
    Open,
    Redriven,
    All,
}

/// The letters that are asked for. What is not said does not matter.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// The topic that the record came from.
    pub topic: Option<String>,
    pub source: Option<String>,
    /// The status that the sink answered; 0 when it did not.
    pub reason: Option<u16>,
    /// The record's key, as text.
    pub key: Option<String>,
    /// Given up at or after `since`, and before `until`.
    #[serde(deserialize_with = "instant")]
    pub since: Option<Timestamp>,
    #[serde(deserialize_with = "instant")]
    pub until: Option<Timestamp>,
    /// These and no others.
    pub ids: Option<BTreeSet<Place>>,
}

fn instant<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = Deserialize::deserialize(text)?;
    text.map(|text| text.parse().map_err(|_| D::Error::custom(format!("`{text}` is no RFC 3339 instant")))).transpose()
}

impl Filter {
    pub fn is_empty(&self) -> bool {
        let Filter { topic, source, reason, key, since, until, ids } = self;
        let texts = [topic, source, key].iter().all(|text| text.is_none());
        texts && reason.is_none() && since.is_none() && until.is_none() && ids.is_none()
    }

    pub fn matches(&self, letter: &Letter) -> bool {
        let given_up = letter.given_up_ms;
        let same = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let key = self.key.as_ref().map(String::as_bytes);
        same(&self.topic, &letter.original.partition.topic)
            && same(&self.source, &letter.source)
            && self.reason.is_none_or(|code| code == letter.code)
            && key.is_none_or(|key| letter.original.key.as_deref() == Some(key))
            && self.since.is_none_or(|since| given_up >= since.as_millisecond())
            && self.until.is_none_or(|until| given_up < until.as_millisecond())
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&letter.place()))
    }
}

impl Letter {
    pub fn place(&self) -> Place {
        Place { partition: self.partition.clone(), offset: self.offset }
    }

    pub fn id(&self) -> String {
        self.place().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_topic_partition_offset() {
        let place: Place = "dead/3/17".parse().unwrap();
        assert_eq!((place.to_string().as_str(), place.offset), ("dead/3/17", 17));
        for text in ["", "dead", "dead/3", "/3/17", "dead/x/17", "dead/3/-1", "dead/99999999999/1"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
