//! Writing without transactions, where a broker or its ACLs allow none: records first, and offsets after every record is
//! acknowledged. At least once: what fails in the middle is written again as a whole.

use std::collections::BTreeMap;

use rdkafka::TopicPartitionList;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;

use super::failure::{self, error, fault};
use super::transaction::{Committer, Producer, STEP_TIMEOUT, send};
use super::{positions, raw};
use crate::log::{Commit, Error, NewRecord, Partition};

/// Whether the cluster says that this client may have no transactions at all.
pub(super) fn has_no_transactions(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        ClusterAuthorizationFailed, TransactionalIdAuthorizationFailed, UnsupportedFeature, UnsupportedVersion,
    };
    matches!(
        code,
        TransactionalIdAuthorizationFailed | ClusterAuthorizationFailed | UnsupportedFeature | UnsupportedVersion
    )
}

/// Writes the records, and commits when the broker has them all.
pub(super) fn write(
    producer: &Producer,
    committer: Option<&Committer>,
    records: &[&NewRecord],
    commits: &BTreeMap<&Partition, &Commit>,
) -> Result<(), Error> {
    let failed = send_all(producer, records.iter().copied().enumerate())?;
    for (index, _) in failed {
        // A batch is refused as a whole: only who is refused alone is to blame.
        let alone = send_all(producer, std::iter::once((index, records[index])))?;
        if let Some((_, code)) = alone.first() {
            return Err(failure::of_record(index, records[index], *code));
        }
    }
    match committer {
        Some(committer) if !commits.is_empty() => commit(committer, commits),
        _ => Ok(()),
    }
}

/// Sends and waits for the acknowledgements; answers whom the broker has refused.
fn send_all<'a>(
    producer: &Producer,
    records: impl Iterator<Item = (usize, &'a NewRecord)>,
) -> Result<Vec<(usize, RDKafkaErrorCode)>, Error> {
    producer.context().take_failed();
    for (index, record) in records {
        send(producer, index, record)?;
    }
    if !raw::flush(producer, STEP_TIMEOUT) {
        return Err(Error::Unavailable("records were not acknowledged in time".into()));
    }
    let failed = producer.context().take_failed();
    match failed.iter().find(|(_, code)| fault(*code).is_none()) {
        Some((_, code)) => Err(error(*code, &code.to_string())),
        None => Ok(failed),
    }
}

/// Commits offsets, which only a living member of the group may.
pub(super) fn commit(committer: &Committer, commits: &BTreeMap<&Partition, &Commit>) -> Result<(), Error> {
    let mut offsets = TopicPartitionList::with_capacity(commits.len());
    for commit in commits.values() {
        positions::add(&mut offsets, commit).map_err(|error| failure::of(&error))?;
    }
    raw::commit_offsets(&committer.consumer, &offsets, STEP_TIMEOUT).map_err(|code| error(code, &code.to_string()))
}
