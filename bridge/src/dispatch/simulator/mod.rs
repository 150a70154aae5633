//! A seeded world around the machine: records, answers, silence, lost commits, rebalances, crashes, jumps of the clock, brokers
//! that allow little. After every step it checks what must never happen, by books of its own. Nothing in it knows how the machine
//! does its work.
//!
//! Rooms: `shelf` (a partition of the log, and what is known of its records), `world` (what happens), `rebalance` (partitions and
//! processes come and go), `commit` (what a commit tells and what becomes of it), `watch` (how the gate may behave), `policy` (the
//! rules of a world, by its seed).
//!
//! A failure prints how to play it again: `SEED=n cargo test -p bridge simulator -- --nocapture`.

mod commit;
mod policy;
mod rebalance;
mod shelf;
mod watch;
mod world;

use world::World;

const STEPS_A_WORLD: usize = 5_000;
const WORLDS: u64 = 1_500;
const THREADS: u64 = 2;

/// Plays one world to its end and answers how many steps it took.
fn play(seed: u64) -> usize {
    let mut world = World::new(seed);
    while world.steps < STEPS_A_WORLD {
        world.happen();
    }
    world.settle_all();
    world.steps
}

// promise: BRIDGE: the safe offset never passes an unsettled record, and a lane never overtakes itself
// promise: BRIDGE: `retry: 3` is three, also over restarts, and then the record is a dead letter
// promise: BRIDGE: waking has its own budget, uses up no retries, and sends one probe at a time
// promise: BRIDGE: a sink that is back is not overrun: two calls at first, and one more for each answer
#[test]
fn in_a_random_world_nothing_is_lost_overtaken_or_out_of_bounds() {
    if let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        println!("{} steps", play(seed));
        return;
    }
    let first = fastrand::u64(..u64::MAX / 2);
    println!("worlds {first} to {}", first + WORLDS - 1);
    let part =
        |thread| move || (first..first + WORLDS).filter(|seed| seed % THREADS == thread).map(play).sum::<usize>();
    let steps: usize = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..THREADS).map(|thread| scope.spawn(part(thread))).collect();
        parts.into_iter().map(|part| part.join().expect("this world fails: its seed is printed above")).sum()
    });
    println!("{steps} steps");
    assert!(steps >= 7_500_000);
}
