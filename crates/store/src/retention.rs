//! Retention: what may go by the rules, of what there is. The writes are in `ops/retention.rs`.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde::Serialize;

use super::conn::{Conn, Values, fetch};
use super::connect::Readers;
use super::rows::{named, parsed, time};
use super::{MAX_PAGE, Result, Store};
use jct_domain::retention::{Due, Planner, Retention, Rules};
use jct_domain::{Id, Phase, TraceId};

/// The trace of an attempt whose Task has ended, to be removed from the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveTrace {
    pub task_id: Id,
    pub attempt: u32,
    /// The rule, in words.
    pub rule: String,
    /// Now.
    pub at: Timestamp,
}

/// The folder of a trace that was to be removed is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceGone {
    pub task_id: Id,
    pub attempt: u32,
    /// Now.
    pub at: Timestamp,
}

/// The record of a Task, to be removed. Whoever asks has seen that its object is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveRecord {
    pub task_id: Id,
    /// The uid of the object that is gone; another uid's row is left alone.
    pub uid: String,
    /// The rule, in words.
    pub rule: String,
    /// Now.
    pub at: Timestamp,
}

/// A trace that is marked as removed, and whose folder may still be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpurgedTrace {
    /// The attempt's row.
    pub job_id: Id,
    pub task_id: Id,
    /// Of the Task.
    pub namespace: String,
    pub attempt: u32,
}

/// A trace that may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DueTrace {
    pub task_id: Id,
    /// Of the Task.
    pub trace_id: TraceId,
    /// Of the Task.
    pub namespace: String,
    /// Of the Task.
    pub name: String,
    pub outcome: Phase,
    pub attempt: u32,
    pub ended_at: Timestamp,
    /// The sizes of its files, as recorded.
    pub bytes: u64,
    /// The rule, in words.
    pub rule: String,
    /// The limit of the rule that is passed.
    pub limit: &'static str,
}

/// A record that may go, if its object is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DueRecord {
    pub task_id: Id,
    /// Of the Task.
    pub trace_id: TraceId,
    /// Of the Task.
    pub namespace: String,
    /// Of the Task.
    pub name: String,
    /// Of the object.
    pub uid: String,
    pub outcome: Phase,
    pub completed_at: Timestamp,
    /// Becomes free with the row.
    pub idempotency_key: Option<String>,
    /// Whether the deletion of the object is recorded.
    pub object_deleted: bool,
    /// How many of its traces are still there.
    pub traces_left: u32,
    /// The rule, in words.
    pub rule: String,
    /// The limit of the rule that is passed.
    pub limit: &'static str,
}

/// What may go now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Traces, the newest first.
    pub traces: Vec<DueTrace>,
    /// Records, the newest first.
    pub records: Vec<DueRecord>,
    /// How many more traces are due than are listed.
    pub traces_left_out: u64,
    /// How many more records are due than are listed.
    pub records_left_out: u64,
}

impl Plan {
    /// The Tasks whose records are kept by traces that this plan does not remove.
    pub fn held(&self) -> HashSet<Id> {
        let mut due: HashMap<Id, u32> = HashMap::new();
        for trace in &self.traces {
            *due.entry(trace.task_id).or_default() += 1;
        }
        let is_held = |record: &&DueRecord| record.traces_left > due.get(&record.task_id).copied().unwrap_or_default();
        self.records.iter().filter(is_held).map(|record| record.task_id).collect()
    }
}

type TraceColumns = (i64, String, String, String, i64, String, String, String);
type RecordColumns = (i64, String, String, String, String, String, String, Option<String>, Option<i64>, i64);

/// Traces that are there of Tasks that have ended, the newest first. A cross join, for SQLite keeps its order.
pub(super) const TRACES: &str = "SELECT j.ended_at, j.id, j.task_id, j.trace_id, j.attempt, t.namespace, t.name, t.status \
     FROM jobs j CROSS JOIN tasks t \
     WHERE t.id = j.task_id AND t.status IN ('completed', 'failed', 'cancelled') \
     AND j.ended_at IS NOT NULL AND j.trace_removed_at IS NULL AND (j.ended_at, j.id) < ($1, $2) \
     ORDER BY j.ended_at DESC, j.id DESC LIMIT $3";

/// Tasks that have ended, the newest first.
pub(super) const RECORDS: &str = "SELECT completed_at, id, trace_id, namespace, name, uid, status, idempotency_key, deleted_at, \
     (SELECT COUNT(*) FROM jobs WHERE jobs.task_id = tasks.id AND jobs.trace_purged_at IS NULL) \
     FROM tasks WHERE completed_at IS NOT NULL AND (completed_at, id) < ($1, $2) \
     ORDER BY completed_at DESC, id DESC LIMIT $3";

/// Traces whose folder is to be deleted.
pub(super) const UNPURGED: &str = "SELECT j.id, j.task_id, t.namespace, j.attempt \
     FROM jobs j CROSS JOIN tasks t \
     WHERE t.id = j.task_id AND j.trace_removed_at IS NOT NULL AND j.trace_purged_at IS NULL AND j.id > $1 \
     ORDER BY j.id LIMIT $2";

const SIZES: Values = Values {
    before: "SELECT job_id, CAST(SUM(size_bytes) AS BIGINT) FROM artifacts WHERE job_id IN (VALUES",
    width: 1,
    after: ") GROUP BY job_id",
};

impl Store {
    /// What may go by these rules at `now`, of traces and of records at most `most` each. Changes nothing.
    pub async fn plan(&self, retention: &Retention, now: Timestamp, most: usize) -> Result<Plan> {
        let (traces, traces_left_out) = self.due_traces(&retention.traces, now, most).await?;
        let (records, records_left_out) = self.due_records(&retention.records, now, most, |_| true).await?;
        Ok(Plan { traces, records, traces_left_out, records_left_out })
    }

    /// The traces that may go, the newest first: `most` of them, and how many more there are.
    pub async fn due_traces(&self, rules: &Rules, now: Timestamp, most: usize) -> Result<(Vec<DueTrace>, u64)> {
        due_traces(&self.inner.readers, rules, now, most).await
    }

    /// The records that may go and are `wanted`, likewise.
    pub async fn due_records(
        &self,
        rules: &Rules,
        now: Timestamp,
        most: usize,
        wanted: impl Fn(&DueRecord) -> bool + Send,
    ) -> Result<(Vec<DueRecord>, u64)> {
        due_records(&self.inner.readers, rules, now, most, wanted).await
    }

    /// Marks a trace as removed, before its folder is deleted. False if it is to stay: its Task has not ended, or is not
    /// recorded.
    pub async fn remove_trace(&self, remove: RemoveTrace) -> Result<bool> {
        self.inner.writer.write(remove).await
    }

    /// Notes that the folder of a trace that is marked as removed is gone.
    pub async fn trace_gone(&self, gone: TraceGone) -> Result<()> {
        self.inner.writer.write(gone).await
    }

    /// Traces that are marked as removed and whose folder may still be there, by the attempt's id, after `after`; at most
    /// [`MAX_PAGE`].
    pub async fn unpurged_traces(&self, after: Option<Id>) -> Result<Vec<UnpurgedTrace>> {
        unpurged(&mut self.inner.readers.acquire().await?.borrow(), after).await
    }

    /// Removes the record of a Task that has ended: its row, its attempts, the list of its files, and the work objects that were
    /// made for it and that nothing else refers to. False if it is to stay: a trace of it is left, it was restored under
    /// another uid, or is not recorded. A Task with its id does not run again, see [`Recording::Removed`](super::Recording).
    pub async fn remove_record(&self, remove: RemoveRecord) -> Result<bool> {
        self.inner.writer.write(remove).await
    }
}

async fn due_traces(readers: &Readers, rules: &Rules, now: Timestamp, most: usize) -> Result<(Vec<DueTrace>, u64)> {
    let (mut due, mut left_out, mut planner) = (Vec::new(), 0, Planner::new(rules, now));
    let mut before = (i64::MAX, String::new());
    while !rules.is_empty() {
        let conn = &mut readers.acquire().await?;
        let conn = &mut conn.borrow();
        let page = fetch!(TraceColumns, conn, TRACES, before.0, before.1, i64::from(MAX_PAGE))?;
        let Some(last) = page.last() else { break };
        before = (last.0, last.1.clone());
        let mut found = Vec::new();
        for (ended_at, job_id, task_id, trace_id, attempt, namespace, name, status) in page {
            let outcome = named("tasks", &task_id, "status", &status, Phase::parse)?;
            let ended_at = time("jobs", &job_id, ended_at)?;
            let Some(Due { rule, limit }) = planner.consider(&namespace, outcome, ended_at) else { continue };
            if due.len() + found.len() >= most {
                left_out += 1;
                continue;
            }
            let trace = DueTrace {
                trace_id: parsed("jobs", &job_id, &trace_id)?,
                task_id: parsed("jobs", &job_id, &task_id)?,
                namespace,
                name,
                outcome,
                attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
                ended_at,
                bytes: 0,
                rule,
                limit: limit.as_str(),
            };
            found.push((job_id, trace));
        }
        let jobs = found.iter().map(|(job_id, _)| vec![job_id.into()]).collect();
        let sizes: Vec<(String, i64)> = SIZES.fetch(conn, jobs).await?;
        let sizes: HashMap<String, i64> = sizes.into_iter().collect();
        due.extend(found.into_iter().map(|(job_id, trace)| {
            let bytes = sizes.get(&job_id).copied().unwrap_or_default().unsigned_abs();
            DueTrace { bytes, ..trace }
        }));
    }
    Ok((due, left_out))
}

async fn due_records(
    readers: &Readers,
    rules: &Rules,
    now: Timestamp,
    most: usize,
    wanted: impl Fn(&DueRecord) -> bool,
) -> Result<(Vec<DueRecord>, u64)> {
    let (mut due, mut left_out, mut planner) = (Vec::new(), 0, Planner::new(rules, now));
    let mut before = (i64::MAX, String::new());
    while !rules.is_empty() {
        let conn = &mut readers.acquire().await?;
        let conn = &mut conn.borrow();
        let page = fetch!(RecordColumns, conn, RECORDS, before.0, before.1, i64::from(MAX_PAGE))?;
        let Some(last) = page.last() else { break };
        before = (last.0, last.1.clone());
        for (completed_at, id, trace_id, namespace, name, uid, status, idempotency_key, deleted_at, left) in page {
            let outcome = named("tasks", &id, "status", &status, Phase::parse)?;
            let completed_at = time("tasks", &id, completed_at)?;
            let Some(Due { rule, limit }) = planner.consider(&namespace, outcome, completed_at) else { continue };
            let record = DueRecord {
                task_id: parsed("tasks", &id, &id)?,
                trace_id: parsed("tasks", &id, &trace_id)?,
                namespace,
                name,
                uid,
                outcome,
                completed_at,
                idempotency_key,
                object_deleted: deleted_at.is_some(),
                traces_left: u32::try_from(left).unwrap_or(u32::MAX),
                rule,
                limit: limit.as_str(),
            };
            match (wanted(&record), due.len() < most) {
                (false, _) => {}
                (true, true) => due.push(record),
                (true, false) => left_out += 1,
            }
        }
    }
    Ok((due, left_out))
}

async fn unpurged(conn: &mut Conn<'_>, after: Option<Id>) -> Result<Vec<UnpurgedTrace>> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let rows = fetch!((String, String, String, i64), conn, UNPURGED, after, i64::from(MAX_PAGE))?;
    rows.into_iter()
        .map(|(id, task_id, namespace, attempt)| {
            Ok(UnpurgedTrace {
                job_id: parsed("jobs", &id, &id)?,
                task_id: parsed("jobs", &id, &task_id)?,
                namespace,
                attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
            })
        })
        .collect()
}
