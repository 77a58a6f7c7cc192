//! What a request makes of the rows. Pure: rows in, rows out; `None` when the request took effect before.

use jct_domain::{Actor, FailureReason, Id, Phase};

use super::Conflict;
use super::model::{ArtifactRow, Failure, JobRow, JobStatus, TaskRow};
use super::request::{AttemptEnd, FinishTask, MarkRunning, Next, StartAttempt, TraceRecord};
use super::rows::{stored, without_nul};

/// A Task and one of its attempts, as they will be.
pub(super) type TaskAndJob = (TaskRow, JobRow);

/// Queues an attempt.
pub(super) fn start_attempt(task: &TaskRow, start: &StartAttempt) -> Result<Option<TaskAndJob>, Conflict> {
    let asked = start.attempt;
    if task.phase.is_terminal() {
        return Err(Conflict::Ended(task.phase));
    }
    if asked > 0 && asked == task.attempt && task.attempt_is_open() {
        return Ok(None);
    }
    if asked > 0 && asked <= task.attempt {
        return Err(Conflict::AttemptEnded(asked));
    }
    if asked != task.attempt + 1 {
        return Err(Conflict::NotNext { current: task.attempt, asked });
    }
    if task.attempt_is_open() {
        return Err(Conflict::AttemptOpen(task.attempt));
    }
    if asked > task.allowed_attempts() {
        return Err(Conflict::AttemptsUsed(task.allowed_attempts()));
    }
    let at = stored(start.at);
    // Before its first attempt it may have been waiting for its turn.
    let queued_at = if task.attempt == 0 { task.queued_at.unwrap_or(at) } else { at };
    let after = TaskRow {
        phase: Phase::Queued,
        attempt: asked,
        attempt_ended_at: None,
        job_name: Some(start.job_name.clone()),
        commit: None,
        queued_at: Some(queued_at),
        assigned_to: None,
        ..task.clone()
    };
    let job = JobRow {
        id: start.job_id,
        task_id: task.id,
        trace_id: task.trace_id.clone(),
        attempt: asked,
        job_name: start.job_name.clone(),
        status: JobStatus::Pending,
        worker_id: None,
        commit: None,
        created_at: at,
        started_at: None,
        ended_at: None,
        exit_code: None,
        trace_path: None,
        manifest_sha256: None,
        trace_files: None,
        trace_complete: None,
        manifest_announced: None,
        trace_removed_at: None,
        trace_removed_by: None,
        trace_purged_at: None,
        result: None,
        error: None,
    };
    Ok(Some((after, job)))
}

/// The worker runs, or its commit is known now. The first pod and the first commit stay.
pub(super) fn mark_running(task: &TaskRow, job: &JobRow, running: &MarkRunning) -> Option<TaskAndJob> {
    if task.phase.is_terminal() || job.status.is_terminal() || job.attempt != task.attempt {
        return None;
    }
    let first = job.status != JobStatus::Running;
    let news = job.commit.is_none() && running.commit.is_some();
    if !first && !news {
        return None;
    }
    let (mut task, mut job) = (task.clone(), job.clone());
    if first {
        let began = stored(running.at);
        task.phase = Phase::Running;
        task.started_at.get_or_insert(began);
        task.assigned_to = Some(running.worker_id.clone());
        job.status = JobStatus::Running;
        job.started_at = Some(began);
        job.worker_id = Some(running.worker_id.clone());
    }
    if news {
        task.commit.clone_from(&running.commit);
        job.commit.clone_from(&running.commit);
    }
    Some((task, job))
}

/// The attempt has ended. The first outcome stays.
pub(super) fn finish_attempt(task: &TaskRow, job: &JobRow, end: &AttemptEnd) -> Result<Option<TaskAndJob>, Conflict> {
    if task.phase.is_terminal() || job.status.is_terminal() || job.attempt != task.attempt {
        return Ok(None);
    }
    let (mut task, mut job) = (task.clone(), job.clone());
    task.infrastructure_failures += u32::from(failed_by_the_cluster(&end.next));
    if matches!(end.next, Next::Retry(_)) && job.attempt >= task.allowed_attempts() {
        return Err(Conflict::AttemptsUsed(task.allowed_attempts()));
    }
    let ended_at = stored(end.ended_at);
    job.ended_at = Some(ended_at);
    job.exit_code = end.exit_code;
    job.started_at = job.started_at.or(end.started_at.map(stored));
    job.worker_id = job.worker_id.or_else(|| end.worker_id.clone());
    job.commit = job.commit.or_else(|| end.commit.clone());
    if let Some(trace) = &end.trace {
        job.trace_path = Some(trace.path.clone());
        job.manifest_sha256.clone_from(&trace.manifest_sha256);
        job.trace_files = Some(u32::try_from(trace.files.len()).unwrap_or(u32::MAX));
        job.trace_complete = Some(trace.complete);
        job.manifest_announced = trace.manifest_sha256.as_ref().map(|_| trace.announced);
    }
    task.attempt_ended_at = Some(ended_at);
    task.started_at = task.started_at.or(job.started_at);
    task.assigned_to.clone_from(&job.worker_id);
    task.commit.clone_from(&job.commit);
    task.trace_path.clone_from(&job.trace_path);
    task.manifest_sha256.clone_from(&job.manifest_sha256);
    task.trace_files = job.trace_files;
    job.status = if matches!(end.next, Next::Completed { .. }) { JobStatus::Completed } else { JobStatus::Failed };
    match &end.next {
        Next::Completed { result } => {
            job.result = Some(result.clone());
            task.result = Some(result.clone());
            task.phase = Phase::Completed;
        }
        Next::Failed(failure) | Next::Cancelled { failure, .. } => {
            job.error = Some(failure.clone());
            task.error = Some(failure.clone());
            task.phase = if matches!(end.next, Next::Failed(_)) { Phase::Failed } else { Phase::Cancelled };
        }
        Next::Retry(failure) => job.error = Some(failure.clone()),
    }
    if task.phase.is_terminal() {
        task.completed_at = Some(ended_at);
    }
    Ok(Some((task, job)))
}

fn failed_by_the_cluster(next: &Next) -> bool {
    let (Next::Failed(failure) | Next::Retry(failure)) = next else { return false };
    FailureReason::parse(&failure.reason).is_some_and(FailureReason::is_infrastructure)
}

/// The Task ends; so does an attempt that is still open. The first ending stays.
pub(super) fn finish_task(
    task: &TaskRow,
    job: Option<&JobRow>,
    finish: &FinishTask,
) -> Option<(TaskRow, Option<JobRow>)> {
    if task.phase.is_terminal() {
        return None;
    }
    let at = stored(finish.at);
    let job = job.filter(|job| !job.status.is_terminal()).map(|job| JobRow {
        status: JobStatus::Failed,
        ended_at: Some(at),
        error: Some(finish.failure.clone()),
        ..job.clone()
    });
    let mut task = task.clone();
    if job.is_some() {
        task.attempt_ended_at = Some(at);
    }
    task.phase = finish.ending.phase();
    task.error = Some(finish.failure.clone());
    task.completed_at = Some(at);
    Some((task, job))
}

/// The rows of the files of a trace.
pub(super) fn artifacts(task: &TaskRow, job: &JobRow, trace: &TraceRecord, end: &AttemptEnd) -> Vec<ArtifactRow> {
    let row = |file: &jct_domain::trace::FileEntry| ArtifactRow {
        id: Id::derive_for(task.created_at, &task.id.to_string(), &format!("artifact/{}/{}", job.attempt, file.path)),
        task_id: task.id,
        job_id: job.id,
        trace_id: task.trace_id.clone(),
        kind: file.kind,
        uri: format!("{}/{}", trace.path, file.path),
        content_type: without_nul(file.media_type.clone()),
        size_bytes: file.size_bytes,
        checksum: file.sha256.clone(),
        created_at: stored(end.ended_at),
    };
    trace.files.iter().map(row).collect()
}

/// Who is behind what follows an attempt.
pub(super) fn actor_of(next: &Next) -> Actor {
    match next {
        Next::Cancelled { actor, .. } => actor.clone(),
        Next::Completed { .. } | Next::Failed(_) | Next::Retry(_) => Actor::controller(),
    }
}

/// In a sentence, why things go on as they do.
pub(super) fn note_of(next: &Next) -> Option<String> {
    let note = |failure: &Failure| format!("{}: {}", failure.reason, failure.message);
    match next {
        Next::Completed { .. } => None,
        Next::Failed(failure) | Next::Cancelled { failure, .. } => Some(note(failure)),
        Next::Retry(failure) => Some(format!("another attempt is due after {}", note(failure))),
    }
}
