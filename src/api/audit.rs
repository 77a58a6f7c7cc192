//! The audit log, for those who may read all of it.

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde_json::Value;

use super::Api;
use super::auth::{Caller, Right};
use super::error::Problem;
use super::openapi::bodies;
use super::page;
use super::query::Params;
use crate::domain::audit::{Action, EntityKind, Entry};
use crate::domain::{ActorKind, Id, TraceId};
use crate::store::{AuditQuery, Order, Page};

/// The right to read the whole log. The resource stands for it where rights are granted; there are no objects of it.
pub fn right() -> Right {
    Right::resource("list", "auditentries", None)
}

/// An [`Entry`], as it is serialized.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct AuditEntry {
    #[schemars(schema_with = "bodies::id")]
    id: Id,
    #[schemars(schema_with = "bodies::time")]
    ts: Timestamp,
    #[schemars(schema_with = "bodies::actor_kind")]
    actor_kind: ActorKind,
    actor_id: String,
    #[schemars(schema_with = "bodies::action")]
    action: Action,
    #[schemars(schema_with = "bodies::entity_kind")]
    entity_kind: EntityKind,
    entity_id: String,
    #[schemars(schema_with = "bodies::any")]
    before: Option<Value>,
    #[schemars(schema_with = "bodies::any")]
    after: Option<Value>,
    note: Option<String>,
    #[schemars(schema_with = "bodies::trace_id")]
    trace_id: TraceId,
}

/// The audit log, the newest entry first
///
/// Needs the right to `list` `auditentries.jct.dev` in all namespaces: entries of different namespaces form one chain.
#[utoipa::path(get, path = "/audit", tag = "record", operation_id = "list_audit",
    params(
        ("entity_kind" = Option<String>, Query, description = "About this kind of entity, such as Task"),
        ("entity_id" = Option<String>, Query, description = "About this entity"),
        ("trace_id" = Option<String>, Query, description = "Of this trace"),
        ("actor_kind" = Option<String>, Query, description = "By this kind of actor: human, agent or system"),
        ("actor_id" = Option<String>, Query, description = "By this actor"),
        ("action" = Option<String>, Query, description = "created, updated, status_changed, deleted, linked or unlinked"),
        ("since" = Option<String>, Query, description = "Not before this time, such as 2026-03-01T12:00:00Z"),
        ("until" = Option<String>, Query, description = "Before this time"),
        ("limit" = Option<u32>, Query, description = "1 to 1000; 100 by default", minimum = 1, maximum = 1000),
        ("offset" = Option<u32>, Query, description = "Pass over this many"),
        ("cursor" = Option<String>, Query, description = "From the Link header of the page before")),
    responses((status = 200, description = "A page; the header Link, rel=\"next\", has the next one",
               body = ref("#/components/schemas/AuditEntries"))))]
pub async fn list(State(api): State<Api>, caller: Caller, mut query: Params) -> Result<Response, Problem> {
    let page = query.page(&api.cursor_key, Page::default().limit);
    let wanted = AuditQuery {
        entity_kind: query.choice("entity_kind", &EntityKind::ALL, EntityKind::as_str),
        entity_id: query.text("entity_id"),
        trace_id: query.parsed("trace_id"),
        actor_kind: query.choice("actor_kind", &ActorKind::ALL, ActorKind::as_str),
        actor_id: query.text("actor_id"),
        action: query.choice("action", &Action::ALL, Action::as_str),
        since: query.parsed::<Timestamp>("since"),
        until: query.parsed::<Timestamp>("until"),
        order: Order::NewestFirst,
        page,
    };
    let asked = query.finish()?;
    api.access.require(&caller, &right()).await?;
    let _turn = api.answers.turn().await?;
    let fetch = |page| {
        let (api, wanted) = (&api, AuditQuery { page, ..wanted.clone() });
        async move { api.store.audit(&wanted).await }
    };
    let (text, last) = page::array(page, fetch, |entry: &Entry| (entry.id, entry.clone())).await?;
    api.answers.json(&caller, asked.next(&api.cursor_key, last), text).await
}
