//! The programs that look at the chart, had from tools/cluster.sh once a process, and how they are run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::skip::skip;

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies two folders down").to_owned()
}

/// Where the programs lie. `None`: this machine cannot have them, and `test` is skipped.
pub fn programs(test: &str) -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(install).as_deref();
    if folder.is_none() {
        skip(test, "helm, kubeconform or actionlint (tools/cluster.sh says which, and needs Python or Go)");
    }
    folder
}

fn install() -> Option<PathBuf> {
    let folder = std::env::var_os("TILL_CLUSTER_TOOLS").map_or_else(|| root().join("target/cluster"), PathBuf::from);
    let status =
        Command::new(root().join("tools/cluster.sh")).arg(&folder).status().expect("tools/cluster.sh can be run");
    match status.code() {
        Some(0) => Some(folder.join("bin")),
        Some(3) => None,
        _ => panic!("tools/cluster.sh failed: {status}"),
    }
}

/// Runs a program in the workspace's folder.
pub fn run(program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command.output().unwrap_or_else(|error| panic!("{} cannot be run: {error}", program.display()))
}

/// Both outputs as text: programs disagree on where they tell what is wrong.
pub fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
