//! The writes: each loads the rows, asks [`transition`](super::transition) what becomes of them, saves them, and says so
//! in the audit log.

mod attempt;
mod probe;
mod record;
mod refuse;
mod task_end;

use serde_json::{Map, Value};

use super::audit::Change;
use super::rows::{job_of, lock_task, save_task, task_state};
use super::tx::Tx;
use super::{Conflict, JobRow, Result, StoreError, TaskRow};
use crate::domain::audit::{Action, EntityKind};
use crate::domain::{Actor, Id};

pub(super) use probe::Probe;
pub(super) use refuse::findings_of;

/// The Task, locked.
async fn task(tx: &mut Tx<'_>, id: Id) -> Result<TaskRow> {
    lock_task(&mut tx.conn, id).await?.ok_or(StoreError::UnknownTask(id))
}

/// One attempt of a Task that is locked.
async fn job(tx: &mut Tx<'_>, task: &TaskRow, attempt: u32) -> Result<JobRow> {
    let job = job_of(&mut tx.conn, task.id, attempt).await?;
    job.ok_or_else(|| StoreError::conflict(task.id, Conflict::UnknownAttempt(attempt)))
}

/// Saves a Task that has become another, with an entry that shows what differs.
async fn save(tx: &mut Tx<'_>, before: &TaskRow, after: &TaskRow, actor: Actor, note: Option<String>) -> Result<()> {
    save_task(&mut tx.conn, after).await?;
    let action = if before.phase == after.phase { Action::Updated } else { Action::StatusChanged };
    let (old, new) = difference(task_state(before), task_state(after));
    tx.audit(Change {
        actor,
        action,
        entity_kind: EntityKind::Task,
        entity_id: after.id.to_string(),
        before: Some(old),
        after: Some(new),
        note,
        trace_id: after.trace_id.clone(),
    });
    Ok(())
}

/// Of two states the fields that differ.
fn difference(mut before: Map<String, Value>, mut after: Map<String, Value>) -> (Value, Value) {
    let same: Vec<String> = before
        .iter()
        .filter(|(field, value)| after.get(*field) == Some(value))
        .map(|(field, _)| field.clone())
        .collect();
    for field in same {
        before.remove(&field);
        after.remove(&field);
    }
    (Value::Object(before), Value::Object(after))
}
