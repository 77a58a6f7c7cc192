//! `model_accounts`, `model_reservations`, `model_exchanges`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::hold::hold;
use super::{AccountAmounts, ModelHold, NewExchange};
use crate::columns::{columns, insert_into, sql};
use crate::conn::{Conn, Values, execute, fetch};
use crate::{Result, StoreError};
use jct_domain::Id;
use jct_domain::model::budget::{Account, Amount};
use jct_domain::model::{Limits, Usd};

columns! {
    pub(crate) struct AccountColumns {
        account: String,
        spent_nanos: i64,
        spent_tokens: i64,
        spent_requests: i64,
        reserved_nanos: i64,
        reserved_tokens: i64,
        reserved_requests: i64,
        changed_at: i64,
        raised_nanos: Option<i64>,
        raised_tokens: Option<i64>,
        raised_requests: Option<i64>,
    }
}

columns! {
    pub(crate) struct HoldColumns {
        task_id: String,
        attempt: i64,
        state: String,
        unit: String,
        asked_at: i64,
        waits_until: i64,
        decided_by: Option<String>,
        decided_at: Option<i64>,
    }
}

columns! {
    pub(crate) struct ReservationColumns {
        id: String,
        broker: String,
        accounts: String,
        nanos: i64,
        tokens: i64,
        requests: i64,
        reserved_at: i64,
    }
}

columns! {
    pub(crate) struct ExchangeColumns {
        task_id: String,
        attempt: i64,
        seq: i64,
        alias: String,
        nanos: i64,
        tokens: i64,
        ended_at: i64,
        exchange: String,
    }
}

/// What is reserved for an exchange.
#[derive(Clone, Debug)]
pub(crate) struct Reservation {
    pub(super) id: String,
    pub(super) broker: String,
    pub(super) accounts: Vec<String>,
    pub(super) granted: Amount,
    pub(super) at: Timestamp,
}

impl AccountAmounts {
    /// The same, with what an account has used up now.
    pub(super) fn with(self, account: &Account) -> Self {
        Self { spent: account.spent, reserved: account.reserved, raised: self.raised }
    }
}

/// What is looked at.
#[derive(Debug, Default)]
pub(crate) struct LedgerNeeds {
    pub(super) accounts: BTreeSet<String>,
    /// With their accounts.
    pub(super) reservations: BTreeSet<String>,
    /// Whose last number is wanted.
    pub(super) attempts: BTreeSet<(Id, u32)>,
    /// Tasks that somebody may be asked about.
    pub(super) holds: BTreeSet<Id>,
}

impl LedgerNeeds {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { accounts, reservations, attempts, holds } = self;
        accounts.is_empty() && reservations.is_empty() && attempts.is_empty() && holds.is_empty()
    }
}

/// What an operation has written.
#[derive(Debug, Default)]
pub(crate) struct LedgerChanges {
    /// Accounts as they will be.
    pub(super) accounts: Vec<(String, AccountAmounts)>,
    /// A reservation as it will be.
    pub(super) reserved: Option<Reservation>,
    /// One that has ended.
    pub(super) ended: Option<String>,
    pub(super) exchange: Option<NewExchange>,
    /// Somebody is asked, or has answered.
    pub(super) hold: Option<ModelHold>,
}

/// What is there, and what was decided since.
#[derive(Debug, Default)]
pub(crate) struct LedgerView {
    accounts: BTreeMap<String, AccountAmounts>,
    reservations: BTreeMap<String, Reservation>,
    /// The last numbers of attempts.
    last: BTreeMap<(Id, u32), i64>,
    changed: BTreeSet<String>,
    reserved: BTreeSet<String>,
    ended: Vec<String>,
    exchanges: Vec<(i64, NewExchange)>,
    holds: BTreeMap<Id, ModelHold>,
    held: BTreeSet<Id>,
}

impl LedgerView {
    pub(super) fn account(&self, name: &str) -> AccountAmounts {
        self.accounts.get(name).copied().unwrap_or_default()
    }

    pub(super) fn reservation(&self, id: &str) -> Option<&Reservation> {
        self.reservations.get(id)
    }

    pub(super) fn hold(&self, task_id: Id) -> Option<&ModelHold> {
        self.holds.get(&task_id)
    }

    /// The number of the attempt's last exchange.
    pub(super) fn last(&self, attempt: (Id, u32)) -> i64 {
        self.last.get(&attempt).copied().unwrap_or_default()
    }

    pub(super) fn know_last(&mut self, attempt: (Id, u32), last: i64) {
        self.last.insert(attempt, last);
    }

    /// Takes over what was decided.
    pub(crate) fn stage(&mut self, changes: LedgerChanges) {
        let LedgerChanges { accounts, reserved, ended, exchange, hold } = changes;
        if let Some(hold) = hold {
            self.held.insert(hold.task_id);
            self.holds.insert(hold.task_id, hold);
        }
        for (name, amounts) in accounts {
            self.changed.insert(name.clone());
            self.accounts.insert(name, amounts);
        }
        if let Some(reservation) = reserved {
            self.reserved.insert(reservation.id.clone());
            self.reservations.insert(reservation.id.clone(), reservation);
        }
        if let Some(id) = ended {
            self.reservations.remove(&id);
            self.reserved.remove(&id);
            self.ended.push(id);
        }
        if let Some(exchange) = exchange {
            let last = self.last.entry((exchange.task_id, exchange.attempt)).or_default();
            *last += 1;
            self.exchanges.push((*last, exchange));
        }
    }
}

/// Loads what is needed.
pub(crate) async fn load(conn: &mut Conn<'_>, needs: LedgerNeeds) -> Result<LedgerView> {
    const RESERVATIONS: Values = Values {
        before: sql!("SELECT ", ReservationColumns::NAMES, " FROM model_reservations WHERE id IN (VALUES"),
        width: 1,
        after: ")",
    };
    const ACCOUNTS: Values = Values {
        before: sql!("SELECT ", AccountColumns::NAMES, " FROM model_accounts WHERE account IN (VALUES"),
        width: 1,
        after: ")",
    };
    let LedgerNeeds { mut accounts, reservations, attempts, holds } = needs;
    let mut view = LedgerView::default();
    let named = |names: BTreeSet<String>| names.into_iter().map(|name| vec![name.into()]).collect();
    let found: Vec<ReservationColumns> = RESERVATIONS.fetch(conn, named(reservations)).await?;
    for columns in found {
        let reservation = reservation(columns)?;
        accounts.extend(reservation.accounts.iter().cloned());
        view.reservations.insert(reservation.id.clone(), reservation);
    }
    let found: Vec<AccountColumns> = ACCOUNTS.fetch(conn, named(accounts)).await?;
    view.accounts.extend(found.into_iter().map(|columns| (columns.account.clone(), amounts(&columns))));
    for (task_id, attempt) in attempts {
        let sql = "SELECT MAX(seq) FROM model_exchanges WHERE task_id = $1 AND attempt = $2";
        let last = fetch!((Option<i64>,), conn, sql, task_id.to_string(), i64::from(attempt))?;
        view.know_last((task_id, attempt), last.first().and_then(|(last,)| *last).unwrap_or_default());
    }
    for task_id in holds {
        if let Some(hold) = hold_of(conn, task_id).await? {
            view.holds.insert(task_id, hold);
        }
    }
    Ok(view)
}

/// Writes what was decided.
pub(crate) async fn save(conn: &mut Conn<'_>, view: LedgerView) -> Result<()> {
    const ACCOUNTS: Values = insert_into!(
        "model_accounts",
        AccountColumns,
        " ON CONFLICT (account) DO UPDATE SET spent_nanos = excluded.spent_nanos, spent_tokens = excluded.spent_tokens, \
         spent_requests = excluded.spent_requests, reserved_nanos = excluded.reserved_nanos, \
         reserved_tokens = excluded.reserved_tokens, reserved_requests = excluded.reserved_requests, \
         changed_at = excluded.changed_at, raised_nanos = excluded.raised_nanos, raised_tokens = excluded.raised_tokens, \
         raised_requests = excluded.raised_requests"
    );
    const HOLDS: Values = insert_into!(
        "model_holds",
        HoldColumns,
        " ON CONFLICT (task_id) DO UPDATE SET attempt = excluded.attempt, state = excluded.state, unit = excluded.unit, \
         asked_at = excluded.asked_at, waits_until = excluded.waits_until, decided_by = excluded.decided_by, \
         decided_at = excluded.decided_at"
    );
    const RESERVATIONS: Values = insert_into!(
        "model_reservations",
        ReservationColumns,
        " ON CONFLICT (id) DO UPDATE SET nanos = excluded.nanos, tokens = excluded.tokens, requests = excluded.requests, \
         reserved_at = excluded.reserved_at"
    );
    const EXCHANGES: Values = insert_into!("model_exchanges", ExchangeColumns, "");
    const ENDED: Values = Values { before: "DELETE FROM model_reservations WHERE id IN (VALUES", width: 1, after: ")" };
    let LedgerView { accounts, reservations, last: _, changed, reserved, ended, exchanges, mut holds, held } = view;
    if changed.is_empty() && exchanges.is_empty() && ended.is_empty() && reserved.is_empty() && held.is_empty() {
        return Ok(());
    }
    holds.retain(|task_id, _| held.contains(task_id));
    HOLDS.execute(conn, holds.into_values().map(|hold| HoldColumns::from(hold).into_arguments()).collect()).await?;
    let now = Timestamp::now().as_microsecond();
    let of_accounts = accounts.into_iter().filter(|(name, _)| changed.contains(name)).map(|(account, amounts)| {
        let AccountAmounts { spent, reserved, raised } = amounts;
        let columns = AccountColumns {
            account,
            spent_nanos: signed(spent.usd.nanos()),
            spent_tokens: signed(spent.tokens),
            spent_requests: signed(spent.requests),
            reserved_nanos: signed(reserved.usd.nanos()),
            reserved_tokens: signed(reserved.tokens),
            reserved_requests: signed(reserved.requests),
            changed_at: now,
            raised_nanos: raised.usd.map(|usd| signed(usd.nanos())),
            raised_tokens: raised.tokens.map(signed),
            raised_requests: raised.requests.map(signed),
        };
        columns.into_arguments()
    });
    ACCOUNTS.execute(conn, of_accounts.collect()).await?;
    let of_reservations = reservations.into_values().filter(|reservation| reserved.contains(&reservation.id));
    let of_reservations = of_reservations.map(|reservation| {
        let Reservation { id, broker, accounts, granted, at } = reservation;
        let columns = ReservationColumns {
            id,
            broker,
            accounts: crate::rows::to_json(&accounts)?,
            nanos: signed(granted.usd.nanos()),
            tokens: signed(granted.tokens),
            requests: signed(granted.requests),
            reserved_at: at.as_microsecond(),
        };
        Ok(columns.into_arguments())
    });
    RESERVATIONS.execute(conn, of_reservations.collect::<Result<_>>()?).await?;
    ENDED.execute(conn, ended.into_iter().map(|id| vec![id.into()]).collect()).await?;
    let of_exchanges = exchanges.into_iter().map(|(seq, exchange)| {
        let NewExchange { task_id, attempt, alias, used, at, json } = exchange;
        let columns = ExchangeColumns {
            task_id: task_id.to_string(),
            attempt: attempt.into(),
            seq,
            alias,
            nanos: signed(used.usd.nanos()),
            tokens: signed(used.tokens),
            ended_at: at.as_microsecond(),
            exchange: json,
        };
        columns.into_arguments()
    });
    EXCHANGES.execute(conn, of_exchanges.collect()).await?;
    Ok(())
}

/// Removes what there is of a Task, but for what it has used up of the days' accounts.
pub(crate) async fn remove(conn: &mut Conn<'_>, task_id: Id) -> Result<()> {
    let id = task_id.to_string();
    execute!(conn, "DELETE FROM model_exchanges WHERE task_id = $1", &id)?;
    execute!(conn, "DELETE FROM model_holds WHERE task_id = $1", &id)?;
    for account in ["attempt", "task"].map(|scope| format!("{scope}/{id}")) {
        let (own, below) = (account.clone(), format!("{account}/"));
        // All that begin with it: the character after the slash ends them.
        let end = format!("{account}0");
        execute!(
            conn,
            "DELETE FROM model_accounts WHERE account = $1 OR (account >= $2 AND account < $3)",
            own,
            below,
            end
        )?;
    }
    Ok(())
}

/// Reservations of other brokers than this one from before a time.
pub(super) async fn abandoned(conn: &mut Conn<'_>, broker: &str, before: Timestamp) -> Result<Vec<String>> {
    let sql =
        "SELECT id FROM model_reservations WHERE reserved_at < $1 AND broker <> $2 ORDER BY reserved_at LIMIT 1000";
    let rows = fetch!((String,), conn, sql, before.as_microsecond(), broker)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub(super) async fn exchanges_of(conn: &mut Conn<'_>, task_id: Id, attempt: u32) -> Result<Vec<(u64, String)>> {
    let sql = "SELECT seq, exchange FROM model_exchanges WHERE task_id = $1 AND attempt = $2 ORDER BY seq";
    let rows = fetch!((i64, String), conn, sql, task_id.to_string(), i64::from(attempt))?;
    Ok(rows.into_iter().map(|(seq, exchange)| (unsigned(seq), exchange)).collect())
}

pub(super) async fn amounts_of(conn: &mut Conn<'_>, account: &str) -> Result<AccountAmounts> {
    const ONE: &str = sql!("SELECT ", AccountColumns::NAMES, " FROM model_accounts WHERE account = $1");
    let rows = fetch!(AccountColumns, conn, ONE, account)?;
    Ok(rows.first().map(amounts).unwrap_or_default())
}

pub(super) async fn hold_of(conn: &mut Conn<'_>, task_id: Id) -> Result<Option<ModelHold>> {
    const ONE: &str = sql!("SELECT ", HoldColumns::NAMES, " FROM model_holds WHERE task_id = $1");
    fetch!(HoldColumns, conn, ONE, task_id.to_string())?.pop().map(hold).transpose()
}

fn amounts(columns: &AccountColumns) -> AccountAmounts {
    let amount = |nanos, tokens, requests| Amount {
        usd: Usd::from_nanos(unsigned(nanos)),
        tokens: unsigned(tokens),
        requests: unsigned(requests),
    };
    AccountAmounts {
        spent: amount(columns.spent_nanos, columns.spent_tokens, columns.spent_requests),
        reserved: amount(columns.reserved_nanos, columns.reserved_tokens, columns.reserved_requests),
        raised: Limits {
            usd: columns.raised_nanos.map(|nanos| Usd::from_nanos(unsigned(nanos))),
            tokens: columns.raised_tokens.map(unsigned),
            requests: columns.raised_requests.map(unsigned),
        },
    }
}

fn reservation(columns: ReservationColumns) -> Result<Reservation> {
    let ReservationColumns { id, broker, accounts, nanos, tokens, requests, reserved_at } = columns;
    let malformed = |what: &dyn std::fmt::Display| StoreError::Internal(format!("model_reservations {id}: {what}"));
    let accounts = serde_json::from_str(&accounts).map_err(|error| malformed(&error))?;
    let at = Timestamp::from_microsecond(reserved_at).map_err(|error| malformed(&error))?;
    let granted =
        Amount { usd: Usd::from_nanos(unsigned(nanos)), tokens: unsigned(tokens), requests: unsigned(requests) };
    Ok(Reservation { id, broker, accounts, granted, at })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
