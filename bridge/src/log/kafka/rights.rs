//! What our credentials may do, as the broker tells it: asked only when it has refused something, since a transaction's refusal
//! does not say which of its topics it is about.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::ptr;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;
use rdkafka_sys as sys;

use super::transaction::Producer;

/// Those of the topics that may not be written.
pub(super) fn not_writable(
    producer: &Producer,
    topics: &BTreeSet<&str>,
    limit: Duration,
) -> Result<BTreeSet<String>, RDKafkaErrorCode> {
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(*topic).ok()).collect();
    let mut starts: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the client outlives the call; what is made here is given back here, once, after its last use.
    unsafe {
        let client = producer.client().native_ptr();
        let queue = sys::rd_kafka_queue_new(client);
        let asked = sys::rd_kafka_TopicCollection_of_topic_names(starts.as_mut_ptr(), starts.len());
        let options =
            sys::rd_kafka_AdminOptions_new(client, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let refused = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
        if !refused.is_null() {
            sys::rd_kafka_error_destroy(refused);
        }
        let limit = limit.as_millis() as i32;
        sys::rd_kafka_AdminOptions_set_request_timeout(options, limit, ptr::null_mut(), 0);
        sys::rd_kafka_DescribeTopics(client, asked, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, limit);
        let told = told(event);
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_TopicCollection_destroy(asked);
        sys::rd_kafka_queue_destroy(queue);
        told
    }
}

/// # Safety
/// `event` is null or the answer to the question about topics.
unsafe fn told(event: *mut sys::rd_kafka_event_t) -> Result<BTreeSet<String>, RDKafkaErrorCode> {
    if event.is_null() {
        return Err(RDKafkaErrorCode::OperationTimedOut);
    }
    // SAFETY: the result and all that it tells belong to the event.
    unsafe {
        match sys::rd_kafka_event_error(event) {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            code => return Err(code.into()),
        }
        let mut count = 0;
        let first =
            sys::rd_kafka_DescribeTopics_result_topics(sys::rd_kafka_event_DescribeTopics_result(event), &mut count);
        let topics = (0..count).map(|index| *first.add(index));
        let forbidden = topics.filter(|topic| !may_write(*topic));
        let name = |topic| CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned();
        Ok(forbidden.map(name).collect())
    }
}

/// # Safety
/// `topic` is one of a valid answer.
unsafe fn may_write(topic: *const sys::rd_kafka_TopicDescription_t) -> bool {
    const WRITE: u32 = sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_WRITE as u32;
    // SAFETY: the error and the operations belong to the topic. They are read as numbers, in case of one that is unknown here.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(topic);
        let code = if error.is_null() { None } else { Some(RDKafkaErrorCode::from(sys::rd_kafka_error_code(error))) };
        let mut count = 0;
        let first = sys::rd_kafka_TopicDescription_authorized_operations(topic, &mut count);
        match code {
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => false,
            // A broker that tells of no operations forbids none that we could know.
            _ if first.is_null() || count == 0 => true,
            _ => (0..count).any(|index| *first.add(index).cast::<u32>() == WRITE),
        }
    }
}
