//! Carries out a Run of an agent or a system: a Task made from its Issue, which passes the same gate as any other.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::Status as Refusal;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::sources::gather;
use super::validate::Understood;
use super::waiting::Wanted;
use crate::crd::cwom::WorkReason;
use crate::crd::names::{FINALIZER, GROUP};
use crate::crd::stamps::{Issuer, Seal, Sealed, are_refused, cancellation};
use crate::crd::{Stamps, Task as TaskObject, TaskSpec};
use crate::domain::cwom::adapter::{failure_category, issue_to_task};
use crate::domain::cwom::{FailureCategory, Kind, Mode, Spec, Status, Target};
use crate::domain::task::Controls;
use crate::domain::{Actor, Code, FailureReason, Finding, Id, Principal, Task, submitted_digest};
use crate::reconcile::head::Head;
use crate::reconcile::rights::may_create_tasks;
use crate::reconcile::{Context, Error};
use crate::store::{FailRun, ObjectRow, Unresolved};

/// The kind of a Task.
const TASK: &str = "Task";

/// The field of a Task's metadata in which stands what it was made from.
const MADE_FROM: &str = "jct.dev/made-from";

/// How far a Run that JCT carries out is, besides what its row says.
#[derive(Clone, Debug, Default)]
pub struct RunProgress {
    pub task_name: Option<String>,
    /// Why it waits before there is one, and the same in a sentence.
    pub waits_for: Option<(&'static str, String)>,
    /// The same as objects that may come.
    pub wants: Vec<Wanted>,
}

impl RunProgress {
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
) -> Result<Option<RunProgress>, Error> {
    let id = row.object.id;
    let (Ok(Spec::Run(asked)), Spec::Run(run)) = (&object.spec, &row.object.spec) else { return Ok(None) };
    if !matches!(asked.mode, Mode::Agent | Mode::System) {
        return Ok(None);
    }
    let has_ended = run.status.is_terminal(Kind::Run);
    if let Some(task_id) = row.task_id {
        if asked.status == Status::Canceled && !has_ended {
            cancel(context, object, id, task_id).await?;
        }
        return Ok(RunProgress::by_task(id));
    }
    if !matches!(asked.status, Status::Planned | Status::Ready) {
        // Its author tells how it goes.
        return Ok(None);
    }
    if has_ended {
        return Ok(Some(RunProgress::default()));
    }
    let missing: Vec<&Unresolved> = unresolved.iter().filter(|left| left.path.starts_with("inputs.")).collect();
    if let Some(first) = missing.first() {
        return Ok(Some(RunProgress {
            waits_for: Some(missing_input(first.kind, &first.target)),
            ..RunProgress::default()
        }));
    }
    let sources = match gather(context, run).await? {
        Ok(sources) => sources,
        Err(waiting) => {
            let namespace = &object.head.namespace;
            let waits_for = Some(missing_input(waiting.kind, &waiting.target));
            let wanted = Wanted { kind: waiting.kind, namespace: namespace.clone(), target: waiting.target };
            return Ok(Some(RunProgress { waits_for, wants: vec![wanted], task_name: None }));
        }
    };
    let failed = match author(context, object).await? {
        // That may pass: the webhooks' configuration is looked at again and again, and its author can write it anew.
        Author::Unknown(message) => {
            let waits_for = Some((FailureReason::AuthorUnknown.as_str(), message));
            return Ok(Some(RunProgress { waits_for, ..RunProgress::default() }));
        }
        Author::Refused(category, message) => Some((category, message)),
        Author::Known(author) => match issue_to_task(&sources.view(run)) {
            Ok(task) => {
                let mut task = Task { idempotency_key: None, ..task };
                task.metadata.insert(MADE_FROM.into(), sources.digests(id));
                create(context, object, author, id, task).await?
            }
            Err(findings) => Some(refusal(&findings)),
        },
    };
    let Some((category, message)) = failed else { return Ok(RunProgress::by_task(id)) };
    warn!(run_id = %id, trace_id = %object.head.trace_id, message, "Run cannot be carried out");
    let fail = FailRun { id, category, message, actor: Actor::controller(), at: context.clock.now() };
    if let Some(ended) = context.store.fail_run(fail).await.map_err(Error::store("record the end of a Run"))? {
        *row = ended;
    }
    Ok(Some(RunProgress::default()))
}

fn missing_input(kind: Kind, target: &Target) -> (&'static str, String) {
    (WorkReason::WaitingForInputs.as_str(), format!("{kind} {target} is not there"))
}

/// Who wrote a Run as it stands.
enum Author<'a> {
    /// They may create Tasks in its namespace.
    Known(&'a Principal),
    /// Nobody vouches for them now; in a sentence.
    Unknown(String),
    /// It is not for them to have it carried out.
    Refused(FailureCategory, String),
}

/// Who wrote the Run as it stands, and whether they may create Tasks in its namespace: a Run is no way around that right. API
/// server.
async fn author<'a>(context: &Context, run: &'a Understood) -> Result<Author<'a>, Error> {
    let fail = |reason: FailureReason, message: String| {
        Ok(Author::Refused(failure_category(reason), format!("{reason}: {message}")))
    };
    let namespace = &run.head.namespace;
    let Some(author) = &run.head.author else {
        let message = "nobody vouches now for who wrote this Run as it stands: it came past the admission webhooks, these are away or \
                       were installed anew since, or it is in the operator's own namespace; where that does not pass, write it anew";
        return Ok(Author::Unknown(message.into()));
    };
    if author.is_cut() {
        let message = format!(
            "{} is in more groups than are kept with an object, so that what they may do can't be asked",
            author.user
        );
        return fail(FailureReason::AuthorUnknown, message);
    }
    if !may_create_tasks(&context.client, author, namespace).await? {
        let hint = match run.head.has_old_stamps {
            true => "; the Run is from before their groups were kept with it: make a new one",
            false => "",
        };
        let message = format!("{} may not create Tasks in namespace {namespace}{hint}", author.user);
        return fail(FailureReason::AuthorNotAllowed, message);
    }
    Ok(Author::Known(author))
}

/// Creates the Task, or finds it. Says why the Run has failed, if it has.
async fn create(
    context: &Context,
    run: &Understood,
    author: &Principal,
    id: Id,
    task: Task,
) -> Result<Option<(FailureCategory, String)>, Error> {
    let api: Api<TaskObject> = Api::namespaced(context.client.clone(), &run.head.namespace);
    let object = task_object(context, run, author, id, task);
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => {
            info!(run_id = %id, trace_id = %run.head.trace_id, task = task_name(id), "Run is carried out by a Task");
            Ok(None)
        }
        Err(kube::Error::Api(status)) if status.code == 409 => known(context, &api, id).await,
        // That passes: it is tried again when others have ended.
        Err(kube::Error::Api(status))
            if status.code == 422 && !status.message.contains(Code::TooManyTasks.as_str()) && !are_refused(&status) =>
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
    let head = Head::read(TASK, &found.metadata, None, &context.trust())?;
    if head.run != Some(run) {
        return Ok(Some((FailureCategory::Unknown, format!("another Task has the name {name}"))));
    }
    let refused = context.store.refusal(head.id).await.map_err(Error::store("read a refusal"))?;
    Ok(refused.map(|findings| refusal(&findings)))
}

/// The Task, sealed by the operator itself: the webhook takes its word for whom and for what it is by that seal alone.
fn task_object(context: &Context, run: &Understood, author: &Principal, id: Id, task: Task) -> TaskObject {
    let Head { namespace, name, uid, trace_id, .. } = &run.head;
    let controls = Controls { create_cwom: false, ..Controls::default() };
    let (task_name, spec) = (task_name(id), TaskSpec::of(&task, &controls));
    let stamps = Stamps { submitter: author.clone(), trace_id: trace_id.clone(), run: Some(id) };
    let sealed = Sealed { kind: TASK, namespace, name: &task_name, generate_name: "" };
    let spec_sha256 = submitted_digest(TASK, &spec.to_json());
    let annotations = stamps.annotations(&sealed, &spec_sha256, &operator_seal(context), &context.trust().keys);
    let owner = OwnerReference {
        api_version: format!("{GROUP}/v1"),
        kind: Kind::Run.as_str().into(),
        name: name.clone(),
        uid: uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    let mut object = TaskObject::new(&task_name, spec);
    object.metadata = ObjectMeta {
        name: Some(task_name),
        annotations: Some(annotations),
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
            let code = Code::parse(&cause.reason)?;
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

/// Asks the Task to end, since the Run's author has called it off: in their name. Database, API server.
async fn cancel(context: &Context, run: &Understood, id: Id, task_id: Id) -> Result<(), Error> {
    let namespace = &run.head.namespace;
    let task = context.store.task(task_id).await.map_err(Error::store("read the record of a Task"))?;
    let Some(task) = task.filter(|task| !task.phase.is_terminal()) else { return Ok(()) };
    let mut patch = json!({"metadata": {"uid": task.uid}, "spec": {"cancel": true}});
    if let Some(author) = &run.head.author {
        let sealed = Sealed { kind: TASK, namespace, name: &task.name, generate_name: "" };
        let annotations = cancellation(author, &sealed, &task.uid, &operator_seal(context), &context.trust().keys);
        patch["metadata"]["annotations"] =
            annotations.into_iter().map(|(name, text)| (name, Value::from(text))).collect();
    }
    let api: Api<TaskObject> = Api::namespaced(context.client.clone(), namespace);
    let cancelled = api.patch_metadata(&task_name(id), &PatchParams::default(), &Patch::Merge(patch)).await;
    Error::unless_gone("cancel the Task of a Run", cancelled).map(drop)
}

fn operator_seal(context: &Context) -> Seal {
    Seal { issuer: Issuer::Operator, at: context.clock.now() }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
