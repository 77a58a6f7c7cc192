//! What a run left open that was killed: no process is at it, so that nobody else will close it.

use crate::domain::{Actor, FailureReason};
use crate::outcome::Ended;
use crate::store::{Ending, Failure};

use super::{RunError, State, conclude, finish};

const WHY: &str = "the process that ran it ended before it did";

/// Closes every Task of the record that is open and that no process runs; gives how many. A trace that was sealed counts.
///
/// # Errors
/// If the record or a trace cannot be read or written. What was not closed is left to the next run.
pub async fn close_leftovers(state: &State) -> Result<usize, RunError> {
    let (mut closed, mut after) = (0, None);
    loop {
        let page = state.store.unfinished(after).await?;
        let Some(last) = page.last() else { return Ok(closed) };
        after = Some(last.id);
        for open in &page {
            let Some(held) = state.hold(open.id)? else { continue };
            if let Some(row) = state.store.task(open.id).await?.filter(|row| !row.phase.is_terminal()) {
                if row.attempt_is_open() {
                    let ended = Ended::unseen(FailureReason::Interrupted, WHY.into());
                    conclude(state, &row, &ended, None, "", "").await?;
                    let _ = std::fs::remove_dir_all(state.work(row.id, row.attempt));
                }
                // It may be due for another attempt, which nobody would start.
                if state.store.task(row.id).await?.is_some_and(|row| !row.phase.is_terminal()) {
                    let failure = Failure::new(FailureReason::Interrupted.as_str(), WHY);
                    finish(state, &row, Ending::Failed, failure, Actor::controller()).await?;
                }
                closed += 1;
            }
            held.release();
        }
    }
}
