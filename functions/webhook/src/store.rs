//! Webhook's SQL: endpoints, bodies and deliveries, each as a row.

use domain::delivery::signature::Secret;
use domain::delivery::{Delivery, Health, State};
use guest::{Db, Problem, Row, Tx, params};

/// An endpoint of a merchant.
pub struct EndpointRow {
    pub id: String,
    pub merchant: String,
    pub url: String,
    pub secret: Secret,
    pub health: Health,
    pub created_at_ms: i64,
    pub version: i64,
}

/// One event on its way to one endpoint.
pub struct DeliveryRow {
    pub id: String,
    pub endpoint: String,
    pub merchant: String,
    pub body: String,
    pub kind: String,
    /// How far it has come.
    pub course: Delivery,
    /// The last answer's.
    pub status: Option<u16>,
    pub created_at_ms: i64,
    pub version: i64,
}

/// What an attempt needs.
pub struct Letter {
    pub id: String,
    pub url: String,
    pub secret: Secret,
    pub body: String,
}

const ENDPOINT: &str =
    "SELECT id, merchant, url, secret, health, failing_since_ms, created_at_ms, version FROM endpoint";
const DELIVERY: &str =
    "SELECT d.id, d.endpoint, d.merchant, d.body, d.kind, d.state, d.attempts, d.due_at_ms, d.status,
    d.created_at_ms, d.version FROM delivery d";

pub async fn insert_endpoint(tx: &Tx<'_>, endpoint: &EndpointRow) -> Result<(), Problem> {
    let (health, failing_since_ms) = health_columns(endpoint.health);
    tx.execute_one(
        "INSERT INTO endpoint (id, merchant, url, secret, health, failing_since_ms, created_at_ms, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        params![
            &endpoint.id,
            &endpoint.merchant,
            &endpoint.url,
            endpoint.secret.reveal(),
            health,
            failing_since_ms,
            endpoint.created_at_ms,
            endpoint.version,
        ],
    )
    .await
}

pub async fn save_endpoint(tx: &Tx<'_>, endpoint: &EndpointRow) -> Result<(), Problem> {
    let (health, failing_since_ms) = health_columns(endpoint.health);
    tx.execute_one(
        "UPDATE endpoint SET url = $1, health = $2, failing_since_ms = $3, version = version + 1
         WHERE id = $4 AND version = $5",
        params![&endpoint.url, health, failing_since_ms, &endpoint.id, endpoint.version],
    )
    .await
}

/// Its deliveries go with it. Bodies stay: other endpoints may need them.
pub async fn delete_endpoint(tx: &Tx<'_>, id: &str) -> Result<(), Problem> {
    tx.execute("DELETE FROM delivery WHERE endpoint = $1", params![id]).await?;
    tx.execute_one("DELETE FROM endpoint WHERE id = $1", params![id]).await
}

pub async fn endpoints(db: &Db, merchant: &str) -> Result<Vec<EndpointRow>, Problem> {
    let rows =
        db.rows(&format!("{ENDPOINT} WHERE merchant = $1 ORDER BY created_at_ms, id"), params![merchant]).await?;
    rows.iter().map(endpoint).collect()
}

/// Another merchant's endpoint is none.
pub async fn endpoint_of(db: &Db, merchant: &str, id: &str) -> Result<EndpointRow, Problem> {
    let row = db.row(&format!("{ENDPOINT} WHERE id = $1 AND merchant = $2"), params![id, merchant]).await?;
    endpoint(&row.ok_or_else(|| Problem::not_found("endpoint"))?)
}

pub async fn insert_body(tx: &Tx<'_>, id: &str, text: &str) -> Result<(), Problem> {
    let sql = "INSERT INTO body (id, text) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    tx.execute(sql, params![id, text]).await?;
    Ok(())
}

/// Whether it is a new one.
pub async fn insert_delivery(tx: &Tx<'_>, delivery: &DeliveryRow) -> Result<bool, Problem> {
    let inserted = tx
        .execute(
            "INSERT INTO delivery (id, endpoint, merchant, body, kind, state, attempts, due_at_ms, status, created_at_ms,
             version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING",
            params![
                &delivery.id,
                &delivery.endpoint,
                &delivery.merchant,
                &delivery.body,
                &delivery.kind,
                delivery.course.state.key(),
                delivery.course.attempts,
                delivery.course.state.at_ms(),
                delivery.status.map(i64::from),
                delivery.created_at_ms,
                delivery.version,
            ],
        )
        .await?;
    Ok(inserted == 1)
}

pub async fn save_delivery(tx: &Tx<'_>, delivery: &DeliveryRow) -> Result<(), Problem> {
    tx.execute_one(
        "UPDATE delivery SET state = $1, attempts = $2, due_at_ms = $3, status = $4, version = version + 1
         WHERE id = $5 AND version = $6",
        params![
            delivery.course.state.key(),
            delivery.course.attempts,
            delivery.course.state.at_ms(),
            delivery.status.map(i64::from),
            &delivery.id,
            delivery.version,
        ],
    )
    .await
}

pub async fn delivery(db: &Db, id: &str) -> Result<Option<DeliveryRow>, Problem> {
    let row = db.row(&format!("{DELIVERY} WHERE d.id = $1"), params![id]).await?;
    row.as_ref().map(delivery_row).transpose()
}

/// What waits at enabled endpoints and is due, the longest overdue first.
pub async fn due(db: &Db, now_ms: i64, limit: i64) -> Result<Vec<DeliveryRow>, Problem> {
    let sql = format!(
        "{DELIVERY} JOIN endpoint e ON e.id = d.endpoint
         WHERE d.state = 'waiting' AND d.due_at_ms <= $1 AND e.health <> 'disabled' ORDER BY d.due_at_ms, d.id LIMIT $2"
    );
    db.rows(&sql, params![now_ms, limit]).await?.iter().map(delivery_row).collect()
}

/// When the next delivery to an enabled endpoint is due.
pub async fn next_due_ms(db: &Db) -> Result<Option<i64>, Problem> {
    let sql = "SELECT MIN(d.due_at_ms) AS next_ms FROM delivery d JOIN endpoint e ON e.id = d.endpoint
         WHERE d.state = 'waiting' AND e.health <> 'disabled'";
    db.one(sql, params![]).await?.get("next_ms")
}

/// A page of an endpoint's deliveries, the newest first, behind one that was seen.
pub async fn newest(
    db: &Db,
    endpoint: &str,
    after: Option<&DeliveryRow>,
    limit: i64,
) -> Result<Vec<DeliveryRow>, Problem> {
    let order = "ORDER BY d.created_at_ms DESC, d.id DESC LIMIT";
    let rows = match after {
        None => db.rows(&format!("{DELIVERY} WHERE d.endpoint = $1 {order} $2"), params![endpoint, limit]).await?,
        Some(seen) => {
            let sql = format!("{DELIVERY} WHERE d.endpoint = $1 AND (d.created_at_ms, d.id) < ($2, $3) {order} $4");
            db.rows(&sql, params![endpoint, seen.created_at_ms, &seen.id, limit]).await?
        }
    };
    rows.iter().map(delivery_row).collect()
}

/// What is sent in an attempt, if that attempt is ordered and not made yet, and its endpoint enabled.
pub async fn letter(db: &Db, delivery: &str, attempts: u32) -> Result<Option<Letter>, Problem> {
    let sql = "SELECT d.id, e.url, e.secret, b.text FROM delivery d JOIN endpoint e ON e.id = d.endpoint
         JOIN body b ON b.id = d.body
         WHERE d.id = $1 AND d.attempts = $2 AND d.state = 'sending' AND e.health <> 'disabled'";
    let Some(row) = db.row(sql, params![delivery, attempts]).await? else { return Ok(None) };
    Ok(Some(Letter { id: row.get("id")?, url: row.get("url")?, secret: secret(&row)?, body: row.get("text")? }))
}

fn endpoint(row: &Row) -> Result<EndpointRow, Problem> {
    Ok(EndpointRow {
        id: row.get("id")?,
        merchant: row.get("merchant")?,
        url: row.get("url")?,
        secret: secret(row)?,
        health: health(row)?,
        created_at_ms: row.get("created_at_ms")?,
        version: row.get("version")?,
    })
}

fn delivery_row(row: &Row) -> Result<DeliveryRow, Problem> {
    let state: String = row.get("state")?;
    let state = State::parse(&state, row.get("due_at_ms")?);
    let state = state.ok_or_else(|| Problem::internal("the row has no state of a delivery"))?;
    Ok(DeliveryRow {
        id: row.get("id")?,
        endpoint: row.get("endpoint")?,
        merchant: row.get("merchant")?,
        body: row.get("body")?,
        kind: row.get("kind")?,
        course: Delivery { attempts: row.get("attempts")?, state },
        status: row.get::<Option<u32>>("status")?.and_then(|status| status.try_into().ok()),
        created_at_ms: row.get("created_at_ms")?,
        version: row.get("version")?,
    })
}

fn secret(row: &Row) -> Result<Secret, Problem> {
    let text: String = row.get("secret")?;
    Secret::parse(&text).map_err(|refusal| Problem::internal(refusal.to_string()))
}

fn health_columns(health: Health) -> (&'static str, Option<i64>) {
    match health {
        Health::Well => ("well", None),
        Health::Failing { since_ms } => ("failing", Some(since_ms)),
        Health::Disabled => ("disabled", None),
    }
}

fn health(row: &Row) -> Result<Health, Problem> {
    let (health, since_ms): (String, Option<i64>) = (row.get("health")?, row.get("failing_since_ms")?);
    match (health.as_str(), since_ms) {
        ("well", _) => Ok(Health::Well),
        ("failing", Some(since_ms)) => Ok(Health::Failing { since_ms }),
        ("disabled", _) => Ok(Health::Disabled),
        _ => Err(Problem::internal("the row has no health of an endpoint")),
    }
}
