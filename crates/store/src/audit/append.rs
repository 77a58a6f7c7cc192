//! Writing entries at the end of the chain.

use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::{Map, Value};
use ulid::{Generator, Ulid};

use super::Change;
use super::chain::AuditColumns;
use crate::columns::insert_into;
use crate::conn::{Conn, Values, execute, fetch};
use crate::contents::{KEY, in_digests};
use crate::database_error::DATABASE;
use crate::json_codes::CodedJson;
use crate::rows::{is_nothing, plain, without_nul};
use crate::{Result, StoreError};
use jct_domain::audit::EntityKind;
use jct_domain::{Actor, ActorKind};

const INSERT: Values = insert_into!("audit_log", AuditColumns, "");

/// The last entry of the chain: its place and its hash.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Head {
    pub(crate) seq: i64,
    pub(crate) hash: String,
}

/// Appends `changes` as entries. `ids` makes ids that ascend within this process; the time is now, by our own clock.
pub(crate) async fn append(conn: &mut Conn<'_>, changes: Vec<Change>, ids: &mut Generator) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut head = lock_head(conn).await?;
    let mut rows = Vec::with_capacity(changes.len());
    for change in changes {
        let now = Timestamp::now();
        let entry = seal(change, &head, next_id(ids, now), now);
        head = Head { seq: entry.seq, hash: entry.hash.clone() };
        rows.push(entry.into_arguments());
    }
    INSERT.execute(conn, rows).await?;
    execute!(conn, "UPDATE audit_head SET seq = $1, hash = $2 WHERE id = 1", head.seq, head.hash)?;
    Ok(())
}

/// The chain's end, which nobody else can move before this transaction ends: SQLite has one writer anyway, on PostgreSQL
/// the row is locked.
pub(crate) async fn lock_head(conn: &mut Conn<'_>) -> Result<Head> {
    let sql = match conn {
        Conn::Sqlite(_) => "SELECT seq, hash FROM audit_head WHERE id = 1",
        Conn::Postgres(..) => "SELECT seq, hash FROM audit_head WHERE id = 1 FOR UPDATE",
    };
    let head = fetch!(Head, conn, sql)?.pop();
    head.ok_or_else(|| StoreError::corrupt(DATABASE, "audit_head", "the chain has no head"))
}

fn next_id(ids: &mut Generator, now: Timestamp) -> Ulid {
    match ids.generate_from_datetime(SystemTime::from(now)) {
        Ok(id) => id,
        Err(overflow) => overflow.commit_overflow_increment(),
    }
}

fn seal(change: Change, head: &Head, id: Ulid, now: Timestamp) -> AuditColumns {
    let Change { actor, action, entity_kind, entity_id, before, after, note, trace_id } = change;
    let Actor { kind, id: actor_id } = actor;
    let kind: ActorKind = kind;
    let text = |value: Option<Value>| {
        let digested = in_digests(entity_kind, value);
        let digested = digested
            .map(|digested| if tells_state(entity_kind) { without_nothing(entity_kind, digested) } else { digested });
        digested.map(|digested| CodedJson::new(digested.to_string()))
    };
    let mut entry = AuditColumns {
        seq: head.seq + 1,
        id: id.to_string(),
        ts: now.as_microsecond(),
        actor_kind: kind.as_str().into(),
        actor_id: without_nul(actor_id),
        action: action.as_str().into(),
        entity_kind: entity_kind.as_str().into(),
        entity_id: without_nul(entity_id),
        before: text(before),
        after: text(after),
        note: note.map(without_nul),
        trace_id: trace_id.into(),
        prev_hash: String::new(),
        hash: String::new(),
    };
    entry.hash = entry.hash_after(&head.hash);
    entry
}

/// Whether entries of this kind tell fields of a row, of which those that are not told are null or empty.
fn tells_state(kind: EntityKind) -> bool {
    !matches!(kind, EntityKind::Trace | EntityKind::AdmissionDenial | EntityKind::Database)
}

/// Without the fields of which nothing is known; in work objects within fields too, but for those that are free-form.
fn without_nothing(kind: EntityKind, digested: Value) -> Value {
    let is_of_object = !matches!(kind, EntityKind::Task | EntityKind::Job);
    match digested {
        Value::Object(fields) => {
            let within = |(name, value): (String, Value)| {
                let is_free = !is_of_object || name == "meta" || name == KEY;
                (name, if is_free { value } else { plain(value) })
            };
            fields.into_iter().map(within).filter(|(_, value)| !is_nothing(value)).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}
