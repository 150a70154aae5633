//! Whether our user may write in transactions under an id, asked without taking the id from a bridge that runs under it. A broker looks
//! at the rights first, and then at how long a transaction may take: asked for longer than it allows, it refuses for the one or for
//! the other, and has changed nothing.

use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

use super::client::Properties;
use super::{failure, plain};
use crate::log::Error;

/// 23 days, about the most that can be asked for; brokers allow 15 minutes, unless they were told otherwise. One that allows even this
/// would make a bridge that runs under the id take it again, and redo one transaction.
const TOO_LONG_MS: i32 = 2_000_000_000;

/// Why there are no transactions under this id; `None` when there are. Blocks at most so long.
pub(super) fn refusal(properties: &Properties, id: &str, limit: Duration) -> Result<Option<String>, Error> {
    let mut config = properties.plain();
    config.set("transactional.id", id).set("transaction.timeout.ms", TOO_LONG_MS.to_string());
    // As long as a transaction may take, unless it is said.
    config.set("socket.timeout.ms", limit.as_millis().to_string());
    let created = config.create_with_context(Quiet);
    let producer: BaseProducer<Quiet> = created.map_err(|error| Error::Config(format!("Kafka client: {error}")))?;
    let Err(refused) = producer.init_transactions(limit) else { return Ok(None) };
    match refused.rdkafka_error_code() {
        Some(RDKafkaErrorCode::InvalidTransactionTimeout) => Ok(None),
        Some(code) if plain::has_no_transactions(code) => Ok(Some(code.to_string())),
        _ => Err(failure::of(&refused)),
    }
}

/// A refusal is the answer, and nothing to be loud about.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!(facility, line, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ProducerContext for Quiet {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
