//! Counting by the record, now and then, and what was admitted since.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::store::Result;

/// How long a count is used.
const FRESH: Duration = Duration::from_secs(2);
/// How long the record may take to count: the API server waits for an answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long what was admitted may take to be recorded.
const UNDER_WAY: Duration = Duration::from_secs(3);
/// How much that was admitted is remembered, in all.
const REMEMBERED: usize = 100_000;

/// A count by the record, and when it began.
#[derive(Debug)]
pub(super) struct Counted<Count> {
    pub(super) at: Instant,
    /// Nothing, where the record did not answer.
    pub(super) count: Arc<Count>,
}

impl<Count> Clone for Counted<Count> {
    fn clone(&self) -> Self {
        Self { at: self.at, count: Arc::clone(&self.count) }
    }
}

/// The last count, asked for anew by one caller at a time.
#[derive(Debug)]
pub(super) struct Counter<Count> {
    counted: Mutex<Option<Counted<Count>>>,
    counting: tokio::sync::Mutex<()>,
}

impl<Count> Default for Counter<Count> {
    fn default() -> Self {
        Self { counted: Mutex::default(), counting: tokio::sync::Mutex::default() }
    }
}

impl<Count: Default> Counter<Count> {
    /// The count, by `ask` if it is old; none if somebody else is asking for too long.
    pub(super) async fn get<Asked: Future<Output = Result<Count>>>(
        &self,
        ask: impl FnOnce(Option<Arc<Count>>) -> Asked,
    ) -> Option<Counted<Count>> {
        let fresh = || self.known().filter(|counted| counted.at.elapsed() < FRESH);
        if let Some(counted) = fresh() {
            return Some(counted);
        }
        let Ok(_alone) = timeout(PATIENCE, self.counting.lock()).await else { return None };
        if let Some(counted) = fresh() {
            return Some(counted);
        }
        let at = Instant::now();
        let count = match timeout(PATIENCE, ask(self.known().map(|counted| counted.count))).await {
            Ok(Ok(count)) => count,
            // Who comes next need not wait for the same.
            Ok(Err(error)) => {
                debug!(%error, "what namespaces have is not counted: the limits rest");
                Count::default()
            }
            Err(_) => Count::default(),
        };
        let counted = Counted { at, count: Arc::new(count) };
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some(counted.clone());
        Some(counted)
    }

    fn known(&self) -> Option<Counted<Count>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What was admitted, and may not be recorded yet.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    count: usize,
    of: HashMap<String, VecDeque<Instant>>,
}

impl Admitted {
    pub(super) fn add(&mut self, namespace: &str, now: Instant) {
        if self.count >= REMEMBERED {
            self.forget(now);
        }
        if self.count < REMEMBERED {
            self.of.entry(namespace.to_owned()).or_default().push_back(now);
            self.count += 1;
        }
    }

    /// Those of `namespace` that a count begun at `counted_at` may not have seen.
    pub(super) fn since(&mut self, namespace: &str, counted_at: Instant) -> u64 {
        self.forget(counted_at);
        self.of.get(namespace).map_or(0, |times| times.len() as u64)
    }

    /// Forgets those that were recorded at `time`.
    fn forget(&mut self, time: Instant) {
        let mut count = 0;
        self.of.retain(|_, times| {
            while times.front().is_some_and(|at| *at + UNDER_WAY <= time) {
                times.pop_front();
            }
            count += times.len();
            !times.is_empty()
        });
        self.count = count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_admitted_and_never_recorded_is_forgotten() {
        let mut admitted = Admitted::default();
        let now = Instant::now();
        admitted.add("team", now);
        assert_eq!(admitted.since("team", now), 1);
        assert_eq!((admitted.since("team", now + UNDER_WAY), admitted.count), (0, 0));
    }
}
