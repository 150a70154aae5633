//! `spin:postgres`: an open takes a connection out of the component's pool, a drop gives it back, and the pool rolls back
//! whatever was left open before anybody else gets it.

#![expect(clippy::result_large_err, reason = "the error is the interface's own type")]

mod pool;
mod values;

use crate::bindings::spin::postgres::postgres::{
    Column, DbError, Error, Host, HostConnection, HostConnectionBuilder, HostConnectionBuilderWithStore,
    HostConnectionWithStore, ParameterValue, QueryError, Row, RowSet,
};
use crate::guest::{Grants, Guest, Spin};
use futures_util::TryStreamExt;
use pool::Pooled;
use std::pin::pin;
use std::sync::Arc;
use wasmtime::component::{Accessor, FutureReader, Resource, StreamReader};

pub use pool::Pools;

/// An address, and a root certificate of its own, before the connection.
#[derive(Clone)]
pub struct Builder {
    address: String,
    root_certificate: Option<String>,
}

/// A connection while a guest has it.
#[derive(Clone)]
pub struct Connection {
    client: Arc<Pooled>,
    result_bytes_max: usize,
}

impl Builder {
    fn new(address: String) -> Self {
        Self { address, root_certificate: None }
    }

    async fn build(&self, grants: &Grants) -> Result<Connection, Error> {
        let root = self.root_certificate.as_deref();
        let client = grants.postgres.open(&grants.spec.hosts, &self.address, root).await?;
        Ok(Connection { client: Arc::new(client), result_bytes_max: grants.result_bytes_max })
    }
}

impl Connection {
    /// All rows at once, within the bound: the connection is free again when the guest gets the first one.
    async fn query(&self, statement: &str, parameters: Vec<ParameterValue>) -> Result<RowSet, Error> {
        let parameters = values::parameters(parameters)?;
        let prepared = self.client.prepare(statement).await.map_err(told)?;
        let columns = prepared.columns().iter().map(values::column).collect();
        let mut found = pin!(self.client.query_raw(&prepared, parameters).await.map_err(told)?);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.try_next().await.map_err(told)? {
            bytes += row.raw_size_bytes();
            if bytes > self.result_bytes_max {
                return Err(Error::Other(format!("the result is larger than {} bytes", self.result_bytes_max)));
            }
            rows.push(values::row(&row)?);
        }
        Ok(RowSet { columns, rows })
    }

    async fn execute(&self, statement: &str, parameters: Vec<ParameterValue>) -> Result<u64, Error> {
        self.client.execute_raw(statement, values::parameters(parameters)?).await.map_err(told)
    }
}

/// An error as the interface tells it: with its SQLSTATE where the database gave one.
fn told(error: tokio_postgres::Error) -> Error {
    let as_text = with_cause(&error);
    match error.as_db_error() {
        Some(db) => Error::QueryFailed(QueryError::DbError(DbError {
            as_text,
            severity: db.severity().to_owned(),
            code: db.code().code().to_owned(),
            message: db.message().to_owned(),
            detail: db.detail().map(str::to_owned),
            extras: extras(db),
        })),
        None if error.is_closed() => Error::ConnectionFailed(as_text),
        None => Error::QueryFailed(QueryError::Text(as_text)),
    }
}

fn extras(db: &tokio_postgres::error::DbError) -> Vec<(String, String)> {
    let known = [("hint", db.hint()), ("table", db.table()), ("column", db.column()), ("constraint", db.constraint())];
    known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect()
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl Guest {
    fn postgres(&self, connection: &Resource<Connection>) -> wasmtime::Result<Connection> {
        Ok(self.table.get(connection)?.clone())
    }

    /// Puts an opened connection where the guest can name it.
    fn keep(&mut self, opened: Result<Connection, Error>) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        Ok(match opened {
            Ok(connection) => Ok(self.table.push(connection)?),
            Err(error) => Err(error),
        })
    }
}

impl Host for Guest {}

impl HostConnectionBuilder for Guest {
    async fn new(&mut self, address: String) -> wasmtime::Result<Resource<Builder>> {
        Ok(self.table.push(Builder::new(address))?)
    }

    async fn set_ca_root(
        &mut self,
        builder: Resource<Builder>,
        certificate: String,
    ) -> wasmtime::Result<Result<(), Error>> {
        if let Err(why) = crate::tls::private(&certificate) {
            return Ok(Err(Error::BadParameter(why)));
        }
        self.table.get_mut(&builder)?.root_certificate = Some(certificate);
        Ok(Ok(()))
    }

    async fn build(&mut self, builder: Resource<Builder>) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        let builder = self.table.get(&builder)?.clone();
        let opened = builder.build(&self.grants).await;
        self.keep(opened)
    }

    async fn drop(&mut self, builder: Resource<Builder>) -> wasmtime::Result<()> {
        self.table.delete(builder)?;
        Ok(())
    }
}

impl HostConnectionBuilderWithStore<Guest> for Spin {
    async fn build_async(
        accessor: &Accessor<Guest, Self>,
        builder: Resource<Builder>,
    ) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        let builder = accessor.with(|mut access| access.get().table.get(&builder).cloned())?;
        open(accessor, builder).await
    }
}

async fn open(
    accessor: &Accessor<Guest, Spin>,
    builder: Builder,
) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
    let grants = accessor.with(|mut access| access.get().grants.clone());
    let opened = builder.build(&grants).await;
    accessor.with(|mut access| access.get().keep(opened))
}

impl HostConnection for Guest {
    async fn open(&mut self, address: String) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        let opened = Builder::new(address).build(&self.grants).await;
        self.keep(opened)
    }

    async fn query(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> wasmtime::Result<Result<RowSet, Error>> {
        Ok(self.postgres(&connection)?.query(&statement, parameters).await)
    }

    async fn execute(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        Ok(self.postgres(&connection)?.execute(&statement, parameters).await)
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

impl HostConnectionWithStore<Guest> for Spin {
    async fn open_async(
        accessor: &Accessor<Guest, Self>,
        address: String,
    ) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        open(accessor, Builder::new(address)).await
    }

    async fn query_async(
        accessor: &Accessor<Guest, Self>,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> wasmtime::Result<Result<(Vec<Column>, StreamReader<Row>, FutureReader<Result<(), Error>>), Error>> {
        let connection = accessor.with(|mut access| access.get().postgres(&connection))?;
        let RowSet { columns, rows } = match connection.query(&statement, parameters).await {
            Ok(result) => result,
            Err(error) => return Ok(Err(error)),
        };
        accessor.with(|mut access| {
            let rows = StreamReader::new(&mut access, rows)?;
            let finished = FutureReader::new(&mut access, async { wasmtime::error::Ok(Ok(())) })?;
            Ok(Ok((columns, rows, finished)))
        })
    }

    async fn execute_async(
        accessor: &Accessor<Guest, Self>,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let connection = accessor.with(|mut access| access.get().postgres(&connection))?;
        Ok(connection.execute(&statement, parameters).await)
    }
}
