//! The SQL of deposits.

use domain::asset::Asset;
use domain::deposit::{Deposit, Origin, Place, Stage};
use domain::invoice::Payment;
use guest::{Db, Problem, Row, Tx, params};

use super::{amount, integer, money, natural};

/// How many unconfirmed deposits one look takes; the oldest first.
const UNCONFIRMED_MAX: i64 = 500;

/// A deposit with its version.
pub async fn load(db: &Db, id: &str) -> Result<Option<(Deposit, i64)>, Problem> {
    let sql = "SELECT id, asset, amount, chain, address, txid, user_id, invoice, is_late, stage, block, height, version
        FROM deposits WHERE id = $1";
    db.row(sql, params![id]).await?.as_ref().map(read).transpose()
}

/// The deposits of a block.
pub async fn of_block(db: &Db, block: &str) -> Result<Vec<(Deposit, i64)>, Problem> {
    let sql = "SELECT id, asset, amount, chain, address, txid, user_id, invoice, is_late, stage, block, height, version
        FROM deposits WHERE block = $1 ORDER BY id";
    db.rows(sql, params![block]).await?.iter().map(read).collect()
}

/// Deposits that wait for confirmations.
pub async fn unconfirmed(db: &Db) -> Result<Vec<(Deposit, i64)>, Problem> {
    let sql = "SELECT id, asset, amount, chain, address, txid, user_id, invoice, is_late, stage, block, height, version
        FROM deposits WHERE stage = 'detected' ORDER BY height, id LIMIT $1";
    db.rows(sql, params![UNCONFIRMED_MAX]).await?.iter().map(read).collect()
}

/// What is on the chain for an invoice, in its asset.
pub async fn payments(db: &Db, invoice: &str, asset: Asset) -> Result<Vec<Payment>, Problem> {
    let sql = "SELECT amount, stage, is_late FROM deposits
        WHERE invoice = $1 AND asset = $2 AND stage IN ('detected', 'confirmed') ORDER BY id";
    let payment = |row: &Row| {
        let is_confirmed = row.get::<String>("stage")? == "confirmed";
        Ok(Payment { amount: amount(row, "amount")?, is_confirmed, is_late: row.get("is_late")? })
    };
    db.rows(sql, params![invoice, asset.code()]).await?.iter().map(payment).collect()
}

/// A deposit that was never seen before.
pub async fn insert(tx: &Tx<'_>, deposit: &Deposit) -> Result<(), Problem> {
    let sql = "INSERT INTO deposits
        (id, asset, amount, chain, address, txid, user_id, invoice, is_late, stage, block, height, version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0)";
    let Deposit { origin, stage } = deposit;
    let place = deposit.place();
    let (asset, amount) = (origin.money.asset.code(), origin.money.amount.to_sql());
    let (user, invoice) = (origin.user.as_deref(), origin.invoice.as_deref());
    let (id, address, txid, block) = (&origin.id, &origin.address, &origin.txid, &place.block);
    let (chain, height) = (integer(origin.chain)?, integer(place.height)?);
    let stage = text(stage);
    let params = params![id, asset, amount, chain, address, txid, user, invoice, origin.is_late, stage, block, height];
    tx.execute_one(sql, params).await
}

/// The next stage of a deposit.
pub async fn save(tx: &Tx<'_>, deposit: &Deposit, version: i64) -> Result<(), Problem> {
    let sql = "UPDATE deposits SET stage = $1, block = $2, height = $3, version = version + 1
        WHERE id = $4 AND version = $5";
    let place = deposit.place();
    let (stage, height) = (text(&deposit.stage), integer(place.height)?);
    tx.execute_one(sql, params![stage, &place.block, height, &deposit.origin.id, version]).await
}

fn text(stage: &Stage) -> &'static str {
    match stage {
        Stage::Detected(_) => "detected",
        Stage::Confirmed(_) => "confirmed",
        Stage::Orphaned(_) => "orphaned",
        Stage::Reverted(_) => "reverted",
    }
}

fn read(row: &Row) -> Result<(Deposit, i64), Problem> {
    let place = Place { block: row.get("block")?, height: natural(row, "height")? };
    let stage = match row.get::<String>("stage")?.as_str() {
        "detected" => Stage::Detected(place),
        "confirmed" => Stage::Confirmed(place),
        "orphaned" => Stage::Orphaned(place),
        "reverted" => Stage::Reverted(place),
        other => return Err(Problem::internal(format!("`{other}` is no stage of a deposit"))),
    };
    let origin = Origin {
        id: row.get("id")?,
        money: money(row, "asset", "amount")?,
        chain: natural(row, "chain")?,
        address: row.get("address")?,
        txid: row.get("txid")?,
        user: row.get("user_id")?,
        invoice: row.get("invoice")?,
        is_late: row.get("is_late")?,
    };
    Ok((Deposit { origin, stage }, row.get("version")?))
}
