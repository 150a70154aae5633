//! The in-app feed: the same messages that are mailed, whatever became of the mail, in the words of their templates.

use domain::mail::Locale;
use guest::clock::rfc3339;
use guest::{Answer, Command, Principal, Problem, Tx};
use serde_json::{Value, json};

use crate::store::{self, MessageRow};

const PAGE_DEFAULT: i64 = 20;
const PAGE_MAX: i64 = 100;

/// The user's newest notifications first; `after` is the id of the last one that was seen.
pub async fn notifications(tx: &Tx<'_>, principal: &Principal, command: &Command) -> Result<Answer, Problem> {
    let limit = command.query_number("limit", PAGE_DEFAULT, 1..=PAGE_MAX)?;
    let after = match command.query("after") {
        None => None,
        Some(id) => Some(seen(tx, principal, id).await?),
    };
    let recipient = store::recipient(tx, &principal.id).await?;
    let locale = recipient.map_or(Locale::En, |recipient| Locale::nearest(&recipient.locale));
    let messages = store::newest(tx, &principal.id, after.as_ref(), limit).await?;
    let notifications: Vec<Value> = messages.iter().filter_map(|message| view(message, locale)).collect();
    Ok(Answer::ok(&json!({ "notifications": notifications })))
}

async fn seen(tx: &Tx<'_>, principal: &Principal, id: &str) -> Result<MessageRow, Problem> {
    let message = store::message(tx, id).await?.filter(|message| message.user == principal.id);
    message.ok_or_else(|| Problem::validation("`after` is the id of a notification"))
}

/// A message whose template cannot be filled has nothing to show.
fn view(row: &MessageRow, locale: Locale) -> Option<Value> {
    let content = row.message.template.render(locale, &row.data).ok()?;
    Some(json!({
        "id": row.id,
        "template": row.message.template.key(),
        "title": content.subject.as_str(),
        "text": content.text,
        "created_at": rfc3339(row.created_at_ms),
    }))
}
