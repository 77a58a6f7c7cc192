//! What callers ask of the store. Every write is compare-and-set and can be repeated: once it took effect, a repetition
//! returns the current row and writes nothing, no audit entry either.

use jiff::Timestamp;
use serde_json::Value;

use super::lost::Shown;
use super::model::{Failure, TaskRow};
use jct_domain::audit::{Action, EntityKind};
use jct_domain::evidence::EvidencePack;
use jct_domain::task::{Asks, Operation, TaskDelivery, TaskModel};
use jct_domain::trace::{ExecutorResult, FileEntry};
use jct_domain::{Actor, ActorKind, Finding, Id, Phase, SpecChange, Task, TraceId, task_digest};

/// A Task that passed the gate, to be recorded as `queued`; as `pending` while it is held back.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// Derived from the object, or pinned by `jct.dev/id`.
    pub id: Id,
    pub trace_id: TraceId,
    /// Of the object.
    pub namespace: String,
    /// Of the object.
    pub name: String,
    /// Of the object.
    pub uid: String,
    /// The authenticated user, where admission has vouched for one.
    pub submitted_by: Option<String>,
    /// Who the audit entry names.
    pub actor: Actor,
    /// What is to be done.
    pub task: Task,
    pub executor: Option<String>,
    /// The model asked for, and how much of it.
    pub model: Option<TaskModel>,
    /// What becomes of the change.
    pub delivery: Option<TaskDelivery>,
    /// How often the work may be tried.
    pub max_attempts: u32,
    /// Whether CWOM objects are to be made.
    pub create_cwom: bool,
    /// The Run that the Task carries out, where it was made for one; then no objects are made.
    pub for_run: Option<Id>,
    /// The program that asked for it on somebody's behalf, by its own account.
    pub client: Option<String>,
    /// Whether `spec.suspend` holds it back.
    pub suspended: bool,
    /// What the status of the object shows.
    pub shown: Shown,
    /// When the object was created.
    pub created_at: Timestamp,
    /// Now.
    pub recorded_at: Timestamp,
}

impl NewTask {
    /// The digest of the Task and of what is asked for beside it: [`task_digest`].
    pub fn task_sha256(&self) -> String {
        let asks = Asks::of(self.executor.as_deref(), self.model.as_ref(), self.delivery.as_ref());
        task_digest(&self.task, asks, self.max_attempts, self.create_cwom)
    }
}

/// What became of a [`NewTask`]. Only a `Recorded` or `Known` Task may run.
#[derive(Clone, Debug, PartialEq)]
pub enum Recording {
    Recorded(Box<TaskRow>),
    /// It was recorded before, or restored under its old id: its row goes on where it was.
    Known(Box<TaskRow>),
    /// Another Task of the namespace has the idempotency key. Nothing was written.
    Duplicate {
        first: Box<TaskRow>,
    },
    /// Another Task of the namespace, which asks for something else, has the idempotency key. Nothing was written.
    KeyReused,
    /// The object's status shows an end, or attempts, of which the record knows nothing. Nothing was written.
    Lost,
    /// The pinned id belongs to another Task, or to the same one with another specification. Nothing was written.
    IdTaken {
        by: Box<TaskRow>,
    },
    /// It was refused before, and a refusal is final. Nothing was written.
    Refused(Vec<Finding>),
    /// It was recorded before and has ended, and retention has removed its record. Nothing was written.
    Removed {
        at: Timestamp,
    },
}

/// A Task that came past the webhooks and that the controller's gate refuses.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Derived from the object.
    pub id: Id,
    pub trace_id: TraceId,
    /// Of the object.
    pub namespace: String,
    /// Of the object.
    pub name: String,
    /// Of the object.
    pub uid: String,
    /// Who the audit entry names.
    pub actor: Actor,
    /// What is wrong, the first finding being "the" reason. Not empty.
    pub findings: Vec<Finding>,
    /// The digest of the spec as it was refused.
    pub spec_sha256: String,
    /// Now.
    pub refused_at: Timestamp,
}

/// An attempt whose Job is about to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartAttempt {
    pub task_id: Id,
    /// 1 for the first; one more than the last one.
    pub attempt: u32,
    /// The id of the attempt's row.
    pub job_id: Id,
    pub job_name: String,
    /// Now.
    pub at: Timestamp,
}

impl StartAttempt {
    /// The attempt of `row` with this number; the id of its row follows from both.
    pub fn of(row: &TaskRow, attempt: u32, job_name: String, at: Timestamp) -> Self {
        let job_id = Id::derive_for(row.created_at, &row.id.to_string(), &format!("job/{attempt}"));
        Self { task_id: row.id, attempt, job_id, job_name, at }
    }
}

/// An attempt whose worker runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRunning {
    pub task_id: Id,
    pub attempt: u32,
    /// The pod.
    pub worker_id: String,
    /// The commit that it works on, once known.
    pub commit: Option<String>,
    pub at: Timestamp,
}

/// An attempt that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptEnd {
    pub task_id: Id,
    pub attempt: u32,
    /// How it ended and what follows. The attempt's row becomes `completed` with [`Next::Completed`], else `failed`.
    pub next: Next,
    /// Its trace, where there is one.
    pub trace: Option<TraceRecord>,
    /// Of the executor.
    pub exit_code: Option<i32>,
    /// The pod, where nobody marked the attempt as running.
    pub worker_id: Option<String>,
    /// The commit, where not known before.
    pub commit: Option<String>,
    /// When it began, where nobody marked the attempt as running.
    pub started_at: Option<Timestamp>,
    /// What is shown for it, if it succeeded.
    pub evidence: Option<Box<EvidencePack>>,
    pub ended_at: Timestamp,
}

/// What follows an attempt's end.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    Completed {
        /// What came out of it.
        result: Value,
    },
    Failed(Failure),
    Cancelled {
        failure: Failure,
        actor: Actor,
    },
    /// The Task goes on: another attempt is due. Its phase stays until that one starts.
    Retry(Failure),
}

/// The trace of an attempt, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceRecord {
    /// Below the root of the volume.
    pub path: String,
    /// The digest of the manifest; none without a manifest.
    pub manifest_sha256: Option<String>,
    /// Its files; only those that are there and whose digests hold.
    pub files: Vec<FileEntry>,
    /// Whether the worker sealed it and every digest holds.
    pub complete: bool,
    /// Whether the worker announced the manifest's digest as it ended, apart from the volume.
    pub announced: bool,
    /// What its manifest says of the work; none without a manifest.
    pub report: Option<Report>,
}

/// What did the work of an attempt, and what it said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub executor: String,
    /// Name and version of the worker.
    pub worker: String,
    /// In the executor's own words: nobody vouches for them.
    pub result: ExecutorResult,
    /// What it computed, in milliseconds.
    pub cpu_ms: Option<u64>,
}

/// A Task that ends without an attempt having brought it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishTask {
    pub task_id: Id,
    pub ending: Ending,
    pub failure: Failure,
    pub actor: Actor,
    /// Now.
    pub at: Timestamp,
}

/// The terminal phases that need no attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It can't run.
    Failed,
    /// Somebody asked for it.
    Cancelled,
}

impl Ending {
    pub fn phase(self) -> Phase {
        match self {
            Self::Failed => Phase::Failed,
            Self::Cancelled => Phase::Cancelled,
        }
    }
}

/// The last changes of a Task's spec, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSpecChanges {
    pub task_id: Id,
    /// The uid of its object: generations are counted for each anew.
    pub uid: String,
    /// The changes, in the order of their generations.
    pub changes: Vec<SpecChange>,
    /// Whether those before the first of them are nobody's news: they were made before changes were sealed.
    pub since_sealed: bool,
}

impl NoteSpecChanges {
    /// Whether one of them is not noted yet in this row.
    pub fn are_news(&self, row: &TaskRow) -> bool {
        let noted = noted_generation(row);
        row.uid == self.uid && self.changes.iter().any(|change| change.generation > noted)
    }
}

/// The generation that nothing needs to be said about, nor about those before. With the first an object is created.
pub(super) fn noted_generation(row: &TaskRow) -> i64 {
    row.spec_generation.max(1)
}

/// A Task whose object was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordDeleted {
    pub id: Id,
    /// The uid of the object that is gone; another uid's row is left alone.
    pub uid: String,
    pub actor: Actor,
    /// What else is to be said of that.
    pub note: Option<String>,
    /// Now.
    pub at: Timestamp,
}

/// The greatest number of rows that one page holds.
pub const MAX_PAGE: u32 = 1000;

/// Which Tasks to list: those that fit every given filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    pub namespace: Option<String>,
    pub phase: Option<Phase>,
    pub operation: Option<Operation>,
    /// Requested by this kind of actor.
    pub requester_kind: Option<ActorKind>,
    /// On this repository, `owner/name` in lower case.
    pub target_repo: Option<String>,
    pub trace_id: Option<TraceId>,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most this many, 1 to [`MAX_PAGE`].
    pub limit: u32,
    /// Pass over this many.
    pub offset: u32,
    /// Begin after the row with this id.
    pub after: Option<Id>,
}

impl Default for Page {
    fn default() -> Self {
        Self { limit: 100, offset: 0, after: None }
    }
}

/// Which audit entries to list: those that fit every given filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// About this kind of entity.
    pub entity_kind: Option<EntityKind>,
    pub entity_id: Option<String>,
    pub trace_id: Option<TraceId>,
    /// By this kind of actor.
    pub actor_kind: Option<ActorKind>,
    pub actor_id: Option<String>,
    pub action: Option<Action>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    pub order: Order,
    pub page: Page,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The latest first.
    #[default]
    NewestFirst,
    /// As things happened.
    OldestFirst,
}

/// A Task that has not ended, or whose object was not seen to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTask {
    pub id: Id,
    /// Of its object.
    pub namespace: String,
    /// Of its object.
    pub name: String,
    /// Of its object.
    pub uid: String,
    pub phase: Phase,
    /// Whether another row is the record of its object: earlier versions could make more than one.
    pub is_second: bool,
}
