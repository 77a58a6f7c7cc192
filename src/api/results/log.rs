//! The logs of a Task, for people.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::events::job;
use super::follow::{Followed, Inert, PIECE, Taker, follow, tail};
use super::lookup::{self, Found};
use super::stream::{self, End, Feed, Shape, Trailer};
use super::{Asker, media};
use crate::api::Api;
use crate::api::error::Problem;
use crate::api::query::{Params, PathId};
use crate::domain::choices;
use crate::domain::trace::{LOG_FILE, STDERR_FILE, STDOUT_FILE};

/// The most lines that `tail` takes.
const MAX_TAIL: u32 = 100_000;

const FOLLOWED: Shape = Shape { kind: "log", stops: true, last: trailer };
const WHOLE: Shape = Shape { kind: "log", stops: false, last: stream::trailer_of_file };

choices! {
    /// Which log.
    enum Which {
        Stdout = "stdout",
        Stderr = "stderr",
        Trace = "trace",
    }
}

impl Which {
    fn file(self) -> &'static str {
        match self {
            Self::Trace => LOG_FILE,
            Self::Stdout => STDOUT_FILE,
            Self::Stderr => STDERR_FILE,
        }
    }
}

/// The log of a Task
///
/// That of its newest attempt, or of the one that `attempt` names, as text: what would rule a terminal is escaped. The bytes as
/// they were written are the file of the trace. With `follow=true` it goes on, over further attempts, until the Task ends; a
/// line `[jct: the log ends here: REASON]` says why it ends before.
/// Needs the right to `get` `tasks/trace`.
#[utoipa::path(get, path = "/tasks/{id}/log", tag = "results", operation_id = "get_log",
    params(
        ("id" = String, Path, description = "The Task's ULID"),
        ("stream" = Option<String>, Query, description = "stdout or stderr: what the executor wrote; trace, the default: what happened"),
        ("attempt" = Option<u32>, Query, description = "Of this attempt alone", minimum = 1),
        ("tail" = Option<u32>, Query, description = "Begin with so many lines from the end: 0 to 100000", minimum = 0, maximum = 100_000),
        ("follow" = Option<bool>, Query, description = "Until the Task ends")),
    responses(
        (status = 200, description = "The log", content_type = "text/plain", body = String),
        (status = 404, description = "There is no such Task or attempt, or none that the caller may get", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "`trace_changed`: the file is not what was sealed", body = ref("#/components/schemas/Problem")),
        (status = 410, description = "`trace_removed`: retention removed the trace", body = ref("#/components/schemas/Problem"))))]
pub async fn get(State(api): State<Api>, asker: Asker, id: PathId, mut query: Params) -> Result<Response, Problem> {
    let which = query.choice("stream", &Which::ALL, Which::as_str).unwrap_or(Which::Trace);
    let number = query.number("attempt", 1, u32::MAX);
    let lines = query.number("tail", 0, MAX_TAIL);
    let follows = query.flag("follow", false);
    query.finish()?;
    let task = lookup::task(&api, &asker.caller, &id).await?;
    if let Some(number) = number {
        lookup::attempt(&api, &task, &number.to_string()).await?;
    }
    let job = job(&api, &task, number).await?;
    let found = match &job {
        Some(job) => {
            lookup::present(job)?;
            lookup::file(&api, &task, job, which.file()).await?
        }
        None => None,
    };
    let from = match (&found, lines) {
        (Some(found), Some(lines)) => begin(&api, found, lines).await?,
        _ => 0,
    };
    let mut headers = media::inert("text/plain; charset=utf-8");
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    if !follows {
        return whole(&api, asker, &task.namespace, found, from, headers);
    }
    let (namespace, shared) = (task.namespace.clone(), api.clone());
    let begin = number.or(job.map(|job| job.attempt));
    let followed = Followed { task, path: which.file(), attempt: begin, only: number.is_some(), from };
    let body = stream::open(&api, asker, &namespace, FOLLOWED, move |mut feed| async move {
        follow(&shared, &mut feed, &followed, &mut Text::default()).await.map(drop)
    })?;
    Ok((headers, body).into_response())
}

/// Where the last `lines` lines begin.
async fn begin(api: &Api, found: &Found, lines: u32) -> Result<u64, Problem> {
    let (file, size) = (found.file.clone(), found.stamp.size_bytes);
    let begin = api.results.reading(move || tail(&file, size, lines)).await;
    begin.map_err(|error| lookup::unreadable(&error))
}

/// What is there now.
fn whole(
    api: &Api,
    asker: Asker,
    namespace: &str,
    found: Option<Found>,
    from: u64,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(found) = found else { return Ok((headers, String::new()).into_response()) };
    let shared = api.clone();
    let body = stream::open(api, asker, namespace, WHOLE, move |mut feed| async move {
        let (mut at, mut text) = (from, Text::default());
        while at < found.stamp.size_bytes {
            let most = usize::try_from(found.stamp.size_bytes - at).unwrap_or(PIECE).min(PIECE);
            let bytes = shared.results.bytes(&found.file, at, most).await.map_err(|_| End::Broken)?;
            if bytes.is_empty() {
                return Err(End::Broken);
            }
            at += bytes.len() as u64;
            text.take(&mut feed, &bytes).await?;
        }
        text.finish(&mut feed).await
    })?;
    Ok((headers, body).into_response())
}

fn trailer(reason: End) -> Trailer {
    let text = format!("\n[jct: the log ends here: {}]\n", reason.reason());
    (![End::Ended, End::Gone].contains(&reason)).then(|| Ok(Bytes::from(text)))
}

/// Makes harmless text of a log.
#[derive(Default)]
struct Text(Inert);

#[async_trait::async_trait]
impl Taker for Text {
    fn begin(&mut self, _: u32) {
        self.0 = Inert::default();
    }

    async fn take(&mut self, feed: &mut Feed, bytes: &[u8]) -> Result<(), End> {
        let text = self.0.push(bytes);
        if text.is_empty() { Ok(()) } else { feed.send(text.into()).await }
    }

    async fn idle(&mut self, _: &mut Feed) -> Result<(), End> {
        Ok(())
    }

    async fn finish(&mut self, feed: &mut Feed) -> Result<(), End> {
        let text = self.0.finish();
        if text.is_empty() { Ok(()) } else { feed.send(text.into()).await }
    }
}
