//! A Task on this machine, without a cluster: the same gate, record, worker, trace and provenance; processes in place of a
//! Job's pod.
//!
//! | of the cluster | here |
//! |---|---|
//! | custom resource, webhook | a file and the gate; who asks is the user of the operating system |
//! | database | a SQLite file in the folder of [`State`] |
//! | Job and its containers | `steps`: the same steps of the worker, as child processes |
//! | trace volume | a folder of it |
//! | Secret with the signing key | a file of it |
//! | relay, broker of models | `models`: parts of this process |
//! | a controller that starts again | `leftover`: what a killed run left open is closed by the next one |

mod leftover;
mod models;
mod private;
mod state;
mod steps;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

pub use leftover::close_leftovers;
pub use models::ModelAccess;
pub use state::{Held, State, StateError};
pub use steps::Process;

use crate::checkpoint::{self, Made};
use crate::domain::checkpoint::Checkpoint;
use crate::domain::executor::{Executor, NoExecutor};
use crate::domain::forge::Forges;
use crate::domain::trace::task_json;
use crate::domain::{Actor, FailureReason, Id, TraceId, id::sha256_hex};
use crate::jobs::{Attempt, job_name};
use crate::outcome::provenance::{Witness, write as write_provenance};
use crate::outcome::{Ended, judge};
use crate::store::{Ending, Failure, FinishTask, MarkRunning, NewTask, Recording, StartAttempt, StoreError, TaskRow};

/// URI of the builder that a provenance from here names: nobody but the user of this machine vouches for it.
pub const BUILDER_ID: &str = "https://jct.dev/local/v1";
/// Before a failed attempt is followed by the next.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The Task, as it is recorded.
    pub new: NewTask,
    /// What does it, or why nothing does.
    pub executor: Result<Executor, NoExecutor>,
    /// What it may ask models, if it asks any.
    pub models: Option<ModelAccess>,
    /// How its steps are started.
    pub process: Process,
}

/// What became of it.
#[derive(Clone, Debug)]
pub enum Ran {
    /// It ran to its end, whatever that is.
    Ended(Box<TaskRow>),
    /// Another Task has its idempotency key: nothing ran. This is that Task.
    Duplicate(Box<TaskRow>),
    /// A Task with its id was there before: nothing ran. This is that Task.
    Known(Box<TaskRow>),
}

/// Why a Task could not be brought to an end. What is recorded of it is closed by the next run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The record.
    #[error("the record: {0}")]
    Store(#[from] StoreError),
    /// The folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// The traces.
    #[error("the trace: {0}")]
    Trace(std::io::Error),
    /// A step.
    #[error("cannot start a step of the worker: {0}")]
    Start(std::io::Error),
}

/// An id, a trace id and a uid for a Task that is made now.
///
/// # Errors
/// Without randomness.
pub fn new_ids(now: Timestamp) -> Result<(Id, TraceId, String), getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    let uid = crate::domain::id::hex(&bytes);
    Ok((Id::derive(now, &uid), TraceId::derive(&uid), uid))
}

/// Records a Task that the gate let through, and runs it to its end. `stop` cancels it.
///
/// # Errors
/// [`RunError`]; a Task that does not get done is no error, but [`Ran::Ended`].
pub async fn run(state: &State, run: &Run, stop: &CancellationToken) -> Result<Ran, RunError> {
    let held = state.hold(run.new.id)?.ok_or(StateError::Busy(run.new.id))?;
    let row = match state.store.record_task(run.new.clone()).await? {
        Recording::Recorded(row) => *row,
        other => {
            held.release();
            return not_recorded(run.new.id, other);
        }
    };
    let row = match &run.executor {
        Ok(executor) => attempts(state, run, executor, row, &held, stop).await?,
        Err(none) => {
            let reason = FailureReason::ExecutorNotConfigured;
            let failure = Failure::new(reason.as_str(), none.to_string());
            finish(state, &row, Ending::Failed, failure, Actor::controller()).await?
        }
    };
    held.release();
    Ok(Ran::Ended(Box::new(row)))
}

fn not_recorded(id: Id, recording: Recording) -> Result<Ran, RunError> {
    match recording {
        Recording::Recorded(row) | Recording::Known(row) => Ok(Ran::Known(row)),
        Recording::Duplicate { first } => Ok(Ran::Duplicate(first)),
        // The ids are new, or pinned by one whom the gate let through now: the record has it otherwise.
        Recording::Refused(_) => Err(StateError::Refused(id).into()),
        Recording::Removed { at } => Err(StateError::Removed { id, at }.into()),
        Recording::IdTaken { .. } | Recording::Lost => Err(StateError::IdTaken(id).into()),
        Recording::KeyReused => Err(StateError::KeyReused.into()),
    }
}

async fn attempts(
    state: &State,
    run: &Run,
    executor: &Executor,
    mut row: TaskRow,
    held: &Held,
    stop: &CancellationToken,
) -> Result<TaskRow, RunError> {
    loop {
        row = attempt(state, run, executor, &row, held, stop).await?;
        if row.phase.is_terminal() {
            return Ok(row);
        }
        tracing::warn!(attempt = row.attempt, of = row.max_attempts, "the attempt failed; the next one follows");
        if stop.run_until_cancelled(tokio::time::sleep(RETRY_DELAY)).await.is_none() {
            let (failure, actor) = cancellation(&run.new.actor);
            return finish(state, &row, Ending::Cancelled, failure, actor).await;
        }
    }
}

/// One attempt, from its row to its provenance.
async fn attempt(
    state: &State,
    run: &Run,
    executor: &Executor,
    row: &TaskRow,
    held: &Held,
    stop: &CancellationToken,
) -> Result<TaskRow, RunError> {
    let number = row.attempt + 1;
    let name = job_name(row.id, number);
    let start = StartAttempt::of(row, number, name.clone(), Timestamp::now());
    let row = state.store.start_attempt(start).await?;
    let bytes = task_json(&row.task);
    let task_sha256 = sha256_hex(&bytes);
    state.traces.prepare(&row.namespace, row.id, number, &bytes).map_err(RunError::Trace)?;
    let running = MarkRunning { task_id: row.id, attempt: number, worker_id: name, commit: None, at: Timestamp::now() };
    let row = state.store.mark_running(running).await?;
    let attempt = Attempt {
        task_id: row.id,
        trace_id: &row.trace_id,
        namespace: &row.namespace,
        name: &row.name,
        task: &row.task,
        executor,
        number,
        task_sha256: &task_sha256,
    };
    let ended = steps::steps(run, state, (&row, &attempt), held, stop).await.map_err(RunError::Start)?;
    let cancelled = stop.is_cancelled().then(|| cancellation(&run.new.actor));
    conclude(state, &row, &ended, cancelled, &run.process.url, &executor.name).await
}

/// Judges an attempt's trace, records its outcome, then seals and signs it.
async fn conclude(
    state: &State,
    row: &TaskRow,
    ended: &Ended,
    cancelled: Option<(Failure, Actor)>,
    url: &str,
    executor: &str,
) -> Result<TaskRow, RunError> {
    let judgement = judge(&state.traces, row, ended).map_err(RunError::Trace)?;
    // Told to end, and then killed: who may do that here is who asked for the Task.
    let said = judgement.failure.as_ref().is_some_and(|(reason, _)| *reason == FailureReason::Cancelled);
    let asker = || Actor::authenticated(row.submitted_by.as_deref().unwrap_or_default());
    let cancelled = cancelled.or_else(|| said.then(|| cancellation(&asker())));
    let after = state.store.finish_attempt(judgement.attempt_end(row, ended, cancelled, 0, &Forges::default())).await?;
    vouch(state, row, url, executor).await?;
    Ok(after)
}

/// Signs every attempt of `row` that has ended and is not signed.
async fn vouch(state: &State, row: &TaskRow, url: &str, executor: &str) -> Result<(), RunError> {
    let witness = Witness {
        images: Vec::new(),
        source_url: url.into(),
        executor: executor.into(),
        builder_id: BUILDER_ID.into(),
        checkpoint: checkpoint(state).await,
    };
    for job in state.store.jobs(row.id).await? {
        if !job.status.is_terminal() || job.trace_removed_at.is_some() {
            continue;
        }
        match state.traces.has_provenance(&row.namespace, row.id, job.attempt) {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(task_id = %row.id, attempt = job.attempt, %error, "the trace cannot be read");
                continue;
            }
        }
        // Who recorded the outcome may have been killed before this.
        let manifest = state.traces.manifest(&row.namespace, row.id, job.attempt).ok();
        state.traces.seal(&row.namespace, row.id, job.attempt, manifest.as_ref().map(|(manifest, _)| manifest));
        if let Err(problem) = write_provenance(&state.traces, row, &job, &witness, &state.keys) {
            tracing::warn!(task_id = %row.id, attempt = job.attempt, %problem, "provenance was not written");
        }
    }
    Ok(())
}

/// The newest checkpoint of the audit log: one that is made now, if anything was written since the last.
async fn checkpoint(state: &State) -> Option<Checkpoint> {
    let last = match state.checkpoints.recent(state.keys.public()) {
        Ok(found) => found.newest().cloned(),
        Err(error) => {
            tracing::warn!(%error, path = %state.checkpoints.path().display(), "checkpoints cannot be read");
            return None;
        }
    };
    match checkpoint::make(&state.store, &state.keys, last.as_ref()).await {
        Ok(Made::Nothing) => last,
        Ok(Made::Signed(new, envelope)) => {
            if let Err(error) = state.checkpoints.append(&checkpoint::line(&envelope)) {
                tracing::warn!(%error, path = %state.checkpoints.path().display(), "a checkpoint was not written");
            }
            Some(*new)
        }
        Ok(Made::Refused(found)) => {
            tracing::error!(?found, "the audit log is not the one that was signed: see jct audit --verify");
            last
        }
        Err(error) => {
            tracing::warn!(%error, "no checkpoint of the audit log");
            last
        }
    }
}

async fn finish(
    state: &State,
    row: &TaskRow,
    ending: Ending,
    failure: Failure,
    actor: Actor,
) -> Result<TaskRow, RunError> {
    let finish = FinishTask { task_id: row.id, ending, failure, actor, at: Timestamp::now() };
    Ok(state.store.finish_task(finish).await?)
}

fn cancellation(actor: &Actor) -> (Failure, Actor) {
    (Failure::new("Cancelled", format!("cancelled by {}", actor.id)), actor.clone())
}

/// Where the trace of the latest attempt lies.
pub fn trace_folder(state: &State, row: &TaskRow) -> Option<PathBuf> {
    row.trace_path.as_ref().map(|path| state.traces.root().join(path))
}
