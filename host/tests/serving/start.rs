//! What happens at the start: refusals with their reasons, and the code of the components.

use crate::house::{Files, House};
use host::{Error, Host};

fn refusal(files: Files) -> Error {
    match Host::load(files.config) {
        Err(error) => error,
        Ok(_) => panic!("the host started"),
    }
}

#[test]
fn a_component_that_was_not_granted_sqlite_is_refused_by_the_imports_name() {
    let files = Files::with_hosts(&[]);
    files.edit("spin.toml", "sqlite_databases = [\"test\"]", "");
    let error = refusal(files);
    assert!(matches!(&error, Error::NotGranted { component, missing } if component == "guest" && missing.len() == 1));
    assert!(error.to_string().contains("spin:sqlite/sqlite@3.1.0"), "{error}");
    assert_eq!(error.exit_code(), 64);
}

#[test]
fn a_component_without_postgres_among_its_hosts_may_not_import_it() {
    let files = Files::with_hosts(&[]);
    files.edit("spin.toml", "\"postgres://127.0.0.1:*\", ", "");
    assert!(refusal(files).to_string().contains("spin:postgres/postgres@4.2.0"));
}

#[test]
fn all_problems_of_all_files_are_told_at_once_and_no_secret() {
    let mut files = Files::with_hosts(&["{{ password }}", "http://ok", "gopher://x"]);
    files.edit("runtime-config.toml", "sqlite_database.test", "sqlite_database.other");
    files.config.only_component = Some("guest".to_owned());
    let Error::Configuration(problems) = refusal(files) else { panic!("another kind of error") };
    let text = problems.join("\n");
    assert_eq!(problems.len(), 3, "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_required_variable_without_a_value_is_named_with_what_to_set() {
    let mut files = Files::with_hosts(&[]);
    files.config.variables.clear();
    let text = refusal(files).to_string();
    assert!(text.contains("SPIN_VARIABLE_PASSWORD"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_precompiled_file_it_compiles_once_and_keeps_the_result() {
    let mut files = Files::with_hosts(&[]);
    files.config.precompiled_dir = None;
    let config = files.config.clone();
    let house = files.start().await;
    assert_eq!(house.text("/guest/variable?greeting").await, "hello, world");
    let kept = house.folder.path().join("state/compiled");
    let written = |path: &std::path::Path| path.metadata().and_then(|data| data.modified()).expect("a time");
    let files: Vec<_> =
        std::fs::read_dir(kept).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(files.len(), 1);
    let before = written(&files[0]);
    Host::load(config).expect("it loads again");
    assert_eq!(written(&files[0]), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_sees_its_variables_and_the_whole_request() {
    let house = House::usual().await;
    assert_eq!(house.text("/guest/variable?password").await, "hunter2");
    assert!(house.error("/guest/variable?database_urls").await.contains("database_urls"));
    let echo = house.post("/guest/echo?a=1", "body").await;
    assert_eq!(echo.text, format!("POST http://{}/guest/echo?a=1 body", house.address));
    assert_eq!(house.get("/elsewhere").await.status, 404);
    assert_eq!(house.get("/guesthouse").await.status, 404);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_that_functions_see_can_be_moved() {
    let mut files = Files::with_hosts(&[]);
    let clock = files.folder.path().join("clock");
    files.config.clock_file = Some(clock.clone());
    let house = files.start().await;
    let now = async || house.text("/guest/clock").await.parse::<i64>().expect("a number");
    let before = now().await;
    std::fs::write(clock, "3600000").expect("write");
    let moved = now().await - before;
    assert!((3_600_000..3_660_000).contains(&moved), "{moved}");
}
