//! The way of denied requests into the audit log: a bounded queue that no answer waits for.
//!
//! Best effort by design. The gate's answer must not depend on the database: while that is away or slow the queue fills
//! up, and what finds no place in it is dropped, counted and told in the log.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Metrics;
use crate::domain::Denial;
use crate::store::{Store, StoreError};

/// How many denials may wait; a long one takes some 15 KB.
const QUEUE: usize = 512;
/// How many are written at once.
const BATCH: usize = 128;
/// The first and the longest wait after the record could not be written.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// The least time between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Where denied requests are handed in. Cheap to clone; all clones share one queue.
#[derive(Clone, Debug)]
pub struct Denials {
    queue: Sender<Denial>,
    losses: Losses,
}

/// The other end: denials that wait to be written.
#[derive(Debug)]
pub struct Waiting {
    queue: Receiver<Denial>,
    losses: Losses,
}

impl Denials {
    /// A queue with its two ends.
    pub fn new(metrics: &Metrics) -> (Self, Waiting) {
        Self::with_room_for(QUEUE, metrics)
    }

    fn with_room_for(places: usize, metrics: &Metrics) -> (Self, Waiting) {
        let (sender, receiver) = mpsc::channel(places);
        let losses = Losses { metrics: metrics.clone(), warned: Arc::default() };
        (Self { queue: sender, losses: losses.clone() }, Waiting { queue: receiver, losses })
    }

    /// Hands `denial` in, at once: it will be written, or dropped if too many wait.
    pub fn keep(&self, denial: Denial) {
        if self.queue.try_send(denial.bounded()).is_err() {
            self.losses.count(1, "too many wait for the record");
        }
    }
}

impl Waiting {
    /// Writes what is handed in, until `stop`; then what still waits, if the record takes it.
    pub async fn record(mut self, store: Store, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                taken = self.queue.recv_many(&mut batch, BATCH) => if taken == 0 { return },
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
            }
            self.write(&store, &batch, &stop).await;
            batch.clear();
        }
    }

    /// Writes `batch`, again and again while the record is away. A repetition writes nothing twice.
    async fn write(&self, store: &Store, batch: &[Denial], stop: &CancellationToken) {
        let (mut pause, longest) = RETRY;
        loop {
            match store.record_denials(batch.to_vec()).await {
                Ok(()) => return,
                Err(error) if error.is_transient() && !stop.is_cancelled() => {
                    self.losses.warn(&format!("the record does not take denials, which wait: {error}"));
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = stop.cancelled() => {}
                    }
                    pause = (pause * 2).min(longest);
                }
                Err(error) => return self.losses.count(batch.len(), &reason(&error)),
            }
        }
    }

    /// Denials that wait now. For tests of those who hand them in.
    pub fn take(&mut self) -> Vec<Denial> {
        std::iter::from_fn(|| self.queue.try_recv().ok()).collect()
    }
}

fn reason(error: &StoreError) -> String {
    format!("the record does not take them: {error}")
}

/// Counts what is lost, and tells of it now and then.
#[derive(Clone, Debug)]
struct Losses {
    metrics: Metrics,
    warned: Arc<Mutex<Option<Instant>>>,
}

impl Losses {
    fn count(&self, denials: usize, reason: &str) {
        self.metrics.denials_dropped.inc_by(denials as u64);
        self.warn(&format!("denials are not kept in the audit log: {reason}"));
    }

    /// Warns, unless there was a warning in the last minute.
    fn warn(&self, message: &str) {
        let Ok(mut warned) = self.warned.lock() else { return };
        if warned.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        *warned = Some(Instant::now());
        warn!(dropped_since_start = self.metrics.denials_dropped.get(), "{message}");
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, SqliteConnection};

    use super::*;
    use crate::domain::audit::EntityKind;
    use crate::domain::denial::{Door, Request};
    use crate::domain::{Actor, Code, Finding, TraceId};
    use crate::store::{AuditQuery, Page, StoreSettings};

    fn denial(uid: usize) -> Denial {
        Denial {
            door: Door::Kubernetes,
            uid: uid.to_string(),
            actor: Actor::authenticated("ada"),
            submitted_by: Some("ada".into()),
            trace_id: TraceId::derive(&uid.to_string()),
            namespace: "team".into(),
            name: Some("t".into()),
            generate_name: None,
            kind: "Task".into(),
            request: Request::Create,
            findings: vec![Finding::new(Code::RepoNotAllowed, "spec.target.repo", "no")],
            findings_left_out: 0,
            spec_sha256: "ab".repeat(32),
            denied_at: "2026-03-01T12:00:00Z".parse().unwrap(),
        }
    }

    fn dropped(metrics: &Metrics) -> String {
        let page = metrics.encode();
        let line = page.lines().find(|line| line.starts_with("jct_admission_denials_dropped_total "));
        line.unwrap().rsplit(' ').next().unwrap().to_owned()
    }

    async fn store(folder: &tempfile::TempDir) -> Store {
        let url = format!("sqlite://{}", folder.path().join("jct.db").display()).parse().unwrap();
        let mut settings = StoreSettings::new(url);
        settings.wait = Duration::from_millis(100);
        Store::open(&settings).await.unwrap()
    }

    async fn kept(store: &Store) -> usize {
        let page = Page { limit: 1000, ..Page::default() };
        let query = AuditQuery { entity_kind: Some(EntityKind::AdmissionDenial), page, ..AuditQuery::default() };
        store.audit(&query).await.unwrap().len()
    }

    #[tokio::test]
    async fn a_full_queue_drops_the_newest_and_counts() {
        let metrics = Metrics::default();
        let (denials, mut waiting) = Denials::with_room_for(2, &metrics);
        for uid in 0..5 {
            denials.keep(denial(uid));
        }
        assert_eq!(dropped(&metrics), "3");
        assert_eq!(waiting.take(), [denial(0), denial(1)]);
        denials.keep(denial(5));
        assert_eq!((waiting.take().len(), dropped(&metrics).as_str()), (1, "3"), "there is room again");
    }

    #[tokio::test(start_paused = true)]
    async fn warnings_come_once_a_minute() {
        let metrics = Metrics::default();
        let (denials, _waiting) = Denials::with_room_for(1, &metrics);
        let warned_at = || *denials.losses.warned.lock().unwrap();
        for uid in 0..3 {
            denials.keep(denial(uid));
        }
        let first = warned_at().unwrap();
        tokio::time::advance(Duration::from_secs(59)).await;
        denials.keep(denial(3));
        assert_eq!(warned_at(), Some(first));
        tokio::time::advance(Duration::from_secs(2)).await;
        denials.keep(denial(4));
        assert!(warned_at() > Some(first));
    }

    #[tokio::test]
    async fn what_waits_at_shutdown_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (store, metrics, stop) = (store(&folder).await, Metrics::default(), CancellationToken::new());
        let (denials, waiting) = Denials::new(&metrics);
        (0..300).for_each(|uid| denials.keep(denial(uid)));
        stop.cancel();
        waiting.record(store.clone(), stop).await;
        assert_eq!((kept(&store).await, dropped(&metrics).as_str()), (300, "0"));
        denials.keep(denial(300));
        assert_eq!(dropped(&metrics), "1", "nobody is there to write it");
    }

    #[tokio::test]
    async fn a_record_that_is_away_for_a_while_gets_them_later() {
        let folder = tempfile::tempdir().unwrap();
        let (store, metrics, stop) = (store(&folder).await, Metrics::default(), CancellationToken::new());
        let (denials, waiting) = Denials::new(&metrics);
        let file = format!("sqlite://{}", folder.path().join("jct.db").display());
        let mut other = SqliteConnection::connect(&file).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        let recording = tokio::spawn(waiting.record(store.clone(), stop.clone()));
        denials.keep(denial(0));
        while store.stats().failures == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        denials.keep(denial(1));
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        while kept(&store).await < 2 {
            sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
        recording.await.unwrap();
        assert_eq!((kept(&store).await, dropped(&metrics).as_str()), (2, "0"));
    }

    #[tokio::test]
    async fn a_record_that_is_gone_for_good_loses_them_and_they_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (store, metrics, stop) = (store(&folder).await, Metrics::default(), CancellationToken::new());
        let (denials, waiting) = Denials::new(&metrics);
        store.close().await;
        (0..3).for_each(|uid| denials.keep(denial(uid)));
        stop.cancel();
        waiting.record(store, stop).await;
        assert_eq!(dropped(&metrics), "3");
    }
}
