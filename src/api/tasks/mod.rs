//! Tasks: asked for, listed, cancelled. A Task is created as a custom resource and read from the record.

pub mod cancel;
pub mod enqueue;
pub mod list;
mod submit;

use axum::extract::FromRequestParts;
use axum::extract::Path;
use axum::http::request::Parts;

use super::Api;
use super::auth::{Caller, Right};
use super::error::Problem;
use crate::domain::Id;
use crate::store::TaskRow;

/// The id of a Task in a path.
#[derive(Clone, Debug)]
pub struct TaskId(String);

impl<S: Send + Sync> FromRequestParts<S> for TaskId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = Path::<String>::from_request_parts(parts, state).await;
        id.map(|Path(id)| Self(id)).map_err(|_| Problem::not_found("Task not found: its id is no text"))
    }
}

/// The Task, for a caller who may do `verb` with it.
async fn find(api: &Api, caller: &Caller, verb: &'static str, TaskId(id): TaskId) -> Result<TaskRow, Problem> {
    let id: Id = id.parse().map_err(|problem| Problem::not_found(format!("Task not found: its id is {problem}")))?;
    let row = api.store.task(id).await?.ok_or_else(|| Problem::not_found("Task not found"))?;
    api.access.require(caller, &Right::tasks(verb, &row.namespace)).await?;
    Ok(row)
}
