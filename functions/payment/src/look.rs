//! A look at the chain. On a wake the node is asked for the blocks since the last look: bounded in number and time, by hash,
//! lowest first. Nothing is looked at while nothing is open.

use domain::asset;
use domain::deposit::chain::{KEPT_MAX, Kept};
use domain::deposit::start::Start;
use guest::{Db, Problem, now_ms, variable};

use crate::node::{Block, Blocks, Node, Tip, away};
use crate::store::chain::{Open, Watch};
use crate::{settings, store};

/// How many new blocks one look takes; what is left is the next wake's.
const BLOCKS_PER_LOOK: u64 = 64;
/// How long blocks are asked for: with a slow node a look takes fewer of them, but always one.
const READING_MS: i64 = 10_000;
/// When no payment is expected any more (reverts, late and excess money), looks become rarer the longer nothing has moved:
/// a quarter of that time lies between two, at most this.
const STANDING_INTERVAL_MS: i64 = 10 * 60 * 1000;
const RARER: i64 = 4;

/// What a wake brings: a look at the chain, or the instant until which there is no need for one.
pub enum Glance {
    /// It is not time, or nothing is open.
    Rest(Option<i64>),
    /// What the chain shows.
    Look(Box<Look>),
}

/// The chain since the last look.
pub struct Look {
    /// Of the watch that it continues.
    pub version: i64,
    /// When it began: what is due then is due, if the tip was reached.
    pub at_ms: i64,
    /// Where the chain stands.
    pub tip: Tip,
    /// Lowest first.
    pub blocks: Vec<Block>,
    /// Whether there are more blocks up to the tip.
    pub is_behind: bool,
    /// Where the kept blocks stand towards `blocks`.
    pub continuity: Continuity,
    /// How often is looked.
    pub intervals: Intervals,
    /// EIP-155 chain id.
    pub chain: u64,
}

/// Where the kept blocks stand towards those of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// The blocks join the kept ones.
    Joined,
    /// Nothing is kept, or only from before idleness: it starts anew, and the kept blocks are forgotten.
    Forgotten,
    /// The development chain began anew: the kept blocks are dropped with everything in them.
    OtherChain,
}

/// How often is looked.
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    /// Between two looks while money is awaited.
    pub scan_ms: i64,
}

/// Looks at the chain, if it is time.
pub async fn gather(db: &Db) -> Result<Glance, Problem> {
    let intervals = Intervals { scan_ms: settings::number("scan_interval_ms").await? };
    let watch = store::chain::watch(db).await?;
    let open = store::chain::open(db, watch.looked_ms).await?;
    let at_ms = now_ms();
    match intervals.next_ms(&watch, open, at_ms) {
        Some(next_ms) if next_ms <= at_ms => look(db, watch, intervals, at_ms).await,
        rest => Ok(Glance::Rest(rest)),
    }
}

impl Intervals {
    /// When the chain is to be looked at; a clock that was set back does not put it off.
    pub fn next_ms(&self, watch: &Watch, open: Open, now_ms: i64) -> Option<i64> {
        let interval_ms = match open {
            Open::Nothing => return None,
            _ if watch.is_behind => return Some(now_ms),
            Open::Awaited => self.scan_ms,
            Open::Monitored => {
                ((watch.looked_ms - watch.moved_ms) / RARER).clamp(self.scan_ms, STANDING_INTERVAL_MS.max(self.scan_ms))
            }
        };
        Some((watch.looked_ms + interval_ms).min(now_ms + interval_ms))
    }
}

impl Look {
    /// What time it is as far as the chain was read. Before the tip that is the last block's time: money that was in time
    /// may stand in a block that is not read yet.
    pub fn seen_ms(&self) -> i64 {
        match self.blocks.last() {
            Some(last) if self.is_behind => last.at_ms.min(self.at_ms),
            _ => self.at_ms,
        }
    }
}

async fn look(db: &Db, watch: Watch, intervals: Intervals, at_ms: i64) -> Result<Glance, Problem> {
    let chain = settings::chain().await?;
    let node = Node::new(variable("chain_url").await?, chain);
    let tip = node.tip().await?;
    let kept = store::chain::kept(db).await?;
    let continuity = continuity(&watch, &kept, &tip, chain)?;
    let since_ms = store::chain::open_since_ms(db, watch.looked_ms).await?;
    let (continuity, start) = start(&node, continuity, &kept, &tip, since_ms).await?;
    let kept = if continuity == Continuity::Joined { kept } else { Kept::default() };
    let reading_since_ms = now_ms();
    let is_late = || now_ms() - reading_since_ms >= READING_MS;
    let (blocks, is_behind) = read(&node, &kept, &tip, start, is_late).await?;
    let version = watch.version;
    Ok(Glance::Look(Box::new(Look { version, at_ms, tip, blocks, is_behind, continuity, intervals, chain })))
}

fn continuity(watch: &Watch, kept: &Kept, tip: &Tip, chain: u64) -> Result<Continuity, Problem> {
    let is_far = kept.head().is_none_or(|head| head.height + KEPT_MAX < tip.height);
    let is_idle = watch.is_idle || kept.head().is_none();
    if !watch.genesis.is_empty() && watch.genesis != tip.genesis {
        // A real chain never begins anew: nobody loses money because a node was wired to another one.
        let is_development = chain == asset::DEVELOPMENT;
        let refusal = || away(format!("the node's block 0 is {}, not {}", tip.genesis, watch.genesis));
        return is_development.then_some(Continuity::OtherChain).ok_or_else(refusal);
    }
    Ok(if is_idle && is_far { Continuity::Forgotten } else { Continuity::Joined })
}

/// The lowest block to read where the kept ones are given up, unless it is nearer to go on from them.
async fn start(
    node: &impl Blocks,
    continuity: Continuity,
    kept: &Kept,
    tip: &Tip,
    open_since_ms: Option<i64>,
) -> Result<(Continuity, u64), Problem> {
    let floor = match continuity {
        Continuity::Joined => return Ok((continuity, 0)),
        Continuity::Forgotten => kept.head().map_or(0, |head| head.height),
        Continuity::OtherChain => 0,
    };
    let mut start = Start::search(floor, tip.height, open_since_ms);
    while let Some(height) = start.asks() {
        start.hear(node.time_at(height).await?);
    }
    let goes_on = continuity == Continuity::Forgotten && kept.head().is_some() && start.found() == floor;
    Ok((if goes_on { Continuity::Joined } else { continuity }, start.found()))
}

/// The blocks from the kept ones (from `start` where there are none) towards the tip, lowest first, and whether there are
/// more.
async fn read(
    node: &impl Blocks,
    kept: &Kept,
    tip: &Tip,
    start: u64,
    is_late: impl Fn() -> bool,
) -> Result<(Vec<Block>, bool), Problem> {
    let first_new = kept.head().map_or(start, |head| head.height + 1);
    // A tip below our head is a lagging node's, or a fork that is still too short to count.
    if kept.knows(&tip.hash) || tip.height + 1 < first_new {
        return Ok((Vec::new(), false));
    }
    let mut blocks = joining(node, kept, tip, first_new.min(tip.height)).await?;
    let goal = tip.height.min(first_new + BLOCKS_PER_LOOK - 1);
    while let Some(below) = blocks.last().map(|block| &block.link).filter(|link| link.height < goal && !is_late()) {
        let block = node.block(&hash_at(node, tip, below.height + 1).await?).await?;
        // Where the chain has changed between two answers, the next look finds out.
        if block.link.parent != below.hash {
            break;
        }
        blocks.push(block);
    }
    let is_behind = blocks.last().is_some_and(|block| block.link.height < tip.height);
    Ok((blocks, is_behind))
}

/// The block at a height, and below it those that were reorganised down to the kept ones; lowest first.
async fn joining(node: &impl Blocks, kept: &Kept, tip: &Tip, height: u64) -> Result<Vec<Block>, Problem> {
    let mut hash = hash_at(node, tip, height).await?;
    let mut blocks = Vec::new();
    while blocks.len() <= KEPT_MAX as usize + 1 {
        let block = node.block(&hash).await?;
        let is_joined = kept.is_joined_by(&block.link, height);
        hash = block.link.parent.clone();
        blocks.push(block);
        if is_joined {
            blocks.reverse();
            return Ok(blocks);
        }
    }
    Err(Problem::internal("the node's blocks join none of those that are kept"))
}

async fn hash_at(node: &impl Blocks, tip: &Tip, height: u64) -> Result<String, Problem> {
    if height == tip.height { Ok(tip.hash.clone()) } else { node.hash_at(height).await }
}

#[cfg(test)]
mod tests;
