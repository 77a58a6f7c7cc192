//! How many Tasks of a namespace are open. What slips through waits for its turn like every other Task.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::count::{Admitted, Counted, Counter};
use super::{LostTasks, TooMany};
use crate::store::Store;

/// When somebody who was refused may try again, in seconds: nobody knows when Tasks end.
const RETRY_AFTER: u32 = 30;

/// The limit, and what is known of who has reached it. Cheap to clone.
#[derive(Clone)]
pub(super) struct OpenTasks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    store: Option<Store>,
    /// 0 for no limit.
    most: u64,
    lost: LostTasks,
    open: Counter<BTreeMap<String, u64>>,
    admitted: Mutex<Admitted>,
}

impl std::fmt::Debug for OpenTasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenTasks").field("most", &self.0.most).finish_non_exhaustive()
    }
}

impl OpenTasks {
    pub(super) fn new(store: Store, most: u32, lost: LostTasks) -> Self {
        Self(Arc::new(Shared { store: Some(store), most: most.into(), lost, ..Shared::default() }))
    }

    pub(super) fn unlimited() -> Self {
        Self(Arc::default())
    }

    /// What is against one more Task in `namespace`.
    pub(super) async fn check(&self, namespace: &str, field: &str) -> Option<TooMany> {
        if self.0.most == 0 {
            return None;
        }
        let Counted { at, count } = self.counted().await?;
        let recorded = count.get(namespace).copied().unwrap_or(0);
        let open = recorded + self.admitted().since(namespace, at);
        (open >= self.0.most).then(|| {
            let most = self.0.most;
            let message = format!(
                "namespace {namespace:?} has {open} Tasks that have not ended, and may have {most}: wait until some have, \
                 or end some (policy.maxOpenTasks)"
            );
            TooMany::new(field, message, RETRY_AFTER)
        })
    }

    /// Notes that one more was admitted, of which the record will know soon.
    pub(super) fn admit(&self, namespace: &str) {
        if self.0.most > 0 {
            self.admitted().add(namespace, Instant::now());
        }
    }

    async fn counted(&self) -> Option<Counted<BTreeMap<String, u64>>> {
        let store = self.0.store.as_ref()?;
        self.0.open.get(async |_| store.open_by_namespace(&self.0.lost.get()).await).await
    }

    fn admitted(&self) -> std::sync::MutexGuard<'_, Admitted> {
        self.0.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Code;
    use crate::store::StoreSettings;

    async fn counter(most: u32) -> (OpenTasks, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("jct.db").display()).parse().unwrap();
        (OpenTasks::new(Store::open(&StoreSettings::new(url)).await.unwrap(), most, LostTasks::default()), folder)
    }

    #[tokio::test]
    async fn what_was_admitted_counts_before_the_record_knows_of_it() {
        let (open, _folder) = counter(3).await;
        for _ in 0..3 {
            assert_eq!(open.check("team", "spec").await, None);
            open.admit("team");
        }
        let TooMany { finding, .. } = open.check("team", "spec").await.unwrap();
        assert_eq!(finding.code, Code::TooManyTasks);
        assert!(finding.message.contains("has 3 Tasks that have not ended, and may have 3"), "{}", finding.message);
        assert_eq!(open.check("other", "spec").await, None);
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
