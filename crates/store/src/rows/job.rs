//! `jobs`: one row for each attempt.

use super::{json_or_null, microseconds, named, number, number_or_null, parsed, time, time_or_null, to_json_or_null};
use crate::columns::{columns, insert_into, sql, update_by_id};
use crate::conn::{Conn, RawRow, Values, fetch};
use crate::{JobRow, JobStatus, Result};
use jct_domain::Id;

const TABLE: &str = "jobs";

columns! {
    pub(crate) struct JobColumns {
        fixed: FixedJobColumns {
            id: String,
            task_id: String,
            trace_id: String,
            attempt: i64,
            job_name: String,
            created_at: i64,
        },
        changing: ChangingJobColumns {
            status: String,
            worker_id: Option<String>,
            source_commit: Option<String>,
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
        },
    }
}

macro_rules! select {
    ($tail:literal) => {
        sql!("SELECT ", JobColumns::NAMES, " FROM jobs", $tail)
    };
}

impl JobColumns {
    fn of(row: &JobRow) -> Result<Self> {
        let fixed = FixedJobColumns {
            id: row.id.to_string(),
            task_id: row.task_id.to_string(),
            trace_id: row.trace_id.as_str().into(),
            attempt: row.attempt.into(),
            job_name: row.job_name.clone(),
            created_at: row.created_at.as_microsecond(),
        };
        Ok(Self { fixed, changing: ChangingJobColumns::of(row)? })
    }

    fn into_row(self) -> Result<JobRow> {
        let FixedJobColumns { id, task_id, trace_id, attempt, job_name, created_at } = self.fixed;
        let ChangingJobColumns {
            status,
            worker_id,
            source_commit,
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
        } = self.changing;
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

impl ChangingJobColumns {
    fn of(row: &JobRow) -> Result<Self> {
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
        Ok(Self {
            status: status.as_str().into(),
            worker_id: worker_id.clone(),
            source_commit: commit.clone(),
            started_at: microseconds(*started_at),
            ended_at: microseconds(*ended_at),
            exit_code: exit_code.map(i64::from),
            trace_path: trace_path.clone(),
            manifest_sha256: manifest_sha256.clone(),
            trace_files: trace_files.map(i64::from),
            trace_complete: *trace_complete,
            result: to_json_or_null(result.as_ref())?,
            error: to_json_or_null(error.as_ref())?,
            trace_removed_at: microseconds(*trace_removed_at),
            trace_removed_by: trace_removed_by.clone(),
            trace_purged_at: microseconds(*trace_purged_at),
            manifest_announced: *manifest_announced,
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
            let FixedJobColumns { id, task_id, attempt, .. } = &columns.fixed;
            let key = (parsed(TABLE, id, task_id)?, number(TABLE, id, *attempt)?);
            Ok((key, columns.into_row()))
        })
        .collect()
}

/// Inserts new rows.
pub(crate) async fn insert_jobs<'r>(conn: &mut Conn<'_>, rows: impl IntoIterator<Item = &'r JobRow>) -> Result<()> {
    const INSERT: Values = insert_into!("jobs", JobColumns, "");
    let rows = rows.into_iter().map(|row| Ok(JobColumns::of(row)?.into_arguments()));
    INSERT.execute(conn, rows.collect::<Result<_>>()?).await?;
    Ok(())
}

pub(crate) const UPDATE_JOBS: Values = update_by_id!("jobs", ChangingJobColumns);

/// Writes what may change of rows that are there.
pub(crate) async fn update_jobs<'r>(conn: &mut Conn<'_>, rows: impl IntoIterator<Item = &'r JobRow>) -> Result<()> {
    let rows = rows.into_iter().map(|row| {
        let mut arguments = vec![row.id.to_string().into()];
        arguments.extend(ChangingJobColumns::of(row)?.into_arguments());
        Ok(arguments)
    });
    UPDATE_JOBS.execute(conn, rows.collect::<Result<_>>()?).await?;
    Ok(())
}
