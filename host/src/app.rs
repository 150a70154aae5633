//! From the files to the application: manifest, runtime configuration and variables become components with their grants,
//! and routes. Every problem of every file is collected, so that one start tells them all.

use crate::hosts::AllowedHosts;
use crate::manifest::{self, Manifest};
use crate::network::Blocked;
use crate::routes::{Route, Routes};
use crate::runtime_config::RuntimeConfig;
use crate::template::{Template, is_variable_name};
use crate::{Config, Error};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is to be run.
#[derive(Debug)]
pub struct App {
    pub components: Vec<Spec>,
    pub routes: Routes,
    pub blocked: Blocked,
}

/// One component and what it was granted.
pub struct Spec {
    pub id: String,
    pub source: PathBuf,
    pub variables: BTreeMap<String, String>,
    pub environment: BTreeMap<String, String>,
    pub hosts: Arc<AllowedHosts>,
    /// Its SQLite labels, each with the file that it may open: none where the runtime configuration gives none.
    pub databases: BTreeMap<String, Option<PathBuf>>,
}

/// Without the values of variables and environment: any may be a secret.
impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spec").field("id", &self.id).field("source", &self.source).finish_non_exhaustive()
    }
}

impl App {
    pub fn read(config: &Config) -> Result<Self, Error> {
        let mut problems = Vec::new();
        let manifest = collect(&mut problems, &config.manifest, read_manifest(&config.manifest));
        let runtime = match &config.runtime_config {
            Some(path) => collect(&mut problems, path, read_runtime_config(path)),
            None => Some(RuntimeConfig::default()),
        };
        let (Some(manifest), Some(runtime)) = (manifest, runtime) else {
            return Err(Error::Configuration(problems));
        };
        let (app, more) = Resolver { config, manifest: &manifest, runtime: &runtime, problems: Vec::new() }.resolve();
        problems.extend(more);
        if problems.is_empty() { Ok(app) } else { Err(Error::Configuration(problems)) }
    }
}

/// The components of a manifest and their WebAssembly files. Variables need no values for it.
#[cfg(feature = "compile")]
pub fn sources(manifest: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut problems = Vec::new();
    let Some(read) = collect(&mut problems, manifest, read_manifest(manifest)) else {
        return Err(Error::Configuration(problems));
    };
    let folder = manifest.parent().unwrap_or(Path::new(""));
    let components = read.component.iter();
    Ok(components.map(|(id, component)| (id.clone(), folder.join(component.source().unwrap_or_default()))).collect())
}

fn collect<T>(problems: &mut Vec<String>, path: &Path, result: Result<T, Vec<String>>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(found) => {
            problems.extend(found.into_iter().map(|problem| format!("{}: {problem}", path.display())));
            None
        }
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| vec![error.to_string()])?;
    Manifest::parse(&text)
}

fn read_runtime_config(path: &Path) -> Result<RuntimeConfig, Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| vec![error.to_string()])?;
    RuntimeConfig::parse(&text, path.parent().unwrap_or(Path::new("")))
}

/// The three inputs and the problems found so far.
struct Resolver<'a> {
    config: &'a Config,
    manifest: &'a Manifest,
    runtime: &'a RuntimeConfig,
    problems: Vec<String>,
}

impl<'a> Resolver<'a> {
    fn resolve(mut self) -> (App, Vec<String>) {
        self.check_names();
        let chosen: Vec<_> = self.manifest.component.iter().filter(|(id, _)| self.is_chosen(id)).collect();
        let components: Vec<_> = chosen.iter().map(|(id, component)| self.component(id, component)).collect();
        let routes = self.routes(&components);
        (App { components, routes, blocked: self.runtime.blocked.clone() }, self.problems)
    }

    fn is_chosen(&self, id: &str) -> bool {
        self.config.only_component.as_deref().is_none_or(|only| only == id)
    }

    fn check_names(&mut self) {
        for name in self.manifest.variables.keys().filter(|name| !is_variable_name(name)) {
            self.problems.push(format!("variable `{name}`: names are lower-case words joined by `_`"));
        }
        for name in self.config.variables.keys().filter(|name| !self.manifest.variables.contains_key(*name)) {
            // The environment may hold what another application needs; a typo in it must be found all the same.
            tracing::warn!(variable = name, "a value was given for a variable that the manifest does not declare");
        }
        if let Some(only) = &self.config.only_component
            && !self.manifest.component.contains_key(only)
        {
            self.problems.push(format!("there is no component `{only}` in the manifest"));
        }
    }

    fn component(&mut self, id: &str, component: &manifest::Component) -> Spec {
        let variables = self.render_all(id, component.variables.iter());
        let hosts = Arc::new(self.hosts(id, component));
        Spec {
            id: id.to_owned(),
            source: self.folder().join(component.source().unwrap_or_default()),
            variables,
            environment: component.environment.clone(),
            hosts,
            databases: self.databases(id, component),
        }
    }

    fn folder(&self) -> &'a Path {
        self.config.manifest.parent().unwrap_or(Path::new(""))
    }

    fn render_all<'b>(
        &mut self,
        id: &str,
        templates: impl Iterator<Item = (&'b String, &'b String)>,
    ) -> BTreeMap<String, String> {
        let render = |(name, text): (&String, &String)| (name.clone(), self.render(id, name, text));
        templates.map(render).collect()
    }

    /// The text with its variables filled in; problems are noted.
    fn render(&mut self, id: &str, place: &str, text: &str) -> String {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(why) => {
                self.problems.push(format!("component `{id}`: {place}: {why}"));
                return String::new();
            }
        };
        let missing: BTreeSet<_> = template.variables().filter(|name| self.value(name).is_none()).collect();
        for name in missing {
            let problem = match self.manifest.variables.contains_key(name) {
                true => format!("variable `{name}` is required: set SPIN_VARIABLE_{}", name.to_ascii_uppercase()),
                false => format!("component `{id}`: {place}: there is no variable `{name}`"),
            };
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        template.render(|name| self.value(name))
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        let declared = self.manifest.variables.get(name)?;
        self.config.variables.get(name).or(declared.default.as_ref()).map(String::as_str)
    }

    fn hosts(&mut self, id: &str, component: &manifest::Component) -> AllowedHosts {
        let before = self.problems.len();
        let written = &component.allowed_outbound_hosts;
        let rendered: Vec<_> = written.iter().map(|text| self.render(id, "allowed_outbound_hosts", text)).collect();
        if self.problems.len() > before {
            return AllowedHosts::default();
        }
        AllowedHosts::parse(written.iter().map(String::as_str).zip(rendered)).unwrap_or_else(|found| {
            self.problems.extend(found.into_iter().map(|problem| format!("component `{id}`: {problem}")));
            AllowedHosts::default()
        })
    }

    fn databases(&mut self, id: &str, component: &manifest::Component) -> BTreeMap<String, Option<PathBuf>> {
        let mut databases = BTreeMap::new();
        for label in &component.sqlite_databases {
            match self.runtime.databases.get(label) {
                Some(database) => drop(databases.insert(label.clone(), database.clone())),
                None if label == "default" => {
                    databases.insert(label.clone(), Some(self.config.state_dir.join("sqlite").join("default.db")));
                }
                None => self
                    .problems
                    .push(format!("component `{id}`: the runtime configuration has no [sqlite_database.{label}]")),
            }
        }
        databases
    }

    fn routes(&mut self, components: &[Spec]) -> Routes {
        let mut routes: Vec<Route> = Vec::new();
        for trigger in &self.manifest.http {
            if !self.manifest.component.contains_key(&trigger.component) {
                self.problems.push(format!("route `{}`: there is no component `{}`", trigger.route, trigger.component));
            }
            let Some(index) = components.iter().position(|spec| spec.id == trigger.component) else { continue };
            match Route::parse(&trigger.route, index) {
                Ok(route) if routes.iter().any(|other| other.key() == route.key()) => {
                    self.problems.push(format!("route `{}` is there twice", route.text));
                }
                Ok(route) => routes.push(route),
                Err(why) => self.problems.push(why),
            }
        }
        Routes::new(routes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        spin_manifest_version = 2
        [application]
        name = "a"
        [variables]
        token = { required = true, secret = true }
        host = { default = "127.0.0.1:1" }
        [[trigger.http]]
        route = "/a/..."
        component = "a"
        [[trigger.http]]
        route = "/b/..."
        component = "b"
        [component.a]
        source = "a.wasm"
        sqlite_databases = ["default"]
        allowed_outbound_hosts = ["http://{{ host }}"]
        variables = { token = "<{{ token }}>" }
        [component.b]
        source = "b.wasm"
        variables = { host = "{{ host }}" }
    "#;

    fn read(manifest: &str, change: impl FnOnce(&mut Config)) -> Result<App, Error> {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("spin.toml");
        std::fs::write(&path, manifest).expect("write");
        let mut config = Config::new(path);
        change(&mut config);
        App::read(&config)
    }

    fn problems(manifest: &str, change: impl FnOnce(&mut Config)) -> Vec<String> {
        match read(manifest, change) {
            Err(Error::Configuration(problems)) => problems,
            other => panic!("accepted: {other:?}"),
        }
    }

    #[test]
    fn variables_reach_the_component_that_names_them() {
        let app =
            read(MANIFEST, |config| drop(config.variables.insert("token".into(), "s3cret".into()))).expect("an app");
        assert_eq!(app.components[0].variables["token"], "<s3cret>");
        assert_eq!(app.components[1].variables["host"], "127.0.0.1:1");
        assert_eq!(app.routes.find("/b/x").map(|route| route.component), Some(1));
        assert!(!format!("{app:?}").contains("s3cret"));
    }

    #[test]
    fn a_component_alone_needs_only_its_own_variables() {
        assert_eq!(problems(MANIFEST, |_| ()).len(), 1);
        let app = read(MANIFEST, |config| config.only_component = Some("b".into())).expect("an app");
        assert_eq!(app.components.len(), 1);
        assert!(app.routes.find("/a/x").is_none());
    }

    #[test]
    fn all_problems_are_told_in_one_message_without_values() {
        let manifest = MANIFEST.replace("\"default\"", "\"ledger\"").replace("<{{ token }}>", "{{ nowhere }}");
        let found = problems(&manifest, |config| {
            config.variables.insert("host".into(), "user:hunter2@h".into());
        });
        let text = found.join("\n");
        assert_eq!(found.len(), 3, "{text}");
        assert!(text.contains("[sqlite_database.ledger]") && text.contains("`nowhere`"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
