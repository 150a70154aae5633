//! Commits of a world: one at a time under way, while everything else goes on. What each of them tells is checked when it begins;
//! whether it gets into the log is chance.

use super::super::*;
use super::shelf::Sample;
use super::world::World;

/// A commit under way.
pub struct Pending {
    writes: Vec<(DeliveryId, Sample)>,
    commits: Vec<Commitment>,
}

impl World {
    pub fn commit(&mut self) {
        match self.pending.take() {
            Some(pending) => self.end_commit(pending),
            None => self.begin_commit(),
        }
    }

    fn begin_commit(&mut self) {
        self.assert_nothing_to_tell();
        let keep = self.chance.u64(..4);
        let (chosen, rest) =
            std::mem::take(&mut self.writing).into_iter().partition(|(id, _)| keep == 3 || id.0 % 4 >= keep);
        self.writing = rest;
        let writes: Vec<(DeliveryId, Sample)> = chosen.into_iter().collect();
        assert!(writes.iter().all(|(id, _)| self.machine.is_writing(*id)), "what is to be written was forgotten");
        let ids: Vec<DeliveryId> = writes.iter().map(|(id, _)| *id).collect();
        let commits = self.machine.commits(&ids);
        for commit in &commits {
            self.assert_true(commit, &writes);
        }
        self.pending = Some(Pending { writes, commits });
    }

    /// What a commit tells is so, if the records of `writes` are in it. Where there is room, it tells everything.
    fn assert_true(&mut self, commit: &Commitment, writes: &[(DeliveryId, Sample)]) {
        assert!(commit.metadata.len() <= self.policy.metadata_bytes_max, "{} bytes of metadata", commit.metadata.len());
        let complete = self.is_metadata_complete;
        let shelf = self.shelf(commit.slot);
        assert!(commit.next >= shelf.committed.0, "a commit goes back");
        let beyond = metadata::decode(commit.next, &commit.metadata);
        for record in shelf.window().iter().filter(|record| record.wanted) {
            let fate = shelf.fates[record.index];
            let settled = fate.settled || writes.iter().any(|(_, write)| write == record);
            let told = record.offset < commit.next || beyond.tells(record.offset);
            assert!(settled || !told, "{record:?} is told to be settled");
            assert!(told || !settled || !complete, "{record:?} is settled and not told");
            let (attempts, counted) = (beyond.attempts_of(record.offset), shelf.attempts(*record));
            let forgotten = !complete && (attempts == 0 || !shelf.is_read(*record));
            assert!(told || attempts == counted || forgotten, "{record:?}: {attempts} attempts, and not {counted}");
        }
    }

    /// It comes into the log, or not, or not as it is.
    fn end_commit(&mut self, pending: Pending) {
        let longest = pending.commits.iter().map(|commit| commit.metadata.len()).max().unwrap_or(0);
        if longest > self.broker_metadata_max {
            self.is_metadata_complete = false;
            self.policy.metadata_bytes_max = (longest - 1) / 2;
            self.step(Input::MetadataMax((longest - 1) / 2));
            return self.not_committed(pending, None);
        }
        match self.chance.u8(..40) {
            0..6 if !self.calm => self.not_committed(pending, None),
            6 if !self.calm => {
                let poison = self.chance.usize(..pending.writes.len().max(1));
                self.not_committed(pending, Some(poison));
            }
            _ => self.committed(pending),
        }
    }

    fn committed(&mut self, pending: Pending) {
        let ids = pending.writes.iter().map(|(id, _)| *id).collect();
        self.take_to_the_log(pending);
        self.step(Input::Written(ids));
    }

    fn take_to_the_log(&mut self, pending: Pending) {
        for (_, record) in pending.writes {
            // Its partition may have gone meanwhile, and may even be back.
            let shelf = self.shelf(record.slot);
            if shelf.reader.is_some() && !shelf.fates[record.index].settled {
                shelf.settle(record);
                self.lane_ends(record);
            }
        }
        for Commitment { slot, next, metadata } in pending.commits {
            self.shelf(slot).commit(next, metadata);
        }
    }

    /// `poison` is the write that the log will never take.
    fn not_committed(&mut self, pending: Pending, poison: Option<usize>) {
        let mut writes = pending.writes;
        if let Some((id, record)) = poison.filter(|poison| *poison < writes.len()).map(|poison| writes.remove(poison)) {
            self.stop_lane(record);
            self.step(Input::NotWritable { id, reason: "no such topic".into() });
            assert!(!self.machine.stopped().is_empty());
        }
        self.writing.extend(writes);
        self.step(Input::NotCommitted(pending.commits.into_iter().map(|commit| commit.slot).collect()));
    }

    /// The process ends while a commit is under way: it may be in the log all the same.
    pub fn cut_commit(&mut self) {
        if let Some(pending) = self.pending.take().filter(|_| self.chance.bool()) {
            let longest = pending.commits.iter().map(|commit| commit.metadata.len()).max().unwrap_or(0);
            if longest <= self.broker_metadata_max {
                self.take_to_the_log(pending);
            }
        }
    }

    /// A partition goes: the edge waits for the commit under way, and commits once more if there is time.
    pub fn last_commit(&mut self) {
        for _ in 0..self.chance.u8(..4) {
            self.commit();
        }
        if self.pending.is_some() {
            self.commit();
        }
    }
}
