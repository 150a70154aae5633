//! Access control of a broker whose `authorizer` lets everybody do what no rule speaks of. Clients without a name are
//! `User:ANONYMOUS`, so that a rule against them is a rule against the bridge.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka_sys as sys;

/// Lines of server.properties.
pub const PROPERTIES: &str = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                              allow.everyone.if.no.acl.found=true";

/// Nobody may write to this topic; everybody may look at it.
pub fn forbid_writing(broker: &str, topic: &str) {
    use sys::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_LITERAL as LITERAL;
    use sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC as TOPIC;
    create(broker, TOPIC, topic, LITERAL, false);
    create(broker, TOPIC, topic, LITERAL, true);
}

/// Nobody may have a transactional id that begins so.
pub fn forbid_transactions(broker: &str, prefix: &str) {
    use sys::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_PREFIXED as PREFIXED;
    use sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID as TRANSACTIONAL_ID;
    create(broker, TRANSACTIONAL_ID, prefix, PREFIXED, true);
}

/// One rule: everything is allowed, or writing is denied.
fn create(
    broker: &str,
    kind: sys::rd_kafka_ResourceType_t,
    name: &str,
    pattern: sys::rd_kafka_ResourcePatternType_t,
    denies: bool,
) {
    use sys::rd_kafka_AclOperation_t::{RD_KAFKA_ACL_OPERATION_ALL, RD_KAFKA_ACL_OPERATION_WRITE};
    use sys::rd_kafka_AclPermissionType_t::{RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, RD_KAFKA_ACL_PERMISSION_TYPE_DENY};
    let (operation, permission) = match denies {
        true => (RD_KAFKA_ACL_OPERATION_WRITE, RD_KAFKA_ACL_PERMISSION_TYPE_DENY),
        false => (RD_KAFKA_ACL_OPERATION_ALL, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW),
    };
    let client: BaseProducer = ClientConfig::new().set("bootstrap.servers", broker).create().unwrap();
    let (named, user) = (CString::new(name).unwrap(), CString::new("User:ANONYMOUS").unwrap());
    let (name, who, none) = (named.as_ptr(), user.as_ptr(), ptr::null_mut());
    // SAFETY: the texts outlive the call, which copies them; the rule is given back by `write`.
    let rule = unsafe {
        sys::rd_kafka_AclBinding_new(kind, name, pattern, who, c"*".as_ptr(), operation, permission, none, 0)
    };
    assert!(!rule.is_null(), "the rule is well made");
    write(&client, rule);
}

fn write(client: &BaseProducer, mut rule: *mut sys::rd_kafka_AclBinding_t) {
    // SAFETY: the client outlives its queue; rule, queue and event are ours and given back once.
    unsafe {
        let client = client.client().native_ptr();
        let queue = sys::rd_kafka_queue_new(client);
        sys::rd_kafka_CreateAcls(client, &mut rule, 1, ptr::null(), queue);
        let event = sys::rd_kafka_queue_poll(queue, 20_000);
        assert!(!event.is_null(), "the broker takes no rules");
        let (mut count, result) = (0, sys::rd_kafka_event_CreateAcls_result(event));
        let results = sys::rd_kafka_CreateAcls_result_acls(result, &mut count);
        assert_eq!(count, 1);
        let error = sys::rd_kafka_acl_result_error(*results);
        assert!(error.is_null(), "the rule was refused: {:?}", sys::rd_kafka_error_code(error));
        sys::rd_kafka_event_destroy(event);
        sys::rd_kafka_queue_destroy(queue);
        sys::rd_kafka_AclBinding_destroy(rule);
    }
}
