//! A component for the host's tests: each path under `/guest/` does one thing that a test wants to see done, for good or bad.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use spin_sdk::http::body::IncomingBodyExt;
use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::{http_service, pg, sqlite, variables};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a path answers: text, or text that tells an error (502).
type Told = Result<String, String>;

#[http_service]
async fn handle(request: Request) -> impl IntoResponse {
    let (head, body) = request.into_parts();
    let path = head.uri.path().trim_start_matches("/guest/").to_owned();
    let argument = head.uri.query().unwrap_or_default().to_owned();
    let body = String::from_utf8_lossy(&body.bytes().await.unwrap_or_default()).into_owned();
    let told = match path.as_str() {
        "echo" => Ok(format!("{} {} {body}", head.method, head.uri)),
        "large" => Ok("x".repeat(argument.parse().unwrap_or(0))),
        "variable" => variables::get(&argument).await.map_err(|error| error.to_string()),
        "clock" => Ok(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis()).to_string()),
        "log" => {
            println!("said {argument}");
            eprintln!("complained {argument}");
            Ok(String::new())
        }
        "fetch" => fetch(&argument).await,
        "trap" => std::process::abort(),
        "loop" => endless(),
        "bomb" => Ok(bomb().to_string()),
        _ if path.starts_with("sqlite/") => on_sqlite(&path, &argument, &body).await.map_err(|error| error.to_string()),
        _ if path.starts_with("pg/") => on_postgres(&path, &body).await.map_err(|error| error.to_string()),
        _ => Err(format!("no such path: {path}")),
    };
    answer(told)
}

fn answer(told: Told) -> Response<Full<Bytes>> {
    let (status, text) = match told {
        Ok(text) => (StatusCode::OK, text),
        Err(text) => (StatusCode::BAD_GATEWAY, text),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

fn endless() -> Told {
    let mut number = 1_u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(3));
        if number == 0 {
            return Ok(String::new());
        }
    }
}

fn bomb() -> usize {
    let mut kept = Vec::new();
    loop {
        kept.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        if kept.len() > 1 << 20 {
            return kept.len();
        }
    }
}

async fn fetch(url: &str) -> Told {
    let response = spin_sdk::http::get(url).await.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let body = response.into_body().bytes().await.map_err(|error| error.to_string())?;
    Ok(format!("{} {}", status.as_u16(), String::from_utf8_lossy(&body)))
}

async fn on_sqlite(path: &str, argument: &str, body: &str) -> Result<String, sqlite::Error> {
    let label = if path == "sqlite/foreign" { "foreign" } else { "test" };
    let db = sqlite::Connection::open(label).await?;
    let run = async |statement: &str| db.execute(statement, []).await?.result().await;
    run("CREATE TABLE IF NOT EXISTS item (name TEXT PRIMARY KEY)").await?;
    match path {
        "sqlite/add" => {
            let parameters = [sqlite::Value::text(argument)];
            db.execute("INSERT INTO item (name) VALUES ($1)", parameters).await?.result().await?;
            Ok(format!("{} changed", db.changes().await))
        }
        "sqlite/leave-open" => {
            run("BEGIN IMMEDIATE").await?;
            run("INSERT INTO item (name) VALUES ('left open')").await?;
            Ok(String::new())
        }
        "sqlite/attach" => run(&format!("ATTACH DATABASE '{argument}' AS other")).await.map(|()| String::new()),
        "sqlite/statement" => run(body).await.map(|()| String::new()),
        _ => {
            let rows = db.execute("SELECT name FROM item ORDER BY name", []).await?.collect().await?;
            let names: Vec<&str> = rows.iter().filter_map(|row| row.get(0)).collect();
            Ok(names.join(","))
        }
    }
}

async fn on_postgres(path: &str, body: &str) -> Result<String, Box<pg::Error>> {
    let address = variables::get("database_url").await.unwrap_or_default();
    let db = pg::Connection::open(address).await?;
    match path {
        "pg/setup" => Ok(db.execute("CREATE TABLE IF NOT EXISTS item (name TEXT PRIMARY KEY)", []).await?.to_string()),
        "pg/leave-open" => {
            db.execute("BEGIN ISOLATION LEVEL SERIALIZABLE", []).await?;
            db.execute("SET LOCAL search_path TO nowhere", []).await?;
            db.execute("SET statement_timeout TO 1", []).await?;
            Ok(db.execute("INSERT INTO public.item (name) VALUES ('left open')", []).await?.to_string())
        }
        "pg/statement" => {
            let rows = db.query(body, []).await?.collect().await?;
            let text = |row: &pg::Row| match &row[0] {
                pg::DbValue::Str(text) => text.clone(),
                _ => String::new(),
            };
            Ok(rows.iter().map(text).collect::<Vec<_>>().join(","))
        }
        "pg/duplicate" => {
            db.execute("INSERT INTO item (name) VALUES ($1), ($1)", ["twice".to_owned().into()]).await?;
            Ok(String::new())
        }
        "pg/types" => {
            let statement = "SELECT $1::bigint, $2::int4, $3::text, $4::bool, $5::bytea, $6::float8, $7::text, now()";
            let values = [
                i64::MIN.into(),
                7_i32.into(),
                "text".to_owned().into(),
                true.into(),
                vec![0_u8, 255].into(),
                1.5_f64.into(),
                pg::ParameterValue::DbNull,
            ];
            let rows = db.query(statement, values).await?.collect().await?;
            let told = rows.iter().flat_map(|row| (0..8).map(|index| format!("{:?}", row[index])));
            Ok(told.collect::<Vec<_>>().join(";"))
        }
        _ => {
            let statement = "SELECT count(*), current_setting('statement_timeout') FROM item";
            let mut rows = db.query(statement, []).await?;
            let row = rows.next().await;
            let count: Option<i64> = row.as_ref().and_then(|row| row.get("count"));
            let timeout: Option<String> = row.as_ref().and_then(|row| row.get("current_setting"));
            rows.result().await?;
            Ok(format!("{count:?} {timeout:?}"))
        }
    }
}
