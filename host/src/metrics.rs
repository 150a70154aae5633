//! What the host counts: invocations, the time they took, instances awake, and when a component was last called, so that
//! one can say how long it slept. Told as Prometheus text and as a `Report`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The counters of one component.
#[derive(Default)]
pub struct Metrics {
    by_status: Mutex<BTreeMap<u16, u64>>,
    busy_micros: AtomicU64,
    awake: AtomicUsize,
    last_ms: AtomicU64,
}

/// All components' counters at one moment.
#[derive(Clone, Debug)]
pub struct Report {
    pub components: Vec<ComponentReport>,
}

#[derive(Clone, Debug)]
pub struct ComponentReport {
    pub component: String,
    /// Invocations by the status of their answer.
    pub invocations: BTreeMap<u16, u64>,
    /// From the request's arrival to the end of the answer, summed over all invocations.
    pub busy: Duration,
    /// Instances in memory now.
    pub awake: usize,
    /// When the last invocation ended.
    pub last_invocation: Option<SystemTime>,
}

impl Metrics {
    pub fn invoked(&self, status: u16, took: Duration) {
        *self.by_status().entry(status).or_default() += 1;
        self.busy_micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_ms.store(now.as_millis() as u64, Ordering::Relaxed);
    }

    fn by_status(&self) -> std::sync::MutexGuard<'_, BTreeMap<u16, u64>> {
        self.by_status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wake(self: &Arc<Self>) -> Counted {
        self.awake.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    pub fn report(&self, component: &str) -> ComponentReport {
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        ComponentReport {
            component: component.to_owned(),
            invocations: self.by_status().clone(),
            busy: Duration::from_micros(self.busy_micros.load(Ordering::Relaxed)),
            awake: self.awake.load(Ordering::Relaxed),
            last_invocation: (last_ms > 0).then(|| UNIX_EPOCH + Duration::from_millis(last_ms)),
        }
    }
}

/// One awake instance, counted until it is dropped.
pub struct Counted(Arc<Metrics>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.awake.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Report {
    /// The Prometheus text format.
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        let by_status = |one: &ComponentReport| {
            let line = |(status, count): (&u16, &u64)| (format!(",status=\"{status}\""), count.to_string());
            one.invocations.iter().map(line).collect()
        };
        let plain = |value: String| vec![(String::new(), value)];
        let seconds = |one: &ComponentReport| plain(one.busy.as_secs_f64().to_string());
        let last = |one: &ComponentReport| one.last_invocation.map_or(Vec::new(), |time| plain(unix_seconds(time)));
        self.family(
            &mut text,
            "till_host_invocations_total",
            "counter",
            "Invocations by component and status.",
            by_status,
        );
        self.family(&mut text, "till_host_busy_seconds_total", "counter", "Time that invocations took.", seconds);
        self.family(&mut text, "till_host_instances_awake", "gauge", "Instances in memory.", |one| {
            plain(one.awake.to_string())
        });
        self.family(&mut text, "till_host_last_invocation_seconds", "gauge", "When a component last answered.", last);
        if let Some(bytes) = resident_bytes() {
            let _ = writeln!(text, "# HELP process_resident_memory_bytes Memory of this process.");
            let _ = writeln!(text, "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {bytes}");
        }
        text
    }

    fn family(
        &self,
        text: &mut String,
        name: &str,
        kind: &str,
        help: &str,
        values: impl Fn(&ComponentReport) -> Vec<(String, String)>,
    ) {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for one in &self.components {
            for (labels, value) in values(one) {
                let _ = writeln!(text, "{name}{{component=\"{}\"{labels}}} {value}", one.component);
            }
        }
    }
}

fn unix_seconds(time: SystemTime) -> String {
    format!("{:.3}", time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
}

/// Memory of this process that is in RAM, in bytes, where Linux tells it.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_is_told_with_its_statuses() {
        let metrics = Arc::new(Metrics::default());
        let _awake = metrics.wake();
        metrics.invoked(200, Duration::from_millis(1500));
        metrics.invoked(200, Duration::ZERO);
        metrics.invoked(504, Duration::ZERO);
        let text = Report { components: vec![metrics.report("core")] }.to_prometheus();
        for line in [
            "till_host_invocations_total{component=\"core\",status=\"200\"} 2",
            "till_host_invocations_total{component=\"core\",status=\"504\"} 1",
            "till_host_busy_seconds_total{component=\"core\"} 1.5",
            "till_host_instances_awake{component=\"core\"} 1",
            "process_resident_memory_bytes ",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
