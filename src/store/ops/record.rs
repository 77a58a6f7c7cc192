//! Recording a Task.

use async_trait::async_trait;

use super::{refuse, save};
use crate::domain::Phase;
use crate::domain::audit::{Action, EntityKind};
use crate::store::audit::Change;
use crate::store::rows::{insert_task, lock_task, stored, task_by_key};
use crate::store::tx::{Operation, Tx};
use crate::store::{NewTask, Recording, Result, StoreError, TaskRow};

#[async_trait]
impl Operation for NewTask {
    type Output = Recording;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Recording> {
        if let Some(met) = self.meet(tx).await? {
            return Ok(met);
        }
        if let Some(findings) = refuse::findings_on_record(tx, self.id).await? {
            return Ok(Recording::Refused(findings));
        }
        let row = self.row();
        if !insert_task(&mut tx.conn, &row).await? {
            // Another replica was faster, and its row is committed by now.
            let unseen = || StoreError::Unavailable("a row that is in the way can't be seen yet".into());
            return self.meet(tx).await?.ok_or_else(unseen);
        }
        tx.audit(Change {
            actor: self.actor.clone(),
            action: Action::Created,
            entity_kind: EntityKind::Task,
            entity_id: self.id.to_string(),
            before: None,
            after: Some(row.to_json()),
            note: None,
            trace_id: self.trace_id.clone(),
        });
        Ok(Recording::Recorded(Box::new(row)))
    }
}

impl NewTask {
    /// The row that stands in the way of a new one, if any.
    async fn meet(&self, tx: &mut Tx<'_>) -> Result<Option<Recording>> {
        if let Some(row) = lock_task(&mut tx.conn, self.id).await? {
            return self.meet_id(tx, row).await.map(Some);
        }
        let Some(key) = &self.task.idempotency_key else { return Ok(None) };
        let first = task_by_key(&mut tx.conn, &self.namespace, key).await?;
        Ok(first.map(|first| Recording::Duplicate { first: Box::new(first) }))
    }

    async fn meet_id(&self, tx: &mut Tx<'_>, row: TaskRow) -> Result<Recording> {
        if row.uid == self.uid {
            return Ok(Recording::Known(Box::new(row)));
        }
        if (&row.namespace, &row.name) != (&self.namespace, &self.name) {
            return Ok(Recording::IdTaken { by: Box::new(row) });
        }
        let restored = TaskRow { uid: self.uid.clone(), deleted_at: None, ..row.clone() };
        let note = Some("the object was restored under its id".into());
        save(tx, &row, &restored, self.actor.clone(), note).await?;
        Ok(Recording::Known(Box::new(restored)))
    }

    fn row(&self) -> TaskRow {
        let Self {
            id,
            trace_id,
            namespace,
            name,
            uid,
            submitted_by,
            actor: _,
            task,
            executor,
            max_attempts,
            create_cwom,
            created_at,
            recorded_at,
        } = self.clone();
        TaskRow {
            id,
            trace_id,
            namespace,
            name,
            uid,
            submitted_by,
            task,
            executor,
            max_attempts,
            create_cwom,
            phase: Phase::Pending,
            attempt: 0,
            attempt_ended_at: None,
            job_name: None,
            commit: None,
            created_at: stored(created_at),
            recorded_at: stored(recorded_at),
            queued_at: None,
            started_at: None,
            completed_at: None,
            assigned_to: None,
            result: None,
            error: None,
            trace_path: None,
            manifest_sha256: None,
            trace_files: None,
            cwom_issue_id: None,
            deleted_at: None,
        }
    }
}
