//! Ends of a Task that no attempt brings about, and the end of its object.

use async_trait::async_trait;
use serde_json::json;

use super::attempt::audit_job;
use super::{save, task};
use crate::domain::audit::{Action, EntityKind};
use crate::store::audit::Change;
use crate::store::rows::{job_of, lock_task, save_job, save_task, stored};
use crate::store::transition;
use crate::store::tx::{Operation, Tx};
use crate::store::{FinishTask, RecordDeleted, Result, TaskRow};

#[async_trait]
impl Operation for FinishTask {
    type Output = TaskRow;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<TaskRow> {
        let before = task(tx, self.task_id).await?;
        let job_before =
            if before.attempt_is_open() { job_of(&mut tx.conn, before.id, before.attempt).await? } else { None };
        let Some((after, job)) = transition::finish_task(&before, job_before.as_ref(), self) else {
            return Ok(before);
        };
        if let Some(job) = &job {
            save_job(&mut tx.conn, job).await?;
            audit_job(tx, job_before.as_ref(), job, self.actor.clone());
        }
        let note = format!("{}: {}", self.failure.reason, self.failure.message);
        save(tx, &before, &after, self.actor.clone(), Some(note)).await?;
        Ok(after)
    }
}

#[async_trait]
impl Operation for RecordDeleted {
    type Output = Option<TaskRow>;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<TaskRow>> {
        let Some(before) = lock_task(&mut tx.conn, self.id).await? else { return Ok(None) };
        if before.deleted_at.is_some() || before.uid != self.uid {
            return Ok(Some(before));
        }
        let after = TaskRow { deleted_at: Some(stored(self.at)), ..before };
        save_task(&mut tx.conn, &after).await?;
        tx.audit(Change {
            actor: self.actor.clone(),
            action: Action::Deleted,
            entity_kind: EntityKind::Task,
            entity_id: after.id.to_string(),
            before: Some(json!({
                "namespace": after.namespace,
                "name": after.name,
                "uid": after.uid,
                "status": after.phase,
            })),
            after: None,
            note: Some("the object was deleted; its record stays".into()),
            trace_id: after.trace_id.clone(),
        });
        Ok(Some(after))
    }
}
