//! The few calls into librdkafka that rust-rdkafka does not offer, each wrapped so that nothing unsafe leaves this file.
//!
//! Own commit of a transaction, because rust-rdkafka's flushes first and can waste 100 ms in it.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::raw::c_char;
use std::ptr;
use std::time::Duration;

use rdkafka::ClientContext as _;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka_sys as sys;

use super::client::{Client, Deliveries};

/// Whether a consumer has told its group that it goes (or was never in it): librdkafka forgets its name there then.
pub(super) fn has_left(consumer: &BaseConsumer<Client>) -> bool {
    // SAFETY: the client is valid; the name is ours to free, once, and may be null.
    unsafe {
        let name = sys::rd_kafka_memberid(consumer.client().native_ptr());
        let left = name.is_null() || *name == 0;
        if !name.is_null() {
            sys::rd_kafka_mem_free(ptr::null_mut(), name.cast());
        }
        left
    }
}

/// Commits offsets of a consumer's group outside of transactions; blocks at most so long. rust-rdkafka's own waits for ever,
/// and does not tell when one partition of several was refused.
pub(super) fn commit_offsets(
    consumer: &BaseConsumer<Client>,
    offsets: &TopicPartitionList,
    limit: Duration,
) -> Result<(), RDKafkaErrorCode> {
    // SAFETY: client and list are valid; the queue is ours, and so is the event that comes on it.
    let code = unsafe {
        let client = consumer.client().native_ptr();
        let queue = sys::rd_kafka_queue_new(client);
        let mut code = sys::rd_kafka_commit_queue(client, offsets.ptr(), queue, None, ptr::null_mut());
        if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            code = committed(sys::rd_kafka_queue_poll(queue, limit.as_millis() as i32));
        }
        sys::rd_kafka_queue_destroy(queue);
        code
    };
    match code {
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(code.into()),
    }
}

/// The first error that a commit tells.
///
/// # Safety
/// `event` is null or the answer to a commit, which is given back here.
unsafe fn committed(event: *mut sys::rd_kafka_event_t) -> sys::rd_kafka_resp_err_t {
    if event.is_null() {
        return sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
    // SAFETY: the list belongs to the event, which is destroyed once, after it was read.
    unsafe {
        let mut code = sys::rd_kafka_event_error(event);
        let list = sys::rd_kafka_event_topic_partition_list(event).as_ref().filter(|list| list.cnt > 0);
        let elements = list.map(|list| std::slice::from_raw_parts(list.elems, list.cnt as usize)).unwrap_or_default();
        let none = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        if let (true, Some(refused)) = (code == none, elements.iter().find(|one| one.err != none)) {
            code = refused.err;
        }
        sys::rd_kafka_event_destroy(event);
        code
    }
}

/// Why a transaction's commit did not succeed.
pub(super) struct CommitFailure {
    pub code: RDKafkaErrorCode,
    pub reason: String,
    pub retriable: bool,
    pub requires_abort: bool,
    pub fatal: bool,
}

/// Commits the open transaction; blocks at most so long. The producer's own thread serves the delivery reports meanwhile.
pub(super) fn commit_transaction(producer: &BaseProducer<Deliveries>, limit: Duration) -> Result<(), CommitFailure> {
    // SAFETY: the client is valid; an error is ours to destroy, once, after it has been copied.
    unsafe {
        let error = sys::rd_kafka_commit_transaction(producer.client().native_ptr(), limit.as_millis() as i32);
        if error.is_null() {
            return Ok(());
        }
        let failure = CommitFailure {
            code: sys::rd_kafka_error_code(error).into(),
            reason: text(sys::rd_kafka_error_string(error)),
            retriable: sys::rd_kafka_error_is_retriable(error) != 0,
            requires_abort: sys::rd_kafka_error_txn_requires_abort(error) != 0,
            fatal: sys::rd_kafka_error_is_fatal(error) != 0,
        };
        sys::rd_kafka_error_destroy(error);
        Err(failure)
    }
}

/// Waits until nothing is on its way to the broker; answers whether that came in time. rust-rdkafka's own takes 100 ms.
pub(super) fn flush(producer: &BaseProducer<Deliveries>, limit: Duration) -> bool {
    // SAFETY: the client is valid.
    let flushed = unsafe { sys::rd_kafka_flush(producer.client().native_ptr(), limit.as_millis() as i32) };
    flushed == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// Waits for what a producer has to tell at most so long, and passes it on: deliveries that failed, log lines, errors.
pub(super) fn hear(producer: &BaseProducer<Deliveries>, limit: Duration) {
    // SAFETY: the client is valid; queue and event are ours, and given back once, after everything has been copied.
    unsafe {
        let queue = sys::rd_kafka_queue_get_main(producer.client().native_ptr());
        let event = sys::rd_kafka_queue_poll(queue, limit.as_millis() as i32);
        if !event.is_null() {
            pass_on(producer.client().context(), event);
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_queue_destroy(queue);
    }
}

/// Ends the wait of [`hear`].
pub(super) fn wake(producer: &BaseProducer<Deliveries>) {
    // SAFETY: the client is valid; the queue is ours, and given back once.
    unsafe {
        let queue = sys::rd_kafka_queue_get_main(producer.client().native_ptr());
        sys::rd_kafka_queue_yield(queue);
        sys::rd_kafka_queue_destroy(queue);
    }
}

/// # Safety
/// `event` is valid.
unsafe fn pass_on(deliveries: &Deliveries, event: *mut sys::rd_kafka_event_t) {
    // SAFETY: each accessor belongs to the type that was asked for; what it answers lives as long as the event.
    unsafe {
        match sys::rd_kafka_event_type(event) {
            sys::RD_KAFKA_EVENT_DR => {
                while let Some(message) = sys::rd_kafka_event_message_next(event).as_ref() {
                    // The opaque of a record is its index, as a pointer.
                    deliveries.reported(message._private as usize, message.err.into());
                }
            }
            sys::RD_KAFKA_EVENT_ERROR => {
                let code = RDKafkaErrorCode::from(sys::rd_kafka_event_error(event));
                deliveries.error(KafkaError::Global(code), &text(sys::rd_kafka_event_error_string(event)));
            }
            sys::RD_KAFKA_EVENT_LOG => {
                let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
                if sys::rd_kafka_event_log(event, &mut facility, &mut line, &mut level) == 0 {
                    deliveries.log(log_level(level), text(facility).trim(), text(line).trim());
                }
            }
            _ => {}
        }
    }
}

/// That of syslog, as librdkafka numbers it.
fn log_level(level: i32) -> RDKafkaLogLevel {
    match level {
        ..=2 => RDKafkaLogLevel::Critical,
        3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        _ => RDKafkaLogLevel::Info,
    }
}
/// # Safety
/// `start` is null or a valid C string.
pub(super) unsafe fn text(start: *const c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: as promised by the caller.
    unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned()
}
