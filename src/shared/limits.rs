//! What one namespace may have: Tasks that have not ended, and what is recorded within an hour (contract section 1,
//! `TOO_MANY_TASKS`).
//!
//! Guards against floods, not quotas to the unit: the record is asked at most every two seconds, for all namespaces at once,
//! and what was admitted since is added. While the record is away nothing is refused.

mod count;
mod open_tasks;
mod recorded;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::{Code, Finding};
use crate::store::Store;

use open_tasks::OpenTasks;
use recorded::Recorded;

/// The limits of every namespace, and what is known of who has reached one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NamespaceLimits {
    open: OpenTasks,
    recorded: Recorded,
}

/// Why one more is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// Which limit, and when there is room again.
    pub finding: Finding,
    /// When to try again, in seconds.
    pub retry_after_seconds: u32,
}

impl TooMany {
    fn new(field: &str, message: String, retry_after_seconds: u32) -> Self {
        Self { finding: Finding::new(Code::TooManyTasks, field, message), retry_after_seconds }
    }
}

/// The uids of Tasks whose record was lost or is an older one: their rows may look open, and nothing runs of them. Cheap to
/// clone.
#[derive(Clone, Debug, Default)]
pub struct LostTasks(Arc<Mutex<BTreeSet<String>>>);

impl LostTasks {
    /// These they are now.
    pub fn set(&self, uids: BTreeSet<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = uids;
    }

    fn get(&self) -> BTreeSet<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl NamespaceLimits {
    /// At most `most_open` open Tasks in each namespace, and `most_recorded` Tasks and work objects recorded within an hour; 0 for
    /// no limit. `lost` are not open.
    pub fn new(store: Store, most_open: u32, most_recorded: u32, lost: LostTasks) -> Self {
        Self { open: OpenTasks::new(store.clone(), most_open, lost), recorded: Recorded::new(store, most_recorded) }
    }

    /// As many as come.
    pub fn none() -> Self {
        Self { open: OpenTasks::unlimited(), recorded: Recorded::unlimited() }
    }

    /// What is against one more Task in `namespace`.
    pub async fn check_task(&self, namespace: &str, field: &str) -> Option<TooMany> {
        match self.open.check(namespace, field).await {
            None => self.recorded.check(namespace, field).await,
            too_many => too_many,
        }
    }

    /// What is against one more work object in `namespace`.
    pub async fn check_object(&self, namespace: &str, field: &str) -> Option<TooMany> {
        self.recorded.check(namespace, field).await
    }

    /// Notes that a Task was admitted, of which the record will know soon.
    pub fn admit_task(&self, namespace: &str) {
        self.open.admit(namespace);
        self.recorded.admit(namespace);
    }

    /// Notes that a work object was admitted, of which the record will know soon.
    pub fn admit_object(&self, namespace: &str) {
        self.recorded.admit(namespace);
    }
}
