//! The programs understand the arguments that the chart gives them: each is asked for its help behind them, which it only gives
//! when it knows all of them.

use std::path::PathBuf;

use chart_tests::chart::{containers, list, text};
use chart_tests::programs::{run, told};
use chart_tests::skip::skip;
use serde_json::Value;

use crate::charts;

/// A program of the workspace, where `make test` or `cargo build` put it.
pub fn built(test: &str, name: &str) -> Option<PathBuf> {
    let mut folder = std::env::current_exe().expect("a process knows its program");
    folder.pop();
    folder.pop();
    let program = folder.join(name);
    if !program.is_file() {
        skip(test, &format!("{name}, which is not built (make build)"));
        return None;
    }
    Some(program)
}

#[test]
fn the_programs_understand_what_the_chart_tells_them() {
    let test = "the_programs_understand_what_the_chart_tells_them";
    for chart in charts(test) {
        for (object, container) in containers(&chart.objects()) {
            let is_host = text(container, "/image").contains("till-host");
            let Some(program) = built(test, if is_host { "till-host" } else { "till-bridge" }) else { continue };
            let arguments: Vec<String> = list(container, "/args").iter().filter_map(filled_in).collect();
            assert!(!arguments.is_empty(), "{object}");
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--help"]).collect();
            let output = run(&program, &arguments);
            assert!(output.status.success(), "{object}: {arguments:?}: {}", told(&output));
        }
    }
}

/// As Kubernetes gives it to the process.
fn filled_in(argument: &Value) -> Option<String> {
    Some(argument.as_str()?.replace("$(POD_NAME)", "till-bridge-0"))
}
