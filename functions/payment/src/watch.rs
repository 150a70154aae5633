//! The chain watch. On a wake the node is asked for the blocks since the last look, bounded and by hash; then one transaction
//! joins them to the kept ones, moves deposits and invoices, and says when to look again. Nothing is looked at while nothing
//! is open.

use std::collections::{BTreeMap, BTreeSet};

use domain::deposit::chain::{KEPT_MAX, Kept, Link};
use domain::deposit::{self, Deposit, Origin, Place, deposit_id};
use domain::facts::payment::{self, Additional};
use domain::invoice;
use guest::{Answer, Db, Fact, Problem, Tx, now_ms, variable};

use crate::node::{Block, Node, Payment, Tip};
use crate::store::chain::{Open, Watch};
use crate::{invoices, settings, store};

/// How many new blocks one look takes; what is left is the next wake's.
const BLOCKS_PER_LOOK: u64 = 64;
/// A look never fetches more: the new blocks, and as many as are kept where all of them were reorganised away.
const BLOCKS_MAX: usize = (BLOCKS_PER_LOOK + KEPT_MAX) as usize + 1;
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
    version: i64,
    /// When it began: what is due then is due.
    at_ms: i64,
    tip: Tip,
    /// Lowest first.
    blocks: Vec<Block>,
    /// Whether there are more blocks up to the tip.
    is_behind: bool,
    /// Where the kept blocks stand towards `blocks`.
    continuity: Continuity,
    intervals: Intervals,
    chain: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Continuity {
    /// The blocks join the kept ones.
    Joined,
    /// After idleness it starts anew below the tip; the kept blocks are forgotten.
    Forgotten,
    /// It is another chain: the kept blocks are dropped with everything in them.
    OtherChain,
}

#[derive(Clone, Copy)]
struct Intervals {
    scan_ms: i64,
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
    fn next_ms(&self, watch: &Watch, open: Open, now_ms: i64) -> Option<i64> {
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

async fn look(db: &Db, watch: Watch, intervals: Intervals, at_ms: i64) -> Result<Glance, Problem> {
    let chain = settings::chain().await?;
    let node = Node::new(variable("chain_url").await?, chain);
    let tip = node.tip().await?;
    let kept = store::chain::kept(db).await?;
    let continuity = continuity(&watch, &kept, &tip);
    let kept = if continuity == Continuity::Joined { kept } else { Kept::default() };
    let (blocks, is_behind) = walk(&node, &kept, &tip).await?;
    let version = watch.version;
    Ok(Glance::Look(Box::new(Look { version, at_ms, tip, blocks, is_behind, continuity, intervals, chain })))
}

fn continuity(watch: &Watch, kept: &Kept, tip: &Tip) -> Continuity {
    let is_far = kept.head().is_some_and(|head| head.height + KEPT_MAX < tip.height);
    if !watch.genesis.is_empty() && watch.genesis != tip.genesis {
        Continuity::OtherChain
    } else if watch.is_idle && is_far {
        Continuity::Forgotten
    } else {
        Continuity::Joined
    }
}

/// The blocks from the kept ones towards the tip, lowest first, and whether there are more.
async fn walk(node: &Node, kept: &Kept, tip: &Tip) -> Result<(Vec<Block>, bool), Problem> {
    let start = tip.height.saturating_sub(KEPT_MAX);
    let first_new = kept.head().map_or(start, |head| head.height + 1);
    // A tip below our head is a lagging node's, or a fork that is still too short to count.
    if kept.knows(&tip.hash) || tip.height + 1 < first_new {
        return Ok((Vec::new(), false));
    }
    let goal = tip.height.min(first_new + BLOCKS_PER_LOOK - 1);
    let is_behind = goal < tip.height;
    let mut hash = if is_behind { node.hash_at(goal).await? } else { tip.hash.clone() };
    let mut blocks = Vec::new();
    while blocks.len() < BLOCKS_MAX {
        let block = node.block(&hash).await?;
        let is_joined = kept.is_joined_by(&block.link, start);
        hash = block.link.parent.clone();
        blocks.push(block);
        if is_joined {
            blocks.reverse();
            return Ok((blocks, is_behind));
        }
    }
    Err(Problem::internal("the node's blocks join none of those that are kept"))
}

/// What a look changes.
#[derive(Default)]
struct Changes {
    deposits: Vec<(Deposit, deposit::Effect)>,
    invoices: BTreeSet<String>,
}

/// Takes a look in. One that somebody else has overtaken changes nothing.
pub async fn apply(tx: &Tx<'_>, glance: &Glance) -> Result<Answer, Problem> {
    let look = match glance {
        Glance::Rest(wake_at) => return Ok(Answer::no_content().wake_at(*wake_at)),
        Glance::Look(look) => look,
    };
    let watch = store::chain::watch(tx).await?;
    if watch.version != look.version {
        return Ok(Answer::no_content().wake_at(look.at_ms + look.intervals.scan_ms));
    }
    let mut changes = Changes::default();
    let head = join(tx, look, &mut changes).await?;
    confirm(tx, head, look.tip.finalized, &mut changes).await?;
    if !look.is_behind {
        changes.invoices.extend(store::invoice::due(tx, look.at_ms).await?);
    }
    let facts = settle(tx, changes, look.at_ms).await?;
    let moved_ms = if facts.is_empty() { watch.moved_ms } else { look.at_ms };
    let (watch, open) = finish(tx, look, Watch { moved_ms, ..watch }).await?;
    Ok(guest::tell(facts).wake_at(look.intervals.next_ms(&watch, open, look.at_ms)))
}

/// Joins the blocks to the kept ones; the height of the head afterwards.
async fn join(tx: &Tx<'_>, look: &Look, changes: &mut Changes) -> Result<u64, Problem> {
    let mut kept = store::chain::kept(tx).await?;
    if look.continuity == Continuity::Forgotten {
        store::chain::forget_all(tx).await?;
        kept = Kept::default();
    }
    let found: Vec<Link> = look.blocks.iter().map(|block| block.link.clone()).collect();
    let adoption = match look.continuity {
        Continuity::OtherChain => kept.replace(found),
        Continuity::Joined | Continuity::Forgotten => kept.adopt(found),
    };
    let adoption = adoption.map_err(|error| Problem::internal(error.to_string()))?;
    for link in &adoption.dropped {
        drop_block(tx, link, changes).await?;
    }
    for block in &look.blocks {
        store::chain::keep(tx, &block.link).await?;
        see(tx, look, block, changes).await?;
    }
    let head = adoption.added.last().or(kept.head()).map_or(0, |link| link.height);
    store::chain::forget_below(tx, head.saturating_sub(KEPT_MAX)).await?;
    Ok(head)
}

async fn drop_block(tx: &Tx<'_>, link: &Link, changes: &mut Changes) -> Result<(), Problem> {
    store::chain::drop(tx, link).await?;
    let happening = deposit::Happening::Dropped { block: link.hash.clone() };
    for (deposit, version) in store::deposit::of_block(tx, &link.hash).await? {
        move_deposit(tx, deposit, version, &happening, changes).await?;
    }
    Ok(())
}

/// Finds the payments of a block that are to our addresses.
async fn see(tx: &Tx<'_>, look: &Look, block: &Block, changes: &mut Changes) -> Result<(), Problem> {
    let receivers: BTreeSet<String> = block.payments.iter().map(|payment| payment.to.to_lower()).collect();
    let ours = store::invoice::of_addresses(tx, receivers).await?;
    for payment in &block.payments {
        if let Some(invoice) = ours.get(&payment.to.to_lower()) {
            detect(tx, look, block, payment, invoice, changes).await?;
        }
    }
    Ok(())
}

async fn detect(
    tx: &Tx<'_>,
    look: &Look,
    block: &Block,
    payment: &Payment,
    invoice: &str,
    changes: &mut Changes,
) -> Result<(), Problem> {
    let address = payment.to.to_string();
    let id = deposit_id(look.chain, &payment.txid, payment.money.asset.code(), &address, payment.ordinal);
    let place = Place { block: block.link.hash.clone(), height: block.link.height };
    if let Some((deposit, version)) = store::deposit::load(tx, &id).await? {
        return move_deposit(tx, deposit, version, &deposit::Happening::Seen(place), changes).await;
    }
    let (invoice, _) = store::invoice::load(tx, invoice).await?.ok_or_else(|| Problem::internal("no such invoice"))?;
    // A miner's clock may run ahead, ours may come late to the block: the earlier one is fair.
    let seen_ms = block.at_ms.min(look.at_ms);
    let origin = Origin {
        id,
        money: payment.money,
        chain: look.chain,
        address,
        txid: payment.txid.clone(),
        user: Some(invoice.terms.merchant.clone()),
        is_late: invoice.is_late(seen_ms),
        invoice: Some(invoice.terms.id),
    };
    let (deposit, effects) = Deposit::detect(origin, place);
    store::deposit::insert(tx, &deposit).await?;
    changes.note(deposit, effects);
    Ok(())
}

/// Deposits that now have their confirmations.
async fn confirm(tx: &Tx<'_>, head: u64, finalized: u64, changes: &mut Changes) -> Result<(), Problem> {
    let happening = deposit::Happening::Grown { head, finalized };
    for (deposit, version) in store::deposit::unconfirmed(tx).await? {
        move_deposit(tx, deposit, version, &happening, changes).await?;
    }
    Ok(())
}

async fn move_deposit(
    tx: &Tx<'_>,
    deposit: Deposit,
    version: i64,
    happening: &deposit::Happening,
    changes: &mut Changes,
) -> Result<(), Problem> {
    let before = deposit.stage.clone();
    let (deposit, effects) = deposit.decide(happening).map_err(|error| Problem::internal(error.to_string()))?;
    if deposit.stage != before {
        store::deposit::save(tx, &deposit, version).await?;
        changes.note(deposit, effects);
    }
    Ok(())
}

impl Changes {
    fn note(&mut self, deposit: Deposit, effects: Vec<deposit::Effect>) {
        self.invoices.extend(deposit.origin.invoice.clone());
        self.deposits.extend(effects.into_iter().map(|effect| (deposit.clone(), effect)));
    }
}

/// Decides the invoices that are touched or due; the facts of deposits and then of invoices.
async fn settle(tx: &Tx<'_>, changes: Changes, at_ms: i64) -> Result<Vec<Fact>, Problem> {
    let (mut additional, mut told) = (BTreeMap::new(), Vec::new());
    for id in &changes.invoices {
        let Some((invoice, version)) = store::invoice::load(tx, id).await? else { continue };
        let payments = store::deposit::payments(tx, id, invoice.terms.due.asset).await?;
        let happening = invoice::Happening { payments, now_ms: at_ms };
        let (invoice, effects) =
            invoice.decide(&happening).map_err(|refusal| Problem::internal(refusal.to_string()))?;
        store::invoice::save(tx, &invoice, version).await?;
        told.extend(invoices::facts(&invoice, &effects));
        additional.insert(id.clone(), invoice.additional());
    }
    let mut facts: Vec<Fact> = changes.deposits.iter().map(|change| deposit_fact(change, &additional)).collect();
    facts.extend(told);
    Ok(facts)
}

fn deposit_fact(change: &(Deposit, deposit::Effect), additional: &BTreeMap<String, Vec<Additional>>) -> Fact {
    let (deposit, effect) = change;
    let kind = match effect {
        deposit::Effect::Detected => payment::DEPOSIT_DETECTED,
        deposit::Effect::Confirmed => payment::DEPOSIT_CONFIRMED,
        deposit::Effect::Orphaned => payment::DEPOSIT_ORPHANED,
        deposit::Effect::Reverted => payment::DEPOSIT_REVERTED,
    };
    let invoice = deposit.origin.invoice.as_ref();
    let remarks = invoice.and_then(|invoice| additional.get(invoice)).cloned().unwrap_or_default();
    Fact::new(kind, &deposit.origin.id, &deposit.told(remarks))
}

/// Remembers how far was looked, and what is still open.
async fn finish(tx: &Tx<'_>, look: &Look, before: Watch) -> Result<(Watch, Open), Problem> {
    let looked_ms = if look.is_behind { before.looked_ms } else { look.at_ms };
    let open = store::chain::open(tx, looked_ms).await?;
    let watch = Watch {
        genesis: look.tip.genesis.clone(),
        looked_ms,
        moved_ms: before.moved_ms,
        is_behind: look.is_behind,
        is_idle: open == Open::Nothing,
        version: before.version,
    };
    store::chain::save_watch(tx, &watch).await?;
    Ok((watch, open))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVALS: Intervals = Intervals { scan_ms: 1_000 };
    const MINUTE_MS: i64 = 60_000;

    fn watch(looked_ms: i64, moved_ms: i64) -> Watch {
        Watch { genesis: "g".into(), looked_ms, moved_ms, is_behind: false, is_idle: false, version: 1 }
    }

    fn tip(genesis: &str, height: u64) -> Tip {
        Tip { genesis: genesis.into(), hash: "t".into(), height, finalized: 0 }
    }

    fn kept(height: u64) -> Kept {
        Kept::new(vec![Link { hash: "h".into(), parent: "p".into(), height }])
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
    fn after_idleness_it_starts_anew_and_otherwise_goes_on_where_it_was() {
        let idle = Watch { is_idle: true, ..watch(0, 0) };
        assert!(continuity(&idle, &kept(1), &tip("g", 1_000)) == Continuity::Forgotten);
        assert!(continuity(&idle, &kept(900), &tip("g", 1_000)) == Continuity::Joined);
        assert!(continuity(&watch(0, 0), &kept(1), &tip("g", 1_000)) == Continuity::Joined);
        assert!(continuity(&watch(0, 0), &kept(1), &tip("other", 1)) == Continuity::OtherChain);
    }
}
