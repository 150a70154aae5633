//! The project as files: its root, its Rust sources, and the programs that were built of it.

use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

/// Every Rust source of ours, with its path from the root, in order.
pub fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    for room in ["event", "domain", "guest", "functions", "bridge", "host", "till", "tests", "knative"] {
        collect(&root, &root.join(room), &mut found);
    }
    found.sort();
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("it was found below the root").display().to_string();
            found.push((name, std::fs::read_to_string(&path).expect("a source can be read")));
        }
    }
}

/// A program of the workspace, built by `cargo build --workspace --bins` (make test does it) into the folder of this test.
pub fn program(name: &str) -> PathBuf {
    let mut folder = std::env::current_exe().expect("a process knows its program");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "{} is not built: run `make test`, or `cargo build --workspace --bins`",
        program.display()
    );
    program
}
