//! Decisions, each kept until a time of its own. Callers who ask the same at once wait for one answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use tokio::time::Instant;

/// How many decisions are kept: enough for the callers of a busy installation, little enough to be nothing in memory.
const CAPACITY: usize = 8192;

type Cell<V> = Arc<OnceCell<(V, Instant)>>;

/// A map of decisions.
#[derive(Debug)]
pub struct Cache<K, V>(Mutex<HashMap<K, Cell<V>>>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// The decision on `key`: the one kept, or what `decide` says and how long to keep it. An error is not kept.
    pub async fn get<E>(
        &self,
        key: K,
        now: Instant,
        decide: impl Future<Output = Result<(V, Instant), E>>,
    ) -> Result<V, E> {
        let cell = self.cell(key, now);
        cell.get_or_try_init(|| decide).await.map(|(value, _)| value.clone())
    }

    /// The decision on `key`, if there is one.
    pub fn known(&self, key: &K, now: Instant) -> Option<V> {
        let cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, until) = cells.get(key)?.get()?;
        (now < *until).then(|| value.clone())
    }

    /// Forgets the decision on `key`.
    pub fn forget(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn cell(&self, key: K, now: Instant) -> Cell<V> {
        let fresh = |cell: &Cell<V>| cell.get().is_none_or(|(_, until)| now < *until);
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = cells.get(&key).filter(|cell| fresh(cell)) {
            return cell.clone();
        }
        if cells.len() >= CAPACITY {
            cells.retain(|_, cell| fresh(cell) && cell.initialized());
        }
        let cell = Cell::default();
        // A flood of made-up tokens fills it; those who are known by then stay, the others are asked about each time.
        if cells.len() < CAPACITY {
            cells.insert(key, cell.clone());
        }
        cell
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    struct Counted {
        cache: Cache<u32, u32>,
        asked: AtomicU32,
        start: Instant,
    }

    impl Counted {
        fn new() -> Self {
            Self { cache: Cache::default(), asked: AtomicU32::new(0), start: Instant::now() }
        }

        async fn ask(&self, key: u32, at_seconds: u64) -> u32 {
            let now = self.start + Duration::from_secs(at_seconds);
            let answer = self.cache.get(key, now, async {
                tokio::task::yield_now().await;
                let count = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
                Ok::<_, Infallible>((count, now + Duration::from_secs(10)))
            });
            answer.await.unwrap()
        }
    }

    #[tokio::test]
    async fn a_decision_is_kept_until_its_time() {
        let counted = Counted::new();
        assert_eq!(counted.ask(1, 0).await, 1);
        assert_eq!(counted.ask(1, 9).await, 1);
        assert_eq!(counted.ask(2, 9).await, 2);
        assert_eq!(counted.ask(1, 10).await, 3);
    }

    #[tokio::test]
    async fn who_asks_at_once_waits_for_one_answer() {
        let counted = Counted::new();
        let answers = futures::future::join_all((0..50).map(|_| counted.ask(1, 0))).await;
        assert_eq!(answers, [1; 50]);
    }

    #[tokio::test]
    async fn an_error_is_not_kept() {
        let cache: Cache<u32, u32> = Cache::default();
        let now = Instant::now();
        assert_eq!(cache.get(1, now, async { Err("away") }).await, Err("away"));
        assert_eq!(cache.get(1, now, async { Ok::<_, &str>((7, now)) }).await, Ok(7));
    }

    #[tokio::test]
    async fn a_flood_does_not_grow_it() {
        let counted = Counted::new();
        counted.ask(0, 0).await;
        for key in 1..20_000 {
            counted.ask(key, 1).await;
        }
        assert!(counted.cache.0.lock().unwrap().len() <= CAPACITY);
        assert_eq!(counted.ask(0, 2).await, 1);
    }
}
