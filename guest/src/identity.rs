//! Who is calling. A bearer token comes in; a client's [`Principal`] or the certainty that it is the bridge goes out.

use crate::problem::{Code, Problem};

/// A client, proven by its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The token's `sub`: a user's id.
    pub id: String,
    /// What it may do.
    pub roles: Vec<Role>,
}

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
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

/// The client that a JWT speaks for, or 401.
pub async fn authenticate(_token: &str) -> Result<Principal, Problem> {
    Err(Problem::new(Code::Unauthenticated, "not yet"))
}
