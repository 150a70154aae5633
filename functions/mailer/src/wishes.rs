//! What is not to be sent: the wishes of users by category, and addresses that an operator suppresses.

use std::collections::BTreeMap;

use domain::mail::{Address, Category};
use guest::clock::rfc3339;
use guest::{Answer, Command, Principal, Problem, Role, Tx};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::store;

const OPERATORS: [Role; 2] = [Role::Operator, Role::Admin];
const REASON_CHARACTERS_MAX: usize = 200;
const PAGE_DEFAULT: i64 = 50;
const PAGE_MAX: i64 = 200;

/// What a user wants to receive, by category.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preferences {
    mail: BTreeMap<String, bool>,
}

/// An address to suppress.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSuppression {
    email: String,
    #[serde(default)]
    reason: String,
}

pub async fn preferences(tx: &Tx<'_>, principal: &Principal) -> Result<Answer, Problem> {
    let mut mail = BTreeMap::new();
    for category in Category::ALL {
        let wanted = category.is_critical() || store::is_wanted(tx, &principal.id, category).await?;
        mail.insert(category.key(), wanted);
    }
    Ok(Answer::ok(&json!({ "mail": mail })))
}

/// Categories that are not named stay as they are.
pub async fn prefer(tx: &Tx<'_>, principal: &Principal, wish: Preferences) -> Result<Answer, Problem> {
    for (key, wanted) in &wish.mail {
        let category = Category::parse(key).ok_or_else(|| {
            Problem::validation(format!("there is no category `{key}`; there are account and invoices"))
        })?;
        if category.is_critical() && !wanted {
            return Err(Problem::validation(format!("mails of the category `{key}` are always sent")));
        }
        store::prefer(tx, &principal.id, category, *wanted).await?;
    }
    preferences(tx, principal).await
}

/// By address; `after` is the last one that was seen.
pub async fn suppressions(tx: &Tx<'_>, principal: &Principal, command: &Command) -> Result<Answer, Problem> {
    principal.require_any(&OPERATORS)?;
    let limit = command.query_number("limit", PAGE_DEFAULT, 1..=PAGE_MAX)?;
    let rows = store::suppressions(tx, command.query("after").unwrap_or_default(), limit).await?;
    let suppressions: Vec<Value> = rows
        .iter()
        .map(|row| {
            let created_at = rfc3339(row.created_at_ms);
            json!({ "email": row.email, "reason": row.reason, "created_by": row.created_by, "created_at": created_at })
        })
        .collect();
    Ok(Answer::ok(&json!({ "suppressions": suppressions })))
}

pub async fn suppress(tx: &Tx<'_>, principal: &Principal, wish: NewSuppression) -> Result<Answer, Problem> {
    principal.require_any(&OPERATORS)?;
    let address = address(&wish.email)?;
    if wish.reason.chars().count() > REASON_CHARACTERS_MAX {
        return Err(Problem::validation(format!("`reason` has at most {REASON_CHARACTERS_MAX} characters")));
    }
    store::suppress(tx, &address.folded(), &wish.reason, &principal.id).await?;
    Ok(Answer::created(&json!({ "email": address.folded(), "reason": wish.reason })))
}

pub async fn unsuppress(tx: &Tx<'_>, principal: &Principal, email: &str) -> Result<Answer, Problem> {
    principal.require_any(&OPERATORS)?;
    if !store::unsuppress(tx, &address(email)?.folded()).await? {
        return Err(Problem::not_found("suppression of this address"));
    }
    Ok(Answer::no_content())
}

fn address(text: &str) -> Result<Address, Problem> {
    Address::parse(text).map_err(|refusal| Problem::validation(format!("`email`: {refusal}")))
}
