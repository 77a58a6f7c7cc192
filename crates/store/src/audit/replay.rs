//! Reading entries to hold rows against them.

use serde_json::Value;

use super::chain::AuditColumns;
use super::query::{refusals_of, removals_of};
use crate::Result;
use crate::columns::sql;
use crate::conn::{Argument, Conn, Values, fetch, fetch_raw};
use crate::json_codes::CodedJson;
use crate::rows::{json, named};
use jct_domain::Id;
use jct_domain::audit::{Action, EntityKind};

/// Entries that are in memory at a time.
const PAGE: usize = 64;

/// Places of the log that are looked through at a time.
const WINDOW: i64 = 2000;

/// What an entry says of an entity.
pub(crate) struct LoggedChange {
    pub(crate) entity_id: String,
    pub(crate) action: Action,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

const PLACES: Values = Values {
    before: "SELECT seq FROM (VALUES",
    width: 2,
    after: ") AS v CROSS JOIN audit_log WHERE entity_kind = v.column1 AND entity_id = v.column2",
};

const ENTRIES: Values = Values {
    before: sql!("SELECT ", AuditColumns::NAMES, " FROM audit_log WHERE seq IN (VALUES"),
    width: 1,
    after: ")",
};

/// Hands every entry about these entities to `each`, in the order of the log.
pub(crate) async fn read_entries(
    conn: &mut Conn<'_>,
    kind: EntityKind,
    ids: Vec<String>,
    each: &mut (dyn FnMut(LoggedChange) + Send),
) -> Result<()> {
    let ids = ids.into_iter().map(|id| vec![kind.as_str().into(), id.into()]).collect();
    let mut places: Vec<(i64,)> = PLACES.fetch(conn, ids).await?;
    places.sort_unstable();
    for page in places.chunks(PAGE) {
        let page = page.iter().map(|(seq,)| vec![Argument::from(*seq)]).collect();
        let mut entries: Vec<AuditColumns> = ENTRIES.fetch(conn, page).await?;
        entries.sort_unstable_by_key(|entry| entry.seq);
        for entry in entries {
            let AuditColumns { id, action, entity_id, before, after, .. } = entry;
            each(LoggedChange {
                action: named("audit_log", &id, "action", &action, Action::parse)?,
                before: before.map(|coded| json("audit_log", &id, &coded.text)).transpose()?,
                after: after.map(|coded| json("audit_log", &id, &coded.text)).transpose()?,
                entity_id,
            });
        }
    }
    Ok(())
}

/// Hands to `each` the place of every entry that created an entity of one of these kinds which has no row in its table, though it
/// was neither refused nor removed. The log is read once, a part at a time.
pub(crate) async fn orphans(
    conn: &mut Conn<'_>,
    tables: &[(EntityKind, &'static str)],
    each: &mut (dyn FnMut(&'static str, i64, String) + Send),
) -> Result<()> {
    let last = fetch!((Option<i64>,), conn, "SELECT MAX(seq) FROM audit_log")?.pop();
    let last = last.and_then(|(last,)| last).unwrap_or_default();
    let mut from = 0;
    while from < last {
        for (kind, table) in tables {
            let sql = format!(
                "SELECT a.seq, a.entity_id FROM audit_log a WHERE a.seq > $1 AND a.seq <= $2 AND a.entity_kind = $3 \
                 AND a.action = 'created' AND NOT EXISTS (SELECT 1 FROM {table} r WHERE r.id = a.entity_id) ORDER BY a.seq"
            );
            let to = from.saturating_add(WINDOW);
            for row in fetch_raw(conn, sql, [from.into(), to.into(), kind.as_str().into()]).await? {
                let (seq, id) = (row.number(0)?.unwrap_or_default(), row.text(1)?.unwrap_or_default());
                if !is_accounted_for(conn, *kind, seq, &id).await? {
                    each(table, seq, id);
                }
            }
        }
        from = from.saturating_add(WINDOW);
    }
    Ok(())
}

async fn is_accounted_for(conn: &mut Conn<'_>, kind: EntityKind, seq: i64, id: &str) -> Result<bool> {
    let task = match kind {
        EntityKind::Task => id.parse().ok(),
        EntityKind::Job => task_of_job(conn, seq).await?,
        _ => {
            let sql = "SELECT seq FROM audit_log WHERE entity_kind = $1 AND entity_id = $2 AND action = 'deleted' \
                       AND after IS NOT NULL AND seq > $3 LIMIT 1";
            return Ok(!fetch!((i64,), conn, sql, kind.as_str(), id, seq)?.is_empty());
        }
    };
    let Some(task) = task else { return Ok(false) };
    let is_removed = !removals_of(conn, [task]).await?.is_empty();
    Ok(is_removed || kind == EntityKind::Task && !refusals_of(conn, [task]).await?.is_empty())
}

/// The Task of the attempt that this entry created.
async fn task_of_job(conn: &mut Conn<'_>, seq: i64) -> Result<Option<Id>> {
    let after = fetch!((Option<CodedJson>,), conn, "SELECT after FROM audit_log WHERE seq = $1", seq)?.pop();
    let after = after.and_then(|(after,)| after).and_then(|after| serde_json::from_str::<Value>(&after.text).ok());
    Ok(after.and_then(|after| after.get("task_id")?.as_str()?.parse().ok()))
}
