//! The end of an attempt: its trace is checked, its outcome recorded, its folder sealed.

use super::attempt::blocking;
use super::decide::End;
use super::situation::requested_end;
use super::validate::Validated;
use crate::crd::status::Reason;
use crate::domain::{Actor, FailureReason, Phase};
use crate::outcome::{Ended, judge, seal};
use crate::reconcile::metrics::OutcomeLabels;
use crate::reconcile::{Context, Error};
use crate::store::{Failure, TaskRow};

/// Checks the trace of the open attempt and records its outcome; then seals the folder.
///
/// # Errors
/// If the volume or the database does not answer. Nothing is recorded then.
pub async fn finish(context: &Context, task: &Validated, row: &TaskRow, ended: &Ended) -> Result<TaskRow, Error> {
    let (traces, of, how) = (context.traces.clone(), row.clone(), ended.clone());
    let judgement = blocking(move || judge(&traces, &of, &how)).await.map_err(Error::volume("check a trace"))?;
    let cancelled = match requested_end(task) {
        Some(end) => Some(cancellation(context, task, end).await?),
        None => None,
    };
    let end = judgement.attempt_end(row, ended, cancelled, context.timing.infrastructure_retries, &context.forges());
    let recorded = context.store.finish_attempt(end).await.map_err(Error::store("record the outcome of an attempt"))?;
    note_outcome(context, &recorded);
    let (traces, of) = (context.traces.clone(), row.clone());
    let sealing = move || {
        seal(&traces, &of, &judgement);
        Ok(())
    };
    // Its digests are recorded: a folder that stays writable is noticed when it changes.
    if let Err(error) = blocking(sealing).await {
        tracing::warn!(task_id = %row.id, trace_id = %row.trace_id, %error, "trace folder was not sealed");
    }
    Ok(recorded)
}

/// Why and by whom a Task is cancelled. Database.
///
/// # Errors
/// If the database does not answer.
pub async fn cancellation(context: &Context, task: &Validated, end: End) -> Result<(Failure, Actor), Error> {
    Ok(match end {
        End::Cancelled => {
            let message = format!("cancelled by {}", task.canceller.id);
            (Failure::new(Reason::Cancelled.as_str(), message), task.canceller.clone())
        }
        End::Deleted => {
            let deleter = context.deleter(&task.head.uid).await?;
            (Failure::new(Reason::Deleted.as_str(), task.if_deleted), deleter.actor)
        }
    })
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
