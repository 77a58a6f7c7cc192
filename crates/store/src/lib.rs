//! The record and the audit log (contract sections 4 and 5): the only user of the database.
//!
//! One code base over SQLite and PostgreSQL. Every change and its audit entries commit together, and no call returns
//! before the commit. Writes go through a writer that commits many of them in one transaction (`writer.rs`); a caller
//! that stops waiting does not cancel its write.

mod audit;
mod batch;
mod columns;
mod conn;
mod connect;
mod contents;
mod cwom;
mod database_error;
mod deletion_notes;
mod error;
mod lost;
mod maintenance;
mod model;
mod one_writer;
mod operation;
mod ops;
mod place;
mod recorded;
mod request;
mod retention;
mod rows;
mod settings;
mod story;
mod transition;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub use audit::{AnchoredCheck, AuditCheck, AuditHead};
pub use cwom::{
    DeleteObject, FailRun, ObjectField, ObjectFilter, ObjectOrigin, ObjectRow, PatchObject, Patched, PresentObject,
    Put, PutObject, RefProblem, Unique, Unresolved,
};
pub use error::{Conflict, Result, StoreError};
pub use lost::{AdoptEnd, RunAgain, Shown};
pub use maintenance::{Check, Database, EXPORT_TYPE, Migrated, Signature, Signer, TransferError, Transferred, Trust};
pub use model::{ArtifactRow, Failure, JobRow, JobStatus, TaskRow};
pub use one_writer::Sole;
pub use request::{
    AttemptEnd, AuditQuery, Ending, FinishTask, MAX_PAGE, MarkRunning, NewTask, Next, NoteSpecChanges, OpenTask, Order,
    Page, RecordDeleted, Recording, Refusal, Report, StartAttempt, TaskFilter, TraceRecord,
};
pub use retention::{DueRecord, DueTrace, Plan, RemoveRecord, RemoveTrace, TraceGone, UnpurgedTrace};
pub use settings::{DatabaseUrl, InvalidDatabaseUrl, StoreSettings};
pub use story::{TracePlace, TraceSight};

use jiff::Timestamp;

use jct_domain::audit::Entry;
use jct_domain::checkpoint::Checkpoint;
use jct_domain::cwom::Kind;
use jct_domain::denial::Notice;
use jct_domain::{DeletionNote, Finding, Id, TraceId};

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
        Ok(Self { inner: Arc::new(Inner { url: settings.url.clone(), writer: Writer::none(), readers }) })
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
        let (writer, opening) = Writer::start(settings, connected);
        let readers = Readers::new(settings, opening);
        Self { inner: Arc::new(Inner { url: settings.url.clone(), writer, readers }) }
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
        self.inner.writer.write(ops::DeletionsNoted(notes)).await
    }

    /// Who asked for the deletion of the object with this uid, the first ones; those that are vouched for before others.
    pub async fn deletion_notes(&self, uid: &str) -> Result<Vec<DeletionNote>> {
        deletion_notes::of(&mut self.inner.readers.acquire().await?.borrow(), uid).await
    }

    /// For what the Task was refused; none if it was not.
    pub async fn refusal(&self, id: Id) -> Result<Option<Vec<Finding>>> {
        let found = audit::refusals_of(&mut self.inner.readers.acquire().await?.borrow(), [id]).await?;
        Ok(found.into_iter().next().map(|(_, findings)| findings))
    }

    /// When retention removed the record of the Task; none if it did not.
    pub async fn removed(&self, id: Id) -> Result<Option<Timestamp>> {
        let found = audit::removals_of(&mut self.inner.readers.acquire().await?.borrow(), [id]).await?;
        Ok(found.into_iter().next().map(|(_, at)| at))
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

    /// The Task with this id.
    pub async fn task(&self, id: Id) -> Result<Option<TaskRow>> {
        rows::task_by_id(&mut self.inner.readers.acquire().await?.borrow(), id).await
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

    /// The Task of the object with this uid: the live row, or else that of an object that went. An id plays no part.
    pub async fn task_by_uid(&self, uid: &str) -> Result<Option<TaskRow>> {
        rows::task_by_uid(&mut self.inner.readers.acquire().await?.borrow(), uid).await
    }

    /// The Task of `namespace` with this idempotency key.
    pub async fn task_by_key(&self, namespace: &str, key: &str) -> Result<Option<TaskRow>> {
        rows::task_by_key(&mut self.inner.readers.acquire().await?.borrow(), namespace, key).await
    }

    /// Tasks, the newest first.
    pub async fn tasks(&self, filter: &TaskFilter, page: Page) -> Result<Vec<TaskRow>> {
        rows::tasks_of(&mut self.inner.readers.acquire().await?.borrow(), filter, page).await
    }

    /// Tasks that have not ended and whose object was not seen to go, by id, after `after`; at most [`MAX_PAGE`].
    pub async fn unfinished(&self, after: Option<Id>) -> Result<Vec<OpenTask>> {
        rows::open_tasks(&mut self.inner.readers.acquire().await?.borrow(), after).await
    }

    /// How many Tasks of each namespace have not ended, but for those of the `lost` objects with these uids.
    pub async fn open_by_namespace(&self, lost: &BTreeSet<String>) -> Result<BTreeMap<String, u64>> {
        rows::open_by_namespace(&mut self.inner.readers.acquire().await?.borrow(), lost).await
    }

    /// How many Tasks, and work objects that no Task made, were recorded since then: by namespace and minute since 1970.
    pub async fn recorded_by_minute(&self, since: Timestamp) -> Result<Vec<(String, i64, u64)>> {
        recorded::by_minute(&mut self.inner.readers.acquire().await?.borrow(), since).await
    }

    /// How many Tasks are in each phase. Every phase is there.
    pub async fn counts(&self) -> Result<BTreeMap<&'static str, u64>> {
        rows::tasks_by_phase(&mut self.inner.readers.acquire().await?.borrow()).await
    }

    /// The attempts of a Task, the first one first.
    pub async fn jobs(&self, task_id: Id) -> Result<Vec<JobRow>> {
        rows::jobs_of(&mut self.inner.readers.acquire().await?.borrow(), task_id).await
    }

    /// The files of a Task's traces, by attempt and uri.
    pub async fn artifacts(&self, task_id: Id) -> Result<Vec<ArtifactRow>> {
        rows::artifacts_of(&mut self.inner.readers.acquire().await?.borrow(), task_id).await
    }

    /// The files of the trace of one attempt.
    pub async fn artifacts_of_job(&self, job_id: Id) -> Result<Vec<ArtifactRow>> {
        rows::artifacts_of_job(&mut self.inner.readers.acquire().await?.borrow(), job_id).await
    }

    /// The file of an attempt with this uri, if its trace has one.
    pub async fn artifact_of_job(&self, job_id: Id, uri: &str) -> Result<Option<ArtifactRow>> {
        rows::artifact_of_job(&mut self.inner.readers.acquire().await?.borrow(), job_id, uri).await
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

    /// The work object of this kind with this id. An Issue comes with its Runs and with the ContextPackets that are for it.
    pub async fn object(&self, kind: Kind, id: Id) -> Result<Option<ObjectRow>> {
        cwom::object_by_id(&mut self.inner.readers.acquire().await?.borrow(), kind, id).await
    }

    /// Work objects of a kind, the newest first.
    pub async fn objects(&self, kind: Kind, filter: &ObjectFilter, page: Page) -> Result<Vec<ObjectRow>> {
        cwom::objects_of(&mut self.inner.readers.acquire().await?.borrow(), kind, filter, page).await
    }

    /// Of the object of this kind behind the custom resource with this uid, unless that was seen to go: its id, and the digest
    /// of the spec that is recorded of it.
    pub async fn recorded_spec(&self, kind: Kind, uid: &str) -> Result<Option<(Id, Option<String>)>> {
        cwom::recorded_spec(&mut self.inner.readers.acquire().await?.borrow(), kind, uid).await
    }

    /// The work objects of a kind whose custom resource was not seen to go, by namespace and name, after `after`; at most
    /// [`MAX_PAGE`].
    pub async fn present_objects(&self, kind: Kind, after: Option<&PresentObject>) -> Result<Vec<PresentObject>> {
        cwom::present_objects(&mut self.inner.readers.acquire().await?.borrow(), kind, after).await
    }

    /// Where the Tasks and the work objects of a trace are.
    pub async fn places_of_trace(&self, trace_id: &TraceId) -> Result<Vec<TracePlace>> {
        story::places(&mut self.inner.readers.acquire().await?.borrow(), trace_id).await
    }

    /// The work objects of a trace, causes before effects; of each kind at most [`MAX_PAGE`], the oldest.
    pub async fn objects_of_trace(&self, trace_id: &TraceId, sight: &TraceSight) -> Result<Vec<ObjectRow>> {
        story::objects(&mut self.inner.readers.acquire().await?.borrow(), trace_id, sight).await
    }

    /// The Tasks of a trace, the oldest first, after the one with the id `after`.
    pub async fn tasks_of_trace(
        &self,
        trace_id: &TraceId,
        sight: &TraceSight,
        after: Option<Id>,
        limit: u32,
    ) -> Result<Vec<TaskRow>> {
        story::tasks(&mut self.inner.readers.acquire().await?.borrow(), trace_id, sight, after, limit).await
    }

    /// Audit entries of the trace that `query` names.
    pub async fn audit_of_trace(&self, query: &AuditQuery, sight: &TraceSight) -> Result<Vec<Entry>> {
        story::entries(&mut self.inner.readers.acquire().await?.borrow(), query, sight).await
    }

    /// Audit entries.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<Entry>> {
        audit::list(&mut self.inner.readers.acquire().await?.borrow(), query).await
    }

    /// Whether there is an audit entry with this id.
    pub async fn has_audit_entry(&self, id: Id) -> Result<bool> {
        audit::has(&mut self.inner.readers.acquire().await?.borrow(), id).await
    }

    /// How many audit entries fit `query`, beyond the one that its page begins after.
    pub async fn audit_count(&self, query: &AuditQuery) -> Result<u64> {
        audit::count(&mut self.inner.readers.acquire().await?.borrow(), query).await
    }

    /// Walks over the whole audit log and holds every entry against the chain of hashes.
    pub async fn verify_audit(&self) -> Result<AuditCheck> {
        Ok(self.verify_audit_against(&[]).await?.check)
    }

    /// The same, and against `checkpoints`, whose signatures the caller has checked.
    pub async fn verify_audit_against(&self, checkpoints: &[Checkpoint]) -> Result<AnchoredCheck> {
        audit::verify(&self.inner.readers, checkpoints).await
    }

    /// The end of the audit log.
    pub async fn audit_head(&self) -> Result<AuditHead> {
        let head = audit::head(&mut self.inner.readers.acquire().await?.borrow()).await?;
        let head = head.ok_or_else(|| StoreError::corrupt("audit_head", "", "the chain has no head"))?;
        Ok(AuditHead { seq: head.seq.unsigned_abs(), hash: head.hash })
    }

    /// The end of the audit log, if every entry since `last` follows from it; else what does not.
    pub async fn audit_since(&self, last: &Checkpoint) -> Result<std::result::Result<AuditHead, AuditCheck>> {
        audit::verify_since(&self.inner.readers, last).await
    }
}
