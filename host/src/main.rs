//! `till-host`: reads flags and environment, serves until SIGTERM or Ctrl-C, drains, and ends with 0.

use clap::{Parser, Subcommand};
use host::{Args, Config, Error, Host};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Runs the components of a spin.toml
#[derive(Parser)]
#[command(name = "till-host", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    args: Args,
}

#[derive(Subcommand)]
enum Command {
    /// Compile the components for any CPU of this architecture, so that a start compiles nothing
    #[cfg(feature = "compile")]
    Compile {
        /// The application's spin.toml
        #[arg(long, value_name = "FILE", default_value = "spin.toml")]
        manifest: std::path::PathBuf,
        /// Where the .cwasm files go
        #[arg(long, value_name = "FOLDER")]
        out: std::path::PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return said(&error),
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let done = match cli.command {
        #[cfg(feature = "compile")]
        Some(Command::Compile { manifest, out }) => compile(&manifest, &out),
        _ => run(cli.args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("till-host: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Help and version end with 0, a wrong flag with 64.
fn said(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS }
}

#[cfg(feature = "compile")]
fn compile(manifest: &std::path::Path, out: &std::path::Path) -> Result<(), Error> {
    for path in host::compile(manifest, out)? {
        println!("{}", path.display());
    }
    Ok(())
}

#[tokio::main]
async fn run(args: Args) -> Result<(), Error> {
    let config = Config::from_args(args, &std::env::vars().collect())?;
    let (listen, metrics_listen) = (config.listen, config.metrics_listen);
    let host = Host::load(config)?;
    let listener = bind(listen).await?;
    for (route, component) in host.routes() {
        tracing::info!(component, "http://{}{route}", listener.local_addr()?);
    }
    let stopped = on_signal()?;
    if let Some(address) = metrics_listen {
        let (host, listener, stopped) = (host.clone(), bind(address).await?, wait(stopped.clone()));
        tokio::spawn(async move { host.serve_metrics(listener, stopped).await });
    }
    host.serve(listener, wait(stopped)).await
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|why| Error::Listen { address, why })
}

/// Changes once, at SIGTERM or Ctrl-C.
fn on_signal() -> Result<watch::Receiver<bool>, Error> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (tell, told) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = tell.send(true);
    });
    Ok(told)
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
