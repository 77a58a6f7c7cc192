//! When Tasks are passed over again by themselves. Pure.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use super::turns::TaskKey;

/// At most one moment for each Task.
#[derive(Debug, Default)]
pub struct Timers {
    by_key: HashMap<TaskKey, Instant>,
    by_time: BTreeSet<(Instant, TaskKey)>,
}

impl Timers {
    /// `key` is due at this moment, and at no other; none: not at all.
    pub fn set(&mut self, key: &TaskKey, at: Option<Instant>) {
        if let Some(before) = self.by_key.remove(key) {
            self.by_time.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.by_key.insert(key.clone(), at);
            self.by_time.insert((at, key.clone()));
        }
    }

    /// When the first one is due.
    pub fn first(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one that is due by now.
    pub fn due(&mut self, now: Instant) -> Option<TaskKey> {
        if self.first()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_is_due_once_at_the_moment_that_was_set_last() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        let after = |seconds| Some(now + Duration::from_secs(seconds));
        let (a, b, c) = (TaskKey::new("n", "a"), TaskKey::new("n", "b"), TaskKey::new("n", "c"));
        timers.set(&a, after(5));
        timers.set(&b, after(3));
        timers.set(&c, after(1));
        timers.set(&a, after(2));
        timers.set(&c, None);
        assert_eq!((timers.first(), timers.due(now)), (after(2), None));
        let later = now + Duration::from_secs(10);
        assert_eq!((timers.due(later), timers.due(later), timers.due(later)), (Some(a), Some(b), None));
        assert!(timers.by_key.is_empty() && timers.by_time.is_empty());
    }
}
