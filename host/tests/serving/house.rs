//! A host in this process with the component of `tests/guest`, built and precompiled once for the whole run.

use bytes::Bytes;
use host::{Config, Error, Host};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const MANIFEST: &str = r#"
spin_manifest_version = 2
[application]
name = "host-test"
[variables]
greeting = { default = "hello" }
password = { required = true, secret = true }
database_url = { default = "", secret = true }
[[trigger.http]]
route = "/guest/..."
component = "guest"
[component.guest]
source = "SOURCE"
sqlite_databases = ["test"]
allowed_outbound_hosts = ["postgres://127.0.0.1:*", HOSTS]
[component.guest.variables]
greeting = "{{ greeting }}, world"
password = "{{ password }}"
database_url = "{{ database_url }}"
"#;

const RUNTIME_CONFIG: &str = r#"
[sqlite_database.test]
type = "spin"
path = "data/deep/test.db"
"#;

/// A running host.
pub struct House {
    pub address: SocketAddr,
    pub host: Host,
    pub folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), Error>>,
}

/// What a request got.
#[derive(Debug, PartialEq)]
pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

/// What a test wants different from the usual files.
pub struct Files {
    pub folder: TempDir,
    pub config: Config,
}

impl Files {
    /// The usual files, with these entries more in `allowed_outbound_hosts`.
    pub fn with_hosts(hosts: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = Config::new(folder.path().join("spin.toml"));
        config.runtime_config = Some(folder.path().join("runtime-config.toml"));
        config.precompiled_dir = Some(precompiled().to_owned());
        config.state_dir = folder.path().join("state");
        config.variables.insert("password".to_owned(), "hunter2".to_owned());
        let files = Self { folder, config };
        let quoted: Vec<_> = hosts.iter().map(|host| format!("{host:?}")).collect();
        files.write("spin.toml", &manifest(&wasm().display().to_string()).replace("HOSTS", &quoted.join(", ")));
        files.write("runtime-config.toml", RUNTIME_CONFIG);
        files
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("write");
    }

    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.folder.path().join(name)).expect("read");
        assert!(text.contains(from), "{from} is not in {name}");
        self.write(name, &text.replace(from, to));
    }

    pub async fn start(self) -> House {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let host = Host::load(self.config).expect("a host");
        let (stop, stopped) = oneshot::channel::<()>();
        let served = host.clone();
        let serving = tokio::spawn(async move { served.serve(listener, async { drop(stopped.await) }).await });
        House { address, host, folder: self.folder, stop: Some(stop), serving }
    }
}

impl House {
    pub async fn usual() -> Self {
        Files::with_hosts(&[]).start().await
    }

    pub async fn get(&self, path: &str) -> Got {
        self.post(path, "").await
    }

    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Got {
        post(self.address, path, body.into()).await
    }

    /// The text of a 200.
    pub async fn text(&self, path: &str) -> String {
        let got = self.get(path).await;
        assert_eq!(got.status, 200, "{path}: {}", got.text);
        got.text
    }

    /// The text of an error that the component told.
    pub async fn error(&self, path: &str) -> String {
        let got = self.get(path).await;
        assert_eq!(got.status, 502, "{path}: {}", got.text);
        got.text
    }

    /// Stops it as a signal would, and waits until it has drained.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.serving.await.expect("serving does not panic").expect("serving ends well");
    }
}

pub async fn post(address: SocketAddr, path: &str, body: Bytes) -> Got {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("http://{address}{path}")).body(Full::new(body)).expect("a request");
    let (head, body) = client.request(request).await.expect("an answer").into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Got { status: head.status, headers: head.headers, text: String::from_utf8_lossy(&body).into_owned() }
}

pub fn manifest(source: &str) -> String {
    MANIFEST.replace("SOURCE", source)
}

/// The component, built by the cargo that runs this test, into the same target folder.
pub fn wasm() -> &'static Path {
    static WASM: OnceLock<PathBuf> = OnceLock::new();
    WASM.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
        let flags =
            ["build", "--quiet", "--target", "wasm32-wasip2", "--profile", "component", "-p", "host-test-guest"];
        let mut cargo = Command::new(env!("CARGO"));
        let status = cargo.args(flags).arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(status.expect("cargo runs").success(), "the test's component does not build");
        target.join("wasm32-wasip2/component/host_test_guest.wasm")
    })
}

/// A folder with the component compiled for the baseline CPU.
pub fn precompiled() -> &'static Path {
    static PRECOMPILED: OnceLock<TempDir> = OnceLock::new();
    let folder = PRECOMPILED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("spin.toml");
        std::fs::write(&path, manifest(&wasm().display().to_string()).replace("HOSTS", "")).expect("write");
        let written = host::compile(&path, folder.path()).expect("it compiles");
        assert_eq!(written, [folder.path().join("guest.cwasm")]);
        folder
    });
    folder.path()
}
