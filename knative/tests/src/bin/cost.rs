//! `make cost`: what an idle month and a busy day cost, from the figures that `make bench` and `make zero` measured. Its assumptions
//! are printed first.
//!
//! ```sh
//! cost [BENCH ZERO]     default target/bench.json target/zero.json
//! ```

use std::process::ExitCode;

use chart_tests::cost::{Assumptions, Bill, Figures};

fn main() -> ExitCode {
    let mut files = std::env::args().skip(1);
    let mut file = |usual: &str| files.next().unwrap_or_else(|| usual.to_owned());
    match figures(&file("target/bench.json"), &file("target/zero.json")) {
        Ok(figures) => {
            tell(&Assumptions::default(), &figures);
            ExitCode::SUCCESS
        }
        Err(problems) => {
            eprintln!("cost: what was measured is not all there:");
            problems.iter().for_each(|problem| eprintln!("  - {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn figures(bench: &str, zero: &str) -> Result<Figures, Vec<String>> {
    let mut problems = Vec::new();
    let mut read = |file: &str, by: &str| {
        let text = std::fs::read_to_string(file);
        text.map_err(|error| problems.push(format!("{file}: {error}: {by}"))).unwrap_or_default()
    };
    let (bench, zero) = (read(bench, "make bench"), read(zero, "make zero"));
    if problems.is_empty() { Figures::parse(&bench, &zero) } else { Err(problems) }
}

fn tell(assumptions: &Assumptions, figures: &Figures) {
    println!("Assumed:");
    assumptions.told().iter().for_each(|line| println!("  - {line}"));
    println!("\nMeasured:");
    println!(
        "  - a wake with its event takes {:.1} ms of CPU, a request more {:.0} µs, a record {:.1} µs in the bridge",
        figures.wake_cpu_ms, figures.request_cpu_us, figures.record_cpu_us
    );
    println!(
        "  - a function that is awake holds {:.0} MiB, in Node {:.0} MiB; the bridge of a sleeping house {:.0} MiB",
        figures.function_mib, figures.node_mib, figures.bridge_mib
    );
    let pods = ["bridge", "functions", "Till", "never asleep", "least Node", "usual Node"];
    println!("\n{:<14} {}", "in dollars", pods.map(|name| format!("{name:>13}")).join(""));
    row("an idle month", assumptions.idle_month(figures));
    row("a busy day", assumptions.busy_day(figures));
    println!("never asleep: the same bridge and the same functions; Node: six services, and no bridge");
}

fn row(name: &str, bill: Bill) {
    let sums =
        [bill.bridge, bill.functions, bill.total(), bill.bridge + bill.same_pods, bill.least_node, bill.always_on];
    println!("{name:<14} {}", sums.map(|sum| format!("{sum:>13.2}")).join(""));
}
