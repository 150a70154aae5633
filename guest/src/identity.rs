//! Who is calling. A bearer token comes in; a client's [`Principal`] or the certainty that it is the bridge goes out.

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode_header};
use sha2::{Digest, Sha256};

use crate::clock::now_ms;
use crate::problem::{Code, Problem};
use crate::variables::variable;

/// A client, proven by its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The token's `sub`: a user's id.
    pub id: String,
    /// What it may do.
    pub roles: Vec<Role>,
}

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Holds, buys, exchanges, transfers, withdraws.
    User,
    /// Opens invoices and hears webhooks.
    Merchant,
    /// Sees the people's side.
    Viewer,
    /// Runs the house.
    Operator,
    /// Says yes to withdrawals.
    Approver,
    /// Everything of the people's side.
    Admin,
}

impl Role {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "user" => Some(Role::User),
            "merchant" => Some(Role::Merchant),
            "viewer" => Some(Role::Viewer),
            "operator" => Some(Role::Operator),
            "approver" => Some(Role::Approver),
            "admin" => Some(Role::Admin),
            _ => None,
        }
    }
}

impl Principal {
    /// Whether it has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// 403 without the role.
    pub fn require(&self, role: Role) -> Result<(), Problem> {
        self.require_any(&[role])
    }

    /// 403 without any of the roles.
    pub fn require_any(&self, roles: &[Role]) -> Result<(), Problem> {
        if roles.iter().any(|role| self.has(*role)) {
            return Ok(());
        }
        let names: Vec<String> = roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect();
        Err(Problem::new(Code::Forbidden, format!("this needs the role {}", names.join(" or "))))
    }
}

/// The claims that count (RFC 7519); audience and issuer are checked by the library.
#[derive(serde::Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    nbf: Option<i64>,
    #[serde(default)]
    roles: Vec<String>,
}

/// Whose tokens count.
pub struct Trust {
    /// A JWKS (RFC 7517) as JSON.
    pub jwks: String,
    /// The `aud` that must be named.
    pub audience: String,
    /// The `iss` that must be named.
    pub issuer: String,
}

/// How far the clocks of issuer and host may differ.
const LEEWAY_S: i64 = 5;

/// The client that a JWT speaks for, or 401. Trust comes from the variables `jwks`, `jwt_audience` and `jwt_issuer`.
pub async fn authenticate(token: &str) -> Result<Principal, Problem> {
    let trust = Trust {
        jwks: variable("jwks").await?,
        audience: variable("jwt_audience").await?,
        issuer: variable("jwt_issuer").await?,
    };
    verify(token, &trust, now_ms() / 1_000)
}

/// The same, by an instant in seconds since 1970.
pub fn verify(token: &str, trust: &Trust, now_s: i64) -> Result<Principal, Problem> {
    if token.is_empty() {
        return Err(unauthenticated("bring a bearer token"));
    }
    let jwks: JwkSet =
        serde_json::from_str(&trust.jwks).map_err(|error| Problem::internal(format!("the variable `jwks`: {error}")))?;
    let key_id = decode_header(token).map_err(|_| unauthenticated("the token is not a JWT"))?.kid;
    let claims = jwks
        .keys
        .iter()
        .filter(|key| key_id.is_none() || key.common.key_id == key_id)
        .find_map(|key| claims(token, key, trust));
    let claims = claims.ok_or_else(|| unauthenticated("no known key signed this token for this audience"))?;
    if claims.exp + LEEWAY_S <= now_s {
        return Err(unauthenticated("the token has expired"));
    }
    if claims.nbf.is_some_and(|not_before| not_before > now_s + LEEWAY_S) {
        return Err(unauthenticated("the token is not valid yet"));
    }
    // A role of a newer release is not an obstacle to the others.
    let roles = claims.roles.iter().filter_map(|role| Role::parse(role)).collect();
    Ok(Principal { id: claims.sub, roles })
}

/// What the token claims, if this key signed it. The algorithm is the key's; a token of another one does not count.
fn claims(token: &str, key: &Jwk, trust: &Trust) -> Option<Claims> {
    let algorithm = match &key.algorithm {
        AlgorithmParameters::OctetKeyPair(_) => Algorithm::EdDSA,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::OctetKey(_) => return None,
        _ => return None,
    };
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[&trust.audience]);
    validation.set_issuer(&[&trust.issuer]);
    validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    // Times are checked by our own clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let key = DecodingKey::from_jwk(key).ok()?;
    jsonwebtoken::decode(token, &key, &validation).ok().map(|token| token.claims)
}

/// 401 unless the token is the bridge's for this function. `accepted` is one token, or two separated by a comma while one
/// is rotated.
pub fn require_bridge(token: &str, accepted: &str) -> Result<(), Problem> {
    let presented = Sha256::digest(token.as_bytes());
    let mut is_known = false;
    for accepted in accepted.split(',').map(str::trim).filter(|accepted| !accepted.is_empty()) {
        is_known |= is_same(&presented, &Sha256::digest(accepted.as_bytes()));
    }
    if is_known { Ok(()) } else { Err(unauthenticated("events come from the bridge")) }
}

/// Compares digests in a time that does not tell where they differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(Code::Unauthenticated, detail)
}
