//! The record of a work object as its status. The projection is pure; writing it is the one call at the end.

use jiff::Timestamp;
use kube::api::Api;

use super::run::RunProgress;
use super::validate::Understood;
use super::view::WorkObject;
use crate::crd::cwom::{ResolvedRef, WorkCondition, WorkObjectStatus, WorkReason};
use crate::domain::cwom::{Kind, Ref, Run, Spec, Status, Target};
use crate::domain::{FailureReason, Finding, Id, Naming};
use crate::reconcile::status::{self, Fact, Subject, conditions, shorten};
use crate::reconcile::{Context, Error};
use crate::store::{ObjectRow, Put, RefProblem, Unique, Unresolved};

/// What a status is made from.
#[derive(Clone, Debug)]
pub enum State<'a> {
    /// Its spec does not fit its kind.
    Invalid(&'a [Finding]),
    /// What the record says to it; of a Run that JCT carries out, how far that is.
    Put(&'a Put, Option<&'a RunProgress>),
    /// It could not be recorded yet.
    StoreUnavailable(String),
}

const RECORDED: &str = "Recorded";
const RESOLVED: &str = "Resolved";

/// The status for `state`. Times of conditions that did not change are those of `current`.
pub fn project(
    object: &Understood,
    state: &State,
    current: Option<&WorkObjectStatus>,
    now: Timestamp,
) -> WorkObjectStatus {
    let head = &object.head;
    let mut status = WorkObjectStatus {
        observed_generation: head.generation,
        id: Some(head.id.to_string()),
        trace_id: Some(head.trace_id.to_string()),
        ..WorkObjectStatus::default()
    };
    let facts = match state {
        State::Invalid(findings) => unfit(WorkReason::InvalidSpec, findings),
        State::StoreUnavailable(message) => not_recorded(WorkReason::StoreUnavailable, message),
        State::Put(Put::Refused(findings), _) => {
            // It may pin another one now.
            status.id = current.and_then(|current| current.id.clone()).or(status.id);
            unfit(WorkReason::ChangeRefused, findings)
        }
        State::Put(Put::Taken { by, what }, _) => {
            status.id = None;
            not_recorded(taken(*what), &conflict_message(*what, object.kind, *by))
        }
        State::Put(Put::Unresolved(missing), _) => {
            let message = format!("waits: {}", describe_all(missing));
            let reason = problem(missing);
            vec![
                Fact::no(RECORDED, reason, shorten(&message)),
                Fact::no(RESOLVED, reason, shorten(&describe_all(missing))),
            ]
        }
        State::Put(Put::Recorded { row, unresolved, .. }, carried) => {
            recorded(&mut status, object, row, unresolved, *carried)
        }
    };
    let facts = facts.iter().cloned().chain(for_tools(progress(state), &facts)).collect();
    let before = current.map(|status| status.conditions.as_slice()).unwrap_or_default();
    status.conditions = conditions(facts, head.generation, before, now);
    status
}

/// How it is, to tools that know nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Ready,
    /// It waits for what may come, or is under way.
    Reconciling,
    Stalled,
}

fn progress(state: &State) -> Progress {
    let of_missing = |missing: &[Unresolved]| {
        let may_come = missing.iter().all(|unresolved| matches!(unresolved.problem, RefProblem::Missing));
        if may_come { Progress::Reconciling } else { Progress::Stalled }
    };
    match state {
        State::Invalid(_) | State::Put(Put::Refused(_) | Put::Taken { .. }, _) => Progress::Stalled,
        State::StoreUnavailable(_) => Progress::Reconciling,
        State::Put(Put::Unresolved(missing), _) => of_missing(missing),
        State::Put(Put::Recorded { row, unresolved, .. }, carried) => match (&row.object.spec, carried) {
            (Spec::Run(run), Some(_)) if run.status == Status::Done => Progress::Ready,
            (Spec::Run(run), Some(_)) if run.status.is_terminal(Kind::Run) => Progress::Stalled,
            _ if !unresolved.is_empty() => of_missing(unresolved),
            (Spec::Run(_), Some(_)) => Progress::Reconciling,
            _ => Progress::Ready,
        },
    }
}

/// The conditions that kstatus reads, with the words of the fact that tells most of `facts`.
fn for_tools(progress: Progress, facts: &[Fact]) -> Vec<Fact> {
    let [ready, reconciling, stalled] =
        [WorkCondition::Ready, WorkCondition::Reconciling, WorkCondition::Stalled].map(WorkCondition::as_str);
    let telling = facts.iter().find(|fact| fact.status != "True").or(facts.last());
    let (reason, message) = telling.map_or(("", ""), |fact| (fact.reason.as_str(), fact.message.as_str()));
    match progress {
        Progress::Ready => vec![Fact::yes(ready, reason, message)],
        Progress::Reconciling => vec![Fact::no(ready, reason, message), Fact::yes(reconciling, reason, "")],
        Progress::Stalled => vec![Fact::no(ready, reason, message), Fact::yes(stalled, reason, message)],
    }
}

fn not_recorded(reason: WorkReason, message: &str) -> Vec<Fact> {
    vec![
        Fact::no(RECORDED, reason.as_str(), shorten(message)),
        Fact::unknown(RESOLVED, WorkReason::NotRecorded.as_str(), ""),
    ]
}

fn unfit(reason: WorkReason, findings: &[Finding]) -> Vec<Fact> {
    let message: Vec<String> = findings.iter().map(ToString::to_string).collect();
    not_recorded(reason, &message.join("; "))
}

fn taken(what: Unique) -> WorkReason {
    match what {
        Unique::Id => WorkReason::IdConflict,
        Unique::Slug => WorkReason::SlugTaken,
        Unique::Doctrine => WorkReason::DoctrineTaken,
    }
}

/// Of an id nothing is told but that it is not to be had: whose it is, and whether in this namespace, is not for everybody.
fn conflict_message(what: Unique, kind: Kind, by: Id) -> String {
    match what {
        Unique::Id => {
            "the id that annotation jct.dev/id pins is not this object's to have; without the annotation it gets \
                       one of its own"
                .into()
        }
        Unique::Slug => format!("another {kind} of the namespace has the slug: {by}"),
        Unique::Doctrine => format!("another {kind} of the namespace has this namespace, name and version: {by}"),
    }
}

/// The reason that tells most: what waiting cannot mend comes first.
fn problem(unresolved: &[Unresolved]) -> &'static str {
    let reason = |problem: &RefProblem| match problem {
        RefProblem::Circle => WorkReason::CircularReference,
        RefProblem::WrongKind(_) => WorkReason::WrongKind,
        RefProblem::Missing => WorkReason::ReferenceMissing,
    };
    let all: Vec<WorkReason> = unresolved.iter().map(|unresolved| reason(&unresolved.problem)).collect();
    let order = [WorkReason::CircularReference, WorkReason::WrongKind, WorkReason::ReferenceMissing];
    order.into_iter().find(|reason| all.contains(reason)).unwrap_or(WorkReason::ReferenceMissing).as_str()
}

/// What is missing, for people.
fn describe_all(unresolved: &[Unresolved]) -> String {
    let describe = |Unresolved { path, kind, target, problem }: &Unresolved| {
        let path = Naming::CustomResource.path(path);
        match problem {
            RefProblem::Missing => format!("{path}: there is no {kind} {target} in this namespace"),
            RefProblem::WrongKind(found) => format!("{path}: {target} is a {found}, not a {kind}"),
            RefProblem::Circle => format!("{path}: with {kind} {target} this would lead back to itself"),
        }
    };
    unresolved.iter().map(describe).collect::<Vec<_>>().join("; ")
}

fn recorded(
    status: &mut WorkObjectStatus,
    object: &Understood,
    row: &ObjectRow,
    unresolved: &[Unresolved],
    carried: Option<&RunProgress>,
) -> Vec<Fact> {
    status.id = Some(row.object.id.to_string());
    status.trace_id = Some(row.object.trace_id.to_string());
    status.refs = object.spec.as_ref().map(|spec| found(spec, &row.object.spec)).unwrap_or_default();
    let resolved = match unresolved {
        [] => Fact::yes(RESOLVED, WorkReason::AllFound.as_str(), ""),
        missing => Fact::no(RESOLVED, problem(missing), shorten(&describe_all(missing))),
    };
    let mut facts = vec![Fact::yes(RECORDED, WorkReason::Recorded.as_str(), ""), resolved];
    if let (Some(carried), Spec::Run(run)) = (carried, &row.object.spec) {
        status.phase = Some(run.status.as_str().into());
        status.task_name = carried.task_name.clone();
        facts.push(outcome(run, carried));
    }
    facts
}

/// The references of the spec that the record has ids for.
fn found(written: &Spec, recorded: &Spec) -> Vec<ResolvedRef> {
    let ids: Vec<(String, &Ref)> = recorded.refs();
    let resolved = |(path, reference): (String, &Ref)| {
        let (_, known) = ids.iter().find(|(at, known)| *at == path && known.kind == reference.kind)?;
        let field = Naming::CustomResource.path(&path);
        Some(ResolvedRef {
            field: field.strip_prefix("spec.").unwrap_or(&field).into(),
            kind: reference.kind.to_string(),
            name: match &reference.target {
                Target::Name(name) => Some(name.clone()),
                Target::Id(_) => None,
            },
            id: known.id()?.to_string(),
        })
    };
    written.refs().into_iter().filter_map(resolved).collect()
}

fn outcome(run: &Run, carried: &RunProgress) -> Fact {
    let type_ = WorkCondition::Succeeded.as_str();
    let summary = run.outputs.result_summary.as_deref().unwrap_or_default();
    match (run.status, &run.failure) {
        (Status::Done, _) => Fact::yes(type_, WorkReason::Done.as_str(), shorten(summary)),
        (Status::Canceled, _) => Fact::no(type_, WorkReason::Canceled.as_str(), shorten(summary)),
        (Status::Failed, failure) => {
            let message = failure.as_ref().map_or("", |failure| failure.message.as_str());
            let code = message.split(": ").next().and_then(FailureReason::parse);
            let reason = code.map_or(WorkReason::Failed.as_str(), FailureReason::as_str);
            Fact::no(type_, reason, shorten(message))
        }
        (status, _) => match &carried.waits_for {
            Some((reason, what)) => Fact::unknown(type_, reason, shorten(what)),
            None => Fact::unknown(type_, pascal_case(status), ""),
        },
    }
}

/// The status as the reason of a condition.
fn pascal_case(status: Status) -> &'static str {
    match status {
        Status::Planned => "Planned",
        Status::Ready => "Ready",
        Status::Running => "Running",
        Status::Blocked => "Blocked",
        Status::UnderReview => "UnderReview",
        Status::Done => WorkReason::Done.as_str(),
        Status::Failed => WorkReason::Failed.as_str(),
        Status::Canceled => WorkReason::Canceled.as_str(),
    }
}

/// Writes the status for `state`, if it differs from what stands there. Says whether it did.
///
/// # Errors
/// [`Error::Api`] if the API server refuses. An object that is gone needs no status: that is no error.
pub async fn write(
    context: &Context,
    api: &Api<WorkObject>,
    object: &Understood,
    state: &State<'_>,
) -> Result<bool, Error> {
    let head = &object.head;
    let version = head.resource_version.as_deref();
    let subject = Subject { name: &head.name, uid: &head.uid, resource_version: version };
    let project = |current: Option<&WorkObjectStatus>| project(object, state, current, context.clock.now());
    let in_short = |status: &WorkObjectStatus| status.clone().in_short();
    let written = &context.objects.notes(object.kind).written;
    status::write_kept(api, written, subject, object.status.clone(), project, in_short).await
}
