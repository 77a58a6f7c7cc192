//! Rows as the rest of the program sees them (contract section 5). Times have microseconds.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use jct_domain::choices;
use jct_domain::cwom::adapter::{CwomIds, Origin, run_id};
use jct_domain::task::{Asks, TaskDelivery, TaskModel};
use jct_domain::trace::FileKind;
use jct_domain::{Id, Phase, Task, TraceId, task_digest};

/// Why a Task ended without the work done, or an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A [`FailureReason`](jct_domain::FailureReason), a policy code, or `Cancelled`.
    pub reason: String,
    pub message: String,
}

impl Failure {
    /// A failure for `reason`.
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}

/// The record of a Task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRow {
    /// Derived from the object, or pinned.
    pub id: Id,
    /// On everything the Task touched.
    pub trace_id: TraceId,
    /// Of the custom resource.
    pub namespace: String,
    /// Of the custom resource.
    pub name: String,
    /// Of the custom resource; a restored object has a new one.
    pub uid: String,
    /// The user who was authenticated when the object was created.
    pub submitted_by: Option<String>,
    /// Who created the present object, where that is not who submitted the Task: it was restored under its id.
    pub restored_by: Option<String>,
    /// By whose decision the end was taken from the status of the object, whose record was lost: as they say, and that nobody
    /// vouches for it.
    pub adopted_by: Option<String>,
    /// What is to be done.
    pub task: Task,
    /// The executor asked for; by operation when absent.
    pub executor: Option<String>,
    /// The model asked for, and how much of it.
    pub model: Option<TaskModel>,
    /// What becomes of the change.
    pub delivery: Option<TaskDelivery>,
    /// How often the work may be tried.
    pub max_attempts: u32,
    /// Whether CWOM objects are made.
    pub create_cwom: bool,
    /// Where it is on its way.
    pub phase: Phase,
    /// The latest attempt; 0 before the first.
    pub attempt: u32,
    /// When the latest attempt's outcome was recorded as ended. In a phase that is not terminal: a retry is due.
    pub attempt_ended_at: Option<Timestamp>,
    /// The latest attempt's Job.
    pub job_name: Option<String>,
    /// The commit that the latest attempt works on.
    pub commit: Option<String>,
    /// When the object was created.
    pub created_at: Timestamp,
    pub recorded_at: Timestamp,
    /// Since when the latest attempt was free to run: of the first one, when it was recorded, unless it was suspended then.
    pub queued_at: Option<Timestamp>,
    /// When the first worker began.
    pub started_at: Option<Timestamp>,
    /// When the Task ended, in any way.
    pub completed_at: Option<Timestamp>,
    /// The pod of the latest attempt.
    pub assigned_to: Option<String>,
    /// What came out of it.
    pub result: Option<Value>,
    /// Why it ended without.
    pub error: Option<Failure>,
    /// The latest trace, below the root of the volume.
    pub trace_path: Option<String>,
    /// The digest of that trace's manifest.
    pub manifest_sha256: Option<String>,
    /// How many files that trace has.
    pub trace_files: Option<u32>,
    /// When retention removed that trace from the volume.
    pub trace_removed_at: Option<Timestamp>,
    /// How many of its attempts the cluster failed: they don't count among those that the Task allows.
    pub infrastructure_failures: u32,
    /// Up to which generation of the object the changes of its spec are in the audit log; 0 before the first.
    pub spec_generation: i64,
    /// The Issue made for it, or that of the Run that it carries out.
    pub cwom_issue_id: Option<Id>,
    /// The Repo of that Issue.
    pub cwom_repo_id: Option<Id>,
    /// The Run that it carries out, where it was made for one.
    pub cwom_run_id: Option<Id>,
    /// When the object was deleted; the row stays.
    pub deleted_at: Option<Timestamp>,
}

impl TaskRow {
    /// How many attempts there may be, as things are.
    pub fn allowed_attempts(&self) -> u32 {
        self.max_attempts.saturating_add(self.infrastructure_failures)
    }

    /// Whether an attempt is under way: started and without a recorded outcome.
    pub fn attempt_is_open(&self) -> bool {
        self.attempt > 0 && self.attempt_ended_at.is_none() && !self.phase.is_terminal()
    }

    /// The ids of the work objects that were made for it; none if none were.
    pub fn cwom_ids(&self) -> Option<CwomIds> {
        self.cwom_issue_id
            .filter(|_| self.cwom_run_id.is_none())
            .map(|_| CwomIds::of(&self.origin(), self.cwom_repo_id))
    }

    /// The Run of an attempt: the one that the Task was made for is its first.
    pub fn run_id(&self, attempt: u32) -> Option<Id> {
        self.cwom_issue_id?;
        Some(self.cwom_run_id.filter(|_| attempt == 1).unwrap_or_else(|| run_id(&self.origin(), attempt)))
    }

    /// The digest of the Task and of what is asked for beside it: [`task_digest`].
    pub fn task_sha256(&self) -> String {
        task_digest(&self.task, self.asks(), self.max_attempts, self.create_cwom)
    }

    /// What it asks for beside its work.
    pub fn asks(&self) -> Asks<'_> {
        Asks::of(self.executor.as_deref(), self.model.as_ref(), self.delivery.as_ref())
    }

    /// The Task as the origin of its work objects.
    pub(super) fn origin(&self) -> Origin<'_> {
        Origin { task_id: self.id, created_at: self.created_at, trace_id: &self.trace_id }
    }

    /// The Task's JSON as REST shows it (contract section 3).
    pub fn to_json(&self) -> Value {
        let Self {
            id,
            trace_id,
            namespace,
            name,
            uid: _,
            submitted_by,
            restored_by,
            adopted_by,
            task,
            executor: _,
            model: _,
            delivery: _,
            max_attempts: _,
            create_cwom: _,
            phase,
            attempt: _,
            attempt_ended_at: _,
            job_name: _,
            commit: _,
            created_at,
            recorded_at: _,
            queued_at,
            started_at,
            completed_at,
            assigned_to,
            result,
            error,
            trace_path,
            manifest_sha256: _,
            trace_files: _,
            trace_removed_at,
            infrastructure_failures: _,
            spec_generation: _,
            cwom_issue_id,
            cwom_repo_id: _,
            cwom_run_id: _,
            deleted_at: _,
        } = self;
        let mut shown = json!({
            "id": id,
            "task_id": id,
            "namespace": namespace,
            "name": name,
            "submitted_by": submitted_by,
            "status": phase,
            "created_at": created_at,
            "queued_at": queued_at,
            "started_at": started_at,
            "completed_at": completed_at,
            "assigned_to": assigned_to,
            "result": result,
            "error": error,
            "trace_path": trace_path,
            "trace_removed_at": trace_removed_at,
            "cwom_issue_id": cwom_issue_id,
            "trace_id": trace_id,
        });
        if let (Value::Object(shown), Ok(Value::Object(task))) = (&mut shown, serde_json::to_value(task)) {
            shown.extend(task);
            // Of most Tasks there is nothing to say here.
            for (name, user) in [("restored_by", restored_by), ("adopted_by", adopted_by)] {
                shown.extend(user.as_ref().map(|user| (name.to_owned(), json!(user))));
            }
        }
        shown
    }
}

choices! {
    /// Where an attempt is.
    pub enum JobStatus {
        /// Its Job is to be created, or waits.
        Pending = "pending",
        /// A worker has taken it. Only other ways of execution than a Job use it.
        Claimed = "claimed",
        /// Its worker runs.
        Running = "running",
        /// It ended with the work done.
        Completed = "completed",
        /// It ended without.
        Failed = "failed",
    }
}

impl JobStatus {
    /// Whether the attempt has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// The record of one attempt; serialized, as REST and the audit log show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobRow {
    /// Derived from the Task's object and the attempt.
    pub id: Id,
    pub task_id: Id,
    pub trace_id: TraceId,
    /// 1 for the first.
    pub attempt: u32,
    pub job_name: String,
    pub status: JobStatus,
    /// The pod.
    pub worker_id: Option<String>,
    /// The commit that it works on.
    pub commit: Option<String>,
    /// When it was queued.
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Of the executor.
    pub exit_code: Option<i32>,
    /// Its trace, below the root of the volume.
    pub trace_path: Option<String>,
    /// The digest of the trace's manifest.
    pub manifest_sha256: Option<String>,
    /// How many files the trace has.
    pub trace_files: Option<u32>,
    /// Whether the worker sealed its trace, and every digest held.
    pub trace_complete: Option<bool>,
    /// Whether the worker itself announced the digest of that manifest as it ended. If not, it is what was found on the volume:
    /// files and digests hold, but whoever can write there could have made all of it. None without a manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_announced: Option<bool>,
    /// When retention removed its trace from the volume. The files go a moment later, or at the next sweep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_removed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_removed_by: Option<String>,
    /// When its folder was found to be gone.
    #[serde(skip)]
    pub trace_purged_at: Option<Timestamp>,
    /// What came out of it.
    pub result: Option<Value>,
    pub error: Option<Failure>,
}

/// The record of one file of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactRow {
    /// Derived from the Task's object, the attempt and the path.
    pub id: Id,
    pub task_id: Id,
    pub job_id: Id,
    pub trace_id: TraceId,
    pub kind: FileKind,
    /// The trace's path and the file's in it, below the root of the volume.
    pub uri: String,
    /// IANA media type.
    pub content_type: String,
    /// In bytes.
    pub size_bytes: u64,
    /// SHA-256, lower-case hex digits.
    pub checksum: String,
    /// When this row was written.
    pub created_at: Timestamp,
}
