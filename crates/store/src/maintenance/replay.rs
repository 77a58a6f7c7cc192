//! Replays the audit log against the rows: what a row is must follow from what the log says of it, and there is no row and no
//! entry without the other. A few rows and their entries are in memory at a time.
//!
//! What entries do not bind, and so is not compared, is named in `docs/audit.md`: the two change together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Check;
use super::fold::{Compared, Fold};
use super::marks;
use crate::audit::{LoggedChange, orphans, read_entries};
use crate::conn::{Conn, fetch};
use crate::cwom::{RecordedLink, apply_link_entry, object_state, objects_of, present_links, table_name};
use crate::rows::{artifacts_of_job, files_digest, jobs_after, task_record, task_state, tasks_of};
use crate::{JobRow, ObjectFilter, ObjectRow, Page, Result, StoreError, TaskFilter, TaskRow};
use jct_domain::Id;
use jct_domain::audit::{Action, EntityKind};
use jct_domain::cwom::Kind;
use jct_domain::trace::folder;

/// Rows that are looked at together. A Task can have some 700 KB.
const ROWS: u32 = 40;

const TASKS: Compared<'_> = Compared {
    // Held against the attempt instead: the entry is about the trace. And what is decided of a budget is in the ledger.
    left_out: &["trace_removed_at", "model_budget"],
    unlogged: &["uid", "executor", "max_attempts", "create_cwom", "cwom_repo_id", "cwom_run_id", "recorded_at"],
    deleted_at: "deleted_at",
    tells_record: true,
    mark: marks::OF_TASKS,
    kind: None,
    later: &["attempt", "create_cwom", "infrastructure_failures", "spec_generation"],
};

const JOBS: Compared<'_> = Compared {
    left_out: &["trace_removed_at", "trace_removed_by"],
    unlogged: &[],
    deleted_at: "none",
    tells_record: false,
    mark: "none",
    kind: None,
    later: &[],
};

/// Holds every row against the log, and the log against the rows. Only what can be read is looked at.
pub(super) async fn replay(conn: &mut Conn<'_>, check: &mut Check) -> Result<()> {
    let done = tasks(conn, check).await;
    readable(done, check)?;
    let done = jobs(conn, check).await;
    readable(done, check)?;
    for kind in Kind::ALL.iter().copied() {
        let done = objects(conn, kind, check).await;
        readable(done, check)?;
    }
    without_rows(conn, check).await
}

/// A row or a content that can't be read ends the look at its table, not the whole.
fn readable(done: Result<()>, check: &mut Check) -> Result<()> {
    match done {
        Err(error @ StoreError::Corrupt { .. }) => {
            check.problem(error.to_string());
            Ok(())
        }
        done => done,
    }
}

/// What the log says of these entities.
async fn folds(
    conn: &mut Conn<'_>,
    kind: EntityKind,
    ids: Vec<String>,
    compared: &Compared<'_>,
) -> Result<BTreeMap<String, Fold>> {
    let mut folds: BTreeMap<String, Fold> = BTreeMap::new();
    read_entries(conn, kind, ids, &mut |logged| {
        let LoggedChange { entity_id, action, before, after } = logged;
        folds.entry(entity_id).or_default().apply(action, before, after, compared);
    })
    .await?;
    Ok(folds)
}

fn judge(check: &mut Check, table: &str, id: &str, fold: Option<Fold>, row: Value, compared: &Compared<'_>) {
    match fold {
        Some(fold) if fold.is_removed => {
            check.problem(format!("{table} {id}: the audit log says that its record was removed"));
        }
        Some(fold) if fold.is_created => {
            let differ = fold.differences(row, compared);
            if !differ.is_empty() {
                check.problem(format!("{table} {id}: {} is not what the audit log says", differ.join(", ")));
            }
        }
        _ => check.problem(format!("{table} {id}: no entry of the audit log says that it was created")),
    }
}

async fn tasks(conn: &mut Conn<'_>, check: &mut Check) -> Result<()> {
    let mut page = Page { limit: ROWS, ..Page::default() };
    let mut marked = marks::of_tasks(conn).await?;
    loop {
        let rows = tasks_of(conn, &TaskFilter::default(), page).await?;
        let Some(last) = rows.last() else { break };
        page.after = Some(last.id);
        let ids = rows.iter().map(|row| row.id.to_string()).collect();
        let mut folds = folds(conn, EntityKind::Task, ids, &TASKS).await?;
        for row in rows {
            let id = row.id.to_string();
            let row = with_mark(of_task(&row), marks::OF_TASKS, marked.remove(&id));
            judge(check, "tasks", &id, folds.remove(&id), row, &TASKS);
        }
    }
    let sql = "SELECT t.id FROM tasks t LEFT JOIN jobs j ON j.task_id = t.id AND j.attempt = t.attempt \
               WHERE t.trace_removed_at IS DISTINCT FROM j.trace_removed_at ORDER BY t.id LIMIT 100";
    for (id,) in fetch!((String,), conn, sql)? {
        check.problem(format!("tasks {id}: trace_removed_at is not that of its latest attempt"));
    }
    Ok(())
}

/// The row with the mark of a second one of its object: few are.
fn with_mark(mut row: Value, mark: &str, marked: Option<Value>) -> Value {
    if let Value::Object(fields) = &mut row {
        fields.insert(mark.into(), marked.unwrap_or_default());
    }
    row
}

/// Every column, as the log names it.
fn of_task(row: &TaskRow) -> Value {
    let mut all = match row.to_json() {
        Value::Object(shown) => shown,
        _ => Map::new(),
    };
    all.extend(task_record(row));
    all.extend(task_state(row));
    all.into()
}

async fn jobs(conn: &mut Conn<'_>, check: &mut Check) -> Result<()> {
    let mut after = String::new();
    loop {
        let rows = jobs_after(conn, &after, ROWS).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.id.to_string();
        let ids = rows.iter().map(|row| row.id.to_string()).collect();
        let mut of_jobs = folds(conn, EntityKind::Job, ids, &JOBS).await?;
        let mut paths = BTreeMap::new();
        for row in &rows {
            if let Some(path) = path_of(conn, row).await? {
                paths.insert(path, row.id);
            }
        }
        let traces = traces(conn, paths).await?;
        for row in rows {
            let id = row.id.to_string();
            let mut logged = serde_json::to_value(&row).unwrap_or_default();
            if let Value::Object(fields) = &mut logged {
                fields.remove("id");
                fields.remove("trace_id");
            }
            judge(check, "jobs", &id, of_jobs.remove(&id), logged, &JOBS);
            trace(conn, &row, traces.get(&row.id), check).await?;
        }
    }
}

/// Where the trace of an attempt is; entries about it are under that.
async fn path_of(conn: &mut Conn<'_>, row: &JobRow) -> Result<Option<String>> {
    if row.trace_path.is_some() || row.trace_removed_at.is_none() {
        return Ok(row.trace_path.clone());
    }
    let sql = "SELECT namespace FROM tasks WHERE id = $1";
    let namespace = fetch!((String,), conn, sql, row.task_id.to_string())?.pop();
    Ok(namespace.map(|(namespace,)| folder(&namespace, row.task_id, row.attempt)))
}

/// What the log says of the trace of an attempt.
#[derive(Default)]
struct LoggedTrace {
    files: Option<u64>,
    files_sha256: Option<String>,
    manifest_sha256: Option<Value>,
    removed: Option<(Value, Value)>,
}

async fn traces(conn: &mut Conn<'_>, paths: BTreeMap<String, Id>) -> Result<BTreeMap<Id, LoggedTrace>> {
    let mut found: BTreeMap<Id, LoggedTrace> = BTreeMap::new();
    read_entries(conn, EntityKind::Trace, paths.keys().cloned().collect(), &mut |logged| {
        let LoggedChange { entity_id, action, before, after } = logged;
        let Some(job) = paths.get(&entity_id) else { return };
        let after = after.unwrap_or_default();
        match action {
            Action::Created if is_of(&after, *job) => {
                let text = |name: &str| after.get(name).and_then(Value::as_str).map(str::to_owned);
                let logged = found.entry(*job).or_default();
                logged.files = after.get("files").and_then(Value::as_u64);
                logged.files_sha256 = text("files_sha256");
                logged.manifest_sha256 = after.get("manifest_sha256").cloned();
            }
            Action::Deleted if before.is_some_and(|before| is_of(&before, *job)) => {
                let field = |name: &str| after.get(name).cloned().unwrap_or_default();
                found.entry(*job).or_default().removed = Some((field("trace_removed_at"), field("rule")));
            }
            _ => {}
        }
    })
    .await?;
    Ok(found)
}

fn is_of(logged: &Value, job: Id) -> bool {
    logged.get("job_id").and_then(Value::as_str) == Some(job.to_string().as_str())
}

async fn trace(conn: &mut Conn<'_>, row: &JobRow, logged: Option<&LoggedTrace>, check: &mut Check) -> Result<()> {
    let id = row.id;
    let nothing = LoggedTrace::default();
    let LoggedTrace { files, files_sha256, manifest_sha256, removed } = logged.unwrap_or(&nothing);
    let there = (
        serde_json::to_value(row.trace_removed_at).unwrap_or_default(),
        serde_json::to_value(&row.trace_removed_by).unwrap_or_default(),
    );
    if there != removed.clone().unwrap_or_default() {
        check.problem(format!("jobs {id}: trace_removed_at or trace_removed_by is not what the audit log says"));
    }
    let manifest = serde_json::to_value(&row.manifest_sha256).unwrap_or_default();
    if manifest_sha256.as_ref().is_some_and(|logged| *logged != manifest) {
        check.problem(format!("jobs {id}: manifest_sha256 is not what the audit log says of its trace"));
    }
    let there = artifacts_of_job(conn, id).await?;
    let is_same = match files_sha256 {
        Some(logged) => *logged == files_digest(&there),
        // Of a trace from before the digest there is the number alone.
        None => files.unwrap_or_default() == there.len() as u64,
    };
    if !is_same {
        check.problem(format!("artifacts of job {id}: they are not the files that the audit log says"));
    }
    Ok(())
}

async fn objects(conn: &mut Conn<'_>, kind: Kind, check: &mut Check) -> Result<()> {
    let compared = Compared {
        left_out: &["runs"],
        unlogged: &["record.spec_sha256"],
        deleted_at: "record.deleted_at",
        tells_record: false,
        mark: marks::OF_OBJECTS,
        kind: Some(kind),
        later: &[],
    };
    let table = kind.as_str();
    let mut marked = marks::of_objects(conn, kind).await?;
    let mut page = Page { limit: ROWS, ..Page::default() };
    loop {
        let rows = objects_of(conn, kind, &ObjectFilter::default(), page).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        page.after = Some(last.object.id);
        let ids: Vec<String> = rows.iter().map(|row| row.object.id.to_string()).collect();
        let mut links: BTreeSet<RecordedLink> = BTreeSet::new();
        let mut folds: BTreeMap<String, Fold> = BTreeMap::new();
        read_entries(conn, kind.into(), ids.clone(), &mut |logged| {
            let LoggedChange { entity_id, action, before, after } = logged;
            apply_link_entry(kind, &entity_id, action, before.as_ref(), after.as_ref(), &mut links);
            let after = after.map(|after| object_state(kind, after));
            let before = before.map(|before| object_state(kind, before));
            folds.entry(entity_id).or_default().apply(action, before, after, &compared);
        })
        .await?;
        for row in &rows {
            let id = row.object.id.to_string();
            if row.origin.is_none() && row.spec_sha256.is_some() {
                check.problem(format!("{table} {id}: it has a spec_sha256, but no custom resource"));
            }
            let row = with_mark(of_object(kind, row), marks::OF_OBJECTS, marked.remove(&id));
            judge(check, table, &id, folds.remove(&id), row, &compared);
        }
        let there = present_links(conn, kind, ids).await?;
        for link in links.symmetric_difference(&there) {
            let what = if there.contains(link) { "no entry of the audit log says so" } else { "the link is missing" };
            check.problem(format!("{table} {}: {} {}: {what}", link.from, link.field, link.to));
        }
    }
}

fn of_object(kind: Kind, row: &ObjectRow) -> Value {
    object_state(kind, crate::cwom::recorded_state(row).into())
}

/// Entries that say something was created which is not there, and was not removed.
async fn without_rows(conn: &mut Conn<'_>, check: &mut Check) -> Result<()> {
    let mut tables = vec![(EntityKind::Task, "tasks"), (EntityKind::Job, "jobs")];
    tables.extend(Kind::ALL.iter().map(|kind| (EntityKind::from(*kind), table_name(*kind))));
    orphans(conn, &tables, &mut |table, seq, id| {
        check.problem(format!("{table} {id}: the row is missing that entry {seq} of the audit log says was created"));
    })
    .await
}
