//! What librdkafka's error codes mean to the bridge: a record that will never be taken, a member that was replaced, or a
//! cluster that is away.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::log::{Error, Fault, NewRecord};

/// The fault of a record; `None` when the code blames none.
pub(super) fn fault(code: Code) -> Option<Fault> {
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => Some(Fault::TooLarge),
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::InvalidTopic => Some(Fault::UnknownTopic),
        Code::UnknownPartition => Some(Fault::UnknownPartition),
        Code::TopicAuthorizationFailed => Some(Fault::Forbidden),
        Code::InvalidMessage | Code::InvalidRecord | Code::InvalidTimestamp => Some(Fault::Invalid),
        _ => None,
    }
}

pub(super) fn of_record(index: usize, record: &NewRecord, code: Code) -> Error {
    let (topic, reason) = (record.topic.clone(), code.to_string());
    fault(code)
        .map_or_else(|| error(code, &reason), |fault| Error::Record { index, topic, fault, reason: reason.clone() })
}

pub(super) fn of(failed: &KafkaError) -> Error {
    match failed.rdkafka_error_code() {
        Some(code) => error(code, &failed.to_string()),
        None => Error::Unavailable(failed.to_string()),
    }
}

pub(super) fn error(code: Code, reason: &str) -> Error {
    match code {
        Code::OffsetMetadataTooLarge => Error::Metadata(reason.to_owned()),
        Code::FencedInstanceId | Code::Fenced | Code::ProducerFenced | Code::TransactionCoordinatorFenced => {
            Error::Fenced(reason.to_owned())
        }
        Code::TransactionalIdAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::UnsupportedFeature => Error::Config(reason.to_owned()),
        _ => Error::Unavailable(reason.to_owned()),
    }
}

/// Whether a consumer's trouble means that no broker can be reached.
pub(super) fn is_away(code: Code) -> bool {
    use Code::{AllBrokersDown, Authentication, BrokerTransportFailure, Resolve, SSL};
    matches!(code, AllBrokersDown | Authentication | BrokerTransportFailure | Resolve | SSL)
}
