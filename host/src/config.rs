//! What the host is told from outside, read once: flags and environment become a `Config`, with all problems in one message.

use crate::Error;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Everything that a host needs to know before it loads its components.
#[derive(Clone)]
pub struct Config {
    /// The spin.toml (manifest v2). Paths in it are relative to its folder.
    pub manifest: PathBuf,
    /// The runtime configuration, if any. Paths in it are relative to its folder.
    pub runtime_config: Option<PathBuf>,
    /// Where compiled components and the `default` SQLite database are kept between runs.
    pub state_dir: PathBuf,
    /// Where functions are served; only the binary opens it.
    pub listen: SocketAddr,
    /// Where metrics are served; only the binary opens it.
    pub metrics_listen: Option<SocketAddr>,
    /// Run this component alone.
    pub only_component: Option<String>,
    /// A folder of `{component}.cwasm` files, as `compile` writes them.
    pub precompiled_dir: Option<PathBuf>,
    /// Values of the application's variables, by their lower-case names. Never logged: any may be a secret.
    pub variables: BTreeMap<String, String>,
    /// A file with milliseconds to add to the wall clock that functions see.
    pub clock_file: Option<PathBuf>,
    pub limits: Limits,
}

/// The bounds of every invocation and of what waits for one.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Linear memory of one instance.
    pub memory_bytes_max: usize,
    /// From the end of the request's body to the head of the answer, waiting included; and again for the answer's body.
    /// A client that takes nothing of its answer for so long loses its connection.
    pub request_timeout: Duration,
    /// How long a client may take to send its request.
    pub request_read_timeout: Duration,
    pub request_body_bytes_max: usize,
    /// Invocations of one component at a time; each has an instance of its own.
    pub in_flight_max: usize,
    /// Requests of one component that may wait for one of those; the next one gets 503.
    pub waiting_max: usize,
    /// An instance serves this many requests, one after the other, and then makes way for a fresh one.
    pub requests_per_instance_max: usize,
    /// An instance that nobody called for so long goes back to sleep.
    pub instance_idle_timeout: Duration,
    /// TCP connections of clients.
    pub connections_max: usize,
    /// Rows of one SQL statement, together.
    pub result_bytes_max: usize,
    /// PostgreSQL connections of one component to one address.
    pub postgres_connections_max: usize,
    pub connect_timeout: Duration,
    /// From sending an outbound request to the head of its answer, and between two pieces of its body.
    pub outbound_timeout: Duration,
    /// After a stop, how long invocations in flight may go on.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 << 20,
            request_timeout: Duration::from_secs(30),
            request_read_timeout: Duration::from_secs(10),
            request_body_bytes_max: 1 << 20,
            in_flight_max: 32,
            waiting_max: 256,
            requests_per_instance_max: 1_000,
            instance_idle_timeout: Duration::from_secs(1),
            connections_max: 4_096,
            result_bytes_max: 16 << 20,
            postgres_connections_max: 8,
            connect_timeout: Duration::from_secs(5),
            outbound_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// The flags of `till-host`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The application's spin.toml
    #[arg(long, value_name = "FILE", default_value = "spin.toml", env = "TILL_MANIFEST")]
    pub manifest: PathBuf,
    /// The runtime configuration; runtime-config.toml beside the manifest, if it is there, when not given
    #[arg(long, value_name = "FILE", env = "TILL_RUNTIME_CONFIG")]
    pub runtime_config: Option<PathBuf>,
    /// Where compiled components are kept between runs
    #[arg(long, value_name = "FOLDER", default_value = ".till/host", env = "TILL_STATE_DIR")]
    pub state_dir: PathBuf,
    /// Address of the functions; 0.0.0.0:$PORT where PORT is set, else 127.0.0.1:3000, when not given
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Address of the metrics; none when not given
    #[arg(long, value_name = "ADDRESS", env = "TILL_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,
    /// Run this component alone
    #[arg(long, value_name = "NAME", env = "TILL_COMPONENT")]
    pub component: Option<String>,
    /// A folder of precompiled components, as `till-host compile` writes it
    #[arg(long, value_name = "FOLDER", env = "TILL_PRECOMPILED")]
    pub precompiled: Option<PathBuf>,
    /// A variable of the application (wins over SPIN_VARIABLE_NAME); may be repeated
    #[arg(long = "variable", value_name = "NAME=VALUE", hide_env_values = true)]
    pub variables: Vec<String>,
    /// Memory of one instance, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    pub memory_mib_max: usize,
    /// Time that one invocation may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    pub request_timeout_ms: u64,
    /// Invocations of one component at a time
    #[arg(long, value_name = "COUNT", default_value_t = 32)]
    pub in_flight_max: usize,
}

impl Config {
    /// A configuration with nothing but a manifest: defaults everywhere else.
    pub fn new(manifest: impl Into<PathBuf>) -> Self {
        Self {
            manifest: manifest.into(),
            runtime_config: None,
            state_dir: PathBuf::from(".till/host"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 3000)),
            metrics_listen: None,
            only_component: None,
            precompiled_dir: None,
            variables: BTreeMap::new(),
            clock_file: None,
            limits: Limits::default(),
        }
    }

    /// Flags and environment together. Values of variables are in no message.
    pub fn from_args(args: Args, environment: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut problems = Vec::new();
        let mut variables = variables_from_environment(environment);
        for flag in &args.variables {
            match flag.split_once('=') {
                Some((name, value)) => drop(variables.insert(name.to_owned(), value.to_owned())),
                None => problems.push("--variable needs NAME=VALUE".to_owned()),
            }
        }
        let listen = args.listen.or_else(|| listen_from_port(environment, &mut problems));
        positive("--memory-mib-max", args.memory_mib_max, &mut problems);
        positive("--in-flight-max", args.in_flight_max, &mut problems);
        positive("--request-timeout-ms", args.request_timeout_ms as usize, &mut problems);
        if !problems.is_empty() {
            return Err(Error::Configuration(problems));
        }
        let beside = args.manifest.with_file_name("runtime-config.toml");
        let defaults = Self::new(args.manifest);
        Ok(Self {
            runtime_config: args.runtime_config.or_else(|| beside.exists().then_some(beside)),
            state_dir: args.state_dir,
            listen: listen.unwrap_or(defaults.listen),
            metrics_listen: args.metrics_listen,
            only_component: args.component,
            precompiled_dir: args.precompiled,
            variables,
            clock_file: environment.get("TILL_CLOCK").map(PathBuf::from),
            limits: Limits {
                memory_bytes_max: args.memory_mib_max << 20,
                request_timeout: Duration::from_millis(args.request_timeout_ms),
                in_flight_max: args.in_flight_max,
                ..defaults.limits
            },
            ..defaults
        })
    }
}

fn positive(flag: &str, value: usize, problems: &mut Vec<String>) {
    if value == 0 {
        problems.push(format!("{flag} must be at least 1"));
    }
}

/// `SPIN_VARIABLE_BRIDGE_URL` is the variable `bridge_url`.
pub fn variables_from_environment(environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let name = |key: &str| key.strip_prefix("SPIN_VARIABLE_").map(str::to_ascii_lowercase);
    environment.iter().filter_map(|(key, value)| Some((name(key)?, value.clone()))).collect()
}

/// Knative tells a container its port by `PORT`.
fn listen_from_port(environment: &BTreeMap<String, String>, problems: &mut Vec<String>) -> Option<SocketAddr> {
    let port = environment.get("PORT")?;
    match port.parse::<u16>() {
        Ok(port) => Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        Err(_) => {
            problems.push(format!("PORT: `{port}` is not a port"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn read(flags: &[&str], environment: &[(&str, &str)]) -> Result<Config, Error> {
        let cli = Cli::try_parse_from([&["till-host"], flags].concat()).expect("flags");
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Config::from_args(cli.args, &environment)
    }

    #[test]
    fn a_flag_wins_over_the_environment() {
        let environment = [("SPIN_VARIABLE_A_B", "env"), ("SPIN_VARIABLE_C", "env"), ("PORT", "8080")];
        let config = read(&["--variable", "a_b=flag=1"], &environment).expect("a configuration");
        assert_eq!(config.variables["a_b"], "flag=1");
        assert_eq!(config.variables["c"], "env");
        assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
    }

    #[test]
    fn all_problems_are_told_at_once_and_no_value() {
        let flags = ["--variable", "hunter2", "--in-flight-max", "0"];
        let Err(Error::Configuration(problems)) = read(&flags, &[("PORT", "http")]) else { panic!("accepted") };
        assert_eq!(problems.len(), 3);
        assert!(!problems.concat().contains("hunter2"));
    }
}
