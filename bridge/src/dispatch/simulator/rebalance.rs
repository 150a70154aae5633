//! Partitions and processes of a world come and go: assigned, leaving, gone, drained, crashed; and the calm at the end, in which
//! everything has to be settled.

use super::super::*;
use super::shelf::Shelf;
use super::watch::Watch;
use super::world::World;

impl World {
    pub fn assign(&mut self) {
        let slots = self.slots(|shelf| shelf.reader.is_none());
        let Some(slot) = self.pick(&slots) else { return };
        let retries_max = self.policy.retry.retries_max;
        let shelf = self.shelf(slot);
        shelf.open(retries_max);
        let (next, metadata) = shelf.committed.clone();
        self.step(Input::Assigned { slot, next, metadata: Some(metadata) });
    }

    pub fn begin_to_leave(&mut self) {
        let slots = self.slots(|shelf| !shelf.is_leaving());
        let Some(slot) = self.pick(&slots) else { return };
        if let Some(reader) = &mut self.shelf(slot).reader {
            reader.leaving = true;
        }
        self.step(Input::Leaving(vec![slot]));
    }

    /// A partition that was leaving is gone, or one is lost without a word.
    pub fn go(&mut self) {
        let lost = self.chance.u8(..4) == 0;
        let slots = self.slots(|shelf| shelf.reader.as_ref().is_some_and(|reader| reader.leaving || lost));
        if let Some(slot) = self.pick(&slots) {
            self.gone(slot);
        }
    }

    fn gone(&mut self, slot: Slot) {
        self.last_commit();
        self.writing.retain(|_, record| record.slot != slot);
        self.busy.retain(|_, record| record.slot != slot);
        self.stopped.retain(|_, record| record.slot != slot);
        self.tell(Input::Gone(vec![slot]));
        self.shelf(slot).close();
        self.act_and_check();
    }

    pub fn drain(&mut self) {
        if self.draining.is_none() {
            self.draining = Some(self.chance.usize(..100));
            self.step(Input::Drain);
        }
    }

    /// The end of a drain: what is settled is committed, if the log takes it.
    pub fn restart(&mut self) {
        self.last_commit();
        self.crash();
    }

    pub fn crash(&mut self) {
        self.cut_commit();
        self.draining = None;
        self.machine = Machine::new(self.policy.clone(), self.chance.u64(..));
        self.watch = Watch::default();
        self.in_flight.clear();
        self.ghosts.clear();
        self.writing.clear();
        self.busy.clear();
        self.stopped.clear();
        self.shelves.values_mut().for_each(Shelf::close);
    }

    /// After the storm, everything is settled: nothing was lost, and nothing hangs.
    pub fn settle_all(&mut self) {
        if self.draining.is_some() || self.crashes {
            self.crash();
        }
        // Somebody looked at what was stopped.
        self.calm = true;
        self.let_go();
        for slot in self.slots(|shelf| shelf.reader.is_some() && shelf.is_leaving()) {
            self.gone(slot);
        }
        while self.shelves.values().any(|shelf| shelf.reader.is_none()) {
            self.assign();
        }
        let deadline = self.steps + 60_000;
        while self.shelves.values().any(|shelf| shelf.committed.0 < shelf.end) {
            assert!(self.steps < deadline, "it hangs");
            self.happen();
        }
        assert_eq!(self.machine.buffered(), (0, 0));
        assert_eq!((self.machine.lanes(), self.machine.in_flight()), (0, 0));
    }
}
