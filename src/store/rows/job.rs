//! `jobs`: one row for each attempt.

use super::{json_or_null, microseconds, named, number, number_or_null, parsed, time, time_or_null, to_json_or_null};
use crate::domain::Id;
use crate::store::conn::{Conn, execute, fetch};
use crate::store::{JobRow, JobStatus, Result};

const TABLE: &str = "jobs";

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, task_id, trace_id, attempt, job_name, status, worker_id, source_commit, created_at, ",
            "started_at, ended_at, exit_code, trace_path, manifest_sha256, trace_files, trace_complete, result, error ",
            "FROM jobs",
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
            id: parsed(TABLE, &id, &id)?,
        })
    }
}

/// The attempts of a Task, the first one first.
pub(in crate::store) async fn jobs_of(conn: &mut Conn<'_>, task_id: Id) -> Result<Vec<JobRow>> {
    let rows = fetch!(JobColumns, conn, select!(" WHERE task_id = $1 ORDER BY attempt"), task_id.to_string())?;
    rows.into_iter().map(JobColumns::into_row).collect()
}

/// One attempt of a Task.
pub(in crate::store) async fn job_of(conn: &mut Conn<'_>, task_id: Id, attempt: u32) -> Result<Option<JobRow>> {
    let sql = select!(" WHERE task_id = $1 AND attempt = $2");
    let rows = fetch!(JobColumns, conn, sql, task_id.to_string(), i64::from(attempt))?;
    rows.into_iter().next().map(JobColumns::into_row).transpose()
}

/// Inserts the row of an attempt that is queued; the other columns come with [`save_job`].
pub(in crate::store) async fn insert_job(conn: &mut Conn<'_>, row: &JobRow) -> Result<()> {
    execute!(
        conn,
        "INSERT INTO jobs (id, task_id, trace_id, attempt, job_name, status, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        row.id.to_string(),
        row.task_id.to_string(),
        row.trace_id.as_str(),
        i64::from(row.attempt),
        &row.job_name,
        row.status.as_str(),
        row.created_at.as_microsecond(),
    )?;
    Ok(())
}

/// Writes the columns that may change. The caller has the Task's row locked.
pub(in crate::store) async fn save_job(conn: &mut Conn<'_>, row: &JobRow) -> Result<()> {
    let JobRow {
        id,
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
    } = row;
    execute!(
        conn,
        "UPDATE jobs SET status = $2, worker_id = $3, source_commit = $4, started_at = $5, ended_at = $6, \
         exit_code = $7, trace_path = $8, manifest_sha256 = $9, trace_files = $10, trace_complete = $11, \
         result = $12, error = $13 WHERE id = $1",
        id.to_string(),
        status.as_str(),
        worker_id,
        commit,
        microseconds(*started_at),
        microseconds(*ended_at),
        exit_code.map(i64::from),
        trace_path,
        manifest_sha256,
        trace_files.map(i64::from),
        *trace_complete,
        to_json_or_null(result.as_ref())?,
        to_json_or_null(error.as_ref())?,
    )?;
    Ok(())
}
