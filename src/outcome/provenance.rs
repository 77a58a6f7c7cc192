//! The provenance of an attempt: signed once its outcome is recorded, from what is recorded.

use std::io;

use serde_json::Value;

use crate::domain::checkpoint::Checkpoint;
use crate::domain::id::sha256_hex;
use crate::domain::provenance::{Bound, ContainerImage, Facts, Statement};
use crate::domain::trace::{Manifest, Outcome, task_json};
use crate::domain::url::without_credentials;
use crate::signing::KeyRing;
use crate::store::{JobRow, JobStatus, TaskRow};
use crate::trace::TraceVolume;

/// Why an attempt has no provenance.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
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

/// What a statement says besides what is recorded.
#[derive(Clone, Debug)]
pub struct Witness {
    /// The images that the attempt ran, where known.
    pub images: Vec<ContainerImage>,
    /// Where the repository was fetched from.
    pub source_url: String,
    /// Name of the executor by the configuration as it is now; the manifest knows better.
    pub executor: String,
    /// URI of the installation that vouches for it.
    pub builder_id: String,
    /// The newest checkpoint of the audit log, where there is one.
    pub checkpoint: Option<Checkpoint>,
}

/// Signs what is recorded of an attempt that has ended, and writes that beside its manifest. Blocks.
///
/// # Errors
/// [`Problem`] says whether another try is worth it.
pub fn write(
    traces: &TraceVolume,
    row: &TaskRow,
    job: &JobRow,
    witness: &Witness,
    ring: &KeyRing,
) -> Result<(), Problem> {
    let trace = trace(traces, row, job)?;
    let statement = statement(row, job, &trace, witness);
    let envelope = serde_json::to_vec(&ring.signing().sign(&statement.to_payload())).map_err(io::Error::from)?;
    traces.write_provenance(&row.namespace, row.id, job.attempt, trace.manifest.is_some(), &envelope)?;
    Ok(())
}

/// What binds the files of a trace, as it was recorded.
struct Trace {
    manifest: Option<Manifest>,
    sha256: String,
}

fn trace(traces: &TraceVolume, row: &TaskRow, job: &JobRow) -> Result<Trace, Problem> {
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

fn statement(row: &TaskRow, job: &JobRow, trace: &Trace, witness: &Witness) -> Statement {
    let Witness { images, source_url, executor, builder_id, checkpoint } = witness;
    let bound = match &trace.manifest {
        Some(manifest) => Bound::Manifest { manifest, sha256: &trace.sha256 },
        None => Bound::Incomplete { sha256: &trace.sha256 },
    };
    Statement::of(&Facts {
        task_id: row.id,
        trace_id: &row.trace_id,
        namespace: &row.namespace,
        submitted_by: row.submitted_by.as_deref(),
        attempt: job.attempt,
        executor: trace.manifest.as_ref().map_or(executor, |manifest| &manifest.executor),
        // As in task.json, which is made from the same row.
        task: serde_json::from_slice::<Value>(&task_json(&row.task)).unwrap_or_default(),
        source_url: &without_credentials(source_url),
        git_ref: &row.task.target.git_ref,
        commit: job.commit.as_deref(),
        images,
        bound,
        announced: job.manifest_announced,
        outcome: if job.status == JobStatus::Completed { Outcome::Succeeded } else { Outcome::Failed },
        failure: job.error.as_ref().map(|failure| (failure.reason.as_str(), failure.message.as_str())),
        exit_code: job.exit_code,
        started_at: job.started_at,
        ended_at: job.ended_at,
        builder_id,
        version: env!("CARGO_PKG_VERSION"),
        checkpoint: checkpoint.as_ref(),
    })
}
