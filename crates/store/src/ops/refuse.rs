//! Writing down that a Task is refused: an audit entry without a row.

use serde_json::json;

use crate::audit::Change;
use crate::operation::{Changes, Needs, Operation, View};
use crate::outbox;
use crate::rows::stored;
use crate::{Conflict, Refusal, Result, StoreError};
use jct_domain::audit::{Action, EntityKind};
use jct_domain::{Finding, Phase};

impl Operation for Refusal {
    type Output = Vec<Finding>;

    fn needs(&self, needs: &mut Needs) {
        needs.tasks.insert(self.id);
        needs.refusals.insert(self.id);
    }

    fn decide(&self, view: &View) -> Result<(Vec<Finding>, Changes)> {
        if view.task(self.id)?.is_some() {
            return Err(StoreError::conflict(self.id, Conflict::Recorded));
        }
        if let Some(findings) = view.refusal(self.id) {
            return Ok((findings.clone(), Changes::default()));
        }
        if view.removed.contains_key(&self.id) {
            // It was no refusal by which it ended, and it is long over.
            return Ok((self.findings.clone(), Changes::default()));
        }
        let refusal = Some((self.id, self.findings.clone()));
        let event = Some(outbox::of_refusal(self));
        let changes = Changes { refusal, entries: vec![self.change()], event, ..Changes::default() };
        Ok((self.findings.clone(), changes))
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
