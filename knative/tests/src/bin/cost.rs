//! `make cost`: what an idle month and a busy day cost, from the figures that `make bench` measured. Its assumptions are printed
//! first.
//!
//! ```sh
//! cost [FILE]     default target/bench.json
//! ```

use std::process::ExitCode;

use chart_tests::cost::{Assumptions, Bill, Figures};

fn main() -> ExitCode {
    let file = std::env::args().nth(1).unwrap_or_else(|| "target/bench.json".to_owned());
    match figures(&file) {
        Ok(figures) => {
            tell(&Assumptions::default(), &figures);
            ExitCode::SUCCESS
        }
        Err(problems) => {
            eprintln!("cost: {file}: {}\n  remedy: make bench", problems.join("; "));
            ExitCode::FAILURE
        }
    }
}

fn figures(file: &str) -> Result<Figures, Vec<String>> {
    let text = std::fs::read_to_string(file).map_err(|error| vec![error.to_string()])?;
    Figures::parse(&text)
}

fn tell(assumptions: &Assumptions, figures: &Figures) {
    println!("Assumed:");
    assumptions.told().iter().for_each(|line| println!("  - {line}"));
    println!("\nMeasured:");
    println!(
        "  - a wake takes {} ms of CPU, a request {} µs, a record {} µs in the bridge",
        figures.wake_cpu_ms, figures.request_cpu_us, figures.record_cpu_us
    );
    println!("  - a function that is awake holds {:.0} MiB", figures.function_mib);
    println!(
        "\n{:<14} {:>9} {:>11} {:>9} {:>17} {:>17}",
        "in dollars", "bridge", "functions", "Till", "same, never asleep", "six Node services"
    );
    row("an idle month", assumptions.idle_month(figures));
    row("a busy day", assumptions.busy_day(figures));
}

fn row(name: &str, bill: Bill) {
    let same = bill.bridge + bill.same_pods;
    println!(
        "{name:<14} {:>9.2} {:>11.2} {:>9.2} {same:>17.2} {:>17.2}",
        bill.bridge,
        bill.functions,
        bill.total(),
        bill.always_on
    );
}
