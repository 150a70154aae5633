//! Story 1 in plain containers: both images are built and run with the arguments, environment, volumes, user, rights and probes
//! that the rendered chart gives them, under 64 MiB each, against a real Kafka, PostgreSQL and a chain.
//!
//! The images are of the programs of `make build`; `TILL_TEST_IMAGES=release` takes those that `make images` built.

mod pod;
mod podman;
mod story;
mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use chart_tests::chart::{self, Chart, of_kind, text};
use chart_tests::gateway::{self, Behind};
use serde_json::{Value, json};
use tests::project;
use tests::skip::skip;
use till::visitor::Visitor;
use tokio::net::TcpListener;
use tokio_postgres::NoTls;

use pod::{Installation, Pod};
use podman::Podman;
use world::{DOMAIN, MERCHANT_PORT, World};

const TEST: &str = "story_1_is_told_in_containers_as_the_chart_runs_them";
const TICKER: &str = "0/public/Ticker?pair={base}{currency}";
/// What values-kind.yaml is installed into.
const NAMESPACE: &str = "till-kind";

#[tokio::test(flavor = "multi_thread")]
async fn story_1_is_told_in_containers_as_the_chart_runs_them() {
    let run = till::random::run_name();
    // Kept when the story fails.
    let folder = project::root().join("target/test/containers").join(&run);
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    if let Err(lacks) = told(&run, &folder).await {
        skip(TEST, &lacks);
    }
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
}

async fn told(run: &str, folder: &Path) -> Result<(), String> {
    let programs = chart_tests::programs::programs(TEST).ok_or("helm")?;
    let archives = images(folder)?;
    let podman = Podman::start(run, &archives)?;
    let world = World::start(&folder.join("world"))?;
    let objects = installed(programs, folder, &world).await;
    let names = names(&podman);
    for image in ["host", "bridge"] {
        assert_eq!(podman.user_of(&format!("dev.local/till-{image}:0.1.0")), "65532:65532");
    }
    let installation = Installation { podman: &podman, objects: &objects, names: &names, folder };
    // The network is there with its first container, and its gateway with it.
    let functions = functions(&installation);
    let _relays = world.open_doors(podman.gateway).await;
    let visitor = open_gateway(&podman, &functions, &world).await;
    once(&installation, "Job", "till-topics", 20);
    let bridge = bridge(&installation);
    let pods: Vec<&Pod> = functions.iter().chain([&bridge]).collect();
    watched(&pods, &podman, &world, async {
        for pod in &pods {
            pod.ready().await.expect("a pod becomes ready");
        }
        story::paid_by_invoice(&visitor).await;
        // As `helm test` asks: through the gateway, by the names that a cluster has.
        once(&installation, "Pod", "till-awake", 21);
        for pod in &pods {
            pod.lives().await.expect("a pod lives");
        }
    })
    .await;
    pods.iter().for_each(|pod| ends_well(&podman, pod));
    Ok(())
}

/// Both images as archives; built, where they are not those of `make images`.
fn images(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let target = project::program("till").ancestors().nth(2).expect("target/debug/till").to_owned();
    let profile = std::env::var("TILL_TEST_IMAGES").unwrap_or_else(|_| "dev".to_owned());
    if profile == "dev" {
        let store = folder.join("images");
        let built = Command::new(project::root().join("tools/images.sh"))
            .arg(&profile)
            .envs([("CARGO_TARGET_DIR", &target), ("IMAGE_STORE", &store)])
            .output()
            .expect("tools/images.sh can be run");
        // The archives are enough, and it is large.
        std::fs::remove_dir_all(&store).ok();
        let said = String::from_utf8_lossy(&built.stderr).into_owned();
        match built.status.code() {
            Some(0) => print!("{}", String::from_utf8_lossy(&built.stdout)),
            Some(3) => return Err(said),
            _ => panic!("tools/images.sh: {said}"),
        }
    }
    Ok(["host", "bridge"].map(|image| target.join(format!("images/{profile}/till-{image}.tar"))).into())
}

/// The chart as values-kind.yaml installs it, with fresh secrets and roles.
async fn installed(programs: &Path, folder: &Path, world: &World) -> Vec<Value> {
    let secrets = folder.join("secrets");
    let tail = format!("postgres.{DOMAIN}:5432/till?sslmode=disable");
    let made = Command::new(project::root().join("tools/secrets.sh")).arg(&secrets).arg(tail).status();
    assert!(made.expect("tools/secrets.sh can be run").success());
    let read = |file: &str| std::fs::read_to_string(secrets.join(file)).expect("it was made");
    owner_does(world, "postgres", "CREATE DATABASE till").await;
    owner_does(world, "till", &read("roles.sql")).await;
    let values = chart_tests::yaml::documents(&read("secrets.yaml")).expect("secrets.yaml is YAML").remove(0);
    let shop = json!({ "webhook_private_host": format!("merchant.{DOMAIN}:{MERCHANT_PORT}") });
    let changes = [
        format!("secrets={}", values["secrets"]),
        format!("auth.jwks={}", json!(world.data.key().jwks().to_string())),
        format!("functions.webhook.variables={shop}"),
        // The second feed speaks as the one does that values.yaml names.
        format!("functions.payment.variables.rate_feed_b={}", json!(format!("http://feeds.{DOMAIN}:8080/b/{TICKER}"))),
    ];
    Chart { programs, environment: "kind" }.render(&changes).expect("the chart renders")
}

async fn owner_does(world: &World, database: &str, sql: &str) {
    let (client, connection) =
        tokio_postgres::connect(&world.owner_url(database), NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    client.batch_execute(sql).await.expect("PostgreSQL's owner may do it");
}

/// What a cluster's DNS knows: functions are at Knative's gateway, the bridge at its own address.
fn names(podman: &Podman) -> Vec<(String, IpAddr)> {
    let own = |name: &str| format!("{name}.{NAMESPACE}.svc.cluster.local");
    let functions = till::data::FUNCTIONS.map(|name| (own(name), podman.gateway));
    let bridge = (own("till-bridge"), podman.address(10));
    World::names(podman.gateway).into_iter().chain(functions).chain([bridge]).collect()
}

fn functions(installation: &Installation) -> Vec<Pod> {
    let start = |(number, object): (usize, &Value)| {
        let address = installation.podman.address(30 + number as u8);
        let spec = chart::pod(object).expect("a Service has a pod");
        installation.run(text(object, "/metadata/name"), spec, address)
    };
    chart::functions(installation.objects).enumerate().map(start).collect()
}

fn bridge(installation: &Installation) -> Pod {
    let object = of_kind(installation.objects, "apps", "StatefulSet").next().expect("the bridge is there");
    let spec = chart::pod(object).expect("a StatefulSet has a pod");
    installation.run("till-bridge-0", spec, installation.podman.address(10))
}

/// Runs a pod that ends by itself.
fn once(installation: &Installation, kind: &str, name: &str, address: u8) {
    let mut all = installation.objects.iter();
    let object = all.find(|one| text(one, "/kind") == kind && text(one, "/metadata/name") == name);
    let spec = chart::pod(object.expect("it is in the chart")).expect("it has a pod");
    installation.run(name, spec, installation.podman.address(address));
    let code = installation.podman.wait(name);
    assert_eq!(code, 0, "{name}:\n{}", installation.podman.said(name));
}

/// Knative's gateway where nobody sleeps: at port 80 for containers, and for visitors on the loopback.
async fn open_gateway(podman: &Podman, functions: &[Pod], world: &World) -> Visitor {
    let behind = Arc::new(Awake(functions.iter().map(|pod| (pod.name.clone(), pod.door())).collect()));
    let visitors = SocketAddr::from(([127, 0, 0, 1], world.ports.functions));
    for address in [SocketAddr::new(podman.gateway, 80), visitors] {
        let listener = TcpListener::bind(address).await.expect("the gateway's door is free");
        tokio::spawn(gateway::serve(listener, behind.clone()));
    }
    Visitor::new(&world.ports, world.data.key())
}

struct Awake(BTreeMap<String, SocketAddr>);

impl Behind for Awake {
    type Held = ();

    async fn way(&self, function: &str) -> Result<(SocketAddr, ()), String> {
        self.0.get(function).map(|address| (*address, ())).ok_or_else(|| format!("no function {function}"))
    }
}

/// Whatever fails in `story`, everybody's last words are told.
async fn watched(pods: &[&Pod], podman: &Podman, world: &World, story: impl Future<Output = ()>) {
    struct LastWords<'a>(&'a [&'a Pod], &'a Podman, &'a World);
    impl Drop for LastWords<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.iter().for_each(|pod| eprintln!("--- {}\n{}", pod.name, self.1.said(&pod.name)));
                eprintln!("--- world\n{}", self.2.said());
            }
        }
    }
    let _words = LastWords(pods, podman, world);
    story.await;
}

/// It stops when it is asked to, and never needed more memory than it may have.
fn ends_well(podman: &Podman, pod: &Pod) {
    let process = podman.look(&pod.name)["State"]["Pid"].clone();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or(" unknown").trim();
    let state = podman.stop(&pod.name);
    println!("{:<14} {peak} at most", pod.name);
    assert_eq!((&state["ExitCode"], &state["OOMKilled"]), (&json!(0), &json!(false)), "{}: {state}", pod.name);
}
