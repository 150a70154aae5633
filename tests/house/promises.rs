//! The list of promises and the tests agree.

use std::collections::BTreeSet;

use tests::{project, promises};

#[test]
fn every_kept_promise_has_a_test() {
    let tested = promises::tested(&project::sources());
    let listed = promises::listed(&promises::document());
    let bare: Vec<_> =
        listed.iter().filter(|p| p.kept && !tested.contains_key(&p.sentence)).map(|p| &p.sentence).collect();
    assert!(bare.is_empty(), "called kept in docs/promises.md, but no test names them: {bare:#?}");
}

#[test]
fn every_promise_that_a_test_names_is_listed() {
    let listed: BTreeSet<String> = promises::listed(&promises::document()).into_iter().map(|p| p.sentence).collect();
    let tested = promises::tested(&project::sources());
    let unknown: Vec<_> = tested.iter().filter(|(sentence, _)| !listed.contains(*sentence)).collect();
    assert!(unknown.is_empty(), "not in docs/promises.md: {unknown:#?}");
}
