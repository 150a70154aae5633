//! `spin:sqlite`: each open is a fresh connection to the file behind a label, used on blocking threads. A connection that is
//! dropped with an open transaction rolls it back, as SQLite does when a connection closes.

use crate::bindings::spin::sqlite::sqlite::{
    Error, Host, HostConnection, HostConnectionWithStore, QueryResult, RowResult, Value,
};
use crate::guest::{Guest, Spin};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::{Value as Sql, ValueRef};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wasmtime::component::{Accessor, FutureReader, Resource, StreamReader};

/// How long a statement waits for another connection's lock before "database is locked", as in Spin.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// After so many of SQLite's instructions a statement asks whether anybody still waits for it.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// What a component may ask or set of its own connection and file. Others reach into the whole process (`hard_heap_limit`,
/// `temp_store_directory`) or undo a bound of this host (`busy_timeout`, `cache_size`).
const PRAGMAS: [&str; 19] = [
    "application_id",
    "data_version",
    "defer_foreign_keys",
    "foreign_key_check",
    "foreign_key_list",
    "foreign_keys",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "journal_mode",
    "optimize",
    "query_only",
    "quick_check",
    "recursive_triggers",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
];

/// An open connection. Closing may write to the disk, so that it happens on a blocking thread as well.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    connection: Mutex<Option<rusqlite::Connection>>,
    result_bytes_max: usize,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let connection = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(connection))),
            Err(_) => drop(connection),
        }
    }
}

impl Connection {
    async fn open(path: &Path, result_bytes_max: usize) -> Result<Self, Error> {
        let path = path.to_owned();
        let connection = blocking(move || Ok(open_for_guest(&path, result_bytes_max)?)).await?;
        Ok(Self(Arc::new(Inner { connection: Mutex::new(Some(connection)), result_bytes_max })))
    }

    /// Runs `work` with the connection on a blocking thread, one piece of work at a time. Who stops waiting for it, because
    /// the invocation ran out of time, interrupts it.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection, usize) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (inner, waiting) = (self.0.clone(), Waiting::default());
        let abandoned = waiting.abandoned.clone();
        blocking(move || {
            let mut guard = inner.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let connection = guard.as_mut().expect("only `drop` takes the connection out");
            if abandoned.load(Ordering::SeqCst) {
                return Err(Error::Io("interrupted".to_owned()));
            }
            connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || abandoned.load(Ordering::SeqCst)))?;
            work(connection, inner.result_bytes_max)
        })
        .await
    }

    async fn execute(&self, statement: String, parameters: Vec<Value>) -> Result<QueryResult, Error> {
        self.run(move |connection, bytes_max| execute(connection, &statement, parameters, bytes_max)).await
    }
}

/// One who waits for a piece of work: a blocking thread cannot be stopped from outside, so that the work looks here.
#[derive(Default)]
struct Waiting {
    abandoned: Arc<AtomicBool>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::SeqCst);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(Error::Io(panic.to_string())))
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::DatabaseFull,
            _ => Self::Io(error.to_string()),
        }
    }
}

fn open(path: &Path) -> rusqlite::Result<rusqlite::Connection> {
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn open_for_guest(path: &Path, value_bytes_max: usize) -> rusqlite::Result<rusqlite::Connection> {
    let mut connection = open(path)?;
    // A component must not reach another function's file by ATTACH or VACUUM INTO.
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(value_bytes_max).unwrap_or(i32::MAX))?;
    connection.authorizer(Some(authorize))?;
    Ok(connection)
}

fn authorize(asked: AuthContext<'_>) -> Authorization {
    match asked.action {
        AuthAction::Pragma { pragma_name, .. } if !PRAGMAS.iter().any(|one| one.eq_ignore_ascii_case(pragma_name)) => {
            Authorization::Deny
        }
        _ => Authorization::Allow,
    }
}

/// A connection that is open for as long as the host runs. It turned write-ahead logging on, before anybody else could be in
/// the way, and keeps the log in place: otherwise each request's close, being the last one, would write it all back.
pub struct Keeper(#[expect(dead_code, reason = "it is only held")] Mutex<rusqlite::Connection>);

impl Keeper {
    /// Opens the file, with its folder. Says why not otherwise.
    pub fn open(path: &Path) -> Result<Self, String> {
        let folder = path.parent().unwrap_or(Path::new(""));
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        log_ahead(path).map(|connection| Self(Mutex::new(connection))).map_err(|error| error.to_string())
    }
}

fn log_ahead(path: &Path) -> rusqlite::Result<rusqlite::Connection> {
    let connection = open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A new file's log is only opened by the first look into it.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// All rows at once, within `bytes_max`: the connection is free again when the guest gets the first one.
fn execute(
    connection: &rusqlite::Connection,
    statement: &str,
    parameters: Vec<Value>,
    bytes_max: usize,
) -> Result<QueryResult, Error> {
    let mut prepared = connection.prepare(statement)?;
    let columns: Vec<String> = prepared.column_names().map(str::to_owned).collect();
    let mut rows = prepared.query(rusqlite::params_from_iter(parameters.into_iter().map(parameter)))?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let values =
            (0..columns.len()).map(|index| row.get_ref(index).map(value)).collect::<rusqlite::Result<Vec<_>>>()?;
        bytes += values.iter().map(size).sum::<usize>();
        if bytes > bytes_max {
            return Err(Error::Io(format!("the result is larger than {bytes_max} bytes")));
        }
        found.push(RowResult { values });
    }
    Ok(QueryResult { columns, rows: found })
}

fn parameter(value: Value) -> Sql {
    match value {
        Value::Integer(number) => Sql::Integer(number),
        Value::Real(number) => Sql::Real(number),
        Value::Text(text) => Sql::Text(text),
        Value::Blob(bytes) => Sql::Blob(bytes),
        Value::Null => Sql::Null,
    }
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_owned()),
    }
}

fn size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            Value::Integer(_) | Value::Real(_) | Value::Null => 0,
        }
}

impl Guest {
    /// The file of a label, if this component was granted it.
    fn database(&self, label: &str) -> Result<(std::path::PathBuf, usize), Error> {
        let path = self.grants.spec.databases.get(label).cloned().flatten().ok_or(Error::AccessDenied)?;
        Ok((path, self.grants.result_bytes_max))
    }

    fn sqlite(&self, connection: &Resource<Connection>) -> wasmtime::Result<Connection> {
        Ok(self.table.get(connection)?.clone())
    }
}

impl Host for Guest {}

impl HostConnection for Guest {
    async fn open(&mut self, label: String) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        let opened = match self.database(&label) {
            Ok((path, bytes_max)) => Connection::open(&path, bytes_max).await,
            Err(denied) => Err(denied),
        };
        Ok(match opened {
            Ok(connection) => Ok(self.table.push(connection)?),
            Err(error) => Err(error),
        })
    }

    async fn execute(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<QueryResult, Error>> {
        Ok(self.sqlite(&connection)?.execute(statement, parameters).await)
    }

    async fn last_insert_rowid(&mut self, connection: Resource<Connection>) -> wasmtime::Result<i64> {
        number(self.sqlite(&connection)?.run(|one, _| Ok(one.last_insert_rowid())).await)
    }

    async fn changes(&mut self, connection: Resource<Connection>) -> wasmtime::Result<u64> {
        number(self.sqlite(&connection)?.run(|one, _| Ok(one.changes())).await)
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

impl HostConnectionWithStore<Guest> for Spin {
    async fn open_async(
        accessor: &Accessor<Guest, Self>,
        label: String,
    ) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        let opened = match accessor.with(|mut access| access.get().database(&label)) {
            Ok((path, bytes_max)) => Connection::open(&path, bytes_max).await,
            Err(denied) => Err(denied),
        };
        Ok(match opened {
            Ok(connection) => Ok(accessor.with(|mut access| access.get().table.push(connection))?),
            Err(error) => Err(error),
        })
    }

    async fn execute_async(
        accessor: &Accessor<Guest, Self>,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<(Vec<String>, StreamReader<RowResult>, FutureReader<Result<(), Error>>), Error>> {
        let connection = accessor.with(|mut access| access.get().sqlite(&connection))?;
        let QueryResult { columns, rows } = match connection.execute(statement, parameters).await {
            Ok(result) => result,
            Err(error) => return Ok(Err(error)),
        };
        accessor.with(|mut access| {
            let rows = StreamReader::new(&mut access, rows)?;
            let finished = FutureReader::new(&mut access, async { wasmtime::error::Ok(Ok(())) })?;
            Ok(Ok((columns, rows, finished)))
        })
    }

    async fn last_insert_rowid_async(
        accessor: &Accessor<Guest, Self>,
        connection: Resource<Connection>,
    ) -> wasmtime::Result<i64> {
        let connection = accessor.with(|mut access| access.get().sqlite(&connection))?;
        number(connection.run(|one, _| Ok(one.last_insert_rowid())).await)
    }

    async fn changes_async(
        accessor: &Accessor<Guest, Self>,
        connection: Resource<Connection>,
    ) -> wasmtime::Result<u64> {
        let connection = accessor.with(|mut access| access.get().sqlite(&connection))?;
        number(connection.run(|one, _| Ok(one.changes())).await)
    }
}

/// These two have no error of their own: asking for a number can only fail with the blocking thread.
fn number<T>(result: Result<T, Error>) -> wasmtime::Result<T> {
    result.map_err(|error| wasmtime::format_err!("sqlite: {error:?}"))
}
