//! The life of mails: written when something happens, recorded after an attempt, expired by a wake, purged with their user.

use domain::amount::Money;
use domain::delivery::Disabled;
use domain::facts::core::UserRegistered;
use domain::facts::mailer::{
    MESSAGE_EXPIRED, MESSAGE_FAILED, MESSAGE_QUEUED, MESSAGE_SENT, MessageFailed, MessageTold,
};
use domain::facts::payment::InvoiceTold;
use domain::facts::webhook::EndpointDisabled;
use domain::mail::{Effect, FailureReason, Happening, Message, Template};
use event::Event;
use guest::{Answer, Fact, Problem, Tx, derived_id, now_ms, payload, sequence, subject, tell};
use serde_json::{Value, json};

use crate::sending::Tried;
use crate::store::{self, MessageRow};

/// How many mails one event or wake changes for one reason; the rest is the next wake's.
const CHANGES_MAX: i64 = 50;
/// How long after its time a queued mail may be in the provider's hands.
const SENDING_MAX_MS: i64 = 60_000;

/// Keeps where the user is written to, writes the welcome, and queues what waited for the address, or its beginning.
pub async fn user_registered(tx: &Tx<'_>, event: &Event) -> Result<Answer, Problem> {
    let user: UserRegistered = payload(event)?;
    store::take_recipient(tx, &user, sequence(event)?).await?;
    let waiting = store::waiting_of(tx, &user.user, CHANGES_MAX).await?;
    let again_ms = more(&waiting);
    let mut facts = happen(tx, waiting, Happening::UserKnown).await?;
    let data = json!({ "user": user.user });
    facts.extend(write(tx, event, &user.user, Template::Welcome, data).await?);
    Ok(tell(facts).wake_at(again_ms))
}

/// Forgets the user's address and what mails said, and gives up on mails that are not sent yet.
pub async fn user_erased(tx: &Tx<'_>, event: &Event) -> Result<Answer, Problem> {
    let user = subject(event)?;
    let open = store::open_of(tx, user, CHANGES_MAX).await?;
    let again_ms = more(&open);
    let facts = happen(tx, open, Happening::Hindered(FailureReason::UserErased)).await?;
    store::erase(tx, user, sequence(event)?).await?;
    Ok(tell(facts).wake_at(again_ms))
}

/// Tells a merchant about an invoice.
pub async fn invoice(tx: &Tx<'_>, event: &Event, template: Template) -> Result<Answer, Problem> {
    let invoice: InvoiceTold = payload(event)?;
    let fact = write(tx, event, &invoice.merchant, template, values(&invoice)).await?;
    Ok(tell(fact).wake_at(store::next_expiry_ms(tx).await?))
}

/// Tells a merchant that one of their endpoints is not called any more.
pub async fn endpoint_disabled(tx: &Tx<'_>, event: &Event) -> Result<Answer, Problem> {
    let told: EndpointDisabled = payload(event)?;
    let data = json!({ "endpoint": told.endpoint, "gone": told.reason == Disabled::Gone });
    let fact = write(tx, event, &told.merchant, Template::EndpointDisabled, data).await?;
    Ok(tell(fact).wake_at(store::next_expiry_ms(tx).await?))
}

/// Writes down what the attempt brought that this event asked for.
pub async fn record(tx: &Tx<'_>, event: &Event, tried: Option<&Tried>) -> Result<Answer, Problem> {
    let told: MessageTold = payload(event)?;
    let (Some(tried), Some(message)) = (tried, store::message(tx, &told.message).await?) else {
        return Ok(Answer::no_content());
    };
    if let Some(status) = tried.status {
        store::log_attempt(tx, &message.id, Some(status)).await?;
    }
    Ok(tell(happen(tx, vec![message], tried.happening).await?))
}

/// A wake: goes on with what was too much for one event, and gives up on mails whose time is over. A queued one is late
/// here when the event that orders it was lost.
pub async fn tidy(tx: &Tx<'_>) -> Result<Answer, Problem> {
    let (mut answer, now_ms) = (Answer::no_content(), now_ms());
    let orphaned = store::orphaned(tx, CHANGES_MAX).await?;
    answer = change(tx, answer, orphaned, Happening::Hindered(FailureReason::UserErased)).await?;
    let late = store::late(tx, now_ms, now_ms - SENDING_MAX_MS, CHANGES_MAX).await?;
    answer = change(tx, answer, late, Happening::Late).await?;
    let awaited = store::awaited(tx, CHANGES_MAX).await?;
    answer = change(tx, answer, awaited, Happening::UserKnown).await?;
    Ok(answer.wake_at(store::next_expiry_ms(tx).await?))
}

async fn change(tx: &Tx<'_>, answer: Answer, rows: Vec<MessageRow>, happening: Happening) -> Result<Answer, Problem> {
    let again_ms = more(&rows);
    Ok(answer.and_tell(happen(tx, rows, happening).await?).wake_at(again_ms))
}

/// At once, if there may be more than was taken.
fn more(taken: &[MessageRow]) -> Option<i64> {
    (taken.len() as i64 >= CHANGES_MAX).then(now_ms)
}

/// One message for each event, recipient and template. An erased user gets none.
async fn write(
    tx: &Tx<'_>,
    event: &Event,
    user: &str,
    template: Template,
    data: Value,
) -> Result<Option<Fact>, Problem> {
    let recipient = store::recipient(tx, user).await?;
    if recipient.as_ref().is_some_and(|recipient| recipient.email.is_none()) {
        return Ok(None);
    }
    let (message, effect) = Message::write(template, recipient.is_some(), now_ms());
    let id = derived_id("msg", &[&event.source, &event.id, user, template.key()]);
    let row = MessageRow { id, user: user.to_owned(), message, data, created_at_ms: now_ms(), version: 1 };
    let is_new = store::insert_message(tx, &row).await?;
    Ok(effect.filter(|_| is_new).map(|effect| fact(&row, effect)))
}

/// The same happening for some mails; what they say.
async fn happen(tx: &Tx<'_>, messages: Vec<MessageRow>, happening: Happening) -> Result<Vec<Fact>, Problem> {
    let mut facts = Vec::with_capacity(messages.len());
    for mut row in messages {
        let (message, effect) = row.message.decide(happening);
        row.message = message;
        store::save_message(tx, &row).await?;
        facts.extend(effect.map(|effect| fact(&row, effect)));
    }
    Ok(facts)
}

fn values(invoice: &InvoiceTold) -> Value {
    json!({
        "user": invoice.merchant,
        "invoice": invoice.invoice,
        "order_id": invoice.order_id,
        "due": invoice.due.to_string(),
        "received": Money::new(invoice.due.asset, invoice.received).to_string(),
    })
}

fn fact(row: &MessageRow, effect: Effect) -> Fact {
    let told = MessageTold { message: row.id.clone(), user: row.user.clone(), template: row.message.template };
    match effect {
        Effect::Queued => Fact::new(MESSAGE_QUEUED, &row.id, &told),
        Effect::Sent => Fact::new(MESSAGE_SENT, &row.id, &told),
        Effect::Expired => Fact::new(MESSAGE_EXPIRED, &row.id, &told),
        Effect::Failed(reason) => Fact::new(MESSAGE_FAILED, &row.id, &MessageFailed { message: told, reason }),
    }
}
