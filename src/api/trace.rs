//! One story: everything with one trace id.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Api;
use super::auth::{Caller, Right};
use super::error::Problem;
use super::query::Params;
use crate::domain::TraceId;
use crate::domain::audit::{EntityKind, Entry};
use crate::store::{ArtifactRow, AuditQuery, JobRow, MAX_PAGE, Order, Page, TaskFilter, TaskRow};

/// Everything with one trace id, causes before effects
///
/// For callers who may `get` the Tasks of the trace; those of other namespaces are left out, with all that is theirs. Who
/// may list the audit log sees all of it. Of a long story the header Link, rel="next", has more of the audit log.
#[utoipa::path(get, path = "/trace/{trace_id}", tag = "record", operation_id = "get_trace",
    params(
        ("trace_id" = String, Path, description = "The trace id"),
        ("limit" = Option<u32>, Query, description = "Of the audit entries: 1 to 1000, the default", minimum = 1, maximum = 1000),
        ("offset" = Option<u32>, Query, description = "Pass over this many audit entries"),
        ("cursor" = Option<String>, Query, description = "From the Link header of the page before")),
    responses(
        (status = 200, description = "The story", body = ref("#/components/schemas/Trace")),
        (status = 404, description = "Nothing has this trace id", body = ref("#/components/schemas/Problem"))))]
pub async fn tell(
    State(api): State<Api>,
    caller: Caller,
    Path(trace_id): Path<String>,
    mut query: Params,
) -> Result<Response, Problem> {
    let page = query.page(&api.cursor_key, MAX_PAGE);
    let asked = query.finish()?;
    let trace_id: TraceId = trace_id.parse().map_err(|_| not_found())?;
    let sight = see(&api, &caller, &trace_id).await?;
    let mut objects = Vec::new();
    let mut theirs = BTreeSet::new();
    for task in &sight.tasks {
        theirs.insert(task.id.to_string());
        objects.push(of_kind("Task", task.to_json()));
        add_attempts(&api, task, &mut objects, &mut theirs).await?;
    }
    let wanted =
        AuditQuery { trace_id: Some(trace_id.clone()), order: Order::OldestFirst, page, ..AuditQuery::default() };
    let mut entries = api.store.audit(&wanted).await?;
    let is_full = entries.len() >= page.limit as usize;
    let last = entries.last().filter(|_| is_full).map(|entry| entry.id);
    entries.retain(|entry| sight.shows(entry, &theirs));
    if objects.is_empty() && entries.is_empty() {
        return Err(not_found());
    }
    let story = json!({"trace_id": trace_id, "objects": objects, "audit": entries});
    Ok((asked.next(&api.cursor_key, last), Json(story)).into_response())
}

fn not_found() -> Problem {
    Problem::not_found("Trace not found")
}

/// What of a trace a caller may see.
struct Sight {
    /// The oldest first.
    tasks: Vec<TaskRow>,
    /// Whether nothing is left out of what concerns Tasks.
    is_whole: bool,
    /// Whose denied requests are shown: those of these namespaces, or of all.
    denials: Option<BTreeSet<String>>,
}

impl Sight {
    /// Whether `entry` is to be seen; `theirs` are the Tasks and what belongs to them.
    fn shows(&self, entry: &Entry, theirs: &BTreeSet<String>) -> bool {
        if entry.entity_kind != EntityKind::AdmissionDenial {
            return self.is_whole || theirs.contains(&entry.entity_id);
        }
        // A request can carry the trace id of somebody else's Task: its own namespace decides.
        let namespace = entry.after.as_ref().and_then(|after| after.get("namespace")).and_then(Value::as_str);
        self.denials.as_ref().is_none_or(|seen| namespace.is_some_and(|namespace| seen.contains(namespace)))
    }
}

async fn see(api: &Api, caller: &Caller, trace_id: &TraceId) -> Result<Sight, Problem> {
    let filter = TaskFilter { trace_id: Some(trace_id.clone()), ..TaskFilter::default() };
    let page = Page { limit: MAX_PAGE, ..Page::default() };
    let mut tasks = api.store.tasks(&filter, page).await?;
    tasks.reverse();
    if api.access.allows(caller, &super::audit::right()).await? {
        return Ok(Sight { tasks, is_whole: true, denials: None });
    }
    let mut may_see = BTreeMap::new();
    for task in &tasks {
        if !may_see.contains_key(&task.namespace) {
            let allowed = api.access.allows(caller, &Right::tasks("get", &task.namespace)).await?;
            may_see.insert(task.namespace.clone(), allowed);
        }
    }
    let Some(first) = tasks.first() else { return Err(not_found()) };
    if !may_see.values().any(|allowed| *allowed) {
        api.access.require(caller, &Right::tasks("get", &first.namespace)).await?;
    }
    let is_whole = may_see.values().all(|allowed| *allowed);
    tasks.retain(|task| may_see.get(&task.namespace) == Some(&true));
    let denials = may_see.into_iter().filter(|(_, allowed)| *allowed).map(|(namespace, _)| namespace);
    Ok(Sight { tasks, is_whole, denials: Some(denials.collect()) })
}

/// Adds the attempts of `task`, each followed by its files, and the ids that their audit entries have.
async fn add_attempts(
    api: &Api,
    task: &TaskRow,
    objects: &mut Vec<Value>,
    ids: &mut BTreeSet<String>,
) -> Result<(), Problem> {
    let files = api.store.artifacts(task.id).await?;
    for job in api.store.jobs(task.id).await? {
        ids.insert(job.id.to_string());
        ids.extend(job.trace_path.clone());
        let of_job = files.iter().filter(|file| file.job_id == job.id);
        let of_job = of_job.map(|file| of_kind("TraceFile", file_json(file)));
        objects.push(of_kind("Job", job_json(&job)));
        objects.extend(of_job);
    }
    Ok(())
}

fn of_kind(kind: &str, mut object: Value) -> Value {
    object["kind"] = json!(kind);
    object
}

fn job_json(row: &JobRow) -> Value {
    let JobRow {
        id,
        task_id,
        trace_id,
        attempt,
        job_name,
        status,
        worker_id,
        commit,
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
    } = row;
    json!({
        "id": id,
        "task_id": task_id,
        "trace_id": trace_id,
        "attempt": attempt,
        "job_name": job_name,
        "status": status,
        "worker_id": worker_id,
        "commit": commit,
        "created_at": created_at,
        "started_at": started_at,
        "ended_at": ended_at,
        "exit_code": exit_code,
        "trace_path": trace_path,
        "manifest_sha256": manifest_sha256,
        "trace_files": trace_files,
        "trace_complete": trace_complete,
        "result": result,
        "error": error,
    })
}

fn file_json(row: &ArtifactRow) -> Value {
    let ArtifactRow { id, task_id, job_id, trace_id, kind, uri, content_type, size_bytes, checksum, created_at } = row;
    json!({
        "id": id,
        "task_id": task_id,
        "job_id": job_id,
        "trace_id": trace_id,
        "file_kind": kind,
        "uri": uri,
        "content_type": content_type,
        "size_bytes": size_bytes,
        "checksum": checksum,
        "created_at": created_at,
    })
}
