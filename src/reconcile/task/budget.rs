//! A Task whose budget of models is used up, while somebody is asked for more.

use std::time::Duration;

use super::attempt;
use crate::crd::status::Reason;
use crate::domain::model::Usd;
use crate::reconcile::{Context, Error};
use crate::store::{HoldState, TaskRow, task_account};

/// How often a running Task is looked at whose budget may be raised: nothing tells of that.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Of models that a Task asked, so many are named.
const MOST_NAMED: usize = 5;

/// What a running Task waits for, if it does, and when to look again: after `time`, or sooner. Database.
///
/// # Errors
/// If the database does not answer.
pub async fn waits(
    context: &Context,
    row: &TaskRow,
    time: Duration,
) -> Result<(Option<(Reason, String)>, Duration), Error> {
    if !may_wait(context, row) {
        return Ok((None, time));
    }
    let lost = || Error::store("look whether a Task waits for its budget");
    let hold = context.store.model_hold(row.id).await.map_err(lost())?;
    let hold = hold.filter(|hold| hold.state == HoldState::Waiting && hold.attempt == row.attempt);
    let Some(hold) = hold else { return Ok((None, time.min(LOOK_AGAIN))) };
    let spent = context.store.model_account(&task_account(row.id)).await.map_err(lost())?.spent;
    let on = context.store.model_spending(row.id).await.map_err(lost())?;
    let on: Vec<String> = on
        .iter()
        .take(MOST_NAMED)
        .map(|(alias, sum)| format!("{} on {alias} in {} requests", sum.usd, sum.requests))
        .collect();
    let on = if spent.usd == Usd::ZERO && on.is_empty() { String::new() } else { format!(": {}", on.join(", ")) };
    let message = format!(
        "its budget of models is used up ({}): {} and {} tokens are spent{on}. POST /tasks/{}/budget raises it or ends the attempt, \
         which ends by itself at {}",
        hold.unit.as_str(),
        spent.usd,
        spent.tokens,
        row.id,
        hold.waits_until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    );
    Ok((Some((Reason::AwaitingBudget, message)), time.min(LOOK_AGAIN)))
}

/// Whether its grant says that somebody is asked.
fn may_wait(context: &Context, row: &TaskRow) -> bool {
    let Ok(executor) = attempt::executor(context, row) else { return false };
    let granted = context.models().granted(&executor, row.model.as_ref(), &row.namespace, &row.task.target.repo);
    granted.ok().flatten().is_some_and(|granted| granted.asks_for_seconds.is_some())
}
