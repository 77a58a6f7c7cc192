//! How many Tasks of a namespace are open, for the limit on them (contract section 1, `TOO_MANY_TASKS`).
//!
//! A guard against floods, not a quota to the unit: the record is asked at most every two seconds, for all namespaces at
//! once, and what was admitted since is added. While the record is away nothing is refused; what slips through waits for
//! its turn like every other Task.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::domain::{Code, Finding};
use crate::store::Store;

/// How long a count is used.
const FRESH: Duration = Duration::from_secs(2);
/// How long the record may take to count: the API server waits for an answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a Task that was admitted may take to be recorded.
const UNDER_WAY: Duration = Duration::from_secs(3);
/// How many admitted Tasks are remembered, in all.
const REMEMBERED: usize = 100_000;

/// The limit, and what is known of who has reached it. Cheap to clone.
#[derive(Clone)]
pub struct OpenTasks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    store: Option<Store>,
    /// 0 for no limit.
    most: u64,
    counted: Mutex<Option<Counted>>,
    counting: tokio::sync::Mutex<()>,
    admitted: Mutex<Admitted>,
}

#[derive(Clone)]
struct Counted {
    /// When counting began.
    at: Instant,
    open: Arc<BTreeMap<String, u64>>,
}

#[derive(Default)]
struct Admitted {
    count: usize,
    of: HashMap<String, VecDeque<Instant>>,
}

impl std::fmt::Debug for OpenTasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenTasks").field("most", &self.0.most).finish_non_exhaustive()
    }
}

impl OpenTasks {
    /// At most `most` open Tasks in each namespace; 0 for no limit.
    pub fn new(store: Store, most: u32) -> Self {
        Self(Arc::new(Shared { store: Some(store), most: most.into(), ..Shared::default() }))
    }

    /// As many as come.
    pub fn unlimited() -> Self {
        Self(Arc::default())
    }

    /// What is wrong with one more Task in `namespace`: nothing, or that there are as many as may be.
    pub async fn check(&self, namespace: &str, field: &str) -> Option<Finding> {
        if self.0.most == 0 {
            return None;
        }
        let counted = self.counted().await?;
        let recorded = counted.open.get(namespace).copied().unwrap_or(0);
        let open = recorded + self.0.admitted().since(namespace, counted.at);
        (open >= self.0.most).then(|| {
            let most = self.0.most;
            let message = format!(
                "namespace {namespace:?} has {open} Tasks that have not ended, and may have {most}: wait until some have, \
                 or end some (policy.maxOpenTasks)"
            );
            Finding::new(Code::TooManyTasks, field, message)
        })
    }

    /// Notes that one more was admitted, of which the record will know soon.
    pub fn admit(&self, namespace: &str) {
        if self.0.most > 0 {
            self.0.admitted().add(namespace, Instant::now());
        }
    }

    /// The count, asked for if it is old; none if the record does not answer.
    async fn counted(&self) -> Option<Counted> {
        let known = |fresh: Duration| self.0.known().filter(|counted| counted.at.elapsed() < fresh);
        if let Some(counted) = known(FRESH) {
            return Some(counted);
        }
        let Ok(_alone) = timeout(PATIENCE, self.0.counting.lock()).await else { return None };
        if let Some(counted) = known(FRESH) {
            return Some(counted);
        }
        let at = Instant::now();
        let counted = match timeout(PATIENCE, self.0.store.as_ref()?.open_by_namespace()).await {
            Ok(Ok(open)) => Counted { at, open: Arc::new(open) },
            Ok(Err(error)) => {
                debug!(%error, "open Tasks are not counted: the limit on them rests");
                // Who comes next need not wait for the same.
                Counted { at, open: Arc::default() }
            }
            Err(_) => Counted { at, open: Arc::default() },
        };
        *self.0.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some(counted.clone());
        Some(counted)
    }
}

impl Shared {
    fn known(&self) -> Option<Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn admitted(&self) -> std::sync::MutexGuard<'_, Admitted> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    fn add(&mut self, namespace: &str, now: Instant) {
        if self.count >= REMEMBERED {
            self.forget(now);
        }
        if self.count < REMEMBERED {
            self.of.entry(namespace.to_owned()).or_default().push_back(now);
            self.count += 1;
        }
    }

    /// Those of `namespace` that a count begun at `counted_at` may not have seen.
    fn since(&mut self, namespace: &str, counted_at: Instant) -> u64 {
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
    use crate::store::StoreSettings;

    async fn counter(most: u32) -> (OpenTasks, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("jct.db").display()).parse().unwrap();
        (OpenTasks::new(Store::open(&StoreSettings::new(url)).await.unwrap(), most), folder)
    }

    #[tokio::test]
    async fn what_was_admitted_counts_before_the_record_knows_of_it() {
        let (open, _folder) = counter(3).await;
        for _ in 0..3 {
            assert_eq!(open.check("team", "spec").await, None);
            open.admit("team");
        }
        let finding = open.check("team", "spec").await.unwrap();
        assert_eq!(finding.code, Code::TooManyTasks);
        assert!(finding.message.contains("has 3 Tasks that have not ended, and may have 3"), "{}", finding.message);
        assert_eq!(open.check("other", "spec").await, None);
    }

    #[tokio::test]
    async fn what_was_admitted_and_never_recorded_is_forgotten() {
        let mut admitted = Admitted::default();
        let now = Instant::now();
        admitted.add("team", now);
        assert_eq!(admitted.since("team", now), 1);
        assert_eq!((admitted.since("team", now + UNDER_WAY), admitted.count), (0, 0));
    }

    #[tokio::test]
    async fn without_a_limit_or_a_record_nothing_is_refused() {
        let (open, _folder) = counter(0).await;
        open.admit("team");
        assert_eq!(open.check("team", "spec").await, None);
        let (open, _folder) = counter(1).await;
        open.0.store.as_ref().unwrap().close().await;
        assert_eq!(open.check("team", "spec").await, None);
    }
}
