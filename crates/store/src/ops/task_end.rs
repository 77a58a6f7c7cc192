//! Ends of a Task that no attempt brings about, and the end of its object.

use serde_json::json;

use super::attempt::job_changed;
use super::{task_changed, with_objects};
use crate::audit::Change;
use crate::cwom::Advance;
use crate::operation::{Changes, Needs, Operation, View};
use crate::outbox;
use crate::rows::stored;
use crate::transition;
use crate::{FinishTask, RecordDeleted, Result, TaskRow};
use jct_domain::audit::{Action, EntityKind};

impl Operation for FinishTask {
    type Output = TaskRow;

    fn needs(&self, needs: &mut Needs) {
        needs.tasks.insert(self.task_id);
        needs.jobs_of.insert(self.task_id);
    }

    fn decide(&self, view: &View) -> Result<(TaskRow, Changes)> {
        let before = view.known_task(self.task_id)?;
        let job_before = view.job(self.task_id, before.attempt)?;
        let Some((after, job)) = transition::finish_task(before, job_before, self) else {
            return Ok((before.clone(), Changes::default()));
        };
        let mut entries = Vec::new();
        entries.extend(job.as_ref().map(|job| job_changed(job_before, job, self.actor.clone())));
        let note = format!("{}: {}", self.failure.reason, self.failure.message);
        entries.push(task_changed(before, &after, self.actor.clone(), Some(note)));
        let step = Advance {
            task: &after,
            job: job.as_ref(),
            trace: None,
            under_review: false,
            actor: &self.actor,
            at: self.at,
        };
        let changes = with_objects(view, &step, Changes { entries, ..Changes::default() })?;
        let event = outbox::of_end(&after);
        Ok((after.clone(), Changes { task: Some(after), job, event, ..changes }))
    }
}

impl Operation for RecordDeleted {
    type Output = Option<TaskRow>;

    fn needs(&self, needs: &mut Needs) {
        needs.tasks.insert(self.id);
    }

    fn decide(&self, view: &View) -> Result<(Option<TaskRow>, Changes)> {
        let Some(before) = view.task(self.id)? else { return Ok((None, Changes::default())) };
        if before.deleted_at.is_some() || before.uid != self.uid {
            return Ok((Some(before.clone()), Changes::default()));
        }
        let after = TaskRow { deleted_at: Some(stored(self.at)), ..before.clone() };
        let entry = Change {
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
            note: Some(noted("the object was deleted; its record stays", self.note.as_deref())),
            trace_id: after.trace_id.clone(),
        };
        let deleted_uid = Some(self.uid.clone());
        Ok((
            Some(after.clone()),
            Changes { task: Some(after), entries: vec![entry], deleted_uid, ..Changes::default() },
        ))
    }
}

/// The note of a deletion, with what else is to be said of it.
pub(crate) fn noted(what: &str, more: Option<&str>) -> String {
    more.map_or_else(|| what.to_owned(), |more| format!("{what}; {more}"))
}
