//! The files of a Task's traces.

use askama::Template;
use axum::extract::Path;
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Head;
use crate::console::failure::{Failure, rendered};
use crate::console::pages::Ask;
use crate::console::pages::Shell;
use crate::console::rest::{encoded, encoded_path};
use crate::console::view::time::Moment;
use crate::console::view::{bytes, list, status, text};

/// How many files of an attempt are named.
const MOST: usize = 1_000;

struct Listed {
    number: String,
    status: &'static str,
    class: &'static str,
    is_sealed: bool,
    is_announced: bool,
    manifest: String,
    removed: Moment,
    files: Vec<File>,
    more: usize,
}

struct File {
    path: String,
    link: String,
    size: String,
    kind: String,
    media_type: String,
    sha256: String,
}

#[derive(Template)]
#[template(path = "files.html")]
struct FilesPage {
    shell: Shell,
    head: Head,
    attempts: Vec<Listed>,
}

/// The list.
///
/// # Errors
/// What the API says.
pub async fn page(Path(id): Path<String>, ask: Ask) -> Result<Response, Failure> {
    let head = Head::of(&ask, &id, "files").await?;
    let attempts = head.attempts.iter().rev().map(|attempt| listed(attempt, &head)).collect();
    rendered(&FilesPage { shell: head.shell.clone(), attempts, head })
}

fn listed(attempt: &Value, head: &Head) -> Listed {
    let number = text(attempt, "/attempt");
    let (status, class) = match attempt["outcome"].as_str() {
        Some(outcome) => status(outcome),
        None => ("Running", "run"),
    };
    let all = list(&attempt["files"]);
    let file = |file: &Value| File {
        link: format!(
            "/console/tasks/{}/files/{number}/{}",
            head.id,
            encoded_path(file["path"].as_str().unwrap_or_default())
        ),
        path: text(file, "/path"),
        size: bytes(file["size_bytes"].as_u64().unwrap_or_default()),
        kind: text(file, "/kind"),
        media_type: text(file, "/media_type"),
        sha256: text(file, "/sha256"),
    };
    Listed {
        status,
        class,
        is_sealed: attempt["sealed"] == true,
        is_announced: attempt["verified"] == true,
        manifest: text(attempt, "/manifest_sha256"),
        removed: Moment::of(attempt, "/removed_at", head.shell.now),
        files: all.iter().take(MOST).map(file).collect(),
        more: all.len().saturating_sub(MOST),
        number,
    }
}

/// One file: as the API hands it out, which makes it harmless.
///
/// # Errors
/// What the API says.
pub async fn download(
    Path((id, attempt, path)): Path<(String, String, String)>,
    ask: Ask,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    pass(&ask, &format!("/tasks/{}/trace/{}/{}", encoded(&id), encoded(&attempt), encoded_path(&path)), &headers).await
}

/// All files of an attempt.
///
/// # Errors
/// What the API says.
pub async fn archive(
    Path((id, attempt)): Path<(String, String)>,
    ask: Ask,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    pass(&ask, &format!("/tasks/{}/trace/{}.tar.gz", encoded(&id), encoded(&attempt)), &headers).await
}

async fn pass(ask: &Ask, path: &str, headers: &HeaderMap) -> Result<Response, Failure> {
    let passed = [header::RANGE, header::IF_NONE_MATCH, header::IF_RANGE];
    let passed = passed.into_iter().filter_map(|name| Some((name.clone(), headers.get(&name)?.clone())));
    Ok(ask.rest.open(Method::GET, path, &passed.collect()).await?.into_response())
}
