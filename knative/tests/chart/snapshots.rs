//! The rendered objects of every environment, as they were agreed on. A change of them is seen in a review, not in a cluster.
//!
//! ```sh
//! UPDATE_SNAPSHOTS=1 cargo test -p chart-tests snapshots     # agrees to what is rendered now
//! ```

use std::path::PathBuf;

use chart_tests::chart::title;
use chart_tests::programs::root;
use serde_json::{Value, json};

use crate::charts;

/// sources.yaml has a test of its own, and changes often: its text and its fingerprint are left out.
fn settled(mut object: Value) -> Value {
    for (pointer, stands_for) in [
        ("/data/sources.yaml", "the file sources.yaml"),
        ("/spec/template/metadata/annotations/till.dev~1sources", "its fingerprint"),
    ] {
        if let Some(value) = object.pointer_mut(pointer) {
            *value = json!(stands_for);
        }
    }
    object
}

fn golden(environment: &str) -> PathBuf {
    root().join("knative/tests/golden").join(format!("{environment}.json"))
}

#[test]
fn the_objects_are_those_that_were_agreed_on() {
    for chart in charts("the_objects_are_those_that_were_agreed_on") {
        let mut objects: Vec<Value> = chart.objects().into_iter().map(settled).collect();
        objects.sort_by_key(|object| (object["apiVersion"].to_string(), title(object)));
        let text = serde_json::to_string_pretty(&objects).expect("values are JSON") + "\n";
        let file = golden(chart.environment);
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&file, &text).expect("the snapshot can be written");
        }
        let agreed = std::fs::read_to_string(&file).unwrap_or_default();
        let difference = agreed.lines().zip(text.lines()).position(|(agreed, now)| agreed != now);
        let line = difference.unwrap_or(agreed.lines().count().min(text.lines().count()));
        assert!(
            agreed == text,
            "{} differs from line {} on: `{}`. If that is meant: UPDATE_SNAPSHOTS=1 cargo test -p chart-tests snapshots",
            file.display(),
            line + 1,
            text.lines().nth(line).unwrap_or("(it ends)").trim()
        );
    }
}
