//! What an idle month and a busy day cost, next to pods that never sleep. Measured figures (target/bench.json, target/zero.json)
//! and assumptions come in, and dollars come out. What a pod costs is what it reserves for as long as it is there, or what it uses
//! where that is more.

use serde_json::Value;

/// Hours of a month, as clouds count them.
const MONTH_HOURS: f64 = 730.0;
const FUNCTIONS: f64 = 6.0;

/// What `make bench` and `make zero` measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// From a process's start to its last answer, with one event.
    pub wake_cpu_ms: f64,
    pub request_cpu_us: f64,
    pub record_cpu_us: f64,
    pub function_mib: f64,
    pub bridge_mib: f64,
    /// The same function in Node.
    pub node_mib: f64,
}

/// CPUs and memory together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    pub cpus: f64,
    pub mib: f64,
}

impl Size {
    /// Memory that was measured counts where it is more than reserved.
    fn with(self, measured_mib: f64) -> Self {
        Size { mib: self.mib.max(measured_mib), ..self }
    }
}

/// What nobody measured here. Each is printed.
#[derive(Debug, Clone, PartialEq)]
pub struct Assumptions {
    pub cpu_hour_dollars: f64,
    pub gib_hour_dollars: f64,
    /// Requests of the chart.
    pub bridge: Size,
    pub function: Size,
    /// What Knative's sidecar (queue-proxy) reserves in each pod of a function, by its own default.
    pub sidecar_cpus: f64,
    /// A pod that never sleeps, of the kind that Till replaces.
    pub always_on: Size,
    /// From a function's last answer until its pod is gone: window, and the cluster's grace period.
    pub awake_after_seconds: f64,
    /// The bridge wakes every function so often, for nothing.
    pub wakes_per_hour: f64,
    pub busy_hours: f64,
    pub payments_per_busy_day: f64,
    pub invocations_per_payment: f64,
    pub records_per_payment: f64,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            cpu_hour_dollars: 0.040_48,
            gib_hour_dollars: 0.004_445,
            bridge: Size { cpus: 0.05, mib: 48.0 },
            function: Size { cpus: 0.025, mib: 32.0 },
            sidecar_cpus: 0.025,
            always_on: Size { cpus: 0.1, mib: 256.0 },
            awake_after_seconds: 36.0,
            wakes_per_hour: 1.0,
            busy_hours: 10.0,
            payments_per_busy_day: 10_000.0,
            invocations_per_payment: 20.0,
            records_per_payment: 15.0,
        }
    }
}

/// Dollars of one span of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bill {
    pub bridge: f64,
    pub functions: f64,
    /// The same functions in the same pods, never asleep.
    pub same_pods: f64,
    /// Six pods that reserve a function's CPU and the memory that the same function takes in Node.
    pub least_node: f64,
    /// Six pods of the usual size.
    pub always_on: f64,
}

impl Bill {
    pub fn total(&self) -> f64 {
        self.bridge + self.functions
    }
}

impl Figures {
    /// Reads what `make bench` and `make zero` wrote; tells every figure that is not there.
    pub fn parse(bench: &str, zero: &str) -> Result<Self, Vec<String>> {
        let mut missing = Vec::new();
        let (bench, zero) = (report("make bench", bench, &mut missing), report("make zero", zero, &mut missing));
        let mut figure = |report: &Value, by: &str, name: &str| {
            let mut figures = report["figures"].as_array().into_iter().flatten();
            let value = figures.find(|figure| figure["name"] == name).and_then(|figure| figure["value"].as_f64());
            value.unwrap_or_else(|| {
                missing.push(format!("there is no figure `{name}`: {by}"));
                0.0
            })
        };
        let figures = Figures {
            wake_cpu_ms: figure(&zero, "make zero", "till: CPU of a wake and its one event"),
            request_cpu_us: figure(&bench, "make bench", "host: CPU per trivial request"),
            record_cpu_us: figure(&bench, "make bench", "bridge, replies in transactions: CPU per record"),
            function_mib: figure(&zero, "make zero", "till: memory of the function, awake"),
            bridge_mib: figure(&zero, "make zero", "till: memory of the sleeping house"),
            node_mib: figure(&zero, "make zero", "node: memory of the function, awake"),
        };
        if missing.is_empty() { Ok(figures) } else { Err(missing) }
    }
}

fn report(by: &str, text: &str, missing: &mut Vec<String>) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| {
        missing.push(format!("what {by} writes is no JSON: {error}"));
        Value::Null
    })
}

impl Assumptions {
    /// A month in which nobody pays.
    pub fn idle_month(&self, figures: &Figures) -> Bill {
        let wakes = MONTH_HOURS * self.wakes_per_hour * FUNCTIONS;
        let awake_hours = wakes * self.awake_after_seconds / 3_600.0;
        self.bill(figures, MONTH_HOURS, awake_hours, self.cpu_hours_of(wakes, wakes, 0.0, figures))
    }

    /// A day in which somebody pays all the time for some hours, and nobody in the others.
    pub fn busy_day(&self, figures: &Figures) -> Bill {
        let idle_wakes = (24.0 - self.busy_hours) * self.wakes_per_hour * FUNCTIONS;
        let awake_hours = self.busy_hours * FUNCTIONS + idle_wakes * self.awake_after_seconds / 3_600.0;
        let invocations = self.payments_per_busy_day * self.invocations_per_payment;
        let records = self.payments_per_busy_day * self.records_per_payment;
        self.bill(figures, 24.0, awake_hours, self.cpu_hours_of(idle_wakes + FUNCTIONS, invocations, records, figures))
    }

    /// CPU hours that functions and bridge use.
    fn cpu_hours_of(&self, wakes: f64, invocations: f64, records: f64, figures: &Figures) -> (f64, f64) {
        let functions = wakes * figures.wake_cpu_ms / 1e3 + invocations * figures.request_cpu_us / 1e6;
        (functions / 3_600.0, records * figures.record_cpu_us / 1e6 / 3_600.0)
    }

    fn bill(&self, figures: &Figures, hours: f64, awake_hours: f64, (functions_cpu, bridge_cpu): (f64, f64)) -> Bill {
        let (bridge, function) = (self.bridge.with(figures.bridge_mib), self.function.with(figures.function_mib));
        let function = Size { cpus: function.cpus + self.sidecar_cpus, ..function };
        let least_node = Size { mib: figures.node_mib, ..self.function };
        let all_hours = hours * FUNCTIONS;
        Bill {
            bridge: self.dollars(bridge, hours, bridge_cpu),
            functions: self.dollars(function, awake_hours, functions_cpu),
            same_pods: self.dollars(function, all_hours, functions_cpu),
            least_node: self.dollars(least_node, all_hours, functions_cpu),
            always_on: self.dollars(self.always_on, all_hours, 0.0),
        }
    }

    /// Reserved CPU, or what was used where that is more; and memory.
    fn dollars(&self, size: Size, hours: f64, cpu_hours_used: f64) -> f64 {
        let cpu_hours = (size.cpus * hours).max(cpu_hours_used);
        cpu_hours * self.cpu_hour_dollars + size.mib / 1024.0 * hours * self.gib_hour_dollars
    }

    /// Every assumption as a line.
    pub fn told(&self) -> Vec<String> {
        let size = |size: Size| format!("{} CPUs, {} MiB", size.cpus, size.mib);
        vec![
            format!(
                "a CPU costs ${} an hour, a GiB ${} (AWS Fargate, us-east-1, Linux on x86)",
                self.cpu_hour_dollars, self.gib_hour_dollars
            ),
            format!("the bridge reserves {} and is there all the time", size(self.bridge)),
            format!(
                "a function that is awake reserves {}, and Knative's sidecar beside it {} CPUs",
                size(self.function),
                self.sidecar_cpus
            ),
            format!("a usual Node service that never sleeps reserves {}", size(self.always_on)),
            "the least Node service reserves a function's CPU, and the memory that make zero measured".to_owned(),
            format!(
                "a function's pod is gone {} s after its last answer (6 s window, 30 s grace)",
                self.awake_after_seconds
            ),
            format!("each function is woken though nobody pays, {} an hour", self.wakes_per_hour),
            format!(
                "a busy day: {} payments within {} h, in which no function sleeps; {} invocations and {} records each",
                self.payments_per_busy_day, self.busy_hours, self.invocations_per_payment, self.records_per_payment
            ),
            "an invocation uses the CPU of a trivial request: a real one uses more, and still less than is reserved"
                .to_owned(),
            "not counted, since both need them: Kubernetes, Kafka, PostgreSQL, traffic".to_owned(),
            "not counted, though only Till needs it: Knative's own pods, shared by everything in the cluster"
                .to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BENCH: &str = r#"{"figures": [
        {"name": "host: CPU per trivial request", "value": 100.0, "unit": "µs"},
        {"name": "bridge, replies in transactions: CPU per record", "value": 15.0, "unit": "µs"}], "skipped": []}"#;
    const ZERO: &str = r#"{"figures": [
        {"name": "till: CPU of a wake and its one event", "value": 12.0, "unit": "ms"},
        {"name": "till: memory of the function, awake", "value": 20.0, "unit": "MiB"},
        {"name": "till: memory of the sleeping house", "value": 13.0, "unit": "MiB"},
        {"name": "node: memory of the function, awake", "value": 64.0, "unit": "MiB"}]}"#;

    fn figures() -> Figures {
        Figures::parse(BENCH, ZERO).unwrap()
    }

    #[test]
    fn figures_come_from_the_benchmarks_and_none_is_made_up() {
        assert_eq!(figures().wake_cpu_ms, 12.0);
        let missing = Figures::parse(r#"{"figures": []}"#, ZERO).unwrap_err();
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert!(missing.iter().all(|line| line.ends_with("make bench")), "{missing:?}");
        assert!(Figures::parse(BENCH, "").unwrap_err()[0].contains("make zero"));
    }

    #[test]
    fn what_measures_calls_the_figures_so() {
        let read = |file: &str| std::fs::read_to_string(crate::programs::root().join(file)).unwrap();
        let bench = read("tests/bench/hosting.rs") + &read("tests/bench/bridging/throughput.rs");
        let zero = read("knative/tests/zero/report.rs");
        for name in Figures::parse("{}", "{}").unwrap_err() {
            let name = name.split('`').nth(1).unwrap();
            let is_there = match name.split_once(": ") {
                Some(("till" | "node", name)) => zero.contains(&format!("{name:?}")),
                _ => bench.contains(&format!("{name:?}")),
            };
            assert!(is_there, "{name}");
        }
    }

    #[test]
    fn an_idle_month_is_the_bridge_and_some_hours_of_functions() {
        let (assumptions, figures) = (Assumptions::default(), figures());
        let bill = assumptions.idle_month(&figures);
        let bridge = 730.0 * (0.05 * 0.04048 + 48.0 / 1024.0 * 0.004445);
        assert!((bill.bridge - bridge).abs() < 1e-9, "{bill:?}");
        // One hour in a hundred.
        assert!((bill.functions / bill.same_pods - 0.01).abs() < 1e-6, "{bill:?}");
        let asleep = Assumptions { wakes_per_hour: 0.0, ..assumptions };
        assert_eq!(asleep.idle_month(&figures).functions, 0.0);
    }

    #[test]
    fn a_day_that_is_busy_all_day_saves_nothing_of_the_same_pods() {
        let assumptions = Assumptions { busy_hours: 24.0, ..Assumptions::default() };
        let bill = assumptions.busy_day(&figures());
        assert!((bill.functions - bill.same_pods).abs() < 1e-9, "{bill:?}");
    }

    #[test]
    fn memory_counts_where_it_is_more_than_reserved() {
        let assumptions = Assumptions::default();
        let cheap = assumptions.idle_month(&figures());
        assert_eq!(cheap, assumptions.idle_month(&Figures { function_mib: 32.0, bridge_mib: 48.0, ..figures() }));
        let dear = assumptions.idle_month(&Figures { function_mib: 33.0, bridge_mib: 49.0, ..figures() });
        assert!(dear.functions > cheap.functions && dear.bridge > cheap.bridge, "{dear:?}");
        let node = Figures { node_mib: 1_024.0, ..figures() };
        assert!(assumptions.idle_month(&node).least_node > cheap.least_node, "{cheap:?}");
    }

    #[test]
    fn what_is_used_counts_where_it_is_more_than_reserved() {
        let assumptions = Assumptions { payments_per_busy_day: 1e9, ..Assumptions::default() };
        let bill = assumptions.busy_day(&figures());
        let used = 1e9 * 20.0 * 100e-6 / 3_600.0 * assumptions.cpu_hour_dollars;
        assert!(bill.functions > used && bill.functions < used * 1.01, "{bill:?} {used}");
    }
}
