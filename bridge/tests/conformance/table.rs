//! docs/conformance.md and the tests agree: every line names tests that exist, and every test of these files has its line.

use std::collections::BTreeSet;
use std::path::Path;

const FILES: [&str; 9] = [
    "bridge/tests/conformance/codes.rs",
    "bridge/tests/conformance/recipient.rs",
    "bridge/tests/conformance/replies.rs",
    "bridge/tests/conformance/retries.rs",
    "bridge/tests/conformance/sender.rs",
    "bridge/tests/conformance/waking.rs",
    "event/tests/http_binding.rs",
    "event/tests/json_format.rs",
    "event/tests/kafka_binding.rs",
];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of a file's tests.
fn tests(source: &str) -> BTreeSet<String> {
    let (mut names, mut is_test) = (BTreeSet::new(), false);
    for line in source.lines().map(str::trim) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let name =
            line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ").and_then(|rest| rest.split('(').next());
        if let Some(name) = name {
            if is_test {
                names.insert(name.to_owned());
            }
            is_test = false;
        }
    }
    names
}

/// Each row's tests as (file, test); a row is `| section | sentence | tests |`, and a test is `file: name` in backticks.
fn rows(document: &str) -> Vec<(String, Vec<(String, String)>)> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim().strip_prefix('|')?.strip_suffix('|')?.split(" | ").map(str::trim).collect();
        let named = cells.last()?.split('`').skip(1).step_by(2).filter_map(|name| name.split_once(": "));
        Some((line.to_owned(), named.map(|(file, test)| (file.to_owned(), test.to_owned())).collect()))
    };
    let is_row = |line: &&str| line.starts_with('|') && !line.starts_with("|---") && !line.starts_with("| Section");
    document.lines().filter(is_row).filter_map(row).collect()
}

// promise: BRIDGE: every delivery sentence of Knative's data-plane specification has a test
#[test]
fn every_line_of_the_table_names_tests_that_exist() {
    let rows = rows(&read("docs/conformance.md"));
    assert!(rows.len() > 50, "{} rows were found", rows.len());
    for (line, named) in rows {
        assert!(!named.is_empty(), "no test is named in: {line}");
        for (file, test) in named {
            assert!(tests(&read(&file)).contains(&test), "there is no test `{test}` in {file}: {line}");
        }
    }
}

#[test]
fn every_conformance_test_has_its_line() {
    let named: BTreeSet<(String, String)> =
        rows(&read("docs/conformance.md")).into_iter().flat_map(|(_, named)| named).collect();
    for file in FILES {
        for test in tests(&read(file)) {
            assert!(
                named.contains(&(file.to_owned(), test.clone())),
                "`{file}: {test}` has no line in docs/conformance.md"
            );
        }
    }
}
