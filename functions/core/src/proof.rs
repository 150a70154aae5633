//! The proof of the ledger: entries are summed by the database in pages, accounts are compared with their sums, and what
//! does not hold becomes a finding.

use std::collections::BTreeMap;

use domain::account::ledger::{Balance, Side};
use domain::asset::Asset;
use domain::facts::core::{AssetProof, Finding, LEDGER, LEDGER_BROKEN, LEDGER_VERIFIED, LedgerBroken, LedgerVerified};
use guest::{Answer, Command, Db, Fact, Problem, Role, Tx};
use serde::Serialize;

use crate::store::proof::{self as store, Page, Part, Sum};

const FINDINGS_MAX: usize = 100;

/// `GET /core/v1/verify`: the proof for an operator.
pub async fn show(tx: &Tx<'_>, command: &Command) -> Result<Answer, Problem> {
    command.principal()?.require_any(&[Role::Operator, Role::Admin])?;
    let proof = Proof::of(tx).await?;
    Ok(Answer::ok(&Shown { holds: proof.findings.is_empty(), proof: proof.verified(), findings: proof.findings }))
}

/// The proof as a fact: `core.ledger.verified` or `core.ledger.broken`.
pub async fn tell(tx: &Tx<'_>) -> Result<Answer, Problem> {
    let proof = Proof::of(tx).await?;
    let fact = match proof.findings.is_empty() {
        true => Fact::new(LEDGER_VERIFIED, LEDGER, &proof.verified()),
        false => Fact::new(LEDGER_BROKEN, LEDGER, &LedgerBroken { findings: proof.findings }),
    };
    Ok(guest::tell([fact]))
}

#[derive(Serialize)]
struct Shown {
    holds: bool,
    #[serde(flatten)]
    proof: LedgerVerified,
    findings: Vec<Finding>,
}

/// What was summed so far.
#[derive(Default)]
struct Proof {
    transfers: u64,
    accounts: u64,
    limited_accounts: i64,
    assets: BTreeMap<String, Totals>,
    findings: Vec<Finding>,
    /// The account whose entries may go on in the next page.
    open: Option<Open>,
}

struct Open {
    account: String,
    totals: Totals,
    stored: Option<Balance>,
}

/// The entries of both sides.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    debit: Part,
    credit: Part,
}

impl Totals {
    fn add(&mut self, sum: &Sum) -> Result<(), Problem> {
        let side = match sum.side {
            Side::Debit => &mut self.debit,
            Side::Credit => &mut self.credit,
        };
        let too_large = || Problem::internal(format!("the sums of {} do not fit 128 bits", sum.account));
        *side = side.plus(&sum.part).ok_or_else(too_large)?;
        Ok(())
    }

    /// Nothing where more was released than was pending.
    fn balance(&self) -> Option<Balance> {
        Some(Balance {
            debits_pending: self.debit.pended.minus(self.debit.released)?,
            debits_posted: self.debit.posted,
            credits_pending: self.credit.pended.minus(self.credit.released)?,
            credits_posted: self.credit.posted,
        })
    }
}

impl Proof {
    async fn of(db: &Db) -> Result<Proof, Problem> {
        let mut proof = Proof { transfers: store::transfers(db).await?, ..Proof::default() };
        let mut page = Some(Page::default());
        while let Some(from) = page {
            for sum in store::sums(db, &from).await? {
                proof.add(sum)?;
            }
            page = store::next(db, &from).await?;
        }
        proof.close();
        proof.compare_assets();
        if store::accounts(db).await? != proof.limited_accounts {
            proof.find("account-differs", "accounts", "an account with a balance has no entries".to_owned());
        }
        for (code, transfer) in store::wrongly_resolved(db, FINDINGS_MAX as i64).await? {
            proof.find(code, &transfer, "its entries are not two halves of each step".to_owned());
        }
        Ok(proof)
    }

    fn add(&mut self, sum: Sum) -> Result<(), Problem> {
        self.assets.entry(sum.asset.clone()).or_default().add(&sum)?;
        if self.open.as_ref().is_none_or(|open| open.account != sum.account) {
            self.close();
        }
        let first = || Open { account: sum.account.clone(), totals: Totals::default(), stored: sum.stored };
        self.open.get_or_insert_with(first).totals.add(&sum)
    }

    fn close(&mut self) {
        let Some(Open { account, totals, stored }) = self.open.take() else { return };
        self.accounts += 1;
        let Some(summed) = totals.balance() else {
            return self.find("resolved-without-pending", &account, format!("{totals:?}"));
        };
        if !account.starts_with("user:") {
            return;
        }
        self.limited_accounts += 1;
        if stored != Some(summed) {
            self.find("account-differs", &account, format!("its entries make {summed:?}, it says {stored:?}"));
        }
        if !summed.holds_limit() {
            self.find("limit-exceeded", &account, format!("{summed:?}"));
        }
    }

    fn compare_assets(&mut self) {
        for (asset, totals) in std::mem::take(&mut self.assets) {
            if totals.debit != totals.credit {
                self.find("unbalanced", &asset, format!("{totals:?}"));
            }
            self.assets.insert(asset, totals);
        }
    }

    fn find(&mut self, code: &str, about: &str, detail: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { code: code.to_owned(), about: about.to_owned(), detail });
        }
    }

    fn verified(&self) -> LedgerVerified {
        let proof = |(code, totals): (&String, &Totals)| {
            let asset = Asset::parse(code).ok()?;
            Some(AssetProof { asset, debits: totals.debit.posted, credits: totals.credit.posted })
        };
        let assets = self.assets.iter().filter_map(proof).collect();
        LedgerVerified { transfers: self.transfers, accounts: self.accounts, assets }
    }
}
