//! Writing without transactions, where a broker or its ACLs allow none: records first, and offsets after every record is
//! acknowledged. At least once: when the brokers go away in the middle, all of it is written again. A record that is refused costs the
//! others nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use rdkafka::TopicPartitionList;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;

use super::failure::{self, error};
use super::transaction::{Committer, Producer, STEP_TIMEOUT, send};
use super::{positions, raw};
use crate::log::{Commit, Error, NewRecord, Partition, Refused};

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
    let mut refused = Vec::new();
    for index in send_all(producer, records, 0..records.len())?.into_keys() {
        // A batch is refused as a whole: only who is refused alone is to blame.
        refused.extend(send_all(producer, records, index..index + 1)?.into_values());
    }
    if !refused.is_empty() {
        return Err(Error::Partly(refused));
    }
    match committer {
        Some(committer) if !commits.is_empty() => commit(committer, commits),
        _ => Ok(()),
    }
}

/// Sends some of the records and waits for the acknowledgements; answers who was refused.
fn send_all(
    producer: &Producer,
    records: &[&NewRecord],
    some: Range<usize>,
) -> Result<BTreeMap<usize, Refused>, Error> {
    producer.context().take_failed();
    let mut refused = BTreeMap::new();
    for index in some {
        if let Err(error) = send(producer, index, records[index]) {
            refused.insert(index, refusal(error)?);
        }
    }
    if !raw::flush(producer, STEP_TIMEOUT) {
        return Err(Error::Unavailable("records were not acknowledged in time".into()));
    }
    for (index, code) in producer.context().take_failed() {
        refused.insert(index, refusal(failure::of_record(index, records[index], code))?);
    }
    Ok(refused)
}

/// Of a record. What is wrong with more than it goes back.
fn refusal(error: Error) -> Result<Refused, Error> {
    match error {
        Error::Record { index, topic, fault, reason } => Ok(Refused { index, topic, fault, reason }),
        error => Err(error),
    }
}

/// What became of some of the records that were written together.
pub(super) fn outcome_of(own: Range<usize>, outcome: &Result<(), Error>) -> Result<(), Error> {
    let Err(Error::Partly(refused)) = outcome else { return outcome.clone() };
    match refused.iter().find(|refused| own.contains(&refused.index)) {
        Some(refused) => Err(Refused { index: refused.index - own.start, ..refused.clone() }.into()),
        None => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Fault;

    #[test]
    fn of_those_who_wrote_together_only_whose_record_was_refused_hears_of_it() {
        let refused = |index| Refused { index, topic: "t".into(), fault: Fault::TooLarge, reason: "it is".into() };
        let together = Err(Error::Partly(vec![refused(2), refused(4)]));
        let check = |own, expected| assert_eq!(outcome_of(own, &together), expected);
        check(0..2, Ok(()));
        check(2..3, Err(refused(0).into()));
        check(3..6, Err(refused(1).into()));
        assert_eq!(outcome_of(0..2, &Err(Error::Closed)), Err(Error::Closed));
    }
}
