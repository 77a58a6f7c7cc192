//! Asking for the work of an ended Task again.

use axum::extract::State;
use axum::response::Response;
use kube::api::Api as Objects;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::enqueue::{Wanted, make};
use super::find;
use super::submit::cluster_problem;
use crate::api::Api;
use crate::api::auth::{Caller, Right};
use crate::api::error::Problem;
use crate::api::frame::{Client, RequestTrace};
use crate::api::query::{Params, PathId};
use crate::crd::TaskView;
use crate::store::TaskRow;

/// Ask for the work of an ended Task again
///
/// A new Task of the caller's, with the same specification but without its `idempotency_key`, in the same namespace; the gate is
/// asked about it as about any other. Its object has the annotation `jct.dev/retry-of`. Needs the rights to `get` the one and to
/// `create` the other.
#[utoipa::path(post, path = "/tasks/{id}/retry", tag = "tasks", operation_id = "retry_task",
    params(
        ("id" = String, Path, description = "Its ULID"),
        ("X-Trace-Id" = Option<String>, Header, description = "The trace id of the new Task, as for /tasks/enqueue")),
    responses(
        (status = 201, description = "Recorded", body = ref("#/components/schemas/Enqueued")),
        (status = 404, description = "There is no such Task, or none that the caller may get", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "It has not ended", body = ref("#/components/schemas/Problem")),
        (status = 422, description = "Policy: it is not what it was when the Task was let in", body = ref("#/components/schemas/Problem")),
        (status = 429, description = "As for /tasks/enqueue", body = ref("#/components/schemas/Problem")),
        (status = 504, description = "Created, but not recorded in time; it may still be", body = ref("#/components/schemas/Problem"))))]
pub async fn retry(
    State(api): State<Api>,
    caller: Caller,
    trace: RequestTrace,
    id: PathId,
    client: Client,
    query: Params,
) -> Result<Response, Problem> {
    let until = Instant::now() + api.settings.timeout.mul_f32(0.9);
    query.finish()?;
    let row = find(&api, &caller, "get", &id).await?;
    api.access.require(&caller, &Right::tasks("create", &row.namespace)).await?;
    if !row.phase.is_terminal() {
        return Err(Problem::conflict(format!("Task '{}' has not ended: it is {}", row.id, row.phase)));
    }
    let joined = trace.join(&api, &caller).await?;
    let body = as_asked(&row, ttl(&api, &row).await?);
    let (namespace, create_cwom) = (row.namespace.clone(), row.create_cwom);
    make(
        &api,
        &caller,
        Wanted { namespace, joined, body: &body, create_cwom, retry_of: Some(row.id), client: client.0 },
        until,
    )
    .await
}

/// How long its object stays after the end: that says the object alone, while it is there.
async fn ttl(api: &Api, row: &TaskRow) -> Result<Option<Value>, Problem> {
    let objects: Objects<TaskView> = Objects::namespaced(api.client.clone(), &row.namespace);
    let found = objects.get_opt(&row.name).await;
    let found = found.map_err(|error| cluster_problem("read a Task", &row.namespace, &error))?;
    let found = found.filter(|object| object.metadata.uid.as_ref() == Some(&row.uid));
    Ok(found.and_then(|object| object.spec.controls.ttl_seconds_after_finished).map(|seconds| json!(seconds)))
}

/// What a client would write to have it again.
fn as_asked(row: &TaskRow, ttl: Option<Value>) -> Value {
    let mut body = json!(row.task);
    if let Some(fields) = body.as_object_mut() {
        // The key is used, for good.
        fields.remove("idempotency_key");
        fields.insert("max_attempts".into(), json!(row.max_attempts));
        fields.extend(ttl.map(|seconds| ("ttl_seconds_after_finished".to_owned(), seconds)));
        fields.extend(row.executor.as_ref().map(|executor| ("executor".to_owned(), json!(executor))));
        fields.extend(row.model.as_ref().map(|model| ("model".to_owned(), json!(model))));
        fields.extend(row.delivery.as_ref().map(|delivery| ("delivery".to_owned(), json!(delivery))));
    }
    body
}
