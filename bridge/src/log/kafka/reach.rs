//! Why brokers cannot be reached, as the clients of one cluster hear it: librdkafka's errors come in, a sentence with its remedy
//! comes out. The first cause stays until a broker answers, so that trying again makes no noise.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::log::Error;
use crate::tls;

#[derive(Default)]
pub(super) struct Reach {
    /// What a look at a broker's TLS needs.
    authorities: Option<String>,
    identity: Option<tls::Pem>,
    verifies: bool,
    cause: Mutex<Option<Cause>>,
}

struct Cause {
    code: Code,
    /// As librdkafka says it, without its times and counts.
    reason: String,
    /// With its remedy; made when somebody asks.
    told: Option<String>,
}

impl Reach {
    pub(super) fn of(properties: &BTreeMap<String, String>) -> Self {
        let property = |name: &str| properties.get(name).cloned();
        let in_file = || std::fs::read_to_string(property("ssl.ca.location")?).ok();
        let identity = property("ssl.certificate.pem").zip(property("ssl.key.pem"));
        Reach {
            authorities: property("ssl.ca.pem").or_else(in_file),
            identity: identity.map(|(cert, key)| tls::Pem { cert: cert.into(), key: key.into() }),
            verifies: properties.get("enable.ssl.certificate.verification").is_none_or(|value| value == "true"),
            cause: Mutex::default(),
        }
    }

    /// What a client was told. The weightier cause stays: a broker that refuses us is also one that is away.
    pub(super) fn hear(&self, code: Code, reason: &str) {
        let reason = reason.split(" (after ").next().unwrap_or(reason).to_owned();
        let mut cause = self.cause();
        if weight(code, &reason) > cause.as_ref().map_or(0, |known| weight(known.code, &known.reason)) {
            *cause = Some(Cause { code, reason, told: None });
        }
    }

    /// The cause with its remedy. Blocks while a broker's TLS is looked at, once for each cause.
    pub(super) fn why(&self) -> Option<String> {
        let (code, reason) = {
            let cause = self.cause();
            let cause = cause.as_ref()?;
            if let Some(told) = &cause.told {
                return Some(told.clone());
            }
            (cause.code, cause.reason.clone())
        };
        let told = format!("{reason}; {}", self.remedy(code, &reason));
        let mut cause = self.cause();
        if let Some(cause) = cause.as_mut().filter(|cause| cause.reason == reason) {
            tracing::error!(cause = told, "no broker can be reached");
            cause.told = Some(told.clone());
        }
        Some(told)
    }

    pub(super) fn is_known(&self) -> bool {
        self.cause().is_some()
    }

    pub(super) fn healed(&self) {
        self.cause().take();
    }

    /// A time-out is told with what it hides.
    pub(super) fn explain(&self, error: Error) -> Error {
        match error {
            Error::Unavailable(text) => Error::Unavailable(self.why().unwrap_or(text)),
            error => error,
        }
    }

    fn remedy(&self, code: Code, reason: &str) -> String {
        match code {
            Code::Authentication => {
                "look at the user, the password and the type of net.sasl, or at the KafkaSink's Secret".into()
            }
            Code::Resolve => "is the name in bootstrapServers spelt right?".into(),
            // A broker may refuse our certificate after the handshake: librdkafka calls that a lost connection.
            _ if is_tls(code, reason) => {
                self.look(reason).unwrap_or_else(|| "look at caCert, cert and key of net.tls".into())
            }
            _ => "does net.tls.enable say what that port speaks?".into(),
        }
    }

    /// librdkafka tells one sentence for all that can be wrong with a certificate: look for ourselves.
    fn look(&self, reason: &str) -> Option<String> {
        let (host, port) = broker_of(reason).filter(|_| self.verifies)?;
        tls::look(&host, port, self.authorities.as_deref(), self.identity.as_ref()).err()
    }

    fn cause(&self) -> MutexGuard<'_, Option<Cause>> {
        self.cause.lock().expect("no holder panics")
    }
}

fn is_tls(code: Code, reason: &str) -> bool {
    code == Code::SSL || reason.contains("SSL routines")
}

fn weight(code: Code, reason: &str) -> u8 {
    match code {
        Code::Authentication => 4,
        _ if is_tls(code, reason) => 3,
        Code::Resolve => 2,
        Code::BrokerTransportFailure if reason.contains("security.protocol") => 1,
        _ => 0,
    }
}

/// From librdkafka's name of a broker, `sasl_ssl://host:port/id: …`.
fn broker_of(reason: &str) -> Option<(String, u16)> {
    let address = reason.split_once("://")?.1.split(['/', ' ']).next()?;
    let (host, port) = address.trim_end_matches(':').rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weightier_cause_stays_until_it_is_healed() {
        let reach = Reach::default();
        reach.hear(Code::AllBrokersDown, "1/1 brokers are down");
        assert!(!reach.is_known());
        reach.hear(Code::Resolve, "h:1/bootstrap: Failed to resolve 'h:1' (after 3ms in state CONNECT)");
        assert!(reach.why().unwrap().contains("spelt right"), "{:?}", reach.why());
        reach.hear(Code::Authentication, "SASL authentication error (after 4ms in state AUTH_REQ)");
        reach.hear(Code::Resolve, "another");
        let why = reach.why().unwrap();
        assert!(why.starts_with("SASL authentication error; ") && why.contains("password"), "{why}");
        assert_eq!(reach.explain(Error::Unavailable("timed out".into())), Error::Unavailable(why));
        reach.healed();
        assert_eq!(reach.why(), None);
    }

    #[test]
    fn the_broker_is_found_in_its_name() {
        let check = |text, expected: Option<(&str, u16)>| {
            assert_eq!(broker_of(text), expected.map(|(host, port)| (host.to_owned(), port)), "{text}");
        };
        check("ssl://127.0.0.1:9093/bootstrap: SSL handshake failed", Some(("127.0.0.1", 9093)));
        check("sasl_ssl://[::1]:9093/1: SSL handshake failed", Some(("::1", 9093)));
        check("SSL handshake failed", None);
    }
}
