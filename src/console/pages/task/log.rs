//! The log: live while the Task runs, and the same afterwards.

use askama::Template;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use tokio::time::{Duration, Instant};

use super::Head;
use crate::console::Console;
use crate::console::failure::{Failure, rendered};
use crate::console::pages::Shell;
use crate::console::pages::{Ask, Choice, choices};
use crate::console::rest::{encoded, path};
use crate::console::session::{Kept, SignedIn};
use crate::console::view::plain_lines;

/// How many lines a page begins with, and how many bytes of them are shown.
const TAIL: &str = "1000";
const SHOWN: usize = 512 << 10;
/// How often it is asked whether who follows is still signed in.
const ASK: Duration = Duration::from_secs(2);

const STREAMS: [(&str, &str); 3] = [("trace", "All"), ("stdout", "Output"), ("stderr", "Errors")];

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    shell: Shell,
    head: Head,
    attempt: String,
    streams: Vec<Choice>,
    /// What is there; what comes is added by a script.
    text: String,
    is_cut: bool,
    note: String,
    live: String,
}

/// The page.
///
/// # Errors
/// What the API says.
pub async fn page(Path(id): Path<String>, ask: Ask) -> Result<Response, Failure> {
    let head = Head::of(&ask, &id, "log").await?;
    let known = STREAMS.iter().map(|(name, _)| *name).find(|name| *name == ask.query("stream"));
    let stream = known.unwrap_or("trace");
    let attempt = ask.query("attempt").to_owned();
    let at = path(&format!("/tasks/{}/log", head.id), &[("stream", stream), ("attempt", &attempt), ("tail", TAIL)]);
    let (text, note) = match ask.rest.file(&at, SHOWN).await {
        Ok((bytes, _)) => (String::from_utf8_lossy(&bytes).into_owned(), String::new()),
        Err(failure) if failure.is_signed_out() => return Err(failure),
        Err(failure) => (String::new(), failure.message),
    };
    let live = if head.has_ended {
        String::new()
    } else {
        path(
            &format!("/console/tasks/{}/log/stream", head.id),
            &[("stream", stream), ("attempt", &attempt), ("tail", TAIL)],
        )
    };
    let page = LogPage {
        shell: head.shell.clone(),
        attempt,
        streams: choices(&STREAMS, stream),
        is_cut: text.lines().count() >= 1000,
        text: plain_lines(&text),
        note,
        live,
        head,
    };
    rendered(&page)
}

/// The log as text, as it grows, until the Task ends, or who follows is not signed in any more.
///
/// # Errors
/// What the API says.
pub async fn stream(Path(id): Path<String>, State(console): State<Console>, ask: Ask) -> Result<Response, Failure> {
    let query = [
        ("stream", ask.query("stream")),
        ("attempt", ask.query("attempt")),
        ("tail", ask.query("tail")),
        ("follow", "true"),
    ];
    let at = path(&format!("/tasks/{}/log", encoded(&id)), &query);
    let answer = ask.rest.open(Method::GET, &at, &HeaderMap::new()).await?;
    let (head, body) = answer.into_parts();
    let secret = ask.visitor.secret.clone();
    let pieces = futures::stream::unfold(
        (body.into_data_stream(), console, secret, Instant::now() + ASK),
        |(mut body, console, secret, mut next)| async move {
            loop {
                tokio::select! {
                    piece = body.next() => return Some((piece?, (body, console, secret, next))),
                    () = tokio::time::sleep_until(next) => {
                        next = Instant::now() + ASK;
                        let who: Result<Option<SignedIn>, _> = console.kept(Kept::Session, &secret).await;
                        if matches!(who, Ok(None)) {
                            return None;
                        }
                    }
                }
            }
        },
    );
    let mut headers = HeaderMap::new();
    for name in [header::CONTENT_TYPE, header::CONTENT_SECURITY_POLICY, header::CACHE_CONTROL] {
        if let Some(value) = head.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    Ok((headers, Body::from_stream(pieces)).into_response())
}
