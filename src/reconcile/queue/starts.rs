//! In which order Jobs are made: nobody's Task stands behind what another namespace begins later.
//!
//! Turns say whose pass begins; until a pass makes its Job it reads, records and prepares a folder, and of a namespace with
//! thousands of Tasks a dozen passes would make theirs meanwhile. So who is on its way to its first worker is noted, and of each
//! other namespace no more than `AHEAD` start before it. Nobody waits where there is one namespace alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::turns::TaskKey;

/// How many of each other namespace may start before one that is on its way.
const AHEAD: u32 = 2;

/// How long one that is on its way holds up others: what takes longer is a fault, and not everybody's.
const PATIENCE: Duration = Duration::from_millis(500);

/// Who is on its way to its first worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Starts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    patience: Duration,
    by_namespace: Mutex<StartsByNamespace>,
    changed: Notify,
}

/// By namespace.
type StartsByNamespace = HashMap<Arc<str>, NamespaceStarts>;

/// What of a namespace is on its way.
#[derive(Debug, Default)]
struct NamespaceStarts {
    since: HashMap<TaskKey, Instant>,
    /// How many of other namespaces have started since one of this had its turn.
    ahead: HashMap<Arc<str>, u32>,
}

impl Default for Starts {
    fn default() -> Self {
        Self::with_patience(PATIENCE)
    }
}

/// That a Task is on its way, until this is dropped.
#[derive(Debug)]
pub struct Ticket {
    starts: Starts,
    key: TaskKey,
}

impl Starts {
    /// With another patience than usual.
    pub fn with_patience(patience: Duration) -> Self {
        Self(Arc::new(Shared { patience, by_namespace: Mutex::default(), changed: Notify::new() }))
    }

    /// `key` is on its way to its first worker from now on.
    pub fn register(&self, key: &TaskKey) -> Ticket {
        let mut by_namespace = self.by_namespace();
        if !by_namespace.contains_key(key.namespace()) {
            by_namespace.insert(key.namespace().into(), NamespaceStarts::default());
        }
        if let Some(entry) = by_namespace.get_mut(key.namespace()) {
            entry.since.insert(key.clone(), Instant::now());
        }
        Ticket { starts: self.clone(), key: key.clone() }
    }

    /// Returns when `key` may start; it is on its way no longer.
    pub async fn wait_turn(&self, key: &TaskKey) {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            let Some(held_until) = self.start(key) else { return };
            tokio::select! {
                () = changed => {}
                () = sleep_until(held_until) => {}
            }
        }
    }

    /// Starts `key`, if that may be now; else until when it is held at most.
    fn start(&self, key: &TaskKey) -> Option<Instant> {
        let (namespace, now) = (key.namespace(), Instant::now());
        let mut by_namespace = self.by_namespace();
        let others = by_namespace.iter().filter(|(other, _)| &***other != namespace);
        let holding = others.filter(|(_, entry)| entry.ahead.get(namespace).is_some_and(|ahead| *ahead >= AHEAD));
        let until =
            holding.filter_map(|(_, entry)| entry.since.values().max().map(|since| *since + self.0.patience)).max();
        if let Some(until) = until.filter(|until| *until > now) {
            return Some(until);
        }
        for (other, entry) in by_namespace.iter_mut() {
            if &**other != namespace {
                *entry.ahead.entry(namespace.into()).or_default() += 1;
            }
        }
        drop(by_namespace);
        self.finish(key);
        None
    }

    /// `key` has started, or will not: whichever it is, its namespace had its turn.
    fn finish(&self, key: &TaskKey) {
        let mut by_namespace = self.by_namespace();
        let Some(entry) = by_namespace.get_mut(key.namespace()) else { return };
        if entry.since.remove(key).is_none() {
            return;
        }
        entry.ahead.clear();
        if entry.since.is_empty() {
            by_namespace.remove(key.namespace());
        }
        drop(by_namespace);
        self.0.changed.notify_waiters();
    }

    fn by_namespace(&self) -> MutexGuard<'_, StartsByNamespace> {
        self.0.by_namespace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.starts.finish(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn key(namespace: &str, n: u32) -> TaskKey {
        TaskKey::new(namespace, &format!("t{n}"))
    }

    /// How many of `many` start before they have to wait.
    fn started(starts: &Starts, numbers: std::ops::Range<u32>) -> usize {
        let turns = numbers.map(|n| starts.wait_turn(&key("many", n)).now_or_never());
        turns.take_while(Option::is_some).count()
    }

    #[tokio::test]
    async fn beside_one_on_its_way_two_of_another_namespace_start() {
        let starts = Starts::with_patience(LONG);
        assert_eq!(started(&starts, 0..20), 20, "nobody else is there");
        let single = starts.register(&key("one", 0));
        assert_eq!(started(&starts, 20..40), 2);
        // Its turn may come at any time, and then the others go on.
        let waiting = tokio::spawn({
            let starts = starts.clone();
            async move { starts.wait_turn(&key("many", 40)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        starts.wait_turn(&key("one", 0)).await;
        waiting.await.unwrap();
        assert_eq!(started(&starts, 41..60), 19);
        drop(single);
        assert!(starts.by_namespace().is_empty(), "nothing is left behind");
    }

    #[tokio::test]
    async fn of_two_with_many_neither_gets_more_than_two_ahead() {
        let starts = Starts::with_patience(LONG);
        let mut tickets: HashMap<_, _> = (0..100)
            .flat_map(|n| [("many", n), ("more", n)])
            .map(|(of, n)| ((of, n), starts.register(&key(of, n))))
            .collect();
        let mut next = HashMap::from([("many", 0), ("more", 0)]);
        for of in ["many", "many", "many", "more", "more", "more", "many", "many"] {
            let n = next[of];
            if starts.wait_turn(&key(of, n)).now_or_never().is_some() {
                next.insert(of, n + 1);
                tickets.remove(&(of, n));
            }
        }
        assert_eq!(next, HashMap::from([("many", 4), ("more", 2)]), "the third of each was held");
    }

    #[tokio::test]
    async fn who_never_starts_holds_nobody_for_long() {
        // One leaves without a start, and the next one comes, and so on.
        let starts = Starts::with_patience(LONG);
        let mut at = 0;
        let mut refused = starts.register(&key("one", 0));
        for n in 1..5 {
            let there = started(&starts, at..at + 10);
            assert_eq!(there, 2);
            at += 2;
            let next = starts.register(&key("one", n));
            drop(std::mem::replace(&mut refused, next));
        }
        // And one that hangs.
        let starts = Starts::with_patience(Duration::from_millis(5));
        let _hangs = starts.register(&key("one", 0));
        for n in 0..10 {
            starts.wait_turn(&key("many", n)).await;
        }
    }
}
