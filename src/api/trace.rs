//! One story: everything with one trace id.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::Api;
use super::auth::{Caller, Right};
use super::cwom::shown;
use super::error::Problem;
use super::openapi::bodies;
use super::query::{Params, PathId};
use crate::domain::audit::{EntityKind, Entry};
use crate::domain::cwom::{Kind, Spec};
use crate::domain::{Id, TraceId};
use crate::store::{ArtifactRow, AuditQuery, MAX_PAGE, ObjectRow, Order, Page, TaskRow, TraceVisibility};

/// Everything with one trace id, causes before effects
///
/// Work objects (Repo, Issue, ConstraintSnapshot, DoctrineRef, ContextPacket), Tasks, and for each attempt its Run, its
/// Job, the files of its trace and its Artifacts; then the audit log. Callers see what they may `get`: a kind in a
/// namespace or not, with its audit entries. Who may list the audit log sees all of it. Of a long story the header Link,
/// rel="next", has more of the audit log, and rel="next-tasks" more of the Tasks.
#[utoipa::path(get, path = "/trace/{trace_id}", tag = "record", operation_id = "get_trace",
    params(
        ("trace_id" = String, Path, description = "The trace id"),
        ("limit" = Option<u32>, Query, description = "Of the audit entries: 1 to 1000, the default", minimum = 1, maximum = 1000),
        ("offset" = Option<u32>, Query, description = "Pass over this many audit entries"),
        ("cursor" = Option<String>, Query, description = "From the Link header of the page before"),
        ("tasks_cursor" = Option<String>, Query, description = "Begin at further Tasks: from the Link header of the page before")),
    responses(
        (status = 200, description = "The story", body = ref("#/components/schemas/Trace")),
        (status = 404, description = "Nothing has this trace id, or nothing that the caller may get",
         body = ref("#/components/schemas/Problem"))))]
pub async fn show(
    State(api): State<Api>,
    caller: Caller,
    trace_id: PathId,
    mut query: Params,
) -> Result<Response, Problem> {
    let mut page = query.page(&api.cursor_key, MAX_PAGE);
    let tasks_after = query.other_cursor(&api.cursor_key, TASKS_CURSOR);
    let asked = query.finish()?;
    let trace_id: TraceId = trace_id.text().parse().map_err(|_| not_found())?;
    let mut viewer = Viewer::of(&api, &caller, &trace_id).await?;
    let _turn = api.answers.turn().await?;
    let (found, more_tasks) = collect(&api, &trace_id, &viewer, tasks_after).await?;
    let mut audit = Vec::new();
    let last = loop {
        let wanted =
            AuditQuery { trace_id: Some(trace_id.clone()), order: Order::OldestFirst, page, ..AuditQuery::default() };
        let entries = api.store.audit_of_trace(&wanted, &viewer.visibility).await?;
        let is_full = entries.len() >= page.limit as usize;
        let last = entries.last().filter(|_| is_full).map(|entry| entry.id);
        for entry in entries {
            if viewer.shows(&entry).await? {
                audit.push(entry);
            }
        }
        // Denied requests of others may fill a page.
        if last.is_none() || !audit.is_empty() {
            break last;
        }
        page = Page { offset: 0, after: last, ..page };
    };
    if found.objects.is_empty() && audit.is_empty() {
        return Err(not_found());
    }
    let body = json!(Trace { trace_id, objects: found.objects, audit });
    let text = serde_json::to_vec(&body).map_err(|error| Problem::internal("write a story", &error))?;
    drop(body);
    let links = asked.links(&api.cursor_key, &[("next", "cursor", last), ("next-tasks", TASKS_CURSOR, more_tasks)]);
    api.answers.json(&caller, links, text).await
}

/// The parameter that says where the Tasks begin.
const TASKS_CURSOR: &str = "tasks_cursor";
/// How many Tasks are told of at once, each with its attempts and their files.
const TASKS: u32 = 100;

/// All that has one trace id.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Trace {
    #[schemars(schema_with = "bodies::trace_id")]
    trace_id: TraceId,
    /// Causes before effects; each has its kind beside its own fields.
    #[schemars(with = "Vec<KindAndId>")]
    objects: Vec<Value>,
    /// As things happened.
    #[schemars(schema_with = "bodies::audit_entries")]
    audit: Vec<Entry>,
}

/// What every object of a trace has.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct KindAndId {
    kind: String,
    #[schemars(schema_with = "bodies::id")]
    id: Id,
}

fn not_found() -> Problem {
    Problem::not_found("Trace not found")
}

/// What a caller may see of a trace.
struct Viewer<'a> {
    api: &'a Api,
    caller: &'a Caller,
    /// Everything, if they may read the audit log, which has all of it; else the kinds and namespaces that they may get.
    visibility: TraceVisibility,
    /// Resources and namespaces of denied requests that were asked about.
    decided: BTreeMap<(&'static str, String), bool>,
}

impl<'a> Viewer<'a> {
    async fn of(api: &'a Api, caller: &'a Caller, trace_id: &TraceId) -> Result<Self, Problem> {
        let mut viewer = Self { api, caller, visibility: TraceVisibility::Everything, decided: BTreeMap::new() };
        if !api.access.allows(caller, &super::audit::right()).await? {
            let mut places = BTreeSet::new();
            for place in api.store.places_of_trace(trace_id).await? {
                if viewer.may_get(place.kind.map_or("tasks", Kind::plural), &place.namespace).await? {
                    places.insert(place);
                }
            }
            viewer.visibility = TraceVisibility::Places(places);
        }
        Ok(viewer)
    }

    async fn may_get(&mut self, resource: &'static str, namespace: &str) -> Result<bool, Problem> {
        let key = (resource, namespace.to_owned());
        if let Some(decided) = self.decided.get(&key) {
            return Ok(*decided);
        }
        let may = self.api.access.allows(self.caller, &Right::resource("get", resource, Some(namespace))).await?;
        self.decided.insert(key, may);
        Ok(may)
    }

    /// Whether `entry`, which the record has found fit, is told: of a denied request its own kind and namespace decide.
    async fn shows(&mut self, entry: &Entry) -> Result<bool, Problem> {
        if self.visibility == TraceVisibility::Everything || entry.entity_kind != EntityKind::AdmissionDenial {
            return Ok(true);
        }
        let text = |name: &str| entry.after.as_ref().and_then(|after| after.get(name)).and_then(Value::as_str);
        let resource = text("kind").and_then(Kind::parse).map_or("tasks", Kind::plural);
        match text("namespace") {
            Some(namespace) => self.may_get(resource, namespace).await,
            None => Ok(false),
        }
    }
}

/// The objects of a trace, as far as they are told.
#[derive(Default)]
struct TraceObjects {
    objects: Vec<Value>,
}

/// The work objects of a trace that are still to be told.
#[derive(Default)]
struct Remaining {
    /// What comes before all work, in causal order.
    causes: Vec<ObjectRow>,
    runs: BTreeMap<Id, ObjectRow>,
    /// By the Run that made them.
    artifacts: BTreeMap<Option<Id>, Vec<ObjectRow>>,
}

impl Remaining {
    fn add(&mut self, row: ObjectRow) {
        match &row.object.spec {
            Spec::Run(_) => drop(self.runs.insert(row.object.id, row)),
            Spec::Artifact(artifact) => self.artifacts.entry(artifact.produced_by.id()).or_default().push(row),
            _ => self.causes.push(row),
        }
    }

    fn artifacts_of(&mut self, run: Id) -> Vec<ObjectRow> {
        self.artifacts.remove(&Some(run)).unwrap_or_default()
    }
}

/// The story, and the Task after which there are more of them.
async fn collect(
    api: &Api,
    trace_id: &TraceId,
    viewer: &Viewer<'_>,
    after: Option<Id>,
) -> Result<(TraceObjects, Option<Id>), Problem> {
    let mut remaining = Remaining::default();
    for row in api.store.objects_of_trace(trace_id, &viewer.visibility).await? {
        remaining.add(row);
    }
    let mut found = TraceObjects::default();
    found.add_all(std::mem::take(&mut remaining.causes));
    let tasks = api.store.tasks_of_trace(trace_id, &viewer.visibility, after, TASKS).await?;
    let more = tasks.last().filter(|_| tasks.len() >= TASKS as usize).map(|task| task.id);
    for task in &tasks {
        found.objects.push(of_kind("Task", task.to_json()));
        found.add_attempts(api, task, &mut remaining).await?;
    }
    // Runs without a Task that is told, and Artifacts without such a Run.
    for (id, run) in std::mem::take(&mut remaining.runs) {
        found.add(&run);
        found.add_all(remaining.artifacts_of(id));
    }
    remaining.artifacts.into_values().for_each(|artifacts| found.add_all(artifacts));
    Ok((found, more))
}

impl TraceObjects {
    fn add(&mut self, row: &ObjectRow) {
        self.objects.push(shown(row));
    }

    fn add_all(&mut self, rows: Vec<ObjectRow>) {
        rows.iter().for_each(|row| self.add(row));
    }

    /// Adds the attempts of `task`: of each its Run, its Job, its files and its Artifacts.
    async fn add_attempts(&mut self, api: &Api, task: &TaskRow, remaining: &mut Remaining) -> Result<(), Problem> {
        let files = api.store.artifacts(task.id).await?;
        for job in api.store.jobs(task.id).await? {
            let run = task.run_id(job.attempt).and_then(|id| remaining.runs.remove(&id));
            run.iter().for_each(|run| self.add(run));
            self.objects.push(of_kind("Job", json!(job)));
            let of_job = files.iter().filter(|file| file.job_id == job.id);
            self.objects.extend(of_job.map(|file| of_kind("TraceFile", file_json(file))));
            run.iter().for_each(|run| self.add_all(remaining.artifacts_of(run.object.id)));
        }
        Ok(())
    }
}

fn of_kind(kind: &str, mut object: Value) -> Value {
    object["kind"] = json!(kind);
    object
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
