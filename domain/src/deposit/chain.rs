//! Which blocks are on the chain: the last blocks are kept with their parents; newer ones are joined to them by hash, never
//! by number. A different parent means a reorganisation: the kept blocks above the common ancestor are dropped.

/// How many blocks are kept: deeper reorganisations are not followed.
pub const KEPT_MAX: u64 = 256;

/// A block as far as the chain's shape goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its hash.
    pub hash: String,
    /// The hash of the block below it.
    pub parent: String,
    /// Its number.
    pub height: u64,
}

/// The blocks that we hold to be on the chain, from the lowest to the head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept(Vec<Link>);

/// What taking newer blocks in does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// No longer on the chain, highest first.
    pub dropped: Vec<Link>,
    /// Newly on the chain, lowest first.
    pub added: Vec<Link>,
}

/// Why blocks cannot be joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A block's parent is not the block before it.
    #[error("block {0} is not linked to the block below it")]
    Unlinked(String),
    /// The lowest of them hangs in the air.
    #[error("block {0} does not join the blocks that are kept")]
    Gap(String),
}

impl Kept {
    /// From the lowest to the highest, as they are stored.
    pub fn new(links: Vec<Link>) -> Self {
        Kept(links)
    }

    /// The highest block.
    pub fn head(&self) -> Option<&Link> {
        self.0.last()
    }

    /// Whether a block is held to be on the chain.
    pub fn knows(&self, hash: &str) -> bool {
        self.0.iter().any(|link| link.hash == hash)
    }

    /// Whether walking from the tip towards older blocks may end at this one: its parent is known, or it is as low as
    /// anything that is kept (`start` where nothing is).
    pub fn is_joined_by(&self, link: &Link, start: u64) -> bool {
        let floor = self.0.first().map_or(start, |lowest| lowest.height);
        self.knows(&link.parent) || link.height <= floor
    }

    /// Gives up all kept blocks for those of another chain, lowest first.
    pub fn replace(&self, found: Vec<Link>) -> Result<Adoption, ChainError> {
        let added = Kept::default().adopt(found)?.added;
        Ok(Adoption { dropped: self.0.iter().rev().cloned().collect(), added })
    }

    /// Takes in blocks that were found by walking, lowest first.
    pub fn adopt(&self, found: Vec<Link>) -> Result<Adoption, ChainError> {
        if let Some(pair) = found.windows(2).find(|pair| pair[1].parent != pair[0].hash) {
            return Err(ChainError::Unlinked(pair[1].hash.clone()));
        }
        let Some(lowest) = found.first() else { return Ok(Adoption { dropped: Vec::new(), added: Vec::new() }) };
        if !self.0.is_empty() && !self.is_joined_by(lowest, 0) {
            return Err(ChainError::Gap(lowest.hash.clone()));
        }
        let ancestor = self.0.iter().position(|link| link.hash == lowest.parent);
        let kept = ancestor.map_or(0, |at| at + 1);
        Ok(Adoption { dropped: self.0[kept..].iter().rev().cloned().collect(), added: found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    fn link(name: &str, parent: &str, height: u64) -> Link {
        Link { hash: name.into(), parent: parent.into(), height }
    }

    fn kept() -> Kept {
        Kept::new(vec![link("a", "-", 5), link("b", "a", 6), link("c", "b", 7)])
    }

    fn names(links: &[Link]) -> String {
        links.iter().map(|link| link.hash.as_str()).collect()
    }

    // promise: DOMAIN: a different parent walks back to the common ancestor, and the blocks above it are dropped
    #[test]
    fn a_different_parent_drops_the_blocks_above_the_common_ancestor() {
        let adoption = kept().adopt(vec![link("B", "a", 6), link("C", "B", 7), link("D", "C", 8)]).expect("joins");
        assert_eq!((names(&adoption.dropped), names(&adoption.added)), ("cb".into(), "BCD".into()));
        let growth = kept().adopt(vec![link("d", "c", 8)]).expect("joins");
        assert_eq!((names(&growth.dropped), names(&growth.added)), ("".into(), "d".into()));
    }

    #[test]
    fn a_reorganisation_below_everything_kept_drops_everything() {
        let adoption = kept().adopt(vec![link("A", "?", 5), link("B", "A", 6)]).expect("as low as the lowest");
        assert_eq!(names(&adoption.dropped), "cba");
    }

    #[test]
    fn another_chain_drops_everything_however_high_it_is() {
        let adoption = kept().replace(vec![link("x", "w", 90)]).expect("linked");
        assert_eq!((names(&adoption.dropped), names(&adoption.added)), ("cba".into(), "x".into()));
    }

    #[test]
    fn blocks_that_hang_in_the_air_are_refused() {
        assert_eq!(kept().adopt(vec![link("e", "d", 9)]), Err(ChainError::Gap("e".into())));
        let broken = vec![link("d", "c", 8), link("f", "e", 10)];
        assert_eq!(kept().adopt(broken), Err(ChainError::Unlinked("f".into())));
    }

    #[test]
    fn walking_ends_at_a_known_parent_or_as_low_as_what_is_kept() {
        assert!(kept().is_joined_by(&link("d", "c", 8), 0));
        assert!(!kept().is_joined_by(&link("D", "C", 8), 0));
        assert!(kept().is_joined_by(&link("A", "?", 5), 0));
        assert!(Kept::default().is_joined_by(&link("x", "w", 3), 3));
        assert!(!Kept::default().is_joined_by(&link("x", "w", 3), 2));
    }

    #[test]
    fn after_any_reorganisations_the_kept_blocks_are_the_chain_of_the_node() {
        let mut chance = Chance::new("after_any_reorganisations_the_kept_blocks_are_the_chain_of_the_node");
        let mut node: Vec<Link> = vec![link("0", "-", 0)];
        let mut ours = node.clone();
        for round in 1..500 {
            node.truncate(node.len() - chance.below(node.len().min(5)));
            for at in 0..=chance.below(7) {
                let top = node.last().expect("never empty").clone();
                node.push(link(&format!("{round}.{at}"), &top.hash, top.height + 1));
            }
            let kept = Kept::new(ours.clone());
            let mut found = Vec::new();
            for link in node.iter().rev().skip_while(|tip| kept.knows(&tip.hash)) {
                found.insert(0, link.clone());
                if kept.is_joined_by(link, 0) {
                    break;
                }
            }
            let adoption = kept.adopt(found).expect("joins");
            ours.retain(|link| !adoption.dropped.contains(link));
            ours.extend(adoption.added);
            assert_eq!(ours, node, "round {round}");
        }
    }
}
