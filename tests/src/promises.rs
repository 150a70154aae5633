//! Which test keeps which promise: read from the lines `// promise: ROOM: sentence` above the tests, and from the list in
//! docs/promises.md.

use std::collections::{BTreeMap, BTreeSet};

use crate::project;

/// How a line begins that names a promise. In two pieces, so that this file names none.
const MARK: &str = concat!("// ", "promise: ");

/// One promise of docs/promises.md.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// `BRIDGE: …` or `DOMAIN: …`
    pub sentence: String,
    /// Whether the document says that it is kept.
    pub kept: bool,
}

/// The promises of the document, in its order.
pub fn listed(document: &str) -> Vec<Promise> {
    let promise = |line: &str| {
        let (mark, sentence) = line.trim().strip_prefix("- [")?.split_once("] ")?;
        Some(Promise { sentence: sentence.trim().to_owned(), kept: mark == "x" })
    };
    document.lines().filter_map(promise).collect()
}

/// Each named promise with the tests that name it, as `file: test`.
pub fn tested(sources: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
    let mut promises: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, text) in sources {
        let (mut waiting, mut is_test) = (Vec::new(), false);
        for line in text.lines().map(str::trim) {
            if let Some(sentence) = line.strip_prefix(MARK) {
                waiting.push(sentence.trim());
            } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(test) = function(line) {
                // A promise above anything but a test is kept by nobody.
                for sentence in waiting.drain(..).filter(|_| is_test) {
                    promises.entry(sentence.to_owned()).or_default().insert(format!("{file}: {test}"));
                }
                is_test = false;
            }
        }
    }
    promises
}

/// The name in `async fn name() {`.
fn function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub ").unwrap_or(line);
    let rest = rest.strip_prefix("async ").unwrap_or(rest).strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

/// The document as it lies in the project.
pub fn document() -> String {
    std::fs::read_to_string(project::root().join("docs/promises.md")).expect("docs/promises.md can be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_belongs_to_the_next_test_and_may_have_company() {
        let text = format!(
            "{MARK}BRIDGE: a\n{MARK}BRIDGE: b\n#[tokio::test]\nasync fn one() {{\n{MARK}BRIDGE: a\n#[test]\nfn two() {{"
        );
        let tested = tested(&[("x.rs".to_owned(), text)]);
        assert_eq!(tested["BRIDGE: a"].iter().collect::<Vec<_>>(), ["x.rs: one", "x.rs: two"]);
        assert_eq!(tested["BRIDGE: b"].len(), 1);
    }

    #[test]
    fn a_promise_above_what_is_no_test_is_kept_by_nobody() {
        let text = format!("{MARK}BRIDGE: a\nfn helper() {{\n#[test]\nfn one() {{");
        assert!(tested(&[("x.rs".to_owned(), text)]).is_empty());
    }

    #[test]
    fn the_document_says_which_promises_are_kept() {
        let listed = listed("# Promises\n\n- [x] BRIDGE: a\n- [ ] DOMAIN: b, c\ntext\n");
        assert_eq!(listed[0], Promise { sentence: "BRIDGE: a".to_owned(), kept: true });
        assert_eq!(listed[1], Promise { sentence: "DOMAIN: b, c".to_owned(), kept: false });
    }
}
