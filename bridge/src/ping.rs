//! PingSources: an event on a schedule, delivered with retries. Its id comes from its name and the scheduled instant, so that two
//! bridges send the same event and the sink can tell.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use event::Event;
use jiff::{Timestamp, Zoned};
use uuid::Uuid;

use crate::answer::Meaning;
use crate::clock::Clock;
use crate::config::{Delivery, Ping};
use crate::http::Sender;
use crate::request;
use crate::wakes::Wakes;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Sends the events of one schedule for ever.
pub async fn run(ping: Ping, sender: Rc<Sender>, wakes: Wakes, clock: Clock) {
    let mut last = clock.now();
    while let Some(instant) = next(&ping, last) {
        clock.sleep_until(instant.as_millisecond()).await;
        // After a jump of the clock the last instant that was missed is made up for, and the others are skipped.
        let instant = latest(&ping, instant, clock.now());
        deliver(&ping, instant, &sender, &wakes, &clock).await;
        // What fell due during the call is next.
        last = instant;
    }
    tracing::warn!(ping = ping.name, "the schedule has no next instant");
}

/// The first scheduled instant after `after`.
fn next(ping: &Ping, after: Timestamp) -> Option<Timestamp> {
    let zoned: Zoned = after.to_zoned(ping.timezone.clone());
    ping.schedule.find_next_occurrence(&zoned, false).ok().map(|zoned| zoned.timestamp())
}

fn latest(ping: &Ping, instant: Timestamp, now: Timestamp) -> Timestamp {
    let zoned = now.to_zoned(ping.timezone.clone());
    let before = ping.schedule.find_previous_occurrence(&zoned, true).ok().map(|zoned| zoned.timestamp());
    before.filter(|before| *before > instant).unwrap_or(instant)
}

/// The event of one instant.
fn event_of(ping: &Ping, instant: Timestamp) -> Event {
    let source = format!("/apis/v1/namespaces/{}/pingsources/{}", ping.namespace, ping.name);
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{source}\n{instant}").as_bytes());
    let mut event = Event::new(id.to_string(), source, "dev.knative.sources.ping");
    event.time = Some(instant.to_string());
    event.datacontenttype = ping.content_type.clone();
    event.data = ping.data.clone().map(Bytes::from);
    event.extensions.extend(ping.extensions.clone());
    event
}

/// Until it is settled, refused, out of retries, or overtaken by the next instant.
async fn deliver(ping: &Ping, instant: Timestamp, sender: &Sender, wakes: &Wakes, clock: &Clock) {
    let request = request::request_of(&event_of(ping, instant), false, false);
    let retry = Delivery::default().retry;
    let mut attempts = 0;
    while next(ping, instant).is_none_or(|overtaken| clock.now() < overtaken) {
        let outcome = sender.send(&request, TIMEOUT).await;
        if let Some(instant) = outcome.wake_at() {
            wakes.ask(&ping.sink.name, instant);
        }
        let delay = match outcome.meaning(false, clock.now()) {
            Meaning::Settled | Meaning::Reply(_) => return,
            Meaning::Refused | Meaning::Unauthorized => None,
            Meaning::Failed { retry_after, .. } => {
                attempts += 1;
                retry.delay(attempts, retry_after, fastrand::f64())
            }
            Meaning::Silent => Some(200 + fastrand::u64(..300)),
        };
        let Some(delay) = delay else { break };
        clock.sleep_until_steady(clock.steady() + delay).await;
    }
    tracing::warn!(ping = ping.name, %instant, attempts, "a scheduled event was given up");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Options};

    fn ping(schedule: &str) -> Ping {
        let text = format!(
            "apiVersion: sources.knative.dev/v1\nkind: PingSource\nmetadata: {{ name: p }}\nspec:\n  schedule: '{schedule}'\n  \
             timezone: Europe/Prague\n  data: '{{}}'\n  sink: {{ uri: 'http://h/' }}\n"
        );
        Config::parse(&[("p.yaml".into(), text)], &Options::default(), &|_| None).unwrap().pings.remove(0)
    }

    // promise: BRIDGE: the id of a PingSource's event is derived from its name and the scheduled instant
    #[test]
    fn two_bridges_send_the_same_event() {
        let instant = "2026-03-01T11:00:00Z".parse().unwrap();
        let (one, two) = (event_of(&ping("0 * * * *"), instant), event_of(&ping("0 * * * *"), instant));
        assert_eq!(one, two);
        assert_eq!(one.kind, "dev.knative.sources.ping");
        assert_ne!(one.id, event_of(&ping("0 * * * *"), "2026-03-01T12:00:00Z".parse().unwrap()).id);
    }

    // promise: BRIDGE: a PingSource's schedule has seconds where wanted, and a time zone
    #[test]
    fn schedules_follow_their_time_zone_and_may_have_seconds() {
        let after = "2026-07-01T07:59:59Z".parse().unwrap();
        assert_eq!(next(&ping("0 10 * * *"), after), Some("2026-07-01T08:00:00Z".parse().unwrap()));
        assert_eq!(next(&ping("*/10 * * * * *"), after), Some("2026-07-01T08:00:00Z".parse().unwrap()));
    }

    #[test]
    fn after_a_jump_only_the_last_missed_instant_is_sent() {
        let (missed, now) = ("2026-07-01T08:00:00Z".parse().unwrap(), "2026-07-01T12:30:00Z".parse().unwrap());
        assert_eq!(latest(&ping("0 * * * *"), missed, now), "2026-07-01T12:00:00Z".parse().unwrap());
        assert_eq!(latest(&ping("0 * * * *"), missed, missed), missed);
    }
}
