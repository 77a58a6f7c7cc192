//! What came out: the report, and the change.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use super::Head;
use crate::console::failure::{Failure, rendered};
use crate::console::pages::Ask;
use crate::console::pages::Shell;
use crate::console::rest::encoded_path;
use crate::console::view::diff::{self, Patch, Row};
use crate::console::view::markdown;

/// How much of a report, and of a patch, is shown.
const REPORT: usize = 512 << 10;
const PATCH: usize = 2 << 20;

#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage {
    shell: Shell,
    head: Head,
    attempt: String,
    /// Markup of our own making.
    markup: Option<String>,
    is_cut: bool,
    note: String,
    file: String,
}

/// A file of the newest attempt that has it, as text.
struct Taken {
    attempt: String,
    link: String,
    text: Option<String>,
    is_cut: bool,
    note: String,
}

async fn take(head: &Head, ask: &Ask, name: &str, most: usize) -> Result<Taken, Failure> {
    let mut taken =
        Taken { attempt: String::new(), link: String::new(), text: None, is_cut: false, note: String::new() };
    let Some((attempt, path)) = head.newest_with(name) else { return Ok(taken) };
    let path = encoded_path(&path);
    taken.link = format!("/console/tasks/{}/files/{attempt}/{path}", head.id);
    let at = format!("/tasks/{}/trace/{attempt}/{path}", head.id);
    taken.attempt = attempt;
    match ask.rest.file(&at, most).await {
        Ok((bytes, is_whole)) => {
            taken.text = Some(String::from_utf8_lossy(&bytes).into_owned());
            taken.is_cut = !is_whole;
        }
        Err(failure) if failure.is_signed_out() => return Err(failure),
        Err(failure) => taken.note = failure.message,
    }
    Ok(taken)
}

/// The report, rendered.
///
/// # Errors
/// What the API says.
pub async fn page(Path(id): Path<String>, ask: Ask) -> Result<Response, Failure> {
    let head = Head::of(&ask, &id, "report").await?;
    let taken = take(&head, &ask, "report.md", REPORT).await?;
    let markup = taken.text.as_deref().map(markdown::rendered);
    rendered(&ReportPage {
        shell: head.shell.clone(),
        head,
        attempt: taken.attempt,
        markup,
        is_cut: taken.is_cut,
        note: taken.note,
        file: taken.link,
    })
}

#[derive(Template)]
#[template(path = "changes.html")]
struct ChangesPage {
    shell: Shell,
    head: Head,
    attempt: String,
    patch: Option<Patch>,
    is_cut: bool,
    note: String,
    file: String,
}

/// The change, side by side.
///
/// # Errors
/// What the API says.
pub async fn changes(Path(id): Path<String>, ask: Ask) -> Result<Response, Failure> {
    let head = Head::of(&ask, &id, "changes").await?;
    let taken = take(&head, &ask, "change.patch", PATCH).await?;
    let patch = taken.text.as_deref().map(diff::read);
    let is_cut = taken.is_cut || patch.as_ref().is_some_and(|patch| patch.is_cut);
    rendered(&ChangesPage {
        shell: head.shell.clone(),
        head,
        attempt: taken.attempt,
        patch,
        is_cut,
        note: taken.note,
        file: taken.link,
    })
}
