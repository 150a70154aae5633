//! What unit tests share: a record and a source with nothing special about them.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{Config, Options, Source};
use crate::log::{Partition, Record};

pub fn record(topic: &str, number: i32, offset: i64) -> Record {
    let partition = Partition { topic: Arc::from(topic), number };
    Record { partition, offset, timestamp_ms: None, key: None, headers: Vec::new(), value: None }
}

/// A Source document `s` with more lines in its spec.
pub fn source(more: &str) -> Source {
    let text = format!(
        "apiVersion: till.dev/v1\nkind: Source\nmetadata: {{ name: s }}\nspec:\n  bootstrapServers: [b:1]\n  topics: [t]\n  \
         sink: {{ uri: 'http://127.0.0.1:9/' }}\n{more}"
    );
    let (texts, options) = ([(PathBuf::from("s.yaml"), text)], Options::default());
    let config = Config::parse(&texts, &options, &|_| None).expect("the document is right");
    config.sources.into_iter().next().expect("it holds one source")
}
