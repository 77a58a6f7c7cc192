//! So many in a second.

use std::time::{Duration, Instant};

/// A bucket that holds what may come in one second, and fills up in as long.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Rate {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, left: per_second, at: now }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let passed = now.checked_duration_since(self.at).unwrap_or(Duration::ZERO);
        self.at = now;
        self.left = (self.left + passed.as_secs_f64() * self.per_second).min(self.per_second);
        let is_there = self.left >= 1.0;
        if is_there {
            self.left -= 1.0;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_so_many_in_any_second_after_the_first() {
        let start = Instant::now();
        let mut rate = Rate::new(10, start);
        assert_eq!((0..50).filter(|_| rate.take(start)).count(), 10);
        let later = |millis: u64| start + Duration::from_millis(millis);
        assert_eq!((0..50).filter(|_| rate.take(later(500))).count(), 5);
        assert_eq!((0..500).filter(|i| rate.take(later(500 + i * 10))).count(), 49, "in 4.99 s");
        assert_eq!((0..50).filter(|_| rate.take(later(1_000_000))).count(), 10, "saves up no more than a second's");
    }
}
