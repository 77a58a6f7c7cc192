//! The objects of a Task: what it was made of, its attempts as Runs, the files of its traces as Artifacts.

use jiff::Timestamp;
use serde_json::Value;

use super::model::ObjectRow;
use super::update::{create, update_fields};
use super::view::{ObjectNeeds, Objects};
use crate::operation::{Changes, Slot};
use crate::rows::stored;
use crate::{Failure, JobRow, JobStatus, NewTask, Result, TaskRow, TraceRecord};
use jct_domain::cwom::adapter::{
    Attempt, AttemptState, CwomIds, Ending, artifact_of_file, is_of_interest, issue_status, run_of_attempt,
    task_to_cwom,
};
use jct_domain::cwom::{self, Cost, FailureCategory, Issue, Kind, Mode, Object, Ref, Run, RunOutputs, Spec, Status};
use jct_domain::evidence::EvidencePack;
use jct_domain::review::Outcome;
use jct_domain::{Actor, FailureReason, Id, Phase};

/// The objects that these Tasks, which have not ended, change as they go on.
pub(crate) fn objects_of_tasks<'t>(tasks: impl Iterator<Item = &'t Slot<TaskRow>>, needs: &mut ObjectNeeds) {
    for task in tasks.filter_map(|slot| slot.row.as_ref().ok()).filter(|task| !task.phase.is_terminal()) {
        let Some(issue) = task.cwom_issue_id else { continue };
        needs.row(Kind::Issue, issue);
        task.cwom_run_id.into_iter().for_each(|id| needs.row(Kind::Run, id));
        task.run_id(task.attempt).into_iter().for_each(|id| needs.row(Kind::Run, id));
    }
}

/// The row and the objects of a Task that is new.
pub(crate) fn objects_of_new_task(objects: &Objects, new: &NewTask, mut task: TaskRow) -> Result<(TaskRow, Changes)> {
    if let Some(run) = new.for_run {
        return for_run(objects, new, task, run);
    }
    if !new.create_cwom {
        return Ok((task, Changes::default()));
    }
    let mut bundle = task_to_cwom(&new.task, &task.origin());
    bundle.issue.spec.status = issue_status(task.phase);
    let mut made: Vec<Object> = Vec::new();
    match objects.repo(&new.namespace, &bundle.repo.spec.slug) {
        Some(id) => bundle.issue.spec.repo = Ref::to(Kind::Repo, id),
        None => made.push(bundle.repo.into()),
    }
    task.cwom_issue_id = Some(bundle.issue.id);
    task.cwom_repo_id = bundle.issue.spec.repo.id();
    made.extend([bundle.issue.into(), bundle.constraint_snapshot.into(), bundle.context_packet.into()]);
    let mut changes = Changes::default();
    for object in made {
        create(&mut changes, objects, &row_of(&task, object), &[], &new.actor);
    }
    Ok((task, changes))
}

/// A Task that carries out a Run: the Run's Issue is its own.
fn for_run(objects: &Objects, new: &NewTask, mut task: TaskRow, run: Id) -> Result<(TaskRow, Changes)> {
    let Some(before) = objects.row(Kind::Run, run)?.filter(|row| row.namespace == new.namespace) else {
        return Ok((task, Changes::default()));
    };
    let Spec::Run(spec) = &before.object.spec else { return Ok((task, Changes::default())) };
    let is_free = before.task_id.is_none() && !spec.status.is_terminal(Kind::Run);
    if !is_free || !matches!(spec.mode, Mode::Agent | Mode::System) {
        return Ok((task, Changes::default()));
    }
    task.cwom_issue_id = spec.for_issue.id();
    task.cwom_repo_id = spec.repo.id();
    task.cwom_run_id = Some(run);
    let after = ObjectRow { task_id: Some(task.id), ..before.clone() };
    let (_, changes) = update_fields(before, after, &new.actor, None, new.recorded_at);
    Ok((task, changes))
}

/// A step of a Task.
pub(crate) struct Advance<'a> {
    pub(crate) task: &'a TaskRow,
    /// The attempt, where the step is one of an attempt.
    pub(crate) job: Option<&'a JobRow>,
    /// The attempt's trace, where it has ended with one.
    pub(crate) trace: Option<&'a TraceRecord>,
    /// Whether what came out is waiting for a review.
    pub(crate) under_review: bool,
    pub(crate) actor: &'a Actor,
    pub(crate) at: Timestamp,
}

/// What a step of a Task makes of its objects: the Issue's status follows, the attempt's Run with its Artifacts.
pub(crate) fn advance_objects(objects: &Objects, step: &Advance<'_>) -> Result<Changes> {
    let Advance { task, job, actor, at, .. } = *step;
    let mut changes = Changes::default();
    let Some(issue_id) = task.cwom_issue_id else { return Ok(changes) };
    let issue = objects.known(Kind::Issue, issue_id)?;
    let Spec::Issue(spec) = &issue.object.spec else { return Ok(changes) };
    let ids = CwomIds { issue: issue_id, ..CwomIds::of(&task.origin(), task.cwom_repo_id) };
    match job {
        Some(job) => advance_run(objects, step, job, &ids, &mut changes)?,
        None if task.attempt == 0 && task.phase.is_terminal() => end_run(objects, step, &ids, &mut changes)?,
        None => {}
    }
    let status = if step.under_review { Status::UnderReview } else { issue_status(task.phase) };
    if issue.task_id == Some(task.id) && spec.status != status {
        let spec = Issue { status, ..(**spec).clone() };
        let after = ObjectRow { object: Object { spec: spec.into(), ..issue.object.clone() }, ..issue.clone() };
        merge(&mut changes, update_fields(issue, after, actor, None, at).1);
    }
    Ok(changes)
}

fn advance_run(
    objects: &Objects,
    step: &Advance<'_>,
    job: &JobRow,
    ids: &CwomIds,
    changes: &mut Changes,
) -> Result<()> {
    let Advance { task, trace, at, .. } = *step;
    let base = task.cwom_run_id.map(|id| objects.known(Kind::Run, id)).transpose()?;
    let origin = task.origin();
    let Some(id) = task.run_id(job.attempt) else { return Ok(()) };
    let mut artifacts = Vec::new();
    if let Some(trace) = trace {
        for file in trace.files.iter().filter(|file| is_of_interest(file)) {
            let mut artifact = artifact_of_file(&origin, ids, job.attempt, &trace.path, file, stored(at));
            artifact.spec.produced_by = Ref::to(Kind::Run, id);
            artifacts.push(artifact);
        }
    }
    let made: Vec<Id> = artifacts.iter().map(|artifact| artifact.id).collect();
    let report = trace.and_then(|trace| trace.report.as_ref());
    let asked_for = task.executor.as_deref().unwrap_or(task.task.operation.as_str());
    let attempt = Attempt {
        number: job.attempt,
        executor: report.map_or(asked_for, |report| &report.executor),
        worker: report.map(|report| report.worker.as_str()),
        commit: job.commit.as_deref(),
        created_at: job.created_at,
        state: state_of(task, job),
        artifacts: &made,
        result: report.map(|report| &report.result),
        cpu_ms: report.and_then(|report| report.cpu_ms),
    };
    let mut run = run_of_attempt(&task.task, &origin, ids, &attempt);
    run.id = id;
    if step.under_review {
        run.spec.status = Status::UnderReview;
    }
    if let Some(Spec::Run(asked)) = base.map(|row| &row.object.spec) {
        run.spec = as_asked(run.spec, asked, job.attempt == 1);
    }
    match objects.row(Kind::Run, id)? {
        None => create(changes, objects, &row_of(task, run.into()), &[], &Actor::controller()),
        Some(before) => {
            let object = Object { spec: run.spec.into(), ..before.object.clone() };
            let after = ObjectRow { object, ..before.clone() };
            merge(changes, update_fields(before, after, &Actor::controller(), None, at).1);
        }
    }
    for artifact in artifacts {
        create(changes, objects, &row_of(task, artifact.into()), &[], &Actor::controller());
    }
    Ok(())
}

/// The Run of a Task that has ended before its first attempt ends with it.
fn end_run(objects: &Objects, step: &Advance<'_>, ids: &CwomIds, changes: &mut Changes) -> Result<()> {
    let Advance { task, actor, at, .. } = *step;
    let Some(id) = task.cwom_run_id else { return Ok(()) };
    let before = objects.known(Kind::Run, id)?;
    let Spec::Run(asked) = &before.object.spec else { return Ok(()) };
    let state = AttemptState::Ended {
        started_at: None,
        ended_at: stored(at),
        ending: ending_of(task, task.error.as_ref(), None),
    };
    let attempt = Attempt {
        number: 1,
        executor: "",
        worker: None,
        commit: None,
        created_at: before.object.created_at,
        state,
        artifacts: &[],
        result: None,
        cpu_ms: None,
    };
    let run = run_of_attempt(&task.task, &task.origin(), ids, &attempt);
    let object = Object { spec: as_asked(run.spec, asked, true).into(), ..before.object.clone() };
    let after = ObjectRow { object, ..before.clone() };
    merge(changes, update_fields(before, after, actor, None, at).1);
    Ok(())
}

/// The Run of a Task that was made for one: its author's words, and how the attempt goes.
fn as_asked(run: Run, asked: &Run, is_that_one: bool) -> Run {
    if !is_that_one {
        let Run { mode, executor, inputs, plan, .. } = asked.clone();
        return Run { mode, executor, inputs, plan, ..run };
    }
    let Run { status, telemetry, failure, outputs, cost, .. } = run;
    let RunOutputs { mut artifacts, result_summary, decision_log } = outputs;
    let mut kept = asked.outputs.artifacts.clone();
    artifacts.retain(|new| !kept.contains(new));
    kept.extend(artifacts);
    let outputs = RunOutputs {
        artifacts: kept,
        result_summary: asked.outputs.result_summary.clone().or(result_summary),
        decision_log: if asked.outputs.decision_log.is_empty() {
            decision_log
        } else {
            asked.outputs.decision_log.clone()
        },
    };
    let cost = Cost {
        usd: asked.cost.usd.or(cost.usd),
        tokens: asked.cost.tokens.or(cost.tokens),
        compute_s: asked.cost.compute_s.or(cost.compute_s),
    };
    Run { status, telemetry, failure, outputs, cost, ..asked.clone() }
}

fn state_of<'a>(task: &'a TaskRow, job: &'a JobRow) -> AttemptState<'a> {
    let started_at = job.started_at;
    match job.status {
        JobStatus::Pending | JobStatus::Claimed => AttemptState::Planned,
        JobStatus::Running => AttemptState::Running { started_at: started_at.unwrap_or(job.created_at) },
        JobStatus::Completed | JobStatus::Failed => AttemptState::Ended {
            started_at,
            ended_at: job.ended_at.unwrap_or(job.created_at),
            ending: ending_of(task, job.error.as_ref(), job.result.as_ref()),
        },
    }
}

fn ending_of<'a>(task: &TaskRow, failure: Option<&'a Failure>, result: Option<&'a Value>) -> Ending<'a> {
    let Some(failure) = failure else {
        let summary = result.and_then(|result| result.get("summary")?.as_str());
        return Ending::Done { summary };
    };
    let message = failure.message.as_str();
    if task.phase == Phase::Cancelled {
        return Ending::Canceled { message };
    }
    Ending::Failed { reason: FailureReason::parse(&failure.reason).unwrap_or(FailureReason::WorkerFailed), message }
}

/// The row of an object that is made for `task`.
fn row_of(task: &TaskRow, object: Object) -> ObjectRow {
    ObjectRow {
        object,
        namespace: task.namespace.clone(),
        origin: None,
        submitted_by: task.submitted_by.clone(),
        task_id: Some(task.id),
        names: std::collections::BTreeMap::new(),
        recorded_at: task.recorded_at,
        deleted_at: None,
        spec_sha256: None,
    }
}

/// What the end of a review makes of the Issue and the Run that wait for it.
pub(crate) fn review_objects(
    objects: &Objects,
    pack: &EvidencePack,
    outcome: &Outcome,
    at: Timestamp,
) -> Result<Changes> {
    let mut changes = Changes::default();
    let (status, why) = match outcome {
        Outcome::NotRequired | Outcome::Missing { .. } => return Ok(changes),
        Outcome::Approved => (Status::Done, None),
        Outcome::Rejected { by, reason } => (Status::Failed, Some(refused("rejected", by, reason.as_deref()))),
        Outcome::NeedsChanges { by, reason } => {
            (Status::Failed, Some(refused("sent back for changes", by, reason.as_deref())))
        }
        Outcome::Expired => (Status::Failed, Some("nobody reviewed it in time".to_owned())),
    };
    for (kind, reference) in [(Kind::Run, &pack.for_run), (Kind::Issue, &pack.for_issue)] {
        let Some(id) = reference.as_ref().and_then(Ref::id) else { continue };
        let Some(before) = objects.row(kind, id)? else { continue };
        if before.task_id != Some(pack.task_id) || before.object.spec.status() != Some(Status::UnderReview) {
            continue;
        }
        let spec: Spec = match &before.object.spec {
            Spec::Run(run) => {
                let failure = why.clone().map(|message| cwom::Failure { category: FailureCategory::Policy, message });
                Run { status, failure: failure.or_else(|| run.failure.clone()), ..(**run).clone() }.into()
            }
            Spec::Issue(issue) => Issue { status, ..(**issue).clone() }.into(),
            _ => continue,
        };
        let after = ObjectRow { object: Object { spec, ..before.object.clone() }, ..before.clone() };
        // Not in the name of who decided last: that is told by the decision.
        merge(&mut changes, update_fields(before, after, &Actor::controller(), None, at).1);
    }
    Ok(changes)
}

fn refused(how: &str, by: &str, reason: Option<&str>) -> String {
    let message = format!("{how} by {by}{}", reason.map(|reason| format!(": {reason}")).unwrap_or_default());
    message.chars().take(4000).collect()
}

fn merge(changes: &mut Changes, more: Changes) {
    changes.entries.extend(more.entries);
    changes.objects.rows.extend(more.objects.rows);
    changes.objects.linked.extend(more.objects.linked);
    changes.objects.unlinked.extend(more.objects.unlinked);
}
