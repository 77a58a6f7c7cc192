//! Tasks: asked for, listed, cancelled, given more of a budget, asked for again. A Task is created as a custom resource and read from the record.

pub mod answer;
pub mod budget;
pub mod cancel;
pub mod enqueue;
pub mod list;
pub mod retry;
mod submit;
mod wait;

pub(super) use enqueue::denial;

use super::Api;
use super::auth::Caller;
use super::error::Problem;
use super::query::PathId;
use crate::store::TaskRow;

/// The Task, for a caller who may do `verb` with it. What the caller may not even get is not found.
pub async fn find(api: &Api, caller: &Caller, verb: &'static str, id: &PathId) -> Result<TaskRow, Problem> {
    let not_found = || Problem::not_found("Task not found");
    let row = api.store.task(id.of("Task")?).await?.ok_or_else(not_found)?;
    let may_know = api.access.reach(caller, verb, "tasks", &row.namespace).await?;
    may_know.then_some(row).ok_or_else(not_found)
}
