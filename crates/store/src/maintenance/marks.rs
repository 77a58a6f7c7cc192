//! The marks of second rows of one object, `duplicate_of` and `superseded_at`: migrations made them, for what earlier versions
//! had recorded twice. The audit log tells each, so that one that is taken away or made up later shows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use ulid::Generator;

use crate::Result;
use crate::audit::{Change, append, lock_head, read_entries, removals_of};
use crate::conn::{Conn, execute, fetch, fetch_raw};
use crate::cwom::table_name;
use jct_domain::audit::{Action, EntityKind};
use jct_domain::cwom::Kind;
use jct_domain::{Actor, TraceId};

/// The mark of a Task, and of a work object.
pub(super) const OF_TASKS: &str = "duplicate_of";
pub(super) const OF_OBJECTS: &str = "superseded_at";

/// A row that is marked.
struct Marked {
    id: String,
    trace_id: String,
    mark: Value,
}

/// The rows of `tasks` that are marked, and as what.
pub(super) async fn of_tasks(conn: &mut Conn<'_>) -> Result<BTreeMap<String, Value>> {
    let sql = "SELECT id, duplicate_of FROM tasks WHERE duplicate_of IS NOT NULL";
    Ok(fetch!((String, String), conn, sql)?.into_iter().map(|(id, mark)| (id, mark.into())).collect())
}

/// The work objects of a kind that are marked, and as what.
pub(super) async fn of_objects(conn: &mut Conn<'_>, kind: Kind) -> Result<BTreeMap<String, Value>> {
    let sql = format!("SELECT id, superseded_at FROM {} WHERE superseded_at IS NOT NULL", table_name(kind));
    let rows = fetch_raw(conn, sql, []).await?;
    rows.iter().map(|row| Ok((row.text(0)?.unwrap_or_default(), row.number(1)?.into()))).collect()
}

/// Has the audit log tell of every mark that the migrations can have made, once: it is on the later row of two that have had one
/// object. A mark of which this is not so stays untold, and [`Database::check`](super::Database::check) names it.
pub(super) async fn log_missing(conn: &mut Conn<'_>) -> Result<()> {
    if marked(conn).await?.is_empty() {
        return Ok(());
    }
    let begin = if matches!(conn, Conn::Sqlite(_)) { "BEGIN IMMEDIATE" } else { "BEGIN" };
    execute!(conn, begin)?;
    // Replicas that start together wait here for each other.
    lock_head(conn).await?;
    let mut entries = Vec::new();
    for (kind, rows) in marked(conn).await? {
        let mark = if kind == EntityKind::Task { OF_TASKS } else { OF_OBJECTS };
        let mut logged = BTreeSet::new();
        let ids = rows.iter().map(|row| row.id.clone()).collect();
        read_entries(conn, kind, ids, &mut |entry| {
            if entry.after.is_some_and(|after| after.get(mark).is_some()) {
                logged.insert(entry.entity_id);
            }
        })
        .await?;
        let missing = rows.into_iter().filter(|row| !logged.contains(&row.id));
        entries.extend(missing.filter_map(|row| entry(kind, mark, row)));
    }
    append(conn, entries, &mut Generator::new()).await?;
    execute!(conn, "COMMIT").map(drop)
}

fn entry(kind: EntityKind, mark: &'static str, row: Marked) -> Option<Change> {
    Some(Change {
        actor: Actor::controller(),
        action: Action::Updated,
        entity_kind: kind,
        entity_id: row.id,
        before: Some(json!({ mark: null })),
        after: Some(json!({ mark: row.mark })),
        note: Some("an earlier version recorded its object twice; this is the record that does not count".into()),
        trace_id: row.trace_id.parse::<TraceId>().ok()?,
    })
}

/// The marked rows of each kind whose object another row has, as the migrations saw it.
async fn marked(conn: &mut Conn<'_>) -> Result<Vec<(EntityKind, Vec<Marked>)>> {
    let mut all = Vec::new();
    let sql = "SELECT t.id, t.trace_id, t.duplicate_of, f.id, f.uid = t.uid AND f.duplicate_of IS NULL \
               AND (f.recorded_at, f.id) < (t.recorded_at, t.id) \
               FROM tasks t LEFT JOIN tasks f ON f.id = t.duplicate_of WHERE t.duplicate_of IS NOT NULL";
    let mut tasks = Vec::new();
    for (id, trace_id, first, there, fits) in fetch!((String, String, String, Option<String>, Option<bool>), conn, sql)?
    {
        // Retention may have removed the first.
        let is_removed = match (there, first.parse()) {
            (None, Ok(first)) => !removals_of(conn, [first]).await?.is_empty(),
            _ => false,
        };
        if fits == Some(true) || is_removed {
            tasks.push(Marked { id, trace_id, mark: first.into() });
        }
    }
    all.push((EntityKind::Task, tasks));
    for kind in Kind::ALL.iter().copied() {
        let table = table_name(kind);
        let sql = format!(
            "SELECT t.id, t.trace_id, t.superseded_at FROM {table} t WHERE t.superseded_at IS NOT NULL AND EXISTS \
             (SELECT 1 FROM {table} n WHERE n.uid = t.uid AND (n.recorded_at, n.id) > (t.recorded_at, t.id))"
        );
        let mut objects = Vec::new();
        for row in fetch_raw(conn, sql, []).await? {
            let text = |index| row.text(index).map(Option::unwrap_or_default);
            objects.push(Marked { id: text(0)?, trace_id: text(1)?, mark: row.number(2)?.into() });
        }
        all.push((kind.into(), objects));
    }
    all.retain(|(_, rows)| !rows.is_empty());
    Ok(all)
}
