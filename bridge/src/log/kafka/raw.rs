//! The few calls into librdkafka that rust-rdkafka does not offer, each wrapped so that nothing unsafe leaves this file.
//!
//! Own polling, because rust-rdkafka drops the topic and the offset of a partition's end, and the offset there (transaction
//! markers included) is what an idle partition commits. Own commit of a transaction, because rust-rdkafka's flushes first and
//! can waste 100 ms in it. A record's bytes are copied once, into one allocation.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::raw::{c_char, c_void};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rdkafka::ClientContext as _;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka_sys as sys;

use super::client::{Client, Deliveries};
use crate::log::{Partition, Record};

/// What a consumer's queue holds next.
pub(super) enum Polled {
    Nothing,
    Record(Record),
    End { partition: Partition, next: i64 },
    Gained(Vec<Partition>),
    Lost(Vec<Partition>),
    Trouble(Trouble),
}

/// An error of the consumer.
pub(super) struct Trouble {
    pub code: RDKafkaErrorCode,
    pub reason: String,
    pub fatal: bool,
    /// Where, if it concerns one partition, and at which offset.
    pub place: Option<(Partition, i64)>,
}

/// A consumer's queue of everything.
pub(super) struct Events<'a> {
    queue: *mut sys::rd_kafka_queue_t,
    /// Names of the topics seen, so that records share them.
    names: Vec<Arc<str>>,
    _of: PhantomData<&'a BaseConsumer<Client>>,
}

impl<'a> Events<'a> {
    pub(super) fn of(consumer: &'a BaseConsumer<Client>) -> Self {
        // SAFETY: the client lives as long as the borrow; the queue has a count of its own and is given back in `drop`.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        assert!(!queue.is_null(), "a consumer with a group has a queue");
        Events { queue, names: Vec::new(), _of: PhantomData }
    }

    /// Waits for something at most so long.
    pub(super) fn poll(&mut self, limit: Duration) -> Polled {
        // SAFETY: the queue is valid; the event is destroyed once, after everything in it has been copied.
        unsafe {
            let event = sys::rd_kafka_queue_poll(self.queue, limit.as_millis() as i32);
            if event.is_null() {
                return Polled::Nothing;
            }
            let polled = self.copy(event);
            sys::rd_kafka_event_destroy(event);
            polled
        }
    }

    /// # Safety
    /// `event` is valid.
    unsafe fn copy(&mut self, event: *mut sys::rd_kafka_event_t) -> Polled {
        // SAFETY: each accessor belongs to the type that was asked for.
        unsafe {
            match sys::rd_kafka_event_type(event) {
                sys::RD_KAFKA_EVENT_FETCH => {
                    let message = sys::rd_kafka_event_message_next(event);
                    message.as_ref().map_or(Polled::Nothing, |message| Polled::Record(self.record(message)))
                }
                sys::RD_KAFKA_EVENT_REBALANCE => self.rebalance(event),
                sys::RD_KAFKA_EVENT_ERROR => self.trouble(event),
                _ => Polled::Nothing,
            }
        }
    }

    /// # Safety
    /// `message` is one of a valid event.
    unsafe fn record(&mut self, message: &sys::rd_kafka_message_t) -> Record {
        // SAFETY: pointers and lengths of a message describe memory that lives as long as its event.
        unsafe {
            let topic = self.name(sys::rd_kafka_topic_name(message.rkt));
            let key = bytes(message.key, message.key_len);
            let value = bytes(message.payload, message.len);
            let headers = headers(message);
            let mut copy = Copy::with_capacity(key, value, &headers);
            Record {
                partition: Partition { topic, number: message.partition },
                offset: message.offset,
                timestamp_ms: timestamp(message),
                key: copy.take(key),
                headers: headers.into_iter().map(|(name, value)| (name, copy.take(value))).collect(),
                value: copy.take(value),
            }
        }
    }

    /// # Safety
    /// `event` is a rebalance.
    unsafe fn rebalance(&mut self, event: *mut sys::rd_kafka_event_t) -> Polled {
        // SAFETY: the list belongs to the event.
        unsafe {
            let gained =
                sys::rd_kafka_event_error(event) == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
            let list = sys::rd_kafka_event_topic_partition_list(event).as_ref();
            // An empty list has no memory.
            let list = list.filter(|list| list.cnt > 0);
            let elements =
                list.map(|list| std::slice::from_raw_parts(list.elems, list.cnt as usize)).unwrap_or_default();
            let partitions =
                elements.iter().map(|one| Partition { topic: self.name(one.topic), number: one.partition }).collect();
            if gained { Polled::Gained(partitions) } else { Polled::Lost(partitions) }
        }
    }

    /// # Safety
    /// `event` is an error.
    unsafe fn trouble(&mut self, event: *mut sys::rd_kafka_event_t) -> Polled {
        // SAFETY: the partition is a copy for us to destroy; the text belongs to the event.
        unsafe {
            let code = RDKafkaErrorCode::from(sys::rd_kafka_event_error(event));
            let mut place = None;
            let copy = sys::rd_kafka_event_topic_partition(event);
            if let Some(one) = copy.as_ref() {
                place = Some((Partition { topic: self.name(one.topic), number: one.partition }, one.offset));
                sys::rd_kafka_topic_partition_destroy(copy);
            }
            if let (RDKafkaErrorCode::PartitionEOF, Some((partition, next))) = (code, &place) {
                return Polled::End { partition: partition.clone(), next: *next };
            }
            let reason = text(sys::rd_kafka_event_error_string(event));
            Polled::Trouble(Trouble { code, reason, fatal: sys::rd_kafka_event_error_is_fatal(event) != 0, place })
        }
    }

    /// # Safety
    /// `name` is a valid C string.
    unsafe fn name(&mut self, name: *const c_char) -> Arc<str> {
        // SAFETY: as promised by the caller.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        if let Some(known) = self.names.iter().find(|known| ***known == *name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        name
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        // SAFETY: taken in `of`, given back once.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) }
    }
}

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

/// One allocation that a record's parts are slices of.
struct Copy(BytesMut);

impl Copy {
    fn with_capacity(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(String, Option<&[u8]>)]) -> Self {
        let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let headers: usize = headers.iter().map(|(_, value)| length(*value)).sum();
        Copy(BytesMut::with_capacity(length(key) + length(value) + headers))
    }

    fn take(&mut self, part: Option<&[u8]>) -> Option<Bytes> {
        self.0.extend_from_slice(part?);
        Some(self.0.split().freeze())
    }
}

/// # Safety
/// `start` is null or the start of `length` bytes that outlive the result.
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as promised by the caller.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), length) })
}

/// # Safety
/// The message is valid as long as the result.
unsafe fn headers(message: &sys::rd_kafka_message_t) -> Vec<(String, Option<&[u8]>)> {
    let mut found = Vec::new();
    // SAFETY: the list belongs to the message; names and values belong to the list.
    unsafe {
        let mut list = ptr::null_mut();
        if sys::rd_kafka_message_headers(message, &mut list) != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return found;
        }
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        while sys::rd_kafka_header_get_all(list, found.len(), &mut name, &mut value, &mut length)
            == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            found.push((text(name), bytes(value, length)));
        }
    }
    found
}

/// # Safety
/// The message is valid.
unsafe fn timestamp(message: &sys::rd_kafka_message_t) -> Option<i64> {
    let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: both pointers are valid.
    let at = unsafe { sys::rd_kafka_message_timestamp(message, &mut kind) };
    (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(at)
}

/// # Safety
/// `start` is null or a valid C string.
unsafe fn text(start: *const c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: as promised by the caller.
    unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned()
}
