//! One pass over one Task: validate → record → look → decide → act → status.
//!
//! Each step says whether it needs a client. Nothing is remembered between passes but what is in the record, in the API
//! server and on the volume, so that a crash anywhere leaves a state from which the next pass goes on.

mod attempt;
pub mod decide;
mod finish;
mod gate;
pub mod observe;
mod provenance;
pub mod status;
pub mod validate;

#[cfg(test)]
mod observe_tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::Resource as _;
use kube::api::{Api, DeleteParams, GetParams};
use kube::core::Request;
use kube::runtime::controller::Action;

pub(super) use self::attempt::blocking;

use self::attempt::Look;
use self::decide::{End, Situation, Step, decide};
use self::observe::job_created;
use self::status::State;
use self::validate::{Specification, Validated, validate};
use super::{Context, Error, finalizer};
use crate::crd::status::Reason;
use crate::crd::{TaskView, WholeTask};
use crate::domain::{Actor, Finding, Id};
use crate::jobs::job_name;
use crate::policy::Verdict;
use crate::store::{Ending, Failure, FinishTask, NewTask, RecordDeleted, Recording, Refusal, TaskRow};

/// A Task as the controller watches it: without its spec.
pub type Object = TaskView;

/// How often a Task that waits for its worker is looked at, though nothing changed: limits pass without an event.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// When a Task is looked at again that changed while it was read.
const SOON: Duration = Duration::from_secs(1);

/// Brings one Task a step further. The table of contents of the controller.
///
/// # Errors
/// [`Error`] names the step that failed; the pass is repeated later.
pub async fn reconcile(object: Arc<Object>, context: Arc<Context>) -> Result<Action, Error> {
    let task = validate(&object, &context.trust())?;
    if !task.head.has_finalizer && !task.head.is_being_deleted {
        finalizer::add(&tasks(&context, &task.head.namespace), &task.head.name, &task.head.uid).await?;
    }
    let passed = step(&context, &task).await;
    if let Some(why) = passed.as_ref().err().and_then(Error::outage) {
        // Nobody is told that a Task is recorded which is not; the next pass tries again.
        status::write_outage(&context, &task, why).await?;
    }
    let action = passed?;
    context.backoff.succeeded(&task.head.uid);
    Ok(action)
}

async fn step(context: &Context, task: &Validated) -> Result<Action, Error> {
    let Some(recording) = record(context, task).await? else { return Ok(Action::requeue(SOON)) };
    match recording {
        Recording::Recorded(row) | Recording::Known(row) => advance(context, task, *row).await,
        Recording::Duplicate { first } => copy_outcome(context, task, &first).await,
        Recording::IdTaken { by } => settle(context, task, &State::IdConflict(&by)).await,
        Recording::Removed { at } => settle(context, task, &State::RecordRemoved(at)).await,
        Recording::Refused(findings) => settle(context, task, &State::Refused(&findings)).await,
    }
}

/// Brings a Task whose object is gone a step further: its Job is ended, its record closed. Database, API server.
///
/// # Errors
/// As for [`reconcile`]; to be repeated later.
pub async fn close(context: &Context, id: Id) -> Result<(), Error> {
    let row = context.store.task(id).await.map_err(Error::store("read the record of a Task"))?;
    let Some(row) = row else { return Ok(()) };
    advance(context, &Validated::orphan(&row), row).await.map(|_| ())
}

/// What the record says of a Task: written now if it was not there. None if the object is not the one that the watch showed:
/// it brings the news. Database, API server.
async fn record(context: &Context, task: &Validated) -> Result<Option<Recording>, Error> {
    let row = context.store.task(task.head.id).await.map_err(Error::store("read the record of a Task"))?;
    if let Some(row) = row.filter(|row| row.uid == task.head.uid) {
        return Ok(Some(Recording::Known(Box::new(row))));
    }
    let Some(Specification { verdict, controls, sha256 }) = specification(context, task).await? else {
        return Ok(None);
    };
    match verdict {
        Verdict::Accepted(accepted) => {
            let new = NewTask {
                id: task.head.id,
                trace_id: task.head.trace_id.clone(),
                namespace: task.head.namespace.clone(),
                name: task.head.name.clone(),
                uid: task.head.uid.clone(),
                submitted_by: task.head.submitted_by.clone(),
                actor: task.actor.clone(),
                task: *accepted,
                executor: controls.executor,
                max_attempts: controls.max_attempts,
                create_cwom: controls.create_cwom,
                for_run: task.head.run,
                created_at: task.head.created_at,
                recorded_at: Timestamp::now(),
            };
            context.store.record_task(new).await.map_err(Error::store("record a Task")).map(Some)
        }
        Verdict::Refused(findings) => refuse(context, task, &findings, sha256).await.map(Some),
    }
}

/// The spec of the object, as it is now; none if that is not the one that the watch showed. API server.
async fn specification(context: &Context, task: &Validated) -> Result<Option<Specification>, Error> {
    // A spec is many times larger in memory than as text.
    let _permit = context.whole.acquire().await;
    let request = Request::new(TaskView::url_path(&(), Some(&task.head.namespace)));
    let request = request.get(&task.head.name, &GetParams::default());
    let request = request.map_err(|error| Error::api("read a Task")(kube::Error::BuildRequest(error)))?;
    let found = Error::unless_gone("read a Task", context.client.request::<WholeTask>(request).await)?;
    let Some(found) = found.filter(|found| found.metadata.uid.as_ref() == Some(&task.head.uid)) else {
        return Ok(None);
    };
    let specification = Specification::of(&found.spec(), &task.head, &context.policy);
    Ok(Some(specification).filter(|specification| specification.sha256 == task.spec.sha256))
}

/// Writes down that a Task came past the webhooks and does not run. Database.
async fn refuse(
    context: &Context,
    task: &Validated,
    findings: &[Finding],
    spec_sha256: String,
) -> Result<Recording, Error> {
    let refusal = Refusal {
        id: task.head.id,
        trace_id: task.head.trace_id.clone(),
        namespace: task.head.namespace.clone(),
        name: task.head.name.clone(),
        uid: task.head.uid.clone(),
        actor: task.actor.clone(),
        findings: findings.to_vec(),
        spec_sha256,
        refused_at: Timestamp::now(),
    };
    let findings = context.store.record_refusal(refusal).await.map_err(Error::store("record a refusal"))?;
    Ok(Recording::Refused(findings))
}

/// Looks at the attempt, decides, acts, until there is nothing more to do in this pass. All parts.
async fn advance(context: &Context, task: &Validated, mut row: TaskRow) -> Result<Action, Error> {
    let mut images = Vec::new();
    // Each turn records something; the bound is a net against a mistake in that.
    for _ in 0..8 {
        let settled = provenance::ensure(context, &row, &images).await;
        if row.phase.is_terminal() {
            return end(context, task, &row, settled).await;
        }
        let look = attempt::look(context, &row).await?;
        let findings = if row.attempt_is_open() { Vec::new() } else { gate::findings(&context.policy, task, &row) };
        let step = decide(&situation(context, task, &row, look, &findings));
        tracing::debug!(task_id = %task.head.id, trace_id = %task.head.trace_id, ?step, "next step");
        row = match step {
            Step::Start(attempt) => {
                row = attempt::start(context, &row, attempt).await?;
                attempt::create_job(context, &row).await?;
                return wait(context, task, &row, Some(job_created(&job_name(row.id, row.attempt))), LOOK_AGAIN).await;
            }
            Step::Resume => {
                attempt::create_job(context, &row).await?;
                return wait(context, task, &row, Some(job_created(&job_name(row.id, row.attempt))), LOOK_AGAIN).await;
            }
            Step::NoteRunning { pod, since } => {
                let row = attempt::note_running(context, row, pod, since).await?;
                return wait(context, task, &row, None, LOOK_AGAIN).await;
            }
            Step::Wait(reason, message) => {
                return wait(context, task, &row, Some((reason, message)), LOOK_AGAIN).await;
            }
            Step::WaitFor(time, reason, message) => {
                return wait(context, task, &row, Some((reason, message)), time).await;
            }
            Step::EndJob => {
                attempt::announce_cancel(context, &row).await?;
                attempt::end_job(context, &row).await?;
                let waiting = (Reason::Running, "the worker is being ended".to_owned());
                return wait(context, task, &row, Some(waiting), LOOK_AGAIN).await;
            }
            Step::Abandon(ended) => {
                attempt::end_job(context, &row).await?;
                finish::finish(context, task, &row, &ended).await?
            }
            Step::Finish(ended) => {
                let row = finish::finish(context, task, &row, &ended).await?;
                images = ended.images;
                row
            }
            Step::EndTask(reason, message) => {
                let failure = Failure::new(reason.as_str(), message);
                end_task(context, task, Ending::Failed, failure, Actor::controller()).await?
            }
            Step::Cancel(end) => {
                let (failure, actor) = finish::cancellation(context, task, end);
                end_task(context, task, Ending::Cancelled, failure, actor).await?
            }
        };
    }
    Ok(Action::requeue(LOOK_AGAIN))
}

fn situation<'a>(
    context: &Context,
    task: &Validated,
    row: &TaskRow,
    look: Look,
    findings: &'a [Finding],
) -> Situation<'a> {
    Situation {
        suspend: task.spec.controls.suspend,
        end: requested_end(task),
        attempt: row.attempt,
        attempt_is_open: row.attempt_is_open(),
        attempt_ended_at: row.attempt_ended_at,
        has_begun: look.has_begun,
        observation: look.observation,
        findings,
        no_executor: attempt::executor(context, row).err().map(|none| none.to_string()),
        retry_delay: context.timing.retry_delay,
        now: Timestamp::now(),
    }
}

/// Whether somebody wants the Task to end before its time.
fn requested_end(task: &Validated) -> Option<End> {
    match (task.head.is_being_deleted, task.spec.controls.cancel) {
        (true, _) => Some(End::Deleted),
        (false, true) => Some(End::Cancelled),
        (false, false) => None,
    }
}

async fn wait(
    context: &Context,
    task: &Validated,
    row: &TaskRow,
    waiting: Option<(Reason, String)>,
    time: Duration,
) -> Result<Action, Error> {
    status::write(context, task, &State::Recorded(row, waiting)).await?;
    Ok(Action::requeue(time))
}

/// Ends a Task that no attempt is running for. Database.
async fn end_task(
    context: &Context,
    task: &Validated,
    ending: Ending,
    failure: Failure,
    actor: Actor,
) -> Result<TaskRow, Error> {
    let finish = FinishTask { task_id: task.head.id, ending, failure, actor, at: Timestamp::now() };
    let row = context.store.finish_task(finish).await.map_err(Error::store("record the end of a Task"))?;
    finish::note_outcome(context, &row);
    Ok(row)
}

/// What remains to be done for a Task that has ended: its status, its Job's retirement, and, when the time has come, its
/// deletion. Not before provenance is `settled`: who deletes it by hand does not wait for that. API server.
async fn end(context: &Context, task: &Validated, row: &TaskRow, settled: bool) -> Result<Action, Error> {
    attempt::retire_job(context, row).await?;
    if task.head.is_being_deleted {
        return release(context, task).await;
    }
    status::write(context, task, &State::Recorded(row, None)).await?;
    if !settled {
        return Ok(Action::requeue(LOOK_AGAIN));
    }
    expire(context, task, row).await
}

/// Deletes the object when its time after the end is over; the record stays.
async fn expire(context: &Context, task: &Validated, row: &TaskRow) -> Result<Action, Error> {
    let (Some(ttl), Some(completed_at)) = (task.spec.controls.ttl_seconds_after_finished, row.completed_at) else {
        return Ok(Action::await_change());
    };
    let age = Duration::try_from(Timestamp::now().duration_since(completed_at)).unwrap_or_default();
    let ttl = Duration::from_secs(ttl.into());
    if age < ttl {
        return Ok(Action::requeue(ttl - age));
    }
    let api = tasks(context, &task.head.namespace);
    let this_one = kube::api::Preconditions { uid: Some(task.head.uid.clone()), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(this_one), ..DeleteParams::default() };
    Error::unless_gone("delete an expired Task", api.delete(&task.head.name, &parameters).await)?;
    Ok(Action::await_change())
}

/// A Task whose key another one has: shows that one's outcome, now or when it is there.
async fn copy_outcome(context: &Context, task: &Validated, first: &TaskRow) -> Result<Action, Error> {
    let action = settle(context, task, &State::Duplicate(first)).await?;
    if first.phase.is_terminal() || task.head.is_being_deleted { Ok(action) } else { Ok(Action::requeue(LOOK_AGAIN)) }
}

/// A Task that has no row of its own: only its status, or its release.
async fn settle(context: &Context, task: &Validated, state: &State<'_>) -> Result<Action, Error> {
    if task.head.is_being_deleted {
        return release(context, task).await;
    }
    status::write(context, task, state).await?;
    Ok(Action::await_change())
}

/// Records the deletion and lets the object go. Database, then API server.
async fn release(context: &Context, task: &Validated) -> Result<Action, Error> {
    let deleted = RecordDeleted {
        id: task.head.id,
        uid: task.head.uid.clone(),
        actor: context.deleter(&task.head.uid),
        at: Timestamp::now(),
    };
    context.store.record_deleted(deleted).await.map_err(Error::store("record a deletion"))?;
    if task.head.has_finalizer {
        finalizer::remove(&tasks(context, &task.head.namespace), &task.head.name, &task.head.uid).await?;
    }
    context.written.forget(&task.head.uid);
    context.settled.forget(task.head.id);
    Ok(Action::await_change())
}

/// The Tasks of a namespace.
fn tasks(context: &Context, namespace: &str) -> Api<Object> {
    Api::namespaced(context.client.clone(), namespace)
}

/// A Job of ours in the worker namespace.
fn jobs(context: &Context) -> Api<Job> {
    Api::namespaced(context.client.clone(), &context.jobs.namespace)
}
