//! `artifacts`: one row for each file of a trace.

use super::{named, number, parsed, time};
use crate::columns::{columns, insert_into, sql};
use crate::conn::{Conn, RawRow, Values, fetch};
use crate::{ArtifactRow, Result};
use jct_domain::Id;
use jct_domain::id::sha256_hex;
use jct_domain::trace::FileKind;

const TABLE: &str = "artifacts";

columns! {
    pub(crate) struct ArtifactColumns {
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
}

impl ArtifactColumns {
    fn of(row: ArtifactRow) -> Self {
        let ArtifactRow { id, task_id, job_id, trace_id, kind, uri, content_type, size_bytes, checksum, created_at } =
            row;
        Self {
            id: id.to_string(),
            task_id: task_id.to_string(),
            job_id: job_id.to_string(),
            trace_id: trace_id.into(),
            kind: kind.as_str().into(),
            uri,
            content_type,
            size_bytes: i64::try_from(size_bytes).unwrap_or(i64::MAX),
            checksum,
            created_at: created_at.as_microsecond(),
        }
    }

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
    const OF_TASK: &str = sql!(
        "SELECT ",
        ArtifactColumns::NAMES,
        " FROM (SELECT a.*, j.attempt AS of_attempt FROM artifacts a JOIN jobs j ON j.id = a.job_id WHERE j.task_id = $1) \
         AS files ORDER BY of_attempt, uri"
    );
    let rows = fetch!(ArtifactColumns, conn, OF_TASK, task_id.to_string())?;
    rows.into_iter().map(ArtifactColumns::into_row).collect()
}

/// The files of the trace of one attempt.
pub(crate) async fn artifacts_of_job(conn: &mut Conn<'_>, job_id: Id) -> Result<Vec<ArtifactRow>> {
    const OF_JOB: &str = sql!("SELECT ", ArtifactColumns::NAMES, " FROM artifacts WHERE job_id = $1");
    let rows = fetch!(ArtifactColumns, conn, OF_JOB, job_id.to_string())?;
    rows.into_iter().map(ArtifactColumns::into_row).collect()
}

/// The file of an attempt with this uri.
pub(crate) async fn artifact_of_job(conn: &mut Conn<'_>, job_id: Id, uri: &str) -> Result<Option<ArtifactRow>> {
    const ONE: &str = sql!("SELECT ", ArtifactColumns::NAMES, " FROM artifacts WHERE job_id = $1 AND uri = $2");
    let rows = fetch!(ArtifactColumns, conn, ONE, job_id.to_string(), uri)?;
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
    const INSERT: Values = insert_into!("artifacts", ArtifactColumns, " ON CONFLICT DO NOTHING");
    let rows = rows.into_iter().map(|row| ArtifactColumns::of(row).into_arguments());
    INSERT.execute(conn, rows.collect()).await?;
    Ok(())
}
