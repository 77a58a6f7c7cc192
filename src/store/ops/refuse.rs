//! Writing down that a Task is refused: an audit entry without a row.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::domain::audit::{Action, EntityKind};
use crate::domain::{Finding, Id, Phase};
use crate::store::audit::{Change, created_states, lock_head};
use crate::store::conn::Conn;
use crate::store::rows::{lock_task, stored};
use crate::store::tx::{Operation, Tx};
use crate::store::{Conflict, Refusal, Result, StoreError};

#[async_trait]
impl Operation for Refusal {
    type Output = Vec<Finding>;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Finding>> {
        if lock_task(&mut tx.conn, self.id).await?.is_some() {
            return Err(StoreError::conflict(self.id, Conflict::Recorded));
        }
        // There is no row to lock: with the end of the chain, no replica can write the same entry.
        lock_head(&mut tx.conn).await?;
        if let Some(findings) = findings_on_record(tx, self.id).await? {
            return Ok(findings);
        }
        tx.audit(self.change());
        Ok(self.findings.clone())
    }
}

impl Refusal {
    fn change(&self) -> Change {
        let Self { id, trace_id, namespace, name, uid, actor, findings, spec_sha256, refused_at } = self;
        let reason = findings.first().map(|finding| finding.code);
        Change {
            actor: actor.clone(),
            action: Action::Created,
            entity_kind: EntityKind::Task,
            entity_id: id.to_string(),
            before: None,
            after: Some(json!({
                "id": id,
                "task_id": id,
                "namespace": namespace,
                "name": name,
                "uid": uid,
                "status": Phase::Failed,
                "reason": reason,
                "findings": findings,
                "spec_sha256": spec_sha256,
                "refused_at": stored(*refused_at),
            })),
            note: Some("refused by the gate; it never ran".into()),
            trace_id: trace_id.clone(),
        }
    }
}

/// The findings of a refusal, if there was one.
pub(in crate::store) async fn findings_of(conn: &mut Conn<'_>, id: Id) -> Result<Option<Vec<Finding>>> {
    Ok(created_states(conn, id).await?.iter().find_map(findings_in))
}

/// Likewise, seeing the entries too that this transaction is yet to write.
pub(super) async fn findings_on_record(tx: &mut Tx<'_>, id: Id) -> Result<Option<Vec<Finding>>> {
    let entity_id = id.to_string();
    let unwritten = tx
        .changes
        .iter()
        .filter(|change| change.entity_kind == EntityKind::Task && change.entity_id == entity_id)
        .find_map(|change| findings_in(change.after.as_ref()?));
    match unwritten {
        Some(findings) => Ok(Some(findings)),
        None => findings_of(&mut tx.conn, id).await,
    }
}

fn findings_in(state: &Value) -> Option<Vec<Finding>> {
    serde_json::from_value(state.get("findings")?.clone()).ok()
}
