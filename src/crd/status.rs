//! The status of a Task: a projection of the record.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::choices;

/// What became of a Task. Written by the controller alone, from the database.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pending, Queued, Running, Completed, Failed or Cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Why it is in this phase: a failure's reason, a policy code, or what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// That reason in a sentence, with what it waits for, what went wrong or what came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The Task's id: the key of its record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The trace id on everything that the Task touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The user that the API server authenticated when the Task was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_by: Option<String>,
    /// The operation, whichever field of the spec says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The repository, normalized, whichever field of the spec says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The executor of the current or last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    /// The current or last attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i64>,
    /// The Job of that attempt, in the worker namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,
    /// The commit that the work ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The trace of that attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceStatus>,
    /// What became of the change, where the Task wants it delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryStatus>,
    /// The work objects that tell of the Task, by their ids in the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwom: Option<CwomStatus>,
    /// When the latest attempt was free to run; the first one usually is when the Task is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Time>,
    /// When the first worker began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the Task ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// From the first worker's beginning to the end, such as 2m5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// What an administrator decided about a Task whose record was lost (`jct tasks`), until that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Accepted, Recorded, Succeeded, Finished, TraceCaptured, Ready; Reconciling until the end, Stalled if that is not success.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// What became of a change that is to be delivered.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryStatus {
    /// AwaitingReview, Pending, Delivering, Delivered, Rejected, Expired or Failed.
    pub phase: String,
    /// The branch that it is on, or is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit that was delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Of the pull request, or of the branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Of the pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<i64>,
    /// Why it is in this phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an administrator decided about a Task whose record was lost.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Adopt: the end that is shown counts. Rerun: the work may be done again.
    pub action: DecisionAction,
    /// Who decided it, as the API server knows them.
    pub by: String,
    /// When.
    pub at: Time,
}

/// The two ways to go on with a Task whose record was lost.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecisionAction {
    /// The end that is shown counts.
    Adopt,
    /// The work may be done again.
    Rerun,
}

/// Where the trace of an attempt lies, and the digest that binds it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TraceStatus {
    /// Folder below the root of the trace volume.
    pub path: String,
    /// SHA-256 of its manifest.json, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<String>,
    /// Number of files that the manifest covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
}

/// The ids of the work objects that tell of a Task. They are in the record, and no custom resources.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CwomStatus {
    /// The Repo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<String>,
    /// The Issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue_id: Option<String>,
    /// The ContextPacket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_packet_id: Option<String>,
    /// The ConstraintSnapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint_snapshot_id: Option<String>,
    /// The Run of the current or last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}

choices! {
    /// The types of a Task's conditions.
    pub enum ConditionType {
        /// It passed the gate.
        Accepted = "Accepted",
        /// It is in the database.
        Recorded = "Recorded",
        /// It ended with the work done; Unknown until it ends.
        Succeeded = "Succeeded",
        /// Its trace is complete, checked and bound by digests.
        TraceCaptured = "TraceCaptured",
        /// It has ended, in whatever way.
        Finished = "Finished",
        /// As Succeeded, but False until then: for tools that know no Tasks (kstatus).
        Ready = "Ready",
        /// It has not ended. Only there while that is so (kstatus).
        Reconciling = "Reconciling",
        /// It ended without success. Only there if that is so (kstatus).
        Stalled = "Stalled",
    }
}

choices! {
    /// The reasons of conditions and of `.status.reason` that are no failures.
    /// Failures have [`crate::domain::FailureReason`].
    pub enum Reason {
        /// The gate found nothing.
        PolicyPassed = "PolicyPassed",
        /// The row is written.
        Recorded = "Recorded",
        /// The database cannot be written at the moment.
        StoreUnavailable = "StoreUnavailable",
        /// Held back by `spec.suspend`.
        Suspended = "Suspended",
        /// Its first Job is made when it is its turn.
        WaitingForTurn = "WaitingForTurn",
        /// The Job waits for the scheduler.
        WaitingForScheduling = "WaitingForScheduling",
        /// The Job is created.
        JobCreated = "JobCreated",
        /// The last attempt failed; the next one waits for its time.
        Retrying = "Retrying",
        /// The worker's image is being pulled, with errors so far.
        WaitingForImage = "WaitingForImage",
        /// A quota leaves no room for the worker's pod.
        WaitingForQuota = "WaitingForQuota",
        /// The cluster's admission refuses the worker's pod.
        WaitingForAdmission = "WaitingForAdmission",
        /// A volume of the worker's pod is not there yet, with errors so far.
        WaitingForVolume = "WaitingForVolume",
        /// The node does not get the worker's pod started, with errors so far.
        WaitingForStart = "WaitingForStart",
        /// No executor is configured that does it; one that is being configured is waited for.
        WaitingForExecutor = "WaitingForExecutor",
        /// It runs, and its budget of models is used up: somebody is asked for more.
        AwaitingBudget = "AwaitingBudget",
        /// The worker runs.
        Running = "Running",
        /// The work is done.
        Completed = "Completed",
        /// `spec.cancel` asked for the end.
        Cancelled = "Cancelled",
        /// The object was deleted before its end.
        Deleted = "Deleted",
        /// Another Task has the same idempotency key; this one is a copy of its outcome.
        Duplicate = "Duplicate",
        /// It has run, and retention has removed its record; it does not run again.
        RecordRemoved = "RecordRemoved",
        /// It is recorded, and the annotation `jct.dev/id` says another id by now, which is without effect.
        PinIgnored = "PinIgnored",
        /// It is recorded, by the API server's clock, from which the operator's differs.
        ClockSkewed = "ClockSkewed",
        /// The trace is complete and its digests match.
        DigestsMatch = "DigestsMatch",
        /// There is no trace yet.
        NotYet = "NotYet",
        /// The worker left no manifest.
        Incomplete = "Incomplete",
        /// The manifest, or a file, does not match.
        Invalid = "Invalid",
        /// No attempt ran, so there is nothing to trace.
        NothingRan = "NothingRan",
    }
}

impl Reason {
    /// What people are told of at once when a Task waits for it: somebody may have to do something.
    pub const ANNOUNCED: [Self; 9] = [
        Self::WaitingForScheduling,
        Self::WaitingForImage,
        Self::WaitingForQuota,
        Self::WaitingForAdmission,
        Self::WaitingForVolume,
        Self::WaitingForStart,
        Self::WaitingForExecutor,
        Self::Retrying,
        Self::AwaitingBudget,
    ];

    /// What a Task can wait for.
    pub const WAITING: [Self; 13] = [
        Self::StoreUnavailable,
        Self::Suspended,
        Self::WaitingForTurn,
        Self::WaitingForScheduling,
        Self::JobCreated,
        Self::Retrying,
        Self::WaitingForImage,
        Self::WaitingForQuota,
        Self::WaitingForAdmission,
        Self::WaitingForVolume,
        Self::WaitingForStart,
        Self::WaitingForExecutor,
        Self::AwaitingBudget,
    ];
}

pub(super) fn conditions(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut schema = generator.subschema_for::<Vec<Condition>>();
    schema.insert("x-kubernetes-list-type".into(), "map".into());
    schema.insert("x-kubernetes-list-map-keys".into(), serde_json::json!(["type"]));
    schema
}
