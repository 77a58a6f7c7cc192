//! How much of a namespace was recorded within an hour: what ended, was deleted or refused stays in the record, which so is
//! bounded by nothing else.
//!
//! Counted by minutes, so that the record is asked for the last few alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::time::Instant;

use super::TooMany;
use super::count::{Admitted, Counted, Counter};
use crate::store::{Result, Store};

/// How long what was recorded counts, in minutes.
const HOUR: i64 = 60;
/// How many minutes back it is asked again what was recorded: transactions end later than they begin, clocks differ.
const AGAIN: i64 = 2;

/// The limit, and what is known of who has reached it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Recorded(Arc<Shared>);

#[derive(Default)]
struct Shared {
    store: Option<Store>,
    /// 0 for no limit.
    most: u64,
    recorded: Counter<Minutes>,
    admitted: Mutex<Admitted>,
}

/// What was recorded in which minute since 1970, by namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Minutes {
    /// The minute of the count; 0 before the first.
    counted: i64,
    of: HashMap<String, BTreeMap<i64, u64>>,
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorded").field("most", &self.0.most).finish_non_exhaustive()
    }
}

impl Recorded {
    pub(super) fn new(store: Store, most: u32) -> Self {
        Self(Arc::new(Shared { store: Some(store), most: most.into(), ..Shared::default() }))
    }

    pub(super) fn unlimited() -> Self {
        Self(Arc::default())
    }

    /// What is against one more Task or work object in `namespace`.
    pub(super) async fn check(&self, namespace: &str, field: &str) -> Option<TooMany> {
        if self.0.most == 0 {
            return None;
        }
        let store = self.0.store.as_ref()?;
        let now = Timestamp::now();
        let ask = async |known: Option<Arc<Minutes>>| count(store, known, minute(now)).await;
        let Counted { at, count } = self.0.recorded.get(ask).await?;
        let coming = self.admitted().since(namespace, at);
        let nothing = BTreeMap::new();
        let of = count.of.get(namespace).unwrap_or(&nothing);
        let (recorded, frees_at) = room(of, coming, self.0.most, now)?;
        let most = self.0.most;
        let message = format!(
            "of namespace {namespace:?} {recorded} Tasks and work objects were recorded within an hour, and {most} may be: the \
             next is let in at {frees_at} (policy.maxRecordedPerHour)"
        );
        let seconds = frees_at.as_second().saturating_sub(now.as_second()).max(1);
        Some(TooMany::new(field, message, u32::try_from(seconds).unwrap_or(u32::MAX)))
    }

    /// Notes that one more was admitted, of which the record will know soon.
    pub(super) fn admit(&self, namespace: &str) {
        if self.0.most > 0 {
            self.admitted().add(namespace, Instant::now());
        }
    }

    fn admitted(&self) -> std::sync::MutexGuard<'_, Admitted> {
        self.0.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn minute(time: Timestamp) -> i64 {
    time.as_second().div_euclid(60)
}

/// The beginning of a minute.
fn beginning(minute: i64) -> Timestamp {
    Timestamp::from_second(minute.saturating_mul(60)).unwrap_or_default()
}

/// What was recorded up to `now`; of what is `known` the last minutes are asked for again.
async fn count(store: &Store, known: Option<Arc<Minutes>>, now: i64) -> Result<Minutes> {
    let first = now - HOUR + 1;
    let known = known.filter(|known| known.counted > 0).map_or_else(Minutes::default, |known| (*known).clone());
    let from = first.max(known.counted - AGAIN);
    let mut minutes = Minutes { counted: now, of: known.of };
    minutes.of.retain(|_, of| {
        of.retain(|minute, _| (first..from).contains(minute));
        !of.is_empty()
    });
    for (namespace, minute, count) in store.recorded_by_minute(beginning(from)).await? {
        minutes.of.entry(namespace).or_default().insert(minute, count);
    }
    Ok(minutes)
}

/// How much there is, if it is `most` or more, and when there is less again.
fn room(of: &BTreeMap<i64, u64>, coming: u64, most: u64, now: Timestamp) -> Option<(u64, Timestamp)> {
    let first = minute(now) - HOUR + 1;
    let there = || of.range(first..);
    let recorded = there().map(|(_, count)| count).sum::<u64>() + coming;
    if recorded < most {
        return None;
    }
    let mut left = recorded;
    let last = there().find_map(|(minute, count)| {
        left = left.saturating_sub(*count);
        (left < most).then_some(*minute)
    });
    Some((recorded, beginning(last.unwrap_or_else(|| minute(now)) + HOUR)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn there_is_room_again_when_enough_of_it_is_an_hour_old() {
        let now = at("2026-03-01T12:00:30Z");
        let minutes = |ago: &[(i64, u64)]| ago.iter().map(|(ago, count)| (minute(now) - ago, *count)).collect();
        let of: BTreeMap<i64, u64> = minutes(&[(60, 100), (59, 3), (10, 4), (0, 2)]);
        assert_eq!(room(&of, 0, 10, now), None, "what is older than an hour does not count");
        assert_eq!(room(&of, 0, 9, now), Some((9, at("2026-03-01T12:01:00Z"))));
        assert_eq!(room(&of, 0, 6, now), Some((9, at("2026-03-01T12:50:00Z"))));
        assert_eq!(room(&of, 1, 10, now), Some((10, at("2026-03-01T12:01:00Z"))));
        assert_eq!(room(&BTreeMap::new(), 3, 3, now), Some((3, at("2026-03-01T13:00:00Z"))));
    }
}
