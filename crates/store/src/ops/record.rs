//! Recording a Task.

use super::task_changed;
use crate::audit::Change;
use crate::cwom::objects_of_new_task;
use crate::operation::{Changes, Needs, Operation, View};
use crate::review::ReviewChanges;
use crate::rows::{stored, task_created};
use crate::{NewTask, Recording, Result, TaskRow};
use jct_domain::Phase;
use jct_domain::audit::{Action, EntityKind};
use jct_domain::cwom::Kind;

impl Operation for NewTask {
    type Output = Recording;

    fn needs(&self, needs: &mut Needs) {
        needs.tasks.insert(self.id);
        needs.uids.insert(self.uid.clone());
        needs.refusals.insert(self.id);
        needs.keys.extend(self.task.idempotency_key.clone().map(|key| (self.namespace.clone(), key)));
        match self.for_run {
            Some(run) => needs.objects.row(Kind::Run, run),
            None if self.create_cwom => needs.objects.slug(&self.namespace, self.task.target.repo.as_str()),
            None => {}
        }
    }

    fn decide(&self, view: &View) -> Result<(Recording, Changes)> {
        let unchanged = |recording| Ok((recording, Changes::default()));
        if let Some(row) = view.task_by_uid(&self.uid)? {
            // Whatever id the object claims by now.
            return unchanged(Recording::Known(Box::new(row.clone())));
        }
        if let Some(row) = view.task(self.id)? {
            return Ok(self.resolve_existing(row));
        }
        if let Some(at) = view.removed.get(&self.id) {
            return unchanged(Recording::Removed { at: *at });
        }
        if let Some(findings) = view.refusal(self.id) {
            return unchanged(Recording::Refused(findings.clone()));
        }
        if self.shown.has_ended && self.shown.by_itself {
            return unchanged(Recording::Lost);
        }
        if let Some(key) = &self.task.idempotency_key
            && let Some(first) = view.task_by_key(&self.namespace, key)?
        {
            let is_same = first.task_sha256() == self.task_sha256();
            let first = Box::new(first.clone());
            if !is_same {
                return unchanged(Recording::KeyReused);
            }
            // Whoever asks for the same is no second person for it.
            let asker = self.submitted_by.clone().filter(|user| first.submitted_by.as_ref() != Some(user));
            let asker = asker.map(|user| (first.id, user, self.recorded_at));
            let reviews = ReviewChanges { asker, ..ReviewChanges::default() };
            return Ok((Recording::Duplicate { first }, Changes { reviews, ..Changes::default() }));
        }
        if self.shown.has_ended || self.shown.is_beyond(0) {
            return unchanged(Recording::Lost);
        }
        let (row, objects) = objects_of_new_task(&view.objects, self, self.row())?;
        let entry = Change {
            actor: self.actor.clone(),
            action: Action::Created,
            entity_kind: EntityKind::Task,
            entity_id: self.id.to_string(),
            before: None,
            after: Some(task_created(&row)),
            note: self.client.as_ref().map(|client| format!("client: {client}")),
            trace_id: self.trace_id.clone(),
        };
        let entries = [vec![entry], objects.entries].concat();
        let changes = Changes { task: Some(row.clone()), objects: objects.objects, entries, ..Changes::default() };
        Ok((Recording::Recorded(Box::new(row)), changes))
    }
}

impl NewTask {
    /// There is a row with the id: the same Task, the same one restored, or another one.
    fn resolve_existing(&self, row: &TaskRow) -> (Recording, Changes) {
        if row.uid == self.uid && row.deleted_at.is_none() {
            return (Recording::Known(Box::new(row.clone())), Changes::default());
        }
        let is_same_place = (&row.namespace, &row.name) == (&self.namespace, &self.name);
        if !is_same_place || row.task_sha256() != self.task_sha256() {
            let taken = Recording::IdTaken { by: Box::new(row.clone()) };
            let is_lost = self.shown.has_ended && self.shown.by_itself;
            return (if is_lost { Recording::Lost } else { taken }, Changes::default());
        }
        let restored_by = (self.submitted_by != row.submitted_by).then(|| self.actor.id.clone());
        let note = match &restored_by {
            None => "the object was restored under its id".into(),
            Some(user) => {
                let first = row.submitted_by.as_deref().unwrap_or("somebody unverified");
                format!("the object was restored under its id by {user}; {first} had submitted the Task")
            }
        };
        let restored =
            TaskRow { uid: self.uid.clone(), restored_by, deleted_at: None, spec_generation: 0, ..row.clone() };
        let entry = task_changed(row, &restored, self.actor.clone(), Some(note));
        let changes = Changes { task: Some(restored.clone()), entries: vec![entry], ..Changes::default() };
        (Recording::Known(Box::new(restored)), changes)
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
            model,
            delivery,
            max_attempts,
            create_cwom,
            for_run: _,
            client: _,
            suspended,
            shown: _,
            created_at,
            recorded_at,
        } = self.clone();
        let recorded_at = stored(recorded_at);
        TaskRow {
            id,
            trace_id,
            namespace,
            name,
            uid,
            submitted_by,
            restored_by: None,
            adopted_by: None,
            task,
            executor,
            model,
            delivery,
            max_attempts,
            create_cwom,
            phase: if suspended { Phase::Pending } else { Phase::Queued },
            attempt: 0,
            attempt_ended_at: None,
            job_name: None,
            commit: None,
            created_at: stored(created_at),
            recorded_at,
            queued_at: (!suspended).then_some(recorded_at),
            started_at: None,
            completed_at: None,
            assigned_to: None,
            result: None,
            error: None,
            trace_path: None,
            manifest_sha256: None,
            trace_files: None,
            trace_removed_at: None,
            infrastructure_failures: 0,
            spec_generation: 0,
            cwom_issue_id: None,
            cwom_repo_id: None,
            cwom_run_id: None,
            deleted_at: None,
        }
    }
}
