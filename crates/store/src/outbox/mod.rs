//! What receivers of notifications are to be told: written with what it tells of, in the same transaction, and there until they
//! have been told.
//!
//! Who wants what is known by the configuration that [`Store::set_notifications`] brings: whoever is not in it when something
//! happens is never told of that.

mod event;
mod ops;
mod rows;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use jct_domain::Id;
use jct_domain::notification::{Event, Notifications};

pub(crate) use event::{of_end, of_refusal};
pub(crate) use rows::{OutboxColumns, insert, settle};

use crate::{Result, Store};

/// An event that a receiver has not been told of.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// What it is to be told.
    pub event: Event,
    /// When that was written down.
    pub since: Timestamp,
}

/// What a receiver need not be told of any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) receiver: String,
    /// This one; all of them, without.
    pub(crate) event: Option<Id>,
}

impl Store {
    /// From now on, what happens is written down for these receivers.
    pub fn set_notifications(&self, notifications: Arc<Notifications>) {
        self.inner.notifications.send_replace(notifications);
    }

    /// Changes whenever this process has written something down for receivers.
    pub fn notifications_written(&self) -> watch::Receiver<u64> {
        self.inner.notified.subscribe()
    }

    /// What a receiver is to be told, the first things first, beginning after this event.
    pub async fn waiting_notifications(&self, receiver: &str, after: Option<Id>, limit: u32) -> Result<Vec<Waiting>> {
        rows::waiting(&mut self.inner.readers.acquire().await?.borrow(), receiver, after, limit).await
    }

    /// For whom there is something.
    pub async fn notified_receivers(&self) -> Result<Vec<String>> {
        rows::receivers(&mut self.inner.readers.acquire().await?.borrow()).await
    }

    /// The receiver has been told, or is given up.
    pub async fn settle_notification(&self, receiver: &str, event: Id) -> Result<()> {
        let settled = Settled { receiver: receiver.into(), event: Some(event) };
        self.inner.writer.write(ops::Settle(settled)).await
    }

    /// Removes all that there is for somebody who is no receiver any more.
    pub async fn forget_receiver(&self, receiver: &str) -> Result<()> {
        self.inner.writer.write(ops::Settle(Settled { receiver: receiver.into(), event: None })).await
    }
}
