//! The SQL about what is not to be sent: preferences and suppressions.

use domain::mail::Category;
use guest::{Db, Problem, Tx, now_ms, params};

/// An address that nothing is sent to.
pub struct Suppression {
    pub email: String,
    pub reason: String,
    pub created_by: String,
    pub created_at_ms: i64,
}

/// Whoever said nothing wants everything.
pub async fn is_wanted(db: &Db, user: &str, category: Category) -> Result<bool, Problem> {
    let sql = "SELECT wanted FROM preference WHERE user_id = $1 AND category = $2";
    let row = db.row(sql, params![user, category.key()]).await?;
    row.map_or(Ok(true), |row| row.get("wanted"))
}

pub async fn prefer(tx: &Tx<'_>, user: &str, category: Category, wanted: bool) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO preference (user_id, category, wanted) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, category) DO UPDATE SET wanted = excluded.wanted",
        params![user, category.key(), wanted],
    )
    .await?;
    Ok(())
}

pub async fn is_suppressed(db: &Db, email: &str) -> Result<bool, Problem> {
    let row = db.row("SELECT email FROM suppression WHERE email = $1", params![email]).await?;
    Ok(row.is_some())
}

/// The first reason stays.
pub async fn suppress(tx: &Tx<'_>, email: &str, reason: &str, operator: &str) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO suppression (email, reason, created_by, created_at_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (email) DO NOTHING",
        params![email, reason, operator, now_ms()],
    )
    .await?;
    Ok(())
}

/// Whether there was one.
pub async fn unsuppress(tx: &Tx<'_>, email: &str) -> Result<bool, Problem> {
    Ok(tx.execute("DELETE FROM suppression WHERE email = $1", params![email]).await? > 0)
}

/// A page by address, behind one that was seen.
pub async fn suppressions(db: &Db, after: &str, limit: i64) -> Result<Vec<Suppression>, Problem> {
    let rows = db
        .rows(
            "SELECT email, reason, created_by, created_at_ms FROM suppression WHERE email > $1 ORDER BY email LIMIT $2",
            params![after, limit],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Suppression {
                email: row.get("email")?,
                reason: row.get("reason")?,
                created_by: row.get("created_by")?,
                created_at_ms: row.get("created_at_ms")?,
            })
        })
        .collect()
}
