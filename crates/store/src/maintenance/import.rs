//! An export into an empty database.
//!
//! In transactions of some thousand rows, each of which also notes how far the import is and a digest of all that it has
//! seen. So an import that broke off goes on where it was, with the same export from its beginning. Until it is finished
//! nothing else opens the database: half a record would run Tasks again that have run.

use std::io::BufRead;

use serde_json::json;
use ulid::Generator;

use super::format::{End, Line, Place, Reader, Signature, Tally, Trust, distrusted_because};
use super::replay::replay;
use super::rows::{from_json, insert};
use super::tables::{TABLES, Table};
use super::{Check, Database, TransferError, Transferred, has_table};
use crate::audit::{AuditCheck, Change, Head, append, head, verify_up_to};
use crate::conn::{Argument, Conn, execute, fetch, fetch_raw};
use crate::{Result, StoreError};
use jct_domain::audit::{Action, EntityKind};
use jct_domain::{Actor, TraceId};

/// The table that is there as long as an import is not finished.
pub(super) const PROGRESS: &str = "import_progress";

/// Rows of one transaction at most, and the size of their texts, in bytes.
const BATCH_ROWS: usize = 2000;
const BATCH_BYTES: usize = 8 << 20;

impl Database {
    /// Reads an export into the database: a new one, which is migrated first, or an empty one, or one that an import of the
    /// same export has begun to fill. Afterwards the rows are counted, and the audit log is held against the export's head.
    ///
    /// # Errors
    /// [`TransferError::Refused`] if the database holds anything else, or the export is unfinished or was changed.
    pub async fn import(&mut self, input: &mut dyn BufRead, trust: &Trust<'_>) -> Result<Transferred, TransferError> {
        if self.schema().await? == 0 {
            self.connected.migrate().await?;
        }
        let schema = self.current_schema().await?;
        let (mut reader, header) = Reader::new(input)?;
        if header.schema != schema {
            let message = format!(
                "the export is of version {} of the schema, this jct makes version {schema}: import it with the version of \
                 jct that exported it; this one then migrates the database",
                header.schema
            );
            return Err(TransferError::Refused(message));
        }
        let conn = &mut self.connected.borrow();
        let resumed_after = begin(conn, &mut reader).await?;
        let (end, signature) = copy(conn, &mut reader).await?;
        if let Some(problem) = distrusted_because(trust, &reader.header_sha256, &end, signature.as_ref()) {
            return Err(TransferError::Refused(problem));
        }
        verify(conn, &end).await?;
        let differences = follow_the_log(conn, trust.allow_differences.is_some()).await?;
        let entry = trust.allow_differences.zip(differences.as_ref());
        let entry = entry.map(|(by, differences)| taken_all_the_same(by, differences, &end, &reader.header_sha256));
        let head = finish(conn, &end, entry).await?;
        let differences = differences.map_or(0, |check| count_of(&check));
        Ok(Transferred { rows: end.rows, audit_head: head, resumed_after, differences })
    }
}

/// Lets go of the database: the audit log's head is that of the export, or the entry after it; the hash of that.
async fn finish(conn: &mut Conn<'_>, end: &End, entry: Option<Change>) -> Result<String, TransferError> {
    execute!(conn, "BEGIN")?;
    let Place { seq, hash } = end.audit_head.clone();
    execute!(conn, "UPDATE audit_head SET seq = $1, hash = $2 WHERE id = 1", seq, hash)?;
    append(conn, entry.into_iter().collect(), &mut Generator::new()).await?;
    let hash = head(conn).await?.map_or_else(String::new, |head| head.hash);
    execute!(conn, "DROP TABLE import_progress")?;
    execute!(conn, "COMMIT")?;
    Ok(hash)
}

/// What the audit log says of rows that do not follow from it and were taken all the same.
fn taken_all_the_same(by: &str, differences: &Check, end: &End, header_sha256: &str) -> Change {
    Change {
        actor: Actor::maintenance(),
        action: Action::Updated,
        entity_kind: EntityKind::Database,
        entity_id: end.rows_sha256.clone(),
        before: None,
        after: Some(json!({
            "asked_by": by,
            "differences": differences.problems,
            "differences_left_out": differences.problems_left_out,
            "export": {"header_sha256": header_sha256, "rows_sha256": end.rows_sha256},
        })),
        note: Some(
            "rows that do not follow from the audit log before this entry were imported with --allow-differences"
                .into(),
        ),
        trace_id: TraceId::derive(&end.rows_sha256),
    }
}

fn count_of(check: &Check) -> u64 {
    check.problems.len() as u64 + check.problems_left_out
}

/// Begins an import, or goes on with one: passes over what is there already. How many rows that is.
async fn begin(conn: &mut Conn<'_>, reader: &mut Reader<'_>) -> Result<u64, TransferError> {
    if !has_table(conn, PROGRESS).await? {
        refuse_unless_empty(conn).await?;
        execute!(conn, "BEGIN")?;
        let create = "CREATE TABLE import_progress (seen BIGINT NOT NULL, rows_sha256 TEXT NOT NULL)";
        execute!(conn, create)?;
        let none = Tally::default();
        execute!(conn, "INSERT INTO import_progress (seen, rows_sha256) VALUES ($1, $2)", 0_i64, none.sha256())?;
        execute!(conn, "COMMIT")?;
        return Ok(0);
    }
    let progress = fetch!((i64, String), conn, "SELECT seen, rows_sha256 FROM import_progress")?.pop();
    let (seen, sha256) = progress.ok_or_else(|| StoreError::corrupt(PROGRESS, "", "there is no row"))?;
    let seen = seen.unsigned_abs();
    while reader.tally.total() < seen {
        match reader.next()? {
            Some(Line::Row { .. }) => {}
            Some(Line::End(..)) | None => return Err(another_export()),
        }
    }
    if reader.tally.sha256() == sha256 { Ok(seen) } else { Err(another_export()) }
}

fn another_export() -> TransferError {
    let message = "the import into this database was begun with another export: go on with that one, or import this one \
                   into a new, empty database";
    TransferError::Refused(message.into())
}

async fn refuse_unless_empty(conn: &mut Conn<'_>) -> Result<(), TransferError> {
    let mut found = Vec::new();
    for table in TABLES.iter() {
        let count = count(conn, table).await?;
        if count > 0 {
            found.push(format!("{} {count}", table.name));
        }
    }
    let is_fresh = head(conn).await?.is_some_and(|head| head.seq == 0);
    if found.is_empty() && is_fresh {
        return Ok(());
    }
    let message = format!(
        "the database is not empty ({}): import into a new, empty one",
        if found.is_empty() { "its audit log has a head".into() } else { format!("rows: {}", found.join(", ")) }
    );
    Err(TransferError::Refused(message))
}

async fn count(conn: &mut Conn<'_>, table: &Table) -> Result<u64> {
    let rows = fetch_raw(conn, format!("SELECT COUNT(*) FROM {}", table.name), []).await?;
    let count = rows.first().map(|row| row.number(0)).transpose()?.flatten();
    Ok(count.unwrap_or_default().unsigned_abs())
}

/// Rows to be inserted, in the order of the export.
#[derive(Default)]
struct Batch {
    of_tables: Vec<(&'static Table, Vec<Vec<Argument>>)>,
    rows: usize,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, table: &'static Table, cells: Vec<Argument>) {
        let size = |cell: &Argument| if let Argument::Text(Some(text)) = cell { text.len() } else { 8 };
        self.rows += 1;
        self.bytes += cells.iter().map(size).sum::<usize>();
        match self.of_tables.last_mut() {
            Some((last, rows)) if last.name == table.name => rows.push(cells),
            _ => self.of_tables.push((table, vec![cells])),
        }
    }

    fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// Inserts all of it, and notes what has been seen by then, in one transaction.
    async fn insert(&mut self, conn: &mut Conn<'_>, seen: &Tally) -> Result<()> {
        execute!(conn, "BEGIN")?;
        for (table, rows) in std::mem::take(self).of_tables {
            insert(conn, table, rows).await?;
        }
        let total = i64::try_from(seen.total()).unwrap_or(i64::MAX);
        execute!(conn, "UPDATE import_progress SET seen = $1, rows_sha256 = $2", total, seen.sha256())?;
        execute!(conn, "COMMIT").map(drop)
    }
}

/// Copies what is left of the export; its last line.
async fn copy(conn: &mut Conn<'_>, reader: &mut Reader<'_>) -> Result<(End, Option<Signature>), TransferError> {
    let mut batch = Batch::default();
    loop {
        let line = reader.next()?;
        match &line {
            Some(Line::Row { .. }) => {}
            Some(Line::End(..)) | None => insert_batch(conn, &mut batch, reader).await?,
        }
        match line {
            Some(Line::Row { table, row }) => {
                batch.push(table, from_json(table, row).map_err(|error| reader.problem(&error))?);
                if batch.is_full() {
                    insert_batch(conn, &mut batch, reader).await?;
                }
            }
            Some(Line::End(end, signature)) if end == reader.tally.end(end.audit_head.clone()) => {
                return Ok((end, signature));
            }
            Some(Line::End(..)) => {
                let message = "the rows before it are not those that it counts: the export was changed or damaged";
                return Err(reader.problem(message));
            }
            None => {
                let message = "the export is unfinished: finish it by `jct db export --resume` and import it again; what is \
                               imported already stays";
                return Err(TransferError::Refused(message.into()));
            }
        }
    }
}

async fn insert_batch(conn: &mut Conn<'_>, batch: &mut Batch, reader: &Reader<'_>) -> Result<(), TransferError> {
    batch.insert(conn, &reader.tally).await.map_err(|error| match error {
        StoreError::Internal(text) => reader.problem(&format!("the rows up to here do not fit the database: {text}")),
        other => other.into(),
    })
}

/// That the database now holds what the export says.
async fn verify(conn: &mut Conn<'_>, end: &End) -> Result<(), TransferError> {
    for table in TABLES.iter() {
        let (found, expected) = (count(conn, table).await?, end.rows.get(table.name).copied().unwrap_or(0));
        if found != expected {
            let message = format!(
                "{} has {found} rows instead of {expected}: somebody else has written to the database; import into a new, \
                 empty one",
                table.name
            );
            return Err(TransferError::Refused(message));
        }
    }
    let entries = end.rows.get("audit_log").copied().unwrap_or(0);
    if entries != end.audit_head.seq.unsigned_abs() {
        let message = format!("the export has {entries} audit entries, but its head is entry {}", end.audit_head.seq);
        return Err(TransferError::Refused(message));
    }
    let head = Head { seq: end.audit_head.seq, hash: end.audit_head.hash.clone() };
    match verify_up_to(conn, head).await? {
        AuditCheck::Intact { .. } => Ok(()),
        AuditCheck::Broken { seq, problem, .. } => Err(TransferError::Refused(format!(
            "the audit log of the export does not hold, at entry {seq}: {problem}; `jct db check` of the database that it \
             comes from tells whether it was so before"
        ))),
    }
}

/// That every row follows from the log: one that was changed before it was exported does not. What differs, if that is allowed.
async fn follow_the_log(conn: &mut Conn<'_>, may_differ: bool) -> Result<Option<Check>, TransferError> {
    let mut check = Check::default();
    replay(conn, &mut check).await?;
    let Some(first) = check.problems.first() else { return Ok(None) };
    if may_differ {
        return Ok(Some(check));
    }
    let count = count_of(&check);
    Err(TransferError::Refused(format!(
        "the rows of the export do not follow from its audit log, in {count} places, first: {first}; `jct db check` of the \
         database that it comes from tells whether it was so before. --allow-differences --by YOUR-NAME takes them as they \
         are, and an entry of the audit log tells which they were and who asked; the same command then goes on with this \
         database"
    )))
}
