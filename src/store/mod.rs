//! The record and the audit log (contract sections 4 and 5): the only user of the database.
//!
//! One code base over SQLite and PostgreSQL. Every change and its audit entries commit together, and no call returns
//! before the commit. Writes go through a writer that commits many of them in one transaction ([`writer`]); a caller
//! that stops waiting does not cancel its write.

mod error;
mod model;
mod request;
mod settings;

use std::collections::BTreeMap;

pub use error::{Conflict, Result, StoreError};
pub use model::{ArtifactRow, Failure, JobRow, JobStatus, TaskRow};
pub use request::{
    AttemptEnd, AuditQuery, Ending, FinishTask, MAX_PAGE, MarkRunning, NewTask, Next, OpenTask, Order, Page,
    RecordDeleted, Recording, Refusal, StartAttempt, TaskFilter, TraceRecord,
};
pub use settings::{DatabaseUrl, InvalidDatabaseUrl, StoreSettings};

use crate::domain::audit::Entry;
use crate::domain::{Finding, Id, Phase};

/// The record. Cheap to clone; all clones are one store.
#[derive(Clone, Debug)]
pub struct Store {}

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

/// What a walk over the audit log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditCheck {
    /// Every entry is as it was written, none is missing.
    Intact {
        /// How many entries there are.
        entries: u64,
        /// The last one's hash: written down elsewhere, it proves later that nothing before it was changed.
        head: String,
    },
    /// An entry was changed, removed, inserted or moved.
    Broken {
        /// The place of the first entry that does not fit.
        seq: u64,
        /// Its id; none if it is missing.
        id: Option<Id>,
        /// In what way it does not fit.
        problem: String,
    },
}

impl Store {
    /// Opens the database, creating it where needed, and migrates it.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when a newer version has been there.
    pub async fn open(settings: &StoreSettings) -> Result<Self> {
        let _ = settings;
        Ok(Self {})
    }

    /// Refuses further writes, commits those that wait, and closes the database.
    pub async fn close(&self) {}

    /// Whether both reading and writing work, by doing both. For readiness.
    pub async fn ping(&self) -> Result<()> {
        Err(StoreError::Closed)
    }

    /// How the writer fares. For metrics.
    pub fn stats(&self) -> WriterStats {
        WriterStats::default()
    }

    /// Records a Task as `pending`, once.
    pub async fn record_task(&self, new: NewTask) -> Result<Recording> {
        let _ = new;
        Err(StoreError::Closed)
    }

    /// Writes down that a Task is refused: an audit entry, no row. Returns the findings on record: those of `refusal`,
    /// or of an earlier refusal of the same id, after which nothing is written.
    ///
    /// # Errors
    /// [`Conflict::Recorded`] if a Task is recorded under the id.
    pub async fn record_refusal(&self, refusal: Refusal) -> Result<Vec<Finding>> {
        let _ = refusal;
        Err(StoreError::Closed)
    }

    /// For what the Task was refused; none if it was not.
    pub async fn refusal(&self, id: Id) -> Result<Option<Vec<Finding>>> {
        let _ = id;
        Err(StoreError::Closed)
    }

    /// Queues an attempt: the Task becomes `queued`, the attempt's row is `pending`. Only after this may its Job be
    /// created.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the Task has ended, the attempt's outcome is recorded, or it is not the next one.
    pub async fn start_attempt(&self, start: StartAttempt) -> Result<TaskRow> {
        let _ = start;
        Err(StoreError::Closed)
    }

    /// The attempt's worker runs: Task and attempt become `running`. Late news of an attempt that has ended change
    /// nothing; a commit learned later is added.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the attempt was never started.
    pub async fn mark_running(&self, running: MarkRunning) -> Result<TaskRow> {
        let _ = running;
        Err(StoreError::Closed)
    }

    /// Records how an attempt ended, its trace's files, and what follows for the Task. The first outcome stays: a second
    /// one for the same attempt changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the attempt was never started, or a retry is asked for and no attempt is left.
    pub async fn finish_attempt(&self, end: AttemptEnd) -> Result<TaskRow> {
        let _ = end;
        Err(StoreError::Closed)
    }

    /// Ends a Task of which no attempt runs. An attempt still open is closed with it, as failed. The first ending
    /// stays: a Task that has ended is returned as it is.
    pub async fn finish_task(&self, finish: FinishTask) -> Result<TaskRow> {
        let _ = finish;
        Err(StoreError::Closed)
    }

    /// Writes down that the Task's object is gone. The row stays. None if no such Task is recorded.
    pub async fn record_deleted(&self, deleted: RecordDeleted) -> Result<Option<TaskRow>> {
        let _ = deleted;
        Err(StoreError::Closed)
    }

    /// The Task with this id.
    pub async fn task(&self, id: Id) -> Result<Option<TaskRow>> {
        let _ = id;
        Err(StoreError::Closed)
    }

    /// Tasks, the newest first.
    pub async fn tasks(&self, filter: &TaskFilter, page: Page) -> Result<Vec<TaskRow>> {
        let _ = (filter, page);
        Err(StoreError::Closed)
    }

    /// Tasks that have not ended and whose object was not seen to go, by id, after `after`; at most [`MAX_PAGE`].
    pub async fn unfinished(&self, after: Option<Id>) -> Result<Vec<OpenTask>> {
        let _ = after;
        Err(StoreError::Closed)
    }

    /// How many Tasks are in each phase. Every phase is there.
    pub async fn counts(&self) -> Result<BTreeMap<&'static str, u64>> {
        let _ = Phase::ALL;
        Err(StoreError::Closed)
    }

    /// The attempts of a Task, the first one first.
    pub async fn jobs(&self, task_id: Id) -> Result<Vec<JobRow>> {
        let _ = task_id;
        Err(StoreError::Closed)
    }

    /// The files of a Task's traces, by attempt and uri.
    pub async fn artifacts(&self, task_id: Id) -> Result<Vec<ArtifactRow>> {
        let _ = task_id;
        Err(StoreError::Closed)
    }

    /// Audit entries.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<Entry>> {
        let _ = query;
        Err(StoreError::Closed)
    }

    /// Walks over the whole audit log and holds every entry against the chain of hashes.
    pub async fn verify_audit(&self) -> Result<AuditCheck> {
        Err(StoreError::Closed)
    }
}
