//! The SQL of invoices and of the addresses that were given to them.

use std::collections::{BTreeMap, BTreeSet};

use domain::facts::payment::Price;
use domain::invoice::{Invoice, Stage, Sums, Terms};
use guest::{Db, Problem, Row, Tx, Value, params};

use super::{amount, asset, integer, money, natural};

/// How many due invoices one look takes; the oldest first.
const DUE_MAX: i64 = 500;
/// How many addresses are asked for at once.
const ADDRESSES_AT_ONCE: usize = 20;

/// Gives out the next index of the account key's addresses.
pub async fn next_address(tx: &Tx<'_>) -> Result<u32, Problem> {
    let row =
        tx.one("UPDATE address_index SET next = next + 1 WHERE id = 1 RETURNING next - 1 AS position", &[]).await?;
    row.get("position")
}

/// Looks for deposits at an invoice's address from now on.
pub async fn watch(tx: &Tx<'_>, address: &str, position: u32, terms: &Terms) -> Result<(), Problem> {
    let sql = "INSERT INTO addresses (address, position, invoice, watched_until_ms) VALUES ($1, $2, $3, $4)";
    tx.execute_one(sql, params![address, position, &terms.id, terms.watched_until_ms()]).await
}

/// Which of these addresses (small letters) are ours, with their invoices.
pub async fn of_addresses(db: &Db, addresses: BTreeSet<String>) -> Result<BTreeMap<String, String>, Problem> {
    let addresses: Vec<String> = addresses.into_iter().collect();
    let mut ours = BTreeMap::new();
    for chunk in addresses.chunks(ADDRESSES_AT_ONCE) {
        let sql = "SELECT address, invoice FROM addresses WHERE address IN
            ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";
        let mut params: Vec<Value> = chunk.iter().map(Value::from).collect();
        params.resize(ADDRESSES_AT_ONCE, Value::Null);
        for row in db.rows(sql, &params).await? {
            ours.insert(row.get("address")?, row.get("invoice")?);
        }
    }
    Ok(ours)
}

/// An invoice with its version.
pub async fn load(db: &Db, id: &str) -> Result<Option<(Invoice, i64)>, Problem> {
    let sql = "SELECT id, merchant, order_id, currency, price, asset, due, rate, tolerance_bps, chain, address,
            created_ms, expires_ms, metadata, stage, paid_ms, in_time, in_time_confirmed, late, late_confirmed, version
        FROM invoices WHERE id = $1";
    db.row(sql, params![id]).await?.as_ref().map(read).transpose()
}

/// Invoices whose time has come.
pub async fn due(db: &Db, now_ms: i64) -> Result<Vec<String>, Problem> {
    let sql = "SELECT id FROM invoices WHERE due_ms <= $1 ORDER BY due_ms LIMIT $2";
    db.rows(sql, params![now_ms, DUE_MAX]).await?.iter().map(|row| row.get("id")).collect()
}

/// A new invoice.
pub async fn insert(tx: &Tx<'_>, invoice: &Invoice) -> Result<(), Problem> {
    let sql = "INSERT INTO invoices (id, merchant, order_id, currency, price, asset, due, rate, tolerance_bps, chain,
            address, created_ms, expires_ms, metadata, stage, in_time, in_time_confirmed, late, late_confirmed,
            due_ms, version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16, $16, $16, $17, 0)";
    let terms = &invoice.terms;
    let metadata = serde_json::Value::Object(terms.metadata.clone()).to_string();
    let params = params![
        &terms.id,
        &terms.merchant,
        terms.order_id.as_deref(),
        terms.price.currency.code(),
        terms.price.amount.to_sql(),
        terms.due.asset.code(),
        terms.due.amount.to_sql(),
        terms.rate.as_deref(),
        terms.tolerance_bps,
        integer(terms.chain)?,
        &terms.address,
        terms.created_ms,
        terms.expires_ms,
        metadata,
        invoice.stage.label(),
        invoice.sums.in_time.to_sql(),
        invoice.due_ms(),
    ];
    tx.execute_one(sql, params).await
}

/// The next stage and sums of an invoice.
pub async fn save(tx: &Tx<'_>, invoice: &Invoice, version: i64) -> Result<(), Problem> {
    let sql = "UPDATE invoices SET stage = $1, paid_ms = $2, in_time = $3, in_time_confirmed = $4, late = $5,
            late_confirmed = $6, due_ms = $7, version = version + 1
        WHERE id = $8 AND version = $9";
    let (sums, stage) = (&invoice.sums, invoice.stage);
    let params = params![
        stage.label(),
        stage.paid_ms(),
        sums.in_time.to_sql(),
        sums.in_time_confirmed.to_sql(),
        sums.late.to_sql(),
        sums.late_confirmed.to_sql(),
        invoice.due_ms(),
        &invoice.terms.id,
        version,
    ];
    tx.execute_one(sql, params).await
}

fn read(row: &Row) -> Result<(Invoice, i64), Problem> {
    let sums = Sums {
        in_time: amount(row, "in_time")?,
        in_time_confirmed: amount(row, "in_time_confirmed")?,
        late: amount(row, "late")?,
        late_confirmed: amount(row, "late_confirmed")?,
    };
    Ok((Invoice { terms: terms(row)?, sums, stage: stage(row)? }, row.get("version")?))
}

fn terms(row: &Row) -> Result<Terms, Problem> {
    let metadata = serde_json::from_str(&row.get::<String>("metadata")?);
    Ok(Terms {
        id: row.get("id")?,
        merchant: row.get("merchant")?,
        order_id: row.get("order_id")?,
        price: Price { currency: asset(row, "currency")?, amount: amount(row, "price")? },
        due: money(row, "asset", "due")?,
        rate: row.get("rate")?,
        tolerance_bps: row.get("tolerance_bps")?,
        chain: natural(row, "chain")?,
        address: row.get("address")?,
        created_ms: row.get("created_ms")?,
        expires_ms: row.get("expires_ms")?,
        metadata: metadata.map_err(|error| Problem::internal(format!("`metadata`: {error}")))?,
    })
}

fn stage(row: &Row) -> Result<Stage, Problem> {
    Ok(match row.get::<String>("stage")?.as_str() {
        "new" => Stage::New,
        "processing" => Stage::Processing,
        "paid" => Stage::Paid { at_ms: row.get("paid_ms")? },
        "expired" => Stage::Expired,
        "invalid" => Stage::Invalid,
        other => return Err(Problem::internal(format!("`{other}` is no stage of an invoice"))),
    })
}
