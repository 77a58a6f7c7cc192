//! What a run left open that was killed: no process is at it, so that nobody else will close it.

use crate::domain::{Actor, FailureReason, Id};
use crate::outcome::Ended;
use crate::store::{Ending, Failure, TaskRow};
use crate::trace::remove_tree;

use super::models::charge_abandoned;
use super::{RunError, State, conclude, finish, vouch};

const WHY: &str = "the process that ran it ended before it did";

/// Closes every Task of the record that is open and that no process runs; gives how many. A trace that was sealed counts. Of a
/// Task whose outcome was recorded, and no more, the rest is made up for. A Task that cannot be closed is told, and left to
/// the next run: it is in nobody's way.
///
/// # Errors
/// If the record cannot be read.
pub async fn close_leftovers(state: &State) -> Result<usize, RunError> {
    charge_abandoned(state).await;
    let mut closed = 0;
    // Who ends in good order takes the mark away.
    for id in state.marked()? {
        closed += usize::from(close_or_tell(state, id).await);
    }
    let mut after = None;
    loop {
        let page = state.store.unfinished(after).await?;
        let Some(last) = page.last() else { return Ok(closed) };
        after = Some(last.id);
        for open in &page {
            closed += usize::from(close_or_tell(state, open.id).await);
        }
    }
}

async fn close_or_tell(state: &State, id: Id) -> bool {
    match close(state, id).await {
        Ok(closed) => closed,
        Err(error) => {
            tracing::warn!(task_id = %id, %error, "what a killed run left cannot be closed; the next run tries again");
            false
        }
    }
}

/// Whether the Task was open and is closed now.
async fn close(state: &State, id: Id) -> Result<bool, RunError> {
    let Some(held) = state.hold(id)? else { return Ok(false) };
    let Some(row) = state.store.task(id).await? else {
        held.release();
        return Ok(false);
    };
    let is_open = !row.phase.is_terminal();
    let mut last = row.clone();
    if row.attempt_is_open() {
        let ended = Ended::unseen(FailureReason::Interrupted, WHY.into());
        last = conclude(state, &row, &ended, None, "", "").await?;
    }
    // It may be due for another attempt, which nobody would start.
    if !last.phase.is_terminal() {
        let failure = Failure::new(FailureReason::Interrupted.as_str(), WHY);
        last = finish(state, &last, Ending::Failed, failure, Actor::controller()).await?;
    }
    vouch(state, &last, "", "").await?;
    clear_work(state, &last);
    held.release();
    Ok(is_open)
}

fn clear_work(state: &State, row: &TaskRow) {
    for attempt in 1..=row.attempt {
        let path = state.work(row.id, attempt);
        if let Err(error) = remove_tree(&path) {
            tracing::warn!(%error, path = %path.display(), "the work folder is left behind");
        }
    }
}
