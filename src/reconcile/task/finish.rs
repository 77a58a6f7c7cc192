//! The end of an attempt: its trace is checked, its outcome recorded, its folder sealed.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::attempt::{blocking, task_json};
use super::decide::End;
use super::observe::Ended;
use super::requested_end;
use super::validate::Validated;
use crate::crd::status::Reason;
use crate::domain::id::sha256_hex;
use crate::domain::trace::{Expected, Manifest, Outcome, folder};
use crate::domain::{Actor, FailureReason, Phase};
use crate::reconcile::{Context, Error};
use crate::runtime::metrics::OutcomeLabels;
use crate::store::{AttemptEnd, Failure, Next, TaskRow, TraceRecord};
use crate::trace::{Found, incomplete};

/// Checks the trace of the open attempt and records its outcome; then seals the folder.
///
/// # Errors
/// If the volume or the database does not answer. Nothing is recorded then.
pub async fn finish(context: &Context, task: &Validated, row: &TaskRow, ended: &Ended) -> Result<TaskRow, Error> {
    let found = inspect(context, row).await?;
    let judgement = judge(&found, ended);
    if judgement.manifest().is_none() {
        let reason = judgement.failure.as_ref().map_or("no manifest", |(reason, _)| reason.as_str()).to_owned();
        mark_incomplete(context, row, reason).await?;
    }
    let end = AttemptEnd {
        task_id: row.id,
        attempt: row.attempt,
        next: next(task, row, &judgement, context.timing.infrastructure_retries),
        trace: Some(trace_record(row, &judgement)),
        exit_code: judgement.manifest().and_then(|manifest| manifest.exit_code).or(ended.exit_code),
        worker_id: ended.pod.clone(),
        commit: judgement.manifest().and_then(|manifest| manifest.source.as_ref().map(|source| source.commit.clone())),
        started_at: judgement.manifest().map(|manifest| manifest.started_at).or(ended.started_at),
        ended_at: ended.ended_at.unwrap_or_else(Timestamp::now),
    };
    let recorded = context.store.finish_attempt(end).await.map_err(Error::store("record the outcome of an attempt"))?;
    note_outcome(context, &recorded);
    seal(context, row, judgement.complete).await;
    Ok(recorded)
}

/// What the trace and Kubernetes together say of an attempt.
#[derive(Clone, Debug)]
struct Judgement {
    failure: Option<(FailureReason, String)>,
    complete: Option<(Box<Manifest>, String)>,
}

impl Judgement {
    fn manifest(&self) -> Option<&Manifest> {
        self.complete.as_ref().map(|(manifest, _)| &**manifest)
    }
}

/// A trace that holds is believed, for it is the fuller account; without one an attempt has not succeeded.
fn judge(found: &Found, ended: &Ended) -> Judgement {
    let failed = |reason, message: String| Judgement {
        failure: Some(ended.failure.clone().unwrap_or((reason, message))),
        complete: None,
    };
    match found {
        Found::Complete { manifest, sha256 } => {
            let said = ended.termination.as_ref().and_then(|said| said.manifest_sha256.as_ref());
            if said.is_some_and(|said| said != sha256) {
                return Judgement {
                    failure: Some((
                        FailureReason::TraceInvalid,
                        "manifest.json is not the one that the worker wrote, by the digest in its termination message"
                            .into(),
                    )),
                    complete: None,
                };
            }
            let failure = match manifest.outcome {
                Outcome::Succeeded => None,
                Outcome::Failed => {
                    let reason = manifest.reason.unwrap_or(FailureReason::WorkerFailed);
                    Some(interruption(reason, manifest.message.clone().unwrap_or_default(), ended))
                }
            };
            Judgement { failure, complete: Some((manifest.clone(), sha256.clone())) }
        }
        Found::Incomplete => failed(FailureReason::TraceInvalid, "the worker ended without sealing its trace".into()),
        Found::Invalid(why) => match &ended.failure {
            Some((reason, message)) => Judgement {
                failure: Some((*reason, format!("{message}; besides, its trace is invalid: {why}"))),
                complete: None,
            },
            None => failed(FailureReason::TraceInvalid, why.clone()),
        },
    }
}

/// A worker that was told to stop, or whose supervisor was killed, knows that, but not by whom; Kubernetes may.
fn interruption(reason: FailureReason, message: String, ended: &Ended) -> (FailureReason, String) {
    use FailureReason::{Evicted, NodeLost, OomKilled, TimeBudgetExceeded, WorkerFailed};
    match (reason, &ended.failure) {
        (Evicted, Some((by @ (NodeLost | TimeBudgetExceeded), why))) | (WorkerFailed, Some((by @ OomKilled, why))) => {
            (*by, if why.is_empty() { message } else { why.clone() })
        }
        _ => (reason, message),
    }
}

fn next(task: &Validated, row: &TaskRow, judgement: &Judgement, infrastructure_retries: u32) -> Next {
    let Some((reason, message)) = &judgement.failure else {
        return Next::Completed { result: result(judgement) };
    };
    if let Some(end) = requested_end(task) {
        let (failure, actor) = cancellation(task, end);
        return Next::Cancelled { failure, actor };
    }
    let failure = Failure::new(reason.as_str(), message.clone());
    let is_allowed = if reason.is_infrastructure() {
        row.infrastructure_failures < infrastructure_retries
    } else {
        row.attempt < row.allowed_attempts()
    };
    if reason.is_retryable() && is_allowed { Next::Retry(failure) } else { Next::Failed(failure) }
}

/// What the record keeps of a success: a summary, small and without the files themselves.
fn result(judgement: &Judgement) -> Value {
    let Some((manifest, sha256)) = &judgement.complete else { return Value::Null };
    json!({
        "outcome": "succeeded",
        "executor": manifest.executor,
        "source": manifest.source,
        "exit_code": manifest.exit_code,
        "manifest_sha256": sha256,
        "artifacts": manifest.files.iter().filter(|file| file.path.starts_with("artifacts/")).map(|file| &file.path).take(100).collect::<Vec<_>>(),
    })
}

/// Why and by whom a Task is cancelled.
pub fn cancellation(task: &Validated, end: End) -> (Failure, Actor) {
    match end {
        End::Cancelled => {
            let message = format!("cancelled by {}", task.canceller.id);
            (Failure::new(Reason::Cancelled.as_str(), message), task.canceller.clone())
        }
        End::Deleted => {
            (Failure::new(Reason::Deleted.as_str(), "its object was deleted before its end"), Actor::controller())
        }
    }
}

fn trace_record(row: &TaskRow, judgement: &Judgement) -> TraceRecord {
    let path = folder(&row.namespace, row.id, row.attempt);
    match &judgement.complete {
        Some((manifest, sha256)) => {
            TraceRecord { path, manifest_sha256: Some(sha256.clone()), files: manifest.files.clone(), complete: true }
        }
        None => TraceRecord { path, manifest_sha256: None, files: Vec::new(), complete: false },
    }
}

/// Counts an outcome that was just recorded.
pub fn note_outcome(context: &Context, row: &TaskRow) {
    if !row.phase.is_terminal() {
        return;
    }
    let reason = match (&row.error, row.phase) {
        (_, Phase::Completed) => Reason::Completed.as_str(),
        (Some(error), _) => FailureReason::parse(&error.reason).map_or("Cancelled", FailureReason::as_str),
        (None, _) => "Unknown",
    };
    tracing::info!(
        task_id = %row.id, trace_id = %row.trace_id, namespace = row.namespace, name = row.name,
        phase = %row.phase, reason, attempt = row.attempt, "Task ended"
    );
    context.metrics.outcomes.get_or_create(&OutcomeLabels { phase: row.phase.as_str(), reason }).inc();
}

async fn inspect(context: &Context, row: &TaskRow) -> Result<Found, Error> {
    let (traces, row) = (context.traces.clone(), row.clone());
    blocking(move || {
        let task_sha256 = sha256_hex(&task_json(&row));
        traces.clear(&row.namespace, row.id, row.attempt)?;
        traces.inspect(&expected(&row, &task_sha256))
    })
    .await
    .map_err(Error::volume("check a trace"))
}

async fn mark_incomplete(context: &Context, row: &TaskRow, reason: String) -> Result<(), Error> {
    let (traces, row) = (context.traces.clone(), row.clone());
    blocking(move || {
        let note = incomplete(&expected(&row, ""), &reason, Timestamp::now());
        traces.mark_incomplete(&row.namespace, &note)
    })
    .await
    .map_err(Error::volume("mark a trace as incomplete"))
}

async fn seal(context: &Context, row: &TaskRow, complete: Option<(Box<Manifest>, String)>) {
    let (traces, namespace, id, attempt) = (context.traces.clone(), row.namespace.clone(), row.id, row.attempt);
    let sealed = blocking(move || {
        traces.seal(&namespace, id, attempt, complete.as_ref().map(|(manifest, _)| &**manifest));
        Ok(())
    });
    // Its digests are recorded: a folder that stays writable is noticed when it changes.
    if let Err(error) = sealed.await {
        tracing::warn!(task_id = %row.id, trace_id = %row.trace_id, %error, "trace folder was not sealed");
    }
}

fn expected<'a>(row: &'a TaskRow, task_sha256: &'a str) -> Expected<'a> {
    Expected { task_id: row.id, trace_id: &row.trace_id, namespace: &row.namespace, attempt: row.attempt, task_sha256 }
}
