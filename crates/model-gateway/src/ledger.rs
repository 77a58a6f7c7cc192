//! Who keeps the accounts: a database for the broker, memory for `jct run` and for tests.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::budget::{self, Account, Amount, Exhausted, Limits, Unit, Want};
use crate::record::Exchange;

/// Whose account it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// An attempt's.
    Attempt(String),
    /// A Task's, over all of its attempts.
    Task(String),
    /// A Workflow run's, over its steps and what follows them up.
    WorkflowRun(String),
    /// A namespace's, each day.
    NamespaceDay(String),
    /// All namespaces' of a grant together, each day.
    GrantDay(String),
}

impl Scope {
    /// Whether it begins anew each day.
    pub fn is_of_the_day(&self) -> bool {
        matches!(self, Self::NamespaceDay(_) | Self::GrantDay(_))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attempt(_) => f.write_str("of this attempt"),
            Self::Task(name) => write!(f, "of the task {name}"),
            Self::WorkflowRun(name) => write!(f, "of the workflow run {name}"),
            Self::NamespaceDay(name) => write!(f, "of the namespace {name} for today (UTC)"),
            Self::GrantDay(name) => write!(f, "of the grant {name} for today (UTC)"),
        }
    }
}

/// An account that an exchange is charged to, and how much there is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Whose.
    pub scope: Scope,
    /// How much.
    pub limits: Limits,
}

/// What was reserved for an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Names it, in its ledger.
    pub id: String,
    /// What may be used up.
    pub granted: Amount,
    /// The day in UTC that it counts for, whenever it ends.
    pub day: jiff::civil::Date,
}

/// Why nothing is reserved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// A budget is used up.
    #[error("the budget {scope} is used up: {unit:?}")]
    Exhausted {
        /// Whose.
        scope: Scope,
        /// What of it.
        unit: Unit,
        /// Whether others only have it reserved.
        is_reserved: bool,
    },
    /// The ledger can't be had.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The ledger can't be had. In words for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger of models is not available: {0}")]
pub struct Unavailable(pub String);

/// What becomes of a request whose budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It waits on.
    Wait,
    /// It is refused.
    End,
}

/// Keeps accounts and exchanges. The limits of a budget are those that it is given with, or what they were raised to. Each method does all or nothing, also where several brokers call it at the same time.
pub trait Ledger: Send + Sync + 'static {
    /// Reserves in all of the budgets.
    fn reserve(
        &self,
        attempt: &str,
        budgets: &[Budget],
        want: &Want,
    ) -> impl Future<Output = Result<Reservation, ReserveError>> + Send;

    /// Reserves more for the same exchange. What it has then is in the reservation.
    fn extend(
        &self,
        reservation: &mut Reservation,
        budgets: &[Budget],
        want: &Want,
    ) -> impl Future<Output = Result<(), ReserveError>> + Send;

    /// Says that the exchange is still going on: what a broker has reserved that is gone is charged after a while.
    fn keep_alive(&self, _reservation: &Reservation) -> impl Future<Output = Result<(), Unavailable>> + Send {
        async { Ok(()) }
    }

    /// Ends a reservation, and keeps the exchange: when this is done it is not lost any more. Its number in the attempt is the
    /// ledger's to give.
    fn settle(
        &self,
        reservation: &Reservation,
        budgets: &[Budget],
        used: &Amount,
        exchange: Exchange,
    ) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Keeps an exchange for which nothing was reserved.
    fn refuse(&self, exchange: Exchange) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Keeps that an attempt waits for more of a budget, for so long at most, and says whether it waits on: called again and again
    /// until something is reserved for it, or this has said that it ends. Who is asked is the ledger's business.
    fn hold(
        &self,
        _attempt: &str,
        _scope: &Scope,
        _unit: Unit,
        _patience: Duration,
    ) -> impl Future<Output = Result<Hold, Unavailable>> + Send {
        async { Ok(Hold::End) }
    }

    /// Keeps that an attempt which waited has what it waited for.
    fn resume(&self, _attempt: &str) -> impl Future<Output = Result<(), Unavailable>> + Send {
        async { Ok(()) }
    }

    /// The exchanges of an attempt, in the order in which they ended.
    fn exchanges(&self, attempt: &str) -> impl Future<Output = Result<Vec<Exchange>, Unavailable>> + Send;
}

impl<L: Ledger> Ledger for Arc<L> {
    async fn reserve(&self, attempt: &str, budgets: &[Budget], want: &Want) -> Result<Reservation, ReserveError> {
        (**self).reserve(attempt, budgets, want).await
    }

    async fn extend(&self, reservation: &mut Reservation, budgets: &[Budget], want: &Want) -> Result<(), ReserveError> {
        (**self).extend(reservation, budgets, want).await
    }

    async fn keep_alive(&self, reservation: &Reservation) -> Result<(), Unavailable> {
        (**self).keep_alive(reservation).await
    }

    async fn settle(
        &self,
        reservation: &Reservation,
        budgets: &[Budget],
        used: &Amount,
        exchange: Exchange,
    ) -> Result<(), Unavailable> {
        (**self).settle(reservation, budgets, used, exchange).await
    }

    async fn refuse(&self, exchange: Exchange) -> Result<(), Unavailable> {
        (**self).refuse(exchange).await
    }

    async fn hold(&self, attempt: &str, scope: &Scope, unit: Unit, patience: Duration) -> Result<Hold, Unavailable> {
        (**self).hold(attempt, scope, unit, patience).await
    }

    async fn resume(&self, attempt: &str) -> Result<(), Unavailable> {
        (**self).resume(attempt).await
    }

    async fn exchanges(&self, attempt: &str) -> Result<Vec<Exchange>, Unavailable> {
        (**self).exchanges(attempt).await
    }
}

/// A ledger in memory.
#[derive(Debug, Default)]
pub struct MemoryLedger(Mutex<MemoryState>);

#[derive(Debug, Default)]
struct MemoryState {
    accounts: HashMap<(Scope, Option<jiff::civil::Date>), Account>,
    exchanges: Vec<Exchange>,
    reservations: u64,
}

impl MemoryLedger {
    /// What an account has used up, on a day if it is of one.
    pub fn account(&self, scope: &Scope, day: jiff::civil::Date) -> Account {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.accounts.get(&key(scope, day)).copied().unwrap_or_default()
    }

    /// Changes the accounts of `budgets`, which have the limits of now.
    fn with<T>(
        &self,
        budgets: &[Budget],
        day: jiff::civil::Date,
        change: impl FnOnce(&mut [Account], &mut MemoryState) -> T,
    ) -> T {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let limited = |budget: &Budget| {
            let account = state.accounts.get(&key(&budget.scope, day)).copied().unwrap_or_default();
            Account { limits: budget.limits, ..account }
        };
        let mut accounts: Vec<Account> = budgets.iter().map(limited).collect();
        let done = change(&mut accounts, &mut state);
        for (budget, account) in budgets.iter().zip(accounts) {
            state.accounts.insert(key(&budget.scope, day), account);
        }
        done
    }
}

fn key(scope: &Scope, day: jiff::civil::Date) -> (Scope, Option<jiff::civil::Date>) {
    (scope.clone(), scope.is_of_the_day().then_some(day))
}

fn today() -> jiff::civil::Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// Which budget an account is of.
fn exhausted(budgets: &[Budget], found: Exhausted) -> ReserveError {
    match budgets.get(found.account) {
        Some(budget) => {
            ReserveError::Exhausted { scope: budget.scope.clone(), unit: found.unit, is_reserved: found.is_reserved }
        }
        None => Unavailable("a budget is missing".into()).into(),
    }
}

impl Ledger for MemoryLedger {
    async fn reserve(&self, attempt: &str, budgets: &[Budget], want: &Want) -> Result<Reservation, ReserveError> {
        let day = today();
        self.with(budgets, day, |accounts, state| {
            let granted = budget::reserve(accounts, want).map_err(|found| exhausted(budgets, found))?;
            state.reservations += 1;
            Ok(Reservation { id: format!("{attempt}/{}", state.reservations), granted, day })
        })
    }

    async fn extend(&self, reservation: &mut Reservation, budgets: &[Budget], want: &Want) -> Result<(), ReserveError> {
        let more = self.with(budgets, reservation.day, |accounts, _| {
            budget::reserve(accounts, want).map_err(|found| exhausted(budgets, found))
        })?;
        reservation.granted = reservation.granted.plus(more);
        Ok(())
    }

    async fn settle(
        &self,
        reservation: &Reservation,
        budgets: &[Budget],
        used: &Amount,
        exchange: Exchange,
    ) -> Result<(), Unavailable> {
        self.with(budgets, reservation.day, |accounts, state| {
            budget::settle(accounts, &reservation.granted, used);
            state.keep(exchange);
        });
        Ok(())
    }

    async fn refuse(&self, exchange: Exchange) -> Result<(), Unavailable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keep(exchange);
        Ok(())
    }

    async fn exchanges(&self, attempt: &str) -> Result<Vec<Exchange>, Unavailable> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(state.exchanges.iter().filter(|exchange| exchange.attempt == attempt).cloned().collect())
    }
}

impl MemoryState {
    fn keep(&mut self, mut exchange: Exchange) {
        let before = self.exchanges.iter().filter(|other| other.attempt == exchange.attempt).count();
        exchange.seq = before as u64 + 1;
        self.exchanges.push(exchange);
    }
}
