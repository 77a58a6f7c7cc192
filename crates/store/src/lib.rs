//! The record and the audit log (contract sections 4 and 5): the only user of the database.
//!
//! One code base over SQLite and PostgreSQL. Every change and its audit entries commit together, and no call returns
//! before the commit. Writes go through a writer that commits many of them in one transaction (`writer.rs`); a caller
//! that stops waiting does not cancel its write.

mod audit;
mod batch;
mod columns;
mod committed;
mod conn;
mod connect;
mod console;
mod contents;
mod cwom;
mod database_error;
mod deletion_notes;
mod error;
mod json_codes;
mod ledger;
mod lost;
mod maintenance;
#[cfg(test)]
mod migration_source;
mod model;
mod one_writer;
mod operation;
mod ops;
mod outbox;
mod place;
mod reads;
mod recorded;
mod request;
mod retention;
mod review;
mod rows;
mod settings;
mod statistics;
mod story;
mod transition;
mod writer;

use std::fmt;
use std::sync::Arc;

pub use audit::{AnchoredCheck, AuditCheck, AuditHead};
pub use committed::CommittedTasks;
pub use console::KeepSealed;
pub use cwom::{
    DeleteObject, FailRun, ObjectField, ObjectFilter, ObjectOrigin, ObjectRow, PatchObject, Patched, PresentObject,
    Put, PutObject, RefProblem, Unique, Unresolved,
};
pub use error::{Conflict, Result, StoreError};
pub use json_codes::decode as plain_json;
pub use ledger::{
    AccountAmounts, AskBudget, BudgetDecision, CostBy, CostQuery, DecideBudget, HoldState, LimitedAccount, ModelHold,
    NewExchange, NotWaiting, Reserve, Settle, task_account,
};
pub use lost::{AdoptEnd, RunAgain, Shown};
pub use maintenance::{Check, Database, EXPORT_TYPE, Migrated, Signature, Signer, TransferError, Transferred, Trust};
pub use model::{ArtifactRow, Failure, JobRow, JobStatus, TaskRow};
pub use one_writer::WriterLock;
pub use outbox::Waiting;
pub use request::{
    AttemptEnd, AuditQuery, Ending, FinishTask, MAX_PAGE, MarkRunning, NewTask, Next, NoteSpecChanges, OpenTask, Order,
    Page, RecordDeleted, Recording, Refusal, Report, StartAttempt, TaskFilter, TraceRecord,
};
pub use retention::{DueRecord, DueTrace, Plan, RemoveRecord, RemoveTrace, TraceGone, UnpurgedTrace};
pub use review::{DecideReview, PackFilter, ReviewFilter, Reviewed};
pub use settings::{DatabaseUrl, InvalidDatabaseUrl, StoreSettings};
pub use statistics::{ByExecutor, EndedTasks, Statistics, StatisticsQuery};
pub use story::{TracePlace, TraceVisibility};

use tokio::sync::watch;

use jct_domain::denial::Notice;
use jct_domain::notification::Notifications;
use jct_domain::{DeletionNote, Finding};

use tokio::sync::broadcast;

use conn::fetch;
use connect::{Connected, Connector, Readers};
use writer::Writer;

/// The record. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    url: DatabaseUrl,
    writer: Writer,
    readers: Readers,
    /// Who is told of what happens.
    notifications: watch::Sender<Arc<Notifications>>,
    /// How much was written down for them.
    notified: watch::Sender<u64>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.inner.url).finish()
    }
}

/// How the writer fares, counted since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Transactions committed.
    pub commits: u64,
    /// Requests answered, in whatever way.
    pub requests: u64,
    /// Transactions that could not be committed.
    pub failures: u64,
    /// Audit entries written.
    pub audit_entries: u64,
    /// Requests that wait at this moment.
    pub waiting: u64,
}

impl Store {
    /// Opens the database, creating it where needed, and migrates it.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when a newer version has been there.
    pub async fn open(settings: &StoreSettings) -> Result<Self> {
        let mut connected = Connector::new(settings).connect().await?;
        maintenance::prepare(&mut connected).await?;
        Ok(Self::start(settings, Some(connected)))
    }

    /// Opens a record that is there, to read it: the schema stays as it is, and every write is refused. With `only_audit`, one of
    /// an earlier version too: the audit log has been the same in all of them.
    ///
    /// # Errors
    /// [`StoreError::NoRecord`], [`StoreError::OlderSchema`], [`StoreError::NewerSchema`].
    pub async fn open_to_read(settings: &StoreSettings, only_audit: bool) -> Result<Self> {
        let connector = Connector::reading(settings)?;
        let mut connected = connector.connect().await?;
        let fits = maintenance::fits_to_read(&mut connected, only_audit).await;
        connected.close().await;
        fits?;
        let readers = Readers::alone(settings, &connector);
        let (notifications, notified) = Default::default();
        let (url, writer) = (settings.url.clone(), Writer::none());
        Ok(Self { inner: Arc::new(Inner { url, writer, readers, notifications, notified }) })
    }

    /// Returns at once, and opens the database as [`Store::open`] does as soon as that is possible: what stands in the
    /// way is logged and tried again until [`Store::close`]. Meanwhile every call fails with it.
    pub fn open_in_background(settings: &StoreSettings) -> Self {
        Self::start(settings, None)
    }

    /// Returns once the database is open, or the store is closed.
    pub async fn opened(&self) {
        self.inner.writer.opened().await;
    }

    fn start(settings: &StoreSettings, connected: Option<Connected>) -> Self {
        let notifications: watch::Sender<Arc<Notifications>> = watch::Sender::default();
        let notified = watch::Sender::new(0);
        let outbox = (notifications.subscribe(), notified.clone());
        let (writer, opening) = Writer::start(settings, connected, outbox);
        let readers = Readers::new(settings, opening);
        Self { inner: Arc::new(Inner { url: settings.url.clone(), writer, readers, notifications, notified }) }
    }

    /// Refuses further writes, commits those that wait, and closes the database.
    pub async fn close(&self) {
        // The last connection to close tidies SQLite's write-ahead log up, which only the writer may.
        self.inner.readers.close().await;
        self.inner.writer.close().await;
    }

    /// Whether both reading and writing work, by doing both. For readiness.
    pub async fn ping(&self) -> Result<()> {
        self.inner.writer.write(ops::Probe).await?;
        self.inner.writer.failure().map_or(Ok(()), Err)?;
        self.read_probe().await
    }

    /// Whether reading works, and writing as far as is known: it is tried only if the last transaction failed. Cheaper
    /// than [`Store::ping`], for those who are about to ask for a write.
    pub async fn check(&self) -> Result<()> {
        if self.inner.writer.failure().is_some() { self.ping().await } else { self.read_probe().await }
    }

    async fn read_probe(&self) -> Result<()> {
        fetch!((i64,), &mut self.inner.readers.acquire().await?.borrow(), "SELECT probed_at FROM store_probe")?;
        Ok(())
    }

    /// What commits of this process tell of from now on. Those of other replicas are not heard.
    pub fn committed(&self) -> broadcast::Receiver<CommittedTasks> {
        self.inner.writer.committed()
    }

    /// How the writer fares. For metrics.
    pub fn stats(&self) -> WriterStats {
        self.inner.writer.stats()
    }

    /// Records a Task as `pending`, once.
    pub async fn record_task(&self, new: NewTask) -> Result<Recording> {
        self.inner.writer.write(new).await
    }

    /// Writes down that a Task is refused: an audit entry, no row. Returns the findings on record: those of `refusal`,
    /// or of an earlier refusal of the same id, after which nothing is written.
    ///
    /// # Errors
    /// [`Conflict::Recorded`] if a Task is recorded under the id.
    pub async fn record_refusal(&self, refusal: Refusal) -> Result<Vec<Finding>> {
        self.inner.writer.write(refusal).await
    }

    /// Writes down requests that the gate denied: an audit entry for each, once.
    pub async fn record_denials<N: Into<Notice>>(&self, denials: Vec<N>) -> Result<()> {
        self.inner.writer.write(ops::Denied(denials.into_iter().map(Into::into).collect())).await
    }

    /// Keeps who asked for deletions until these are recorded, or a week.
    pub async fn note_deletions(&self, notes: Vec<DeletionNote>) -> Result<()> {
        self.inner.writer.write(ops::NoteDeletions(notes)).await
    }

    /// Queues an attempt: the Task becomes `queued`, the attempt's row is `pending`. Only after this may its Job be
    /// created.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the Task has ended, the attempt's outcome is recorded, or it is not the next one.
    pub async fn start_attempt(&self, start: StartAttempt) -> Result<TaskRow> {
        self.inner.writer.write(start).await
    }

    /// The attempt's worker runs: Task and attempt become `running`. Late news of an attempt that has ended change
    /// nothing; a commit learned later is added.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the attempt was never started.
    pub async fn mark_running(&self, running: MarkRunning) -> Result<TaskRow> {
        self.inner.writer.write(running).await
    }

    /// Records how an attempt ended, its trace's files, and what follows for the Task. The first outcome stays: a second
    /// one for the same attempt changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the attempt was never started, or a retry is asked for and no attempt is left.
    pub async fn finish_attempt(&self, end: AttemptEnd) -> Result<TaskRow> {
        self.inner.writer.write(end).await
    }

    /// Ends a Task of which no attempt runs. An attempt still open is closed with it, as failed. The first ending
    /// stays: a Task that has ended is returned as it is.
    pub async fn finish_task(&self, finish: FinishTask) -> Result<TaskRow> {
        self.inner.writer.write(finish).await
    }

    /// Writes down who changed the Task's spec, each change once.
    pub async fn note_spec_changes(&self, noted: NoteSpecChanges) -> Result<TaskRow> {
        self.inner.writer.write(noted).await
    }

    /// Writes down that the Task's object is gone. The row stays. None if no such Task is recorded.
    pub async fn record_deleted(&self, deleted: RecordDeleted) -> Result<Option<TaskRow>> {
        self.inner.writer.write(deleted).await
    }

    /// Takes over the end of a Task from the status of its object, whose record was lost. A Task that has ended in the record
    /// is returned as it is.
    pub async fn adopt_end(&self, adopt: AdoptEnd) -> Result<TaskRow> {
        self.inner.writer.write(adopt).await
    }

    /// Lets a Task whose record was lost run again, after the attempts that its status shows. One that has ended in the
    /// record, or that has come so far, is returned as it is.
    pub async fn run_again(&self, again: RunAgain) -> Result<TaskRow> {
        self.inner.writer.write(again).await
    }

    /// Records a work object as its custom resource, or a REST body, has it. An object is written with its links and
    /// audit entries, or not at all.
    pub async fn put_object(&self, put: PutObject) -> Result<Put> {
        self.inner.writer.write(put).await
    }

    /// Changes a work object that has no custom resource.
    pub async fn patch_object(&self, patch: PatchObject) -> Result<Patched> {
        self.inner.writer.write(patch).await
    }

    /// Writes down that a work object's custom resource is gone. The row stays. None if no such object is recorded.
    pub async fn delete_object(&self, delete: DeleteObject) -> Result<Option<ObjectRow>> {
        self.inner.writer.write(delete).await
    }

    /// Ends a Run that no Task carries out. The first ending stays. None if no such Run is recorded.
    pub async fn fail_run(&self, fail: FailRun) -> Result<Option<ObjectRow>> {
        self.inner.writer.write(fail).await
    }
}
