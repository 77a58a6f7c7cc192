//! The provenance of attempts: signed once their outcome is recorded, from what is recorded, and made up for later where a
//! crash, a missing key or the volume stood in the way.

use std::io;

use super::attempt::{blocking, executor};
use super::observe::images;
use crate::domain::provenance::ContainerImage;
use crate::jobs::source_url;
use crate::outcome::provenance::{Problem, Witness, write as write_to};
use crate::reconcile::Context;
use crate::reconcile::workers::AttemptKey;
use crate::store::{JobRow, TaskRow};

/// Sees to it that every attempt whose outcome is recorded has its provenance. `seen` are the images of the last one, if
/// its end was just seen. No outcome is held up by it: what fails is logged and counted. Volume, database if one is missing.
///
/// Returns whether there is nothing left to try.
pub async fn ensure(context: &Context, row: &TaskRow, seen: &[ContainerImage]) -> bool {
    let last = if row.attempt_is_open() { row.attempt.saturating_sub(1) } else { row.attempt };
    if last == 0 || context.signed.has(&row.uid, last) {
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
        context.signed.note(&row.uid, last);
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
    let (traces, row) = (context.traces.clone(), row.clone());
    let witness = Witness {
        images,
        source_url: match context.forges().for_repository(&row.task.target.repo) {
            Some(forge) => forge.git_url(&row.task.target.repo),
            None => source_url(&row.task, &context.jobs.source_url_template),
        },
        executor: executor(context, &row).map(|executor| executor.name).unwrap_or_default(),
        builder_id: context.builder_id.clone(),
        checkpoint: context.checkpoint.borrow().clone(),
    };
    blocking(move || Ok(write_to(&traces, &row, &job, &witness, &ring))).await?
}
