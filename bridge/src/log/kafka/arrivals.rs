//! What a consumer has to tell, copied out of librdkafka: events of the group on one queue, what was fetched on another.
//!
//! Own polling, because rust-rdkafka drops the topic and the offset of a partition's end, and the offset there (transaction
//! markers included) is what an idle partition commits. Two queues, so that who has no room for records leaves them where they
//! are and hears of the group all the same: a pause would throw away what was fetched, and fetch the first partitions again.
//! A record's bytes are copied once, into one allocation.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::raw::{c_char, c_void};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

use super::client::Client;
use super::raw::text;
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

/// A consumer's queue of everything that is not taken elsewhere.
pub(super) struct Events<'a> {
    queue: *mut sys::rd_kafka_queue_t,
    /// Names of the topics seen, so that records share them.
    names: Vec<Arc<str>>,
    _of: PhantomData<&'a BaseConsumer<Client>>,
}

/// What comes to a member of a group.
pub(super) struct Arrivals<'a> {
    /// Assignments, revocations and troubles. What comes here ends the wait for records.
    pub events: Events<'a>,
    /// Records, ends and troubles of the partitions that were received.
    pub records: Events<'a>,
    client: *mut sys::rd_kafka_t,
}

impl<'a> Arrivals<'a> {
    pub(super) fn of(consumer: &'a BaseConsumer<Client>) -> Self {
        let client = consumer.client().native_ptr();
        let events = Events::of(consumer);
        // SAFETY: the client lives as long as the borrow. The callback's queue is destroyed after the callback was taken back,
        // in `drop`; it runs on librdkafka's threads and does nothing but wake.
        let records = unsafe {
            let queue = sys::rd_kafka_queue_new(client);
            sys::rd_kafka_queue_cb_event_enable(events.queue, Some(end_wait), queue.cast());
            Events { queue, names: Vec::new(), _of: PhantomData }
        };
        Arrivals { events, records, client }
    }

    /// What is fetched of a partition comes to `records`, from its next assignment on.
    pub(super) fn receive(&self, partition: &Partition) {
        let topic = CString::new(&*partition.topic).expect("a topic's name holds no zero");
        // SAFETY: the client and both queues are valid; the partition's is given back once.
        unsafe {
            let queue = sys::rd_kafka_queue_get_partition(self.client, topic.as_ptr(), partition.number);
            assert!(!queue.is_null(), "a partition that was assigned has a queue");
            sys::rd_kafka_queue_forward(queue, self.records.queue);
            sys::rd_kafka_queue_destroy(queue);
        }
    }
}

impl Drop for Arrivals<'_> {
    fn drop(&mut self) {
        // SAFETY: both queues are still there: fields are dropped after this.
        unsafe { sys::rd_kafka_queue_cb_event_enable(self.events.queue, None, ptr::null_mut()) }
    }
}

unsafe extern "C" fn end_wait(_: *mut sys::rd_kafka_t, queue: *mut c_void) {
    // SAFETY: the queue is that of the records, which outlives the callback.
    unsafe { sys::rd_kafka_queue_yield(queue.cast()) }
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
