//! Bytes that may be in memory at once, shared fairly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// So many units, of which one source may hold a part. Who asks waits in line.
#[derive(Debug)]
pub struct Budget {
    all: Arc<Semaphore>,
    most: usize,
    most_of_one: usize,
    sources: Arc<Mutex<HashMap<String, Share>>>,
}

/// What one source has of it.
#[derive(Debug)]
struct Share {
    units: Arc<Semaphore>,
    users: usize,
}

/// Units that are taken, given back when this is dropped.
#[derive(Debug)]
pub struct Charge {
    all: OwnedSemaphorePermit,
    of_source: OwnedSemaphorePermit,
    _user: User,
}

#[derive(Debug)]
struct User {
    source: String,
    sources: Arc<Mutex<HashMap<String, Share>>>,
}

impl Budget {
    /// `most` units, of which one source may hold `most_of_one`.
    pub fn new(most: usize, most_of_one: usize) -> Self {
        let most_of_one = most_of_one.min(most);
        Self { all: Arc::new(Semaphore::new(most)), most, most_of_one, sources: Arc::default() }
    }

    /// Takes `units` for `source`, as soon as they are free; none if they are not within `patience`, or are more than one
    /// source may ever hold.
    pub async fn charge(&self, source: &str, units: usize, patience: Duration) -> Option<Charge> {
        let count = u32::try_from(units).ok()?;
        if units > self.most_of_one || units > self.most {
            return None;
        }
        let until = Instant::now() + patience;
        let (share, user) = self.of_source(source);
        // One's own share first: who waits for that keeps nothing from others.
        let of_source = timeout_at(until, share.acquire_many_owned(count)).await.ok()?.ok()?;
        let all = timeout_at(until, self.all.clone().acquire_many_owned(count)).await.ok()?.ok()?;
        Some(Charge { all, of_source, _user: user })
    }

    fn of_source(&self, source: &str) -> (Arc<Semaphore>, User) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let share = sources
            .entry(source.to_owned())
            .or_insert_with(|| Share { units: Arc::new(Semaphore::new(self.most_of_one)), users: 0 });
        share.users += 1;
        (share.units.clone(), User { source: source.to_owned(), sources: self.sources.clone() })
    }
}

impl Charge {
    /// Gives all but `units` back.
    pub fn keep(&mut self, units: usize) {
        let spare = self.all.num_permits().saturating_sub(units);
        drop(self.all.split(spare));
        drop(self.of_source.split(spare));
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = sources.get_mut(&self.source) {
            share.users -= 1;
            if share.users == 0 {
                sources.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    #[tokio::test(start_paused = true)]
    async fn one_source_leaves_room_for_others() {
        let budget = Budget::new(10, 6);
        let mallory = budget.charge("mallory", 6, SOON).await.unwrap();
        assert!(budget.charge("mallory", 1, SOON).await.is_none());
        let ada = budget.charge("ada", 4, SOON).await.unwrap();
        assert!(budget.charge("bob", 1, SOON).await.is_none(), "there is no more");
        drop(mallory);
        assert!(budget.charge("bob", 6, SOON).await.is_some());
        drop(ada);
        assert!(budget.charge("ada", 7, SOON).await.is_none(), "never so much at once");
        assert!(budget.sources.lock().unwrap().is_empty(), "nothing is kept of who has gone");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_needed_is_given_back() {
        let budget = Budget::new(10, 10);
        let mut charge = budget.charge("ada", 10, SOON).await.unwrap();
        charge.keep(3);
        let other = budget.charge("bob", 7, SOON).await;
        assert!(other.is_some());
        assert!(budget.charge("eve", 1, SOON).await.is_none());
        drop((charge, other));
        assert!(budget.charge("eve", 10, SOON).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_it_when_it_is_free() {
        let budget = Arc::new(Budget::new(10, 10));
        let first = budget.charge("ada", 10, SOON).await.unwrap();
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.charge("bob", 5, Duration::from_secs(1)).await.is_some() }
        });
        tokio::time::sleep(SOON).await;
        drop(first);
        assert!(waiting.await.unwrap());
    }
}
