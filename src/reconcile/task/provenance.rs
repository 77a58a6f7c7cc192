//! The provenance of attempts: signed once their outcome is recorded, from what is recorded, and made up for later where a
//! crash, a missing key or the volume stood in the way.

use std::io;

use serde_json::Value;

use super::attempt::{blocking, executor, task_json};
use super::observe::images;
use crate::domain::id::sha256_hex;
use crate::domain::provenance::{Bound, ContainerImage, Facts, Statement};
use crate::domain::trace::{Manifest, Outcome};
use crate::jobs::source_url;
use crate::reconcile::Context;
use crate::reconcile::workers::AttemptKey;
use crate::store::{JobRow, JobStatus, TaskRow};

/// Why an attempt has no provenance.
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// Worth another try.
    #[error("{0}")]
    Passing(String),
    /// What was recorded is no longer there: nothing is left to vouch for.
    #[error("{0}")]
    Gone(String),
    /// What is there is not what was recorded.
    #[error("{0}")]
    Changed(String),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Passing(error.to_string())
    }
}

/// Sees to it that every attempt whose outcome is recorded has its provenance. `seen` are the images of the last one, if
/// its end was just seen. No outcome is held up by it: what fails is logged and counted. Volume, database if one is missing.
///
/// Returns whether there is nothing left to try.
pub async fn ensure(context: &Context, row: &TaskRow, seen: &[ContainerImage]) -> bool {
    let last = if row.attempt_is_open() { row.attempt.saturating_sub(1) } else { row.attempt };
    if last == 0 || context.settled.has(row.id, last) {
        return true;
    }
    let settled = match missing(context, row, last).await {
        Ok(missing) if missing.is_empty() => true,
        Ok(missing) => write_all(context, row, &missing, seen).await,
        Err(error) => {
            failed(context, row, last, &error.to_string());
            false
        }
    };
    if settled {
        context.settled.note(row.id, last);
    }
    settled
}

async fn missing(context: &Context, row: &TaskRow, last: u32) -> io::Result<Vec<u32>> {
    let (traces, namespace, id) = (context.traces.clone(), row.namespace.clone(), row.id);
    blocking(move || {
        let mut missing = Vec::new();
        for attempt in 1..=last {
            if !traces.has_provenance(&namespace, id, attempt)? {
                missing.push(attempt);
            }
        }
        Ok(missing)
    })
    .await
}

async fn write_all(context: &Context, row: &TaskRow, missing: &[u32], seen: &[ContainerImage]) -> bool {
    let jobs = match context.store.jobs(row.id).await {
        Ok(jobs) => jobs,
        Err(error) => {
            failed(context, row, row.attempt, &error.to_string());
            return false;
        }
    };
    let mut settled = true;
    // A trace that retention has removed has nothing left to vouch for.
    let is_due =
        |job: &JobRow| missing.contains(&job.attempt) && job.status.is_terminal() && job.trace_removed_at.is_none();
    for job in jobs.into_iter().filter(is_due) {
        let attempt = job.attempt;
        let images = if attempt == row.attempt && !seen.is_empty() { seen.to_vec() } else { cached(context, &job) };
        match write(context, row, job, images).await {
            Ok(()) => {}
            Err(Problem::Gone(why)) => {
                tracing::debug!(task_id = %row.id, trace_id = %row.trace_id, attempt, why, "no provenance for a trace");
            }
            Err(Problem::Changed(why)) => failed(context, row, attempt, &why),
            Err(Problem::Passing(why)) => {
                settled = false;
                failed(context, row, attempt, &why);
            }
        }
    }
    settled
}

fn failed(context: &Context, row: &TaskRow, attempt: u32, why: &str) {
    context.metrics.provenance_failures.inc();
    tracing::warn!(task_id = %row.id, trace_id = %row.trace_id, attempt, why, "provenance was not written");
}

/// The images that the attempt's pod tells of, while it is there.
fn cached(context: &Context, job: &JobRow) -> Vec<ContainerImage> {
    let pods = context.workers.pods.get(&AttemptKey::new(job.task_id, job.attempt));
    pods.iter().max_by_key(|pod| pod.metadata.creation_timestamp.clone()).map(|pod| images(pod)).unwrap_or_default()
}

async fn write(context: &Context, row: &TaskRow, job: JobRow, images: Vec<ContainerImage>) -> Result<(), Problem> {
    let ring = context.keys.current().ok_or_else(|| Problem::Passing("there is no signing key yet".into()))?;
    let traces = context.traces.clone();
    let (row, builder_id) = (row.clone(), context.builder_id.clone());
    // The manifest knows better; without one there is only the configuration as it is now.
    let executor = executor(context, &row).map(|executor| executor.name).unwrap_or_default();
    let source_url = source_url(&row.task, &context.jobs.source_url_template);
    let work = move || {
        let (id, attempt) = (row.id, job.attempt);
        let trace = match trace(&traces, &row, &job) {
            Ok(trace) => trace,
            Err(problem) => return Ok(Err(problem)),
        };
        let statement = statement(&row, &job, &trace, &images, &source_url, &executor, &builder_id);
        let envelope = serde_json::to_vec(&ring.signing().sign(&statement.to_payload()))?;
        traces.write_provenance(&row.namespace, id, attempt, trace.manifest.is_some(), &envelope)?;
        Ok(Ok(()))
    };
    blocking(work).await?
}

/// What binds the files of a trace, as it was recorded.
struct Trace {
    manifest: Option<Manifest>,
    sha256: String,
}

fn trace(traces: &crate::trace::TraceVolume, row: &TaskRow, job: &JobRow) -> Result<Trace, Problem> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Problem::Gone("the trace is not on the volume any more".into()),
        // A document that is no document any more.
        _ if error.raw_os_error().is_none() => Problem::Changed(error.to_string()),
        _ => Problem::Passing(error.to_string()),
    };
    match (job.trace_complete, &job.manifest_sha256) {
        (Some(true), Some(recorded)) => {
            let (manifest, bytes) = traces.manifest(&row.namespace, row.id, job.attempt).map_err(unreadable)?;
            let sha256 = sha256_hex(&bytes);
            if sha256 != *recorded {
                return Err(Problem::Changed("manifest.json is not the one that was recorded".into()));
            }
            Ok(Trace { manifest: Some(manifest), sha256 })
        }
        (Some(_), _) => {
            let (_, bytes) = traces.incomplete(&row.namespace, row.id, job.attempt).map_err(unreadable)?;
            Ok(Trace { manifest: None, sha256: sha256_hex(&bytes) })
        }
        (None, _) => Err(Problem::Gone("no trace of the attempt was recorded".into())),
    }
}

fn statement(
    row: &TaskRow,
    job: &JobRow,
    trace: &Trace,
    images: &[ContainerImage],
    source_url: &str,
    executor: &str,
    builder_id: &str,
) -> Statement {
    let bound = match &trace.manifest {
        Some(manifest) => Bound::Manifest { manifest, sha256: &trace.sha256 },
        None => Bound::Incomplete { sha256: &trace.sha256 },
    };
    Statement::of(&Facts {
        task_id: row.id,
        trace_id: &row.trace_id,
        namespace: &row.namespace,
        attempt: job.attempt,
        executor: trace.manifest.as_ref().map_or(executor, |manifest| &manifest.executor),
        // As in task.json, which is made from the same row.
        task: serde_json::from_slice::<Value>(&task_json(row)).unwrap_or_default(),
        source_url,
        git_ref: &row.task.target.git_ref,
        commit: job.commit.as_deref(),
        images,
        bound,
        outcome: if job.status == JobStatus::Completed { Outcome::Succeeded } else { Outcome::Failed },
        failure: job.error.as_ref().map(|failure| (failure.reason.as_str(), failure.message.as_str())),
        exit_code: job.exit_code,
        started_at: job.started_at,
        ended_at: job.ended_at,
        builder_id,
        version: env!("CARGO_PKG_VERSION"),
    })
}
