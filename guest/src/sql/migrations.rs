//! Tables, made by the function itself at its first use. Scripts come in; a database that has them all goes out, also when
//! twenty instances start at once.

use sha2::{Digest, Sha256};

use super::{Db, Purpose, Tx, statement};
use crate::clock::now_ms;
use crate::problem::Problem;

/// The tables of this crate, migrated like any function's under a name of their own.
const GUEST: &[&str] = &[include_str!("../../migrations/001.sql")];

const HISTORY: &str = "CREATE TABLE IF NOT EXISTS guest_migration (
    name TEXT NOT NULL,
    number BIGINT NOT NULL,
    hash TEXT NOT NULL,
    applied_at_ms BIGINT NOT NULL,
    PRIMARY KEY (name, number)
)";

/// Brings the database to the newest tables of this crate and of the function.
pub async fn prepare(db: &Db, function: &str, migrations: &[&str]) -> Result<(), Problem> {
    // The usual case is one read. An error means that there is no history yet, or comes again below.
    if let Ok(applied) = applied(db).await
        && missing(&applied, "guest", GUEST)?.is_empty()
        && missing(&applied, function, migrations)?.is_empty()
    {
        return Ok(());
    }
    let tx = db.begin(Purpose::Bookkeeping).await?;
    match migrate(&tx, function, migrations).await {
        Ok(()) => tx.commit().await,
        Err(problem) => {
            tx.rollback().await?;
            Err(problem)
        }
    }
}

async fn migrate(tx: &Tx<'_>, function: &str, migrations: &[&str]) -> Result<(), Problem> {
    tx.take_turns(function).await?;
    tx.execute(HISTORY, &[]).await?;
    let applied = applied(tx).await?;
    for (name, scripts) in [("guest", GUEST), (function, migrations)] {
        for number in missing(&applied, name, scripts)? {
            apply(tx, name, number, scripts[number - 1]).await?;
        }
    }
    Ok(())
}

async fn apply(tx: &Tx<'_>, name: &str, number: usize, script: &str) -> Result<(), Problem> {
    for statement in statement::split(script) {
        tx.execute(&statement, &[]).await?;
    }
    let sql = "INSERT INTO guest_migration (name, number, hash, applied_at_ms) VALUES ($1, $2, $3, $4)";
    tx.execute(sql, crate::params![name, number as i64, hash(script), now_ms()]).await?;
    eprintln!("migration {number:03} of {name} applied");
    Ok(())
}

/// One script that was applied.
struct Applied {
    name: String,
    number: i64,
    hash: String,
}

async fn applied(db: &Db) -> Result<Vec<Applied>, Problem> {
    let rows = db.rows("SELECT name, number, hash FROM guest_migration", &[]).await?;
    rows.iter()
        .map(|row| Ok(Applied { name: row.get("name")?, number: row.get("number")?, hash: row.get("hash")? }))
        .collect()
}

/// The numbers of the scripts, from 1, that are still to be applied. More applied ones than we know are a newer
/// release's, which works with ours.
fn missing(applied: &[Applied], name: &str, scripts: &[&str]) -> Result<Vec<usize>, Problem> {
    let mut missing = Vec::new();
    for (number, script) in (1..).zip(scripts) {
        match applied.iter().find(|applied| applied.name == name && applied.number == number as i64) {
            None => missing.push(number),
            Some(applied) if applied.hash == hash(script) => {}
            Some(_) => {
                return Err(Problem::internal(format!("{name} {number:03}.sql was changed after it was applied")));
            }
        }
    }
    Ok(missing)
}

fn hash(script: &str) -> String {
    Sha256::digest(script.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(scripts: &[&str]) -> Vec<Applied> {
        let entry = |(number, script): (i64, &&str)| Applied { name: "core".into(), number, hash: hash(script) };
        (1..).zip(scripts).map(entry).collect()
    }

    #[test]
    fn only_what_is_missing_is_applied() {
        assert_eq!(missing(&history(&[]), "core", &["a", "b"]), Ok(vec![1, 2]));
        assert_eq!(missing(&history(&["a"]), "core", &["a", "b"]), Ok(vec![2]));
        assert_eq!(missing(&history(&["a", "b", "c"]), "core", &["a", "b"]), Ok(vec![]));
        assert_eq!(missing(&history(&["a"]), "cron", &["a"]), Ok(vec![1]));
    }

    #[test]
    fn a_script_that_was_changed_after_it_was_applied_is_told() {
        assert!(missing(&history(&["a"]), "core", &["A"]).is_err());
    }

    #[test]
    fn the_tables_of_this_crate_split_into_statements() {
        let statements: Vec<String> = GUEST.iter().flat_map(|script| statement::split(script)).collect();
        assert_eq!(statements.len(), 5);
        assert!(statements.iter().all(|statement| statement.starts_with("CREATE ")));
    }
}
