//! The development key: an Ed25519 pair in the data folder that signs JWTs, and its public half as a JWKS for the functions.
//! Real deployments bring the JWKS of their identity provider instead.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

use crate::random;

/// Names the key inside the JWKS.
const KEY_ID: &str = "till-dev";
/// Issuer and audience, as spin.toml has them by default.
const ISSUER: &str = "till";

/// Signs tokens of people.
#[derive(Debug, Clone)]
pub struct Key(SigningKey);

/// Who a token speaks for.
#[derive(Debug, Clone)]
pub struct Claims<'a> {
    /// The user's id at whoever signs.
    pub subject: &'a str,
    /// `user`, `merchant`, `viewer`, `operator`, `approver`, `admin`.
    pub roles: &'a [String],
    /// How long from now.
    pub valid: Duration,
}

impl Key {
    /// A new pair.
    pub fn generate() -> Self {
        Key(SigningKey::from_bytes(&random::bytes()))
    }

    /// Reads what [`Key::to_text`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text.trim()).ok()?;
        Some(Key(SigningKey::from_bytes(&bytes.try_into().ok()?)))
    }

    /// The secret half, in base64.
    pub fn to_text(&self) -> String {
        BASE64_STANDARD.encode(self.0.to_bytes())
    }

    /// The public half as a JSON Web Key Set (RFC 7517, RFC 8037).
    pub fn jwks(&self) -> Value {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.0.verifying_key().to_bytes());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": KEY_ID, "x": x }] })
    }

    /// A JWT (RFC 7519) that is valid from now on.
    pub fn sign(&self, claims: &Claims) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970");
        self.sign_at(claims, now)
    }

    fn sign_at(&self, claims: &Claims, now: Duration) -> String {
        let issued = now.as_secs();
        let payload = json!({
            "iss": ISSUER, "aud": ISSUER, "sub": claims.subject, "roles": claims.roles,
            "iat": issued, "nbf": issued.saturating_sub(5), "exp": issued + claims.valid.as_secs(),
        });
        self.sign_payload(&payload)
    }

    /// A JWT with any payload: tests make foreign and malformed ones of it.
    pub fn sign_payload(&self, payload: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": KEY_ID });
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(payload));
        let signature = self.0.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signature, VerifyingKey};

    #[test]
    fn a_key_survives_its_text() {
        let key = Key::generate();
        assert_eq!(Key::parse(&key.to_text()).unwrap().jwks(), key.jwks());
        assert!(Key::parse("not a key").is_none());
    }

    #[test]
    fn a_token_verifies_with_the_published_key() {
        let key = Key::generate();
        let roles = ["user".to_owned()];
        let token = key.sign(&Claims { subject: "alice", roles: &roles, valid: Duration::from_secs(60) });
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let x = key.jwks()["keys"][0]["x"].as_str().unwrap().to_owned();
        let public = VerifyingKey::from_bytes(&decode(&x).try_into().unwrap()).unwrap();
        public.verify_strict(signed.as_bytes(), &Signature::from_slice(&decode(signature)).unwrap()).unwrap();
        let payload: Value = serde_json::from_slice(&decode(signed.split_once('.').unwrap().1)).unwrap();
        assert_eq!(payload["sub"], "alice");
        assert_eq!(payload["exp"].as_u64().unwrap() - payload["iat"].as_u64().unwrap(), 60);
    }

    fn decode(text: &str) -> Vec<u8> {
        BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
    }
}
