//! The host: what it costs to wake the real payment component, to answer a trivial request, and to stay awake.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use till::address::free;

use crate::process::{Measured, wait_until};
use crate::report::{Aim, Report};
use crate::sink;

const HOST: &str = "target/release/till-host";
const WAKES: usize = 20;
const LOAD: Duration = Duration::from_secs(4);
const CONNECTIONS: usize = 16;

pub async fn measure(report: &mut Report) -> Result<()> {
    eprintln!("host");
    let folder = tempfile::tempdir()?;
    compile(folder.path())?;
    let mut wakes = Vec::new();
    for _ in 0..WAKES {
        wakes.push(wake(folder.path()).await?);
    }
    wakes.sort();
    report.add(
        "host: CPU from exec to first 200, payment precompiled",
        millis(wakes[WAKES / 2]),
        "ms",
        Some(Aim::AtMost(15.0)),
    );
    requests(report, folder.path()).await
}

fn compile(folder: &Path) -> Result<()> {
    let status = Command::new(HOST).args(["compile", "--out"]).arg(folder).status().context(HOST)?;
    ensure!(status.success(), "{HOST} compile ended with {status}");
    let label =
        format!("[sqlite_database.payment]\ntype = \"spin\"\npath = \"{}\"\n", folder.join("payment.db").display());
    Ok(std::fs::write(folder.join("runtime-config.toml"), label)?)
}

fn start(folder: &Path, port: u16) -> Result<Measured> {
    let mut command = Command::new(HOST);
    command
        .args(["--component", "payment", "--listen", &format!("127.0.0.1:{port}"), "--precompiled"])
        .arg(folder)
        .arg("--state-dir")
        .arg(folder)
        .arg("--runtime-config")
        .arg(folder.join("runtime-config.toml"));
    for function in ["admin", "core", "cron", "mailer", "payment", "webhook"] {
        for token in ["bridge_token", "push_token"] {
            command.env(format!("SPIN_VARIABLE_{function}_{token}").to_uppercase(), "bench");
        }
    }
    Measured::start(
        "host",
        command.env("SPIN_VARIABLE_JWKS", "{\"keys\":[]}").env("SPIN_VARIABLE_XPUB", "xpub-of-nobody"),
    )
}

async fn wake(folder: &Path) -> Result<Duration> {
    let port = free(0);
    let mut host = start(folder, port)?;
    first_answer(&mut host, port).await?;
    host.scheduled()
}

async fn first_answer(host: &mut Measured, port: u16) -> Result<()> {
    let url = format!("http://127.0.0.1:{port}/payment/health");
    host.wait_until("the host's first answer", Duration::from_secs(10), async || sink::get(&url).await.is_some())
        .await?;
    Ok(())
}

async fn requests(report: &mut Report, folder: &Path) -> Result<()> {
    let port = free(0);
    let mut host = start(folder, port)?;
    first_answer(&mut host, port).await?;
    let (resident, _) = host.memory_kib()?;
    report.add("host: resident memory, one function awake", resident as f64 / 1024.0, "MiB", None);

    let path = "/payment/health";
    let of_host = per_request(&host, &format!("http://127.0.0.1:{port}{path}")).await?;
    host.check_alive()?;
    let port = free(0);
    let plain = Measured::start("sink", Command::new(std::env::current_exe()?).args(["sink", &port.to_string()]))?;
    let url = format!("http://127.0.0.1:{port}/count");
    wait_until("the plain server", Duration::from_secs(10), async || sink::get(&url).await.is_some()).await?;
    let of_plain = per_request(&plain, &url).await?;
    report.add("plain hyper server: CPU per request", of_plain, "µs", None);
    report.add("host: CPU per trivial request", of_host, "µs", None);
    report.add("host: CPU per trivial request against plain hyper", of_host / of_plain, "times", None);
    Ok(())
}

/// CPU microseconds of a server for each GET under load.
async fn per_request(server: &Measured, url: &str) -> Result<f64> {
    sink::load(url, CONNECTIONS, LOAD / 4, get).await.context("warming up")?;
    let before = server.cpu()?;
    let load = sink::load(url, CONNECTIONS, LOAD, get).await?;
    Ok((server.cpu()? - before).as_micros() as f64 / load.requests as f64)
}

fn get(url: &str) -> hyper::Request<http_body_util::Full<bytes::Bytes>> {
    let path = format!("/{}", url.splitn(4, '/').nth(3).unwrap_or_default());
    hyper::Request::get(path).header("host", "127.0.0.1").body(Default::default()).expect("the parts are valid")
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
