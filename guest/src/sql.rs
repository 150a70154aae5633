//! One small door to spin:sqlite and spin:postgres. One SQL text with `$1…$n` and integers or texts goes in, rows with
//! typed columns come out, and what the databases complain about becomes a [`Problem`].

mod migrations;
mod postgres;
mod sqlite;
mod statement;
mod value;

use std::cell::Cell;
use std::ops::Deref;

pub use value::{FromValue, Row, Value};

use crate::problem::Problem;

/// The parameters of a statement: `params![id, version, Some("text"), None::<i64>]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::Value::from($value)),*] };
}

/// One connection, used by one unit of work and never shared: a client that goes away cancels a handler between two
/// statements, and another request may run in the same instance meanwhile.
pub struct Db {
    connection: Connection,
}

/// The closed set of databases.
enum Connection {
    Sqlite(sqlite::Connection),
    Postgres(postgres::Connection),
}

/// What a transaction is for; the only place where the databases differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Reads and writes, serializable.
    Write,
    /// Reads one consistent state.
    Read,
    /// Writes rows one by one and must see what others committed meanwhile: migrations, and the outbox after a push.
    Bookkeeping,
}

thread_local! {
    /// One instance serves one function and looks at its tables once.
    static TABLES_ARE_THERE: Cell<bool> = const { Cell::new(false) };
}

/// Opens the function's database, with all its tables.
pub async fn open(function: &str, migrations: &[&str], database_url: &str) -> Result<Db, Problem> {
    let db = Db::open(function, database_url).await?;
    if !TABLES_ARE_THERE.get() {
        migrations::prepare(&db, function, migrations).await?;
        TABLES_ARE_THERE.set(true);
    }
    Ok(db)
}

impl Db {
    /// Opens the function's database: SQLite by its label, or PostgreSQL where `database_url` is not empty.
    async fn open(function: &str, database_url: &str) -> Result<Db, Problem> {
        let connection = if database_url.is_empty() {
            Connection::Sqlite(sqlite::Connection::open(function).await?)
        } else {
            Connection::Postgres(postgres::Connection::open(function, database_url).await?)
        };
        Ok(Db { connection })
    }

    /// All rows of a `SELECT`, or of a statement with `RETURNING`.
    pub async fn rows(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>, Problem> {
        statement::check(sql, params)?;
        match &self.connection {
            Connection::Sqlite(connection) => connection.rows(sql, params).await,
            Connection::Postgres(connection) => connection.rows(sql, params).await,
        }
    }

    /// The first row, if there is one.
    pub async fn row(&self, sql: &str, params: &[Value]) -> Result<Option<Row>, Problem> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    /// The one row that must be there (a count, a sum).
    pub async fn one(&self, sql: &str, params: &[Value]) -> Result<Row, Problem> {
        self.row(sql, params).await?.ok_or_else(|| Problem::internal(format!("no row came from: {sql}")))
    }

    /// Runs a statement; how many rows it changed.
    async fn execute_raw(&self, sql: &str, params: &[Value]) -> Result<u64, Problem> {
        statement::check(sql, params)?;
        match &self.connection {
            Connection::Sqlite(connection) => connection.execute(sql, params).await,
            Connection::Postgres(connection) => connection.execute(sql, params).await,
        }
    }

    /// Begins a transaction.
    pub async fn begin(&self, purpose: Purpose) -> Result<Tx<'_>, Problem> {
        let begin = match &self.connection {
            Connection::Sqlite(_) => sqlite::begin(purpose),
            Connection::Postgres(_) => postgres::begin(purpose),
        };
        for statement in begin {
            self.execute_raw(statement, &[]).await?;
        }
        Ok(Tx { db: self })
    }
}

/// An open transaction. Reads as a [`Db`], and writes.
///
/// Dropped without [`Tx::commit`] it leaves nothing: SQLite forgets it with the connection, and on PostgreSQL whoever
/// opens a connection begins with `ROLLBACK`.
pub struct Tx<'a> {
    db: &'a Db,
}

impl Deref for Tx<'_> {
    type Target = Db;

    fn deref(&self) -> &Db {
        self.db
    }
}

impl Tx<'_> {
    /// Runs a statement; how many rows it changed.
    pub async fn execute(&self, sql: &str, params: &[Value]) -> Result<u64, Problem> {
        self.db.execute_raw(sql, params).await
    }

    /// Runs a statement that must change exactly one row. None means that somebody was faster
    /// (`UPDATE … WHERE id = $1 AND version = $2`), and the unit of work runs again.
    pub async fn execute_one(&self, sql: &str, params: &[Value]) -> Result<(), Problem> {
        match self.execute(sql, params).await? {
            1 => Ok(()),
            0 => Err(Problem::conflict()),
            many => Err(Problem::internal(format!("{many} rows were changed, not one, by: {sql}"))),
        }
    }

    /// Makes everything since the beginning lasting. What cannot be committed is forgotten.
    pub async fn commit(self) -> Result<(), Problem> {
        let committed = self.db.execute_raw("COMMIT", &[]).await;
        if committed.is_err() {
            self.rollback().await?;
        }
        committed.map(|_| ())
    }

    /// Makes other instances that call this wait until this transaction has ended.
    async fn take_turns(&self, function: &str) -> Result<(), Problem> {
        match &self.db.connection {
            // `BEGIN IMMEDIATE` has done it.
            Connection::Sqlite(_) => Ok(()),
            Connection::Postgres(connection) => connection.take_turns(function).await,
        }
    }

    /// Forgets everything since the beginning.
    pub async fn rollback(self) -> Result<(), Problem> {
        self.db.execute_raw("ROLLBACK", &[]).await.map(|_| ())
    }
}
