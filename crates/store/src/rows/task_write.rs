//! Writing `tasks`: new rows whole, later the columns that may change.

use serde_json::{Map, Value, json as value};

use super::{microseconds, to_json, to_json_or_null};
use crate::conn::{Argument, Conn, Values, execute};
use crate::contents::{self, Content};
use crate::{Result, TaskRow};
use jct_domain::task::{Constraints, RequestedBy, Target};
use jct_domain::{Id, Task};

/// Inserts new rows; how many of them: one whose id, or whose idempotency key in its namespace, is taken is left out.
pub(crate) async fn insert_tasks<'r>(conn: &mut Conn<'_>, rows: impl IntoIterator<Item = &'r TaskRow>) -> Result<u64> {
    const INSERT: Values = Values {
        before: "INSERT INTO tasks (id, trace_id, namespace, name, submitted_by, version, idempotency_key, \
                 requested_by_kind, requested_by_id, requested_by_label, objective, operation, target_repo, \
                 target_ref, target_path, time_budget_seconds, allow_network, allow_secrets, inputs, metadata, \
                 acceptance_criteria, evidence_requirements, executor, max_attempts, create_cwom, created_at, \
                 recorded_at, uid, status, attempt, attempt_ended_at, job_name, source_commit, queued_at, started_at, \
                 completed_at, assigned_to, result, error, trace_path, manifest_sha256, trace_files, cwom_issue_id, \
                 cwom_repo_id, cwom_run_id, deleted_at, infrastructure_failures, \
                 trace_removed_at, restored_by, adopted_by, spec_generation) VALUES",
        width: 51,
        after: " ON CONFLICT DO NOTHING",
    };
    let mut contents = Vec::new();
    let rows = rows.into_iter().map(|row| {
        let mut columns = fixed_columns(row, &mut contents)?;
        columns.extend(changing_columns(row)?);
        Ok(columns)
    });
    let rows = rows.collect::<Result<_>>()?;
    contents::save(conn, contents).await?;
    INSERT.execute(conn, rows).await
}

/// Writes what may change of rows that are there.
pub(crate) async fn update_tasks<'r>(conn: &mut Conn<'_>, rows: impl IntoIterator<Item = &'r TaskRow>) -> Result<()> {
    const UPDATE: Values = Values {
        before: "UPDATE tasks SET uid = v.column2, status = v.column3, attempt = v.column4, \
                 attempt_ended_at = v.column5, job_name = v.column6, source_commit = v.column7, \
                 queued_at = v.column8, started_at = v.column9, completed_at = v.column10, \
                 assigned_to = v.column11, result = v.column12, error = v.column13, trace_path = v.column14, \
                 manifest_sha256 = v.column15, trace_files = v.column16, cwom_issue_id = v.column17, \
                 cwom_repo_id = v.column18, cwom_run_id = v.column19, deleted_at = v.column20, \
                 infrastructure_failures = v.column21, trace_removed_at = v.column22, restored_by = v.column23, \
                 adopted_by = v.column24, spec_generation = v.column25 FROM (VALUES",
        width: 25,
        after: ") AS v WHERE tasks.id = v.column1",
    };
    let rows = rows.into_iter().map(|row| {
        let mut columns = vec![row.id.to_string().into()];
        columns.extend(changing_columns(row)?);
        Ok(columns)
    });
    UPDATE.execute(conn, rows.collect::<Result<_>>()?).await?;
    Ok(())
}

/// Deletes a Task's row, its attempts and the list of its files.
pub(crate) async fn remove_task(conn: &mut Conn<'_>, id: Id) -> Result<()> {
    for delete in [
        "DELETE FROM artifacts WHERE job_id IN (SELECT id FROM jobs WHERE task_id = $1)",
        "DELETE FROM jobs WHERE task_id = $1",
        "DELETE FROM tasks WHERE id = $1",
    ] {
        execute!(conn, delete, id.to_string())?;
    }
    Ok(())
}

/// What never changes, in the order of the INSERT; of it to `contents` what is stored elsewhere.
fn fixed_columns(row: &TaskRow, contents: &mut Vec<(String, Content)>) -> Result<Vec<Argument>> {
    let Task {
        version,
        idempotency_key,
        requested_by: RequestedBy { kind, id: requester_id, label },
        objective,
        operation,
        target: Target { repo, git_ref, path },
        constraints: Constraints { time_budget_seconds, allow_network, allow_secrets },
        inputs,
        metadata,
        acceptance_criteria,
        evidence_requirements,
    } = &row.task;
    let mut stored = |json: &Map<String, Value>| -> Result<Argument> {
        let (column, content) = contents::column(to_json(json)?);
        contents.extend(content.map(|content| (row.id.to_string(), content)));
        Ok(column.into())
    };
    Ok(vec![
        row.id.to_string().into(),
        row.trace_id.as_str().into(),
        (&row.namespace).into(),
        (&row.name).into(),
        (&row.submitted_by).into(),
        version.into(),
        idempotency_key.into(),
        kind.as_str().into(),
        requester_id.into(),
        label.into(),
        objective.into(),
        operation.as_str().into(),
        repo.as_str().into(),
        git_ref.into(),
        path.into(),
        (*time_budget_seconds).into(),
        (*allow_network).into(),
        (*allow_secrets).into(),
        stored(inputs)?,
        stored(metadata)?,
        to_json(acceptance_criteria)?.into(),
        to_json(evidence_requirements)?.into(),
        (&row.executor).into(),
        row.max_attempts.into(),
        row.create_cwom.into(),
        row.created_at.as_microsecond().into(),
        row.recorded_at.as_microsecond().into(),
    ])
}

/// What may change, in the order of both statements.
fn changing_columns(row: &TaskRow) -> Result<Vec<Argument>> {
    let TaskRow {
        id: _,
        trace_id: _,
        namespace: _,
        name: _,
        uid,
        submitted_by: _,
        restored_by,
        adopted_by,
        task: _,
        executor: _,
        max_attempts: _,
        create_cwom: _,
        phase,
        attempt,
        attempt_ended_at,
        job_name,
        commit,
        created_at: _,
        recorded_at: _,
        queued_at,
        started_at,
        completed_at,
        assigned_to,
        result,
        error,
        trace_path,
        manifest_sha256,
        trace_files,
        trace_removed_at,
        infrastructure_failures,
        spec_generation,
        cwom_issue_id,
        cwom_repo_id,
        cwom_run_id,
        deleted_at,
    } = row;
    Ok(vec![
        uid.into(),
        phase.as_str().into(),
        (*attempt).into(),
        microseconds(*attempt_ended_at).into(),
        job_name.into(),
        commit.into(),
        microseconds(*queued_at).into(),
        microseconds(*started_at).into(),
        microseconds(*completed_at).into(),
        assigned_to.into(),
        to_json_or_null(result.as_ref())?.into(),
        to_json_or_null(error.as_ref())?.into(),
        trace_path.into(),
        manifest_sha256.into(),
        (*trace_files).into(),
        cwom_issue_id.map(|id| id.to_string()).into(),
        cwom_repo_id.map(|id| id.to_string()).into(),
        cwom_run_id.map(|id| id.to_string()).into(),
        microseconds(*deleted_at).into(),
        (*infrastructure_failures).into(),
        microseconds(*trace_removed_at).into(),
        restored_by.into(),
        adopted_by.into(),
        (*spec_generation).into(),
    ])
}

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
    if let Value::Object(record) = record { record } else { Map::new() }
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
