//! spin:sqlite. Statements go in, rows come out; each open is a fresh connection, so dropping it forgets an open transaction.

use std::cell::Cell;
use std::rc::Rc;

use spin_sdk::sqlite;

use super::Purpose;
use super::value::{Row, Value};
use crate::problem::{Code, Problem};

thread_local! {
    /// Write-ahead logging is kept in the file: one instance says it once.
    static WAL_IS_ON: Cell<bool> = const { Cell::new(false) };
}

pub struct Connection(sqlite::Connection);

/// How a transaction begins. SQLite is serializable by nature, but a reader that begins to write may be refused in the
/// middle, so a writer takes its place at once.
pub fn begin(purpose: Purpose) -> &'static [&'static str] {
    match purpose {
        Purpose::Write | Purpose::Bookkeeping => &["BEGIN IMMEDIATE"],
        // For the rest of this connection, which one unit of work has for itself.
        Purpose::Read => &["PRAGMA query_only = ON", "BEGIN"],
    }
}

impl Connection {
    pub async fn open(label: &str) -> Result<Self, Problem> {
        let connection = Connection(sqlite::Connection::open(label).await.map_err(problem)?);
        if !WAL_IS_ON.get() {
            connection.rows("PRAGMA journal_mode = WAL", &[]).await?;
            WAL_IS_ON.set(true);
        }
        Ok(connection)
    }

    pub async fn rows(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>, Problem> {
        let result = self.0.execute(sql, params.iter().map(parameter)).await.map_err(problem)?;
        let columns: Rc<[String]> = result.columns().into();
        let rows = result.collect().await.map_err(problem)?;
        rows.into_iter()
            .map(|row| {
                let values = row.values.into_iter().map(column).collect::<Result<_, _>>()?;
                Ok(Row::new(columns.clone(), values))
            })
            .collect()
    }

    pub async fn execute(&self, sql: &str, params: &[Value]) -> Result<u64, Problem> {
        let result = self.0.execute(sql, params.iter().map(parameter)).await.map_err(problem)?;
        result.collect().await.map_err(problem)?;
        Ok(self.0.changes().await)
    }
}

fn parameter(value: &Value) -> sqlite::Value {
    match value {
        Value::Integer(number) => sqlite::Value::Integer(*number),
        Value::Text(text) => sqlite::Value::Text(text.clone()),
        Value::Null => sqlite::Value::Null,
    }
}

fn column(value: sqlite::Value) -> Result<Value, Problem> {
    match value {
        sqlite::Value::Integer(number) => Ok(Value::Integer(number)),
        sqlite::Value::Text(text) => Ok(Value::Text(text)),
        sqlite::Value::Null => Ok(Value::Null),
        sqlite::Value::Real(_) | sqlite::Value::Blob(_) => {
            Err(Problem::internal("a column is neither BIGINT nor TEXT"))
        }
    }
}

/// spin:sqlite gives SQLite's own sentence and no code.
fn problem(error: sqlite::Error) -> Problem {
    match error {
        sqlite::Error::Io(text) => complaint(&text),
        sqlite::Error::DatabaseFull => Problem::new(Code::DatabaseUnavailable, "the database is full"),
        sqlite::Error::NoSuchDatabase | sqlite::Error::AccessDenied | sqlite::Error::InvalidConnection => {
            Problem::internal(format!("spin:sqlite: {error}"))
        }
    }
}

fn complaint(text: &str) -> Problem {
    let is_race = ["is locked", "is busy", "UNIQUE constraint failed"].iter().any(|sign| text.contains(sign));
    if is_race { Problem::conflict() } else { Problem::internal(format!("SQLite: {text}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_database_and_a_taken_key_run_the_unit_of_work_again() {
        for text in ["database is locked", "database table is locked: t", "UNIQUE constraint failed: t.id"] {
            assert!(complaint(text).is_conflict(), "{text}");
        }
        assert_eq!(complaint("no such table: t").code, Code::Internal);
    }
}
