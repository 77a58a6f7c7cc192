//! What the audit log says of a Task.

use serde_json::{Map, Value, json as value};

use crate::TaskRow;

/// What the audit log says of a Task that is new: all of it, so that a later change of its row shows.
pub(crate) fn task_created(row: &TaskRow) -> Value {
    let mut created = row.to_json();
    if let Value::Object(fields) = &mut created {
        fields.insert("record".into(), task_record(row).into());
    }
    created
}

/// The columns that neither REST shows nor [`task_state`] has all along.
pub(crate) fn task_record(row: &TaskRow) -> Map<String, Value> {
    let record = value!({
        "uid": row.uid,
        "executor": row.executor,
        "max_attempts": row.max_attempts,
        "create_cwom": row.create_cwom,
        "cwom_repo_id": row.cwom_repo_id,
        "cwom_run_id": row.cwom_run_id,
        "recorded_at": row.recorded_at,
    });
    let Value::Object(mut record) = record else { return Map::new() };
    // Of most Tasks there is nothing to say here.
    record.extend(row.model.as_ref().map(|model| ("model".to_owned(), value!(model))));
    record.extend(row.delivery.as_ref().map(|delivery| ("delivery".to_owned(), value!(delivery))));
    record
}

/// The columns that may change, as the audit log shows them.
pub(crate) fn task_state(row: &TaskRow) -> Map<String, Value> {
    let state = value!({
        "uid": row.uid,
        "status": row.phase,
        "attempt": row.attempt,
        "attempt_ended_at": row.attempt_ended_at,
        "job_name": row.job_name,
        "commit": row.commit,
        "queued_at": row.queued_at,
        "started_at": row.started_at,
        "completed_at": row.completed_at,
        "assigned_to": row.assigned_to,
        "result": row.result,
        "error": row.error,
        "trace_path": row.trace_path,
        "manifest_sha256": row.manifest_sha256,
        "trace_files": row.trace_files,
        "cwom_issue_id": row.cwom_issue_id,
        "cwom_repo_id": row.cwom_repo_id,
        "cwom_run_id": row.cwom_run_id,
        "deleted_at": row.deleted_at,
        "infrastructure_failures": row.infrastructure_failures,
        "spec_generation": row.spec_generation,
        "trace_removed_at": row.trace_removed_at,
    });
    let Value::Object(mut state) = state else { return Map::new() };
    // Of most Tasks there is nothing to say here.
    for (name, user) in [("restored_by", &row.restored_by), ("adopted_by", &row.adopted_by)] {
        state.extend(user.as_ref().map(|user| (name.to_owned(), value!(user))));
    }
    state
}
