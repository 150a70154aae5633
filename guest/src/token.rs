//! JSON Web Tokens, checked only. A JWKS and a token come in; the claims that one of its keys signed go out.
//!
//! The algorithm is the key's (RFC 8725, section 3.1): Ed25519 keys check EdDSA, RSA keys RS256, others are not looked at.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey, traits::PublicKeyParts};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// How far the clocks of issuer and host may differ.
const LEEWAY_S: i64 = 5;
/// 2048 bits (RFC 7518, section 3.3).
const RSA_BYTES_MIN: usize = 256;
/// The DER of `DigestInfo` before a SHA-256 (RFC 8017, section 9.2).
const SHA256_PREFIX: [u8; 19] = [48, 49, 48, 13, 6, 9, 96, 134, 72, 1, 101, 3, 4, 2, 1, 5, 0, 4, 32];

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the token is not a JWT")]
    Malformed,
    #[error("no known key signed this token")]
    Signature,
    #[error("the token names nobody")]
    Subject,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token is from another issuer")]
    Issuer,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
}

/// Public keys that may sign.
pub struct Keys(Vec<(Option<String>, Key)>);

enum Key {
    Ed25519(VerifyingKey),
    Rsa(RsaPublicKey),
}

/// What a token says (RFC 7519, section 4.1).
#[derive(Debug, Deserialize)]
pub struct Claims {
    pub sub: String,
    #[serde(default)]
    pub roles: Vec<String>,
    aud: Audience,
    iss: String,
    exp: i64,
    nbf: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Keys {
    /// The keys of a JWKS that can check a signature; others are passed over.
    pub fn parse(jwks: &str) -> Result<Keys, serde_json::Error> {
        let jwks: Jwks = serde_json::from_str(jwks)?;
        Ok(Keys(jwks.keys.into_iter().filter_map(|jwk| Some((jwk.kid.clone(), Key::parse(&jwk)?))).collect()))
    }

    /// The claims of a token, if one of the keys signed it.
    pub fn claims(&self, token: &str) -> Result<Claims, Rejection> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejection::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Rejection::Malformed)?;
        let header: Header = decode_json(header).ok_or(Rejection::Malformed)?;
        let signature = decode(signature).ok_or(Rejection::Malformed)?;
        let is_signed = self.0.iter().any(|(key_id, key)| {
            header.crit.is_none()
                && header.alg == key.algorithm()
                && (header.kid.is_none() || header.kid == *key_id)
                && key.signed(signed.as_bytes(), &signature)
        });
        if !is_signed {
            return Err(Rejection::Signature);
        }
        decode_json(claims).ok_or(Rejection::Malformed)
    }
}

impl Key {
    fn parse(jwk: &Jwk) -> Option<Key> {
        match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => {
                let bytes: [u8; 32] = decode(jwk.x.as_deref()?)?.try_into().ok()?;
                VerifyingKey::from_bytes(&bytes).ok().map(Key::Ed25519)
            }
            ("RSA", _) => {
                let [modulus, exponent] = [&jwk.n, &jwk.e].map(|part| decode(part.as_deref()?));
                let modulus = BigUint::from_bytes_be(&modulus?);
                let key = RsaPublicKey::new(modulus, BigUint::from_bytes_be(&exponent?)).ok()?;
                (key.size() >= RSA_BYTES_MIN).then_some(Key::Rsa(key))
            }
            _ => None,
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Key::Ed25519(_) => "EdDSA",
            Key::Rsa(_) => "RS256",
        }
    }

    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Key::Ed25519(key) => {
                Signature::from_slice(signature).is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
            }
            Key::Rsa(key) => {
                let scheme = Pkcs1v15Sign { hash_len: Some(32), prefix: SHA256_PREFIX.into() };
                key.verify(scheme, &Sha256::digest(message), signature).is_ok()
            }
        }
    }
}

impl Claims {
    /// Whether they count here and now.
    pub fn check(&self, audience: &str, issuer: &str, now_s: i64) -> Result<(), Rejection> {
        if self.sub.is_empty() {
            return Err(Rejection::Subject);
        }
        let is_for_us = match &self.aud {
            Audience::One(one) => one == audience,
            Audience::Many(many) => many.iter().any(|one| one == audience),
        };
        if !is_for_us {
            return Err(Rejection::Audience);
        }
        if self.iss != issuer {
            return Err(Rejection::Issuer);
        }
        if self.exp.saturating_add(LEEWAY_S) <= now_s {
            return Err(Rejection::Expired);
        }
        if self.nbf.is_some_and(|not_before| not_before > now_s + LEEWAY_S) {
            return Err(Rejection::NotYet);
        }
        Ok(())
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn decode_json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&decode(text)?).ok()
}

/// A JWKS with the key that [`sign`] uses.
#[cfg(test)]
pub fn test_jwks() -> String {
    let public = URL_SAFE_NO_PAD.encode(test_key().verifying_key().as_bytes());
    serde_json::json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": public }] }).to_string()
}

/// A token of any header and claims, signed by Ed25519.
#[cfg(test)]
pub fn sign(header: &serde_json::Value, claims: &serde_json::Value) -> String {
    use ed25519_dalek::Signer;
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let signature = test_key().sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

#[cfg(test)]
fn test_key() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[7; 32])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn claims() -> Value {
        json!({ "sub": "usr_1", "aud": ["else", "till"], "iss": "till", "exp": 1_000 })
    }

    fn read(header: Value) -> Result<Claims, Rejection> {
        Keys::parse(&test_jwks()).expect("a JWKS").claims(&sign(&header, &claims()))
    }

    #[track_caller]
    fn check(change: Value, now_s: i64) -> Result<(), Rejection> {
        let mut claims = claims();
        for (name, value) in change.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        serde_json::from_value::<Claims>(claims).expect("claims").check("till", "till", now_s)
    }

    #[test]
    fn a_token_counts_when_one_of_the_keys_signed_it() {
        assert_eq!(read(json!({ "alg": "EdDSA", "kid": "k" })).map(|claims| claims.sub), Ok("usr_1".into()));
        assert!(read(json!({ "alg": "EdDSA" })).is_ok());
        assert_eq!(read(json!({ "alg": "EdDSA", "kid": "other" })).err(), Some(Rejection::Signature));
    }

    // promise: DOMAIN: the algorithm is never taken from the token alone
    #[test]
    fn a_token_does_not_choose_its_algorithm() {
        for algorithm in ["none", "HS256", "RS256", "ES256", "eddsa", ""] {
            assert_eq!(read(json!({ "alg": algorithm })).err(), Some(Rejection::Signature), "{algorithm}");
        }
        assert_eq!(read(json!({ "alg": "EdDSA", "crit": ["b64"] })).err(), Some(Rejection::Signature));
    }

    #[test]
    fn a_changed_token_does_not_count() {
        let keys = Keys::parse(&test_jwks()).expect("a JWKS");
        let token = sign(&json!({ "alg": "EdDSA" }), &claims());
        let forged = sign(&json!({ "alg": "EdDSA" }), &json!({ "sub": "usr_2" }));
        let parts: Vec<&str> = token.split('.').collect();
        let forged: Vec<&str> = forged.split('.').collect();
        let mixed = format!("{}.{}.{}", parts[0], forged[1], parts[2]);
        assert_eq!(keys.claims(&mixed).err(), Some(Rejection::Signature));
        assert_eq!(keys.claims(&format!("{}.{}.", parts[0], parts[1])).err(), Some(Rejection::Signature));
        assert_eq!(keys.claims("a.b").err(), Some(Rejection::Malformed));
    }

    #[test]
    fn rs256_follows_the_example_of_rfc_7515() {
        // Appendix A.2.
        let jwks = json!({ "keys": [{ "kty": "RSA", "e": "AQAB", "n": concat!(
            "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR",
            "T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB",
            "dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia",
            "GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ") }] });
        let signed = concat!(
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19y",
            "b290Ijp0cnVlfQ"
        );
        let signature = concat!(
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdb",
            "F9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383",
            "LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWy",
            "wlVmtVrBp0igcN_IoypGlUPQGe77Rw"
        );
        let keys = Keys::parse(&jwks.to_string()).expect("a JWKS");
        // It has no subject or audience: past the signature it is refused for its claims.
        assert_eq!(keys.claims(&format!("{signed}.{signature}")).err(), Some(Rejection::Malformed));
        let broken = signature.replace("cC4h", "cC4i");
        assert_eq!(keys.claims(&format!("{signed}.{broken}")).err(), Some(Rejection::Signature));
    }

    #[test]
    fn keys_that_are_not_understood_are_passed_over() {
        let weak = json!({ "kty": "RSA", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode([255; 64]) });
        let jwks = json!({ "keys": [{ "kty": "EC", "crv": "P-256" }, { "kty": "oct", "k": "AA" }, weak] });
        assert!(Keys::parse(&jwks.to_string()).expect("a JWKS").0.is_empty());
    }

    // promise: DOMAIN: audience, expiry and not-before of a token are checked
    #[test]
    fn claims_count_for_us_and_now() {
        assert_eq!(check(json!({}), 999), Ok(()));
        assert_eq!(check(json!({ "aud": "till" }), 999), Ok(()));
        assert_eq!(check(json!({ "aud": "other" }), 999), Err(Rejection::Audience));
        assert_eq!(check(json!({ "iss": "other" }), 999), Err(Rejection::Issuer));
        assert_eq!(check(json!({ "sub": "" }), 999), Err(Rejection::Subject));
        assert_eq!(check(json!({}), 1_000 + LEEWAY_S), Err(Rejection::Expired));
        assert_eq!(check(json!({ "nbf": 900 }), 800), Err(Rejection::NotYet));
        assert_eq!(check(json!({ "nbf": 900 }), 900), Ok(()));
    }
}
