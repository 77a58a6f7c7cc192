//! Reading Tasks from the record.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::find;
use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::error::Problem;
use crate::api::page;
use crate::api::query::{Params, PathId};
use crate::domain::task::{Operation, Repo};
use crate::domain::{ActorKind, Phase};
use crate::store::{Page, TaskFilter, TaskRow};

/// One Task
#[utoipa::path(get, path = "/tasks/{id}", tag = "tasks", operation_id = "get_task",
    params(("id" = String, Path, description = "Its ULID")),
    responses(
        (status = 200, description = "The Task", body = ref("#/components/schemas/Task")),
        (status = 404, description = "There is no such Task, or none that the caller may get", body = ref("#/components/schemas/Problem"))))]
pub async fn get(State(api): State<Api>, caller: Caller, id: PathId) -> Result<Json<Value>, Problem> {
    Ok(Json(find(&api, &caller, "get", &id).await?.to_json()))
}

/// Tasks, the newest first
///
/// Without `namespace`, those of all namespaces: for callers who may list Tasks in all of them.
#[utoipa::path(get, path = "/tasks", tag = "tasks", operation_id = "list_tasks",
    params(
        ("namespace" = Option<String>, Query, description = "In this namespace"),
        ("status" = Option<String>, Query, description = "pending, queued, running, completed, failed or cancelled"),
        ("operation" = Option<String>, Query, description = "code_change, docs, analysis or ops"),
        ("requester_kind" = Option<String>, Query, description = "human, agent or system"),
        ("target_repo" = Option<String>, Query, description = "owner/name"),
        ("trace_id" = Option<String>, Query, description = "Of this trace"),
        ("limit" = Option<u32>, Query, description = "1 to 1000; 100 by default", minimum = 1, maximum = 1000),
        ("offset" = Option<u32>, Query, description = "Pass over this many"),
        ("cursor" = Option<String>, Query, description = "From the Link header of the page before")),
    responses((status = 200, description = "A page; the header Link, rel=\"next\", has the next one",
               body = ref("#/components/schemas/Tasks"))))]
pub async fn list(State(api): State<Api>, caller: Caller, mut query: Params) -> Result<Response, Problem> {
    let filter = TaskFilter {
        namespace: query.namespace(),
        phase: query.choice("status", &Phase::ALL, Phase::as_str),
        operation: query.choice("operation", &Operation::ALL, Operation::as_str),
        requester_kind: query.choice("requester_kind", &ActorKind::ALL, ActorKind::as_str),
        target_repo: query.read("target_repo", |text| {
            Repo::parse(text).map(|repo| repo.as_str().to_owned()).map_err(|problem| problem.to_string())
        }),
        trace_id: query.parsed("trace_id"),
    };
    let page = query.page(&api.cursor_key, Page::default().limit);
    let asked = query.finish()?;
    api.access.require_list(&caller, "tasks", filter.namespace.as_deref(), "namespace").await?;
    let _turn = api.answers.turn().await?;
    let show = |row: &TaskRow| (row.id, row.to_json());
    let (text, last) = page::array(page, |page| api.store.tasks(&filter, page), show).await?;
    api.answers.json(&caller, asked.next(&api.cursor_key, last), text).await
}
