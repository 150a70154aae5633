//! The payloads on topic `mailer`: what became of each mail. None of them carries an e-mail address.

use serde::{Deserialize, Serialize};

use crate::mail::{FailureReason, Template};

/// [`MessageTold`]: it is written and waits to be sent; subject of all these: the message.
pub const MESSAGE_QUEUED: &str = "mailer.message.queued";
/// [`MessageTold`]: the provider took it.
pub const MESSAGE_SENT: &str = "mailer.message.sent";
/// [`MessageFailed`]: it will not be sent.
pub const MESSAGE_FAILED: &str = "mailer.message.failed";
/// [`MessageTold`]: it could not be sent while it was of use.
pub const MESSAGE_EXPIRED: &str = "mailer.message.expired";

/// One mail to one user about one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MessageTold {
    /// `msg_…`, derived from the event, the user and the template.
    pub message: String,
    /// Whom it is for.
    pub user: String,
    /// Which text it is.
    pub template: Template,
}

/// A mail that will not be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MessageFailed {
    /// The mail.
    #[serde(flatten)]
    pub message: MessageTold,
    /// Why.
    pub reason: FailureReason,
}
