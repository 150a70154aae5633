//! What bridges told of repeats: partitions that went, at a rebalance or because the brokers were away for longer than a session,
//! before what was under way had been settled.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use crate::world::Interruption;

/// From all logs in a folder.
pub fn interruptions(folder: &Path) -> Vec<Interruption> {
    let logs = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let logs = logs.filter(|path| path.extension().is_some_and(|end| end == "log"));
    let (now, clock) = (Instant::now(), SystemTime::now());
    let at = |timestamp: Timestamp| {
        let ago = clock.duration_since(timestamp.into()).unwrap_or(Duration::ZERO);
        now.checked_sub(ago)
    };
    let told = logs.flat_map(|log| told(&std::fs::read_to_string(log).unwrap()));
    told.filter_map(|(timestamp, in_memory)| Some(Interruption { at: at(timestamp)?, in_memory })).collect()
}

/// When a line of a log tells of it, and of how many records.
fn told(log: &str) -> Vec<(Timestamp, u64)> {
    let lines = log.lines().filter(|line| line.contains("partitions went before this was settled"));
    let word = |line: &str, name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.parse::<u64>().ok());
    let when = |line: &str| line.split(' ').next()?.parse().ok();
    lines.map(|line| (when(line).expect(line), word(line, "records=").expect(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_log_tells_when_and_how_many() {
        let log = "2026-11-24T00:23:45.321834Z  WARN bridge::hop::leave: partitions went before this was settled: it is delivered \
                   again source=\"s\" partitions=\"in/0 in/3\" records=17\n2026-11-24T00:23:46Z  INFO bridge::run: the bridge drains\n";
        assert_eq!(told(log), [("2026-11-24T00:23:45.321834Z".parse().unwrap(), 17)]);
    }
}
