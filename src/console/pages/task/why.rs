//! What led to it and what came of it, and what the record says.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use serde_json::Value;

use super::Head;
use crate::console::failure::{Failure, rendered};
use crate::console::pages::Ask;
use crate::console::pages::Shell;
use crate::console::pages::audit::EntryLine;
use crate::console::rest::{encoded, path};
use crate::console::view::causes::{Picture, picture};
use crate::console::view::list;

/// How many entries of the record are on a page.
const PAGE: &str = "100";

#[derive(Template)]
#[template(path = "why.html")]
struct WhyPage {
    shell: Shell,
    head: Head,
    picture: Picture,
    has_more: bool,
}

#[derive(Template)]
#[template(path = "record.html")]
struct RecordPage {
    shell: Shell,
    head: Head,
    entries: Vec<EntryLine>,
    next: Option<String>,
    is_first: bool,
    only_own: bool,
}

async fn story(head: &Head, ask: &Ask, cursor: &str, limit: &str) -> Result<(Value, Option<String>), Failure> {
    let at = path(&format!("/trace/{}", encoded(&head.trace_id)), &[("limit", limit), ("cursor", cursor)]);
    let reply = ask.rest.get(&at).await?;
    let next = reply.next();
    Ok((reply.body, next))
}

/// The picture.
///
/// # Errors
/// What the API says.
pub async fn page(Path(id): Path<String>, ask: Ask) -> Result<Response, Failure> {
    let head = Head::of(&ask, &id, "why").await?;
    let (story, _) = story(&head, &ask, "", "1").await?;
    let picture = picture(&head.task, &story);
    let has_more = list(&story["objects"]).len() > 60;
    rendered(&WhyPage { shell: head.shell.clone(), head, picture, has_more })
}

/// The audit entries of the Task's story, the first one first.
///
/// # Errors
/// What the API says.
pub async fn record(Path(id): Path<String>, ask: Ask) -> Result<Response, Failure> {
    let head = Head::of(&ask, &id, "record").await?;
    let cursor = ask.query("cursor");
    let (story, next) = story(&head, &ask, cursor, PAGE).await?;
    let only_own = ask.query("of") == "task";
    let own = |entry: &&Value| !only_own || entry["entity_id"] == *head.id;
    let entries = list(&story["audit"]).iter().filter(own).map(|entry| EntryLine::of(entry, head.shell.now)).collect();
    let next = next.and_then(|query| {
        let cursor = query.split('&').find_map(|part| part.strip_prefix("cursor="))?.to_owned();
        let of = if only_own { "&of=task" } else { "" };
        Some(format!("/console/tasks/{}/record?cursor={cursor}{of}", head.id))
    });
    let page = RecordPage { shell: head.shell.clone(), entries, next, is_first: cursor.is_empty(), only_own, head };
    rendered(&page)
}
