//! What attempts ask of models, and what that uses up: accounts, reservations, exchanges.
//!
//! Accounts are read and written in the transactions of the one writer, which wait for each other on PostgreSQL too: whatever
//! brokers do at the same time, each sees what the others have reserved.

mod cost;
mod hold;
mod ops;
mod rows;

use jiff::Timestamp;

use jct_domain::Id;
use jct_domain::model::Limits;
use jct_domain::model::budget::{Amount, Exhausted, Want};

pub use cost::{CostBy, CostQuery};
pub use hold::{AskBudget, BudgetDecision, DecideBudget, HoldState, ModelHold, NotWaiting};

pub(crate) use rows::{
    AccountColumns, ExchangeColumns, HoldColumns, LedgerChanges, LedgerNeeds, LedgerView, ReservationColumns, load,
    remove, save,
};

use crate::{Result, Store};

/// An account that an exchange is charged to, by name, and how much there is in it.
pub type LimitedAccount = (String, Limits);

/// Reserves in all of the accounts or in none.
#[derive(Clone, Debug)]
pub struct Reserve {
    /// Names the reservation; again with the same name, more is reserved in it.
    pub id: String,
    /// The broker whose exchange it is.
    pub broker: String,
    /// The accounts.
    pub accounts: Vec<LimitedAccount>,
    /// How much.
    pub want: Want,
    /// When.
    pub at: Timestamp,
}

/// An exchange that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewExchange {
    /// The Task.
    pub task_id: Id,
    /// Its attempt.
    pub attempt: u32,
    /// The model that was asked, by the program's name for it.
    pub alias: String,
    /// What it cost, for sums.
    pub used: Amount,
    /// When it ended.
    pub at: Timestamp,
    /// All of it, a JSON object.
    pub json: String,
}

/// Ends a reservation. One that is ended already stays so, and nothing is charged or kept twice.
#[derive(Clone, Debug)]
pub struct Settle {
    /// The reservation.
    pub id: String,
    /// What was used up, whatever was reserved.
    pub exchange: NewExchange,
}

/// What attempts' exchanges come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountAmounts {
    /// By exchanges that have ended.
    pub spent: Amount,
    /// For those that have not.
    pub reserved: Amount,
    /// What the account's limits were raised to, where they were.
    pub raised: Limits,
}

/// The account of all attempts at a Task.
pub fn task_account(task_id: Id) -> String {
    format!("task/{task_id}")
}

impl Store {
    /// Reserves for an exchange; what may be used up.
    ///
    /// # Errors
    /// The outer one if the database does not take it, the inner one if an account has not enough.
    pub async fn reserve_model(&self, reserve: Reserve) -> Result<Result<Amount, Exhausted>> {
        self.inner.writer.write(reserve).await
    }

    /// Says that the exchange of a reservation went on at a time.
    pub async fn keep_reservation(&self, id: String, at: Timestamp) -> Result<()> {
        self.inner.writer.write(ops::KeepAlive { id, at }).await
    }

    /// Ends a reservation and keeps its exchange.
    pub async fn settle_model(&self, settle: Settle) -> Result<()> {
        self.inner.writer.write(settle).await
    }

    /// Keeps an exchange for which nothing was reserved.
    pub async fn keep_exchange(&self, exchange: NewExchange) -> Result<()> {
        self.inner.writer.write(ops::Keep(exchange)).await
    }

    /// Charges in full what other brokers than this one have reserved before a time and have not ended: they are gone. How many
    /// there were.
    pub async fn charge_abandoned(&self, broker: &str, before: Timestamp) -> Result<usize> {
        let found = rows::abandoned(&mut self.inner.readers.acquire().await?.borrow(), broker, before).await?;
        for id in &found {
            self.inner.writer.write(ops::Charge(id.clone())).await?;
        }
        Ok(found.len())
    }

    /// The exchanges of an attempt, in the order in which they ended, each with its number from 1.
    pub async fn exchanges(&self, task_id: Id, attempt: u32) -> Result<Vec<(u64, String)>> {
        rows::exchanges_of(&mut self.inner.readers.acquire().await?.borrow(), task_id, attempt).await
    }

    /// What an account has used up.
    pub async fn model_account(&self, account: &str) -> Result<AccountAmounts> {
        rows::amounts_of(&mut self.inner.readers.acquire().await?.borrow(), account).await
    }
}
