//! What can go wrong in a pass, and when to try again.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use super::by_uid::ByUid;
use crate::forges::NoLogin;
use crate::store::StoreError;

/// Why a pass ended early. All but [`Error::Invalid`] are tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("{action}: {source}")]
    Api { action: &'static str, source: Box<kube::Error> },
    /// The record could not be read or written.
    #[error("{action}: {source}")]
    Store { action: &'static str, source: StoreError },
    /// The trace volume could not be read or written.
    #[error("{action}: {source}")]
    Volume { action: &'static str, source: io::Error },
    /// A forge's credential can't be had.
    #[error("read a private repository: {0}")]
    Forge(NoLogin),
    /// The object lacks what every stored object has; waits for an edit.
    #[error("object is without {0}")]
    Invalid(&'static str),
}

impl Error {
    /// For use with `map_err` on calls of the API server.
    pub fn api(action: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { action, source: Box::new(source) }
    }

    /// What the API server answered; none if the object is gone.
    ///
    /// # Errors
    /// [`Error::Api`] for every other refusal.
    pub fn unless_gone<T>(action: &'static str, answer: kube::Result<T>) -> Result<Option<T>, Self> {
        match answer.map_err(Self::api(action)) {
            Err(error) if error.is_gone() => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// For use with `map_err` on calls of the store.
    pub fn store(action: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |source| Self::Store { action, source }
    }

    /// For use with `map_err` on the trace volume.
    pub fn volume(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Volume { action, source }
    }

    /// The category, for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Api { .. } => "api",
            Self::Store { .. } => "store",
            Self::Volume { .. } => "volume",
            Self::Forge(_) => "forge",
            Self::Invalid(_) => "invalid",
        }
    }

    /// What the database says, if it is of the record as a whole, and not of one object or of the operator's own end.
    pub fn outage(&self) -> Option<&StoreError> {
        match self {
            Self::Store {
                source: StoreError::UnknownTask(_) | StoreError::Conflict { .. } | StoreError::Closed,
                ..
            } => None,
            Self::Store { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Whether the API server said that the object is gone.
    fn is_gone(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.code == 404))
    }
}

/// Failures in a row, by uid: the runtime tells of failures only, so success is noted here.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: ByUid<u32>,
}

impl Default for Backoff {
    /// From half a second to half a minute.
    fn default() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Waits that double from `first` to `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: ByUid::default() }
    }

    /// Notes a failure and says how long to wait.
    pub fn failed(&self, uid: &str) -> Duration {
        let before = self.failures.change(uid, |count| std::mem::replace(count, count.saturating_add(1)));
        self.first.saturating_mul(1 << before.min(10)).min(self.most)
    }

    /// Forgets the failures of an object.
    pub fn succeeded(&self, uid: &str) {
        self.failures.forget(uid);
    }

    /// Forgets the failures of all objects but these.
    pub fn keep(&self, there: &HashSet<String>) {
        self.failures.keep(there);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute_and_start_over_after_success() {
        let backoff = Backoff::default();
        let waits: Vec<u128> = (0..9).map(|_| backoff.failed("a").as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
        assert_eq!(backoff.failed("b").as_millis(), 500);
        backoff.succeeded("a");
        assert_eq!(backoff.failed("a").as_millis(), 500);
    }
}
