//! The GitHub Actions workflows: well-formed, without long-lived keys, with nothing that changes under our feet.

use chart_tests::programs::{programs, root, run, told};
use chart_tests::yaml;
use serde_json::Value;

/// Each workflow's name and text.
fn workflows() -> Vec<(String, String)> {
    let folder = std::fs::read_dir(root().join(".github/workflows")).expect("there are workflows");
    let files = folder.map(|entry| entry.expect("the folder can be read").path());
    files.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).expect("it can be read"))).collect()
}

#[test]
fn actionlint_has_nothing_against_the_workflows() {
    let Some(programs) = programs("actionlint_has_nothing_against_the_workflows") else { return };
    let workflows = workflows();
    assert!(workflows.len() >= 2, "{workflows:?}");
    // Without shellcheck and pyflakes, which not every machine has.
    let mut arguments = vec!["-shellcheck=", "-pyflakes="];
    arguments.extend(workflows.iter().map(|(name, _)| name.as_str()));
    let output = run(&programs.join("actionlint"), &arguments);
    assert!(output.status.success(), "{}", told(&output));
}

#[test]
fn every_action_is_pinned_and_no_cloud_key_is_kept() {
    for (name, text) in workflows() {
        for action in text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: ")) {
            let version = action.split_once('@').map(|(_, version)| version);
            let is_pinned = version.is_some_and(|version| version.starts_with('v') && !version.contains("latest"));
            assert!(is_pinned || action.starts_with("./"), "{name}: {action}");
        }
        for key in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "KUBECONFIG_DATA"] {
            assert!(!text.contains(key), "{name} keeps {key}");
        }
    }
}

#[test]
fn a_job_may_do_no_more_than_it_must() {
    for (name, text) in workflows() {
        let workflow = yaml::documents(&text).expect("a workflow is YAML").remove(0);
        assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}), "{name}");
        for (job, steps) in workflow["jobs"].as_object().expect("a workflow has jobs") {
            let is_reused = steps.get("uses").is_some();
            assert!(is_reused || steps["timeout-minutes"].is_u64(), "{name}: {job} may run for ever");
            let permissions = steps.get("permissions").and_then(Value::as_object).into_iter().flatten();
            let odd: Vec<_> = permissions.filter(|(what, how)| *how == "write" && *what != "id-token").collect();
            assert!(odd.is_empty(), "{name}: {job} may write {odd:?}");
        }
    }
}
