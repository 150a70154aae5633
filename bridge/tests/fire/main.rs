//! The real process against real brokers under faults from outside, and a checker over what the sink saw and the topics hold.
//! `SEED=n` plays the same faults again; `make soak` plays them for long, and ends with a report.

#![allow(clippy::unwrap_used)]

mod canary;
mod checker;
mod cluster;
mod disk;
mod faults;
mod full;
#[path = "../support/ports.rs"]
mod ports;
mod process;
mod proxy;
mod report;
mod sink;
mod situation;
#[path = "../support/mod.rs"]
mod support;
mod told;
mod world;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use canary::Canary;
use faults::Fault;
use report::Report;
use world::{Plan, World, target};

fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    seed
}

/// One world under `faults`, as long as they come, then calm, and the report.
fn play(plan: &Plan, faults: impl Iterator<Item = Fault>) -> Option<Report> {
    let mut world = World::start(plan)?;
    let begun = Instant::now();
    let writer = world.writer(plan.records_per_second);
    world.wait_for_progress();
    let mut canary = Canary::new(&world.cluster.direct());
    let mut inflicted = Vec::new();
    for fault in faults {
        println!("{:>6.1} s  {fault:?}", begun.elapsed().as_secs_f64());
        world.inflict(fault);
        inflicted.push((fault, world.wait_for_progress()));
        canary.sings();
    }
    drop(writer);
    world.wait_until_settled(Duration::from_secs(60));
    world.stop_all();
    let (evidence, peak_kib) = (world.evidence(), world.peak_kib);
    Some(Report::new(plan.seed, begun.elapsed().as_secs(), &inflicted, &evidence, peak_kib))
}

/// Three brokers, two bridges, a quick sink.
fn plan(seed: u64, small_disks: bool) -> Plan {
    let work = Duration::from_millis(3);
    Plan { brokers: 3, bridges: 2, records_per_second: 300, keys: 60, work, small_disks, seed }
}

/// The faults that `FAULTS=KillBroker,SinkTricks` names, or all.
fn chosen(faults: &[Fault]) -> Vec<Fault> {
    let names = std::env::var("FAULTS").unwrap_or_default();
    let named = |fault: &Fault| names.is_empty() || names.split(',').any(|name| name == format!("{fault:?}"));
    faults.iter().copied().filter(named).collect()
}

/// One world at a time: two would be in each other's way.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static WORLD: std::sync::Mutex<()> = std::sync::Mutex::new(());
    WORLD.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

// promise: BRIDGE: under kills, cuts, delays and a lying sink nothing is lost, doubled or overtaken
#[test]
fn under_fire_nothing_is_lost_doubled_or_overtaken() {
    let seed = seed();
    let _alone = alone();
    let mut faults = faults::SHORT;
    fastrand::Rng::with_seed(seed).shuffle(&mut faults);
    let Some(report) = play(&plan(seed, false), chosen(&faults).into_iter()) else { return };
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");
    assert!(report.records > 1_000 && report.dead_letters > 0 && !report.tricks.is_empty(), "no fire: {report}");
}

// promise: BRIDGE: the work goes as much faster as there are bridges in the group, and nothing is delivered twice
#[test]
fn three_bridges_are_thrice_as_fast_and_a_fourth_may_come_and_go() {
    let seed = seed();
    let (_alone, work) = (alone(), Duration::from_millis(60));
    let plan = Plan { brokers: 1, bridges: 1, records_per_second: 0, keys: 600, work, small_disks: false, seed };
    let Some(mut world) = World::start(&plan) else { return };
    world.write(9_000);
    let mut rates = Vec::new();
    for bridges in 1..=3 {
        if bridges > 1 {
            world.start_bridge(bridges - 1);
        }
        let works = |world: &World| world.bridges.values().all(|bridge| bridge.number("in_flight") > 8);
        support::wait_within(Duration::from_secs(40), "work for everybody", || works(&world).then_some(()));
        let (before, begun) = (world.sink.finals(), Instant::now());
        std::thread::sleep(Duration::from_secs(3));
        rates.push((world.sink.finals() - before) as f64 / begun.elapsed().as_secs_f64());
    }
    println!("records per second of one, two and three bridges: {rates:.0?}");
    // However much the three have done meanwhile, the fourth finds work.
    world.write(4_000);
    world.inflict(Fault::ComeAndGo);
    world.wait_until_settled(Duration::from_secs(60));
    world.stop_all();
    let verdict = checker::check(&world.evidence());
    assert_eq!((verdict.violations, verdict.repeats), (vec![], 0), "nothing was interrupted: SEED={seed}");
    assert!(rates[1] > 1.5 * rates[0] && rates[2] > 2.0 * rates[0], "{rates:?}");
}

// promise: BRIDGE: an embedded log whose disk is full refuses pushes as a whole, keeps answers until it can write them, and says so
#[test]
fn an_embedded_log_whose_disk_is_full_loses_and_doubles_nothing() {
    full::play(seed());
}

/// `SOAK_SECONDS` long; the report goes to `SOAK_REPORT`.
#[test]
#[ignore = "long: make soak"]
fn soak() {
    let seed = seed();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let time = Duration::from_secs(number("SOAK_SECONDS").unwrap_or(600));
    let all = chosen(&faults::long());
    let (mut chance, mut begun) = (fastrand::Rng::with_seed(seed), None);
    let faults = std::iter::from_fn(|| {
        let fault = all[chance.usize(..all.len())];
        (begun.get_or_insert_with(Instant::now).elapsed() < time).then_some(fault)
    });
    let report = play(&plan(seed, true), faults).expect("soaking needs Java and Maven");
    let file = std::env::var_os("SOAK_REPORT").map_or_else(|| target().join("soak.json"), PathBuf::from);
    std::fs::write(&file, report.json()).unwrap();
    println!("{report}the same as JSON: {}", file.display());
    assert!(report.violations.is_empty(), "SEED={seed}");
}
