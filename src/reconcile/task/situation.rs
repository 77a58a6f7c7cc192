//! What decisions about a Task are made from.

use std::time::Duration;

use super::attempt::{self, Observed};
use super::decide::{self, End, Situation};
use super::validate::Validated;
use crate::domain::Finding;
use crate::domain::executor::NoExecutor;
use crate::reconcile::Context;
use crate::store::TaskRow;

/// What is known of a Task before [`super::decide::decide`] says what to do.
pub fn situation<'a>(
    context: &Context,
    task: &Validated,
    row: &TaskRow,
    look: Observed,
    findings: &'a [Finding],
) -> Situation<'a> {
    Situation {
        suspend: task.spec.controls.suspend,
        end: requested_end(task),
        attempt: row.attempt,
        attempt_is_open: row.attempt_is_open(),
        attempt_ended_at: row.attempt_ended_at,
        has_begun: look.has_begun,
        observation: look.observation,
        findings,
        no_executor: attempt::executor(context, row).err().map(|none| none_yet(context, row, &none)),
        has_turn: task.has_turn,
        retry_delay: context.timing.retry_delay,
        waited: match row.attempt_ended_at {
            Some(_) if !row.attempt_is_open() => context.retry_waits.waited(&task.head.uid, row.attempt),
            _ => Duration::ZERO,
        },
        now: context.clock.now(),
    }
}

/// That no executor does it, and how long one may still come.
fn none_yet(context: &Context, row: &TaskRow, none: &NoExecutor) -> decide::NoExecutor {
    let since = row.attempt_ended_at.unwrap_or(row.recorded_at);
    let waited = Duration::try_from(context.clock.now().duration_since(since)).unwrap_or_default();
    // A Task that was let go now may have been recorded long ago: a configuration that came with it needs a restart.
    let waited = waited.min(context.started.elapsed());
    decide::NoExecutor { why: none.to_string(), patience: context.timing.executor_patience.saturating_sub(waited) }
}

/// Whether somebody wants the Task to end before its time.
pub fn requested_end(task: &Validated) -> Option<End> {
    match (task.head.is_being_deleted, task.spec.controls.cancel) {
        (true, _) => Some(End::Deleted),
        (false, true) => Some(End::Cancelled),
        (false, false) => None,
    }
}
