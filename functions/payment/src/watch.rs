//! Takes a look at the chain in: one transaction joins its blocks to the kept ones, moves deposits and invoices, and says
//! when to look again.

use std::collections::{BTreeMap, BTreeSet};

use domain::deposit::chain::{KEPT_MAX, Kept, Link};
use domain::deposit::{self, Deposit, Origin, Place, deposit_id};
use domain::facts::payment::{self, Additional};
use domain::invoice;
use guest::{Answer, Fact, Problem, Tx};

use crate::look::{Continuity, Glance, Look};
use crate::node::{Block, Payment};
use crate::store::chain::{Open, Watch};
use crate::{invoices, store};

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
    let facts = settle(tx, changes, look.seen_ms()).await?;
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
async fn settle(tx: &Tx<'_>, changes: Changes, now_ms: i64) -> Result<Vec<Fact>, Problem> {
    let (mut additional, mut told) = (BTreeMap::new(), Vec::new());
    for id in &changes.invoices {
        let Some((invoice, version)) = store::invoice::load(tx, id).await? else { continue };
        let payments = store::deposit::payments(tx, id, invoice.terms.due.asset).await?;
        let happening = invoice::Happening { payments, now_ms };
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
