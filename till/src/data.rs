//! The data folder: everything that a house keeps between two runs, in one place that `make clean` forgets.
//!
//! ```text
//! key, jwks.json          the development key and its public half
//! tokens/bridge/{fn}      what the bridge shows a function
//! tokens/push/{fn}        what a function shows the bridge's ingress
//! tokens/api              what people show the bridge's API
//! data/{fn}.db, log.db    the functions' databases, the embedded log
//! chain.json, mailbox.jsonl, merchant.jsonl    the outside world
//! runtime-config.toml     the project's, with its paths in this folder
//! house.json, lock        who runs here, and where it listens
//! till.log                what the house says while it runs
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::address::Ports;
use crate::key::Key;
use crate::{Error, random};

/// The six functions, as spin.toml and sources.yaml name them.
pub const FUNCTIONS: [&str; 6] = ["admin", "core", "cron", "mailer", "payment", "webhook"];

/// An opened data folder, with its keys and tokens made.
#[derive(Debug, Clone)]
pub struct Data {
    folder: PathBuf,
    key: Key,
}

/// A house that runs in a data folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct House {
    /// Its process.
    pub process: u32,
    /// Where it listens.
    pub ports: Ports,
}

/// Keeps a second house out of the folder for as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Data {
    /// Opens a folder; what is missing in it is made.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        for part in ["tokens/bridge", "tokens/push", "data"] {
            create_folder(&folder.join(part))?;
        }
        let folder = fs::canonicalize(folder).map_err(Error::file(folder))?;
        for function in FUNCTIONS {
            keep(&folder.join("tokens/bridge").join(function), random::token)?;
            keep(&folder.join("tokens/push").join(function), random::token)?;
        }
        keep(&folder.join("tokens/api"), random::token)?;
        let path = folder.join("key");
        let key = Key::parse(&keep(&path, || Key::generate().to_text())?)
            .ok_or_else(|| Error::Usage(format!("{} is no key; delete it to get a new one", path.display())))?;
        replace(&folder.join("jwks.json"), &key.jwks().to_string())?;
        Ok(Data { folder, key })
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder itself, absolute.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Signs people's tokens.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// A token by its place below `tokens/`.
    pub fn token(&self, place: &str) -> Result<String, Error> {
        let path = self.folder.join("tokens").join(place);
        fs::read_to_string(&path).map(|text| text.trim().to_owned()).map_err(Error::file(&path))
    }

    /// What the parts of the house say goes to `till.log`, from now on. `RUST_LOG` chooses how much.
    pub fn keep_log(&self) -> Result<(), Error> {
        let path = self.path("till.log");
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::file(&path))?;
        let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
        let log =
            tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::sync::Mutex::new(file));
        // A log that is set already stays: tests start several houses in one process.
        log.try_init().ok();
        Ok(())
    }

    /// The project's runtime configuration with its databases in this folder.
    pub fn runtime_config(&self, project: &Path) -> Result<PathBuf, Error> {
        let ours = project.join("runtime-config.toml");
        let text = fs::read_to_string(&ours).map_err(Error::file(&ours))?;
        let path = self.path("runtime-config.toml");
        replace(&path, &text.replace("\".till/", "\""))?;
        Ok(path)
    }

    /// Keeps others out, or tells which house is in here already.
    pub fn lock(&self) -> Result<Result<Lock, Option<House>>, Error> {
        let path = self.path("lock");
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::file(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Ok(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(Err(self.house())),
            Err(TryLockError::Error(source)) => Err(Error::File { path, source }),
        }
    }

    /// The house that said last that it is here. It may be gone: only a lock or an answer proves that it lives.
    pub fn house(&self) -> Option<House> {
        serde_json::from_str(&fs::read_to_string(self.path("house.json")).ok()?).ok()
    }

    /// Says that a house is here, up or about to be.
    pub fn announce(&self, ports: &Ports) -> Result<(), Error> {
        let house = House { process: std::process::id(), ports: ports.clone() };
        let text = serde_json::to_string(&house).expect("ports are numbers");
        replace(&self.path("house.json"), &text)
    }
}

fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::file(path))
}

/// The text of a file, which is made with `fresh` when there is none; only its owner may read it.
fn keep(path: &Path, fresh: impl FnOnce() -> String) -> Result<String, Error> {
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => Ok(text),
        Ok(_) => write_secret(path, fresh()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => write_secret(path, fresh()),
        Err(error) => Err(Error::file(path)(error)),
    }
}

fn write_secret(path: &Path, text: String) -> Result<String, Error> {
    replace(path, &text)?;
    Ok(text)
}

/// Writes a file that is either the old one or the new one, whenever the process is killed.
fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let part = path.with_extension("part");
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = || -> std::io::Result<()> {
        options.open(&part)?.write_all(text.as_bytes())?;
        fs::rename(&part, path)
    };
    write().map_err(Error::file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn keys_and_tokens_stay_the_same_between_runs() {
        let folder = folder();
        let first = Data::open(folder.path()).unwrap();
        let second = Data::open(folder.path()).unwrap();
        assert_eq!(first.key().jwks(), second.key().jwks());
        assert_eq!(first.token("push/core").unwrap(), second.token("push/core").unwrap());
        assert_ne!(first.token("push/core").unwrap(), first.token("bridge/core").unwrap());
    }

    #[test]
    fn a_file_left_empty_by_a_kill_is_made_again() {
        let folder = folder();
        Data::open(folder.path()).unwrap();
        fs::write(folder.path().join("tokens/push/core"), "").unwrap();
        assert_eq!(Data::open(folder.path()).unwrap().token("push/core").unwrap().len(), 32);
    }

    #[test]
    fn a_second_house_in_a_folder_learns_of_the_first() {
        let folder = folder();
        let data = Data::open(folder.path()).unwrap();
        let _lock = data.lock().unwrap().unwrap();
        data.announce(&Ports::default()).unwrap();
        let house = data.lock().unwrap().unwrap_err().unwrap();
        assert_eq!((house.process, house.ports), (std::process::id(), Ports::default()));
    }

    #[test]
    fn databases_lie_in_the_data_folder() {
        let folder = folder();
        let data = Data::open(folder.path()).unwrap();
        let config = data.runtime_config(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))).unwrap();
        let text = fs::read_to_string(config).unwrap();
        assert!(text.contains("path = \"data/core.db\""), "{text}");
        assert!(!text.contains(".till/"), "{text}");
    }
}
