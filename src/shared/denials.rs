//! The way of denied requests into the audit log: merged, rationed, and through a bounded queue that no answer waits for.
//!
//! Best effort by design: the gate's answer must not depend on the database. But nothing goes without a word. Whoever can
//! be denied can be denied a million times, and the log is kept for ever: so what is the same is written once, with a count;
//! of what is not, each user has a ration in each namespace, each source has one, and all together; what exceeds them, or
//! finds no place while the database is away, is counted by namespace, and the count is an entry of the log. Callers whom
//! nobody has vouched for have a ration apart: what they forge takes no place of what is real.

mod merge;
mod metrics;
mod ration;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Announcement, Announcer, Urgency};
use crate::domain::Denial;
use crate::domain::denial::Notice;
use crate::store::{Store, StoreError};
use merge::Merged;
pub use metrics::DenialMetrics;
use ration::Rations;

/// How many denials may wait; a long one takes some 15 KB.
const QUEUE: usize = 512;
/// How many are written at once.
const BATCH: usize = 128;
/// How often is looked for counts that are to be written.
const LOOK: Duration = Duration::from_secs(15);
/// The first and the longest wait after the record could not be written.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// The least time between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Where denied requests are handed in. Cheap to clone; all clones share one queue.
#[derive(Clone, Debug)]
pub struct Denials {
    queue: Sender<Notice>,
    state: Arc<Mutex<State>>,
    losses: LossReporter,
    events: Announcer,
}

/// The other end: denials that wait to be written.
#[derive(Debug)]
pub struct Waiting {
    queue: Receiver<Notice>,
    state: Arc<Mutex<State>>,
    losses: LossReporter,
}

#[derive(Debug, Default)]
struct State {
    merged: Merged,
    rations: Rations,
}

impl Denials {
    /// A queue with its two ends.
    pub fn new(metrics: DenialMetrics) -> (Self, Waiting) {
        Self::with_room_for(QUEUE, metrics)
    }

    fn with_room_for(places: usize, metrics: DenialMetrics) -> (Self, Waiting) {
        let (sender, receiver) = mpsc::channel(places);
        let state = Arc::new(Mutex::new(State::default()));
        let losses = LossReporter { metrics, warned: Arc::default() };
        let waiting = Waiting { queue: receiver, state: state.clone(), losses: losses.clone() };
        (Self { queue: sender, state, losses, events: Announcer::default() }, waiting)
    }

    /// The same queue, which tells people by `events` what is written as a denial of its own.
    #[must_use]
    pub fn announced_by(self, events: Announcer) -> Self {
        Self { events, ..self }
    }

    /// Hands `denial` in, at once: it will be written, or counted. `source` is who can hand in others: a user, if it is
    /// certain who they are, else an address. `uid` is that of the object, where one is there that was to be changed.
    pub fn keep(&self, denial: Denial, source: &str, uid: Option<String>) {
        let denial = denial.bounded();
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.merged.count_repeat(&denial) {
            self.losses.metrics.merged.inc();
            return;
        }
        let taken = if state.rations.take(&denial, source, now) {
            self.queue.try_send(Notice::Denied(denial.clone()))
        } else {
            Err(TrySendError::Full(Notice::Denied(denial.clone())))
        };
        match taken {
            Ok(()) => {
                self.events.announce(announcement(&denial, uid));
                state.merged.begin(denial, now);
            }
            Err(TrySendError::Full(_)) => {
                self.losses.metrics.left_out.inc();
                state.merged.leave_out(denial.namespace, denial.denied_at, now);
            }
            Err(TrySendError::Closed(_)) => self.losses.count(1, "the operator is shutting down"),
        }
    }
}

/// What people of the namespace are told of `denial`. Not by whom: what is said of users is not always certain.
fn announcement(denial: &Denial, uid: Option<String>) -> Announcement {
    let Denial { namespace, name, generate_name, kind, findings, .. } = denial;
    // What was to be made is not there; what was to be changed is.
    let what = if uid.is_some() { "a change of it was denied" } else { "it was denied, and is not there" };
    let messages: Vec<String> = findings.iter().map(ToString::to_string).collect();
    Announcement {
        kind: kind.clone(),
        namespace: namespace.clone(),
        name: name.clone().or_else(|| generate_name.clone()).unwrap_or_default(),
        uid,
        reason: findings.first().map_or("INVALID_SPEC", |finding| finding.code.as_str()).into(),
        note: format!("{what}: {}", messages.join("; ")),
        urgency: Urgency::Denial,
        attempt: 0,
    }
}

impl Waiting {
    /// Writes what is handed in, until `stop`; then what still waits, if the record takes it.
    pub async fn record(mut self, store: Store, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut look = interval(LOOK);
        loop {
            tokio::select! {
                biased;
                taken = self.queue.recv_many(&mut batch, BATCH) => if taken == 0 { break },
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
                _ = look.tick() => batch = self.due(false),
            }
            self.write(&store, &batch, &stop).await;
            batch.clear();
        }
        let last = self.due(true);
        self.write(&store, &last, &stop).await;
    }

    /// Counts whose time has come, or all.
    fn due(&self, all: bool) -> Vec<Notice> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.merged.due(all, Instant::now())
    }

    /// Writes `batch`, again and again while the record is away. A repetition writes no denial twice.
    async fn write(&self, store: &Store, batch: &[Notice], stop: &CancellationToken) {
        if batch.is_empty() {
            return;
        }
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
        let notices = std::iter::from_fn(|| self.queue.try_recv().ok());
        notices
            .filter_map(|notice| match notice {
                Notice::Denied(denial) => Some(denial),
                Notice::Repeated(_) | Notice::LeftOut(_) => None,
            })
            .collect()
    }
}

fn reason(error: &StoreError) -> String {
    format!("the record does not take them: {error}")
}

/// Counts what is lost, and tells of it now and then.
#[derive(Clone, Debug)]
struct LossReporter {
    metrics: DenialMetrics,
    warned: Arc<Mutex<Option<Instant>>>,
}

impl LossReporter {
    fn count(&self, denials: usize, reason: &str) {
        self.metrics.dropped.inc_by(denials as u64);
        self.warn(&format!("denials are not kept in the audit log: {reason}"));
    }

    /// Warns, unless there was a warning in the last minute.
    fn warn(&self, message: &str) {
        let Ok(mut warned) = self.warned.lock() else { return };
        if warned.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        *warned = Some(Instant::now());
        warn!(dropped_since_start = self.metrics.dropped.get(), "{message}");
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use sqlx::{Connection as _, SqliteConnection};

    use super::*;
    use crate::domain::audit::{Action, EntityKind, Entry};
    use crate::domain::denial::{Interface, Request};
    use crate::domain::{Actor, Code, Finding, TraceId};
    use crate::store::{AuditQuery, Page, StoreSettings};

    fn denial(uid: usize) -> Denial {
        Denial {
            interface: Interface::Kubernetes,
            uid: uid.to_string(),
            actor: Actor::authenticated(&format!("ada-{uid}")),
            authenticated: true,
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

    /// Each hands in from a place of its own.
    fn keep(denials: &Denials, denial: Denial) {
        let source = denial.actor.id.clone();
        denials.keep(denial, &source, None);
    }

    async fn store(folder: &tempfile::TempDir) -> Store {
        let url = format!("sqlite://{}", folder.path().join("jct.db").display()).parse().unwrap();
        let mut settings = StoreSettings::new(url);
        settings.wait = Duration::from_millis(100);
        Store::open(&settings).await.unwrap()
    }

    async fn entries(store: &Store) -> Vec<Entry> {
        let page = Page { limit: 1000, ..Page::default() };
        let query = AuditQuery { entity_kind: Some(EntityKind::AdmissionDenial), page, ..AuditQuery::default() };
        store.audit(&query).await.unwrap()
    }

    async fn kept(store: &Store) -> usize {
        entries(store).await.len()
    }

    #[tokio::test]
    async fn what_finds_no_place_is_counted_by_namespace_and_the_count_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (store, metrics, stop) = (store(&folder).await, DenialMetrics::default(), CancellationToken::new());
        let (denials, waiting) = Denials::with_room_for(2, metrics.clone());
        for uid in 0..5 {
            keep(&denials, denial(uid));
        }
        keep(&denials, Denial { namespace: "other".into(), ..denial(5) });
        assert_eq!((metrics.left_out.get(), metrics.dropped.get()), (4, 0));
        stop.cancel();
        waiting.record(store.clone(), stop).await;
        let log = entries(&store).await;
        assert_eq!(log.len(), 3, "two denials and a count: {log:?}");
        let count = log[0].after.as_ref().unwrap();
        assert_eq!((&count["left_out"], &count["by_namespace"]), (&json!(4), &json!({"team": 3, "other": 1})));
        assert_eq!(log[0].actor, Actor::webhook());
    }

    #[tokio::test]
    async fn the_same_again_is_one_entry_and_a_count() {
        let folder = tempfile::tempdir().unwrap();
        let (store, metrics, stop) = (store(&folder).await, DenialMetrics::default(), CancellationToken::new());
        let (denials, waiting) = Denials::new(metrics.clone());
        let last_at: Timestamp = "2026-03-01T12:30:00Z".parse().unwrap();
        for n in 0..1000 {
            let again = Denial { uid: n.to_string(), denied_at: last_at, ..denial(0) };
            keep(&denials, if n == 0 { denial(0) } else { again });
        }
        keep(&denials, Denial { spec_sha256: "cd".repeat(32), ..denial(0) });
        assert_eq!(metrics.merged.get(), 999);
        stop.cancel();
        waiting.record(store.clone(), stop).await;
        let log = entries(&store).await;
        assert_eq!(log.len(), 2, "another spec has the uid of the first: {log:?}");
        let count = log[0].after.as_ref().unwrap();
        assert_eq!((log[0].action, &count["count"]), (Action::Updated, &json!(1000)));
        assert_eq!((&count["first_at"], &count["last_at"]), (&json!("2026-03-01T12:00:00Z"), &json!(last_at)));
        assert_eq!(log[0].entity_id, log[1].entity_id);
    }

    #[tokio::test]
    async fn what_a_stranger_forges_takes_no_place_of_what_is_real() {
        let metrics = DenialMetrics::default();
        let (denials, mut waiting) = Denials::new(metrics.clone());
        for n in 0..5000 {
            let user = Actor::authenticated(&format!("forged-{n}"));
            let forged = Denial { authenticated: false, actor: user, namespace: n.to_string(), ..denial(n) };
            denials.keep(forged, &format!("10.0.{}.{}", n / 200, n % 200), None);
        }
        let forged = waiting.take().len();
        assert!((100..=250).contains(&forged), "{forged}");
        keep(&denials, denial(0));
        assert_eq!(waiting.take(), [denial(0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn warnings_come_once_a_minute() {
        let metrics = DenialMetrics::default();
        let (denials, waiting) = Denials::with_room_for(1, metrics.clone());
        drop(waiting);
        let warned_at = || *denials.losses.warned.lock().unwrap();
        for uid in 0..3 {
            keep(&denials, denial(uid));
        }
        let first = warned_at().unwrap();
        tokio::time::advance(Duration::from_secs(59)).await;
        keep(&denials, denial(3));
        assert_eq!(warned_at(), Some(first));
        tokio::time::advance(Duration::from_secs(2)).await;
        keep(&denials, denial(4));
        assert!(warned_at() > Some(first));
    }

    #[tokio::test]
    async fn what_waits_at_shutdown_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (store, metrics, stop) = (store(&folder).await, DenialMetrics::default(), CancellationToken::new());
        let (denials, waiting) = Denials::new(metrics.clone());
        (0..300).for_each(|uid| keep(&denials, denial(uid)));
        stop.cancel();
        waiting.record(store.clone(), stop).await;
        assert_eq!((kept(&store).await, metrics.dropped.get()), (300, 0));
        keep(&denials, denial(300));
        assert_eq!(metrics.dropped.get(), 1, "nobody is there to write it");
    }

    #[tokio::test]
    async fn a_record_that_is_away_for_a_while_gets_them_later() {
        let folder = tempfile::tempdir().unwrap();
        let (store, metrics, stop) = (store(&folder).await, DenialMetrics::default(), CancellationToken::new());
        let (denials, waiting) = Denials::new(metrics.clone());
        let file = format!("sqlite://{}", folder.path().join("jct.db").display());
        let mut other = SqliteConnection::connect(&file).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        let recording = tokio::spawn(waiting.record(store.clone(), stop.clone()));
        keep(&denials, denial(0));
        while store.stats().failures == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        keep(&denials, denial(1));
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        while kept(&store).await < 2 {
            sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
        recording.await.unwrap();
        assert_eq!((kept(&store).await, metrics.dropped.get()), (2, 0));
    }

    #[tokio::test]
    async fn a_record_that_is_gone_for_good_loses_them_and_they_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (store, metrics, stop) = (store(&folder).await, DenialMetrics::default(), CancellationToken::new());
        let (denials, waiting) = Denials::new(metrics.clone());
        store.close().await;
        (0..3).for_each(|uid| keep(&denials, denial(uid)));
        stop.cancel();
        waiting.record(store, stop).await;
        assert_eq!(metrics.dropped.get(), 3);
    }
}
