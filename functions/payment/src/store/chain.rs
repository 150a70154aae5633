//! The SQL of the chain watch: kept blocks, how far was looked, and whether anything is open.

use domain::deposit::chain::{Kept, Link};
use guest::{Db, Problem, Tx, params};

use super::{integer, natural};

/// How far the chain was looked at.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Hash of block 0; empty before the first look.
    pub genesis: String,
    /// When the tip was reached last.
    pub looked_ms: i64,
    /// When a look changed something last.
    pub moved_ms: i64,
    /// Whether the last look did not reach the tip.
    pub is_behind: bool,
    /// Whether nothing was open after the last look.
    pub is_idle: bool,
    /// Counts looks.
    pub version: i64,
}

/// Why the chain is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// No reason.
    Nothing,
    /// Addresses whose invoices are decided, within a day after their expiry.
    Monitored,
    /// An invoice waits for money, or a deposit for confirmations.
    Awaited,
}

/// How far the chain was looked at.
pub async fn watch(db: &Db) -> Result<Watch, Problem> {
    let sql = "SELECT genesis, looked_ms, moved_ms, is_behind, is_idle, version FROM chain_watch WHERE id = 1";
    let row = db.one(sql, &[]).await?;
    Ok(Watch {
        genesis: row.get("genesis")?,
        looked_ms: row.get("looked_ms")?,
        moved_ms: row.get("moved_ms")?,
        is_behind: row.get("is_behind")?,
        is_idle: row.get("is_idle")?,
        version: row.get("version")?,
    })
}

/// Remembers a look, unless another one was taken in meanwhile.
pub async fn save_watch(tx: &Tx<'_>, watch: &Watch) -> Result<(), Problem> {
    let sql = "UPDATE chain_watch SET genesis = $1, looked_ms = $2, moved_ms = $3, is_behind = $4, is_idle = $5,
            version = version + 1
        WHERE id = 1 AND version = $6";
    let Watch { genesis, looked_ms, moved_ms, is_behind, is_idle, version } = watch;
    let params = params![genesis, *looked_ms, *moved_ms, *is_behind, *is_idle, *version];
    tx.execute_one(sql, params).await
}

/// What is open after a look at that time.
pub async fn open(db: &Db, looked_ms: i64) -> Result<Open, Problem> {
    let waiting = db.row("SELECT id FROM invoices WHERE due_ms IS NOT NULL LIMIT 1", &[]).await?;
    let unconfirmed = db.row("SELECT id FROM deposits WHERE stage = 'detected' LIMIT 1", &[]).await?;
    if waiting.is_some() || unconfirmed.is_some() {
        return Ok(Open::Awaited);
    }
    let sql = "SELECT address FROM addresses WHERE watched_until_ms > $1 LIMIT 1";
    let watched = db.row(sql, params![looked_ms]).await?;
    Ok(if watched.is_some() { Open::Monitored } else { Open::Nothing })
}

/// Since when the oldest of what is open after a look at that time is open.
pub async fn open_since_ms(db: &Db, looked_ms: i64) -> Result<Option<i64>, Problem> {
    let sql = "SELECT MIN(invoices.created_ms) AS since_ms FROM addresses
        JOIN invoices ON invoices.id = addresses.invoice WHERE addresses.watched_until_ms > $1";
    db.one(sql, params![looked_ms]).await?.get("since_ms")
}

/// The kept blocks.
pub async fn kept(db: &Db) -> Result<Kept, Problem> {
    let rows = db.rows("SELECT hash, parent, height FROM blocks ORDER BY height", &[]).await?;
    let link = |row: &guest::Row| {
        Ok(Link { hash: row.get("hash")?, parent: row.get("parent")?, height: natural(row, "height")? })
    };
    Ok(Kept::new(rows.iter().map(link).collect::<Result<_, Problem>>()?))
}

/// Keeps a block.
pub async fn keep(tx: &Tx<'_>, link: &Link) -> Result<(), Problem> {
    let sql = "INSERT INTO blocks (hash, parent, height) VALUES ($1, $2, $3)";
    tx.execute_one(sql, params![&link.hash, &link.parent, integer(link.height)?]).await
}

/// Drops a block.
pub async fn drop(tx: &Tx<'_>, link: &Link) -> Result<(), Problem> {
    tx.execute_one("DELETE FROM blocks WHERE hash = $1", params![&link.hash]).await
}

/// Forgets what lies too deep to be reorganised.
pub async fn forget_below(tx: &Tx<'_>, height: u64) -> Result<(), Problem> {
    tx.execute("DELETE FROM blocks WHERE height < $1", params![integer(height)?]).await.map(|_| ())
}

/// Forgets all blocks, for a new start.
pub async fn forget_all(tx: &Tx<'_>) -> Result<(), Problem> {
    tx.execute("DELETE FROM blocks", &[]).await.map(|_| ())
}
