//! The runtime configuration: which file stands behind an SQLite label, and which networks no function may reach.

use crate::document;
use crate::network::Blocked;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is read of a runtime-config.toml.
#[derive(Debug, Default)]
pub struct RuntimeConfig {
    /// The file behind each label, or none: whoever opens that one is denied.
    pub databases: BTreeMap<String, Option<PathBuf>>,
    pub blocked: Blocked,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    sqlite_database: BTreeMap<String, Database>,
    outbound_networking: Option<OutboundNetworking>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Database {
    Spin {
        path: PathBuf,
    },
    /// Ours: the functions have PostgreSQL, and one that was not told so must fail instead of writing to a pod's disk.
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutboundNetworking {
    #[serde(default)]
    block_networks: Vec<String>,
}

impl RuntimeConfig {
    /// Reads the text of a runtime-config.toml that lies in `folder`; tells all that is wrong with it.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Vec<String>> {
        let document: Document = document::parse(text)?;
        let at = |database: Database| match database {
            Database::Spin { path } => Some(folder.join(path)),
            Database::None => None,
        };
        let networks = document.outbound_networking.map(|section| section.block_networks).unwrap_or_default();
        Ok(Self {
            databases: document.sqlite_database.into_iter().map(|(label, database)| (label, at(database))).collect(),
            blocked: Blocked::parse(&networks)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_file() {
        let text = "[sqlite_database.core]\ntype = \"spin\"\npath = \"data/core.db\"";
        let config = RuntimeConfig::parse(text, Path::new("/etc/till")).expect("a configuration");
        assert_eq!(config.databases["core"].as_deref(), Some(Path::new("/etc/till/data/core.db")));
    }

    #[test]
    fn a_label_may_have_no_file() {
        let config =
            RuntimeConfig::parse("[sqlite_database.core]\ntype = \"none\"", Path::new("/")).expect("a configuration");
        assert_eq!(config.databases["core"], None);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let refused = |text: &str| RuntimeConfig::parse(text, Path::new("/")).expect_err("refused").join("\n");
        assert!(refused("[sqlite_database.a]\ntype = \"libsql\"\nurl = \"x\"").contains("libsql"));
        assert!(refused("[key_value_store.a]\ntype = \"spin\"").contains("key_value_store"));
        assert!(refused("[outbound_networking]\nblock_networks = [\"privat\"]").contains("privat"));
    }

    #[test]
    fn the_projects_own_runtime_configuration_is_read() {
        let text = include_str!("../../runtime-config.toml");
        let config = RuntimeConfig::parse(text, Path::new("/")).expect("a configuration");
        assert_eq!(config.databases.len(), 6);
        assert!(config.blocked.is_private_blocked());
    }
}
