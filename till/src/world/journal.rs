//! A file with one JSON value a line, appended to: the memory of a stand-in. A line that a kill cut short is dropped.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens a journal and reads what is in it.
    pub fn open<T: DeserializeOwned + Serialize>(path: &Path) -> Result<(Self, Vec<T>), Error> {
        let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let entries: Vec<T> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let mut journal = Journal { path: path.to_owned(), file: appending(path)? };
        if !text.is_empty() && !text.ends_with('\n') {
            journal.rewrite(&entries)?;
        }
        Ok((journal, entries))
    }

    /// Adds one entry.
    pub fn append(&mut self, entry: &impl Serialize) -> Result<(), Error> {
        self.file.write_all(line(entry).as_bytes()).map_err(Error::file(&self.path))
    }

    /// Puts these entries in the place of all.
    pub fn rewrite<T: Serialize>(&mut self, entries: &[T]) -> Result<(), Error> {
        let part = self.path.with_extension("part");
        let text: String = entries.iter().map(line).collect();
        fs::write(&part, text).and_then(|()| fs::rename(&part, &self.path)).map_err(Error::file(&self.path))?;
        self.file = appending(&self.path)?;
        Ok(())
    }
}

fn appending(path: &Path) -> Result<File, Error> {
    OpenOptions::new().create(true).append(true).open(path).map_err(Error::file(path))
}

fn line(entry: &impl Serialize) -> String {
    serde_json::to_string(entry).expect("entries of a journal are plain JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_short_by_a_kill_is_dropped_and_the_next_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        fs::write(&path, "1\n2\n{\"cut").unwrap();
        let (mut journal, entries) = Journal::open::<u32>(&path).unwrap();
        assert_eq!(entries, [1, 2]);
        journal.append(&3).unwrap();
        assert_eq!(Journal::open::<u32>(&path).unwrap().1, [1, 2, 3]);
    }
}
