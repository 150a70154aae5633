//! What is committed in the partitions that are ours. A transaction whose end is not known is looked for by its offsets: so each that
//! holds records has to commit something that was not committed before it, and what looks the same is marked.

use std::collections::{BTreeMap, HashMap};

use crate::log::{Commit, Partition, Position};

/// Ends a text that would be the same as the one before. It is no part of what the text tells.
const AGAIN: char = '~';

/// Commits that failed without a word whether they are there, and are remembered.
const DOUBTS_MAX: usize = 64;

/// Offset and text of each of our partitions, as the last commit left them; where that is not known, all that may stand there.
#[derive(Debug, Default)]
pub(super) struct Kept(HashMap<Partition, Vec<(i64, String)>>);

impl Kept {
    /// These partitions are ours from now on.
    pub fn gain(&mut self, positions: &[Position]) {
        let kept = |Position { partition, next, metadata }: &Position| {
            (partition.clone(), vec![(*next, metadata.clone().unwrap_or_default())])
        };
        self.0.extend(positions.iter().map(kept));
    }

    pub fn lose(&mut self, partitions: &[Partition]) {
        self.0.retain(|partition, _| !partitions.contains(partition));
    }

    pub fn holds(&self, partition: &Partition) -> bool {
        self.0.contains_key(partition)
    }

    /// These commits are in the log.
    pub fn take(&mut self, commits: &BTreeMap<&Partition, &Commit>) {
        for (partition, commit) in commits {
            if let Some(kept) = self.0.get_mut(*partition) {
                *kept = vec![(commit.next, commit.metadata.clone())];
            }
        }
    }

    /// These commits may be in the log.
    pub fn doubt(&mut self, commits: &BTreeMap<&Partition, &Commit>) {
        for commit in commits.values().filter(|commit| self.is_new(commit)).collect::<Vec<_>>() {
            if let Some(kept) = self.0.get_mut(&commit.partition) {
                kept.drain(..(kept.len() + 1).saturating_sub(DOUBTS_MAX));
                kept.push((commit.next, commit.metadata.clone()));
            }
        }
    }

    /// Whether finding these commits in the log tells that they came with their transaction.
    pub fn is_told_by(&self, commits: &BTreeMap<&Partition, &Commit>) -> bool {
        commits.values().any(|commit| self.is_new(commit))
    }

    /// The commit that is to be made instead of one of these, so that the whole tells. A text that a broker has cut to nothing
    /// cannot be marked.
    pub fn marked(&self, commits: &BTreeMap<&Partition, &Commit>) -> Option<Commit> {
        if self.is_told_by(commits) {
            return None;
        }
        let mut marked = (**commits.values().find(|commit| !commit.metadata.is_empty())?).clone();
        while !self.is_new(&marked) {
            marked.metadata.push(AGAIN);
        }
        Some(marked)
    }

    fn is_new(&self, Commit { partition, next, metadata }: &Commit) -> bool {
        let kept = self.0.get(partition);
        kept.is_none_or(|kept| kept.iter().all(|(offset, text)| (offset, text) != (next, metadata)))
    }
}

/// What a text tells, without its mark.
pub(super) fn unmarked(metadata: &str) -> &str {
    metadata.trim_end_matches(AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(next: i64, metadata: &str) -> Commit {
        Commit { partition: Partition::new("t", 0), next, metadata: metadata.into() }
    }

    fn kept(next: i64, metadata: &str) -> Kept {
        let mut kept = Kept::default();
        let metadata = Some(metadata.to_owned()).filter(|text| !text.is_empty());
        kept.gain(&[Position { partition: Partition::new("t", 0), next, metadata }]);
        kept
    }

    fn marked(kept: &Kept, commit: &Commit) -> Option<String> {
        kept.marked(&BTreeMap::from([(&commit.partition, commit)])).map(|commit| commit.metadata)
    }

    // promise: BRIDGE: a transaction whose end is not known is written again only when its offsets are not there
    #[test]
    fn no_two_commits_that_follow_each_other_look_the_same() {
        assert_eq!(marked(&kept(4, "t1.AA"), &commit(5, "t1.AA")), None, "the offset tells");
        assert_eq!(marked(&kept(5, ""), &commit(5, "t1.AA")), None, "the text tells");
        let mut kept = kept(5, "t1.AA");
        for expected in [Some("t1.AA~"), None, Some("t1.AA~")] {
            let commit = commit(5, "t1.AA");
            let text = marked(&kept, &commit);
            assert_eq!(text.as_deref(), expected);
            let made = Commit { metadata: text.unwrap_or_else(|| commit.metadata.clone()), ..commit };
            let made = BTreeMap::from([(&made.partition, &made)]);
            assert!(kept.is_told_by(&made));
            kept.take(&made);
            assert!(!kept.is_told_by(&made));
        }
        assert_eq!((unmarked("t1.AA~~"), unmarked("t1.AA"), unmarked("")), ("t1.AA", "t1.AA", ""));
    }

    #[test]
    fn what_may_be_there_is_no_proof_either() {
        let (mut kept, one, two) = (kept(5, "t1.AA"), commit(6, "t1.AA"), commit(6, "t1.AA~"));
        fn each(commit: &Commit) -> BTreeMap<&Partition, &Commit> {
            BTreeMap::from([(&commit.partition, commit)])
        }
        kept.doubt(&each(&one));
        kept.doubt(&each(&one));
        assert_eq!(marked(&kept, &one).as_deref(), Some("t1.AA~"));
        kept.doubt(&each(&two));
        assert_eq!(marked(&kept, &one).as_deref(), Some("t1.AA~~"));
        (0..2 * DOUBTS_MAX as i64).for_each(|next| kept.doubt(&each(&commit(next, ""))));
        kept.take(&each(&two));
        assert_eq!(marked(&kept, &one), None);
    }

    #[test]
    fn what_cannot_be_marked_tells_nothing() {
        let (kept, commit) = (kept(5, ""), commit(5, ""));
        assert_eq!(marked(&kept, &commit), None);
        assert!(!kept.is_told_by(&BTreeMap::from([(&commit.partition, &commit)])));
    }
}
