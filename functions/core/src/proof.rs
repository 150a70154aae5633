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

#[cfg(test)]
mod tests {
    use super::*;
    use domain::amount::Amount;

    fn sum(account: &str, side: Side, [pended, released, posted]: [u128; 3], stored: Option<Balance>) -> Sum {
        let [pended, released, posted] = [pended, released, posted].map(Amount::new);
        let part = Part { pended, released, posted };
        Sum { account: account.into(), asset: "ETH".into(), side, part, stored }
    }

    fn holding(units: u128) -> Option<Balance> {
        Some(Balance { credits_posted: Amount::new(units), ..Balance::default() })
    }

    fn findings(sums: Vec<Sum>) -> Vec<String> {
        let mut proof = Proof::default();
        for sum in sums {
            proof.add(sum).expect("small sums");
        }
        proof.close();
        proof.compare_assets();
        proof.findings.into_iter().map(|finding| format!("{} {}", finding.code, finding.about)).collect()
    }

    // promise: DOMAIN: verify proves, per asset, debits = credits, every limit, every pending resolved at most once
    #[test]
    fn a_ledger_whose_sums_agree_holds() {
        let sums = vec![
            sum("custody:1:ETH", Side::Debit, [10, 10, 10], None),
            sum("user:a:ETH", Side::Credit, [10, 0, 0], holding(10)),
            sum("user:a:ETH", Side::Credit, [0, 10, 10], holding(10)),
        ];
        assert_eq!(findings(sums), Vec::<String>::new());
    }

    #[test]
    fn an_entry_without_its_other_half_is_found() {
        assert_eq!(findings(vec![sum("custody:1:ETH", Side::Debit, [0, 0, 10], None)]), ["unbalanced ETH"]);
    }

    #[test]
    fn an_account_that_says_something_else_than_its_entries_is_found() {
        let sums = |stored| {
            vec![
                sum("custody:1:ETH", Side::Debit, [0, 0, 10], None),
                sum("user:a:ETH", Side::Credit, [0, 0, 10], stored),
            ]
        };
        assert_eq!(findings(sums(holding(9))), ["account-differs user:a:ETH"]);
        assert_eq!(findings(sums(None)), ["account-differs user:a:ETH"]);
    }

    #[test]
    fn more_debits_than_credits_are_found_on_users_accounts_only() {
        let overdrawn = Some(Balance { debits_posted: Amount::new(10), ..Balance::default() });
        let sums = vec![
            sum("custody:1:ETH", Side::Credit, [0, 0, 10], None),
            sum("user:a:ETH", Side::Debit, [0, 0, 10], overdrawn),
        ];
        assert_eq!(findings(sums), ["limit-exceeded user:a:ETH"]);
    }

    #[test]
    fn what_was_released_without_having_been_pending_is_found() {
        let sums = vec![
            sum("custody:1:ETH", Side::Debit, [0, 10, 10], None),
            sum("suspense:ETH", Side::Credit, [0, 10, 10], None),
        ];
        let expected = ["resolved-without-pending custody:1:ETH", "resolved-without-pending suspense:ETH"];
        assert_eq!(findings(sums), expected);
    }
}
