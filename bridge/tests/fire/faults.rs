//! What happens to the world from outside. Each fault lasts a while, is healed, and says whether it may make a record come twice.

use std::time::{Duration, Instant};

use crate::full;
use crate::proxy::wire::{Losses, SETTLING};
use crate::support::wait_within;
use crate::world::{Interruption, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    KillBridge,
    /// For shorter than a session.
    FreezeBridge,
    /// For longer than a session: another has its partitions meanwhile.
    LoseBridge,
    RestartBridge,
    KillBroker,
    CutConnections,
    DelayConnections,
    SwallowConnections,
    /// Brokers do what settling asks of them, and are cut off before they can say so.
    LoseAnswers,
    SinkTricks,
    /// One more bridge comes and goes.
    ComeAndGo,
    /// Nothing can be written to the topic of dead letters, until a person heals it and starts the bridges again.
    RefuseDeadLetters,
    /// Bridges come and go while the sink is slow.
    Storm,
    /// A broker has no room left, and most likely ends.
    FullDisk,
    /// An embedded log beside all this has no room left.
    FullLog,
}

/// Each of them once takes half a minute.
pub const SHORT: [Fault; 10] = [
    Fault::KillBridge,
    Fault::FreezeBridge,
    Fault::RestartBridge,
    Fault::KillBroker,
    Fault::CutConnections,
    Fault::DelayConnections,
    Fault::SwallowConnections,
    Fault::LoseAnswers,
    Fault::SinkTricks,
    Fault::ComeAndGo,
];

/// What takes longer, or comes to nothing in a short run.
const LONGER: [Fault; 5] = [Fault::LoseBridge, Fault::RefuseDeadLetters, Fault::Storm, Fault::FullDisk, Fault::FullLog];

/// All of them.
pub fn long() -> Vec<Fault> {
    SHORT.into_iter().chain(LONGER).collect()
}

const FREEZE: Duration = Duration::from_secs(3);
/// Longer than the session of a member.
const LOSS: Duration = Duration::from_secs(45);
const FULL: Duration = Duration::from_secs(5);
/// The number of the bridge that comes and goes.
const GUEST: usize = 100;

impl World {
    /// Does it, waits, and heals it.
    pub fn inflict(&mut self, fault: Fault) {
        match fault {
            Fault::KillBridge => {
                let number = self.any_bridge();
                self.replace_bridge(number);
            }
            Fault::FreezeBridge => self.freeze(FREEZE),
            Fault::LoseBridge => self.lose(),
            Fault::RestartBridge => {
                let number = self.any_bridge();
                self.stop_bridge(number);
                self.start_bridge(number);
            }
            Fault::KillBroker => self.kill_a_broker(),
            Fault::CutConnections => self.cut_connections(),
            Fault::DelayConnections => {
                self.cluster.proxies.iter().for_each(|proxy| proxy.delay(Duration::from_millis(100)));
                self.a_while(2_000);
                self.cluster.proxies.iter().for_each(|proxy| proxy.delay(Duration::ZERO));
            }
            Fault::SwallowConnections => {
                self.cluster.proxies.iter().for_each(|proxy| proxy.hole(true));
                self.a_while(1_500);
                self.cluster.proxies.iter().for_each(|proxy| proxy.hole(false));
            }
            Fault::LoseAnswers => self.lose_answers(),
            Fault::SinkTricks => {
                self.sink.play_tricks(3);
                self.a_while(2_500);
                self.sink.play_tricks(0);
            }
            Fault::ComeAndGo => self.come_and_go(2_000),
            Fault::RefuseDeadLetters => self.refuse_dead_letters(),
            Fault::FullDisk => self.fill_the_disk(),
            Fault::FullLog => full::play(self.chance.u64(..)),
            Fault::Storm => self.storm(),
        }
    }

    fn kill_a_broker(&mut self) {
        let broker = self.any_broker();
        self.cluster.kill(broker);
        // The others do its work meanwhile.
        self.wait_for_progress();
        self.cluster.revive();
    }

    fn cut_connections(&mut self) {
        for _ in 0..5 {
            self.cluster.proxies.iter().for_each(|proxy| proxy.cut());
            self.a_while(300);
        }
    }

    fn lose_answers(&mut self) {
        for proxy in &self.cluster.proxies {
            let (kinds, chance) = (SETTLING.to_vec(), self.chance.fork());
            proxy.lose(Losses { kinds, one_in: 10, left: usize::MAX, chance, ..Losses::default() });
        }
        self.a_while(2_500);
        let lost: usize = self.cluster.proxies.iter().map(|proxy| proxy.lost().len()).sum();
        println!("lost {lost} answers");
        self.cluster.proxies.iter().for_each(|proxy| proxy.lose(Losses::default()));
    }

    fn fill_the_disk(&mut self) {
        let broker = self.any_broker();
        let Some(disk) = self.disks.get(broker) else { return };
        disk.fill();
        // Time to find out, and to end; the others do its work meanwhile.
        std::thread::sleep(FULL);
        self.wait_for_progress();
        disk.free();
        // A broker without room takes its time to end, and is not there when it has.
        let revive = || self.cluster.try_revive().inspect_err(|said| println!("{said}")).ok();
        wait_within(Duration::from_secs(90), "a broker that has room again", revive);
    }

    /// One of them, when all are there: without two of three nothing goes on.
    fn any_broker(&mut self) -> usize {
        // One whose disk was full may have ended after it had been looked for.
        self.cluster.revive();
        self.chance.usize(..self.cluster.proxies.len())
    }

    fn storm(&mut self) {
        self.sink.play_tricks(5);
        (0..6).for_each(|_| self.come_and_go(500));
        self.sink.play_tricks(0);
    }

    /// About so many milliseconds.
    fn a_while(&mut self, milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(milliseconds / 2 + self.chance.u64(..milliseconds)));
    }

    fn freeze(&mut self, time: Duration) {
        let number = self.any_bridge();
        self.bridges[&number].signal("-STOP");
        std::thread::sleep(time);
        self.bridges[&number].signal("-CONT");
    }

    fn lose(&mut self) {
        let number = self.any_bridge();
        let (at, in_memory) = (Instant::now(), self.bridges[&number].number("buffered_records"));
        self.freeze(LOSS);
        // What it had is another's; what it was about is answered by both.
        self.interruptions.push(Interruption { at, in_memory });
        self.interruptions.push(Interruption { at: Instant::now(), in_memory });
    }

    fn refuse_dead_letters(&mut self) {
        // A letter's headers alone are more. Less would keep the broker from writing the marker of an aborted transaction.
        self.limit_dead_letters("150");
        let is_stopped = |world: &World| {
            let said = world.bridges.values().filter_map(|bridge| bridge.get("/health/ready"));
            said.into_iter().any(|(_, said)| said.contains("is stopped")).then_some(())
        };
        wait_within(Duration::from_secs(40), "a lane that says why it is stopped", || is_stopped(self));
        self.limit_dead_letters("1000000");
        let numbers: Vec<usize> = self.bridges.keys().copied().collect();
        for number in numbers {
            // What was refused is asked again, since nobody has written it down.
            let in_memory = self.bridges[&number].number("buffered_records");
            self.interruptions.push(Interruption { at: Instant::now(), in_memory });
            self.stop_bridge(number);
            self.start_bridge(number);
        }
    }

    fn come_and_go(&mut self, milliseconds: u64) {
        self.start_bridge(GUEST);
        let guest = &self.bridges[&GUEST];
        wait_within(Duration::from_secs(40), "partitions for the guest", || (guest.number("lanes") > 0).then_some(()));
        self.a_while(milliseconds);
        self.stop_bridge(GUEST);
    }
}
