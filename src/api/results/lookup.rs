//! Finding an attempt and a file of it.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tracing::warn;

use super::media;
use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::error::Problem;
use crate::api::query::PathId;
use crate::api::tasks;
use crate::domain::trace::{
    CLAIM_FILE, EVENTS_FILE, FileKind, INCOMPLETE_FILE, LOG_FILE, MANIFEST_FILE, MAX_MANIFEST_BYTES, MODEL_BODIES_FILE,
    MODEL_FILE, PROVENANCE_FILE, STDERR_FILE, STDOUT_FILE, TASK_FILE, is_inside,
};
use crate::store::{JobRow, TaskRow};
use crate::trace::{Stamp, TraceVolume};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Files that recorder and operator write, whatever the executor does: all that there is of a trace that is not sealed.
pub const RECORDED: [(&str, FileKind, &str); 10] = [
    (TASK_FILE, FileKind::File, JSON),
    (CLAIM_FILE, FileKind::File, JSON),
    (EVENTS_FILE, FileKind::Log, "application/jsonl"),
    (LOG_FILE, FileKind::Log, TEXT),
    (STDOUT_FILE, FileKind::Log, TEXT),
    (STDERR_FILE, FileKind::Log, TEXT),
    (MODEL_FILE, FileKind::Log, "application/jsonl"),
    (MODEL_BODIES_FILE, FileKind::Log, "application/jsonl"),
    (INCOMPLETE_FILE, FileKind::Error, JSON),
    (PROVENANCE_FILE, FileKind::File, JSON),
];

/// A file that is there.
#[derive(Clone, Debug)]
pub struct Found {
    pub file: Arc<File>,
    /// What it was when it was opened.
    pub stamp: Stamp,
    /// What it was sealed as, if it was; then it is that.
    pub sha256: Option<String>,
    pub media_type: &'static str,
}

/// What became of looking for a file.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It is there, and if it was sealed, it is what was sealed.
    There(Found),
    Missing,
    /// It is not what was sealed, and why.
    Changed(String),
}

/// What a file was sealed as.
struct Bound {
    sha256: String,
    /// None if only the digest is recorded.
    size_bytes: Option<u64>,
    media_type: &'static str,
}

/// The Task, for a caller who may read its traces.
///
/// # Errors
/// 404 if they may not get the Task, 403 if they may not read traces.
pub async fn task(api: &Api, caller: &Caller, id: &PathId) -> Result<TaskRow, Problem> {
    let task = tasks::find(api, caller, "get", id).await?;
    api.access.require(caller, &super::right(&task.namespace)).await?;
    Ok(task)
}

/// The attempt of this number, as a path has it.
///
/// # Errors
/// 404 if there is none, 410 if its trace was removed.
pub async fn attempt(api: &Api, task: &TaskRow, number: &str) -> Result<JobRow, Problem> {
    let is_number = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
    let number: Option<u32> = is_number.then(|| number.parse().ok()).flatten();
    let jobs = api.store.jobs(task.id).await?;
    let job = jobs.into_iter().find(|job| Some(job.attempt) == number);
    let job = job.ok_or_else(|| Problem::not_found("Attempt not found"))?;
    present(&job)?;
    Ok(job)
}

/// That the trace of `job` was not removed.
///
/// # Errors
/// 410 if it was.
pub fn present(job: &JobRow) -> Result<(), Problem> {
    let Some(at) = job.trace_removed_at else { return Ok(()) };
    let rule = job.trace_removed_by.as_deref().unwrap_or("retention");
    let message = format!("the trace of attempt {} was removed at {at} by {rule}; its record stays", job.attempt);
    Err(Problem::named(StatusCode::GONE, "trace_removed", message))
}

/// Whether the record binds the files of `job`.
pub fn is_sealed(job: &JobRow) -> bool {
    job.trace_complete == Some(true) && job.manifest_sha256.is_some()
}

/// The file called `path` of an attempt; none if there is none.
///
/// # Errors
/// 409 if it is not what was sealed, 410 if it was removed meanwhile, 503 if the volume cannot be read, or hashing the file takes
/// long.
pub async fn file(api: &Api, task: &TaskRow, job: &JobRow, path: &str) -> Result<Option<Found>, Problem> {
    // A digest goes on being made when nobody waits for it.
    let patience = api.settings.timeout.mul_f32(0.8);
    match find_within(api, task, job, path, patience).await? {
        Lookup::There(found) => Ok(Some(found)),
        Lookup::Missing => Ok(None),
        Lookup::Changed(why) => {
            // Retention may have been faster.
            attempt(api, task, &job.attempt.to_string()).await?;
            Err(changed(api, task, job, path, &why))
        }
    }
}

/// 409: a file is not what was sealed.
pub fn changed(api: &Api, task: &TaskRow, job: &JobRow, path: &str, why: &str) -> Problem {
    api.health.metrics.trace_files_changed.inc();
    warn!(task_id = %task.id, trace_id = %task.trace_id, attempt = job.attempt, path, why, "a sealed file is not what was sealed");
    let message = format!("the file is not what was sealed: {why}");
    Problem::named(StatusCode::CONFLICT, "trace_changed", message)
}

/// The same as [`file()`], with what is wrong as a value, and for as long as a large file takes to be hashed.
///
/// # Errors
/// 503 if the volume cannot be read.
pub async fn find(api: &Api, task: &TaskRow, job: &JobRow, path: &str) -> Result<Lookup, Problem> {
    find_within(api, task, job, path, Duration::MAX).await
}

/// The same, but 503 where hashing takes longer than `patience`.
async fn find_within(
    api: &Api,
    task: &TaskRow,
    job: &JobRow,
    path: &str,
    patience: Duration,
) -> Result<Lookup, Problem> {
    if !is_inside(path) {
        return Ok(Lookup::Missing);
    }
    if !is_sealed(job) || path == PROVENANCE_FILE {
        let Some((_, _, media_type)) = RECORDED.iter().find(|(name, ..)| *name == path) else {
            return Ok(Lookup::Missing);
        };
        return Ok(match open(api, task, job, path).await? {
            Ok((file, stamp)) => Lookup::There(Found { file, stamp, sha256: None, media_type }),
            Err(_) => Lookup::Missing,
        });
    }
    let Some(bound) = bound(api, job, path).await? else { return Ok(Lookup::Missing) };
    let (file, stamp) = match open(api, task, job, path).await? {
        Ok(opened) => opened,
        Err(why) => return Ok(Lookup::Changed(why)),
    };
    let fits = bound.size_bytes.map_or(stamp.size_bytes <= MAX_MANIFEST_BYTES, |size| size == stamp.size_bytes);
    if !fits {
        return Ok(Lookup::Changed("its size is another one".into()));
    }
    let digest = api.results.digests.of(file.clone(), stamp);
    let being_checked = |_| {
        let message = "the file is large, and is being checked against its digest; ask again for it";
        Problem::named(StatusCode::SERVICE_UNAVAILABLE, "being_checked", message).retry_after(5)
    };
    let digest = tokio::time::timeout(patience, digest).await.map_err(being_checked)?;
    Ok(match digest.map_err(|error| unreadable(&error))? {
        Some(sha256) if sha256 == bound.sha256 => {
            Lookup::There(Found { file, stamp, sha256: Some(sha256), media_type: bound.media_type })
        }
        Some(_) => Lookup::Changed("its digest is another one".into()),
        None => Lookup::Changed("it changed while it was read".into()),
    })
}

/// What the record says of a file of a sealed trace.
async fn bound(api: &Api, job: &JobRow, path: &str) -> Result<Option<Bound>, Problem> {
    if path == MANIFEST_FILE {
        let sha256 = job.manifest_sha256.clone();
        return Ok(sha256.map(|sha256| Bound { sha256, size_bytes: None, media_type: JSON }));
    }
    let Some(folder) = &job.trace_path else { return Ok(None) };
    let row = api.store.artifact_of_job(job.id, &format!("{folder}/{path}")).await?;
    Ok(row.map(|row| Bound {
        sha256: row.checksum,
        size_bytes: Some(row.size_bytes),
        media_type: media::plain(&row.content_type),
    }))
}

/// Opens a file, or says what is wrong with it.
async fn open(
    api: &Api,
    task: &TaskRow,
    job: &JobRow,
    path: &str,
) -> Result<Result<(Arc<File>, Stamp), String>, Problem> {
    let volume = volume(api)?;
    let (namespace, id, attempt, path) = (task.namespace.clone(), task.id, job.attempt, path.to_owned());
    let open = move || {
        if !volume.is_mounted() {
            return Err(io::Error::other("the trace volume is not mounted"));
        }
        let Some(folder) = volume.folder(&namespace, id, attempt)? else {
            return Ok(Err("its folder is missing".to_owned()));
        };
        match folder.open(&path)? {
            Ok(file) => {
                let stamp = Stamp::of(&file)?;
                Ok(Ok((Arc::new(file), stamp)))
            }
            Err(why) => Ok(Err(why)),
        }
    };
    api.results.reading(open).await.map_err(|error| unreadable(&error))
}

/// The volume.
///
/// # Errors
/// 503 if this process has none.
pub fn volume(api: &Api) -> Result<TraceVolume, Problem> {
    let volume = api.results.volume.clone();
    volume.ok_or_else(|| Problem::unavailable("this replica has no trace volume"))
}

/// 503: the volume cannot be read.
pub fn unreadable(error: &io::Error) -> Problem {
    warn!(%error, "the trace volume cannot be read");
    Problem::unavailable("the trace volume cannot be read; try again")
}
