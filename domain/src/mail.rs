//! A mail to a user about an event: what happened to it goes in; the state after it, and what is to be told, come out.
//!
//! ```text
//! new, user unknown ──▶ Waiting ──┐
//!                          │      │ user registered
//!                          │      ▼
//! new, user known ─────────┼─▶ Queued ─┬─ provider took it ───────────▶ Sent
//!                          │           ├─ refused, suppressed, unwanted ▶ Failed
//!                          └───────────┴─ too late ───────────────────▶ Expired
//! ```

pub mod address;
pub mod template;

use serde::{Deserialize, Serialize};

pub use address::{Address, Mailbox};
pub use template::{Category, Locale, Template};

/// One mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which text it is.
    pub template: Template,
    /// When it stops to be of use, in milliseconds since 1970.
    pub expires_at_ms: i64,
    /// Where it stands.
    pub state: State,
}

/// Where a mail stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The user's address is not known yet: events of two topics have no order.
    Waiting,
    /// To be sent.
    Queued,
    /// The provider took it.
    Sent,
    /// It will not be sent.
    Failed(FailureReason),
    /// It could not be sent in time.
    Expired,
}

/// Why a mail will not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FailureReason {
    /// Nothing is sent to the address any more.
    Suppressed,
    /// The user does not want mails of this category.
    Unwanted,
    /// The user's address is none.
    AddressInvalid,
    /// The template cannot be filled with the event's values.
    ContentInvalid,
    /// The provider refuses the mail for good.
    ProviderRefused,
    /// The user was erased.
    UserErased,
}

/// What may happen to a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// The user's address became known.
    UserKnown,
    /// The provider took it.
    Accepted,
    /// Something is against it, for good.
    Hindered(FailureReason),
    /// Its time is over.
    Late,
}

/// What a mail says after something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is to be sent.
    Queued,
    /// It was sent.
    Sent,
    /// It will not be sent.
    Failed(FailureReason),
    /// It could not be sent in time.
    Expired,
}

impl Message {
    /// A new mail, and what it says.
    pub fn write(template: Template, user_known: bool, now_ms: i64) -> (Message, Option<Effect>) {
        let expires_at_ms = now_ms + template.ttl_ms();
        let message = Message { template, expires_at_ms, state: State::Waiting };
        if user_known { message.decide(Happening::UserKnown) } else { (message, None) }
    }

    /// The state after something happened. What comes too late to change anything is passed over.
    pub fn decide(self, happening: Happening) -> (Message, Option<Effect>) {
        let (state, effect) = match (self.state, happening) {
            (State::Waiting, Happening::UserKnown) => (State::Queued, Effect::Queued),
            (State::Queued, Happening::Accepted) => (State::Sent, Effect::Sent),
            (State::Waiting | State::Queued, Happening::Hindered(reason)) => {
                (State::Failed(reason), Effect::Failed(reason))
            }
            (State::Waiting | State::Queued, Happening::Late) => (State::Expired, Effect::Expired),
            _ => return (self, None),
        };
        (Message { state, ..self }, Some(effect))
    }

    /// What keeps a queued mail from being sent now: its time, a suppression of the address, the user's wish.
    pub fn hindrance(&self, now_ms: i64, suppressed: bool, wanted: bool) -> Option<Happening> {
        if now_ms >= self.expires_at_ms {
            return Some(Happening::Late);
        }
        if suppressed {
            return Some(Happening::Hindered(FailureReason::Suppressed));
        }
        let wanted = wanted || self.template.category().is_critical();
        (!wanted).then_some(Happening::Hindered(FailureReason::Unwanted))
    }
}

impl State {
    /// Its name in rows.
    pub fn key(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Queued => "queued",
            State::Sent => "sent",
            State::Failed(_) => "failed",
            State::Expired => "expired",
        }
    }

    /// Why it failed, if it did.
    pub fn reason(self) -> Option<FailureReason> {
        match self {
            State::Failed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Reads a row; `None` when there is no such state.
    pub fn parse(key: &str, reason: Option<&str>) -> Option<Self> {
        match key {
            "waiting" => Some(State::Waiting),
            "queued" => Some(State::Queued),
            "sent" => Some(State::Sent),
            "failed" => FailureReason::parse(reason?).map(State::Failed),
            "expired" => Some(State::Expired),
            _ => None,
        }
    }
}

impl FailureReason {
    const ALL: [FailureReason; 6] = [
        FailureReason::Suppressed,
        FailureReason::Unwanted,
        FailureReason::AddressInvalid,
        FailureReason::ContentInvalid,
        FailureReason::ProviderRefused,
        FailureReason::UserErased,
    ];

    /// Its name in events and rows.
    pub fn key(self) -> &'static str {
        match self {
            FailureReason::Suppressed => "suppressed",
            FailureReason::Unwanted => "unwanted",
            FailureReason::AddressInvalid => "address-invalid",
            FailureReason::ContentInvalid => "content-invalid",
            FailureReason::ProviderRefused => "provider-refused",
            FailureReason::UserErased => "user-erased",
        }
    }

    /// Finds a reason by its name.
    pub fn parse(key: &str) -> Option<Self> {
        FailureReason::ALL.into_iter().find(|reason| reason.key() == key)
    }
}

/// What a provider's HTTP status means for a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It took the mail.
    Accepted,
    /// It will never take this mail.
    Refused,
    /// It takes no mail from us at all until somebody corrects our key or address: no mail is to suffer for it.
    Closed,
    /// It may take the mail later.
    Later,
}

/// Reads a provider's HTTP status.
pub fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Accepted,
        400 | 413 | 422 => Verdict::Refused,
        408 | 409 | 425 | 429 | 500.. => Verdict::Later,
        _ => Verdict::Closed,
    }
}

/// The `Message-ID` header of a mail: the same however often it is sent.
pub fn message_id_header(message_id: &str, from: &Address) -> String {
    format!("<{message_id}@{}>", from.domain())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000;

    #[test]
    fn a_mail_to_a_known_user_is_queued_and_sent_once() {
        let (message, effect) = Message::write(Template::Welcome, true, NOW);
        assert_eq!(effect, Some(Effect::Queued));
        let (message, effect) = message.decide(Happening::Accepted);
        assert_eq!((message.state, effect), (State::Sent, Some(Effect::Sent)));
        for late in [Happening::Accepted, Happening::Late, Happening::Hindered(FailureReason::Suppressed)] {
            assert_eq!(message.clone().decide(late), (message.clone(), None));
        }
    }

    #[test]
    fn a_mail_to_a_user_not_heard_of_yet_waits_for_the_address() {
        let (message, effect) = Message::write(Template::InvoicePaid, false, NOW);
        assert_eq!((message.state, effect), (State::Waiting, None));
        assert_eq!(message.clone().decide(Happening::UserKnown).1, Some(Effect::Queued));
        assert_eq!(message.decide(Happening::Late).1, Some(Effect::Expired));
    }

    // promise: DOMAIN: suppression, preferences and time to live are checked at send; critical kinds ignore preferences
    #[test]
    fn what_is_against_a_mail_is_seen_before_it_is_sent() {
        let (message, _) = Message::write(Template::InvoicePaid, true, NOW);
        let end = message.expires_at_ms;
        assert_eq!(message.hindrance(NOW, false, true), None);
        assert_eq!(message.hindrance(end, false, true), Some(Happening::Late));
        let hindered = |reason| Some(Happening::Hindered(reason));
        assert_eq!(message.hindrance(end - 1, true, true), hindered(FailureReason::Suppressed));
        assert_eq!(message.hindrance(end - 1, false, false), hindered(FailureReason::Unwanted));
        let (critical, _) = Message::write(Template::Welcome, true, NOW);
        assert_eq!(critical.hindrance(NOW, false, false), None);
        assert_eq!(critical.hindrance(NOW, true, false), hindered(FailureReason::Suppressed));
    }

    // promise: DOMAIN: 400, 413 and 422 of a mail provider are final, 401 and 403 close the channel, the rest is tried later
    #[test]
    fn a_providers_status_is_read_as_the_contract_says() {
        let check = |expected, statuses: &[u16]| {
            statuses.iter().for_each(|status| assert_eq!(verdict(*status), expected, "{status}"));
        };
        check(Verdict::Accepted, &[200, 201, 202, 204]);
        check(Verdict::Refused, &[400, 413, 422]);
        check(Verdict::Closed, &[301, 401, 403, 404, 405]);
        check(Verdict::Later, &[408, 409, 425, 429, 500, 502, 503, 504]);
    }

    #[test]
    fn a_state_survives_its_row() {
        let failed = FailureReason::ALL.map(State::Failed);
        for state in failed.into_iter().chain([State::Waiting, State::Queued, State::Sent, State::Expired]) {
            assert_eq!(State::parse(state.key(), state.reason().map(FailureReason::key)), Some(state));
        }
        let json = serde_json::to_string(&FailureReason::AddressInvalid).expect("JSON");
        assert_eq!(json, format!("\"{}\"", FailureReason::AddressInvalid.key()));
        assert_eq!(State::parse("failed", None), None);
    }

    #[test]
    fn the_message_id_header_hangs_on_the_message_alone() {
        let from = Address::parse("till@example.com").unwrap();
        assert_eq!(message_id_header("msg_1", &from), "<msg_1@example.com>");
    }
}
