//! NestJS for tests: installed once on this machine, by `tools/nest.sh`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::world::skip;

/// The folder that holds its node_modules; `None`, said loudly, where this machine has no Node.js.
pub fn nest(test: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/nest.sh");
    let output = Command::new(script).arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("nest")).output().unwrap();
    match output.status.code() {
        Some(0) => Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())),
        Some(3) => {
            skip(test, "Node.js 20 or later");
            None
        }
        _ => panic!("nest.sh failed: {}", String::from_utf8_lossy(&output.stderr)),
    }
}
