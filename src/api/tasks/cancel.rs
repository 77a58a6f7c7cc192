//! Ending a Task before its time.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kube::api::{Api as Objects, Patch, PatchParams};
use serde_json::json;

use super::answer::Enqueued;
use super::find;
use super::submit::cluster_problem;
use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::error::Problem;
use crate::api::query::{Params, PathId};
use crate::crd::Task as TaskObject;
use crate::crd::stamps::{Issuer, Seal, Sealed, cancellation};

/// End a Task
///
/// Needs the right to `patch` Tasks. Its Job is ended first; the status then becomes `cancelled`.
#[utoipa::path(post, path = "/tasks/{id}/cancel", tag = "tasks", operation_id = "cancel_task",
    params(("id" = String, Path, description = "Its ULID")),
    responses(
        (status = 202, description = "It will be ended", body = ref("#/components/schemas/Enqueued")),
        (status = 404, description = "There is no such Task, or none that the caller may get", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "It has ended", body = ref("#/components/schemas/Problem"))))]
pub async fn cancel(State(api): State<Api>, caller: Caller, id: PathId, query: Params) -> Result<Response, Problem> {
    query.finish()?;
    let row = find(&api, &caller, "patch", &id).await?;
    if row.phase.is_terminal() {
        return Err(Problem::conflict(format!("Task '{}' has ended as {}", row.id, row.phase)));
    }
    // The uid makes it this object or none: another one may have the name by now.
    let sealed = Sealed { kind: "Task", namespace: &row.namespace, name: &row.name, generate_name: "" };
    let seal = Seal { issuer: Issuer::Operator, at: api.health.clock.now() };
    let annotations = cancellation(&caller.principal(), &sealed, &row.uid, &seal, &api.trust.borrow().keys);
    let patch = json!({
        "metadata": {"uid": row.uid, "annotations": annotations},
        "spec": {"cancel": true},
    });
    let objects: Objects<TaskObject> = Objects::namespaced(api.client.clone(), &row.namespace);
    match objects.patch_metadata(&row.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {
            return Err(Problem::conflict(format!("Task '{}' is being deleted and ends by that", row.id)));
        }
        Err(error) => return Err(cluster_problem("cancel a Task", &row.namespace, &error)),
    }
    let body = Enqueued::new("the Task is being cancelled", &row).to_json();
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}
