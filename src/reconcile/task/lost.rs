//! Tasks whose object shows more than the record knows: the database was lost, or restored from an older backup, or the object
//! comes from another installation.
//!
//! A status is written only after the record, and by nobody else who may not do everything. So a status that is ahead of the
//! record tells of work that was done: it is never done again unless an administrator decides that (`jct tasks`), by a word in
//! the status, which again only those can write who may write statuses.

use jiff::Timestamp;

use super::validate::Validated;
use crate::crd::TaskStatus;
use crate::crd::status::{ConditionType, DecisionAction, Reason};
use crate::domain::{Actor, Code, FailureReason, Phase};
use crate::reconcile::{Context, Error};
use crate::store::{AdoptEnd, Failure, RunAgain, Shown, StartAttempt, TaskRow};

/// How much is kept of the name of who decided.
const MAX_NAME_CHARS: usize = 253;

/// Said where the place of a lost record is taken.
pub const NO_PLACE: &str = "it cannot be recorded again: another Task has its idempotencyKey or its id by now, or the gate \
                            refuses it; delete it and make another one where the work is still wanted";

/// Said of a Task whose object went before anybody decided.
pub const DELETED: &str = "its object, which showed more than the record knew, was deleted before anybody decided about it; nothing ran since";

/// Said to who looks at the object.
pub fn advice(task: &Validated) -> String {
    let of = format!("{}/{}", task.head.namespace, task.head.name);
    let ways = match task.status.as_ref().and_then(end) {
        Some(_) => {
            format!("`jct tasks adopt {of}` takes the end that is shown for what it was, `jct tasks rerun {of}`")
        }
        None => format!("`jct tasks rerun {of}`"),
    };
    format!(
        "the record knows less of this Task than is shown here: the database was lost or is an older one. Nothing runs until an \
         administrator decides: {ways} lets it run again"
    )
}

/// What the status of an object shows.
pub fn shown(status: Option<&TaskStatus>) -> Shown {
    let Some(status) = status else { return Shown::default() };
    let copies =
        [Reason::Duplicate.as_str(), FailureReason::IdConflict.as_str(), FailureReason::IdempotencyKeyReused.as_str()];
    Shown {
        has_ended: end(status).is_some(),
        by_itself: !copies.contains(&end_reason(status).0),
        attempt: attempt(status),
        runs: status.phase.as_deref() == Some(Phase::Running.as_condition()),
    }
}

/// Whether the end that is shown is that the gate refused the Task.
pub fn was_refused(status: Option<&TaskStatus>) -> bool {
    let code = status.map(|status| end_reason(status).0);
    status.is_some_and(|status| attempt(status) == 0) && Code::ALL.iter().any(|known| Some(known.as_str()) == code)
}

/// Whether `row` lacks what the status of its object shows.
pub fn is_behind(row: &TaskRow, shown: Shown) -> bool {
    !row.phase.is_terminal() && ((shown.has_ended && shown.by_itself) || shown.is_beyond(row.attempt))
}

/// What an administrator decided, and who they say they are: whoever may write statuses can say any name.
pub fn decision(task: &Validated) -> Option<(DecisionAction, String)> {
    let decision = task.status.as_ref()?.decision.as_ref()?;
    Some((decision.action, decision.by.chars().take(MAX_NAME_CHARS).collect()))
}

/// Takes the end that the status shows into the record. Database.
///
/// # Errors
/// If the database does not take it.
pub async fn adopt(context: &Context, status: &TaskStatus, row: TaskRow, by: String) -> Result<TaskRow, Error> {
    let Some(phase) = end(status) else { return Ok(row) };
    let adopted = adopted(status, phase, &row, by, Timestamp::now());
    context.store.adopt_end(adopted).await.map_err(Error::store("adopt the end of a Task"))
}

/// Lets the Task run again, after the attempts that its status shows. Database.
///
/// # Errors
/// If the database does not take it.
pub async fn run_again(context: &Context, row: &TaskRow, shown: Shown, by: String) -> Result<TaskRow, Error> {
    let again =
        RunAgain { task_id: row.id, after: shown.attempt, by: Actor::unverified(), claims: by, at: Timestamp::now() };
    context.store.run_again(again).await.map_err(Error::store("let a Task run again"))
}

fn adopted(status: &TaskStatus, phase: Phase, row: &TaskRow, claims: String, now: Timestamp) -> AdoptEnd {
    let (reason, message) = end_reason(status);
    let trace = status.trace.as_ref();
    let attempt = attempt(status);
    AdoptEnd {
        task_id: row.id,
        phase,
        failure: (phase != Phase::Completed).then(|| Failure::new(reason, message)),
        attempt,
        job_id: StartAttempt::of(row, attempt, String::new(), now).job_id,
        job_name: status.job_name.clone(),
        commit: status.commit.clone(),
        trace_path: trace.map(|trace| trace.path.clone()),
        manifest_sha256: trace.and_then(|trace| trace.manifest_sha256.clone()),
        trace_files: trace.and_then(|trace| u32::try_from(trace.files?).ok()),
        queued_at: status.queued_at.as_ref().map(|time| time.0),
        started_at: status.started_at.as_ref().map(|time| time.0),
        completed_at: status.completed_at.as_ref().map_or(now, |time| time.0),
        by: Actor::unverified(),
        claims,
    }
}

/// How the Task has ended, if it has.
pub fn end(status: &TaskStatus) -> Option<Phase> {
    let phase = status.phase.as_deref()?;
    Phase::ALL.into_iter().find(|known| known.is_terminal() && known.as_condition() == phase)
}

/// Why it has ended so, and the same in a sentence. The condition keeps it, whatever the status shows besides.
fn end_reason(status: &TaskStatus) -> (&str, &str) {
    let succeeded = status.conditions.iter().find(|condition| condition.type_ == ConditionType::Succeeded.as_str());
    match succeeded {
        Some(succeeded) => (&succeeded.reason, &succeeded.message),
        None => (status.reason.as_deref().unwrap_or_default(), status.message.as_deref().unwrap_or_default()),
    }
}

fn attempt(status: &TaskStatus) -> u32 {
    u32::try_from(status.attempt.unwrap_or_default().max(0)).unwrap_or(u32::MAX)
}
