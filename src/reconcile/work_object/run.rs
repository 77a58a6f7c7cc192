//! Carries out a Run of an agent or a system: a Task made from its Issue, which passes the same gate as any other.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::Status as Refusal;
use serde_json::json;
use tracing::{info, warn};

use super::validate::Understood;
use super::waiting::Wanted;
use crate::crd::names::{FINALIZER, GROUP};
use crate::crd::{Stamps, Task as TaskObject, TaskSpec};
use crate::domain::cwom::adapter::{IssueView, failure_category, issue_to_task};
use crate::domain::cwom::{
    ConstraintSnapshot, ContextPacket, FailureCategory, Issue, Kind, Mode, Ref, Repo, Run, Spec, Status,
};
use crate::domain::{Actor, Code, Finding, Id, Task};
use crate::reconcile::head::Head;
use crate::reconcile::{Context, Error};
use crate::store::{FailRun, ObjectRow, Unresolved};

/// Who submitted a Run that came past the webhooks. A `system:` name, so that nobody takes it for a person.
const UNVERIFIED: &str = "system:unverified";

/// How far a Run that JCT carries out is, besides what its row says.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    /// The Task.
    pub task_name: Option<String>,
    /// What it waits for before there is one, in a sentence.
    pub waits_for: Option<String>,
    /// The same as objects that may come.
    pub wants: Vec<Wanted>,
}

impl Carried {
    fn by_task(id: Id) -> Option<Self> {
        Some(Self { task_name: Some(task_name(id)), ..Self::default() })
    }
}

/// The name of the Task of a Run.
fn task_name(run: Id) -> String {
    format!("run-{}", run.to_lowercase())
}

/// Carries a recorded Run a step further, and brings `row` up to date with that. None if it is not for JCT to carry out.
/// Database, API server.
///
/// # Errors
/// [`Error`] names the step that failed; to be repeated later.
pub async fn advance(
    context: &Context,
    object: &Understood,
    row: &mut ObjectRow,
    unresolved: &[Unresolved],
) -> Result<Option<Carried>, Error> {
    let id = row.object.id;
    let (Ok(Spec::Run(asked)), Spec::Run(run)) = (&object.spec, &row.object.spec) else { return Ok(None) };
    if !matches!(asked.mode, Mode::Agent | Mode::System) {
        return Ok(None);
    }
    let has_ended = run.status.is_terminal(Kind::Run);
    if row.task_id.is_some() {
        if asked.status == Status::Canceled && !has_ended {
            cancel(context, object, id).await?;
        }
        return Ok(Carried::by_task(id));
    }
    if !matches!(asked.status, Status::Planned | Status::Ready) {
        // Its author tells how it goes.
        return Ok(None);
    }
    if has_ended {
        return Ok(Some(Carried::default()));
    }
    let missing: Vec<&Unresolved> = unresolved.iter().filter(|left| left.path.starts_with("inputs.")).collect();
    if let Some(first) = missing.first() {
        let waits_for = format!("{} {} is not there", first.kind, first.target);
        return Ok(Some(Carried { waits_for: Some(waits_for), ..Carried::default() }));
    }
    let sources = match gather(context, run).await? {
        Ok(sources) => sources,
        Err(waiting) => {
            let namespace = &object.head.namespace;
            let waits_for = Some(format!("{} {} is not there", waiting.kind, waiting.target));
            let wanted = Wanted { kind: waiting.kind, namespace: namespace.clone(), target: waiting.target };
            return Ok(Some(Carried { waits_for, wants: vec![wanted], task_name: None }));
        }
    };
    let failed = match issue_to_task(&sources.view(run)) {
        // The key is that of the Task that made the Issue: another try at it is another Task.
        Ok(task) => create(context, object, id, Task { idempotency_key: None, ..task }).await?,
        Err(findings) => Some(refusal(&findings)),
    };
    let Some((category, message)) = failed else { return Ok(Carried::by_task(id)) };
    warn!(run_id = %id, trace_id = %object.head.trace_id, message, "Run cannot be carried out");
    let fail = FailRun { id, category, message, actor: Actor::controller(), at: Timestamp::now() };
    if let Some(ended) = context.store.fail_run(fail).await.map_err(Error::store("record the end of a Run"))? {
        *row = ended;
    }
    Ok(Some(Carried::default()))
}

/// What a Task is made from.
struct Sources {
    repo: Repo,
    issue: Issue,
    context_packet: Option<ContextPacket>,
    constraint_snapshot: Option<ConstraintSnapshot>,
}

impl Sources {
    fn view<'a>(&'a self, run: &'a Run) -> IssueView<'a> {
        IssueView {
            repo: &self.repo,
            issue: &self.issue,
            context_packet: self.context_packet.as_ref(),
            constraint_snapshot: self.constraint_snapshot.as_ref(),
            requester: Some(&run.executor.actor),
        }
    }
}

/// Reads what the Run is about from the record: its first ContextPacket and its ConstraintSnapshot; where it names none,
/// the newest of its Issue. `Err` names what is not there yet.
async fn gather(context: &Context, run: &Run) -> Result<Result<Sources, Ref>, Error> {
    macro_rules! read {
        ($reference:expr, $kind:ident) => {{
            let reference: &Ref = $reference;
            match object(context, reference).await? {
                Some(Spec::$kind(spec)) => *spec,
                _ => return Ok(Err(reference.clone())),
            }
        }};
    }
    let issue: Issue = read!(&run.for_issue, Issue);
    let repo: Repo = read!(&run.repo, Repo);
    let context_packet = match choose(run.inputs.context_packets.first(), &issue.context_packets) {
        Some(reference) => Some(read!(reference, ContextPacket)),
        None => None,
    };
    let of_packet = context_packet.as_ref().and_then(|packet| packet.constraint_snapshot.as_ref());
    let named = run.inputs.constraint_snapshot.as_ref().or(of_packet);
    let constraint_snapshot = match choose(named, &issue.constraints) {
        Some(reference) => Some(read!(reference, ConstraintSnapshot)),
        None => None,
    };
    Ok(Ok(Sources { repo, issue, context_packet, constraint_snapshot }))
}

/// The one that is named, else one that is still to come, else the newest: ids grow with time.
fn choose<'a>(named: Option<&'a Ref>, all: &'a [Ref]) -> Option<&'a Ref> {
    named.or_else(|| all.iter().find(|one| one.id().is_none())).or_else(|| all.iter().max_by_key(|one| one.id()))
}

async fn object(context: &Context, reference: &Ref) -> Result<Option<Spec>, Error> {
    let Some(id) = reference.id() else { return Ok(None) };
    let row = context.store.object(reference.kind, id).await.map_err(Error::store("read a work object"))?;
    Ok(row.map(|row| row.object.spec))
}

/// Creates the Task, or finds it. Says why the Run has failed, if it has.
async fn create(
    context: &Context,
    run: &Understood,
    id: Id,
    task: Task,
) -> Result<Option<(FailureCategory, String)>, Error> {
    let api: Api<TaskObject> = Api::namespaced(context.client.clone(), &run.head.namespace);
    let object = task_object(context, run, id, task);
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => {
            info!(run_id = %id, trace_id = %run.head.trace_id, task = task_name(id), "Run is carried out by a Task");
            Ok(None)
        }
        Err(kube::Error::Api(status)) if status.code == 409 => known(context, &api, id).await,
        // That passes: it is tried again when others have ended.
        Err(kube::Error::Api(status))
            if status.code == 422 && !status.message.contains(Code::TooManyTasks.as_str()) =>
        {
            Ok(Some(denial(&status)))
        }
        Err(error) => Err(Error::api("create the Task of a Run")(error)),
    }
}

/// There is an object of the Task's name: ours, unless it says otherwise.
async fn known(context: &Context, api: &Api<TaskObject>, run: Id) -> Result<Option<(FailureCategory, String)>, Error> {
    let name = task_name(run);
    // One that is gone by now is made again by the next pass.
    let Some(found) = api.get_metadata_opt(&name).await.map_err(Error::api("read the Task of a Run"))? else {
        return Ok(None);
    };
    let head = Head::read(&found.metadata, &context.stamp_key)?;
    if head.run != Some(run) {
        return Ok(Some((FailureCategory::Unknown, format!("another Task has the name {name}"))));
    }
    let refused = context.store.refusal(head.id).await.map_err(Error::store("read a refusal"))?;
    Ok(refused.map(|findings| refusal(&findings)))
}

/// The Task as the mutating webhook would leave it: sealed here too, for installations without the webhook.
fn task_object(context: &Context, run: &Understood, id: Id, task: Task) -> TaskObject {
    let Head { namespace, name, uid, trace_id, submitted_by, .. } = &run.head;
    let stamps = Stamps {
        submitted_by: submitted_by.clone().unwrap_or_else(|| UNVERIFIED.into()),
        trace_id: trace_id.clone(),
        run: Some(id),
    };
    let owner = OwnerReference {
        api_version: format!("{GROUP}/v1"),
        kind: Kind::Run.as_str().into(),
        name: name.clone(),
        uid: uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    let mut object = TaskObject::new(&task_name(id), TaskSpec::of(task, false));
    object.metadata = ObjectMeta {
        name: Some(task_name(id)),
        annotations: Some(stamps.annotations(namespace, &context.stamp_key)),
        owner_references: Some(vec![owner]),
        finalizers: Some(vec![FINALIZER.into()]),
        ..ObjectMeta::default()
    };
    object
}

/// Why the gate, or the controller, does not let the Task run.
fn refusal(findings: &[Finding]) -> (FailureCategory, String) {
    let code = findings.first().map_or(Code::InvalidSpec, |finding| finding.code);
    let message: Vec<String> = findings.iter().map(ToString::to_string).collect();
    (failure_category(code.into()), message.join("; "))
}

/// Why the API server does not take the Task: what the webhook found, or else the schema.
fn denial(status: &Refusal) -> (FailureCategory, String) {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let findings: Vec<Finding> = causes
        .filter_map(|cause| {
            let code = Code::ALL.into_iter().find(|code| code.as_str() == cause.reason)?;
            let message = cause.message.strip_prefix(&format!("{code}: ")).unwrap_or(&cause.message);
            Some(Finding::new(code, &cause.field, message))
        })
        .collect();
    if findings.is_empty() {
        let code = Code::ALL.into_iter().find(|code| status.message.contains(code.as_str()));
        let code = code.unwrap_or(Code::InvalidSpec);
        return (failure_category(code.into()), format!("{code}: {}", status.message));
    }
    refusal(&findings)
}

/// Asks the Task to end, since the Run's author has called it off.
async fn cancel(context: &Context, run: &Understood, id: Id) -> Result<(), Error> {
    let api: Api<TaskObject> = Api::namespaced(context.client.clone(), &run.head.namespace);
    let patch = Patch::Merge(json!({"spec": {"cancel": true}}));
    let cancelled = api.patch_metadata(&task_name(id), &PatchParams::default(), &patch).await;
    Error::unless_gone("cancel the Task of a Run", cancelled).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cwom::Target;

    fn denied(answer: serde_json::Value) -> (FailureCategory, String) {
        denial(&serde_json::from_value(answer).unwrap())
    }

    #[test]
    fn the_webhooks_findings_are_told_as_the_gate_tells_them() {
        let answer = json!({
            "status": "Failure", "code": 422, "reason": "Invalid",
            "message": "admission webhook \"mutate.tasks.jct.dev\" denied the request: …",
            "details": {"causes": [
                {"reason": "REPO_NOT_ALLOWED", "message": "REPO_NOT_ALLOWED: evil/x is not allowed", "field": "spec.target.repo"},
                {"reason": "TIME_BUDGET_TOO_HIGH", "message": "TIME_BUDGET_TOO_HIGH: must be less", "field": "spec.x"},
            ]},
        });
        let message =
            "REPO_NOT_ALLOWED: spec.target.repo: evil/x is not allowed; TIME_BUDGET_TOO_HIGH: spec.x: must be less";
        assert_eq!(denied(answer), (FailureCategory::Policy, message.into()));
    }

    #[test]
    fn a_denial_by_the_schema_has_the_code_in_its_message() {
        let answer = json!({
            "status": "Failure", "code": 422, "reason": "Invalid", "message": "Task is invalid: TIME_BUDGET_TOO_LOW: …",
            "details": {"causes": [{"reason": "FieldValueInvalid", "message": "…", "field": "spec"}]},
        });
        assert!(denied(answer).1.starts_with("TIME_BUDGET_TOO_LOW: Task is invalid"));
        let unknown = json!({"status": "Failure", "code": 422, "reason": "Invalid", "message": "no"});
        assert_eq!(denied(unknown), (FailureCategory::Policy, "INVALID_SPEC: no".into()));
    }

    #[test]
    fn the_named_one_is_chosen_then_one_to_come_then_the_newest() {
        let by_id = |id: &str| Ref::to(Kind::ContextPacket, id.parse().unwrap());
        let (old, new) = (by_id("01KJMMA2G027CE4HT1RZKZBW4A"), by_id("01KJMMA2G127CE4HT1RZKZBW4A"));
        let to_come = Ref { target: Target::Name("later".into()), ..old.clone() };
        let all = [new.clone(), old.clone()];
        assert_eq!(choose(Some(&old), &all), Some(&old));
        assert_eq!(choose(None, &all), Some(&new));
        assert_eq!(choose(None, &[new.clone(), to_come.clone()]), Some(&to_come));
        assert_eq!(choose(None, &[]), None);
    }
}
