//! Who holds money: the accounts of the ledger and their names.

pub mod credit;
pub mod ledger;

use std::fmt;

use crate::asset::Asset;

/// One account; it holds one asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// What we owe a user. It has a limit: its debits, pending ones too, never exceed its posted credits.
    User {
        /// The `sub` of the user's tokens.
        user: String,
        /// What is held.
        asset: Asset,
    },
    /// What lies at our addresses on a chain.
    Custody {
        /// EIP-155 chain id.
        chain: u64,
        /// What is held.
        asset: Asset,
    },
    /// What is nobody's yet, and what a correction could not take back.
    Suspense {
        /// What is held.
        asset: Asset,
    },
}

/// A text that names no account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of an account")]
pub struct UnknownAccount(String);

impl Account {
    /// Reads what `Display` writes. A user's id may hold colons.
    pub fn parse(name: &str) -> Result<Self, UnknownAccount> {
        Account::read(name).ok_or_else(|| UnknownAccount(name.to_owned()))
    }

    fn read(name: &str) -> Option<Self> {
        let (owner, code) = name.rsplit_once(':')?;
        let asset = Asset::parse(code).ok()?;
        match owner.split_once(':') {
            Some(("user", user)) if !user.is_empty() => Some(Account::User { user: user.to_owned(), asset }),
            Some(("custody", chain)) => Some(Account::Custody { chain: chain.parse().ok()?, asset }),
            None if owner == "suspense" => Some(Account::Suspense { asset }),
            _ => None,
        }
    }

    /// What it holds.
    pub fn asset(&self) -> Asset {
        match self {
            Account::User { asset, .. } | Account::Custody { asset, .. } | Account::Suspense { asset } => *asset,
        }
    }

    /// Whose it is, if it is a user's.
    pub fn user(&self) -> Option<&str> {
        match self {
            Account::User { user, .. } => Some(user),
            Account::Custody { .. } | Account::Suspense { .. } => None,
        }
    }

    /// Whether its debits may not exceed its credits. Only such accounts keep a balance of their own; the others are summed.
    pub fn is_limited(&self) -> bool {
        self.user().is_some()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::User { user, asset } => write!(f, "user:{user}:{asset}"),
            Account::Custody { chain, asset } => write!(f, "custody:{chain}:{asset}"),
            Account::Suspense { asset } => write!(f, "suspense:{asset}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_as_the_account_that_wrote_it() {
        for name in ["user:usr_1:ETH", "user:google:12:7:USDC", "custody:31337:ETH", "suspense:USDC"] {
            assert_eq!(Account::parse(name).expect(name).to_string(), name);
        }
        for name in ["", "user:ETH", "user::ETH", "custody:x:ETH", "suspense:1:ETH", "fees", "suspense:XXX"] {
            assert!(Account::parse(name).is_err(), "{name:?}");
        }
    }
}
