//! Answers of a broker that are lost: it has done what it was asked, and its connection is cut before it can say so.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::cluster::Cluster;
use super::place::{Place, replies, reply};
use super::proxy::Proxy;
use super::proxy::wire::{END_TRANSACTION, Losses, SETTLING};
use super::support::*;
use super::{cluster, said};

/// A bridge behind the proxy of the broker, which one of these tests has at a time.
struct Behind {
    place: Place,
    sink: Sink,
    bridge: Bridge,
    proxy: &'static Proxy,
    written: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Behind {
    fn start() -> Option<Behind> {
        static ALONE: Mutex<()> = Mutex::new(());
        let (alone, cluster): (_, &Cluster) = (ALONE.lock().unwrap_or_else(PoisonError::into_inner), cluster()?);
        let mut place = Place::new(&cluster.direct());
        place.servers = cluster.proxied();
        let out = place.out();
        let sink = Sink::start(move |call, _| match call.data() {
            data if call.is_wake() || data.starts_with("quiet") => answer(204),
            data => Answer::events(&[reply(call, &out, &data)]),
        });
        let bridge = place.start("one", &sink);
        let mut behind = Behind { place, sink, bridge, proxy: &cluster.proxies[0], written: 0, _alone: alone };
        // What it needs at first is behind it.
        behind.write("loud", 30);
        behind.place.wait_until_settled();
        Some(behind)
    }

    fn write(&mut self, word: &str, count: usize) {
        let records =
            (self.written..self.written + count).map(|n| record(&format!("k{}", n % 7), &format!("{word} {n}")));
        self.place.write(records.collect());
        self.written += count;
    }

    /// Each record was delivered once, and what was replied to it stands there once for who reads committed.
    fn all_is_well(self) {
        wait_within(Duration::from_secs(40), "no lag", || (self.place.lag() == 0).then_some(()));
        self.bridge.stop();
        let (mut calls, mut expected) = (BTreeMap::new(), BTreeMap::new());
        for data in self.sink.deliveries().iter().map(Call::data) {
            if data.starts_with("loud") {
                expected.insert(data.clone(), 1);
            }
            *calls.entry(data).or_insert(0) += 1;
        }
        assert_eq!(calls.len(), self.written);
        calls.retain(|_, count| *count != 1);
        assert!(calls.is_empty(), "delivered again: {calls:?}");
        assert_eq!(replies(&self.place.read(&self.place.out())), expected);
    }
}

// promise: BRIDGE: an answer of the broker that is lost doubles nothing, and nothing is delivered again
#[test]
fn whichever_answer_of_the_broker_is_lost_nothing_is_doubled_or_delivered_again() {
    let Some(mut behind) = Behind::start() else { return };
    for kind in SETTLING {
        behind.proxy.lose(Losses { kinds: vec![kind], one_in: 1, left: 1, ..Losses::default() });
        wait("the loss of an answer", || {
            let words = ["loud", "quiet"];
            words.into_iter().for_each(|word| behind.write(word, 4));
            std::thread::sleep(Duration::from_millis(20));
            (behind.proxy.lost() == [kind]).then_some(())
        });
        wait_within(Duration::from_secs(40), "no lag", || (behind.place.lag() == 0).then_some(()));
    }
    behind.all_is_well();
}

#[test]
fn many_lost_answers_double_nothing_and_nothing_is_delivered_again() {
    let Some(mut behind) = Behind::start() else { return };
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let chance = fastrand::Rng::with_seed(seed);
    behind.proxy.lose(Losses { kinds: SETTLING.to_vec(), one_in: 4, left: 10, chance, ..Losses::default() });
    wait_within(Duration::from_secs(60), "ten lost answers", || {
        behind.write("loud", 6);
        behind.write("quiet", 2);
        std::thread::sleep(Duration::from_millis(20));
        (behind.proxy.lost().len() == 10).then_some(())
    });
    behind.all_is_well();
}

// promise: BRIDGE: a transaction whose end is not known is written again only when its offsets are not there
#[test]
fn a_commit_whose_answer_is_lost_with_the_broker_is_found_when_it_is_back() {
    let Some(mut behind) = Behind::start() else { return };
    let kinds = vec![END_TRANSACTION];
    behind.proxy.lose(Losses { kinds, one_in: 1, left: 1, then_hole: true, ..Losses::default() });
    behind.write("loud", 1);
    wait_within(Duration::from_secs(60), "who looks for a transaction's end", || {
        said().contains("the end of a transaction is not known").then_some(())
    });
    behind.write("loud", 5);
    behind.proxy.hole(false);
    behind.all_is_well();
}
