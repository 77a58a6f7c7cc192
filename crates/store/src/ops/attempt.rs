//! The way of an attempt.

use serde_json::{Map, Value, json};

use super::{difference, task_changed, with_objects};
use crate::audit::Change;
use crate::cwom::Advance;
use crate::operation::{Changes, Needs, Operation, View};
use crate::outbox;
use crate::review::{objects_under_review, pack_of};
use crate::rows::files_digest;
use crate::transition::{self, actor_of, note_of};
use crate::{ArtifactRow, AttemptEnd, JobRow, MarkRunning, Result, StartAttempt, StoreError, TaskRow, TraceRecord};
use jct_domain::audit::{Action, EntityKind};
use jct_domain::{Actor, Phase};

impl Operation for StartAttempt {
    type Output = TaskRow;

    fn needs(&self, needs: &mut Needs) {
        needs.tasks.insert(self.task_id);
    }

    fn decide(&self, view: &View) -> Result<(TaskRow, Changes)> {
        let before = view.known_task(self.task_id)?;
        let conflict = |reason| StoreError::conflict(self.task_id, reason);
        let Some((after, job)) = transition::start_attempt(before, self).map_err(conflict)? else {
            return Ok((before.clone(), Changes::default()));
        };
        let actor = Actor::controller();
        let entries = vec![task_changed(before, &after, actor.clone(), None), job_changed(None, &job, actor.clone())];
        let step =
            Advance { task: &after, job: Some(&job), trace: None, under_review: false, actor: &actor, at: self.at };
        let changes = with_objects(view, &step, Changes { entries, ..Changes::default() })?;
        Ok((after.clone(), Changes { task: Some(after), job: Some(job), ..changes }))
    }
}

impl Operation for MarkRunning {
    type Output = TaskRow;

    fn needs(&self, needs: &mut Needs) {
        needs.tasks.insert(self.task_id);
        needs.jobs_of.insert(self.task_id);
    }

    fn decide(&self, view: &View) -> Result<(TaskRow, Changes)> {
        let before = view.known_task(self.task_id)?;
        let job_before = view.known_job(self.task_id, self.attempt)?;
        let Some((after, job)) = transition::mark_running(before, job_before, self) else {
            return Ok((before.clone(), Changes::default()));
        };
        let actor = Actor::controller();
        let entries =
            vec![task_changed(before, &after, actor.clone(), None), job_changed(Some(job_before), &job, actor.clone())];
        let step =
            Advance { task: &after, job: Some(&job), trace: None, under_review: false, actor: &actor, at: self.at };
        let changes = with_objects(view, &step, Changes { entries, ..Changes::default() })?;
        Ok((after.clone(), Changes { task: Some(after), job: Some(job), ..changes }))
    }
}

impl Operation for AttemptEnd {
    type Output = TaskRow;

    fn needs(&self, needs: &mut Needs) {
        needs.tasks.insert(self.task_id);
        needs.jobs_of.insert(self.task_id);
    }

    fn decide(&self, view: &View) -> Result<(TaskRow, Changes)> {
        let before = view.known_task(self.task_id)?;
        let job_before = view.known_job(self.task_id, self.attempt)?;
        let conflict = |reason| StoreError::conflict(self.task_id, reason);
        let Some((after, job)) = transition::finish_attempt(before, job_before, self).map_err(conflict)? else {
            return Ok((before.clone(), Changes::default()));
        };
        let mut changes = Changes::default();
        if let Some(trace) = &self.trace {
            changes.artifacts = transition::artifacts(&after, &job, trace, self);
            changes.entries.push(trace_created(&job, trace, &changes.artifacts));
        }
        let actor = actor_of(&self.next);
        changes.entries.push(job_changed(Some(job_before), &job, actor.clone()));
        changes.entries.push(task_changed(before, &after, actor.clone(), note_of(&self.next)));
        let evidence = self.evidence.as_deref().filter(|_| after.phase == Phase::Completed);
        if let Some(evidence) = evidence {
            let (pack, entry) = pack_of(&after, evidence)?;
            changes.entries.push(entry);
            changes.reviews.pack = Some(Box::new(pack));
        }
        let trace = self.trace.as_ref();
        let under_review = objects_under_review(evidence);
        let step = Advance { task: &after, job: Some(&job), trace, under_review, actor: &actor, at: self.ended_at };
        let changes = with_objects(view, &step, changes)?;
        let event = outbox::of_end(&after);
        Ok((after.clone(), Changes { task: Some(after), job: Some(job), event, ..changes }))
    }
}

/// The entry for an attempt that is new, or has become another.
pub(super) fn job_changed(before: Option<&JobRow>, after: &JobRow, actor: Actor) -> Change {
    let (action, old, new) = match before {
        None => (Action::Created, None, Value::Object(job_state(after))),
        Some(before) => {
            let action = if before.status == after.status { Action::Updated } else { Action::StatusChanged };
            let (old, new) = difference(job_state(before), job_state(after));
            (action, Some(old), new)
        }
    };
    Change {
        actor,
        action,
        entity_kind: EntityKind::Job,
        entity_id: after.id.to_string(),
        before: old,
        after: Some(new),
        note: None,
        trace_id: after.trace_id.clone(),
    }
}

fn trace_created(job: &JobRow, trace: &TraceRecord, files: &[ArtifactRow]) -> Change {
    Change {
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
            "files_sha256": files_digest(files),
            "complete": trace.complete,
        })),
        note: (trace.complete && !trace.announced)
            .then(|| "the worker did not announce this manifest: it was found on the volume".into()),
        trace_id: job.trace_id.clone(),
    }
}

/// What the audit log shows of an attempt, besides the columns that an entry has of its own.
fn job_state(row: &JobRow) -> Map<String, Value> {
    let Value::Object(mut state) = json!(row) else { return Map::new() };
    state.remove("id");
    state.remove("trace_id");
    state
}
