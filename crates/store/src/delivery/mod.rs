//! What is delivered to forges, and how far that is.
//!
//! A delivery begins in the transaction in which its attempt ends, and becomes due in the one in which its review is decided: whatever
//! is to be done is on record before anything is done.

mod ops;
mod rows;

use jiff::Timestamp;

use jct_domain::Id;
use jct_domain::delivery::{Delivery, DeliveryPhase};

pub(crate) use ops::begun;
pub(crate) use rows::{DeliveryChanges, DeliveryColumns, DeliveryView, delivery_parses, load, remove, save};

use crate::{Page, Result, Store};

/// Which deliveries to list: those that fit every given filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    pub namespace: Option<String>,
    pub task_id: Option<Id>,
    pub phase: Option<DeliveryPhase>,
}

/// A delivery as it is now, if it still is as it was when somebody looked.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeDelivery {
    /// As it was.
    pub before: Delivery,
    /// As it is: with the same id.
    pub after: Delivery,
}

impl Store {
    /// The delivery with this id.
    pub async fn delivery(&self, id: Id) -> Result<Option<Delivery>> {
        rows::one(&mut self.inner.readers.acquire().await?.borrow(), id).await
    }

    /// The delivery of a Task's newest attempt that has one.
    pub async fn delivery_of(&self, task_id: Id) -> Result<Option<Delivery>> {
        rows::newest_of(&mut self.inner.readers.acquire().await?.borrow(), task_id).await
    }

    /// Deliveries, the newest first.
    pub async fn deliveries(&self, filter: &DeliveryFilter, page: Page) -> Result<Vec<Delivery>> {
        rows::all(&mut self.inner.readers.acquire().await?.borrow(), filter, page).await
    }

    /// Those at which somebody has to look by now, the longest due first.
    pub async fn due_deliveries(&self, now: Timestamp, limit: u32) -> Result<Vec<Delivery>> {
        rows::due(&mut self.inner.readers.acquire().await?.borrow(), now, limit).await
    }

    /// Records how a delivery has got on. Says whether it was still as it was; if not, nothing is written.
    pub async fn change_delivery(&self, change: ChangeDelivery) -> Result<bool> {
        self.inner.writer.write(change).await
    }
}
