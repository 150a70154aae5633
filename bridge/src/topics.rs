//! The topics of KafkaSink documents: what is missing is created, and nothing is ever changed, since key order hangs on the number
//! of partitions.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::error::Error;
use crate::log::{Log, NewTopic};

/// What was found and done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub created: Vec<String>,
    /// Topics with another number of partitions than their document says: name, found, wanted. They are left as they are.
    pub different: Vec<(String, i32, i32)>,
}

/// Creates the topics of the configuration that are missing in its log.
pub async fn apply(config: &Config) -> Result<Report, Error> {
    let log = crate::open_log(config)?;
    apply_to(&log, config.new_topics()).await
}

pub(crate) async fn apply_to(log: &Log, wanted: Vec<NewTopic>) -> Result<Report, Error> {
    let created = log.create_topics(wanted.clone()).await?;
    let found = log.topics().await?;
    Ok(Report { created, different: differences(&wanted, &found) })
}

fn differences(wanted: &[NewTopic], found: &BTreeMap<String, i32>) -> Vec<(String, i32, i32)> {
    let differs = |topic: &NewTopic| {
        let partitions = *found.get(&topic.name)?;
        (partitions != topic.partitions).then(|| (topic.name.clone(), partitions, topic.partitions))
    };
    wanted.iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // promise: BRIDGE: `till topics apply` creates what is missing and never changes a partition count
    #[tokio::test]
    async fn topics_are_created_and_never_changed() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::embedded(&folder.path().join("log.db")).unwrap();
        let topic = |partitions| vec![NewTopic { name: "t".into(), partitions, replication: 1, retention: None }];
        let report = apply_to(&log, topic(3)).await.unwrap();
        assert_eq!(report, Report { created: vec!["t".into()], different: vec![] });
        let report = apply_to(&log, topic(5)).await.unwrap();
        assert_eq!(report, Report { created: vec![], different: vec![("t".into(), 3, 5)] });
    }
}
