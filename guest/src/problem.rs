//! Errors as RFC 9457 problem documents. A cause comes in as a [`Code`] with a sentence, a status and JSON go out.
//!
//! A *refusal* (4xx) says that the input is wrong and a repeat is useless; a *failure* (5xx) that the world is wrong and
//! a repeat may help.

use ::http::StatusCode;
use serde_json::json;

/// Why something was not done. The one error type of every function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.label())]
pub struct Problem {
    /// What kind of problem: stable, for programs.
    pub code: Code,
    /// What is wrong here, for people. Never a secret, a token or another user's data.
    pub detail: String,
    /// After how many seconds a repeat makes sense; only failures have it.
    pub retry_after_s: Option<u32>,
}

/// The closed list of problems, by their stable `code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The input has the wrong shape or an impossible value.
    Validation,
    /// Nobody, or somebody with a token that does not count.
    Unauthenticated,
    /// Known, but without the role.
    Forbidden,
    /// There is no such thing, or it is another user's.
    NotFound,
    /// The path exists under another method.
    MethodNotAllowed,
    /// The account holds less than is asked.
    InsufficientFunds,
    /// The thing is in a state that does not allow it.
    InvalidState,
    /// The same request is being worked on.
    RequestInProgress,
    /// A money command without `Idempotency-Key`.
    IdempotencyKeyMissing,
    /// The key was used with another request.
    IdempotencyKeyReused,
    /// Below the asset's minimum.
    AmountTooLow,
    /// Above a limit or what can be represented.
    AmountTooHigh,
    /// No address, URL or user that can be reached.
    DestinationInvalid,
    /// A limit of the user or the house.
    LimitExceeded,
    /// More bytes than are taken.
    PayloadTooLarge,
    /// A fact above 256 KiB.
    EventTooLarge,
    /// Failure: the rate feeds disagree or are stale.
    RateUnavailable,
    /// Failure: the chain's node does not answer.
    ChainUnavailable,
    /// Failure: a mail provider or another named host does not answer.
    ProviderUnavailable,
    /// Failure: an operator paused it.
    Paused,
    /// Failure: somebody was faster, again and again. The unit of work is run again before anybody sees this.
    Contended,
    /// Failure: the database is away.
    DatabaseUnavailable,
    /// Failure: our mistake.
    Internal,
}

impl Code {
    /// The `code` member of the problem document.
    pub fn label(self) -> &'static str {
        match self {
            Code::Validation => "validation",
            Code::Unauthenticated => "unauthenticated",
            Code::Forbidden => "forbidden",
            Code::NotFound => "not-found",
            Code::MethodNotAllowed => "method-not-allowed",
            Code::InsufficientFunds => "insufficient-funds",
            Code::InvalidState => "invalid-state",
            Code::RequestInProgress => "request-in-progress",
            Code::IdempotencyKeyMissing => "idempotency-key-missing",
            Code::IdempotencyKeyReused => "idempotency-key-reused",
            Code::AmountTooLow => "amount-too-low",
            Code::AmountTooHigh => "amount-too-high",
            Code::DestinationInvalid => "destination-invalid",
            Code::LimitExceeded => "limit-exceeded",
            Code::PayloadTooLarge => "payload-too-large",
            Code::EventTooLarge => "event-too-large",
            Code::RateUnavailable => "rate-unavailable",
            Code::ChainUnavailable => "chain-unavailable",
            Code::ProviderUnavailable => "provider-unavailable",
            Code::Paused => "paused",
            Code::Contended => "contended",
            Code::DatabaseUnavailable => "database-unavailable",
            Code::Internal => "internal",
        }
    }

    /// The HTTP status that a client sees.
    pub fn status(self) -> StatusCode {
        match self {
            Code::Validation | Code::IdempotencyKeyMissing => StatusCode::BAD_REQUEST,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::InvalidState | Code::RequestInProgress => StatusCode::CONFLICT,
            Code::PayloadTooLarge | Code::EventTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::InsufficientFunds
            | Code::IdempotencyKeyReused
            | Code::AmountTooLow
            | Code::AmountTooHigh
            | Code::DestinationInvalid
            | Code::LimitExceeded => StatusCode::UNPROCESSABLE_ENTITY,
            Code::RateUnavailable
            | Code::ChainUnavailable
            | Code::ProviderUnavailable
            | Code::Paused
            | Code::Contended
            | Code::DatabaseUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Seconds after which a failure without a better guess may be tried again.
const RETRY_AFTER_S: u32 = 1;

impl Problem {
    /// A problem with its sentence. A failure asks for a repeat after one second.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after_s = code.status().is_server_error().then_some(RETRY_AFTER_S);
        Problem { code, detail: detail.into(), retry_after_s }
    }

    /// The input is wrong.
    pub fn validation(detail: impl Into<String>) -> Self {
        Problem::new(Code::Validation, detail)
    }

    /// There is no such thing, or it is another user's (404, never 403).
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Problem::new(Code::NotFound, format!("there is no {what}"))
    }

    /// No command has this method and path.
    pub fn no_route() -> Self {
        Problem::new(Code::NotFound, "there is no such path")
    }

    /// Our mistake: answers 500 and stands in the log.
    pub fn internal(detail: impl Into<String>) -> Self {
        Problem::new(Code::Internal, detail)
    }

    /// Somebody was faster: rolls back and runs the unit of work again.
    pub fn conflict() -> Self {
        Problem::new(Code::Contended, "others were writing the same at the same time")
    }

    /// The same failure with another time to wait.
    pub fn retry_after_s(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Whether the unit of work has to run again.
    pub fn is_conflict(&self) -> bool {
        self.code == Code::Contended
    }

    /// Whether the input is wrong, so that a repeat is useless.
    pub fn is_refusal(&self) -> bool {
        self.code.status().is_client_error()
    }

    /// Whether it is the last word on an idempotency key: 425, 429, 5xx and `request-in-progress` are not, nor is the
    /// lack of a role, which may be given a moment later.
    pub fn is_final(&self) -> bool {
        self.is_refusal() && !matches!(self.code, Code::RequestInProgress | Code::Forbidden)
    }

    /// The status for the bridge, which retries 404 and 409: a refused event shall become a dead letter at once.
    pub fn status_of_event(&self) -> StatusCode {
        match self.code.status() {
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => StatusCode::UNPROCESSABLE_ENTITY,
            other => other,
        }
    }

    /// The problem document. What went wrong inside is for the log alone.
    pub fn document(&self, status: StatusCode) -> String {
        let detail = if self.code == Code::Internal { "the function failed" } else { &self.detail };
        let title = self.code.label().replace('-', " ");
        json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "code": self.code.label(), "detail": detail })
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_asks_for_a_repeat_and_a_refusal_does_not() {
        assert_eq!(Problem::new(Code::ChainUnavailable, "no node").retry_after_s, Some(1));
        assert_eq!(Problem::validation("no").retry_after_s, None);
    }

    // promise: DOMAIN: an error is a problem document with a stable code
    #[test]
    fn a_problem_is_a_document_with_a_stable_code() {
        let problem = Problem::new(Code::InsufficientFunds, "1 is less than 2");
        let document: serde_json::Value = serde_json::from_str(&problem.document(problem.code.status())).expect("JSON");
        assert_eq!(document["code"], "insufficient-funds");
        assert_eq!(document["status"], 422);
        assert_eq!(document["detail"], "1 is less than 2");
    }

    #[test]
    fn what_went_wrong_inside_stays_inside() {
        let document = Problem::internal("password=1").document(StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!document.contains("password"));
    }

    #[test]
    fn a_refused_event_is_never_retried_by_the_bridge() {
        for code in [Code::NotFound, Code::InvalidState, Code::Validation] {
            let status = Problem::new(code, "").status_of_event().as_u16();
            assert!(![404, 408, 409, 425, 429].contains(&status) && (400..500).contains(&status), "{code:?}: {status}");
        }
    }

    // promise: DOMAIN: 5xx and request-in-progress are not stored under an idempotency key
    #[test]
    fn only_a_last_word_is_kept_under_a_key() {
        assert!(Problem::new(Code::InsufficientFunds, "").is_final());
        assert!(!Problem::new(Code::RequestInProgress, "").is_final());
        assert!(!Problem::new(Code::Forbidden, "").is_final());
        assert!(!Problem::new(Code::RateUnavailable, "").is_final());
        assert!(!Problem::internal("").is_final());
    }
}
