//! Containers on this machine: podman with a store and a network of its own, so that it touches nothing of anybody else's, and
//! leaves nothing.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::str::FromStr;

use serde_json::Value;

/// Longer than any story; podman ends a container by itself then, whatever became of us.
const SECONDS_MAX: u32 = 900;
/// Longer than a bridge drains.
const STOP_SECONDS: u32 = 40;

/// Where containers run.
pub struct Podman {
    store: PathBuf,
    network: String,
    /// This machine, as containers see it.
    pub gateway: IpAddr,
}

impl Podman {
    /// Takes images from archives and makes a network; or says what this machine lacks.
    pub fn start(run: &str, archives: &[PathBuf]) -> Result<Self, String> {
        if !is_installed("podman") {
            return Err("podman (Debian: apt-get install buildah podman runc)".to_owned());
        }
        // Another user's containers have a network that this process is not in.
        if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
            return Err("root, which alone shares a network with its containers".to_owned());
        }
        let network = format!("till-{run}");
        // podman takes short paths only.
        let store = std::env::temp_dir().join(&network);
        let mut podman = Podman { store, network, gateway: IpAddr::from([0, 0, 0, 0]) };
        podman.does(&["network", "create", "--disable-dns", &podman.network]);
        podman.gateway = podman.found_gateway();
        for archive in archives {
            podman.does(&["load", "--input", &archive.display().to_string()]);
        }
        Ok(podman)
    }

    /// An address for a container, counted from the network's gateway.
    pub fn address(&self, number: u8) -> IpAddr {
        match self.gateway {
            IpAddr::V4(gateway) => IpAddr::from((u32::from(gateway) + u32::from(number)).to_be_bytes()),
            IpAddr::V6(_) => unreachable!("podman makes networks of IPv4"),
        }
    }

    /// Starts a container of this name and address; `arguments` begin with podman's own and end with the program's.
    pub fn run(&self, name: &str, address: IpAddr, environment: &[(String, String)], arguments: &[String]) {
        let mut command = self.command(&["run", "--detach", "--log-driver", "k8s-file", "--name", name]);
        command.args(["--network", &self.network, "--ip", &address.to_string()]);
        command.args(["--timeout", &SECONDS_MAX.to_string()]);
        // Below what this machine itself may have, else runc refuses.
        command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
        for (key, value) in environment {
            // By name alone, so that no secret stands in a list of processes.
            command.args(["--env", key]).env(key, value);
        }
        let output = command.args(arguments).output().expect("podman runs");
        assert!(output.status.success(), "{name} does not start: {}", said(&output));
    }

    /// Waits until a container ends by itself, and answers its exit code.
    pub fn wait(&self, name: &str) -> i32 {
        self.does(&["wait", name]).trim().parse().expect("an exit code")
    }

    /// SIGTERM, then what the container's state says at its end.
    pub fn stop(&self, name: &str) -> Value {
        self.does(&["stop", "--time", &STOP_SECONDS.to_string(), name]);
        self.look(name)["State"].take()
    }

    /// What podman knows of a container.
    pub fn look(&self, name: &str) -> Value {
        let text = self.does(&["inspect", "--type", "container", name]);
        serde_json::from_str::<Value>(&text).expect("podman tells JSON")[0].take()
    }

    /// Who an image runs as by itself.
    pub fn user_of(&self, image: &str) -> String {
        self.does(&["image", "inspect", "--format", "{{.Config.User}}", image]).trim().to_owned()
    }

    /// The last lines that a container said.
    pub fn said(&self, name: &str) -> String {
        self.command(&["logs", "--tail", "30", name])
            .output()
            .map_or_else(|error| error.to_string(), |output| said(&output))
    }

    fn found_gateway(&self) -> IpAddr {
        let text = self.does(&["network", "inspect", &self.network]);
        let network: Value = serde_json::from_str(&text).expect("podman tells JSON");
        let gateway = network[0]["subnets"][0]["gateway"].as_str().unwrap_or_default();
        IpAddr::from_str(gateway).unwrap_or_else(|_| panic!("a network without a gateway: {text}"))
    }

    fn does(&self, arguments: &[&str]) -> String {
        self.told(arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    fn told(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(arguments).output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(format!("podman {}: {}", arguments[0], said(&output)))
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        let place = |part: &str| self.store.join(part);
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        if is_installed("runc") {
            command.args(["--runtime", "runc"]);
        }
        command.args(["--events-backend", "none"]).arg("--root").arg(place("root")).arg("--runroot").arg(place("run"));
        command.arg("--tmpdir").arg(place("tmp")).arg("--network-config-dir").arg(place("networks"));
        command.args(arguments);
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        for arguments in [&["rm", "--all", "--force", "--time", "0"][..], &["network", "rm", "--force", &self.network]]
        {
            if let Err(error) = self.told(arguments) {
                eprintln!("{error}");
            }
        }
        std::fs::remove_dir_all(&self.store).ok();
        // What the network's plugin remembers of addresses, where it is CNI.
        std::fs::remove_dir_all(format!("/var/lib/cni/networks/{}", self.network)).ok();
    }
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
