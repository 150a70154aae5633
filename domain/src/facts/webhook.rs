//! The payloads on topic `webhook`: what became of each delivery, and of the endpoints. The addresses of endpoints stay
//! out of them, because merchants put secrets there.

use serde::{Deserialize, Serialize};

use crate::delivery::Disabled;

/// [`DeliveryTold`]: it is to be made; subject of all these: the delivery.
pub const DELIVERY_CREATED: &str = "webhook.delivery.created";
/// [`DeliveryTold`]: the next attempt is to be made now.
pub const DELIVERY_DUE: &str = "webhook.delivery.due";
/// [`DeliveryTold`]: the endpoint took it.
pub const DELIVERY_SUCCEEDED: &str = "webhook.delivery.succeeded";
/// [`DeliveryFailed`]: an attempt failed, and another follows.
pub const DELIVERY_FAILED: &str = "webhook.delivery.failed";
/// [`DeliveryTold`]: the last attempt failed.
pub const DELIVERY_EXHAUSTED: &str = "webhook.delivery.exhausted";
/// [`EndpointDisabled`]; subject: the endpoint.
pub const ENDPOINT_DISABLED: &str = "webhook.endpoint.disabled";

/// One event on its way to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeliveryTold {
    /// `dlv_…`, derived from the event and the endpoint; the merchant sees it as `webhook-id`.
    pub delivery: String,
    /// `ep_…`
    pub endpoint: String,
    /// The user who owns the endpoint.
    pub merchant: String,
    /// The type of the event that is delivered.
    pub event_type: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// The endpoint's HTTP status, if it answered at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// An attempt failed, and another follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeliveryFailed {
    /// The delivery.
    #[serde(flatten)]
    pub delivery: DeliveryTold,
    /// When it is tried again, RFC 3339.
    pub next_at: String,
}

/// Nothing is sent to an endpoint any more, until its owner enables it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EndpointDisabled {
    /// `ep_…`
    pub endpoint: String,
    /// The user who owns it.
    pub merchant: String,
    /// Why.
    pub reason: Disabled,
}
