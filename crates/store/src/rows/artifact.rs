//! `artifacts`: one row for each file of a trace.

use super::{named, number, parsed, time};
use crate::conn::{Argument, Conn, RawRow, Values, fetch};
use crate::{ArtifactRow, Result};
use jct_domain::Id;
use jct_domain::id::sha256_hex;
use jct_domain::trace::FileKind;

const TABLE: &str = "artifacts";

const INSERT: Values = Values {
    before: "INSERT INTO artifacts (id, task_id, job_id, trace_id, kind, uri, content_type, size_bytes, checksum, \
           created_at) VALUES",
    width: 10,
    after: " ON CONFLICT DO NOTHING",
};

#[derive(sqlx::FromRow)]
struct ArtifactColumns {
    id: String,
    task_id: String,
    job_id: String,
    trace_id: String,
    kind: String,
    uri: String,
    content_type: String,
    size_bytes: i64,
    checksum: String,
    created_at: i64,
}

impl ArtifactColumns {
    fn into_row(self) -> Result<ArtifactRow> {
        let Self { id, task_id, job_id, trace_id, kind, uri, content_type, size_bytes, checksum, created_at } = self;
        Ok(ArtifactRow {
            task_id: parsed(TABLE, &id, &task_id)?,
            job_id: parsed(TABLE, &id, &job_id)?,
            trace_id: parsed(TABLE, &id, &trace_id)?,
            kind: named(TABLE, &id, "kind", &kind, FileKind::parse)?,
            uri,
            content_type,
            size_bytes: number(TABLE, &id, size_bytes)?,
            checksum,
            created_at: time(TABLE, &id, created_at)?,
            id: parsed(TABLE, &id, &id)?,
        })
    }
}

/// Whether `row`, of all columns, can be read.
pub(crate) fn artifact_parses(row: &RawRow) -> Result<()> {
    row.read::<ArtifactColumns>()?.into_row().map(drop)
}

/// The files of a Task's traces, by attempt and uri.
pub(crate) async fn artifacts_of(conn: &mut Conn<'_>, task_id: Id) -> Result<Vec<ArtifactRow>> {
    let sql = "SELECT a.id, a.task_id, a.job_id, a.trace_id, a.kind, a.uri, a.content_type, a.size_bytes, a.checksum, \
               a.created_at FROM artifacts a JOIN jobs j ON j.id = a.job_id \
               WHERE j.task_id = $1 ORDER BY j.attempt, a.uri";
    let rows = fetch!(ArtifactColumns, conn, sql, task_id.to_string())?;
    rows.into_iter().map(ArtifactColumns::into_row).collect()
}

/// The files of the trace of one attempt.
pub(crate) async fn artifacts_of_job(conn: &mut Conn<'_>, job_id: Id) -> Result<Vec<ArtifactRow>> {
    let sql = "SELECT id, task_id, job_id, trace_id, kind, uri, content_type, size_bytes, checksum, created_at \
               FROM artifacts WHERE job_id = $1";
    let rows = fetch!(ArtifactColumns, conn, sql, job_id.to_string())?;
    rows.into_iter().map(ArtifactColumns::into_row).collect()
}

/// The file of an attempt with this uri.
pub(crate) async fn artifact_of_job(conn: &mut Conn<'_>, job_id: Id, uri: &str) -> Result<Option<ArtifactRow>> {
    let sql = "SELECT id, task_id, job_id, trace_id, kind, uri, content_type, size_bytes, checksum, created_at \
               FROM artifacts WHERE job_id = $1 AND uri = $2";
    let rows = fetch!(ArtifactColumns, conn, sql, job_id.to_string(), uri)?;
    rows.into_iter().next().map(ArtifactColumns::into_row).transpose()
}

/// The digest of the files of a trace: of a line of JSON for each, in the order of their uris.
pub(crate) fn files_digest(files: &[ArtifactRow]) -> String {
    let mut files: Vec<&ArtifactRow> = files.iter().collect();
    files.sort_by(|a, b| a.uri.cmp(&b.uri));
    let line = |row: &ArtifactRow| {
        let ArtifactRow { id, task_id, job_id, trace_id, kind, uri, content_type, size_bytes, checksum, created_at } =
            row;
        let values = serde_json::json!([
            id,
            task_id,
            job_id,
            trace_id,
            kind,
            uri,
            content_type,
            size_bytes,
            checksum,
            created_at
        ]);
        format!("{values}\n")
    };
    sha256_hex(files.into_iter().map(line).collect::<String>().as_bytes())
}

/// Inserts the rows; one whose id or uri is there already stays as it is.
pub(crate) async fn insert_artifacts(conn: &mut Conn<'_>, rows: Vec<ArtifactRow>) -> Result<()> {
    INSERT.execute(conn, rows.into_iter().map(into_arguments).collect()).await?;
    Ok(())
}

fn into_arguments(row: ArtifactRow) -> Vec<Argument> {
    let ArtifactRow { id, task_id, job_id, trace_id, kind, uri, content_type, size_bytes, checksum, created_at } = row;
    vec![
        id.to_string().into(),
        task_id.to_string().into(),
        job_id.to_string().into(),
        trace_id.as_str().into(),
        kind.as_str().into(),
        uri.into(),
        content_type.into(),
        i64::try_from(size_bytes).unwrap_or(i64::MAX).into(),
        checksum.into(),
        created_at.as_microsecond().into(),
    ]
}
