//! `spin:postgres` from a component, on a real PostgreSQL of this test's own.

use crate::house::{Files, House};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

struct Database {
    url: String,
    server: Child,
    _folder: TempDir,
}

impl Database {
    /// `None`, said loudly, where PostgreSQL is not installed; in CI that is a failure.
    async fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            skip("PostgreSQL is not installed (apt-get install postgresql)");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a folder");
        let initdb = ["--auth=trust", "--username=test", "--no-sync", "--encoding=UTF8", "--no-instructions", "-D"];
        let mut initdb = as_nobody(&programs.join("initdb"), &[folder.path(), &data], &initdb);
        assert!(initdb.arg(&data).status().expect("initdb runs").success());
        let port = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a free port").port();
        let settings = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".into(),
            "unix_socket_directories=".into(),
            "fsync=off".into(),
        ];
        let flags: Vec<&str> = settings.iter().flat_map(|setting| ["-c", setting.as_str()]).collect();
        let server =
            as_nobody(&programs.join("postgres"), &[], &flags).arg("-D").arg(&data).spawn().expect("postgres runs");
        let database = Self { url: format!("postgres://test@127.0.0.1:{port}/postgres"), server, _folder: folder };
        database.ready().await;
        Some(database)
    }

    async fn ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await {
            assert!(Instant::now() < deadline, "PostgreSQL does not start: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // SIGQUIT: at once, but the server still takes its own children with it.
        let _ = Command::new("kill").args(["-QUIT", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
    }
}

/// Writes the skip down where `make test` counts it; in CI it is a failure.
fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must have it: {why}");
    eprintln!("SKIPPED host: {why}");
    if let Some(file) = std::env::var_os("TILL_TEST_SKIPPED") {
        let list = std::fs::OpenOptions::new().append(true).create(true).open(file);
        list.and_then(|mut list| writeln!(list, "host: {why}")).expect("the list of skips can be written");
    }
}

/// The folder of the newest PostgreSQL on this machine.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).filter(|bin| bin.join("initdb").exists()).max()
}

fn as_nobody(program: &Path, owned: &[&Path], flags: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(flags).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
    if std::fs::metadata("/proc/self").is_ok_and(|data| std::os::unix::fs::MetadataExt::uid(&data) == 0) {
        owned.iter().for_each(|path| chown(path, Some(NOBODY), Some(NOBODY)).expect("chown"));
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

async fn house(url: &str, connections_max: usize) -> House {
    let mut files = Files::with_hosts(&[]);
    files.config.variables.insert("database_url".to_owned(), url.to_owned());
    files.config.limits.postgres_connections_max = connections_max;
    files.config.limits.connect_timeout = Duration::from_secs(2);
    files.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_speaks_to_postgresql() {
    let Some(database) = Database::start().await else { return };
    let house = house(&database.url, 1).await;
    house.text("/guest/pg/setup").await;

    let types = house.text("/guest/pg/types").await;
    let number = i64::MIN;
    let expected = format!(
        "Int64({number}) Int32(7) Str(\"text\") Boolean(true) Binary([0, 255]) Floating64(1.5) DbNull Unsupported"
    );
    let types = types.replace("DbValue::", "").replace(';', " ");
    assert!(types.starts_with(&expected), "{types}");

    let told = house.error("/guest/pg/duplicate").await;
    assert!(told.contains("23505"), "{told}");

    rolls_back(&house).await;
    forgets(&house).await;
    many_share_few(&house).await;
    a_broken_connection_is_replaced(&house, &database.url).await;
}

/// With one connection, the next request gets the very session that the last one left open.
async fn rolls_back(house: &House) {
    house.text("/guest/pg/leave-open").await;
    assert_eq!(house.text("/guest/pg/count").await, "Some(0) Some(\"0\")");
}

/// What a session keeps beyond its transaction is not there for the next one either.
async fn forgets(house: &House) {
    let run = async |statement: &str| {
        let got = house.post("/guest/pg/statement", statement.to_owned()).await;
        assert_eq!(got.status, 200, "{statement}: {}", got.text);
        got.text
    };
    let session = run("SELECT pg_backend_pid()::text").await;
    for statement in [
        "PREPARE \"Kept; too\" AS SELECT 1",
        "SET ROLE pg_monitor",
        "LISTEN somewhere",
        "SELECT pg_advisory_lock(7)",
        "CREATE TEMP TABLE kept (id bigint)",
    ] {
        run(statement).await;
    }
    let left = "SELECT concat_ws(' ', current_user, (SELECT count(*) FROM pg_prepared_statements WHERE from_sql), \
                (SELECT count(*) FROM pg_listening_channels()), \
                (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), to_regclass('pg_temp.kept') IS NULL)";
    assert_eq!(run(left).await, "test 0 0 0 t");
    assert_eq!(run("SELECT pg_backend_pid()::text").await, session);
}

async fn many_share_few(house: &House) {
    let address = house.address;
    let all: Vec<_> =
        (0..16).map(|_| tokio::spawn(crate::house::post(address, "/guest/pg/count", "".into()))).collect();
    for one in all {
        assert_eq!(one.await.expect("an answer").status, 200);
    }
}

async fn a_broken_connection_is_replaced(house: &House, url: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    let kill =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL";
    client.execute(kill, &[]).await.expect("they are ended");
    let deadline = Instant::now() + Duration::from_secs(5);
    while house.get("/guest/pg/count").await.status != 200 {
        assert!(Instant::now() < deadline, "the broken connection is still used");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_outlives_its_invocation_is_cancelled_at_the_server() {
    let Some(database) = Database::start().await else { return };
    let mut files = Files::with_hosts(&[]);
    files.config.variables.insert("database_url".to_owned(), database.url.clone());
    files.config.limits.postgres_connections_max = 1;
    files.config.limits.request_timeout = Duration::from_secs(2);
    let house = files.start().await;
    house.text("/guest/pg/setup").await;
    assert_eq!(house.post("/guest/pg/statement", "SELECT pg_sleep(600)").await.status, 504);
    let deadline = Instant::now() + Duration::from_secs(30);
    while house.get("/guest/pg/count").await.status != 200 {
        assert!(Instant::now() < deadline, "the only connection is still taken");
    }
    let sleeping =
        "SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'";
    assert_eq!(house.post("/guest/pg/statement", sleeping).await.text, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_allowed_or_not_there_is_told_without_the_password() {
    let house_elsewhere = house("postgres://user:hunter3@10.1.2.3:5432/x", 1).await;
    let told = house_elsewhere.error("/guest/pg/count").await;
    assert!(told.contains("allowed_outbound_hosts") && !told.contains("hunter3"), "{told}");
    let nobody = house("postgres://user:hunter3@127.0.0.1:1/x", 1).await.error("/guest/pg/count").await;
    assert!(nobody.contains("ConnectionFailed") && !nobody.contains("hunter3"), "{nobody}");
}
