//! A second copy of the development chain's state. anvil writes its file in place, so that a SIGKILL in the middle of a write
//! leaves half of it; then the copy, two seconds older at most, takes its place.

use std::path::Path;
use std::time::Duration;

use crate::Error;
use crate::data::Data;

/// Where anvil keeps its state.
pub const STATE: &str = "chain.json";
const COPY: &str = "chain.copy.json";
const BROKEN: &str = "chain.broken.json";
const INTERVAL: Duration = Duration::from_secs(2);

/// Copies the state again and again, whenever it is whole.
pub async fn keep(data: Data) {
    let mut beat = tokio::time::interval(INTERVAL);
    let mut copied = Vec::new();
    loop {
        beat.tick().await;
        let Ok(state) = tokio::fs::read(data.path(STATE)).await else { continue };
        if state != copied && is_whole(&state) && put(&data.path(COPY), &state).await.is_ok() {
            copied = state;
        }
    }
}

/// Before a chain starts: a state that was cut short gives way to its copy, or to a new chain where there is none.
pub fn restore(data: &Data) -> Result<(), Error> {
    let state = data.path(STATE);
    match std::fs::read(&state) {
        Ok(bytes) if !is_whole(&bytes) => {}
        _ => return Ok(()),
    }
    std::fs::rename(&state, data.path(BROKEN)).map_err(Error::file(&state))?;
    if data.path(COPY).exists() {
        println!("the chain was killed while it wrote its state down: going on from its copy");
        std::fs::copy(data.path(COPY), &state).map(drop).map_err(Error::file(&state))
    } else {
        println!("the chain was killed while it wrote its state down: a new chain begins ({BROKEN} is the old one)");
        Ok(())
    }
}

/// A state is one JSON object.
fn is_whole(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes).is_ok()
}

async fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let aside = path.with_extension("new");
    tokio::fs::write(&aside, bytes).await?;
    tokio::fs::rename(&aside, path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(state: Option<&str>, copy: Option<&str>) -> (tempfile::TempDir, Data) {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        for (name, text) in [(STATE, state), (COPY, copy)] {
            if let Some(text) = text {
                std::fs::write(data.path(name), text).unwrap();
            }
        }
        (folder, data)
    }

    fn state(data: &Data) -> Option<String> {
        std::fs::read_to_string(data.path(STATE)).ok()
    }

    #[test]
    fn a_state_that_was_cut_short_gives_way_to_its_copy() {
        let (_folder, data) = data(Some("{\"block\":{\"num"), Some("{\"block\":1}"));
        restore(&data).unwrap();
        assert_eq!(state(&data).as_deref(), Some("{\"block\":1}"));
        assert!(data.path(BROKEN).exists());
    }

    #[test]
    fn without_a_copy_a_new_chain_begins_and_the_broken_one_is_kept() {
        let (_folder, data) = data(Some(""), None);
        restore(&data).unwrap();
        assert_eq!(state(&data), None);
        assert!(data.path(BROKEN).exists());
    }

    #[test]
    fn a_whole_state_stays() {
        let (_folder, data) = data(Some("{\"block\":2}"), Some("{\"block\":1}"));
        restore(&data).unwrap();
        assert_eq!(state(&data).as_deref(), Some("{\"block\":2}"));
    }

    #[tokio::test]
    async fn only_a_whole_state_is_copied() {
        let (_folder, data) = data(Some("{\"block\":3}"), None);
        let copying = tokio::spawn(keep(data.clone()));
        let copied = async || {
            while std::fs::read_to_string(data.path(COPY)).ok().as_deref() != Some("{\"block\":3}") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), copied()).await.expect("the copy is made");
        copying.abort();
    }
}
