//! How Tasks go, summed up.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::conn::{Conn, fetch};
use super::model::Failure;
use super::rows::named;
use super::{Result, Store};
use jct_domain::Phase;

/// Of how many failed Tasks, the last ones, the reasons are counted.
const FAILED: i64 = 2_000;
/// How many executors are told of, those with the most Tasks first.
const EXECUTORS: i64 = 200;

/// Which Tasks are summed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsQuery {
    /// Those of this namespace alone.
    pub namespace: Option<String>,
    /// Of those that ended, those not before this.
    pub since: Timestamp,
    /// Before this.
    pub until: Timestamp,
    /// How long a part of that time is of which there is a sum.
    pub bucket_seconds: u32,
}

/// Tasks that ended within a part of the time, in one phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedTasks {
    /// Which part; the first one is 0.
    pub bucket: u32,
    pub phase: Phase,
    pub count: u64,
    /// How many of them ran.
    pub ran: u64,
    /// How long those ran in all, in microseconds, and the one that ran the longest.
    pub run_micros: (u64, u64),
}

/// Tasks that ended, of one executor as they name it and one operation, in one phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByExecutor {
    /// As the Tasks name it; empty where they name none.
    pub executor: String,
    pub operation: String,
    pub phase: Phase,
    pub count: u64,
    /// How many of them ran, and how long in all, in microseconds.
    pub ran: (u64, u64),
    /// When the last one ended.
    pub last: Option<Timestamp>,
}

/// How Tasks go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Those that have not ended, by phase.
    pub open: BTreeMap<&'static str, u64>,
    pub ended: Vec<EndedTasks>,
    /// Of the last that failed: for which reasons, and how many.
    pub failures: BTreeMap<String, u64>,
    /// Those that ended, by executor.
    pub executors: Vec<ByExecutor>,
}

impl Store {
    /// How Tasks go. Read off indexes of what has not ended, and of when others did.
    pub async fn statistics(&self, query: &StatisticsQuery) -> Result<Statistics> {
        let mut readers = self.inner.readers.acquire().await?;
        let conn = &mut readers.borrow();
        Ok(Statistics {
            open: open(conn, query).await?,
            ended: ended(conn, query).await?,
            failures: failures(conn, query).await?,
            executors: executors(conn, query).await?,
        })
    }
}

fn phase(name: &str) -> Result<Phase> {
    named("tasks", "", "status", name, Phase::parse)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

async fn open(conn: &mut Conn<'_>, query: &StatisticsQuery) -> Result<BTreeMap<&'static str, u64>> {
    let sql = "SELECT status, COUNT(*) FROM tasks WHERE deleted_at IS NULL AND duplicate_of IS NULL \
               AND status IN ('pending', 'queued', 'running') AND ($1 = '' OR namespace = $1) GROUP BY status";
    let namespace = query.namespace.as_deref().unwrap_or_default();
    let rows = fetch!((String, i64), conn, sql, namespace)?;
    let mut open = BTreeMap::from([("pending", 0), ("queued", 0), ("running", 0)]);
    for (status, count) in rows {
        open.insert(phase(&status)?.as_str(), unsigned(count));
    }
    Ok(open)
}

async fn ended(conn: &mut Conn<'_>, query: &StatisticsQuery) -> Result<Vec<EndedTasks>> {
    let sql = "SELECT (completed_at - $1) / $2 AS bucket, status, COUNT(*), COUNT(started_at), \
               CAST(COALESCE(SUM(completed_at - started_at), 0) AS BIGINT), \
               CAST(COALESCE(MAX(completed_at - started_at), 0) AS BIGINT) \
               FROM tasks WHERE completed_at IS NOT NULL AND completed_at >= $1 AND completed_at < $3 \
               AND duplicate_of IS NULL AND ($4 = '' OR namespace = $4) GROUP BY 1, 2 ORDER BY 1, 2";
    let (since, until) = (query.since.as_microsecond(), query.until.as_microsecond());
    let bucket = i64::from(query.bucket_seconds.max(1)) * 1_000_000;
    let namespace = query.namespace.as_deref().unwrap_or_default();
    let rows = fetch!((i64, String, i64, i64, i64, i64), conn, sql, since, bucket, until, namespace)?;
    let ended = |(bucket, status, count, ran, sum, most): (i64, String, i64, i64, i64, i64)| {
        Ok(EndedTasks {
            bucket: u32::try_from(bucket).unwrap_or_default(),
            phase: phase(&status)?,
            count: unsigned(count),
            ran: unsigned(ran),
            run_micros: (unsigned(sum), unsigned(most)),
        })
    };
    rows.into_iter().map(ended).collect()
}

async fn failures(conn: &mut Conn<'_>, query: &StatisticsQuery) -> Result<BTreeMap<String, u64>> {
    // By the index of when they ended, and not by that of the status, which has those of all times.
    let sql = "SELECT error FROM tasks WHERE completed_at IS NOT NULL AND completed_at >= $1 AND completed_at < $2 \
               AND status || '' = 'failed' AND duplicate_of IS NULL AND ($3 = '' OR namespace = $3) \
               ORDER BY completed_at DESC, id DESC LIMIT $4";
    let (since, until) = (query.since.as_microsecond(), query.until.as_microsecond());
    let namespace = query.namespace.as_deref().unwrap_or_default();
    let rows = fetch!((Option<String>,), conn, sql, since, until, namespace, FAILED)?;
    let mut failures = BTreeMap::new();
    for (error,) in rows {
        let failure: Option<Failure> = error.and_then(|error| serde_json::from_str(&error).ok());
        *failures.entry(failure.map_or_else(String::new, |failure| failure.reason)).or_default() += 1;
    }
    Ok(failures)
}

async fn executors(conn: &mut Conn<'_>, query: &StatisticsQuery) -> Result<Vec<ByExecutor>> {
    let sql = "SELECT COALESCE(executor, ''), operation, status, COUNT(*), COUNT(started_at), \
               CAST(COALESCE(SUM(completed_at - started_at), 0) AS BIGINT), MAX(completed_at) \
               FROM tasks WHERE completed_at IS NOT NULL AND completed_at >= $1 AND completed_at < $2 \
               AND duplicate_of IS NULL AND ($3 = '' OR namespace = $3) GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3 LIMIT $4";
    let (since, until) = (query.since.as_microsecond(), query.until.as_microsecond());
    let namespace = query.namespace.as_deref().unwrap_or_default();
    let rows = fetch!((String, String, String, i64, i64, i64, i64), conn, sql, since, until, namespace, EXECUTORS)?;
    let by = |(executor, operation, status, count, ran, sum, last): (String, String, String, i64, i64, i64, i64)| {
        Ok(ByExecutor {
            executor,
            operation,
            phase: phase(&status)?,
            count: unsigned(count),
            ran: (unsigned(ran), unsigned(sum)),
            last: Timestamp::from_microsecond(last).ok(),
        })
    };
    rows.into_iter().map(by).collect()
}
