//! The record of a Task as its status. The projection is pure; writing it is the one call at the end.

use jiff::Timestamp;
use kube::api::Api;

use super::Object;
use super::validate::Validated;
use super::{attempt, lost, progress};
use crate::crd::TaskStatus;
use crate::crd::status::{ConditionType, CwomStatus, Reason, TraceStatus};
use crate::domain::{FailureReason, Finding, Phase};
use crate::reconcile::status::{self, Fact, Subject, conditions, seconds, shorten};
use crate::reconcile::{Context, Error, events};
use crate::store::{StoreError, TaskRow};

/// What a status is made from.
#[derive(Clone, Debug)]
pub enum State<'a> {
    /// The gate refused it; it is not in the record of Tasks.
    Refused(&'a [Finding]),
    /// It is recorded; while it has not ended, what it waits for.
    Recorded(&'a TaskRow, Option<(Reason, String)>),
    /// Another Task has its idempotency key.
    Duplicate(&'a TaskRow),
    /// Another Task, which asks for something else, has its idempotency key.
    KeyReused,
    /// Another Task has its pinned id, or the same one with another specification.
    IdConflict,
    /// It shows more than the record knows; what about it, in a sentence.
    RecordLost(&'a str),
    /// It has run and ended, and retention has removed its record.
    RecordRemoved(Timestamp),
    /// What is to be recorded of it can't be.
    StoreUnavailable(String),
}

/// Said of Tasks that go on while it is so.
const CLOCK_SKEWED: &str = "the clocks of the operator's machine and of the API server differ (jct_clock_skew_seconds): the API \
                            server's counts; set them (NTP)";

/// The status for `state`. Times of conditions that did not change are those of `current`.
pub fn project(task: &Validated, state: &State, current: Option<&TaskStatus>, now: Timestamp) -> TaskStatus {
    if let (State::StoreUnavailable(message), Some(current)) = (state, current.filter(|status| status.phase.is_some()))
    {
        return behind(current, message, now);
    }
    if let (State::RecordRemoved(_), Some(current)) = (state, current.filter(|status| has_ended(status))) {
        // How it ended is known nowhere else, but in the audit log.
        return current.clone();
    }
    if let (State::RecordLost(message), Some(current)) = (state, current) {
        return record_lost(current, message, now);
    }
    let mut status = TaskStatus {
        observed_generation: task.head.generation,
        id: Some(task.head.id.to_string()),
        trace_id: Some(task.head.trace_id.to_string()),
        submitted_by: task.head.submitted_by.clone(),
        ..TaskStatus::default()
    };
    let facts = match state {
        State::Refused(findings) => refused(&mut status, findings),
        State::Recorded(row, waiting) => {
            let mut facts = recorded(&mut status, row, waiting.as_ref());
            note_identity(&mut facts, task, row);
            facts
        }
        State::Duplicate(first) => duplicate(&mut status, first),
        State::KeyReused => {
            let message = "another Task of this namespace, which asks for something else, has this idempotencyKey, and a key \
                           stays used whatever became of its Task: make this one with another key, or without. Who may \
                           list Tasks finds the other one by its spec.idempotencyKey";
            never_ran(&mut status, FailureReason::IdempotencyKeyReused.as_str(), message)
        }
        State::IdConflict => {
            let message = "the id that annotation jct.dev/id pins is not free: it is that of another Task, or this one was \
                           recorded with another specification; make it without the annotation";
            never_ran(&mut status, FailureReason::IdConflict.as_str(), message)
        }
        State::RecordLost(message) => never_ran(&mut status, FailureReason::RecordLost.as_str(), message),
        State::RecordRemoved(at) => record_removed(&mut status, *at),
        State::StoreUnavailable(message) => unavailable(&mut status, message),
    };
    let facts = facts.into_iter().chain(progress::facts(&status)).collect();
    let before = current.map(|status| status.conditions.as_slice()).unwrap_or_default();
    status.conditions = conditions(facts, task.head.generation, before, now);
    status
}

fn refused(status: &mut TaskStatus, findings: &[Finding]) -> Vec<Fact> {
    let code = findings.first().map_or("INVALID_SPEC", |finding| finding.code.as_str());
    let message = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    status.phase = Some(Phase::Failed.as_condition().into());
    status.reason = Some(code.into());
    status.message = Some(shorten(&message));
    vec![
        Fact::no(ConditionType::Accepted.as_str(), code, shorten(&message)),
        Fact::no(ConditionType::Recorded.as_str(), code, "the refusal is in the audit log"),
        Fact::no(ConditionType::Succeeded.as_str(), code, ""),
        Fact::no(ConditionType::TraceCaptured.as_str(), Reason::NothingRan.as_str(), ""),
    ]
}

fn recorded(status: &mut TaskStatus, row: &TaskRow, waiting: Option<&(Reason, String)>) -> Vec<Fact> {
    let (reason, message) = match (row.phase, &row.error, waiting) {
        (Phase::Completed, ..) => (Reason::Completed.as_str().to_owned(), progress::summary(row).map(shorten)),
        (phase, Some(error), _) if phase.is_terminal() => (error.reason.clone(), Some(shorten(&error.message))),
        (Phase::Running, _, None) => (Reason::Running.as_str().to_owned(), None),
        (_, _, Some((reason, message))) => (reason.as_str().to_owned(), Some(shorten(message))),
        (_, _, None) => (Reason::Recorded.as_str().to_owned(), None),
    };
    status.phase = Some(row.phase.as_condition().into());
    status.reason = Some(reason.clone());
    status.message = message.clone();
    status.submitted_by = row.submitted_by.clone();
    status.attempt = (row.attempt > 0).then_some(row.attempt.into());
    status.job_name = row.job_name.clone();
    status.commit = row.commit.clone();
    status.operation = Some(row.task.operation.as_str().into());
    status.repo = Some(row.task.target.repo.to_string());
    status.duration = progress::duration(row);
    status.cwom = work_objects(row);
    status.queued_at = row.queued_at.map(seconds);
    status.started_at = row.started_at.map(seconds);
    status.completed_at = row.completed_at.map(seconds);
    status.trace = row.trace_path.clone().map(|path| TraceStatus {
        path,
        manifest_sha256: row.manifest_sha256.clone(),
        files: row.trace_files.map(i64::from),
    });
    let message = message.unwrap_or_default();
    let succeeded = match row.phase {
        Phase::Completed => Fact::yes(ConditionType::Succeeded.as_str(), &reason, message),
        Phase::Failed | Phase::Cancelled => Fact::no(ConditionType::Succeeded.as_str(), &reason, message),
        Phase::Pending | Phase::Queued | Phase::Running => {
            Fact::unknown(ConditionType::Succeeded.as_str(), &reason, message)
        }
    };
    let type_ = ConditionType::TraceCaptured.as_str();
    let captured = if row.manifest_sha256.is_some() {
        Fact::yes(type_, Reason::DigestsMatch.as_str(), "every file has the digest that the manifest names")
    } else if row.attempt_is_open() || (row.attempt == 0 && !row.phase.is_terminal()) {
        Fact::unknown(type_, Reason::NotYet.as_str(), "")
    } else if row.attempt == 0 {
        Fact::no(type_, Reason::NothingRan.as_str(), "")
    } else if row.error.as_ref().is_some_and(|error| error.reason == FailureReason::TraceInvalid.as_str()) {
        Fact::no(type_, Reason::Invalid.as_str(), "")
    } else {
        Fact::no(type_, Reason::Incomplete.as_str(), "")
    };
    vec![
        Fact::yes(ConditionType::Accepted.as_str(), Reason::PolicyPassed.as_str(), "the policy allows it"),
        Fact::yes(ConditionType::Recorded.as_str(), Reason::Recorded.as_str(), "it is in the database"),
        succeeded,
        captured,
    ]
}

/// The objects that were made for the Task, or those of the Run that it carries out.
fn work_objects(row: &TaskRow) -> Option<CwomStatus> {
    let issue_id = row.cwom_issue_id?;
    let made = row.cwom_ids();
    Some(CwomStatus {
        repo_id: row.cwom_repo_id.map(|id| id.to_string()),
        issue_id: Some(issue_id.to_string()),
        context_packet_id: made.map(|ids| ids.context_packet.to_string()),
        constraint_snapshot_id: made.map(|ids| ids.constraint_snapshot.to_string()),
        run_id: row.run_id(row.attempt).filter(|_| row.attempt > 0).map(|id| id.to_string()),
    })
}

/// A copy of the first one's outcome, or the news that it is not known yet.
fn duplicate(status: &mut TaskStatus, first: &TaskRow) -> Vec<Fact> {
    let of = format!("{}/{} (task {}, trace {})", first.namespace, first.name, first.id, first.trace_id);
    let message = format!("did not run: its idempotency key is that of {of}, which is {}", first.phase);
    let submitted_by = status.submitted_by.take();
    let mut facts = recorded(status, first, None);
    status.submitted_by = submitted_by;
    status.reason = Some(Reason::Duplicate.as_str().into());
    status.message = Some(message.clone());
    for fact in &mut facts {
        if [ConditionType::Succeeded.as_str(), ConditionType::Recorded.as_str()].contains(&fact.type_) {
            fact.reason = Reason::Duplicate.as_str().into();
            fact.message = message.clone();
        }
    }
    facts
}

/// What there is to say of who the Task is, besides that it is recorded.
fn note_identity(facts: &mut [Fact], task: &Validated, row: &TaskRow) {
    let Some(fact) = facts.iter_mut().find(|fact| fact.type_ == ConditionType::Recorded.as_str()) else { return };
    if task.clock_is_off && !row.phase.is_terminal() {
        fact.reason = Reason::ClockSkewed.as_str().into();
        fact.message = CLOCK_SKEWED.into();
    }
    if let Some(user) = &row.restored_by {
        fact.message = format!("the object was restored under its id, and created by {user}");
    }
    if let Some(user) = &row.adopted_by {
        fact.message = format!("the record was lost; {user} had this end taken over from the status");
    }
    if let Some(problem) = &task.ignored_pin {
        fact.reason = Reason::PinIgnored.as_str().into();
        fact.message = problem.clone();
    }
}

/// It failed before anything ran, and without a record of its own.
fn never_ran(status: &mut TaskStatus, reason: &str, message: &str) -> Vec<Fact> {
    status.phase = Some(Phase::Failed.as_condition().into());
    status.reason = Some(reason.into());
    status.message = Some(message.into());
    vec![
        Fact::no(ConditionType::Accepted.as_str(), reason, message),
        Fact::no(ConditionType::Recorded.as_str(), reason, ""),
        Fact::no(ConditionType::Succeeded.as_str(), reason, message),
        Fact::no(ConditionType::TraceCaptured.as_str(), Reason::NothingRan.as_str(), ""),
    ]
}

fn record_removed(status: &mut TaskStatus, at: Timestamp) -> Vec<Fact> {
    let reason = Reason::RecordRemoved.as_str();
    let message = format!(
        "a Task of this id has run, and its record was removed by retention at {at}: it does not run again; for another \
         run create a Task without the annotation jct.dev/id"
    );
    status.phase = Some(Phase::Failed.as_condition().into());
    status.reason = Some(reason.into());
    status.message = Some(message.clone());
    vec![
        Fact::yes(ConditionType::Accepted.as_str(), Reason::PolicyPassed.as_str(), ""),
        Fact::no(ConditionType::Recorded.as_str(), reason, message),
        Fact::no(ConditionType::Succeeded.as_str(), reason, ""),
        Fact::no(ConditionType::TraceCaptured.as_str(), reason, ""),
    ]
}

fn unavailable(status: &mut TaskStatus, message: &str) -> Vec<Fact> {
    let reason = Reason::StoreUnavailable.as_str();
    status.phase = Some(Phase::Pending.as_condition().into());
    status.reason = Some(reason.into());
    status.message = Some(shorten(message));
    vec![
        Fact::yes(ConditionType::Accepted.as_str(), Reason::PolicyPassed.as_str(), ""),
        Fact::no(ConditionType::Recorded.as_str(), reason, shorten(message)),
        Fact::unknown(ConditionType::Succeeded.as_str(), reason, ""),
        Fact::unknown(ConditionType::TraceCaptured.as_str(), Reason::NotYet.as_str(), ""),
    ]
}

/// The status of a Task of which the record knows less: the end, or the attempt, that it shows stays.
fn record_lost(current: &TaskStatus, message: &str, now: Timestamp) -> TaskStatus {
    let reason = FailureReason::RecordLost.as_str();
    let mut status = current.clone();
    status.reason = Some(reason.into());
    status.message = Some(shorten(message));
    let recorded = ConditionType::Recorded.as_str();
    status.conditions.retain(|condition| condition.type_ != recorded);
    let fact = Fact::no(recorded, reason, shorten(message));
    status.conditions.extend(conditions(vec![fact], current.observed_generation, &current.conditions, now));
    status
}

/// The status of a Task that was seen before: what it says is as old as the record.
fn behind(current: &TaskStatus, message: &str, now: Timestamp) -> TaskStatus {
    let mut status = current.clone();
    let reason = Reason::StoreUnavailable.as_str();
    let message = shorten(&format!("what happens now is not recorded yet: {message}"));
    status.reason = Some(reason.into());
    status.message = Some(message.clone());
    for condition in &mut status.conditions {
        if condition.type_ == ConditionType::Recorded.as_str() {
            condition.status = "Unknown".into();
            condition.reason = reason.into();
            condition.message = message.clone();
            condition.last_transition_time = seconds(now);
        }
    }
    status
}

/// Writes the status for `state`, if it differs from what stands there.
///
/// # Errors
/// [`Error::Api`] if the API server refuses. An object that is gone needs no status: that is no error.
pub async fn write(context: &Context, task: &Validated, state: &State<'_>) -> Result<(), Error> {
    if !task.has_object {
        return Ok(());
    }
    let api: Api<Object> = Api::namespaced(context.client.clone(), &task.head.namespace);
    let version = task.head.resource_version.as_deref();
    let subject = Subject { name: &task.head.name, uid: &task.head.uid, resource_version: version };
    let mut announcement = None;
    let project = |current: Option<&TaskStatus>| {
        let mut wanted = project(task, state, current, context.clock.now());
        if let State::Recorded(row, _) = state {
            let configured = attempt::executor(context, row).ok().map(|executor| executor.name);
            wanted.executor = progress::executor(current, row, configured);
        }
        announcement =
            events::announcement_of((&task.head.namespace, &task.head.name, &task.head.uid), current, &wanted);
        wanted
    };
    if status::write(&api, &context.written, subject, task.status.clone(), project).await?
        && let Some(announcement) = announcement
    {
        context.events.announce(announcement);
    }
    Ok(())
}

/// Says in the status that the record cannot be read or written, once for each outage: what follows of it is in the log.
/// An end that is shown stays as it is.
///
/// # Errors
/// As for [`write()`].
pub async fn write_outage(context: &Context, task: &Validated, why: &StoreError) -> Result<(), Error> {
    let current = context.written.current(&task.head.uid, task.head.resource_version.as_deref(), task.status.clone());
    if current.as_ref().is_some_and(|status| has_ended(status) || is_of_outage(status)) {
        return Ok(());
    }
    write(context, task, &State::StoreUnavailable(why.to_string())).await
}

fn has_ended(status: &TaskStatus) -> bool {
    lost::end(status).is_some()
}

fn is_of_outage(status: &TaskStatus) -> bool {
    status.reason.as_deref() == Some(Reason::StoreUnavailable.as_str())
}
