//! A small disk that can be filled: a tmpfs, for whom may mount one.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Disk(PathBuf);

impl Disk {
    /// `size` is an option of the mount. `None`, loudly, for whom may not.
    pub fn mount(at: &Path, size: &str) -> Option<Disk> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(at).status();
        if !mounted.is_ok_and(|status| status.success()) {
            crate::cluster::skip("a full disk", "the right to mount a tmpfs (root)");
            return None;
        }
        Some(Disk(at.to_owned()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        let block = vec![0; 1 << 20];
        while file.write_all(&block).is_ok() {}
    }

    pub fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
