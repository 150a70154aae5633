//! `make zero`: a harness that plays Knative's part for one function without a cluster, and measures what a wake costs. Nothing
//! runs; a record arrives; the bridge's request is held, the function's process starts, answers, idles out and is stopped. Then the
//! same with the same function in Node.
//!
//! ```sh
//! zero [--wakes 200] [--window-ms 200] [--json]     also writes target/zero.json
//! ```

mod activator;
mod function;
mod house;
mod process;
mod report;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use chart_tests::gateway;
use tokio::net::TcpListener;

use activator::{Activator, Wake};
use function::Function;
use house::{House, Places};
use report::{Measured, Report};

/// Everything that one wake may take, before something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

struct Options {
    wakes: u32,
    window: Duration,
    is_json: bool,
}

fn main() -> Result<()> {
    let options = options(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            done = measure(&options) => done,
            // Dropping what runs stops it.
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })
}

fn options(arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options { wakes: 200, window: Duration::from_millis(200), is_json: false };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut number =
            || arguments.next().and_then(|text| text.parse().ok()).with_context(|| format!("{argument} N"));
        match argument.as_str() {
            "--wakes" => options.wakes = number()?,
            "--window-ms" => options.window = Duration::from_millis(number()?.into()),
            "--json" => options.is_json = true,
            other => bail!("{other}: only --wakes N, --window-ms MS and --json are known"),
        }
    }
    ensure!(options.wakes > 0, "--wakes must be at least 1");
    Ok(options)
}

async fn measure(options: &Options) -> Result<()> {
    function::check()?;
    let folder = tempfile::tempdir()?;
    let function = Function::of_the_chart(folder.path())?;
    let till = measured("till", options, folder.path(), |places| function.till(places)).await?;
    let node = measured("node", options, folder.path(), |places| function.node(places)).await?;
    let report = Report { wakes: options.wakes, window: options.window, till, node };
    let json = report.json();
    std::fs::write("target/zero.json", &json).context("target/zero.json")?;
    if options.is_json {
        println!("{json}")
    } else {
        report.print()
    }
    Ok(())
}

/// One kind of function, woken again and again behind a bridge of its own.
async fn measured(
    kind: &'static str,
    options: &Options,
    folder: &Path,
    start: impl FnOnce(&Places) -> tokio::process::Command,
) -> Result<Measured> {
    let folder = folder.join(kind);
    std::fs::create_dir(&folder)?;
    let places = Places::free()?;
    let listener = TcpListener::bind(("127.0.0.1", places.gateway)).await?;
    let house = House::start(&folder, &places).await?;
    let (activator, mut wakes) = Activator::new(start(&places), places.function, options.window);
    let activator = Arc::new(activator);
    let gateway = tokio::spawn(gateway::serve(listener, activator.clone()));
    let idling = tokio::spawn(activator.idle_out());
    // The bridge wakes every sink at its start: the function's first life makes its tables, and is not counted.
    next(&mut wakes).await.context("the wake at the bridge's start")?;
    let mut found = Vec::new();
    for number in 1..=options.wakes {
        let told = Instant::now();
        house.tell(number).await?;
        let wake = next(&mut wakes).await.with_context(|| format!("wake {number}"))?;
        found.push((wake.answered - told, wake));
        if number.is_multiple_of(20) {
            eprintln!("  {kind}: {number} of {} wakes", options.wakes);
        }
    }
    let measured = Measured::of(found, house.memory_kib()?);
    idling.abort();
    gateway.abort();
    house.stop().await?;
    Ok(measured)
}

/// The next life of the function, when it is over.
async fn next(wakes: &mut tokio::sync::mpsc::Receiver<Result<Wake>>) -> Result<Wake> {
    let wake = tokio::time::timeout(PATIENCE, wakes.recv()).await.context("nobody was woken")?;
    wake.context("the harness's activator ended")?
}
