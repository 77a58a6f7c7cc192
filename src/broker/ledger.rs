//! The broker's accounts, in the record.

use std::str::FromStr as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jct_model_gateway::budget::{Amount, Unit, Want};
use jct_model_gateway::ledger::{Budget, Hold, Ledger, Reservation, ReserveError, Scope, Unavailable};
use jct_model_gateway::record::Exchange;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::BrokerMetrics;
use crate::domain::Id;
use crate::store::{AskBudget, HoldState, NewExchange, Reserve, Settle, Store, StoreError};

/// Keeps accounts in the record.
pub struct StoreLedger {
    store: Store,
    metrics: BrokerMetrics,
    /// Names this process, so that another one knows which reservations are nobody's any more.
    broker: String,
    reservations: AtomicU64,
}

impl StoreLedger {
    /// Accounts in `store`.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn new(store: Store, metrics: BrokerMetrics) -> Result<Self, getrandom::Error> {
        let broker = format!("{:016x}", getrandom::u64()?);
        Ok(Self { store, metrics, broker, reservations: AtomicU64::new(0) })
    }

    /// The name of this process.
    pub fn broker(&self) -> &str {
        &self.broker
    }

    async fn take(&self, id: String, budgets: &[Budget], day: Date, want: &Want) -> Result<Amount, ReserveError> {
        let accounts = budgets.iter().map(|budget| (account(&budget.scope, day), budget.limits)).collect();
        let reserve = Reserve { id, broker: self.broker.clone(), accounts, want: *want, at: Timestamp::now() };
        let reserved = self.store.reserve_model(reserve).await.map_err(unavailable)?;
        reserved.map_err(|found| match budgets.get(found.account) {
            Some(Budget { scope, .. }) => {
                ReserveError::Exhausted { scope: scope.clone(), unit: found.unit, is_reserved: found.is_reserved }
            }
            None => Unavailable("a budget is missing".into()).into(),
        })
    }

    fn count(&self, exchange: &Exchange) {
        let refused = exchange.refused.clone().unwrap_or_default();
        self.metrics.count(exchange.dialect.as_str(), refused, exchange.usd.dollars());
    }
}

/// The name of an attempt, as the gateway knows it: `ID/NUMBER`.
pub fn attempt_name(task_id: Id, attempt: u32) -> String {
    format!("{task_id}/{attempt}")
}

fn attempt_of(name: &str) -> Result<(Id, u32), Unavailable> {
    let parts = name.split_once('/').and_then(|(id, number)| Some((Id::from_str(id).ok()?, number.parse().ok()?)));
    parts.ok_or_else(|| Unavailable(format!("{name:?} is no attempt")))
}

/// The name of an account in the record, of the day if it is one of these.
fn account(scope: &Scope, day: Date) -> String {
    match scope {
        Scope::Attempt(name) => format!("attempt/{name}"),
        Scope::Task(id) => format!("task/{id}"),
        Scope::WorkflowRun(name) => format!("workflow-run/{name}"),
        Scope::NamespaceDay(name) => format!("namespace/{name}/{day}"),
        Scope::GrantDay(name) => format!("grant/{name}/{day}"),
    }
}

fn unavailable(error: StoreError) -> Unavailable {
    Unavailable(error.to_string())
}

fn kept(exchange: &Exchange, used: Amount) -> Result<NewExchange, Unavailable> {
    let (task_id, attempt) = attempt_of(&exchange.attempt)?;
    let json = exchange.to_line().map_err(|error| Unavailable(error.to_string()))?;
    Ok(NewExchange { task_id, attempt, alias: exchange.alias.clone(), used, at: Timestamp::now(), json })
}

impl Ledger for StoreLedger {
    async fn reserve(&self, attempt: &str, budgets: &[Budget], want: &Want) -> Result<Reservation, ReserveError> {
        let number = self.reservations.fetch_add(1, Ordering::Relaxed);
        let id = format!("{attempt}/{}/{number}", self.broker);
        let day = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let granted = self.take(id.clone(), budgets, day, want).await?;
        Ok(Reservation { id, granted, day })
    }

    async fn extend(&self, reservation: &mut Reservation, budgets: &[Budget], want: &Want) -> Result<(), ReserveError> {
        let more = self.take(reservation.id.clone(), budgets, reservation.day, want).await?;
        reservation.granted = reservation.granted.plus(more);
        Ok(())
    }

    async fn keep_alive(&self, reservation: &Reservation) -> Result<(), Unavailable> {
        self.store.keep_reservation(reservation.id.clone(), Timestamp::now()).await.map_err(unavailable)
    }

    async fn settle(
        &self,
        reservation: &Reservation,
        _: &[Budget],
        used: &Amount,
        exchange: Exchange,
    ) -> Result<(), Unavailable> {
        let settle = Settle { id: reservation.id.clone(), exchange: kept(&exchange, *used)? };
        self.store.settle_model(settle).await.map_err(unavailable)?;
        self.count(&exchange);
        Ok(())
    }

    async fn refuse(&self, exchange: Exchange) -> Result<(), Unavailable> {
        self.store.keep_exchange(kept(&exchange, Amount::default())?).await.map_err(unavailable)?;
        self.count(&exchange);
        Ok(())
    }

    async fn hold(&self, attempt: &str, scope: &Scope, unit: Unit, patience: Duration) -> Result<Hold, Unavailable> {
        // A day's account is as the grant says.
        if !matches!(scope, Scope::Task(_)) {
            return Ok(Hold::End);
        }
        let (task_id, attempt) = attempt_of(attempt)?;
        let at = Timestamp::now();
        let found = self.store.model_hold(task_id).await.map_err(unavailable)?;
        let hold = match found.filter(|hold| hold.state != HoldState::Raised && hold.attempt == attempt) {
            Some(hold) => hold,
            None => {
                let until = at.checked_add(patience).unwrap_or(Timestamp::MAX);
                let ask = AskBudget { task_id, attempt, unit, at, until };
                self.store.ask_model_budget(ask).await.map_err(unavailable)?
            }
        };
        match hold.state {
            HoldState::Waiting if at < hold.waits_until => Ok(Hold::Wait),
            HoldState::Waiting => {
                self.store.end_model_budget(task_id).await.map_err(unavailable)?;
                Ok(Hold::End)
            }
            // It was raised while it was looked at.
            HoldState::Raised => Ok(Hold::Wait),
            HoldState::Ended => Ok(Hold::End),
        }
    }

    async fn resume(&self, attempt: &str) -> Result<(), Unavailable> {
        let (task_id, _) = attempt_of(attempt)?;
        self.store.resume_model_budget(task_id).await.map_err(unavailable)
    }

    async fn exchanges(&self, attempt: &str) -> Result<Vec<Exchange>, Unavailable> {
        let (task_id, attempt) = attempt_of(attempt)?;
        let rows = self.store.exchanges(task_id, attempt).await.map_err(unavailable)?;
        let read = |(seq, json): (u64, String)| {
            let exchange: Exchange = serde_json::from_str(&json).map_err(|error| Unavailable(error.to_string()))?;
            Ok(Exchange { seq, ..exchange })
        };
        rows.into_iter().map(read).collect()
    }
}
