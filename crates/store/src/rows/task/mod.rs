//! `tasks`: flat, one column for each scalar field of the specification.

mod entries;
mod read;
mod write;

use serde_json::{Map, Value};

use super::{
    json, json_or_null, microseconds, named, number, number_or_null, parsed, time, time_or_null, to_json,
    to_json_or_null,
};
use crate::columns::{Column, columns};
use crate::contents::{self, Content, Contents, digest_of_column};
use crate::{Result, TaskRow};
use jct_domain::task::{Constraints, Operation, RequestedBy, Target};
use jct_domain::{ActorKind, Phase, Task};

pub(crate) use entries::{task_created, task_record, task_state};
pub(crate) use read::{
    load_tasks, load_tasks_by_key, load_tasks_by_uid, open_by_namespace, open_by_phase, open_tasks, task_by_id,
    task_by_key, task_by_uid, task_parses, tasks_by_phase, tasks_of, tasks_of_trace,
};
#[cfg(test)]
pub(crate) use write::UPDATE_TASKS;
pub(crate) use write::{insert_tasks, remove_task, update_tasks};

const TABLE: &str = "tasks";

/// The mark of a second row of an object. Migrations alone set it.
pub(crate) const DUPLICATE_OF: Column = Column::text("duplicate_of");

columns! {
    pub(crate) struct TaskColumns {
        fixed: FixedTaskColumns {
            id: String,
            trace_id: String,
            namespace: String,
            name: String,
            submitted_by: Option<String>,
            version: String,
            idempotency_key: Option<String>,
            requested_by_kind: String,
            requested_by_id: String,
            requested_by_label: Option<String>,
            objective: String,
            operation: String,
            target_repo: String,
            target_ref: String,
            target_path: String,
            time_budget_seconds: i64,
            allow_network: bool,
            allow_secrets: bool,
            inputs: String,
            metadata: String,
            acceptance_criteria: String,
            evidence_requirements: String,
            executor: Option<String>,
            max_attempts: i64,
            create_cwom: bool,
            created_at: i64,
            recorded_at: i64,
            model: Option<String>,
            delivery: Option<String>,
        },
        changing: ChangingTaskColumns {
            uid: String,
            status: String,
            attempt: i64,
            attempt_ended_at: Option<i64>,
            job_name: Option<String>,
            source_commit: Option<String>,
            queued_at: Option<i64>,
            started_at: Option<i64>,
            completed_at: Option<i64>,
            assigned_to: Option<String>,
            result: Option<String>,
            error: Option<String>,
            trace_path: Option<String>,
            manifest_sha256: Option<String>,
            trace_files: Option<i64>,
            cwom_issue_id: Option<String>,
            cwom_repo_id: Option<String>,
            cwom_run_id: Option<String>,
            deleted_at: Option<i64>,
            infrastructure_failures: i64,
            trace_removed_at: Option<i64>,
            restored_by: Option<String>,
            adopted_by: Option<String>,
            spec_generation: i64,
        },
    }
}

impl TaskColumns {
    fn into_row(self) -> Result<TaskRow> {
        let Self { fixed, changing } = self;
        let task = fixed.task()?;
        let FixedTaskColumns { id, trace_id, namespace, name, submitted_by, executor, .. } = fixed;
        let ChangingTaskColumns {
            uid,
            status,
            attempt,
            attempt_ended_at,
            job_name,
            source_commit,
            queued_at,
            started_at,
            completed_at,
            assigned_to,
            result,
            error,
            trace_path,
            manifest_sha256,
            trace_files,
            cwom_issue_id,
            cwom_repo_id,
            cwom_run_id,
            deleted_at,
            infrastructure_failures,
            trace_removed_at,
            restored_by,
            adopted_by,
            spec_generation,
        } = changing;
        Ok(TaskRow {
            trace_id: parsed(TABLE, &id, &trace_id)?,
            namespace,
            name,
            uid,
            submitted_by,
            restored_by,
            adopted_by,
            task,
            executor,
            model: json_or_null(TABLE, &id, fixed.model)?,
            delivery: json_or_null(TABLE, &id, fixed.delivery)?,
            max_attempts: number(TABLE, &id, fixed.max_attempts)?,
            create_cwom: fixed.create_cwom,
            phase: named(TABLE, &id, "status", &status, Phase::parse)?,
            attempt: number(TABLE, &id, attempt)?,
            attempt_ended_at: time_or_null(TABLE, &id, attempt_ended_at)?,
            job_name,
            commit: source_commit,
            created_at: time(TABLE, &id, fixed.created_at)?,
            recorded_at: time(TABLE, &id, fixed.recorded_at)?,
            queued_at: time_or_null(TABLE, &id, queued_at)?,
            started_at: time_or_null(TABLE, &id, started_at)?,
            completed_at: time_or_null(TABLE, &id, completed_at)?,
            assigned_to,
            result: json_or_null(TABLE, &id, result)?,
            error: json_or_null(TABLE, &id, error)?,
            trace_path,
            manifest_sha256,
            trace_files: number_or_null(TABLE, &id, trace_files)?,
            infrastructure_failures: number(TABLE, &id, infrastructure_failures)?,
            spec_generation,
            cwom_issue_id: cwom_issue_id.map(|issue| parsed(TABLE, &id, &issue)).transpose()?,
            cwom_repo_id: cwom_repo_id.map(|repo| parsed(TABLE, &id, &repo)).transpose()?,
            cwom_run_id: cwom_run_id.map(|run| parsed(TABLE, &id, &run)).transpose()?,
            deleted_at: time_or_null(TABLE, &id, deleted_at)?,
            trace_removed_at: time_or_null(TABLE, &id, trace_removed_at)?,
            id: parsed(TABLE, &id, &id)?,
        })
    }

    /// Puts back what is stored elsewhere. What is missing stays a digest, which is no row of a Task.
    fn fill(&mut self, contents: &Contents) {
        for column in [&mut self.fixed.inputs, &mut self.fixed.metadata] {
            let body = digest_of_column(column).and_then(|digest| contents.get(digest).ok());
            if let Some(body) = body.map(str::to_owned) {
                *column = body;
            }
        }
    }
}

impl FixedTaskColumns {
    /// To `contents` what is stored elsewhere.
    fn of(row: &TaskRow, contents: &mut Vec<(String, Content)>) -> Result<Self> {
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
        let mut stored = |json: &Map<String, Value>| -> Result<String> {
            let (column, content) = contents::column(to_json(json)?);
            contents.extend(content.map(|content| (row.id.to_string(), content)));
            Ok(column)
        };
        Ok(Self {
            id: row.id.to_string(),
            trace_id: row.trace_id.as_str().into(),
            namespace: row.namespace.clone(),
            name: row.name.clone(),
            submitted_by: row.submitted_by.clone(),
            version: version.clone(),
            idempotency_key: idempotency_key.clone(),
            requested_by_kind: kind.as_str().into(),
            requested_by_id: requester_id.clone(),
            requested_by_label: label.clone(),
            objective: objective.clone(),
            operation: operation.as_str().into(),
            target_repo: repo.as_str().into(),
            target_ref: git_ref.clone(),
            target_path: path.clone(),
            time_budget_seconds: (*time_budget_seconds).into(),
            allow_network: *allow_network,
            allow_secrets: *allow_secrets,
            inputs: stored(inputs)?,
            metadata: stored(metadata)?,
            acceptance_criteria: to_json(acceptance_criteria)?,
            evidence_requirements: to_json(evidence_requirements)?,
            executor: row.executor.clone(),
            max_attempts: row.max_attempts.into(),
            create_cwom: row.create_cwom,
            created_at: row.created_at.as_microsecond(),
            recorded_at: row.recorded_at.as_microsecond(),
            model: to_json_or_null(row.model.as_ref())?,
            delivery: to_json_or_null(row.delivery.as_ref())?,
        })
    }

    /// The specification; the other columns are the row's own.
    fn task(&self) -> Result<Task> {
        let Self {
            id,
            trace_id: _,
            namespace: _,
            name: _,
            submitted_by: _,
            version,
            idempotency_key,
            requested_by_kind,
            requested_by_id,
            requested_by_label,
            objective,
            operation,
            target_repo,
            target_ref,
            target_path,
            time_budget_seconds,
            allow_network,
            allow_secrets,
            inputs,
            metadata,
            acceptance_criteria,
            evidence_requirements,
            executor: _,
            max_attempts: _,
            create_cwom: _,
            created_at: _,
            recorded_at: _,
            model: _,
            delivery: _,
        } = self;
        Ok(Task {
            version: version.clone(),
            idempotency_key: idempotency_key.clone(),
            requested_by: RequestedBy {
                kind: named(TABLE, id, "requested_by_kind", requested_by_kind, ActorKind::parse)?,
                id: requested_by_id.clone(),
                label: requested_by_label.clone(),
            },
            objective: objective.clone(),
            operation: named(TABLE, id, "operation", operation, Operation::parse)?,
            target: Target {
                repo: json(TABLE, id, &Value::from(target_repo.as_str()).to_string())?,
                git_ref: target_ref.clone(),
                path: target_path.clone(),
            },
            constraints: Constraints {
                time_budget_seconds: number(TABLE, id, *time_budget_seconds)?,
                allow_network: *allow_network,
                allow_secrets: *allow_secrets,
            },
            inputs: json(TABLE, id, inputs)?,
            metadata: json(TABLE, id, metadata)?,
            acceptance_criteria: json(TABLE, id, acceptance_criteria)?,
            evidence_requirements: json(TABLE, id, evidence_requirements)?,
        })
    }
}

impl ChangingTaskColumns {
    fn of(row: &TaskRow) -> Result<Self> {
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
            model: _,
            delivery: _,
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
        Ok(Self {
            uid: uid.clone(),
            status: phase.as_str().into(),
            attempt: (*attempt).into(),
            attempt_ended_at: microseconds(*attempt_ended_at),
            job_name: job_name.clone(),
            source_commit: commit.clone(),
            queued_at: microseconds(*queued_at),
            started_at: microseconds(*started_at),
            completed_at: microseconds(*completed_at),
            assigned_to: assigned_to.clone(),
            result: to_json_or_null(result.as_ref())?,
            error: to_json_or_null(error.as_ref())?,
            trace_path: trace_path.clone(),
            manifest_sha256: manifest_sha256.clone(),
            trace_files: trace_files.map(i64::from),
            cwom_issue_id: cwom_issue_id.map(|id| id.to_string()),
            cwom_repo_id: cwom_repo_id.map(|id| id.to_string()),
            cwom_run_id: cwom_run_id.map(|id| id.to_string()),
            deleted_at: microseconds(*deleted_at),
            infrastructure_failures: (*infrastructure_failures).into(),
            trace_removed_at: microseconds(*trace_removed_at),
            restored_by: restored_by.clone(),
            adopted_by: adopted_by.clone(),
            spec_generation: *spec_generation,
        })
    }
}
