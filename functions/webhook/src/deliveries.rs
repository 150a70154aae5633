//! The life of deliveries: created by an invoice's fact, recorded after each attempt, called again when due or by hand.

use domain::delivery::{Delivery, Disabled, Effect, Health, Outcome, Refusal};
use domain::facts::payment::InvoiceTold;
use domain::facts::webhook::{
    DELIVERY_CREATED, DELIVERY_DUE, DELIVERY_EXHAUSTED, DELIVERY_FAILED, DELIVERY_SUCCEEDED, DeliveryFailed,
    DeliveryTold, ENDPOINT_DISABLED, EndpointDisabled,
};
use event::Event;
use guest::clock::rfc3339;
use guest::{Answer, Code, Command, Fact, Problem, Tx, derived_id, now_ms, payload, tell};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::random::chance;
use crate::store::{self, DeliveryRow, EndpointRow};

/// How many deliveries one wake calls; the rest is the next wake's.
const CALLS_MAX: i64 = 50;
const PAGE_DEFAULT: i64 = 50;
const PAGE_MAX: i64 = 200;

/// The JSON that a merchant receives; `data` is the fact's own, digit for digit.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: &'a str,
    data: &'a RawValue,
}

/// An invoice's fact becomes a delivery for each enabled endpoint of its merchant.
pub async fn create(tx: &Tx<'_>, event: &Event) -> Result<Answer, Problem> {
    let invoice: InvoiceTold = payload(event)?;
    let mut endpoints = store::endpoints(tx, &invoice.merchant).await?;
    endpoints.retain(|endpoint| endpoint.health != Health::Disabled);
    if endpoints.is_empty() {
        return Ok(Answer::no_content());
    }
    let body = derived_id("body", &[&event.source, &event.id]);
    store::insert_body(tx, &body, &text(event)?).await?;
    let mut facts = Vec::with_capacity(endpoints.len());
    for endpoint in &endpoints {
        let delivery = new_delivery(event, endpoint, &body);
        if store::insert_delivery(tx, &delivery).await? {
            facts.push(Fact::new(DELIVERY_CREATED, &delivery.id, &told(&delivery)));
        }
    }
    Ok(tell(facts))
}

/// Writes down what the attempt brought that this event ordered, and how the endpoint fares.
pub async fn record(tx: &Tx<'_>, event: &Event, outcome: Option<&Outcome>) -> Result<Answer, Problem> {
    let ordered: DeliveryTold = payload(event)?;
    let Some(delivery) = store::delivery(tx, &ordered.delivery).await? else { return Ok(Answer::no_content()) };
    if delivery.course.attempts != ordered.attempts || !delivery.course.state.is_sending() {
        return Ok(Answer::no_content());
    }
    match outcome {
        Some(outcome) => attempted(tx, delivery, outcome).await,
        None => withheld(tx, delivery).await,
    }
}

async fn attempted(tx: &Tx<'_>, mut delivery: DeliveryRow, outcome: &Outcome) -> Result<Answer, Problem> {
    let (course, effect) = delivery.course.attempted(outcome, now_ms(), chance());
    (delivery.course, delivery.status) = (course, outcome.status());
    store::save_delivery(tx, &delivery).await?;
    let facts = effect.map(|effect| fact(&delivery, effect)).into_iter();
    let disabled = judge_endpoint(tx, &delivery, outcome).await?;
    Ok(tell(facts.chain(disabled)).wake_at(delivery.course.state.due_at_ms()))
}

/// The endpoint's row is written only when its health changes, so that its deliveries do not wait for one another.
async fn judge_endpoint(tx: &Tx<'_>, delivery: &DeliveryRow, outcome: &Outcome) -> Result<Option<Fact>, Problem> {
    let mut endpoint = store::endpoint_of(tx, &delivery.merchant, &delivery.endpoint).await?;
    let (health, disabled) = endpoint.health.attempted(outcome, now_ms());
    if health != endpoint.health {
        endpoint.health = health;
        store::save_endpoint(tx, &endpoint).await?;
    }
    Ok(disabled.map(|reason| endpoint_disabled(&endpoint, reason)))
}

async fn withheld(tx: &Tx<'_>, mut delivery: DeliveryRow) -> Result<Answer, Problem> {
    delivery.course = delivery.course.withheld(now_ms());
    store::save_delivery(tx, &delivery).await?;
    Ok(Answer::no_content().wake_at(store::next_due_ms(tx).await?))
}

/// A wake: orders an attempt of everything that is due, a bounded number at a time.
pub async fn call_due(tx: &Tx<'_>) -> Result<Answer, Problem> {
    let mut facts = Vec::new();
    for mut delivery in store::due(tx, now_ms(), CALLS_MAX).await? {
        delivery.course = delivery.course.called(now_ms()).map_err(refuse)?;
        store::save_delivery(tx, &delivery).await?;
        facts.push(due(&delivery));
    }
    Ok(tell(facts).wake_at(store::next_due_ms(tx).await?))
}

/// A merchant's wish to have a delivery tried again now. One that is being sent is left alone, for a while.
pub async fn retry(tx: &Tx<'_>, merchant: &str, id: &str) -> Result<Answer, Problem> {
    let delivery = store::delivery(tx, id).await?.filter(|delivery| delivery.merchant == merchant);
    let mut delivery = delivery.ok_or_else(|| Problem::not_found("delivery"))?;
    let endpoint = store::endpoint_of(tx, merchant, &delivery.endpoint).await?;
    if endpoint.health == Health::Disabled {
        return Err(Problem::new(Code::InvalidState, "the endpoint is disabled; enable it first"));
    }
    match delivery.course.clone().called(now_ms()) {
        Ok(called) => delivery.course = called,
        Err(Refusal::Sending) => return Ok(Answer::accepted(&view(&delivery))),
        Err(refusal) => return Err(refuse(refusal)),
    }
    store::save_delivery(tx, &delivery).await?;
    Ok(Answer::accepted(&view(&delivery)).and_tell([due(&delivery)]))
}

/// The newest deliveries of an endpoint first; `after` is the id of the last one that was seen.
pub async fn list(tx: &Tx<'_>, merchant: &str, endpoint: &str, command: &Command) -> Result<Answer, Problem> {
    let endpoint = store::endpoint_of(tx, merchant, endpoint).await?;
    let limit = command.query_number("limit", PAGE_DEFAULT, 1..=PAGE_MAX)?;
    let after = match command.query("after") {
        None => None,
        Some(id) => Some(store::delivery(tx, id).await?.filter(|seen| seen.endpoint == endpoint.id)),
    };
    let after =
        after.map(|seen| seen.ok_or_else(|| Problem::validation("`after` is the id of a delivery"))).transpose()?;
    let deliveries = store::newest(tx, &endpoint.id, after.as_ref(), limit).await?;
    let deliveries: Vec<Value> = deliveries.iter().map(view).collect();
    Ok(Answer::ok(&json!({ "deliveries": deliveries })))
}

fn due(delivery: &DeliveryRow) -> Fact {
    Fact::new(DELIVERY_DUE, &delivery.id, &told(delivery))
}

fn refuse(refusal: Refusal) -> Problem {
    Problem::new(Code::InvalidState, refusal.to_string())
}

fn text(event: &Event) -> Result<String, Problem> {
    let data = payload::<Box<RawValue>>(event)?;
    let body = Body { kind: &event.kind, timestamp: event.time.as_deref().unwrap_or_default(), data: &data };
    serde_json::to_string(&body).map_err(|error| Problem::internal(error.to_string()))
}

/// The same event and endpoint are the same delivery, which the merchant sees as `webhook-id`.
fn new_delivery(event: &Event, endpoint: &EndpointRow, body: &str) -> DeliveryRow {
    DeliveryRow {
        id: derived_id("dlv", &[&event.source, &event.id, &endpoint.id]),
        endpoint: endpoint.id.clone(),
        merchant: endpoint.merchant.clone(),
        body: body.to_owned(),
        kind: event.kind.clone(),
        course: Delivery::new(now_ms()),
        status: None,
        created_at_ms: now_ms(),
        version: 1,
    }
}

fn told(delivery: &DeliveryRow) -> DeliveryTold {
    DeliveryTold {
        delivery: delivery.id.clone(),
        endpoint: delivery.endpoint.clone(),
        merchant: delivery.merchant.clone(),
        event_type: delivery.kind.clone(),
        attempts: delivery.course.attempts,
        status: delivery.status,
    }
}

fn fact(delivery: &DeliveryRow, effect: Effect) -> Fact {
    let told = told(delivery);
    match effect {
        Effect::Succeeded => Fact::new(DELIVERY_SUCCEEDED, &delivery.id, &told),
        Effect::Exhausted => Fact::new(DELIVERY_EXHAUSTED, &delivery.id, &told),
        Effect::Failed { due_at_ms } => {
            let failed = DeliveryFailed { delivery: told, next_at: rfc3339(due_at_ms) };
            Fact::new(DELIVERY_FAILED, &delivery.id, &failed)
        }
    }
}

fn endpoint_disabled(endpoint: &EndpointRow, reason: Disabled) -> Fact {
    let told = EndpointDisabled { endpoint: endpoint.id.clone(), merchant: endpoint.merchant.clone(), reason };
    Fact::new(ENDPOINT_DISABLED, &endpoint.id, &told)
}

fn view(delivery: &DeliveryRow) -> Value {
    json!({
        "id": delivery.id,
        "endpoint": delivery.endpoint,
        "event_type": delivery.kind,
        "state": delivery.course.state.key(),
        "attempts": delivery.course.attempts,
        "status": delivery.status,
        "due_at": delivery.course.state.due_at_ms().map(rfc3339),
        "created_at": rfc3339(delivery.created_at_ms),
    })
}
