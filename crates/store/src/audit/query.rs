//! Reading entries.

use jiff::Timestamp;
use serde::Deserialize;

use super::chain::AuditColumns;
use crate::columns::sql;
use crate::conn::{Argument, Conn, RawRow, Select, Values};
use crate::json_codes::CodedJson;
use crate::rows::{json, named, parsed, time};
use crate::{AuditQuery, MAX_PAGE, Order, Page, Result, StoreError};
use jct_domain::audit::{Action, EntityKind, Entry};
use jct_domain::{Actor, ActorKind, Finding, Id};

const TABLE: &str = "audit_log";

/// Kinds of which every Task has entries: the newest are found from the end. Of the others there is an index.
const COMMON_KINDS: [EntityKind; 8] = [
    EntityKind::Task,
    EntityKind::Job,
    EntityKind::Trace,
    EntityKind::Issue,
    EntityKind::ContextPacket,
    EntityKind::ConstraintSnapshot,
    EntityKind::Run,
    EntityKind::Artifact,
];

const SELECT: &str = sql!("SELECT ", AuditColumns::NAMES, " FROM audit_log");

/// The entries that fit `query`, in the order of the chain or against it.
pub(crate) async fn list(conn: &mut Conn<'_>, query: &AuditQuery) -> Result<Vec<Entry>> {
    list_where(conn, query, None).await
}

/// The same, of those that fit `also` too: a condition, with an argument for each `?`.
pub(crate) async fn list_where(
    conn: &mut Conn<'_>,
    query: &AuditQuery,
    also: Option<(String, Vec<Argument>)>,
) -> Result<Vec<Entry>> {
    let select = select(query, also);
    let rows: Vec<AuditColumns> = select.fetch(conn).await?;
    rows.into_iter().map(entry).collect()
}

/// The page of `query`, of those that fit `also` too.
fn select(query: &AuditQuery, also: Option<(String, Vec<Argument>)>) -> Select {
    let Page { limit, offset, .. } = query.page;
    let mut select = selecting(SELECT, query);
    if let Some((condition, arguments)) = also {
        select.filter_all(&condition, arguments);
    }
    let by = match query.order {
        Order::NewestFirst => " ORDER BY seq DESC",
        Order::OldestFirst => " ORDER BY seq",
    };
    select.page(by, limit.clamp(1, MAX_PAGE), offset);
    select
}

/// How many entries fit `query`, beyond the one that its page begins after.
pub(crate) async fn count(conn: &mut Conn<'_>, query: &AuditQuery) -> Result<u64> {
    let counted: Vec<(i64,)> = selecting("SELECT COUNT(*) FROM audit_log", query).fetch(conn).await?;
    Ok(counted.first().map_or(0, |(count,)| count.unsigned_abs()))
}

/// Whether there is an entry with this id.
pub(crate) async fn has(conn: &mut Conn<'_>, id: Id) -> Result<bool> {
    let mut select = Select::new("SELECT seq FROM audit_log");
    select.filter("id = ?", id.to_string());
    let found: Vec<(i64,)> = select.fetch(conn).await?;
    Ok(!found.is_empty())
}

/// The entries that fit `query` and come after the one that its page begins after.
fn selecting(select: &'static str, query: &AuditQuery) -> Select {
    let AuditQuery { entity_kind, entity_id, trace_id, actor_kind, actor_id, action, since, until, order, page } =
        query;
    let mut select = Select::new(select);
    match entity_kind {
        // In these words the index is about it.
        Some(kind) if !COMMON_KINDS.contains(kind) => select.filter(
            "entity_kind NOT IN ('Task', 'Job', 'Trace', 'Issue', 'ContextPacket', 'ConstraintSnapshot', 'Run', 'Artifact') \
             AND entity_kind = ?",
            kind.as_str(),
        ),
        kind => select.filter_by("entity_kind = ?", kind.map(EntityKind::as_str)),
    }
    select.filter_by("entity_id = ?", entity_id.clone());
    select.filter_by("trace_id = ?", trace_id.as_ref().map(|id| id.as_str()));
    select.filter_by("actor_kind = ?", actor_kind.map(ActorKind::as_str));
    match actor_id {
        Some(actor_id) if *actor_id != Actor::controller().id => {
            select.filter("actor_id <> 'jct-controller' AND actor_id = ?", actor_id);
        }
        actor_id => select.filter_by("actor_id = ?", actor_id.clone()),
    }
    match action {
        Some(action) if !matches!(action, Action::Created | Action::StatusChanged) => {
            select.filter("action IN ('updated', 'deleted', 'linked', 'unlinked') AND action = ?", action.as_str());
        }
        action => select.filter_by("action = ?", action.map(Action::as_str)),
    }
    select.filter_by("ts >= ?", since.map(|since| since.as_microsecond()));
    select.filter_by("ts < ?", until.map(|until| until.as_microsecond()));
    let beyond = match order {
        Order::NewestFirst => "seq < (SELECT seq FROM audit_log WHERE id = ?)",
        Order::OldestFirst => "seq > (SELECT seq FROM audit_log WHERE id = ?)",
    };
    select.filter_by(beyond, page.after.map(|id| id.to_string()));
    select
}

/// The statement for `query`.
#[cfg(test)]
pub(crate) fn list_sql(query: &AuditQuery) -> String {
    select(query, None).sql().to_owned()
}

/// What was created under these ids. A cross join, for SQLite keeps its order: else it would rather read everything that
/// was ever created, and look for each in the list.
pub(crate) const CREATED: Values = Values {
    before: "SELECT entity_id, after FROM (VALUES",
    width: 1,
    after: ") AS v CROSS JOIN audit_log \
            WHERE entity_kind = 'Task' AND entity_id = v.column1 AND action = 'created'",
};

/// Which Tasks were refused, and for what: an entry says that they were created, with the findings.
pub(crate) async fn refusals_of(
    conn: &mut Conn<'_>,
    ids: impl IntoIterator<Item = Id>,
) -> Result<Vec<(Id, Vec<Finding>)>> {
    let ids = ids.into_iter().map(|id| vec![id.to_string().into()]).collect();
    let rows: Vec<(String, Option<CodedJson>)> = CREATED.fetch(conn, ids).await?;
    let mut refusals = Vec::new();
    for (id, after) in rows {
        let Some(after) = after else { continue };
        if let Created { findings: Some(findings) } = json(TABLE, &id, &after.text)? {
            refusals.push((parsed(TABLE, &id, &id)?, findings));
        }
    }
    Ok(refusals)
}

/// The removals of the records of these Tasks. The deletion of an object leaves nothing after it.
pub(crate) const REMOVED: Values = Values {
    before: "SELECT entity_id, after FROM (VALUES",
    width: 1,
    after: ") AS v CROSS JOIN audit_log \
            WHERE entity_kind = 'Task' AND entity_id = v.column1 AND action = 'deleted' AND after IS NOT NULL",
};

/// Of which Tasks retention has removed the record, and when.
pub(crate) async fn removals_of(
    conn: &mut Conn<'_>,
    ids: impl IntoIterator<Item = Id>,
) -> Result<Vec<(Id, Timestamp)>> {
    let ids = ids.into_iter().map(|id| vec![id.to_string().into()]).collect();
    let rows: Vec<(String, CodedJson)> = REMOVED.fetch(conn, ids).await?;
    let mut removals = Vec::new();
    for (id, after) in rows {
        if let Removed { record_removed_at: Some(at) } = json(TABLE, &id, &after.text)? {
            removals.push((parsed(TABLE, &id, &id)?, at));
        }
    }
    Ok(removals)
}

/// The denials of these requests. Joined, for the same reason.
pub(crate) const DENIED: Values = Values {
    before: "SELECT entity_id FROM audit_log JOIN (VALUES",
    width: 1,
    after: ") AS v ON entity_kind = 'AdmissionDenial' AND entity_id = v.column1",
};

/// Which of these requests are written down as denied.
pub(crate) async fn denials_among(
    conn: &mut Conn<'_>,
    requests: impl IntoIterator<Item = String>,
) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = DENIED.fetch(conn, requests.into_iter().map(|uid| vec![uid.into()]).collect()).await?;
    Ok(rows.into_iter().map(|(uid,)| uid).collect())
}

#[derive(Deserialize)]
struct Removed {
    record_removed_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Created {
    findings: Option<Vec<Finding>>,
}

/// Whether `row`, of all columns, can be read.
pub(crate) fn entry_parses(row: &RawRow) -> Result<()> {
    entry(row.read()?).map(drop)
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
        before: before.map(|coded| json(TABLE, &id, &coded.text)).transpose()?,
        after: after.map(|coded| json(TABLE, &id, &coded.text)).transpose()?,
        note,
        trace_id: parsed(TABLE, &id, &trace_id)?,
        id: id.parse().map_err(|error| StoreError::corrupt(TABLE, &id, error))?,
    })
}
