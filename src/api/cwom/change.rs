//! Changes of objects, and the refusal of those that never change.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::collection::{Changes, Collection};
use super::problem::{of_custom_resource, of_task, unresolved};
use super::{change_response, find};
use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::body::Unread;
use crate::api::error::Problem;
use crate::api::query::{Params, PathId};
use crate::domain::cwom::Status;
use crate::domain::{Code, Finding};
use crate::store::{ObjectRow, PatchObject, Patched};

/// Changes the fields of an object that the body has (RFC 7396).
pub async fn patch(
    of: &Collection,
    State(api): State<Api>,
    caller: Caller,
    id: PathId,
    query: Params,
    unread: Unread,
) -> Result<Response, Problem> {
    query.finish()?;
    let row = find(&api, &caller, "patch", of, &id).await?;
    let mut json = unread.json(&api.room, &caller).await?;
    let findings = not_to_be_changed(of, &json.value);
    if !findings.is_empty() {
        return Err(Problem::findings(&findings));
    }
    change(&api, &caller, of, &row, json.value.take()).await
}

/// Changes the status of an object to what the query says.
pub async fn set_status(
    of: &Collection,
    State(api): State<Api>,
    caller: Caller,
    id: PathId,
    mut query: Params,
) -> Result<Response, Problem> {
    let status = query.required("status", |query, name| query.choice(name, &Status::ALL, Status::as_str));
    query.finish()?;
    let row = find(&api, &caller, "patch", of, &id).await?;
    change(&api, &caller, of, &row, json!({"status": status})).await
}

/// 405: what was recorded is not changed, a new fact is a new object. It is not looked up, so that this tells nothing.
pub async fn refuse(of: &Collection, id: PathId) -> Response {
    let kind = of.kind;
    let message = format!("a {kind} never changes; POST a new one to {}", of.path());
    let problem = Problem::named(StatusCode::METHOD_NOT_ALLOWED, "IMMUTABILITY_VIOLATION", message)
        .with(|named| named.object_id = Some(id.text().to_owned()));
    ([(header::ALLOW, "GET,HEAD")], problem).into_response()
}

/// The fields of the body that this door does not change.
fn not_to_be_changed(of: &Collection, body: &Value) -> Vec<Finding> {
    let Changes::Only(fields) = of.changes else { return Vec::new() };
    let names = body.as_object().into_iter().flat_map(|body| body.keys());
    let others = names.filter(|name| !fields.contains(&name.as_str()));
    let message = format!("cannot be patched; of a {} can be: {}", of.kind, fields.join(", "));
    // Enough to be told of, and a body of nothing but names makes no longer answer.
    others.take(20).map(|name| finding(name, &message)).collect()
}

fn finding(name: &str, message: &str) -> Finding {
    Finding::new(Code::InvalidSpec, name.chars().take(64).collect::<String>(), message)
}

async fn change(
    api: &Api,
    caller: &Caller,
    of: &Collection,
    row: &ObjectRow,
    change: Value,
) -> Result<Response, Problem> {
    let patch =
        PatchObject { kind: of.kind, id: row.object.id, change, actor: caller.actor(), at: api.health.clock.now() };
    match api.store.patch_object(patch).await? {
        Patched::Patched(row) => {
            // Read back for what others tell of an Issue: its Runs, and the ContextPackets for it.
            let row = api.store.object(of.kind, row.object.id).await?.unwrap_or(*row);
            Ok(Json(change_response(of, &row)).into_response())
        }
        Patched::Unknown => Err(of.not_found()),
        Patched::Refused(findings) => Err(Problem::findings(&findings)),
        Patched::Unresolved(missing) => Err(unresolved(&missing)),
        Patched::OfCustomResource(origin) => Err(of_custom_resource(of.kind, row, &origin)),
        Patched::OfTask(task_id) => Err(of_task(of.kind, row.object.id, task_id)),
    }
}
