//! Reading entries.

use serde_json::Value;

use super::chain::AuditColumns;
use crate::domain::audit::{Action, EntityKind, Entry};
use crate::domain::{Actor, ActorKind, Id};
use crate::store::conn::{Conn, Select, fetch};
use crate::store::rows::{json, named, parsed, time};
use crate::store::{AuditQuery, MAX_PAGE, Order, Page, Result, StoreError};

const TABLE: &str = "audit_log";

const SELECT: &str = "SELECT seq, id, ts, actor_kind, actor_id, action, entity_kind, entity_id, before, after, note, \
                      trace_id, prev_hash, hash FROM audit_log";

/// The entries that fit `query`, in the order of the chain or against it.
pub(in crate::store) async fn list(conn: &mut Conn<'_>, query: &AuditQuery) -> Result<Vec<Entry>> {
    let AuditQuery { entity_kind, entity_id, trace_id, actor_kind, actor_id, action, since, until, order, page } =
        query;
    let Page { limit, offset, after } = *page;
    let mut select = Select::new(SELECT);
    select.filter_by("entity_kind = ?", entity_kind.map(EntityKind::as_str));
    select.filter_by("entity_id = ?", entity_id.clone());
    select.filter_by("trace_id = ?", trace_id.as_ref().map(|id| id.as_str()));
    select.filter_by("actor_kind = ?", actor_kind.map(ActorKind::as_str));
    select.filter_by("actor_id = ?", actor_id.clone());
    select.filter_by("action = ?", action.map(Action::as_str));
    select.filter_by("ts >= ?", since.map(|since| since.as_microsecond()));
    select.filter_by("ts < ?", until.map(|until| until.as_microsecond()));
    let (beyond, by) = match order {
        Order::NewestFirst => ("seq < (SELECT seq FROM audit_log WHERE id = ?)", " ORDER BY seq DESC"),
        Order::OldestFirst => ("seq > (SELECT seq FROM audit_log WHERE id = ?)", " ORDER BY seq"),
    };
    select.filter_by(beyond, after.map(|id| id.to_string()));
    select.page(by, limit.clamp(1, MAX_PAGE), offset);
    let rows: Vec<AuditColumns> = select.fetch(conn).await?;
    rows.into_iter().map(entry).collect()
}

/// The `after` of the entries that say that the Task was created.
pub(in crate::store) async fn created_states(conn: &mut Conn<'_>, task_id: Id) -> Result<Vec<Value>> {
    let sql = "SELECT after FROM audit_log WHERE entity_kind = 'Task' AND entity_id = $1 AND action = 'created'";
    let rows = fetch!((Option<String>,), conn, sql, task_id.to_string())?;
    rows.into_iter().filter_map(|(after,)| after).map(|after| json(TABLE, &task_id, after)).collect()
}

fn entry(columns: AuditColumns) -> Result<Entry> {
    let AuditColumns {
        seq: _,
        id,
        ts,
        actor_kind,
        actor_id,
        action,
        entity_kind,
        entity_id,
        before,
        after,
        note,
        trace_id,
        prev_hash: _,
        hash: _,
    } = columns;
    let kind = named(TABLE, &id, "actor_kind", &actor_kind, ActorKind::parse)?;
    Ok(Entry {
        ts: time(TABLE, &id, ts)?,
        actor: Actor { kind, id: actor_id },
        action: named(TABLE, &id, "action", &action, Action::parse)?,
        entity_kind: named(TABLE, &id, "entity_kind", &entity_kind, EntityKind::parse)?,
        entity_id,
        before: before.map(|text| json(TABLE, &id, text)).transpose()?,
        after: after.map(|text| json(TABLE, &id, text)).transpose()?,
        note,
        trace_id: parsed(TABLE, &id, &trace_id)?,
        id: id.parse().map_err(|error| StoreError::corrupt(TABLE, &id, error))?,
    })
}
