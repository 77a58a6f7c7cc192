//! Removing traces and records by the rules of retention.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::audit::Change;
use crate::operation::{Changes, Needs, Operation, Removal, View};
use crate::rows::stored;
use crate::{JobRow, RemoveRecord, RemoveTrace, Result, TaskRow, TraceGone};
use jct_domain::audit::{Action, EntityKind};
use jct_domain::cwom::Kind;
use jct_domain::trace::folder;
use jct_domain::{Actor, Id};

impl Operation for RemoveTrace {
    type Output = bool;

    fn needs(&self, needs: &mut Needs) {
        needs.tasks.insert(self.task_id);
        needs.jobs_of.insert(self.task_id);
    }

    fn decide(&self, view: &View) -> Result<(bool, Changes)> {
        let (Some(task), Some(job)) = (view.task(self.task_id)?, view.job(self.task_id, self.attempt)?) else {
            return Ok((false, Changes::default()));
        };
        if job.trace_removed_at.is_some() {
            return Ok((true, Changes::default()));
        }
        if !task.phase.is_terminal() || !job.status.is_terminal() {
            return Ok((false, Changes::default()));
        }
        let removed_at = stored(self.at);
        let after =
            JobRow { trace_removed_at: Some(removed_at), trace_removed_by: Some(self.rule.clone()), ..job.clone() };
        let is_latest = task.attempt == job.attempt;
        let task_after = is_latest.then(|| TaskRow { trace_removed_at: Some(removed_at), ..task.clone() });
        let entries = vec![trace_removed(task, job, &self.rule, removed_at)];
        Ok((true, Changes { task: task_after, job: Some(after), entries, ..Changes::default() }))
    }
}

fn trace_removed(task: &TaskRow, job: &JobRow, rule: &str, removed_at: Timestamp) -> Change {
    let path = job.trace_path.clone().unwrap_or_else(|| folder(&task.namespace, task.id, job.attempt));
    Change {
        actor: Actor::controller(),
        action: Action::Deleted,
        entity_kind: EntityKind::Trace,
        entity_id: path.clone(),
        before: Some(json!({
            "path": path,
            "task_id": job.task_id,
            "job_id": job.id,
            "attempt": job.attempt,
            "manifest_sha256": job.manifest_sha256,
            "files": job.trace_files,
            "complete": job.trace_complete,
        })),
        after: Some(json!({"trace_removed_at": removed_at, "rule": rule})),
        note: Some("retention removed the files from the trace volume; their digests stay in the record".into()),
        trace_id: job.trace_id.clone(),
    }
}

impl Operation for TraceGone {
    type Output = ();

    fn needs(&self, needs: &mut Needs) {
        needs.tasks.insert(self.task_id);
        needs.jobs_of.insert(self.task_id);
    }

    /// No entry: that the trace goes is written down already, and a copy of the record that lacks this is put right by the next
    /// sweep, which finds no folder.
    fn decide(&self, view: &View) -> Result<((), Changes)> {
        let job = view.job(self.task_id, self.attempt)?;
        let marked = job.filter(|job| job.trace_removed_at.is_some() && job.trace_purged_at.is_none());
        let job = marked.map(|job| JobRow { trace_purged_at: Some(stored(self.at)), ..job.clone() });
        Ok(((), Changes { job, ..Changes::default() }))
    }
}

impl Operation for RemoveRecord {
    type Output = bool;

    fn needs(&self, needs: &mut Needs) {
        needs.tasks.insert(self.task_id);
        needs.jobs_of.insert(self.task_id);
        needs.belongings.insert(self.task_id);
    }

    fn decide(&self, view: &View) -> Result<(bool, Changes)> {
        let stays = Ok((false, Changes::default()));
        let Some(task) = view.task(self.task_id)? else { return stays };
        if task.uid != self.uid || !task.phase.is_terminal() {
            return stays;
        }
        let of_task = (task.id, 0)..=(task.id, u32::MAX);
        let jobs = view.jobs.range(of_task).map(|(_, slot)| slot.get()).collect::<Result<Vec<_>>>()?;
        if jobs.iter().any(|job| !job.status.is_terminal() || job.trace_purged_at.is_none()) {
            return stays;
        }
        let objects = view.belongings.get(&task.id).map(Vec::as_slice).unwrap_or_default();
        let removed_at = stored(self.at);
        let mut entries = vec![record_removed(task, &jobs, objects, &self.rule, removed_at)];
        entries.extend(objects.iter().map(|(kind, id)| object_removed(task, *kind, *id, &self.rule, removed_at)));
        let issue = objects.iter().find(|(kind, _)| *kind == Kind::Issue).map(|(_, id)| *id);
        let removal = Some(Removal { task_id: task.id, issue, removed_at });
        Ok((true, Changes { removal, entries, ..Changes::default() }))
    }
}

/// By this entry it is known for ever that a Task of this id has run: [`removals_of`](crate::audit::removals_of).
fn record_removed(
    task: &TaskRow,
    jobs: &[&JobRow],
    objects: &[(Kind, Id)],
    rule: &str,
    removed_at: Timestamp,
) -> Change {
    let attempts: Vec<Value> = jobs
        .iter()
        .map(|job| {
            json!({
                "job_id": job.id,
                "attempt": job.attempt,
                "status": job.status,
                "trace_path": job.trace_path,
                "manifest_sha256": job.manifest_sha256,
            })
        })
        .collect();
    let objects: Vec<Value> = objects.iter().map(|(kind, id)| json!({"kind": kind, "id": id})).collect();
    Change {
        actor: Actor::controller(),
        action: Action::Deleted,
        entity_kind: EntityKind::Task,
        entity_id: task.id.to_string(),
        before: Some(json!({
            "namespace": task.namespace,
            "name": task.name,
            "uid": task.uid,
            "status": task.phase,
            "completed_at": task.completed_at,
            "idempotency_key": task.task.idempotency_key,
            "attempts": attempts,
            "objects": objects,
        })),
        after: Some(json!({"record_removed_at": removed_at, "rule": rule})),
        note: Some("retention removed the record; its audit entries stay".into()),
        trace_id: task.trace_id.clone(),
    }
}

fn object_removed(task: &TaskRow, kind: Kind, id: Id, rule: &str, removed_at: Timestamp) -> Change {
    Change {
        actor: Actor::controller(),
        action: Action::Deleted,
        entity_kind: kind.into(),
        entity_id: id.to_string(),
        before: Some(json!({"task_id": task.id})),
        after: Some(json!({"record_removed_at": removed_at, "rule": rule})),
        note: Some("retention removed it with the record of the Task that it was made for".into()),
        trace_id: task.trace_id.clone(),
    }
}
