//! What can be done: cancel, and retry.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};

use crate::console::failure::Failure;
use crate::console::form::Form;
use crate::console::pages::Ask;
use crate::console::rest::encoded;
use crate::console::view::text;

/// Cancels it.
///
/// # Errors
/// What the API says.
pub async fn cancel(Path(id): Path<String>, ask: Ask, _: Form) -> Result<Response, Failure> {
    let id = encoded(&id);
    ask.rest.post(&format!("/tasks/{id}/cancel")).await?;
    Ok(Redirect::to(&format!("/console/tasks/{id}?cancelled=1")).into_response())
}

/// Asks for it again, and goes to the new one.
///
/// # Errors
/// What the API says.
pub async fn retry(Path(id): Path<String>, ask: Ask, _: Form) -> Result<Response, Failure> {
    let made = ask.rest.post(&format!("/tasks/{}/retry", encoded(&id))).await?.body;
    Ok(Redirect::to(&format!("/console/tasks/{}", encoded(&text(&made, "/task_id")))).into_response())
}
