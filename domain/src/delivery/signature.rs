//! Standard Webhooks signatures: an endpoint's secret and the bytes to be sent go in, the header's value comes out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
/// What the specification allows a secret to have.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A symmetric secret of an endpoint. Its text form is `whsec_` and base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why a text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefusal {
    /// The prefix is missing.
    #[error("a secret begins with `{PREFIX}`")]
    Prefix,
    /// What follows the prefix cannot be decoded.
    #[error("what follows `{PREFIX}` is not base64")]
    Base64,
    /// Too short to be safe, or too long for the specification.
    #[error("a secret has 24 to 64 bytes, and this one has {0}")]
    Length(usize),
}

impl Secret {
    /// A secret of fresh random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Secret(random.to_vec())
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, SecretRefusal> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretRefusal::Prefix)?;
        let bytes = BASE64.decode(encoded).map_err(|_| SecretRefusal::Base64)?;
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err(SecretRefusal::Length(bytes.len()));
        }
        Ok(Secret(bytes))
    }

    /// The text form, which a merchant sees once.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode(&self.0))
    }

    /// `v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`: the value of `webhook-signature`.
    pub fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{timestamp_s}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
    }
}

/// Says that it is a secret and not which.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // promise: DOMAIN: an outbound webhook is signed as Standard Webhooks says, by its published vector
    #[test]
    fn the_signature_is_the_one_of_the_specifications_vector() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_survives_its_text_form_and_hides_from_logs() {
        let secret = Secret::new([7; 32]);
        assert_eq!(Secret::parse(&secret.reveal()), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn what_is_no_secret_is_refused_with_its_reason() {
        let check = |text: &str, expected| assert_eq!(Secret::parse(text), Err(expected), "{text}");
        check("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretRefusal::Prefix);
        check("whsec_*", SecretRefusal::Base64);
        check("whsec_AAAA", SecretRefusal::Length(3));
    }
}
