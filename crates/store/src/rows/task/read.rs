//! Reading `tasks`.

use std::collections::{BTreeMap, BTreeSet};

use super::{TABLE, TaskColumns};
use crate::columns::sql;
use crate::conn::{Conn, RawRow, Select, Values, fetch};
use crate::contents::{Contents, digest_of_column};
use crate::rows::{named, parsed};
use crate::{MAX_PAGE, OpenTask, Page, Result, TaskFilter, TaskRow};
use jct_domain::task::Operation;
use jct_domain::{ActorKind, Id, Phase, TraceId};

macro_rules! select {
    ($tail:literal) => {
        sql!("SELECT ", TaskColumns::NAMES, " FROM tasks", $tail)
    };
}

/// Rows with what of them is stored elsewhere.
async fn filled(conn: &mut Conn<'_>, mut rows: Vec<TaskColumns>) -> Result<Vec<TaskColumns>> {
    let digests = rows
        .iter()
        .flat_map(|row| [&row.fixed.inputs, &row.fixed.metadata])
        .filter_map(|column| digest_of_column(column));
    let digests = digests.map(str::to_owned).collect();
    let contents = Contents::load(conn, digests).await?;
    rows.iter_mut().for_each(|row| row.fill(&contents));
    Ok(rows)
}

/// Whether `row`, of all columns, can be read.
pub(crate) fn task_parses(row: &RawRow) -> Result<()> {
    let mut columns: TaskColumns = row.read()?;
    columns.fill(&Contents::any());
    columns.into_row().map(drop)
}

fn only(rows: Vec<TaskColumns>) -> Result<Option<TaskRow>> {
    rows.into_iter().next().map(TaskColumns::into_row).transpose()
}

/// The row with this id.
pub(crate) async fn task_by_id(conn: &mut Conn<'_>, id: Id) -> Result<Option<TaskRow>> {
    let rows = fetch!(TaskColumns, conn, select!(" WHERE id = $1"), id.to_string())?;
    only(filled(conn, rows).await?)
}

/// The row of the object with this uid: the live one, or else the first of those whose object went.
pub(crate) async fn task_by_uid(conn: &mut Conn<'_>, uid: &str) -> Result<Option<TaskRow>> {
    // Two questions, for there is an index for each.
    const LIVE: &str = select!(" WHERE uid = $1 AND deleted_at IS NULL AND duplicate_of IS NULL");
    const GONE: &str =
        select!(" WHERE uid = $1 AND deleted_at IS NOT NULL AND duplicate_of IS NULL ORDER BY recorded_at, id LIMIT 1");
    let mut rows = fetch!(TaskColumns, conn, LIVE, uid)?;
    if rows.is_empty() {
        rows = fetch!(TaskColumns, conn, GONE, uid)?;
    }
    only(filled(conn, rows).await?)
}

/// The row of the namespace with this idempotency key.
pub(crate) async fn task_by_key(conn: &mut Conn<'_>, namespace: &str, key: &str) -> Result<Option<TaskRow>> {
    let rows = fetch!(TaskColumns, conn, select!(" WHERE namespace = $1 AND idempotency_key = $2"), namespace, key)?;
    only(filled(conn, rows).await?)
}

/// The rows with these ids, which nobody else can change before this transaction ends; one that does not parse has its
/// error in its place.
pub(crate) async fn load_tasks(
    conn: &mut Conn<'_>,
    ids: impl IntoIterator<Item = Id>,
) -> Result<Vec<(Id, Result<TaskRow>)>> {
    const PLAIN: Values = Values { before: select!(" WHERE id IN (VALUES"), width: 1, after: ")" };
    // In one order, so that replicas wait for each other instead of blocking each other.
    const LOCKED: Values = Values { after: ") ORDER BY id FOR UPDATE", ..PLAIN };
    let ids = ids.into_iter().map(|id| vec![id.to_string().into()]).collect();
    let statement = match conn {
        Conn::Sqlite(_) => PLAIN,
        Conn::Postgres(..) => LOCKED,
    };
    let rows: Vec<TaskColumns> = statement.fetch(conn, ids).await?;
    let rows = filled(conn, rows).await?;
    rows.into_iter()
        .map(|columns| Ok((parsed(TABLE, &columns.fixed.id, &columns.fixed.id)?, columns.into_row())))
        .collect()
}

/// The rows with these idempotency keys in their namespaces, likewise.
pub(crate) async fn load_tasks_by_key(
    conn: &mut Conn<'_>,
    keys: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<((String, String), Id, Result<TaskRow>)>> {
    const BY_KEY: Values = Values {
        before: select!(" JOIN (VALUES"),
        width: 2,
        after: ") AS v ON tasks.namespace = v.column1 AND tasks.idempotency_key = v.column2",
    };
    let keys = keys.into_iter().map(|(namespace, key)| vec![namespace.into(), key.into()]).collect();
    let rows: Vec<TaskColumns> = BY_KEY.fetch(conn, keys).await?;
    let rows = filled(conn, rows).await?;
    rows.into_iter()
        .map(|columns| {
            let key = (columns.fixed.namespace.clone(), columns.fixed.idempotency_key.clone().unwrap_or_default());
            Ok((key, parsed(TABLE, &columns.fixed.id, &columns.fixed.id)?, columns.into_row()))
        })
        .collect()
}

/// The live rows of the objects with these uids, likewise.
pub(crate) async fn load_tasks_by_uid(
    conn: &mut Conn<'_>,
    uids: impl IntoIterator<Item = String>,
) -> Result<Vec<(String, Id, Result<TaskRow>)>> {
    const BY_UID: Values = Values {
        before: select!(" JOIN (VALUES"),
        width: 1,
        after: ") AS v ON tasks.uid = v.column1 AND tasks.deleted_at IS NULL AND tasks.duplicate_of IS NULL",
    };
    let rows: Vec<TaskColumns> = BY_UID.fetch(conn, uids.into_iter().map(|uid| vec![uid.into()]).collect()).await?;
    let rows = filled(conn, rows).await?;
    rows.into_iter()
        .map(|columns| {
            Ok((columns.changing.uid.clone(), parsed(TABLE, &columns.fixed.id, &columns.fixed.id)?, columns.into_row()))
        })
        .collect()
}

/// The rows that fit `filter`, the newest first.
pub(crate) async fn tasks_of(conn: &mut Conn<'_>, filter: &TaskFilter, page: Page) -> Result<Vec<TaskRow>> {
    let TaskFilter { namespace, phase, operation, requester_kind, target_repo, trace_id } = filter;
    let Page { limit, offset, after } = page;
    let mut select = Select::new(select!(""));
    select.filter_by("namespace = ?", namespace.clone());
    select.filter_by("status = ?", phase.map(Phase::as_str));
    select.filter_by("operation = ?", operation.map(Operation::as_str));
    select.filter_by("requested_by_kind = ?", requester_kind.map(ActorKind::as_str));
    select.filter_by("target_repo = ?", target_repo.clone());
    select.filter_by("trace_id = ?", trace_id.as_ref().map(|id| id.as_str()));
    select.filter_by("id < ?", after.map(|id| id.to_string()));
    select.page(" ORDER BY id DESC", limit.clamp(1, MAX_PAGE), offset);
    let rows = select.fetch::<TaskColumns>(conn).await?;
    filled(conn, rows).await?.into_iter().map(TaskColumns::into_row).collect()
}

/// The rows of a trace in these namespaces, or in all, by id after `after`: the first were there first, however many come
/// after them.
pub(crate) async fn tasks_of_trace(
    conn: &mut Conn<'_>,
    trace_id: &TraceId,
    namespaces: Option<Vec<String>>,
    after: Option<Id>,
    limit: u32,
) -> Result<Vec<TaskRow>> {
    let mut select = Select::new(select!(""));
    select.filter("trace_id = ?", trace_id.as_str());
    if let Some(namespaces) = namespaces {
        let places = vec!["?"; namespaces.len()].join(", ");
        select.filter_all(&format!("namespace IN ({places})"), namespaces.into_iter().map(Into::into).collect());
    }
    select.filter_by("id > ?", after.map(|id| id.to_string()));
    select.page(" ORDER BY id", limit.clamp(1, MAX_PAGE), 0);
    let rows = select.fetch::<TaskColumns>(conn).await?;
    filled(conn, rows).await?.into_iter().map(TaskColumns::into_row).collect()
}

/// How many rows of each namespace have not ended and are not deleted. Second rows of an object don't count, nor those of these
/// `lost` objects.
pub(crate) async fn open_by_namespace(conn: &mut Conn<'_>, lost: &BTreeSet<String>) -> Result<BTreeMap<String, u64>> {
    const LOST: Values = Values {
        before: "SELECT namespace FROM (VALUES",
        width: 1,
        after: ") AS v JOIN tasks ON tasks.uid = v.column1 \
                WHERE deleted_at IS NULL AND duplicate_of IS NULL AND status IN ('pending', 'queued', 'running')",
    };
    let sql = "SELECT namespace, COUNT(*) FROM tasks WHERE deleted_at IS NULL AND duplicate_of IS NULL \
               AND status IN ('pending', 'queued', 'running') GROUP BY namespace";
    let rows = fetch!((String, i64), conn, sql)?;
    let mut open: BTreeMap<String, u64> =
        rows.into_iter().map(|(namespace, count)| (namespace, count.unsigned_abs())).collect();
    let lost: Vec<(String,)> = LOST.fetch(conn, lost.iter().map(|uid| vec![uid.into()]).collect()).await?;
    for (namespace,) in lost {
        open.entry(namespace).and_modify(|count| *count = count.saturating_sub(1));
    }
    Ok(open)
}

/// The rows that have not ended and are not deleted.
pub(crate) async fn open_tasks(conn: &mut Conn<'_>, after: Option<Id>) -> Result<Vec<OpenTask>> {
    let sql = "SELECT id, namespace, name, uid, status, duplicate_of FROM tasks \
               WHERE deleted_at IS NULL AND status IN ('pending', 'queued', 'running') AND id > $1 \
               ORDER BY id LIMIT $2";
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let rows = fetch!((String, String, String, String, String, Option<String>), conn, sql, after, i64::from(MAX_PAGE))?;
    rows.into_iter()
        .map(|(id, namespace, name, uid, status, duplicate_of)| {
            let phase = named(TABLE, &id, "status", &status, Phase::parse)?;
            let is_second = duplicate_of.is_some();
            Ok(OpenTask { id: parsed(TABLE, &id, &id)?, namespace, name, uid, phase, is_second })
        })
        .collect()
}

/// How many Tasks of each namespace have not ended, by phase.
pub(crate) async fn open_by_phase(conn: &mut Conn<'_>) -> Result<Vec<(String, Phase, u64)>> {
    let sql = "SELECT namespace, status, COUNT(*) FROM tasks WHERE deleted_at IS NULL AND duplicate_of IS NULL \
               AND status IN ('pending', 'queued', 'running') GROUP BY namespace, status ORDER BY namespace, status";
    let rows = fetch!((String, String, i64), conn, sql)?;
    let counted = rows.into_iter().map(|(namespace, status, count)| {
        let phase = named(TABLE, "", "status", &status, Phase::parse)?;
        Ok((namespace, phase, count.unsigned_abs()))
    });
    counted.collect()
}

/// How many rows there are in each phase.
pub(crate) async fn tasks_by_phase(conn: &mut Conn<'_>) -> Result<BTreeMap<&'static str, u64>> {
    let rows = fetch!((String, i64), conn, "SELECT status, COUNT(*) FROM tasks GROUP BY status")?;
    let mut counts: BTreeMap<_, _> = Phase::ALL.into_iter().map(|phase| (phase.as_str(), 0)).collect();
    for (status, count) in rows {
        let phase = named(TABLE, "", "status", &status, Phase::parse)?;
        counts.insert(phase.as_str(), count.unsigned_abs());
    }
    Ok(counts)
}
