//! Who is calling. A bearer token comes in; a client's [`Principal`] or the certainty that it is the bridge goes out.

use sha2::{Digest, Sha256};

use crate::clock::now_ms;
use crate::problem::{Code, Problem};
use crate::token::Keys;
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

/// Whose tokens count.
struct Trust {
    /// A JWKS (RFC 7517) as JSON.
    jwks: String,
    /// The `aud` that must be named.
    audience: String,
    /// The `iss` that must be named.
    issuer: String,
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

/// The client that a JWT speaks for, or 401. Trust comes from the variables `jwks`, `jwt_audience` and `jwt_issuer`.
pub async fn authenticate(token: &str) -> Result<Principal, Problem> {
    let trust = Trust {
        jwks: variable("jwks").await?,
        audience: variable("jwt_audience").await?,
        issuer: variable("jwt_issuer").await?,
    };
    principal(token, &trust, now_ms() / 1_000)
}

/// The same, by an instant in seconds since 1970.
fn principal(token: &str, trust: &Trust, now_s: i64) -> Result<Principal, Problem> {
    if token.is_empty() {
        return Err(unauthenticated("bring a bearer token"));
    }
    let keys = Keys::parse(&trust.jwks).map_err(|error| Problem::internal(format!("the variable `jwks`: {error}")))?;
    let claims = keys.claims(token).map_err(|rejection| unauthenticated(&rejection.to_string()))?;
    claims.check(&trust.audience, &trust.issuer, now_s).map_err(|rejection| unauthenticated(&rejection.to_string()))?;
    // A role of a newer release is not an obstacle to the others.
    let roles = claims.roles.iter().filter_map(|role| Role::parse(role)).collect();
    Ok(Principal { id: claims.sub, roles })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{sign, test_jwks};
    use serde_json::json;

    fn trust() -> Trust {
        Trust { jwks: test_jwks(), audience: "till".into(), issuer: "till".into() }
    }

    #[test]
    fn a_valid_token_speaks_for_its_subject_with_the_roles_that_are_known() {
        let claims = json!({
            "sub": "usr_1", "aud": "till", "iss": "till", "exp": 100, "roles": ["user", "astronaut", "approver"]
        });
        let principal = principal(&sign(&json!({ "alg": "EdDSA" }), &claims), &trust(), 50).expect("a principal");
        assert_eq!(principal, Principal { id: "usr_1".into(), roles: vec![Role::User, Role::Approver] });
        assert!(principal.require_any(&[Role::Admin, Role::Approver]).is_ok());
        assert_eq!(principal.require(Role::Admin).map_err(|problem| problem.code), Err(Code::Forbidden));
    }

    // promise: DOMAIN: a client without a valid token is refused
    #[test]
    fn nobody_and_a_stranger_are_unauthenticated() {
        for token in ["", "x", "a.b.c"] {
            let problem = principal(token, &trust(), 50).expect_err("no token");
            assert_eq!(problem.code, Code::Unauthenticated, "{token}");
        }
    }

    #[test]
    fn keys_that_cannot_be_read_are_our_mistake() {
        let trust = Trust { jwks: "{".into(), ..trust() };
        assert_eq!(principal("a.b.c", &trust, 50).map_err(|problem| problem.code), Err(Code::Internal));
    }

    // promise: DOMAIN: an event from anybody but the bridge is refused
    // promise: BRIDGE: two tokens are valid while one is rotated
    #[test]
    fn the_bridge_has_one_token_or_two_while_one_is_rotated() {
        for accepted in ["new", "old,new", " new , old"] {
            assert!(require_bridge("new", accepted).is_ok(), "{accepted}");
        }
        for (token, accepted) in [("", ""), ("", "a,"), ("a,b", "a,b"), ("A", "a"), ("ab", "a")] {
            assert!(require_bridge(token, accepted).is_err(), "{token} for {accepted}");
        }
    }
}
