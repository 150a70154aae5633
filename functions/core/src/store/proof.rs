//! The SQL of the ledger's proof: sums of entries, page by page. An amount is 39 digits, so it is summed as three limbs of
//! 13, which fit 64 bits for fewer than 900,000 rows.

use domain::account::ledger::{Balance, Side};
use domain::amount::Amount;
use guest::{Db, Problem, Row, params};

/// How many entries are summed at once.
const PAGE_ENTRIES: i64 = 100_000;

/// After which entry a page begins; the default is before the first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    account: String,
    transfer: String,
    phase: String,
}

/// The entries of one account and side within a page.
#[derive(Debug, Clone)]
pub struct Sum {
    /// Whose.
    pub account: String,
    /// Of what.
    pub asset: String,
    /// On which side.
    pub side: Side,
    /// Added up.
    pub part: Part,
    /// What the account itself says, if it has a limit.
    pub stored: Option<Balance>,
}

/// The three columns of entries, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Part {
    /// Became pending.
    pub pended: Amount,
    /// Is not pending any more.
    pub released: Amount,
    /// Took effect.
    pub posted: Amount,
}

impl Part {
    /// The sum, or nothing where it does not fit.
    pub fn plus(&self, other: &Part) -> Option<Part> {
        Some(Part {
            pended: self.pended.plus(other.pended)?,
            released: self.released.plus(other.released)?,
            posted: self.posted.plus(other.posted)?,
        })
    }
}

/// The sums of a page, in the order of the accounts.
pub async fn sums(db: &Db, from: &Page) -> Result<Vec<Sum>, Problem> {
    let sql = "SELECT page.account AS account, page.side AS side, MAX(page.asset) AS asset,
            CAST(SUM(CAST(SUBSTR(page.pended, 1, 13) AS BIGINT)) AS BIGINT) AS pended_high,
            CAST(SUM(CAST(SUBSTR(page.pended, 14, 13) AS BIGINT)) AS BIGINT) AS pended_middle,
            CAST(SUM(CAST(SUBSTR(page.pended, 27, 13) AS BIGINT)) AS BIGINT) AS pended_low,
            CAST(SUM(CAST(SUBSTR(page.released, 1, 13) AS BIGINT)) AS BIGINT) AS released_high,
            CAST(SUM(CAST(SUBSTR(page.released, 14, 13) AS BIGINT)) AS BIGINT) AS released_middle,
            CAST(SUM(CAST(SUBSTR(page.released, 27, 13) AS BIGINT)) AS BIGINT) AS released_low,
            CAST(SUM(CAST(SUBSTR(page.posted, 1, 13) AS BIGINT)) AS BIGINT) AS posted_high,
            CAST(SUM(CAST(SUBSTR(page.posted, 14, 13) AS BIGINT)) AS BIGINT) AS posted_middle,
            CAST(SUM(CAST(SUBSTR(page.posted, 27, 13) AS BIGINT)) AS BIGINT) AS posted_low,
            MAX(accounts.debits_pending) AS debits_pending, MAX(accounts.debits_posted) AS debits_posted,
            MAX(accounts.credits_pending) AS credits_pending, MAX(accounts.credits_posted) AS credits_posted
        FROM (SELECT account, side, asset, pended, released, posted FROM entries
            WHERE (account, transfer, phase) > ($1, $2, $3)
            ORDER BY account, transfer, phase LIMIT $4) page
        LEFT JOIN accounts ON accounts.id = page.account
        GROUP BY page.account, page.side ORDER BY page.account, page.side";
    let rows = db.rows(sql, params![&from.account, &from.transfer, &from.phase, PAGE_ENTRIES]).await?;
    rows.iter().map(sum).collect()
}

/// The page after one, if there is another.
pub async fn next(db: &Db, from: &Page) -> Result<Option<Page>, Problem> {
    let sql = "SELECT account, transfer, phase FROM entries WHERE (account, transfer, phase) > ($1, $2, $3)
        ORDER BY account, transfer, phase LIMIT 1 OFFSET $4";
    let row = db.row(sql, params![&from.account, &from.transfer, &from.phase, PAGE_ENTRIES - 1]).await?;
    row.map(|row| Ok(Page { account: row.get("account")?, transfer: row.get("transfer")?, phase: row.get("phase")? }))
        .transpose()
}

fn sum(row: &Row) -> Result<Sum, Problem> {
    let side = if row.get::<String>("side")? == "debit" { Side::Debit } else { Side::Credit };
    let part = Part {
        pended: limbs(row, ["pended_high", "pended_middle", "pended_low"])?,
        released: limbs(row, ["released_high", "released_middle", "released_low"])?,
        posted: limbs(row, ["posted_high", "posted_middle", "posted_low"])?,
    };
    let is_stored = row.get::<Option<String>>("debits_pending")?.is_some();
    let stored = if is_stored { Some(super::balance(row)?) } else { None };
    Ok(Sum { account: row.get("account")?, asset: row.get("asset")?, side, part, stored })
}

fn limbs(row: &Row, columns: [&str; 3]) -> Result<Amount, Problem> {
    let mut units = 0_u128;
    for column in columns {
        let limb = row.get::<i64>(column)?.unsigned_abs();
        let shifted = units.checked_mul(10_000_000_000_000).and_then(|units| units.checked_add(limb.into()));
        units = shifted.ok_or_else(|| Problem::internal(format!("the sum `{column}` does not fit 128 bits")))?;
    }
    Ok(Amount::new(units))
}

/// How many transfers there are.
pub async fn transfers(db: &Db) -> Result<u64, Problem> {
    Ok(db.one("SELECT COUNT(*) AS count FROM transfers", &[]).await?.get::<i64>("count")?.unsigned_abs())
}

/// How many accounts keep a balance of their own.
pub async fn accounts(db: &Db) -> Result<i64, Problem> {
    db.one("SELECT COUNT(*) AS count FROM accounts", &[]).await?.get("count")
}

/// Transfers that are resolved by other than two halves, or without having been pending to that amount.
pub async fn wrongly_resolved(db: &Db, limit: i64) -> Result<Vec<(&'static str, String)>, Problem> {
    let twice = "SELECT transfer FROM entries WHERE phase <> 'pending'
        GROUP BY transfer HAVING COUNT(*) <> 2 ORDER BY transfer LIMIT $1";
    let never_pending = "SELECT resolved.transfer AS transfer FROM entries resolved
        LEFT JOIN entries pending ON pending.account = resolved.account
            AND pending.transfer = resolved.transfer AND pending.phase = 'pending'
        WHERE resolved.phase <> 'pending' AND resolved.released <> COALESCE(pending.pended, $1)
        ORDER BY resolved.transfer LIMIT $2";
    let mut found = Vec::new();
    for row in db.rows(twice, params![limit]).await? {
        found.push(("resolved-twice", row.get("transfer")?));
    }
    for row in db.rows(never_pending, params![Amount::ZERO.to_sql(), limit]).await? {
        found.push(("resolved-without-pending", row.get("transfer")?));
    }
    Ok(found)
}
