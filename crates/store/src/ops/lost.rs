//! What an administrator decided about a Task whose record was lost.

use super::attempt::job_changed;
use super::{task_changed, with_objects};
use crate::cwom::Advance;
use crate::operation::{Changes, Needs, Operation, View};
use crate::rows::{stored, without_nul};
use crate::{AdoptEnd, Failure, JobRow, JobStatus, Result, RunAgain, TaskRow};
use jct_domain::{Actor, Phase};

impl Operation for AdoptEnd {
    type Output = TaskRow;

    fn needs(&self, needs: &mut Needs) {
        needs.tasks.insert(self.task_id);
        needs.jobs_of.insert(self.task_id);
    }

    fn decide(&self, view: &View) -> Result<(TaskRow, Changes)> {
        let before = view.known_task(self.task_id)?;
        if before.phase.is_terminal() || !self.phase.is_terminal() {
            return Ok((before.clone(), Changes::default()));
        }
        let job_before = view.job(self.task_id, self.attempt)?;
        let open = left_open(view, before)?.filter(|open| open.attempt != self.attempt);
        let earlier_job = open.map(|open| closed(open, stored(self.completed_at)));
        let job = (self.attempt > 0).then(|| self.job(before, job_before));
        let after = self.task(before, job.as_ref());
        let note = format!(
            "taken over from the status of the object, whose record was lost; decided by {}",
            claimed(&self.by, &self.claims)
        );
        let mut entries = Vec::new();
        entries.extend(open.zip(earlier_job.as_ref()).map(|(open, job)| job_changed(Some(open), job, self.by.clone())));
        entries.extend(job.as_ref().map(|job| job_changed(job_before, job, self.by.clone())));
        entries.push(task_changed(before, &after, self.by.clone(), Some(note)));
        let at = self.completed_at;
        let step = Advance { task: &after, job: job.as_ref(), trace: None, under_review: false, actor: &self.by, at };
        let changes = with_objects(view, &step, Changes { entries, ..Changes::default() })?;
        Ok((after.clone(), Changes { task: Some(after), job, earlier_job, ..changes }))
    }
}

impl AdoptEnd {
    fn task(&self, before: &TaskRow, job: Option<&JobRow>) -> TaskRow {
        let completed_at = Some(stored(self.completed_at));
        // Its record may have been made anew since.
        let queued_at = self.queued_at.map(stored).or(before.queued_at.filter(|at| Some(*at) <= completed_at));
        TaskRow {
            phase: self.phase,
            attempt: self.attempt,
            attempt_ended_at: job.and(completed_at),
            job_name: self.job_name.clone(),
            commit: self.commit.clone(),
            queued_at,
            started_at: self.started_at.map(stored).or(before.started_at),
            completed_at,
            error: self.failure.clone(),
            trace_path: self.trace_path.clone(),
            manifest_sha256: self.manifest_sha256.clone(),
            trace_files: self.trace_files,
            adopted_by: Some(claimed(&self.by, &self.claims)),
            ..before.clone()
        }
    }

    fn job(&self, task: &TaskRow, before: Option<&JobRow>) -> JobRow {
        let completed_at = stored(self.completed_at);
        JobRow {
            id: self.job_id,
            task_id: self.task_id,
            trace_id: task.trace_id.clone(),
            attempt: self.attempt,
            job_name: self.job_name.clone().unwrap_or_default(),
            status: if self.phase == Phase::Completed { JobStatus::Completed } else { JobStatus::Failed },
            worker_id: before.and_then(|before| before.worker_id.clone()),
            commit: self.commit.clone(),
            created_at: before.map_or(self.queued_at.map_or(completed_at, stored), |before| before.created_at),
            started_at: before.and_then(|before| before.started_at).or(self.started_at.map(stored)),
            ended_at: Some(completed_at),
            exit_code: None,
            trace_path: self.trace_path.clone(),
            manifest_sha256: self.manifest_sha256.clone(),
            // Whether the worker had announced it is not in a status.
            manifest_announced: self.manifest_sha256.as_ref().map(|_| false),
            trace_files: self.trace_files,
            trace_complete: self.trace_path.as_ref().map(|_| self.manifest_sha256.is_some()),
            trace_removed_at: None,
            trace_removed_by: None,
            trace_purged_at: None,
            result: None,
            error: self.failure.clone(),
        }
    }
}

impl Operation for RunAgain {
    type Output = TaskRow;

    fn needs(&self, needs: &mut Needs) {
        needs.tasks.insert(self.task_id);
        needs.jobs_of.insert(self.task_id);
    }

    fn decide(&self, view: &View) -> Result<(TaskRow, Changes)> {
        let before = view.known_task(self.task_id)?;
        let is_done = before.attempt > self.after || (before.attempt == self.after && !before.attempt_is_open());
        if before.phase.is_terminal() || is_done {
            return Ok((before.clone(), Changes::default()));
        }
        let open = left_open(view, before)?;
        let job = open.map(|open| closed(open, stored(self.at)));
        let after = TaskRow {
            attempt: self.after,
            attempt_ended_at: Some(stored(self.at)),
            // What ran before does not count against what the Task allows.
            infrastructure_failures: before.infrastructure_failures.max(self.after),
            ..before.clone()
        };
        let by = claimed(&self.by, &self.claims);
        let note = format!("its record was lost; it runs again by the decision of {by}");
        let mut entries = Vec::new();
        entries.extend(open.zip(job.as_ref()).map(|(open, job)| job_changed(Some(open), job, self.by.clone())));
        entries.push(task_changed(before, &after, self.by.clone(), Some(note)));
        Ok((after.clone(), Changes { task: Some(after), job, entries, ..Changes::default() }))
    }
}

/// Somebody for whom nobody vouches, with what they say.
fn claimed(by: &Actor, claims: &str) -> String {
    format!("{} ({}: as the status says)", without_nul(claims.to_owned()), by.id)
}

/// The attempt of `task` whose end is not recorded.
fn left_open<'v>(view: &'v View, task: &TaskRow) -> Result<Option<&'v JobRow>> {
    let job = if task.attempt_is_open() { view.job(task.id, task.attempt)? } else { None };
    Ok(job.filter(|job| !job.status.is_terminal()))
}

/// The end of an attempt of which nothing else is known.
fn closed(job: &JobRow, at: jiff::Timestamp) -> JobRow {
    let failure = Failure::new("RecordLost", "how it ended was recorded, and that record was lost");
    JobRow { status: JobStatus::Failed, ended_at: Some(at), error: Some(failure), ..job.clone() }
}
