//! A Task that passed the gate: made a custom resource, and awaited in the record.

use std::time::Duration;

use axum::http::StatusCode;
use kube::api::{Api as Objects, ObjectMeta, PostParams};
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::wait::wait;
use crate::api::Api;
use crate::api::error::Problem;
use crate::api::frame::random;
use crate::crd::names::{CLIENT, FINALIZER};
use crate::crd::stamps::{Issuer, Seal, Sealed, are_refused};
use crate::crd::{Stamps, Task as TaskObject, TaskSpec, TaskView};
use crate::domain::id::{hex, sha256_hex};
use crate::domain::task::Controls;
use crate::domain::{Code, Finding, Id, Principal, Task, TraceId, submitted_digest, task_digest};
use crate::shared::TooMany;
use crate::store::{CommittedTasks, TaskRow};

/// How long the record may take to answer before anything is created.
const RECORD_PATIENCE: Duration = Duration::from_secs(3);

/// The annotation that tells of the trace which the caller named and may not join.
const PARENT_TRACE_ID: &str = "jct.dev/parent-trace-id";

/// The annotation that tells of the Task whose work is done again.
const RETRY_OF: &str = "jct.dev/retry-of";

/// A Task to be created.
#[derive(Clone, Debug)]
pub struct Submission {
    pub namespace: String,
    pub submitter: Principal,
    pub trace_id: TraceId,
    /// A trace that the caller named and may not join.
    pub parent_trace_id: Option<TraceId>,
    /// The Task whose work is done again.
    pub retry_of: Option<Id>,
    /// The program that asks on somebody's behalf, by its own account.
    pub client: Option<String>,
    pub task: Task,
    /// How it is to be handled.
    pub controls: Controls,
}

/// What became of it.
#[derive(Debug)]
pub enum Submitted {
    Recorded(Box<TaskRow>),
    /// Another one, which asks for the same, has its key; that one.
    Duplicate(Box<TaskRow>),
    /// Another one, which asks for something else, has its key.
    KeyReused,
    /// The controller refused it.
    Refused(Vec<Finding>),
    /// There are as many in the namespace as may be. Nothing was made.
    TooMany(TooMany),
}

/// An object of the cluster, new or in the way.
enum Found {
    Created(Id),
    NameTaken,
}

/// Creates the Task and waits until the record tells what became of it, till `until` at the most.
///
/// Requests with the same key meet at the object's name, which is made from the key: one of them creates it, and all
/// wait for the one row.
///
/// # Errors
/// Those of the cluster; 503, with nothing created, if the record is away; 504 if the record says nothing in time.
pub async fn submit(api: &Api, submission: &Submission, until: Instant) -> Result<Submitted, Problem> {
    let key = submission.task.idempotency_key.as_deref();
    if let Some(first) = in_time(first_with(api, submission)).await? {
        return repeated(api, submission, met(submission, Box::new(first))).await;
    }
    if let Some(too_many) = api.namespace_limits.check_task(&submission.namespace, "").await {
        return Ok(Submitted::TooMany(too_many));
    }
    // Nothing is made of which it is known that it cannot be recorded now.
    in_time(async { Ok(api.store.check().await?) }).await?;
    // From before it is there, so that nothing of it is missed.
    let committed = api.store.committed();
    let name = key.map(|key| format!("task-{}", &sha256_hex(key.as_bytes())[..32]));
    let id = match create(api, submission, name.clone()).await? {
        Found::Created(id) => Some(id),
        Found::NameTaken if has_key(api, submission, name.as_deref()).await? => None,
        // Somebody gave the name to a Task of another key: the record settles who was first.
        Found::NameTaken => match create(api, submission, None).await? {
            Found::Created(id) => Some(id),
            Found::NameTaken => return Err(Problem::unavailable("no name is left for the Task; try again")),
        },
    };
    let submitted = wait_for_record(api, submission, committed, id, until).await?;
    repeated(api, submission, submitted).await
}

/// Notes who asks for a Task that is there already: they are no second person for its review.
async fn repeated(api: &Api, submission: &Submission, submitted: Submitted) -> Result<Submitted, Problem> {
    if let Submitted::Duplicate(first) = &submitted
        && first.submitted_by.as_ref() != Some(&submission.submitter.user)
    {
        let (user, at) = (submission.submitter.user.clone(), api.health.clock.now());
        in_time(async { Ok(api.store.note_asker(first.id, user, at).await?) }).await?;
    }
    Ok(submitted)
}

/// What the record answers, if it does soon: a database that hangs is away as one that refuses.
async fn in_time<T>(answer: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    let late = |_| Problem::unavailable("the record does not answer; try again");
    timeout(RECORD_PATIENCE, answer).await.map_err(late)?
}

async fn first_with(api: &Api, submission: &Submission) -> Result<Option<TaskRow>, Problem> {
    let Some(key) = &submission.task.idempotency_key else { return Ok(None) };
    Ok(api.store.task_by_key(&submission.namespace, key).await?)
}

/// The one that has the key: the same Task, or another one.
fn met(Submission { task, controls, .. }: &Submission, first: Box<TaskRow>) -> Submitted {
    let asked = task_digest(task, controls.asks(), controls.max_attempts, controls.create_cwom);
    if first.task_sha256() == asked { Submitted::Duplicate(first) } else { Submitted::KeyReused }
}

async fn create(api: &Api, submission: &Submission, name: Option<String>) -> Result<Found, Problem> {
    let objects: Objects<TaskObject> = Objects::namespaced(api.client.clone(), &submission.namespace);
    match objects.create(&PostParams::default(), &object(api, submission, name)).await {
        Ok(created) => {
            let uid = created.metadata.uid.unwrap_or_default();
            let created_at = created.metadata.creation_timestamp.map(|time| time.0);
            Ok(Found::Created(Id::derive(created_at.unwrap_or_default(), &uid)))
        }
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Found::NameTaken),
        Err(error) => Err(cluster_problem("create a Task", &submission.namespace, &error)),
    }
}

/// The object, sealed by the operator itself: the webhook takes its word for whom it is by that seal alone. Its name is made
/// here, so that the seal is on the whole of it.
fn object(api: &Api, submission: &Submission, name: Option<String>) -> TaskObject {
    let Submission { namespace, submitter, trace_id, parent_trace_id, retry_of, client, task, controls } = submission;
    let name = name.unwrap_or_else(|| format!("task-{}", hex(&random()[..6])));
    let stamps = Stamps { submitter: submitter.clone(), trace_id: trace_id.clone(), run: None };
    let mut object = TaskObject::new(&name, TaskSpec::of(task, controls));
    let sealed = Sealed { kind: "Task", namespace, name: &name, generate_name: "" };
    let seal = Seal { issuer: Issuer::Operator, at: api.health.clock.now() };
    let spec_sha256 = submitted_digest(sealed.kind, &object.spec.to_json());
    let mut annotations = stamps.annotations(&sealed, &spec_sha256, &seal, &api.trust.borrow().keys);
    annotations.extend(parent_trace_id.iter().map(|parent| (PARENT_TRACE_ID.to_owned(), parent.to_string())));
    annotations.extend(client.iter().map(|client| (CLIENT.to_owned(), client.clone())));
    annotations.extend(retry_of.map(|first| (RETRY_OF.to_owned(), first.to_string())));
    object.metadata = ObjectMeta {
        name: Some(name),
        annotations: Some(annotations),
        finalizers: Some(vec![FINALIZER.into()]),
        ..ObjectMeta::default()
    };
    object
}

/// Whether the object of this name has the key of the submission.
async fn has_key(api: &Api, submission: &Submission, name: Option<&str>) -> Result<bool, Problem> {
    let objects: Objects<TaskView> = Objects::namespaced(api.client.clone(), &submission.namespace);
    let found = objects.get_opt(name.unwrap_or_default()).await;
    let found = found.map_err(|error| cluster_problem("read a Task", &submission.namespace, &error))?;
    // One that is gone already was recorded first: its row tells.
    Ok(found.is_none_or(|object| object.spec.idempotency_key == submission.task.idempotency_key))
}

/// Waits until the record knows of the Task.
async fn wait_for_record(
    api: &Api,
    submission: &Submission,
    committed: Receiver<CommittedTasks>,
    id: Option<Id>,
    until: Instant,
) -> Result<Submitted, Problem> {
    let Submission { namespace, trace_id, task, .. } = submission;
    let is_of_it = |committed: &CommittedTasks| {
        let of_key = |key: &String| committed.has_key(namespace, key);
        id.is_some_and(|id| committed.has_task(id)) || task.idempotency_key.as_ref().is_some_and(of_key)
    };
    let leads = || api.health.gauges.leads.get() > 0;
    let read_record = |thorough| async move {
        match read_record(api, submission, id, thorough).await {
            // What is created may still be recorded: only time ends the wait.
            Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE => Ok(None),
            found => found,
        }
    };
    let submitted = wait(committed, is_of_it, leads, until, read_record).await?;
    submitted.ok_or_else(|| {
        let message = "the Task is created but not recorded yet, and may still be: ask again, or repeat the \
                       request with the same idempotency_key";
        let problem = Problem::named(StatusCode::GATEWAY_TIMEOUT, "not_recorded_yet", message);
        match id {
            Some(id) => problem.about(id, trace_id),
            None => problem,
        }
    })
}

async fn read_record(
    api: &Api,
    submission: &Submission,
    id: Option<Id>,
    thorough: bool,
) -> Result<Option<Submitted>, Problem> {
    // One read decides: between two of them the row may appear, and a Task be taken for its own duplicate.
    let row = match (&submission.task.idempotency_key, id) {
        (None, Some(id)) => api.store.task(id).await?,
        _ => first_with(api, submission).await?,
    };
    if let Some(row) = row.map(Box::new) {
        return Ok(Some(if Some(row.id) == id { Submitted::Recorded(row) } else { met(submission, row) }));
    }
    // Rare, so not looked for at first.
    match id {
        Some(id) if thorough => Ok(api.store.refusal(id).await?.map(Submitted::Refused)),
        _ => Ok(None),
    }
}

/// What the API server says against it.
pub fn cluster_problem(action: &str, namespace: &str, error: &kube::Error) -> Problem {
    let kube::Error::Api(status) = error else {
        warn!(action, %error, "the API server does not answer");
        return Problem::unavailable(
            "the Kubernetes API server does not answer; what was asked for may or may not have been done",
        );
    };
    warn!(action, code = status.code, message = status.message, "the API server refuses");
    match status.code {
        404 => Problem::not_found(format!("Namespace '{namespace}' not found")),
        403 => Problem::named(StatusCode::FORBIDDEN, "refused_by_cluster", status.message.clone()),
        422 if status.message.contains(Code::TooManyTasks.as_str()) => {
            Problem::named(StatusCode::TOO_MANY_REQUESTS, "too_many_tasks", status.message.clone())
                .with(|named| named.code = Some(Code::TooManyTasks))
                .retry_after(30)
        }
        422 if are_refused(status) => Problem::unavailable(
            "the stamps on the Task were changed on its way, as while an update of JCT rolls out; try again",
        ),
        400 | 422 => Problem::named(StatusCode::UNPROCESSABLE_ENTITY, "refused_by_cluster", status.message.clone()),
        _ => Problem::unavailable("the Kubernetes API server cannot do this now; try again"),
    }
}
