//! What our user may do with topics and groups, as the broker tells it: for `check`, and when it has refused something, since a
//! transaction's refusal does not say which of its topics it is about. rust-rdkafka does not ask, so librdkafka is called here.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::raw::c_char;
use std::ptr;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;
use rdkafka_sys as sys;

use super::client::Client;
use super::failure;
use super::transaction::Producer;
use crate::log::{Error, Right, Rights};

type Told = BTreeMap<String, BTreeSet<Right>>;

/// A client that lives at least as long as this.
#[derive(Clone, Copy)]
struct Asker<'a> {
    client: *mut sys::rd_kafka_t,
    _of: PhantomData<&'a ()>,
}

/// A question, its options, and the queue of its answer.
struct Question<'a> {
    asker: Asker<'a>,
    options: *mut sys::rd_kafka_AdminOptions_t,
    queue: *mut sys::rd_kafka_queue_t,
    limit: Duration,
}

/// Blocks at most twice as long as `limit`. A topic or a group that is not in the answer was not told of.
pub(super) fn ask(
    consumer: &BaseConsumer<Client>,
    topics: &[String],
    groups: &[String],
    limit: Duration,
) -> Result<Rights, Error> {
    let asker = Asker { client: consumer.client().native_ptr(), _of: PhantomData };
    let said = |code: RDKafkaErrorCode| failure::error(code, &code.to_string());
    Ok(Rights {
        topics: of_topics(asker, topics, limit).map_err(said)?,
        groups: of_groups(asker, groups, limit).map_err(said)?,
    })
}

/// Those of the topics that may not be written. A broker that tells of no operations forbids none that we could know.
pub(super) fn not_writable(
    producer: &Producer,
    topics: &BTreeSet<&str>,
    limit: Duration,
) -> Result<BTreeSet<String>, RDKafkaErrorCode> {
    let asker = Asker { client: producer.client().native_ptr(), _of: PhantomData };
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let told = of_topics(asker, &topics, limit)?;
    Ok(told.into_iter().filter(|(_, rights)| !rights.contains(&Right::Write)).map(|(topic, _)| topic).collect())
}

fn of_topics(asker: Asker, topics: &[String], limit: Duration) -> Result<Told, RDKafkaErrorCode> {
    let names = names(topics);
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let question = Question::new(asker, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, limit);
    // SAFETY: the names outlive the call, which copies them; results belong to the event, which is destroyed after the copy.
    unsafe {
        let collection = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        sys::rd_kafka_DescribeTopics(question.asker.client, collection, question.options, question.queue);
        sys::rd_kafka_TopicCollection_destroy(collection);
        question.answer(|event| {
            let mut count = 0;
            let result = sys::rd_kafka_event_DescribeTopics_result(event);
            let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            let told = slice(topics, count).iter().filter_map(|topic| {
                let mut count = 0;
                let operations = sys::rd_kafka_TopicDescription_authorized_operations(*topic, &mut count);
                entry(
                    sys::rd_kafka_TopicDescription_name(*topic),
                    sys::rd_kafka_TopicDescription_error(*topic),
                    // As numbers, in case of one that is unknown here.
                    slice(operations.cast::<u32>(), count),
                )
            });
            told.collect()
        })
    }
}

fn of_groups(asker: Asker, groups: &[String], limit: Duration) -> Result<Told, RDKafkaErrorCode> {
    let names = names(groups);
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let question = Question::new(asker, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, limit);
    // SAFETY: as above.
    unsafe {
        sys::rd_kafka_DescribeConsumerGroups(
            question.asker.client,
            pointers.as_mut_ptr(),
            pointers.len(),
            question.options,
            question.queue,
        );
        question.answer(|event| {
            let mut count = 0;
            let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event);
            let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
            let told = slice(groups, count).iter().filter_map(|group| {
                let mut count = 0;
                let operations = sys::rd_kafka_ConsumerGroupDescription_authorized_operations(*group, &mut count);
                entry(
                    sys::rd_kafka_ConsumerGroupDescription_group_id(*group),
                    sys::rd_kafka_ConsumerGroupDescription_error(*group),
                    slice(operations.cast::<u32>(), count),
                )
            });
            told.collect()
        })
    }
}

impl<'a> Question<'a> {
    fn new(asker: Asker<'a>, kind: sys::rd_kafka_admin_op_t, limit: Duration) -> Self {
        let (client, millis) = (asker.client, limit.as_millis() as i32);
        // SAFETY: the client lives as long as the borrow; what is made here is given back in `drop`. Both settings are allowed for
        // both kinds, so that their errors are null.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(client, kind);
            sys::rd_kafka_AdminOptions_set_request_timeout(options, millis, ptr::null_mut(), 0);
            sys::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
            Question { asker, options, queue: sys::rd_kafka_queue_new(client), limit }
        }
    }

    /// # Safety
    /// The question was asked, with this queue; `read` keeps nothing of the event.
    unsafe fn answer<T>(&self, read: impl FnOnce(*mut sys::rd_kafka_event_t) -> T) -> Result<T, RDKafkaErrorCode> {
        // SAFETY: the queue is valid; the event is destroyed once, after it has been read.
        unsafe {
            let event = sys::rd_kafka_queue_poll(self.queue, self.limit.as_millis() as i32);
            if event.is_null() {
                return Err(RDKafkaErrorCode::OperationTimedOut);
            }
            let answer = match sys::rd_kafka_event_error(event) {
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(read(event)),
                code => Err(code.into()),
            };
            sys::rd_kafka_event_destroy(event);
            answer
        }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        // SAFETY: made in `new`, given back once.
        unsafe {
            sys::rd_kafka_queue_destroy(self.queue);
            sys::rd_kafka_AdminOptions_destroy(self.options);
        }
    }
}

fn names(all: &[String]) -> Vec<CString> {
    all.iter().filter_map(|name| CString::new(name.as_str()).ok()).collect()
}

/// Whom the broker refuses has no right; of whom it says another error, nothing is known.
///
/// # Safety
/// `name` is a valid C string, `error` null or valid.
unsafe fn entry(
    name: *const c_char,
    error: *const sys::rd_kafka_error_t,
    operations: &[u32],
) -> Option<(String, BTreeSet<Right>)> {
    const READ: u32 = sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ as u32;
    const WRITE: u32 = sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_WRITE as u32;
    // SAFETY: as promised by the caller.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
    // SAFETY: as promised by the caller.
    let code = (!error.is_null()).then(|| RDKafkaErrorCode::from(unsafe { sys::rd_kafka_error_code(error) }));
    let right = |operation: &u32| match *operation {
        READ => Some(Right::Read),
        WRITE => Some(Right::Write),
        _ => None,
    };
    match code {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed) => {
            Some((name, BTreeSet::new()))
        }
        Some(code) if code != RDKafkaErrorCode::NoError => None,
        _ if operations.is_empty() => None,
        _ => Some((name, operations.iter().filter_map(right).collect())),
    }
}

/// # Safety
/// `start` is null or the start of `count` elements that outlive the result.
unsafe fn slice<'a, T>(start: *const T, count: usize) -> &'a [T] {
    // SAFETY: as promised by the caller.
    if start.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(start, count) } }
}
