//! Skipping loudly: a test whose outside part is missing says so, is counted, and fails where `CI=true`.

use std::io::Write;

/// Writes a skip down where `make test` counts it.
pub fn skip(test: &str, lacks: &str) {
    eprintln!("SKIPPED {test}: {lacks}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} cannot be skipped in CI: {lacks}");
    if let Some(file) = std::env::var_os("TILL_TEST_SKIPPED") {
        let mut file =
            std::fs::OpenOptions::new().append(true).create(true).open(file).expect("the list of skips can be written");
        writeln!(file, "{test}: {lacks}").expect("the list of skips can be written");
    }
}
