//! What a process has used so far: processor time of its threads and memory, from /proc.

use std::path::PathBuf;
use std::time::Duration;

/// Processor time of all living threads, to the nanosecond (`/proc/PID/stat` counts in hundredths of a second).
pub fn cpu(process: u32) -> Duration {
    let threads = std::fs::read_dir(folder(process).join("task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// Memory of a process that is in RAM, in MiB. `VmHWM` is the highest that it ever was, `VmRSS` what it is now.
pub fn mebibytes(process: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(folder(process).join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap_or_default();
    let kibibytes: f64 = line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(f64::NAN);
    kibibytes / 1024.0
}

fn folder(process: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{process}"))
}
