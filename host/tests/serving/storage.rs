//! `spin:sqlite` from a component.

use crate::house::{Files, House};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn rows_written_are_read_by_the_next_request() {
    let house = House::usual().await;
    assert_eq!(house.text("/guest/sqlite/add?one").await, "1 changed");
    assert_eq!(house.text("/guest/sqlite/add?two").await, "1 changed");
    assert_eq!(house.text("/guest/sqlite/names").await, "one,two");
    assert!(house.error("/guest/sqlite/add?two").await.contains("UNIQUE"));
    assert!(house.folder.path().join("data/deep/test.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_left_open_is_rolled_back() {
    let house = House::usual().await;
    house.text("/guest/sqlite/leave-open").await;
    // It would wait five seconds for the lock and fail if the transaction were still open.
    house.text("/guest/sqlite/add?after").await;
    assert_eq!(house.text("/guest/sqlite/names").await, "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_label_or_file_is_out_of_reach() {
    let house = House::usual().await;
    assert!(house.error("/guest/sqlite/foreign").await.contains("AccessDenied"));
    let other = house.folder.path().join("other.db");
    let told = house.error(&format!("/guest/sqlite/attach?{}", other.display())).await;
    assert!(told.contains("too many attached databases"), "{told}");
    assert!(!other.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_without_end_is_refused() {
    let house = House::usual().await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT zeroblob(1000000) FROM n";
    let told = refused(&house, many).await;
    assert!(told.contains("larger than"), "{told}");
    let told = refused(&house, "SELECT zeroblob(900000000)").await;
    assert!(told.contains("too big"), "{told}");
}

/// The error that a component gets for a statement.
async fn refused(house: &House, statement: &str) -> String {
    let got = house.post("/guest/sqlite/statement", statement.to_owned()).await;
    assert_eq!(got.status, 502, "{statement}: {}", got.text);
    got.text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_of_the_whole_process_is_refused() {
    let house = House::usual().await;
    for pragma in
        ["hard_heap_limit = 1", "temp_store_directory = '/'", "Soft_Heap_Limit = 1", "busy_timeout = 99999999"]
    {
        let told = refused(&house, &format!("PRAGMA {pragma}")).await;
        assert!(told.contains("not authorized"), "{told}");
    }
    let allowed = house.post("/guest/sqlite/statement", "PRAGMA query_only = ON").await;
    assert_eq!(allowed.status, 200, "{}", allowed.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_without_end_ends_with_its_invocation() {
    let mut files = Files::with_hosts(&[]);
    files.config.limits.request_timeout = Duration::from_secs(1);
    let house = files.start().await;
    house.text("/guest/sqlite/add?before").await;
    // It writes, so that its lock is in everybody's way for as long as it runs.
    let endless = "INSERT INTO item WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i > 0) \
                   SELECT 'x' FROM n WHERE i < 0";
    assert_eq!(house.post("/guest/sqlite/statement", endless).await.status, 504);
    let deadline = Instant::now() + Duration::from_secs(20);
    while house.get("/guest/sqlite/add?after").await.status != 200 {
        assert!(Instant::now() < deadline, "the statement still holds its lock");
    }
    assert_eq!(house.text("/guest/sqlite/names").await, "after,before");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_statement_in_one_text_is_refused_and_not_forgotten() {
    let house = House::usual().await;
    house.text("/guest/sqlite/add?kept").await;
    let told = refused(&house, "DELETE FROM item; DELETE FROM item").await;
    assert!(told.contains("Multiple statements"), "{told}");
    assert_eq!(house.text("/guest/sqlite/names").await, "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_ahead_log_stays_in_place_between_requests() {
    let house = House::usual().await;
    house.text("/guest/sqlite/add?one").await;
    let log = house.folder.path().join("data/deep/test.db-wal");
    assert!(log.metadata().is_ok_and(|data| data.len() > 0), "the log was written back by a request");
}
