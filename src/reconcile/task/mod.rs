//! One pass over one Task: validate → record → look → decide → act → status.
//!
//! Each step says whether it needs a client. Nothing is remembered between passes but what is in the record, in the API
//! server and on the volume, so that a crash anywhere leaves a state from which the next pass goes on.

mod attempt;
mod budget;
mod credential;
pub mod decide;
mod finish;
mod gate;
mod lost;
pub mod observe;
mod progress;
mod provenance;
mod record;
mod situation;
pub mod status;
pub mod validate;

#[cfg(test)]
mod observe_tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams};

pub(super) use self::attempt::blocking;

pub use self::credential::AttemptSecrets;
use self::decide::{Step, decide};
use self::observe::job_created;
use self::record::{record, record_anew};
use self::situation::{requested_end, situation};
use self::status::State;
use self::validate::{Validated, validate};
use super::{Action, Context, Error, finalizer};
use crate::crd::TaskView;
use crate::crd::status::{DecisionAction, Reason};
use crate::domain::{Actor, FailureReason, Id};
use crate::jobs::job_name;
use crate::policy::Configured;
use crate::shared::Deleter;
use crate::store::{Ending, Failure, FinishTask, RecordDeleted, Recording, TaskRow};

/// A Task as the controller watches it: without its spec.
pub type Object = TaskView;

/// How often a Task whose worker has a place is looked at, though nothing changed: limits pass without an event. The longer it
/// has waited the less often.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How often at least; and how often one for which no limit can pass, for its worker has no place, or there is none. There may be
/// ten thousand of them, and each look costs a read of the Task: what they wait for comes as an event.
const LOOK_AGAIN_AT_LEAST: Duration = Duration::from_secs(600);

/// When a Task is looked at again that changed while it was read.
const SOON: Duration = Duration::from_secs(1);

/// Brings one Task a step further. The table of contents of the controller.
///
/// # Errors
/// [`Error`] names the step that failed; the pass is repeated later.
pub async fn reconcile(object: Arc<Object>, context: Arc<Context>) -> Result<Action, Error> {
    pass(&context, &understood(&object, &context)?).await
}

/// As [`reconcile`], for a Task whose turn has not come: it is recorded, and told that it waits.
///
/// # Errors
/// As for [`reconcile`].
pub async fn reconcile_in_line(object: Arc<Object>, context: Arc<Context>) -> Result<Action, Error> {
    pass(&context, &Validated { has_turn: false, ..understood(&object, &context)? }).await
}

fn understood(object: &Object, context: &Context) -> Result<Validated, Error> {
    Ok(Validated { clock_is_off: context.clock.skew().is_some(), ..validate(object, &context.trust())? })
}

async fn pass(context: &Context, task: &Validated) -> Result<Action, Error> {
    if !task.head.has_finalizer && !task.head.is_being_deleted {
        finalizer::add(&tasks(context, &task.head.namespace), &task.head.name, &task.head.uid).await?;
    }
    // In a box: else all that is awaited below is on the stack of whoever waits for this.
    let passed = Box::pin(step(context, task)).await;
    if let Some(why) = passed.as_ref().err().and_then(Error::outage) {
        // Nobody is told that a Task is recorded which is not; the next pass tries again.
        status::write_outage(context, task, why).await?;
    }
    let action = passed?;
    context.backoff.succeeded(&task.head.uid);
    Ok(action)
}

async fn step(context: &Context, task: &Validated) -> Result<Action, Error> {
    let Some(recording) = record(context, task).await? else { return Ok(Action::requeue(SOON)) };
    match recording {
        Recording::Recorded(row) | Recording::Known(row) => known(context, &task.clone().recorded_as(&row), *row).await,
        Recording::Duplicate { first } => copy_outcome(context, task, &first).await,
        Recording::KeyReused => settle(context, task, &State::KeyReused).await,
        Recording::IdTaken { .. } => settle(context, task, &State::IdConflict).await,
        Recording::Removed { at } => settle(context, task, &State::RecordRemoved(at)).await,
        Recording::Refused(findings) => settle(context, task, &State::Refused(&findings)).await,
        Recording::Lost => unrecorded(context, task).await,
    }
}

/// A Task that is recorded: it goes on from there, unless its object shows more than the record knows.
async fn known(context: &Context, task: &Validated, row: TaskRow) -> Result<Action, Error> {
    let row = match record::note_changes(context, task, &row).await {
        Ok(noted) => noted.unwrap_or(row),
        Err(error) => {
            end_worker(context, task, &row).await?;
            return Err(error);
        }
    };
    let shown = lost::shown(task.status.as_ref());
    if !lost::is_behind(&row, shown) {
        return Box::pin(advance(context, task, row)).await;
    }
    let row = match (lost::decision(task), &task.status) {
        (Some((DecisionAction::Adopt, by)), Some(status)) if shown.has_ended => {
            lost::adopt(context, status, row, by).await?
        }
        (Some((DecisionAction::Rerun, by)), _) => lost::run_again(context, &row, shown, by).await?,
        _ if task.head.is_being_deleted => {
            if row.attempt_is_open() {
                attempt::end_job(context, &row).await?;
            }
            let failure = Failure::new(FailureReason::RecordLost.as_str(), lost::DELETED);
            end_task(context, task, Ending::Failed, failure, Actor::controller()).await?
        }
        _ => return settle(context, task, &State::RecordLost(&lost::advice(task))).await,
    };
    Box::pin(advance(context, task, row)).await
}

/// Ends the worker of a Task that is to end: that does not wait until the database says who asked for it. API server.
async fn end_worker(context: &Context, task: &Validated, row: &TaskRow) -> Result<(), Error> {
    if !row.attempt_is_open() || requested_end(task).is_none() {
        return Ok(());
    }
    let look = attempt::inspect(context, task, row).await?;
    if decide(&situation(context, task, row, look, &[])) == Step::EndJob {
        attempt::announce_cancel(context, row).await?;
        attempt::end_job(context, row).await?;
    }
    Ok(())
}

/// A Task whose object shows that it was recorded, and of which there is no record. Only an administrator brings it back.
async fn unrecorded(context: &Context, task: &Validated) -> Result<Action, Error> {
    let recording = match lost::decision(task) {
        None => return settle(context, task, &State::RecordLost(&lost::advice(task))).await,
        Some((action, _)) => record_anew(context, task, action).await?,
    };
    match recording {
        None => Ok(Action::requeue(SOON)),
        Some(Recording::Recorded(row) | Recording::Known(row)) => {
            known(context, &task.clone().recorded_as(&row), *row).await
        }
        Some(_) => settle(context, task, &State::RecordLost(lost::NO_PLACE)).await,
    }
}

/// Brings a Task whose object is gone a step further, or has another record (`is_second`): its Job is ended, its record closed.
/// Database, API server.
///
/// # Errors
/// As for [`reconcile`]; to be repeated later.
pub async fn close(context: &Context, id: Id, is_second: bool) -> Result<(), Error> {
    let row = context.store.task(id).await.map_err(Error::store("read the record of a Task"))?;
    let Some(row) = row else { return Ok(()) };
    advance(context, &Validated::orphan(&row, is_second), row).await.map(|_| ())
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
        let look = attempt::inspect(context, task, &row).await?;
        let has_limit = look.has_limit;
        let (executors, models, forges) = (context.executors(), context.models(), context.forges());
        let findings = if row.attempt_is_open() {
            Vec::new()
        } else {
            let configured = Configured { models: Some((&executors, &models)), forges: Some(&forges) };
            gate::findings(&context.policy, configured, task, &row)
        };
        let step = decide(&situation(context, task, &row, look, &findings));
        tracing::debug!(task_id = %task.head.id, trace_id = %task.head.trace_id, ?step, "next step");
        row = match step {
            Step::Start(attempt) => {
                row = attempt::start(context, &row, attempt).await?;
                context.retry_waits.forget(&task.head.uid);
                if attempt::has_begun(context, task, &row).await? {
                    // Started before, and the record of that was lost: what is there of it is judged.
                    row
                } else {
                    return create(context, task, &row).await;
                }
            }
            Step::Resume => return create(context, task, &row).await,
            Step::NoteRunning { pod, since } => {
                let row = attempt::note_running(context, row, pod, since).await?;
                let left = attempt::time_left(context, &row, since).clamp(LOOK_AGAIN, LOOK_AGAIN_AT_LEAST);
                let (waiting, left) = budget::waits(context, &row, left).await?;
                return wait(context, task, &row, waiting, left).await;
            }
            Step::Wait(reason, message) => {
                let again = match has_limit {
                    true => look_again(context, attempt::waits_since(context, &row), row.id),
                    false => spread(LOOK_AGAIN_AT_LEAST, row.id),
                };
                return wait(context, task, &row, Some((reason, message)), again).await;
            }
            Step::WaitFor(time, Reason::Retrying, follows) => {
                let message = match attempt::last_failure(context, &row).await? {
                    Some(failure) => {
                        format!("{follows}: attempt {} failed, {}: {}", row.attempt, failure.reason, failure.message)
                    }
                    None => follows,
                };
                return wait(context, task, &row, Some((Reason::Retrying, message)), time).await;
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
                let (failure, actor) = finish::cancellation(context, task, end).await?;
                end_task(context, task, Ending::Cancelled, failure, actor).await?
            }
        };
    }
    Ok(Action::requeue(LOOK_AGAIN))
}

/// Makes the Job of the open attempt, and says so. Volume, API server.
async fn create(context: &Context, task: &Validated, row: &TaskRow) -> Result<Action, Error> {
    attempt::create_job(context, row).await?;
    let again = spread(LOOK_AGAIN_AT_LEAST, row.id);
    wait(context, task, row, Some(job_created(&job_name(row.id, row.attempt))), again).await
}

/// When to look again at a Task that has waited since a moment: after a quarter of that.
fn look_again(context: &Context, since: Timestamp, id: Id) -> Duration {
    let waited = Duration::try_from(context.clock.now().duration_since(since)).unwrap_or_default();
    spread((waited / 4).clamp(LOOK_AGAIN, LOOK_AGAIN_AT_LEAST), id)
}

/// Up to half as long again: not together with all others.
fn spread(wait: Duration, id: Id) -> Duration {
    let part = id.to_string().bytes().map(u32::from).sum::<u32>() % 32;
    wait + wait * part / 64
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
    let finish = FinishTask { task_id: task.head.id, ending, failure, actor, at: context.clock.now() };
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
    let age = Duration::try_from(context.clock.now().duration_since(completed_at)).unwrap_or_default();
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
    if first.phase.is_terminal() || task.head.is_being_deleted {
        return Ok(action);
    }
    Ok(Action::requeue(look_again(context, task.head.created_at, task.head.id)))
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
    let Deleter { actor, note } = context.deleter(&task.head.uid).await?;
    let deleted = RecordDeleted { id: task.head.id, uid: task.head.uid.clone(), actor, note, at: context.clock.now() };
    context.store.record_deleted(deleted).await.map_err(Error::store("record a deletion"))?;
    if task.head.has_finalizer {
        finalizer::remove(&tasks(context, &task.head.namespace), &task.head.name, &task.head.uid).await?;
    }
    context.written.forget(&task.head.uid);
    context.signed.forget(&task.head.uid);
    context.retry_waits.forget(&task.head.uid);
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
