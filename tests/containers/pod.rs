//! A pod of the chart becomes a container: its image, arguments, environment, volumes, rights and limits are what the chart says,
//! and its probes are asked as a kubelet asks them.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chart_tests::chart::{list, of_kind, text};
use serde_json::Value;
use till::Error;
use till::client::Client;
use till::until::until;

use crate::podman::Podman;

/// No part of the house may need more, whatever the chart allows it.
const MEMORY_MIB_MAX: u64 = 64;
/// Knative's own port for the one that a Service names.
const KNATIVE_PORT: u16 = 8080;
const READY: Duration = Duration::from_secs(60);

/// A pod that runs.
pub struct Pod {
    pub name: String,
    pub address: IpAddr,
    container: Value,
}

/// What all pods of an installation have in common.
pub struct Installation<'a> {
    pub podman: &'a Podman,
    pub objects: &'a [Value],
    /// Names that a cluster's DNS knows, each with its address.
    pub names: &'a [(String, IpAddr)],
    /// Where volumes are laid out.
    pub folder: &'a Path,
}

impl Installation<'_> {
    /// Starts the container of a pod's spec.
    pub fn run(&self, name: &str, spec: &Value, address: IpAddr) -> Pod {
        let container = list(spec, "/containers")[0].clone();
        let environment = self.environment(name, &container);
        let mut arguments = rights(&container);
        for (host, address) in self.names {
            arguments.push(format!("--add-host={host}:{address}"));
        }
        for (from, to) in self.mounts(name, spec, &container) {
            arguments.push(format!("--volume={}:{to}:ro", from.display()));
        }
        arguments.push(text(&container, "/image").to_owned());
        let filled_in = |argument: &Value| fill_in(argument.as_str().expect("arguments are text"), &environment);
        arguments.extend(list(&container, "/args").iter().map(filled_in));
        self.podman.run(name, address, &environment, &arguments);
        Pod { name: name.to_owned(), address, container }
    }

    /// Variables of the container, and what Knative adds.
    fn environment(&self, pod: &str, container: &Value) -> Vec<(String, String)> {
        let own = list(container, "/env").iter().map(|entry| {
            let value = match entry.get("valueFrom") {
                None => text(entry, "/value").to_owned(),
                Some(from) if from.get("fieldRef").is_some() => pod.to_owned(),
                Some(from) => self.secret(text(from, "/secretKeyRef/name"), text(from, "/secretKeyRef/key")),
            };
            (text(entry, "/name").to_owned(), value)
        });
        let mut all: Vec<_> = own.collect();
        if text(container, "/ports/0/name") == "http1" {
            all.push(("PORT".to_owned(), KNATIVE_PORT.to_string()));
        }
        all
    }

    fn secret(&self, name: &str, key: &str) -> String {
        let secret = of_kind(self.objects, "", "Secret").find(|one| text(one, "/metadata/name") == name);
        let value = secret.and_then(|secret| secret["stringData"][key].as_str());
        value.unwrap_or_else(|| panic!("no Secret {name} with {key}")).to_owned()
    }

    /// Folders with what the volumes hold, each with its place in the container.
    fn mounts(&self, pod: &str, spec: &Value, container: &Value) -> Vec<(PathBuf, String)> {
        let mounts = list(container, "/volumeMounts").iter();
        let laid_out = mounts.map(|mount| {
            assert_eq!(mount["readOnly"], true, "{pod}: {mount}");
            let volume =
                list(spec, "/volumes").iter().find(|one| one["name"] == mount["name"]).expect("it has a volume");
            let folder = self.folder.join(pod).join(text(mount, "/name"));
            for (path, content) in self.files(volume) {
                let file = folder.join(path);
                std::fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("a folder can be made");
                std::fs::write(file, content).expect("a file can be written");
            }
            (folder, text(mount, "/mountPath").to_owned())
        });
        laid_out.collect()
    }

    fn files(&self, volume: &Value) -> Vec<(String, String)> {
        if let Some(name) = volume.pointer("/configMap/name").and_then(Value::as_str) {
            let map = of_kind(self.objects, "", "ConfigMap").find(|one| text(one, "/metadata/name") == name);
            let data = map.and_then(|map| map["data"].as_object()).unwrap_or_else(|| panic!("no ConfigMap {name}"));
            return data
                .iter()
                .map(|(name, text)| (name.clone(), text.as_str().unwrap_or_default().to_owned()))
                .collect();
        }
        let of_source = |source: &Value| {
            let name = text(source, "/secret/name").to_owned();
            let item = |item: &Value| (text(item, "/path").to_owned(), self.secret(&name, text(item, "/key")));
            list(source, "/secret/items").iter().map(item).collect::<Vec<_>>()
        };
        list(volume, "/projected/sources").iter().flat_map(of_source).collect()
    }
}

/// User, rights and limits as the container's securityContext and resources have them.
fn rights(container: &Value) -> Vec<String> {
    let context = &container["securityContext"];
    assert_eq!(
        (&context["readOnlyRootFilesystem"], &context["allowPrivilegeEscalation"]),
        (&true.into(), &false.into())
    );
    assert_eq!(context["capabilities"]["drop"][0], "ALL", "{context}");
    let memory = text(container, "/resources/limits/memory").strip_suffix("Mi").and_then(|mib| mib.parse().ok());
    let memory: u64 = memory.expect("a limit in MiB");
    let cpus = chart_tests::admission::quantity(text(container, "/resources/limits/cpu")).expect("a limit of CPU");
    let fixed = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges"];
    let mut all: Vec<String> = fixed.map(str::to_owned).into();
    all.push(format!("--user={}:{}", context["runAsUser"], context["runAsGroup"]));
    all.push(format!("--memory={}m", memory.min(MEMORY_MIB_MAX)));
    all.push(format!("--cpus={}", cpus as f64 / 1_000.0));
    all
}

/// `$(NAME)`, as Kubernetes fills it in.
fn fill_in(argument: &str, environment: &[(String, String)]) -> String {
    environment.iter().fold(argument.to_owned(), |text, (name, value)| text.replace(&format!("$({name})"), value))
}

impl Pod {
    /// Where the container listens.
    pub fn door(&self) -> SocketAddr {
        let port = self.container.pointer("/ports/0/containerPort").and_then(Value::as_u64);
        SocketAddr::new(self.address, port.and_then(|port| u16::try_from(port).ok()).expect("it serves on a port"))
    }

    /// Waits until the readiness probe says yes.
    pub async fn ready(&self) -> Result<(), Error> {
        until(format!("{} is ready", self.name), READY, async || self.asked("readinessProbe").await).await
    }

    /// Whether the liveness probe says yes now.
    pub async fn lives(&self) -> Result<(), Error> {
        until(format!("{} lives", self.name), Duration::ZERO, async || self.asked("livenessProbe").await).await
    }

    async fn asked(&self, probe: &str) -> Result<Option<()>, Error> {
        let probe = &self.container[probe];
        assert!(probe.is_object(), "{} has no such probe", self.name);
        match probe.pointer("/httpGet/path").and_then(Value::as_str) {
            Some(path) => {
                let url = format!("http://{}{path}", self.door());
                Client::default().get(&url).await?.ok(&url).map(|_| Some(()))
            }
            None => Ok(tokio::net::TcpStream::connect(self.door()).await.ok().map(drop)),
        }
    }
}
