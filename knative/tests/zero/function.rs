//! The function that is measured: the host's program of the image, with the arguments and the environment that the chart gives it
//! and with paths and addresses of this machine; and the same in Node.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail, ensure};
use chart_tests::chart::{self, Chart, list, of_kind, text};
use chart_tests::postgres::{NotStarted, Postgres};
use chart_tests::programs::{programs, root};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::house::{BRIDGE_TOKEN, Places, free_port};

/// The function: it hears everything, and notes it.
pub const NAME: &str = "admin";

/// What the chart says of the function, and its database.
pub struct Function {
    container: Value,
    configuration: PathBuf,
    postgres: Postgres,
}

impl Function {
    pub fn of_the_chart(folder: &Path) -> Result<Self> {
        let programs = programs("zero").context("helm (tools/cluster.sh brings it where there is Python or Go)")?;
        let chart = Chart { programs, environment: "kind" };
        let secrets =
            json!({ NAME: { "bridge-token": BRIDGE_TOKEN, "push-token": "push", "database-url": "set below" } });
        let objects = chart.render(&[format!("secrets.values={secrets}")]).map_err(anyhow::Error::msg)?;
        let function = chart::functions(&objects).find(|one| text(one, "/metadata/name") == NAME).context(NAME)?;
        let pod = chart::pod(function).context("a Service has a pod")?;
        let map = of_kind(&objects, "", "ConfigMap").find(|one| text(one, "/metadata/name") == "till-functions");
        let configuration = folder.join("runtime-config.toml");
        std::fs::write(&configuration, text(map.context("till-functions")?, "/data/runtime-config.toml"))?;
        let container = list(pod, "/containers").first().context("a pod has a container")?.clone();
        Ok(Function { container, configuration, postgres: postgres()? })
    }

    /// The host, as its pod would run it.
    pub fn till(&self, places: &Places) -> Command {
        let (image, address) = (layout("host"), format!("127.0.0.1:{}", self.postgres.port));
        let mut command = Command::new(image.join("till/till-host"));
        let here = |argument: &str| {
            argument
                .replace("=/till/", &format!("={}/till/", image.display()))
                .replace("=/etc/till/runtime-config.toml", &format!("={}", self.configuration.display()))
        };
        command.args(list(&self.container, "/args").iter().filter_map(Value::as_str).map(here));
        for variable in list(&self.container, "/env") {
            command.env(text(variable, "/name"), text(variable, "/value"));
        }
        command.env("SPIN_VARIABLE_ADMIN_BRIDGE_TOKEN", BRIDGE_TOKEN).env("SPIN_VARIABLE_ADMIN_PUSH_TOKEN", "push");
        command.env("SPIN_VARIABLE_POSTGRES_ADDRESS", &address);
        command.env("SPIN_VARIABLE_ADMIN_DATABASE_URL", format!("postgres://till@{address}/postgres?sslmode=disable"));
        command.env("SPIN_VARIABLE_BRIDGE_URL", format!("http://127.0.0.1:{}", places.bridge));
        command.env("RUST_LOG", "warn");
        quiet(command, places)
    }

    /// The same in Node.
    pub fn node(&self, places: &Places) -> Command {
        let mut command = Command::new("node");
        command.arg(root().join("knative/tests/zero/function.mjs")).env("BRIDGE_TOKEN", BRIDGE_TOKEN);
        quiet(command, places)
    }
}

/// Knative's `PORT`, and nothing that outlives us.
fn quiet(mut command: Command, places: &Places) -> Command {
    command.env("PORT", places.function.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command
}

/// The root file system of an image, as tools/images.sh lays it out.
pub fn layout(image: &str) -> PathBuf {
    root().join("target/images/release").join(image)
}

/// A server of the harness's own.
fn postgres() -> Result<Postgres> {
    Postgres::start(free_port()?, &format!("zero-{}", std::process::id())).map_err(|error| match error {
        NotStarted::Lacking(what) => anyhow!("{what}"),
        NotStarted::Failed(said) => anyhow!("{said}"),
    })
}

/// Whether what is measured was built, and Node is there.
pub fn check() -> Result<()> {
    for program in [layout("host").join("till/till-host"), layout("bridge").join("till/till-bridge")] {
        ensure!(program.is_file(), "{} is not built\n  remedy: make zero", program.display());
    }
    match std::process::Command::new("node").arg("--version").output() {
        Ok(_) => Ok(()),
        Err(error) => bail!("node cannot be run: {error}\n  remedy: install Node.js 20 or later"),
    }
}
