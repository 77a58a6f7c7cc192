//! The attempts of a Task, and the files of their traces.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::lookup::{self, RECORDED, is_sealed};
use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::error::Problem;
use crate::api::openapi::bodies;
use crate::api::query::{Params, PathId};
use crate::domain::trace::{FileKind, MANIFEST_FILE, PROVENANCE_FILE};
use crate::store::{JobRow, JobStatus, TaskRow};
use crate::trace::Stamp;

/// The trace of an attempt.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AttemptTrace {
    #[schemars(range(min = 1))]
    attempt: u32,
    /// Null while it runs.
    #[schemars(schema_with = "bodies::outcome_or_null")]
    outcome: Option<&'static str>,
    /// Whether the record has the digest of every file.
    sealed: bool,
    #[schemars(schema_with = "bodies::sha256_or_null")]
    manifest_sha256: Option<String>,
    /// Of a sealed one: whether the worker itself announced the manifest's digest.
    verified: Option<bool>,
    /// When retention removed the files.
    #[schemars(schema_with = "bodies::time_or_null")]
    removed_at: Option<Timestamp>,
    files: Vec<TraceFile>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct TraceFile {
    /// Relative to the trace; made by an executor.
    path: String,
    #[schemars(schema_with = "bodies::count")]
    size_bytes: u64,
    #[schemars(schema_with = "bodies::sha256_or_null")]
    sha256: Option<String>,
    /// By its name; it may be served as another one.
    media_type: String,
    #[schemars(schema_with = "bodies::file_kind")]
    kind: FileKind,
}

/// The traces of a Task
///
/// Its attempts, the newest last, each with the files of its trace. Those of a sealed trace have the digest that they were sealed
/// with; of one that is not, such as while the attempt runs, the files that the recorder writes are there, as large as they are
/// now. `verified` says whether the worker itself announced the digest of the manifest as it ended.
/// Needs the right to `get` `tasks/trace`.
#[utoipa::path(get, path = "/tasks/{id}/trace", tag = "results", operation_id = "list_traces",
    params(("id" = String, Path, description = "The Task's ULID")),
    responses(
        (status = 200, description = "The attempts", body = ref("#/components/schemas/Traces")),
        (status = 404, description = "There is no such Task, or none that the caller may get", body = ref("#/components/schemas/Problem"))))]
pub async fn list(State(api): State<Api>, caller: Caller, id: PathId, query: Params) -> Result<Response, Problem> {
    query.finish()?;
    let task = lookup::task(&api, &caller, &id).await?;
    let _turn = api.results.turn().await?;
    let mut attempts = Vec::new();
    for job in api.store.jobs(task.id).await? {
        attempts.push(attempt(&api, &task, &job).await?);
    }
    let text = serde_json::to_vec(&json!(attempts)).map_err(|error| Problem::internal("write traces", &error))?;
    api.answers.json(&caller, HeaderMap::new(), text).await
}

async fn attempt(api: &Api, task: &TaskRow, job: &JobRow) -> Result<AttemptTrace, Problem> {
    let outcome = match job.status {
        JobStatus::Completed => Some("succeeded"),
        JobStatus::Failed => Some("failed"),
        JobStatus::Pending | JobStatus::Claimed | JobStatus::Running => None,
    };
    let sealed = is_sealed(job);
    Ok(AttemptTrace {
        attempt: job.attempt,
        outcome,
        sealed,
        manifest_sha256: job.manifest_sha256.clone(),
        verified: job.manifest_announced.filter(|_| sealed),
        removed_at: job.trace_removed_at,
        files: if sealed { bound(api, task, job).await? } else { unbound(api, task, job).await? },
    })
}

/// The files that the record has a digest of, and the two that bind them.
async fn bound(api: &Api, task: &TaskRow, job: &JobRow) -> Result<Vec<TraceFile>, Problem> {
    let folder = job.trace_path.as_deref().unwrap_or_default();
    let mut files = Vec::new();
    for row in api.store.artifacts_of_job(job.id).await? {
        let Some(path) = row.uri.strip_prefix(folder).and_then(|path| path.strip_prefix('/')) else { continue };
        files.push(shown(path, row.size_bytes, Some(&row.checksum), &row.content_type, row.kind));
    }
    if job.trace_removed_at.is_none() {
        let sizes = sizes(api, task, job, vec![MANIFEST_FILE, PROVENANCE_FILE]).await?;
        for (path, size) in sizes {
            let sha256 = job.manifest_sha256.as_deref().filter(|_| path == MANIFEST_FILE);
            files.push(shown(path, size, sha256, "application/json", FileKind::File));
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// What the recorder has written so far.
async fn unbound(api: &Api, task: &TaskRow, job: &JobRow) -> Result<Vec<TraceFile>, Problem> {
    if job.trace_removed_at.is_some() {
        return Ok(Vec::new());
    }
    let sizes = sizes(api, task, job, RECORDED.iter().map(|(name, ..)| *name).collect()).await?;
    let known = |path: &str| RECORDED.iter().find(|(name, ..)| *name == path);
    let files = sizes.into_iter().filter_map(|(path, size)| {
        let (_, kind, media_type) = known(path)?;
        Some(shown(path, size, None, media_type, *kind))
    });
    Ok(files.collect())
}

/// Which of `names` are there, with their sizes.
async fn sizes(
    api: &Api,
    task: &TaskRow,
    job: &JobRow,
    names: Vec<&'static str>,
) -> Result<Vec<(&'static str, u64)>, Problem> {
    let volume = lookup::volume(api)?;
    let (namespace, id, attempt) = (task.namespace.clone(), task.id, job.attempt);
    let look = move || {
        let mut found = Vec::new();
        let Some(folder) = volume.folder(&namespace, id, attempt)? else { return Ok(found) };
        for name in names {
            if let Ok(file) = folder.open(name)? {
                found.push((name, Stamp::of(&file)?.size_bytes));
            }
        }
        Ok(found)
    };
    api.results.reading(look).await.map_err(|error| lookup::unreadable(&error))
}

fn shown(path: &str, size_bytes: u64, sha256: Option<&str>, media_type: &str, kind: FileKind) -> TraceFile {
    TraceFile { path: path.into(), size_bytes, sha256: sha256.map(str::to_owned), media_type: media_type.into(), kind }
}
