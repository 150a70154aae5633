//! `spin:sqlite` from a component.

use crate::house::House;

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
    assert!(house.error("/guest/sqlite/large").await.contains("larger than"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_statement_in_one_text_is_refused_and_not_forgotten() {
    let house = House::usual().await;
    house.error("/guest/sqlite/script").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_ahead_log_stays_in_place_between_requests() {
    let house = House::usual().await;
    house.text("/guest/sqlite/add?one").await;
    let log = house.folder.path().join("data/deep/test.db-wal");
    assert!(log.metadata().is_ok_and(|data| data.len() > 0), "the log was written back by a request");
}
