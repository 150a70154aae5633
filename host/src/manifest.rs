//! The text of a spin.toml (manifest v2) as types. Keys that Spin does not know are refused, and so is what Spin knows and
//! this host does not offer: a function that silently lost a feature would be worse.

use crate::document;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    spin_manifest_version: u32,
    #[expect(dead_code, reason = "read so that a wrong type is refused")]
    application: Application,
    #[serde(default)]
    pub variables: BTreeMap<String, Variable>,
    #[serde(default)]
    trigger: BTreeMap<String, toml::Value>,
    #[serde(default)]
    pub component: BTreeMap<String, Component>,
    #[serde(skip)]
    pub http: Vec<HttpTrigger>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that a wrong type is refused")]
struct Application {
    name: String,
    version: Option<String>,
    description: Option<String>,
    #[serde(default)]
    authors: Vec<String>,
    #[serde(default)]
    trigger: toml::Table,
    #[serde(default)]
    tool: toml::Table,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that a wrong type is refused; values are hidden whether secret or not")]
pub struct Variable {
    #[serde(default)]
    pub required: bool,
    pub default: Option<String>,
    #[serde(default)]
    secret: bool,
    description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that a wrong type is refused")]
pub struct HttpTrigger {
    id: Option<String>,
    pub component: String,
    pub route: String,
    executor: Option<Executor>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Executor {
    Http,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that a wrong type is refused")]
pub struct Component {
    source: toml::Value,
    description: Option<String>,
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    pub sqlite_databases: Vec<String>,
    #[serde(default)]
    key_value_stores: Vec<String>,
    #[serde(default)]
    ai_models: Vec<String>,
    #[serde(default)]
    files: Vec<toml::Value>,
    #[serde(default)]
    exclude_files: Vec<String>,
    #[serde(default)]
    dependencies: toml::Table,
    build: Option<toml::Table>,
    #[serde(default)]
    tool: toml::Table,
}

impl Manifest {
    /// Reads the text of a spin.toml; tells all that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut manifest: Self = document::parse(text)?;
        let mut problems = manifest.shape_problems();
        for (kind, trigger) in std::mem::take(&mut manifest.trigger) {
            match kind.as_str() {
                "http" => manifest.read_http(trigger, &mut problems),
                _ => problems.push(format!("[[trigger.{kind}]]: this host only knows http triggers")),
            }
        }
        if problems.is_empty() { Ok(manifest) } else { Err(problems) }
    }

    fn read_http(&mut self, trigger: toml::Value, problems: &mut Vec<String>) {
        match Vec::<HttpTrigger>::deserialize(trigger) {
            Ok(http) => self.http = http,
            Err(error) => problems.push(format!("[[trigger.http]]: {}", document::told(&error, ""))),
        }
    }

    fn shape_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.spin_manifest_version != 2 {
            problems.push(format!("spin_manifest_version {}: this host reads version 2", self.spin_manifest_version));
        }
        for (name, variable) in &self.variables {
            if !variable.required && variable.default.is_none() {
                problems.push(format!("variable `{name}` has neither a default nor `required = true`"));
            }
        }
        for (id, component) in &self.component {
            problems.extend(component.not_offered().map(|what| format!("component `{id}`: {what}")));
        }
        problems
    }
}

impl Component {
    /// The path of its WebAssembly file, as written.
    pub fn source(&self) -> Option<&str> {
        self.source.as_str()
    }

    fn not_offered(&self) -> impl Iterator<Item = &'static str> {
        let found = [
            (self.source().is_none(), "`source` must be the path of a file: this host downloads nothing"),
            (!self.key_value_stores.is_empty(), "`key_value_stores`: this host has no key-value store"),
            (!self.ai_models.is_empty(), "`ai_models`: this host has no language model"),
            (!self.files.is_empty(), "`files`: this host gives functions no file system"),
            (!self.dependencies.is_empty(), "`dependencies`: this host runs components that are already composed"),
        ];
        found.into_iter().filter(|(is, _)| *is).map(|(_, what)| what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "spin_manifest_version = 2\n[application]\nname = \"a\"\n";

    fn check(text: &str, expected: &str) {
        let problems = Manifest::parse(&format!("{HEAD}{text}")).expect_err("refused").join("\n");
        assert!(problems.contains(expected), "{problems}");
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        check("surprise = 1", "surprise");
        check("[component.a]\nsource = \"a.wasm\"\nallowed_http_hosts = []", "allowed_http_hosts");
        check("[[trigger.http]]\nroute = \"/\"\ncomponent = \"a\"\nmethod = \"GET\"", "method");
    }

    #[test]
    fn what_this_host_does_not_offer_is_refused_all_at_once() {
        let text = "[variables]\nlone = {}\n[component.a]\nsource = { url = \"x\", digest = \"y\" }\nkey_value_stores = [\"default\"]";
        check(text, "`lone`");
        check(text, "downloads nothing");
        check(text, "key-value");
        check("[[trigger.redis]]\nchannel = \"x\"", "only knows http");
    }

    #[test]
    fn the_projects_own_manifest_is_read() {
        let manifest = Manifest::parse(include_str!("../../spin.toml")).expect("a manifest");
        assert_eq!(manifest.component.len(), 6);
        assert_eq!(manifest.http.len(), 6);
    }
}
