//! spin:postgres. Statements go in, rows come out; connections come from a pool that hands on what its last user left open.

use std::rc::Rc;

use spin_sdk::pg::{self, Certificate, DbValue, OpenOptions, ParameterValue, PgError, QueryError};

use super::Purpose;
use super::value::{Row, Value};
use crate::problem::{Code, Problem};
use crate::variables::variable;

pub struct Connection(pg::Connection);

/// How a transaction begins. Whoever waited for a lock in bookkeeping must then see what the others did, which a
/// serializable snapshot would hide.
pub fn begin(purpose: Purpose) -> &'static [&'static str] {
    match purpose {
        Purpose::Write => &["BEGIN ISOLATION LEVEL SERIALIZABLE"],
        Purpose::Read => &["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"],
        Purpose::Bookkeeping => &["BEGIN ISOLATION LEVEL READ COMMITTED"],
    }
}

impl Connection {
    /// Spin's pool recycles connections without a rollback: what a dead instance left open would be read by us and
    /// committed with ours. So every unit of work begins with `ROLLBACK`, before it even reads.
    pub async fn open(schema: &str, database_url: &str) -> Result<Self, Problem> {
        let root = variable("database_ca").await?;
        let options = OpenOptions { ca_root: (!root.is_empty()).then_some(Certificate::Text(root)) };
        let address = address(schema, database_url);
        let connection = pg::Connection::open_with_options(address, options).await.map_err(problem)?;
        let connection = Connection(connection);
        connection.execute("ROLLBACK", &[]).await?;
        Ok(connection)
    }

    pub async fn rows(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>, Problem> {
        let mut result = self.0.query(sql, parameters(params)).await.map_err(problem)?;
        let columns: Rc<[String]> = result.columns().iter().map(|column| column.name.clone()).collect();
        let mut rows = Vec::new();
        while let Some(values) = result.rows().next().await {
            let values = values.into_iter().map(column).collect::<Result<_, _>>()?;
            rows.push(Row::new(columns.clone(), values));
        }
        result.result().await.map_err(problem)?;
        Ok(rows)
    }

    /// Waits for its turn and makes the function's schema. Existence is asked first, because `CREATE … IF NOT EXISTS`
    /// wants a permission that the function's role need not have.
    pub async fn take_turns(&self, schema: &str) -> Result<(), Problem> {
        let lock = "SELECT 1 AS turn FROM pg_advisory_xact_lock(hashtext($1))";
        self.rows(lock, &[format!("till:{schema}").into()]).await?;
        let exists = "SELECT 1 AS found FROM pg_namespace WHERE nspname = CAST($1 AS TEXT)";
        if self.rows(exists, &[schema.into()]).await?.is_empty() {
            self.execute(&format!("CREATE SCHEMA {schema}"), &[]).await?;
        }
        Ok(())
    }

    pub async fn execute(&self, sql: &str, params: &[Value]) -> Result<u64, Problem> {
        self.0.execute(sql, parameters(params)).await.map_err(problem)
    }
}

/// The URL with what every connection needs: names are looked up in the function's schema, a statement has a bound, and
/// a transaction that nobody goes on with lets go of its locks.
fn address(schema: &str, database_url: &str) -> String {
    let separator = if database_url.contains('?') { '&' } else { '?' };
    let options = [
        format!("-csearch_path%3D{schema}"),
        "-cstatement_timeout%3D10s".to_owned(),
        "-cidle_in_transaction_session_timeout%3D30s".to_owned(),
    ];
    format!("{database_url}{separator}options={}", options.join("%20"))
}

fn parameters(params: &[Value]) -> Vec<ParameterValue> {
    params
        .iter()
        .map(|value| match value {
            Value::Integer(number) => ParameterValue::Int64(*number),
            Value::Text(text) => ParameterValue::Str(text.clone()),
            Value::Null => ParameterValue::DbNull,
        })
        .collect()
}

fn column(value: DbValue) -> Result<Value, Problem> {
    match value {
        DbValue::Int64(number) => Ok(Value::Integer(number)),
        DbValue::Int32(number) => Ok(Value::Integer(number.into())),
        DbValue::Int16(number) => Ok(Value::Integer(number.into())),
        DbValue::Boolean(flag) => Ok(Value::Integer(flag.into())),
        DbValue::Str(text) => Ok(Value::Text(text)),
        DbValue::DbNull => Ok(Value::Null),
        // PostgreSQL sums BIGINT as NUMERIC, which not every host can decode: `CAST(SUM(…) AS BIGINT)`.
        other => Err(Problem::internal(format!("a column is neither BIGINT nor TEXT but {other:?}; cast it"))),
    }
}

fn problem(error: pg::Error) -> Problem {
    match error {
        pg::Error::PgError(PgError::ConnectionFailed(text)) => {
            eprintln!("PostgreSQL: {text}");
            Problem::new(Code::DatabaseUnavailable, "the database does not answer")
        }
        pg::Error::PgError(PgError::QueryFailed(QueryError::DbError(error))) => complaint(&error.code, &error.as_text),
        pg::Error::PgError(PgError::QueryFailed(QueryError::Text(text)) | PgError::Other(text)) => complaint("", &text),
        other => Problem::internal(format!("PostgreSQL: {other}")),
    }
}

/// By SQLSTATE (PostgreSQL, appendix A): races run the unit of work again; a server that stops, starts or is full is
/// away; the rest is our mistake.
fn complaint(sqlstate: &str, text: &str) -> Problem {
    match sqlstate {
        "40001" | "40P01" | "23505" => Problem::conflict(),
        _ if ["08", "53", "57"].iter().any(|class| sqlstate.starts_with(class)) => away(text),
        "" if ["connection closed", "communicating with the server"].iter().any(|sign| text.contains(sign)) => {
            away(text)
        }
        _ => Problem::internal(format!("PostgreSQL: {sqlstate} {text}")),
    }
}

fn away(text: &str) -> Problem {
    eprintln!("PostgreSQL: {text}");
    Problem::new(Code::DatabaseUnavailable, "the database does not answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn races_run_the_unit_of_work_again() {
        for sqlstate in ["40001", "40P01", "23505"] {
            assert!(complaint(sqlstate, "").is_conflict(), "{sqlstate}");
        }
    }

    #[test]
    fn a_database_that_is_away_is_a_failure_and_a_wrong_statement_our_mistake() {
        for (sqlstate, text) in [("57P01", "shutdown"), ("53300", "full"), ("", "connection closed")] {
            assert_eq!(complaint(sqlstate, text).code, Code::DatabaseUnavailable, "{sqlstate}");
        }
        assert_eq!(complaint("42601", "syntax").code, Code::Internal);
    }

    #[test]
    fn every_connection_looks_names_up_in_its_own_schema() {
        let plain = address("core", "postgres://core@127.0.0.1/till");
        assert!(plain.starts_with("postgres://core@127.0.0.1/till?options=-csearch_path%3Dcore%20"), "{plain}");
        assert!(address("core", "postgres://x/till?sslmode=require").contains("?sslmode=require&options="));
    }
}
