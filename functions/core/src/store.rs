//! The SQL of core: users, accounts, transfers with their entries, and what is held for deposits.

pub mod proof;

use domain::account::Account;
use domain::account::credit::{Credit, Holding};
use domain::account::ledger::{Balance, Entry, Movement, Order, Side, Transfer};
use domain::amount::Amount;
use domain::asset::Asset;
use domain::facts::core::UserRegistered;
use guest::clock::rfc3339;
use guest::{Db, Problem, Row, Tx, params};

use crate::ledger::{Line, refuse};

/// A registered user.
pub async fn user(db: &Db, id: &str) -> Result<Option<UserRegistered>, Problem> {
    let row = db.row("SELECT id, email, locale FROM users WHERE id = $1", params![id]).await?;
    row.map(|row| Ok(UserRegistered { user: row.get("id")?, email: row.get("email")?, locale: row.get("locale")? }))
        .transpose()
}

/// Registers a user; `false` when the id or the e-mail address is taken.
pub async fn insert_user(tx: &Tx<'_>, user: &UserRegistered, now_ms: i64) -> Result<bool, Problem> {
    let sql = "INSERT INTO users (id, email, email_folded, locale, registered_ms) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING";
    let folded = user.email.to_ascii_lowercase();
    Ok(tx.execute(sql, params![&user.user, &user.email, folded, &user.locale, now_ms]).await? == 1)
}

/// What is held for a deposit.
pub async fn credit(db: &Db, deposit: &str) -> Result<Credit, Problem> {
    let sql = "SELECT sequence, holding, transfer, shortfall FROM deposit_credits WHERE deposit = $1";
    let Some(row) = db.row(sql, params![deposit]).await? else { return Ok(Credit::NONE) };
    let holding = match row.get::<String>("holding")?.as_str() {
        "pending" => Holding::Pending(order(db, &row.get::<String>("transfer")?).await?),
        "posted" => Holding::Posted(order(db, &row.get::<String>("transfer")?).await?),
        _ => Holding::Nothing,
    };
    let sequence = row.get::<i64>("sequence")?.unsigned_abs();
    Ok(Credit { sequence, holding, shortfall: amount(&row, "shortfall")? })
}

/// Remembers what is held. A sequence that is not higher than the stored one changes nothing.
pub async fn save_credit(tx: &Tx<'_>, deposit: &str, credit: &Credit) -> Result<(), Problem> {
    let (holding, transfer) = match &credit.holding {
        Holding::Nothing => ("nothing", None),
        Holding::Pending(order) => ("pending", Some(order.id.as_str())),
        Holding::Posted(order) => ("posted", Some(order.id.as_str())),
    };
    let sequence = i64::try_from(credit.sequence).map_err(|_| Problem::validation("the sequence is too large"))?;
    let sql =
        "INSERT INTO deposit_credits (deposit, sequence, holding, transfer, shortfall) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (deposit) DO UPDATE
        SET sequence = excluded.sequence, holding = excluded.holding, transfer = excluded.transfer,
            shortfall = excluded.shortfall
        WHERE deposit_credits.sequence < excluded.sequence";
    tx.execute(sql, params![deposit, sequence, holding, transfer, credit.shortfall.to_sql()]).await?;
    Ok(())
}

async fn order(db: &Db, id: &str) -> Result<Order, Problem> {
    let sql = "SELECT id, debit, credit, amount, cause, corrects FROM transfers WHERE id = $1";
    let row = db.one(sql, params![id]).await?;
    Ok(Order {
        id: row.get("id")?,
        debit: account(&row, "debit")?,
        credit: account(&row, "credit")?,
        amount: amount(&row, "amount")?,
        cause: row.get("cause")?,
        corrects: row.get("corrects")?,
    })
}

/// What an account could spend; nothing where there is no account with a limit.
pub async fn available(db: &Db, account: Option<&Account>) -> Result<Amount, Problem> {
    match account {
        Some(account) if account.is_limited() => Ok(stored(db, account).await?.0.available()),
        _ => Ok(Amount::ZERO),
    }
}

/// All accounts of a user.
pub async fn balances(db: &Db, user: &str) -> Result<Vec<(Asset, Balance)>, Problem> {
    let sql = "SELECT asset, debits_pending, debits_posted, credits_pending, credits_posted
        FROM accounts WHERE user_id = $1 ORDER BY asset";
    let rows = db.rows(sql, params![user]).await?;
    rows.iter().map(|row| Ok((asset(row, "asset")?, balance(row)?))).collect()
}

/// Enters a movement: the transfer where the movement opens it, and both halves on their accounts, in the accounts' order.
pub async fn enter(tx: &Tx<'_>, movement: &Movement, now_ms: i64) -> Result<(), Problem> {
    let order = movement.transfer.order();
    if movement.opens {
        let sql = "INSERT INTO transfers (id, debit, credit, amount, cause, corrects, opened_ms)
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let (debit, credit) = (order.debit.to_string(), order.credit.to_string());
        let amount = order.amount.to_sql();
        let corrects = order.corrects.as_deref();
        tx.execute(sql, params![&order.id, debit, credit, amount, &order.cause, corrects, now_ms]).await?;
    }
    for entry in movement.entries() {
        let position = if entry.account.is_limited() { book(tx, &entry).await? } else { 0 };
        insert_entry(tx, movement, &entry, position, now_ms).await?;
    }
    Ok(())
}

/// Changes the balance of an account with a limit; how many entries it has now.
async fn book(tx: &Tx<'_>, entry: &Entry<'_>) -> Result<i64, Problem> {
    let (before, version) = stored(tx, entry.account).await?;
    let after = before.after(entry).map_err(refuse)?;
    if version == 0 {
        open(tx, entry.account).await?;
    }
    let sql = "UPDATE accounts SET debits_pending = $1, debits_posted = $2, credits_pending = $3, credits_posted = $4,
        version = version + 1 WHERE id = $5 AND version = $6";
    let (debits_pending, debits_posted) = (after.debits_pending.to_sql(), after.debits_posted.to_sql());
    let (credits_pending, credits_posted) = (after.credits_pending.to_sql(), after.credits_posted.to_sql());
    let id = entry.account.to_string();
    let params = params![debits_pending, debits_posted, credits_pending, credits_posted, id, version];
    tx.execute_one(sql, params).await?;
    Ok(version + 1)
}

async fn open(tx: &Tx<'_>, account: &Account) -> Result<(), Problem> {
    let sql = "INSERT INTO accounts
        (id, user_id, asset, debits_pending, debits_posted, credits_pending, credits_posted, version)
        VALUES ($1, $2, $3, $4, $4, $4, $4, 0) ON CONFLICT DO NOTHING";
    let (user, asset) = (account.user().unwrap_or_default(), account.asset().code());
    tx.execute_one(sql, params![account.to_string(), user, asset, Amount::ZERO.to_sql()]).await
}

async fn stored(db: &Db, account: &Account) -> Result<(Balance, i64), Problem> {
    let sql = "SELECT debits_pending, debits_posted, credits_pending, credits_posted, version
        FROM accounts WHERE id = $1";
    match db.row(sql, params![account.to_string()]).await? {
        Some(row) => Ok((balance(&row)?, row.get("version")?)),
        None => Ok((Balance::default(), 0)),
    }
}

async fn insert_entry(
    tx: &Tx<'_>,
    movement: &Movement,
    entry: &Entry<'_>,
    position: i64,
    now_ms: i64,
) -> Result<(), Problem> {
    let phase = match movement.transfer {
        Transfer::Pending(_) => "pending",
        Transfer::Posted(_) => "posted",
        Transfer::Voided(_) => "voided",
    };
    let sql = "INSERT INTO entries
        (account, transfer, phase, side, asset, pended, released, posted, position, at_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let (account, asset) = (entry.account.to_string(), entry.account.asset().code());
    let (pended, released, posted) = (entry.pended.to_sql(), entry.released.to_sql(), entry.posted.to_sql());
    let id = &movement.transfer.order().id;
    let side = side_text(entry.side);
    tx.execute_one(sql, params![account, id, phase, side, asset, pended, released, posted, position, now_ms]).await
}

/// An account's entries after a position.
pub async fn lines(db: &Db, account: &Account, after: i64, limit: i64) -> Result<Vec<Line>, Problem> {
    let sql = "SELECT entries.position AS position, entries.transfer AS transfer, entries.side AS side,
            entries.phase AS phase, entries.at_ms AS at_ms, transfers.amount AS amount, transfers.cause AS cause,
            transfers.corrects AS corrects,
            CASE WHEN entries.side = 'debit' THEN transfers.credit ELSE transfers.debit END AS counterpart
        FROM entries JOIN transfers ON transfers.id = entries.transfer
        WHERE entries.account = $1 AND entries.position > $2
        ORDER BY entries.position LIMIT $3";
    let rows = db.rows(sql, params![account.to_string(), after, limit]).await?;
    rows.iter().map(line).collect()
}

fn line(row: &Row) -> Result<Line, Problem> {
    Ok(Line {
        position: row.get("position")?,
        transfer: row.get("transfer")?,
        side: row.get("side")?,
        phase: row.get("phase")?,
        amount: amount(row, "amount")?,
        counterpart: row.get("counterpart")?,
        cause: row.get("cause")?,
        corrects: row.get("corrects")?,
        at: rfc3339(row.get("at_ms")?),
    })
}

fn side_text(side: Side) -> &'static str {
    match side {
        Side::Debit => "debit",
        Side::Credit => "credit",
    }
}

fn balance(row: &Row) -> Result<Balance, Problem> {
    Ok(Balance {
        debits_pending: amount(row, "debits_pending")?,
        debits_posted: amount(row, "debits_posted")?,
        credits_pending: amount(row, "credits_pending")?,
        credits_posted: amount(row, "credits_posted")?,
    })
}

fn amount(row: &Row, column: &str) -> Result<Amount, Problem> {
    Amount::from_sql(&row.get::<String>(column)?).map_err(|error| Problem::internal(format!("`{column}`: {error}")))
}

fn asset(row: &Row, column: &str) -> Result<Asset, Problem> {
    Asset::parse(&row.get::<String>(column)?).map_err(|error| Problem::internal(error.to_string()))
}

fn account(row: &Row, column: &str) -> Result<Account, Problem> {
    Account::parse(&row.get::<String>(column)?).map_err(|error| Problem::internal(error.to_string()))
}
