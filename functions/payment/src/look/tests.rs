//! When is looked, and what of the chain is read, on a node made of blocks.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use domain::amount::{Amount, Money};
use domain::asset::Asset;
use domain::deposit::chain::Link;
use domain::facts::payment::Price;
use domain::invoice::{Happening, Invoice, Payment, Terms};
use guest::Code;

use super::*;

const INTERVALS: Intervals = Intervals { scan_ms: 1_000 };
const MINUTE_MS: i64 = 60_000;
const BLOCK_MS: i64 = 12_000;

fn watch(looked_ms: i64, moved_ms: i64) -> Watch {
    Watch { genesis: "g".into(), looked_ms, moved_ms, is_behind: false, is_idle: false, version: 1 }
}

fn idle() -> Watch {
    Watch { is_idle: true, ..watch(0, 0) }
}

fn tip(genesis: &str, height: u64) -> Tip {
    Tip { genesis: genesis.into(), hash: format!("a{height}"), height, finalized: 0 }
}

fn link(branch: &str, parent: &str, height: u64) -> Link {
    Link { hash: format!("{branch}{height}"), parent: format!("{parent}{}", height - 1), height }
}

fn kept(height: u64) -> Kept {
    Kept::new(vec![link("a", "a", height)])
}

fn time_of(height: u64) -> i64 {
    i64::try_from(height).expect("low") * BLOCK_MS
}

/// A chain of `a1`, `a2`, … with a block every 12 s, except that `odd` may stand in for one of them.
#[derive(Default)]
struct Chain {
    odd: Option<Link>,
    asked: Cell<usize>,
}

impl Blocks for Chain {
    async fn block(&self, hash: &str) -> Result<Block, Problem> {
        self.asked.set(self.asked.get() + 1);
        let height = hash[1..].parse().expect("a height");
        let link = self.odd.clone().filter(|odd| odd.hash == hash).unwrap_or_else(|| link("a", "a", height));
        Ok(Block { link, at_ms: time_of(height), payments: Vec::new() })
    }

    async fn hash_at(&self, height: u64) -> Result<String, Problem> {
        let odd = self.odd.as_ref().filter(|odd| odd.height == height);
        Ok(odd.map_or_else(|| format!("a{height}"), |odd| odd.hash.clone()))
    }

    async fn time_at(&self, height: u64) -> Result<i64, Problem> {
        Ok(time_of(height))
    }
}

/// What a future is that never waits.
fn now<T>(future: impl Future<Output = Result<T, Problem>>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome.expect("answers"),
        Poll::Pending => panic!("it waits for something"),
    }
}

/// The heights that are read, from the lowest to the highest, and whether there are more.
fn heights(chain: &Chain, kept: &Kept, tip_height: u64, start: u64) -> (Vec<u64>, bool) {
    let (blocks, is_behind) = now(read(chain, kept, &tip("g", tip_height), start, || false));
    (blocks.iter().map(|block| block.link.height).collect(), is_behind)
}

/// Where a look begins for an idle house that kept one block.
fn begins(kept_at: Option<u64>, tip_height: u64, open_since_ms: i64) -> (Continuity, u64) {
    let (kept, tip) = (kept_at.map_or_else(Kept::default, kept), tip("g", tip_height));
    let continuity = continuity(&idle(), &kept, &tip, 1).expect("the same chain");
    now(start(&Chain::default(), continuity, &kept, &tip, Some(open_since_ms)))
}

// promise: DOMAIN: nothing polls while nothing is open
#[test]
fn nothing_is_looked_at_while_nothing_is_open() {
    assert_eq!(INTERVALS.next_ms(&watch(0, 0), Open::Nothing, MINUTE_MS), None);
}

#[test]
fn what_is_awaited_is_looked_at_every_scan_interval() {
    assert_eq!(INTERVALS.next_ms(&watch(5_000, 0), Open::Awaited, 5_100), Some(6_000));
}

#[test]
fn what_is_only_monitored_is_looked_at_more_rarely_the_longer_nothing_moves() {
    let interval_ms = |quiet_ms| {
        let now_ms = 1_000 * MINUTE_MS;
        INTERVALS.next_ms(&watch(now_ms, now_ms - quiet_ms), Open::Monitored, now_ms).map(|next| next - now_ms)
    };
    assert_eq!(interval_ms(0), Some(1_000));
    assert_eq!(interval_ms(8 * MINUTE_MS), Some(2 * MINUTE_MS));
    assert_eq!(interval_ms(500 * MINUTE_MS), Some(10 * MINUTE_MS));
}

#[test]
fn who_is_behind_goes_on_at_once_and_a_clock_set_back_does_not_put_it_off() {
    let behind = Watch { is_behind: true, ..watch(5_000, 0) };
    assert_eq!(INTERVALS.next_ms(&behind, Open::Monitored, 5_100), Some(5_100));
    assert_eq!(INTERVALS.next_ms(&watch(MINUTE_MS, 0), Open::Awaited, 5_000), Some(6_000));
}

// promise: DOMAIN: after idleness the cursor starts 256 blocks below the tip or at the oldest thing still open
#[test]
fn after_idleness_it_starts_anew_where_nothing_that_is_open_is_missed() {
    assert_eq!(begins(Some(1), 1_000, time_of(999)), (Continuity::Forgotten, 744), "opened just now");
    let (continuity, start) = begins(Some(1), 10_000, time_of(9_000));
    assert_eq!(continuity, Continuity::Forgotten);
    assert!((8_900..=9_000).contains(&start), "opened a thousand blocks ago, and nobody woke us: {start}");
    assert_eq!(begins(Some(8_950), 10_000, time_of(9_000)), (Continuity::Joined, 8_950), "goes on from what is kept");
    assert_eq!(begins(None, 10_000, time_of(0)).1, 0, "the first look reads from the oldest thing open as well");
}

#[test]
fn it_goes_on_where_it_was_while_something_was_open_or_the_tip_is_near() {
    let continuity = |watch: &Watch, kept_at| continuity(watch, &kept(kept_at), &tip("g", 1_000), 1);
    assert_eq!(continuity(&idle(), 900), Ok(Continuity::Joined));
    assert_eq!(continuity(&watch(0, 0), 1), Ok(Continuity::Joined));
}

#[test]
fn another_block_0_takes_money_back_on_the_development_chain_alone() {
    let continuity = |chain| continuity(&watch(0, 0), &kept(1), &tip("other", 1), chain);
    assert_eq!(continuity(asset::DEVELOPMENT), Ok(Continuity::OtherChain));
    assert_eq!(continuity(1).map_err(|problem| problem.code), Err(Code::ChainUnavailable));
}

#[test]
fn blocks_are_read_up_to_the_tip_or_as_many_as_one_look_takes() {
    assert_eq!(heights(&Chain::default(), &kept(5), 7, 0), (vec![6, 7], false));
    assert_eq!(heights(&Chain::default(), &Kept::default(), 102, 100), (vec![100, 101, 102], false));
    let (read, is_behind) = heights(&Chain::default(), &kept(5), 1_000, 0);
    assert_eq!((read.len(), read.last(), is_behind), (64, Some(&69), true));
    assert_eq!(heights(&Chain::default(), &kept(5), 5, 0), (vec![], false));
    assert_eq!(heights(&Chain::default(), &kept(5), 3, 0), (vec![], false), "a lagging node's tip is no news");
}

#[test]
fn with_a_slow_node_it_keeps_what_was_read_and_always_one_block() {
    let read_in = |blocks_max| {
        let chain = Chain::default();
        let (blocks, is_behind) = now(read(&chain, &kept(5), &tip("g", 1_000), 0, || chain.asked.get() >= blocks_max));
        (blocks.len(), is_behind)
    };
    assert_eq!((read_in(0), read_in(9)), ((1, true), (9, true)));
}

// promise: DOMAIN: a different parent walks back to the common ancestor, and the blocks above it are dropped
#[test]
fn what_was_reorganised_is_read_again_from_the_common_ancestor() {
    let kept = Kept::new(vec![link("a", "a", 5), link("b", "a", 6), link("b", "b", 7)]);
    assert_eq!(heights(&Chain::default(), &kept, 9, 0), (vec![6, 7, 8, 9], false));
    assert_eq!(heights(&Chain::default(), &kept, 7, 0), (vec![6, 7], false), "a fork of the same height");
}

#[test]
fn a_chain_that_changes_between_two_answers_is_read_by_the_next_look() {
    let chain = Chain { odd: Some(link("c", "c", 8)), ..Chain::default() };
    assert_eq!(heights(&chain, &kept(5), 9, 0), (vec![6, 7], true));
}

fn payment() -> Payment {
    Payment { amount: Amount::new(60), is_confirmed: false, is_late: false }
}

fn invoice(expires_ms: i64) -> Invoice {
    let eth = Asset::parse("ETH").expect("listed");
    let due = Amount::new(120);
    let terms = Terms {
        id: "inv_1".into(),
        merchant: "usr_m".into(),
        order_id: None,
        price: Price { currency: eth, amount: due },
        due: Money::new(eth, due),
        rate: None,
        tolerance_bps: 0,
        chain: 1,
        address: "0x".into(),
        created_ms: 0,
        expires_ms,
        metadata: serde_json::Map::new(),
    };
    Invoice::open(terms).0
}

/// A look of a house that slept until `at_ms`, while the chain grew to `tip_height`.
fn look_from(kept_at: u64, tip_height: u64, at_ms: i64) -> Look {
    let tip = tip("g", tip_height);
    let (blocks, is_behind) = now(read(&Chain::default(), &kept(kept_at), &tip, 0, || false));
    let (continuity, intervals) = (Continuity::Joined, INTERVALS);
    Look { version: 1, at_ms, tip, blocks, is_behind, continuity, intervals, chain: 1 }
}

#[test]
fn an_invoice_whose_second_part_stands_in_a_block_not_read_yet_does_not_expire() {
    // Both parts are paid in time, 60 blocks apart; the house stops before it has read the second one.
    let (expires_ms, morning_ms) = (time_of(140), time_of(1_000));
    let first = look_from(9, 137, morning_ms);
    assert!(first.is_behind && first.seen_ms() == time_of(73));
    let happening = Happening { payments: vec![payment()], now_ms: first.seen_ms() };
    let (open, told) = invoice(expires_ms).decide(&happening).expect("fits");
    assert_eq!((open.stage.label(), told.len()), ("new", 0));

    let second = look_from(73, 137, morning_ms);
    assert!(!second.is_behind && second.seen_ms() == morning_ms);
    let happening = Happening { payments: vec![payment(), payment()], now_ms: second.seen_ms() };
    assert_eq!(open.decide(&happening).expect("fits").0.stage.label(), "processing");
}
