//! docs/operate.md: commands that need no cluster are run, those that do are at least bash, and what they name is there.

use std::process::Command;

use chart_tests::chart::ENVIRONMENTS;
use chart_tests::programs::{programs, root};

use crate::arguments::built;

/// A fenced block: the word behind `sh`, which says what it needs, and its commands.
fn blocks() -> Vec<(String, String)> {
    let guide = std::fs::read_to_string(root().join("docs/operate.md")).expect("docs/operate.md can be read");
    let fenced = guide.split("\n```sh").skip(1).filter_map(|rest| rest.split_once("\n```")?.0.split_once('\n'));
    fenced.map(|(needs, commands)| (needs.trim().to_owned(), commands.to_owned())).collect()
}

#[test]
fn every_block_says_what_it_needs_and_is_understood_by_bash() {
    let blocks = blocks();
    assert!(blocks.len() > 10, "{} blocks", blocks.len());
    for (needs, commands) in blocks {
        assert!(["", "cluster", "slow"].contains(&needs.as_str()), "`{needs}`");
        let output = Command::new("bash").args(["-n", "-c", &commands]).output().expect("bash runs");
        assert!(output.status.success(), "{commands}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_command_that_needs_no_cluster_works() {
    let Some(programs) = programs("every_command_that_needs_no_cluster_works") else { return };
    let folder = root().join(format!("target/test/operate-{}", std::process::id()));
    let Some(till) = built("every_command_that_needs_no_cluster_works", "till") else { return };
    let ours = till.parent().expect("a program lies in a folder");
    let path = format!("{}:{}:{}", programs.display(), ours.display(), std::env::var("PATH").unwrap_or_default());
    let free: Vec<_> = blocks().into_iter().filter(|(needs, _)| needs.is_empty()).collect();
    assert!(free.len() >= 4, "{free:?}");
    for (_, commands) in free {
        let script = format!("set -euo pipefail\n{}", commands.replace("target/debug/till", "till"));
        let output = Command::new("timeout")
            .args(["60", "bash", "-c", &script])
            .current_dir(root())
            .env("PATH", &path)
            .env("TILL_DATA", &folder)
            .envs(["CHAIN_URL", "XPUB", "MAIL_API_KEY"].map(|name| (name, format!("mine-{name}"))))
            .output()
            .expect("bash runs");
        assert!(output.status.success(), "{commands}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    secrets_are_those_of_the_chart(&folder.join("cluster"), programs);
    let payment = std::fs::read_to_string(folder.join("stage/payment.json")).expect("the store's secrets are there");
    assert!(payment.contains("mine-CHAIN_URL") && payment.contains("mine-XPUB"), "{payment}");
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
}

/// What tools/secrets.sh made renders, and only its owner may read it.
fn secrets_are_those_of_the_chart(folder: &std::path::Path, programs: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let file = folder.join("secrets.yaml");
    let mode = std::fs::metadata(&file).expect("secrets.yaml is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let file = file.display().to_string();
    let values = ["--values", "knative/till/values-kind.yaml", "--values", &file, "--kube-version", "1.35.0"];
    let output = chart_tests::programs::run(
        &programs.join("helm"),
        &[&["template", "till", "knative/till"][..], &values].concat(),
    );
    assert!(output.status.success(), "{}", chart_tests::programs::told(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).matches("kind: Secret").count(), 7);
}

#[test]
fn namespaces_targets_and_files_of_the_commands_are_there() {
    let namespaces = ENVIRONMENTS.map(chart_tests::chart::namespace);
    let known = |name: &str| {
        namespaces.iter().any(|one| one == name) || ["knative-serving", "kourier-system", "world"].contains(&name)
    };
    for (_, commands) in blocks() {
        let words: Vec<&str> = commands.split_whitespace().collect();
        for pair in words.windows(2).filter(|pair| ["-n", "--namespace"].contains(&pair[0])) {
            assert!(known(pair[1]), "namespace {}", pair[1]);
        }
        let makefile = std::fs::read_to_string(root().join("Makefile")).expect("there is a Makefile");
        for target in commands.lines().filter_map(|line| line.strip_prefix("make ")) {
            assert!(makefile.contains(&format!("\n{target}: ")), "make {target}");
        }
        for file in words.iter().filter(|word| word.starts_with("knative/") || word.starts_with("tools/")) {
            assert!(root().join(file).exists(), "{file}");
        }
    }
}
