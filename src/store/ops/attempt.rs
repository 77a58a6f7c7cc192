//! The way of an attempt.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{difference, job, save, task};
use crate::domain::Actor;
use crate::domain::audit::{Action, EntityKind};
use crate::store::audit::Change;
use crate::store::rows::{insert_artifacts, insert_job, save_job};
use crate::store::transition::{self, actor_of, note_of};
use crate::store::tx::{Operation, Tx};
use crate::store::{AttemptEnd, Conflict, JobRow, MarkRunning, Result, StartAttempt, StoreError, TaskRow, TraceRecord};

#[async_trait]
impl Operation for StartAttempt {
    type Output = TaskRow;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<TaskRow> {
        let before = task(tx, self.task_id).await?;
        let conflict = |reason| StoreError::conflict(self.task_id, reason);
        let Some((after, job)) = transition::start_attempt(&before, self).map_err(conflict)? else {
            return Ok(before);
        };
        insert_job(&mut tx.conn, &job).await?;
        save(tx, &before, &after, Actor::controller(), None).await?;
        audit_job(tx, None, &job, Actor::controller());
        Ok(after)
    }
}

#[async_trait]
impl Operation for MarkRunning {
    type Output = TaskRow;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<TaskRow> {
        let before = task(tx, self.task_id).await?;
        let job_before = job(tx, &before, self.attempt).await?;
        let Some((after, job)) = transition::mark_running(&before, &job_before, self) else { return Ok(before) };
        save_job(&mut tx.conn, &job).await?;
        save(tx, &before, &after, Actor::controller(), None).await?;
        audit_job(tx, Some(&job_before), &job, Actor::controller());
        Ok(after)
    }
}

#[async_trait]
impl Operation for AttemptEnd {
    type Output = TaskRow;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<TaskRow> {
        let before = task(tx, self.task_id).await?;
        let job_before = job(tx, &before, self.attempt).await?;
        let conflict = |reason: Conflict| StoreError::conflict(self.task_id, reason);
        let Some((after, job)) = transition::finish_attempt(&before, &job_before, self).map_err(conflict)? else {
            return Ok(before);
        };
        save_job(&mut tx.conn, &job).await?;
        if let Some(trace) = &self.trace {
            insert_artifacts(&mut tx.conn, transition::artifacts(&after, &job, trace, self)).await?;
            audit_trace(tx, &job, trace);
        }
        audit_job(tx, Some(&job_before), &job, actor_of(&self.next));
        save(tx, &before, &after, actor_of(&self.next), note_of(&self.next)).await?;
        Ok(after)
    }
}

/// Says what became of an attempt.
pub(super) fn audit_job(tx: &mut Tx<'_>, before: Option<&JobRow>, after: &JobRow, actor: Actor) {
    let state = |row: &JobRow| match job_state(row) {
        Value::Object(state) => state,
        _ => serde_json::Map::new(),
    };
    let (action, old, new) = match before {
        None => (Action::Created, None, job_state(after)),
        Some(before) => {
            let action = if before.status == after.status { Action::Updated } else { Action::StatusChanged };
            let (old, new) = difference(state(before), state(after));
            (action, Some(old), new)
        }
    };
    tx.audit(Change {
        actor,
        action,
        entity_kind: EntityKind::Job,
        entity_id: after.id.to_string(),
        before: old,
        after: Some(new),
        note: None,
        trace_id: after.trace_id.clone(),
    });
}

fn audit_trace(tx: &mut Tx<'_>, job: &JobRow, trace: &TraceRecord) {
    tx.audit(Change {
        actor: Actor::controller(),
        action: Action::Created,
        entity_kind: EntityKind::Trace,
        entity_id: trace.path.clone(),
        before: None,
        after: Some(json!({
            "path": trace.path,
            "task_id": job.task_id,
            "job_id": job.id,
            "attempt": job.attempt,
            "manifest_sha256": trace.manifest_sha256,
            "files": trace.files.len(),
            "complete": trace.complete,
        })),
        note: None,
        trace_id: job.trace_id.clone(),
    });
}

fn job_state(row: &JobRow) -> Value {
    let JobRow {
        id: _,
        task_id,
        trace_id: _,
        attempt,
        job_name,
        status,
        worker_id,
        commit,
        created_at,
        started_at,
        ended_at,
        exit_code,
        trace_path,
        manifest_sha256,
        trace_files,
        trace_complete,
        result,
        error,
    } = row;
    json!({
        "task_id": task_id,
        "attempt": attempt,
        "job_name": job_name,
        "status": status,
        "worker_id": worker_id,
        "commit": commit,
        "created_at": created_at,
        "started_at": started_at,
        "ended_at": ended_at,
        "exit_code": exit_code,
        "trace_path": trace_path,
        "manifest_sha256": manifest_sha256,
        "trace_files": trace_files,
        "trace_complete": trace_complete,
        "result": result,
        "error": error,
    })
}
