//! What answers a request for a Task, or for its end.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::openapi::bodies;
use crate::domain::cwom::adapter::CwomIds;
use crate::domain::{Id, Phase, TraceId};
use crate::store::TaskRow;

/// It is done, or will be.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Enqueued {
    #[schemars(schema_with = "bodies::success")]
    status: &'static str,
    #[schemars(schema_with = "bodies::id")]
    task_id: Id,
    #[schemars(schema_with = "bodies::trace_id")]
    trace_id: TraceId,
    message: &'static str,
    /// Only there if there are some: what the Task will fail of, as things are configured now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// The trace that the request named, if the Task could not be made part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bodies::trace_id")]
    parent_trace_id: Option<TraceId>,
    #[schemars(schema_with = "bodies::task")]
    task: Value,
    /// The work objects made for the Task; absent if none were.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WorkObjects")]
    cwom: Option<WorkObjects>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct WorkObjects {
    #[schemars(schema_with = "bodies::id")]
    repo_id: Id,
    #[schemars(schema_with = "bodies::id")]
    issue_id: Id,
    #[schemars(schema_with = "bodies::id")]
    context_packet_id: Id,
    #[schemars(schema_with = "bodies::id")]
    constraint_snapshot_id: Id,
}

impl Enqueued {
    /// Of the Task in `row`.
    pub fn new(message: &'static str, row: &TaskRow) -> Self {
        let (task_id, trace_id, task) = (row.id, row.trace_id.clone(), row.to_json());
        Self {
            status: "success",
            task_id,
            trace_id,
            message,
            warnings: Vec::new(),
            parent_trace_id: None,
            task,
            cwom: None,
        }
    }

    /// Of a Task that was just recorded.
    pub fn recorded(row: &TaskRow, warnings: &[String], parent: Option<&TraceId>) -> Self {
        let of = |CwomIds { repo, issue, context_packet, constraint_snapshot }| WorkObjects {
            repo_id: repo,
            issue_id: issue,
            context_packet_id: context_packet,
            constraint_snapshot_id: constraint_snapshot,
        };
        let (warnings, parent_trace_id, cwom) = (warnings.to_vec(), parent.cloned(), row.cwom_ids().map(of));
        Self { warnings, parent_trace_id, cwom, ..Self::new("the Task is recorded", row) }
    }

    /// The body.
    pub fn to_json(&self) -> Value {
        json!(self)
    }
}

/// What [`TaskRow::to_json`] adds to the specification of a recorded Task.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct Recorded {
    #[schemars(schema_with = "bodies::id")]
    id: Id,
    #[schemars(schema_with = "bodies::id")]
    task_id: Id,
    #[schemars(schema_with = "bodies::trace_id")]
    trace_id: TraceId,
    #[schemars(schema_with = "bodies::namespace")]
    namespace: String,
    #[schemars(schema_with = "bodies::object_name")]
    name: String,
    submitted_by: Option<String>,
    #[schemars(schema_with = "bodies::phase")]
    status: Phase,
    #[schemars(schema_with = "bodies::time")]
    created_at: Timestamp,
    #[schemars(schema_with = "bodies::time_or_null")]
    queued_at: Option<Timestamp>,
    #[schemars(schema_with = "bodies::time_or_null")]
    started_at: Option<Timestamp>,
    #[schemars(schema_with = "bodies::time_or_null")]
    completed_at: Option<Timestamp>,
    assigned_to: Option<String>,
    /// What came out of it.
    #[schemars(schema_with = "bodies::any")]
    result: Option<Value>,
    error: Option<Reason>,
    trace_path: Option<String>,
    /// When retention removed the files of trace_path from the volume.
    #[schemars(schema_with = "bodies::time_or_null")]
    trace_removed_at: Option<Timestamp>,
    #[schemars(schema_with = "bodies::id_or_null")]
    cwom_issue_id: Option<Id>,
    /// Who made the object anew, from a backup; absent of most Tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    restored_by: Option<String>,
    /// Who decided that the Task, whose record was lost, goes on; absent of most Tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    adopted_by: Option<String>,
}

#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Reason {
    reason: String,
    message: String,
}

/// The key is used.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Duplicate {
    #[schemars(schema_with = "bodies::conflict")]
    status: &'static str,
    /// Whether the Task with the key asks for the same.
    error: UsedKey,
    #[schemars(schema_with = "bodies::id_or_null")]
    task_id: Option<Id>,
    #[schemars(schema_with = "bodies::trace_id_or_null")]
    trace_id: Option<TraceId>,
    message: &'static str,
    /// The first Task with the key; this and its ids are null if it asks for something else, or the caller may not get it.
    #[schemars(schema_with = "bodies::task_or_null")]
    task: Option<Value>,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum UsedKey {
    Duplicate,
    IdempotencyKeyReused,
}

const DUPLICATE: &str = "this Task, with this idempotency_key, is recorded already: nothing new was made. The key stays used, \
                         whatever became of the Task; to have the work done again, ask with another key or without";
const KEY_REUSED: &str = "another Task of this namespace, which asks for something else, has this idempotency_key: nothing was \
                          made. The key stays used, whatever became of that Task; ask with another key or without";

impl Duplicate {
    /// By the same Task, which those are shown who may get it.
    pub fn of(first: Option<&TaskRow>) -> Self {
        Self {
            status: "conflict",
            error: UsedKey::Duplicate,
            task_id: first.map(|first| first.id),
            trace_id: first.map(|first| first.trace_id.clone()),
            message: DUPLICATE,
            task: first.map(TaskRow::to_json),
        }
    }

    /// By another Task, of which nothing is shown.
    pub fn key_reused() -> Self {
        Self { error: UsedKey::IdempotencyKeyReused, message: KEY_REUSED, ..Self::of(None) }
    }

    /// The body.
    pub fn to_json(&self) -> Value {
        json!(self)
    }
}
