//! The chart as Helm renders it: an environment and changes of its values come in, Kubernetes objects come out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::programs::{root, run, told};
use crate::yaml;

/// The Kubernetes that it is rendered for, whatever this machine's helm believes in.
const KUBE_VERSION: &str = "1.35.0";

/// The environments that the repository has values for.
pub const ENVIRONMENTS: [&str; 3] = ["dev", "kind", "stage"];

/// By environment and changes.
type Renderings = BTreeMap<(String, Vec<String>), Result<String, String>>;

/// Helm, and the values that a rendering begins with.
#[derive(Debug, Clone, Copy)]
pub struct Chart<'a> {
    pub programs: &'a Path,
    pub environment: &'a str,
}

impl Chart<'_> {
    /// The objects, with changes given as `--set-json` takes them; or what helm says against it.
    pub fn render(&self, changes: &[String]) -> Result<Vec<Value>, String> {
        yaml::documents(&self.manifests(changes)?)
    }

    /// The same as text. Many tests look at the same rendering, which is made once.
    pub fn manifests(&self, changes: &[String]) -> Result<String, String> {
        static MADE: Mutex<Renderings> = Mutex::new(BTreeMap::new());
        let made = || MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.environment.to_owned(), changes.to_vec());
        if let Some(known) = made().get(&key).cloned() {
            return known;
        }
        let manifests = self.template(changes);
        made().insert(key, manifests.clone());
        manifests
    }

    fn template(&self, changes: &[String]) -> Result<String, String> {
        let (namespace, values) = (namespace(self.environment), values_file(self.environment));
        let mut arguments = vec!["template", "till", "knative/till", "--namespace", &namespace, "--values", &values];
        arguments.extend(["--kube-version", KUBE_VERSION]);
        arguments.extend(changes.iter().flat_map(|change| ["--set-json", change]));
        let output = run(&self.programs.join("helm"), &arguments);
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(told(&output))
        }
    }

    /// The objects of the environment as it is.
    pub fn objects(&self) -> Vec<Value> {
        self.render(&[]).unwrap_or_else(|error| panic!("{} does not render: {error}", self.environment))
    }
}

/// The namespace that an environment is installed into.
pub fn namespace(environment: &str) -> String {
    format!("till-{environment}")
}

/// The file of an environment's values, from the workspace's folder.
pub fn values_file(environment: &str) -> String {
    format!("knative/till/values-{environment}.yaml")
}

/// A file of the chart.
pub fn file(name: &str) -> String {
    let path = root().join("knative/till").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text at a pointer; nothing where there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a pointer; an empty one where there is none.
pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// `Kind name`, to tell where something is wrong.
pub fn title(object: &Value) -> String {
    format!("{} {}", text(object, "/kind"), text(object, "/metadata/name"))
}

/// Objects of one kind and API group.
pub fn of_kind<'a>(objects: &'a [Value], group: &str, kind: &str) -> impl Iterator<Item = &'a Value> {
    let (group, kind) = (format!("{group}/"), kind.to_owned());
    objects.iter().filter(move |object| {
        let version = text(object, "/apiVersion");
        let is_core = group == "/" && !version.contains('/');
        text(object, "/kind") == kind && (is_core || version.starts_with(&group) && group != "/")
    })
}

/// The Knative Services.
pub fn functions(objects: &[Value]) -> impl Iterator<Item = &Value> {
    of_kind(objects, "serving.knative.dev", "Service")
}

/// The pod that an object makes, if it makes any: its spec.
pub fn pod(object: &Value) -> Option<&Value> {
    match text(object, "/kind") {
        "Pod" => object.pointer("/spec"),
        "StatefulSet" | "Deployment" | "Job" | "Service" => {
            object.pointer("/spec/template/spec").filter(|pod| pod.get("containers").is_some())
        }
        _ => None,
    }
}

/// Every pod with the name of its object, and every container in it.
pub fn containers(objects: &[Value]) -> impl Iterator<Item = (String, &Value)> {
    objects.iter().flat_map(|object| {
        list(pod(object).unwrap_or(&Value::Null), "/containers").iter().map(|container| (title(object), container))
    })
}
