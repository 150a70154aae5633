//! The time that a policy may take, against the time that there is: what a lane waits for, what a drain waits for, and what the
//! group's session allows.

use std::time::Duration;

use super::{Level, Place, Report};
use crate::config::{Config, LogKind, Source};
use crate::dispatch::Retry;

/// Beyond it, a record in retry holds its lane for longer than somebody notices.
const LANE_MAX: Duration = Duration::from_secs(3_600);
/// The session of librdkafka's members, unless the documents say another.
const SESSION: Duration = Duration::from_secs(30);
/// What a revocation may take beyond the drain.
const REVOCATION: Duration = Duration::from_secs(5);

pub fn check(config: &Config, report: &mut Report) {
    for source in &config.sources {
        let place = Place { file: &source.file, line: source.line };
        for (level, text, remedy) in
            [lane(source), drain(source, config), rebalance(source, config)].into_iter().flatten()
        {
            report.push(level, place, format!("{}: {text}", source.name), remedy);
        }
    }
}

type Found = Option<(Level, String, &'static str)>;

fn lane(source: &Source) -> Found {
    let waiting = waiting(&source.delivery.retry).filter(|waiting| *waiting > LANE_MAX)?;
    let text =
        format!("before it is given up, a record may wait {} between its attempts, and holds its lane", said(waiting));
    Some((Level::Warning, text, "lower delivery.retry, backoffDelay or maxBackoff, or say retry: forever"))
}

fn drain(source: &Source, config: &Config) -> Found {
    let (attempt, drain) = (source.delivery.timeout, config.drain);
    let text = || {
        let (attempt, drain) = (said(attempt), said(drain));
        format!(
            "an attempt may take {attempt}, and a drain waits for {drain}: what is under way at a stop is delivered again"
        )
    };
    let found = attempt > drain && is_chosen(source);
    found.then(|| (Level::Warning, text(), "lower delivery.timeout, or raise --drain"))
}

fn rebalance(source: &Source, config: &Config) -> Found {
    let (drain, session) = (config.drain, session(source));
    let text = || {
        let (drain, session) = (said(drain), said(session));
        format!("a drain of {drain} outlasts the group's session of {session}: the member would be taken for dead")
    };
    let found = config.log == LogKind::Kafka && drain + REVOCATION >= session;
    found.then(|| (Level::Error, text(), "lower --drain, or raise session.timeout.ms in spec.kafka"))
}

/// Knative's own default is nobody's choice.
fn is_chosen(source: &Source) -> bool {
    source.delivery.timeout != crate::config::Delivery::default().timeout
}

fn session(source: &Source) -> Duration {
    let said = source.connection.properties.get("session.timeout.ms").and_then(|text| text.reveal().parse().ok());
    said.map_or(SESSION, Duration::from_millis)
}

/// The longest that all retries may wait; `None` for ever.
fn waiting(retry: &Retry) -> Option<Duration> {
    // Beyond so many the cap has been reached long ago.
    let counted = retry.retries_max?.min(64);
    let most = |attempts| retry.delay(attempts, None, 1.0).unwrap_or_default();
    let rest = u64::from(retry.retries_max? - counted).saturating_mul(retry.delay_max);
    Some(Duration::from_millis((1..=counted).map(most).sum::<u64>().saturating_add(rest)))
}

fn said(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Backoff;

    fn check(retries: Option<u32>, delay: u64, delay_max: u64, expected: Option<u64>) {
        let retry = Retry { retries_max: retries, backoff: Backoff::Exponential, delay, delay_max, retry_after_max: 0 };
        assert_eq!(waiting(&retry).map(|waiting| waiting.as_millis() as u64), expected);
    }

    #[test]
    fn the_waits_of_all_retries_are_added() {
        check(Some(3), 100, 10_000, Some(200 + 400 + 800));
        check(Some(3), 100, 300, Some(200 + 300 + 300));
        check(Some(1_000), 1, 1_000, Some(1_022 + 991 * 1_000));
        check(None, 100, 300, None);
    }
}
