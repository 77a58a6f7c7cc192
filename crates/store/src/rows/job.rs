//! `jobs`: one row for each attempt.

use super::{json_or_null, microseconds, named, number, number_or_null, parsed, time, time_or_null, to_json_or_null};
use crate::conn::{Argument, Conn, RawRow, Values, fetch};
use crate::{JobRow, JobStatus, Result};
use jct_domain::Id;

const TABLE: &str = "jobs";

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, task_id, trace_id, attempt, job_name, status, worker_id, source_commit, created_at, ",
            "started_at, ended_at, exit_code, trace_path, manifest_sha256, trace_files, trace_complete, result, error, ",
            "trace_removed_at, trace_removed_by, trace_purged_at, manifest_announced FROM jobs",
            $tail
        )
    };
}

#[derive(sqlx::FromRow)]
struct JobColumns {
    id: String,
    task_id: String,
    trace_id: String,
    attempt: i64,
    job_name: String,
    status: String,
    worker_id: Option<String>,
    source_commit: Option<String>,
    created_at: i64,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    exit_code: Option<i64>,
    trace_path: Option<String>,
    manifest_sha256: Option<String>,
    trace_files: Option<i64>,
    trace_complete: Option<bool>,
    result: Option<String>,
    error: Option<String>,
    trace_removed_at: Option<i64>,
    trace_removed_by: Option<String>,
    trace_purged_at: Option<i64>,
    manifest_announced: Option<bool>,
}

impl JobColumns {
    fn into_row(self) -> Result<JobRow> {
        let Self {
            id,
            task_id,
            trace_id,
            attempt,
            job_name,
            status,
            worker_id,
            source_commit,
            created_at,
            started_at,
            ended_at,
            exit_code,
            trace_path,
            manifest_sha256,
            trace_files,
            trace_complete,
            result,
            error,
            trace_removed_at,
            trace_removed_by,
            trace_purged_at,
            manifest_announced,
        } = self;
        Ok(JobRow {
            task_id: parsed(TABLE, &id, &task_id)?,
            trace_id: parsed(TABLE, &id, &trace_id)?,
            attempt: number(TABLE, &id, attempt)?,
            job_name,
            status: named(TABLE, &id, "status", &status, JobStatus::parse)?,
            worker_id,
            commit: source_commit,
            created_at: time(TABLE, &id, created_at)?,
            started_at: time_or_null(TABLE, &id, started_at)?,
            ended_at: time_or_null(TABLE, &id, ended_at)?,
            exit_code: number_or_null(TABLE, &id, exit_code)?,
            trace_path,
            manifest_sha256,
            trace_files: number_or_null(TABLE, &id, trace_files)?,
            trace_complete,
            result: json_or_null(TABLE, &id, result)?,
            error: json_or_null(TABLE, &id, error)?,
            trace_removed_at: time_or_null(TABLE, &id, trace_removed_at)?,
            trace_removed_by,
            trace_purged_at: time_or_null(TABLE, &id, trace_purged_at)?,
            manifest_announced,
            id: parsed(TABLE, &id, &id)?,
        })
    }
}

/// Whether `row`, of all columns, can be read.
pub(crate) fn job_parses(row: &RawRow) -> Result<()> {
    row.read::<JobColumns>()?.into_row().map(drop)
}

/// The attempts of a Task, the first one first.
pub(crate) async fn jobs_of(conn: &mut Conn<'_>, task_id: Id) -> Result<Vec<JobRow>> {
    let rows = fetch!(JobColumns, conn, select!(" WHERE task_id = $1 ORDER BY attempt"), task_id.to_string())?;
    rows.into_iter().map(JobColumns::into_row).collect()
}

/// Attempts of any Task, by id, after `after`.
pub(crate) async fn jobs_after(conn: &mut Conn<'_>, after: &str, limit: u32) -> Result<Vec<JobRow>> {
    let sql = select!(" WHERE id > $1 ORDER BY id LIMIT $2");
    let rows = fetch!(JobColumns, conn, sql, after, i64::from(limit))?;
    rows.into_iter().map(JobColumns::into_row).collect()
}

/// The attempts of these Tasks; a row that does not parse has its error in its place.
pub(crate) async fn load_jobs(
    conn: &mut Conn<'_>,
    task_ids: impl IntoIterator<Item = Id>,
) -> Result<Vec<((Id, u32), Result<JobRow>)>> {
    const BY_TASK: Values = Values { before: select!(" WHERE task_id IN (VALUES"), width: 1, after: ")" };
    let ids = task_ids.into_iter().map(|id| vec![id.to_string().into()]).collect();
    let rows: Vec<JobColumns> = BY_TASK.fetch(conn, ids).await?;
    rows.into_iter()
        .map(|columns| {
            let key = (parsed(TABLE, &columns.id, &columns.task_id)?, number(TABLE, &columns.id, columns.attempt)?);
            Ok((key, columns.into_row()))
        })
        .collect()
}

/// Inserts new rows.
pub(crate) async fn insert_jobs<'r>(conn: &mut Conn<'_>, rows: impl IntoIterator<Item = &'r JobRow>) -> Result<()> {
    const INSERT: Values = Values {
        before: "INSERT INTO jobs (id, task_id, trace_id, attempt, job_name, status, worker_id, source_commit, \
                 created_at, started_at, ended_at, exit_code, trace_path, manifest_sha256, trace_files, \
                 trace_complete, result, error, trace_removed_at, trace_removed_by, trace_purged_at, \
                 manifest_announced) VALUES",
        width: 22,
        after: "",
    };
    INSERT.execute(conn, rows.into_iter().map(all_columns).collect::<Result<_>>()?).await?;
    Ok(())
}

/// Writes what may change of rows that are there.
pub(crate) async fn update_jobs<'r>(conn: &mut Conn<'_>, rows: impl IntoIterator<Item = &'r JobRow>) -> Result<()> {
    const UPDATE: Values = Values {
        before: "UPDATE jobs SET status = v.column2, worker_id = v.column3, source_commit = v.column4, \
                 started_at = v.column5, ended_at = v.column6, exit_code = v.column7, trace_path = v.column8, \
                 manifest_sha256 = v.column9, trace_files = v.column10, trace_complete = v.column11, \
                 result = v.column12, error = v.column13, trace_removed_at = v.column14, \
                 trace_removed_by = v.column15, trace_purged_at = v.column16, \
                 manifest_announced = v.column17 FROM (VALUES",
        width: 17,
        after: ") AS v WHERE jobs.id = v.column1",
    };
    let rows = rows.into_iter().map(|row| {
        let mut columns = vec![row.id.to_string().into()];
        columns.extend(changing_columns(row)?);
        Ok(columns)
    });
    UPDATE.execute(conn, rows.collect::<Result<_>>()?).await?;
    Ok(())
}

/// In the order of the INSERT.
fn all_columns(row: &JobRow) -> Result<Vec<Argument>> {
    let changing = changing_columns(row)?;
    let mut columns: Vec<Argument> = vec![
        row.id.to_string().into(),
        row.task_id.to_string().into(),
        row.trace_id.as_str().into(),
        row.attempt.into(),
        (&row.job_name).into(),
    ];
    let mut changing = changing.into_iter();
    columns.extend(changing.by_ref().take(3));
    columns.push(row.created_at.as_microsecond().into());
    columns.extend(changing);
    Ok(columns)
}

/// In the order of the UPDATE.
fn changing_columns(row: &JobRow) -> Result<Vec<Argument>> {
    let JobRow {
        id: _,
        task_id: _,
        trace_id: _,
        attempt: _,
        job_name: _,
        status,
        worker_id,
        commit,
        created_at: _,
        started_at,
        ended_at,
        exit_code,
        trace_path,
        manifest_sha256,
        trace_files,
        trace_complete,
        result,
        error,
        trace_removed_at,
        trace_removed_by,
        trace_purged_at,
        manifest_announced,
    } = row;
    Ok(vec![
        status.as_str().into(),
        worker_id.into(),
        commit.into(),
        microseconds(*started_at).into(),
        microseconds(*ended_at).into(),
        (*exit_code).into(),
        trace_path.into(),
        manifest_sha256.into(),
        (*trace_files).into(),
        (*trace_complete).into(),
        to_json_or_null(result.as_ref())?.into(),
        to_json_or_null(error.as_ref())?.into(),
        microseconds(*trace_removed_at).into(),
        trace_removed_by.into(),
        microseconds(*trace_purged_at).into(),
        (*manifest_announced).into(),
    ])
}
