//! What an idle month and a busy day cost, next to pods that never sleep. Measured figures (target/bench.json) and assumptions
//! come in, and dollars come out. What a pod costs is what it reserves for as long as it is there, or what it uses where that
//! is more.

use serde_json::Value;

/// Hours of a month, as clouds count them.
const MONTH_HOURS: f64 = 730.0;
const FUNCTIONS: f64 = 6.0;

/// What `make bench` measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    pub wake_cpu_ms: f64,
    pub request_cpu_us: f64,
    pub record_cpu_us: f64,
    pub function_mib: f64,
}

/// CPUs and memory together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    pub cpus: f64,
    pub mib: f64,
}

/// What nobody measured here. Each is printed.
#[derive(Debug, Clone, PartialEq)]
pub struct Assumptions {
    pub cpu_hour_dollars: f64,
    pub gib_hour_dollars: f64,
    /// Requests of the chart.
    pub bridge: Size,
    pub function: Size,
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
    /// Six pods of the usual size.
    pub always_on: f64,
}

impl Bill {
    pub fn total(&self) -> f64 {
        self.bridge + self.functions
    }
}

impl Figures {
    /// Reads what `make bench` wrote; tells every figure that is not there.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let report: Value = serde_json::from_str(text).map_err(|error| vec![error.to_string()])?;
        let mut missing = Vec::new();
        let mut figure = |name: &str| {
            let mut figures = report["figures"].as_array().into_iter().flatten();
            let value = figures.find(|figure| figure["name"] == name).and_then(|figure| figure["value"].as_f64());
            value.unwrap_or_else(|| {
                missing.push(format!("there is no figure `{name}`"));
                0.0
            })
        };
        let figures = Figures {
            wake_cpu_ms: figure("host: CPU from exec to first 200, payment precompiled"),
            request_cpu_us: figure("host: CPU per trivial request"),
            record_cpu_us: figure("bridge: CPU per record"),
            function_mib: figure("host: resident memory, one function awake"),
        };
        if missing.is_empty() { Ok(figures) } else { Err(missing) }
    }
}

impl Assumptions {
    /// A month in which nobody pays.
    pub fn idle_month(&self, figures: &Figures) -> Bill {
        let wakes = MONTH_HOURS * self.wakes_per_hour * FUNCTIONS;
        let awake_hours = wakes * self.awake_after_seconds / 3_600.0;
        self.bill(MONTH_HOURS, awake_hours, self.cpu_hours_of(wakes, wakes, 0.0, figures))
    }

    /// A day in which somebody pays all the time for some hours, and nobody in the others.
    pub fn busy_day(&self, figures: &Figures) -> Bill {
        let idle_wakes = (24.0 - self.busy_hours) * self.wakes_per_hour * FUNCTIONS;
        let awake_hours = self.busy_hours * FUNCTIONS + idle_wakes * self.awake_after_seconds / 3_600.0;
        let invocations = self.payments_per_busy_day * self.invocations_per_payment;
        let records = self.payments_per_busy_day * self.records_per_payment;
        self.bill(24.0, awake_hours, self.cpu_hours_of(idle_wakes + FUNCTIONS, invocations, records, figures))
    }

    /// CPU hours that functions and bridge use.
    fn cpu_hours_of(&self, wakes: f64, invocations: f64, records: f64, figures: &Figures) -> (f64, f64) {
        let functions = wakes * figures.wake_cpu_ms / 1e3 + invocations * figures.request_cpu_us / 1e6;
        (functions / 3_600.0, records * figures.record_cpu_us / 1e6 / 3_600.0)
    }

    fn bill(&self, hours: f64, awake_hours: f64, (functions_cpu, bridge_cpu): (f64, f64)) -> Bill {
        Bill {
            bridge: self.dollars(self.bridge, hours, bridge_cpu),
            functions: self.dollars(self.function, awake_hours, functions_cpu),
            same_pods: self.dollars(self.function, hours * FUNCTIONS, functions_cpu),
            always_on: self.dollars(self.always_on, hours * FUNCTIONS, 0.0),
        }
    }

    /// Reserved CPU, or what was used where that is more; and reserved memory.
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
            format!("a function that is awake reserves {}", size(self.function)),
            format!("a pod that never sleeps reserves {} (a usual Node service)", size(self.always_on)),
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
        {"name": "host: CPU from exec to first 200, payment precompiled", "value": 12.0, "unit": "ms"},
        {"name": "host: CPU per trivial request", "value": 100.0, "unit": "µs"},
        {"name": "bridge: CPU per record", "value": 15.0, "unit": "µs"},
        {"name": "host: resident memory, one function awake", "value": 20.0, "unit": "MiB"}], "skipped": []}"#;

    fn figures() -> Figures {
        Figures::parse(BENCH).unwrap()
    }

    #[test]
    fn figures_come_from_the_benchmarks_and_none_is_made_up() {
        assert_eq!(figures().wake_cpu_ms, 12.0);
        let missing = Figures::parse(r#"{"figures": []}"#).unwrap_err();
        assert_eq!(missing.len(), 4, "{missing:?}");
        assert!(Figures::parse("").is_err());
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
    fn what_is_used_counts_where_it_is_more_than_reserved() {
        let assumptions = Assumptions { payments_per_busy_day: 1e9, ..Assumptions::default() };
        let bill = assumptions.busy_day(&figures());
        let used = 1e9 * 20.0 * 100e-6 / 3_600.0 * assumptions.cpu_hour_dollars;
        assert!(bill.functions > used && bill.functions < used * 1.01, "{bill:?} {used}");
    }
}
