//! The events of a Task, as they happened or as they happen.

use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::follow::{Followed, Lines, PIECE, Progress, Taker, follow, wants_events};
use super::lookup;
use super::stream::{self, End, Feed, Shape, Trailer};
use super::{Asker, media};
use crate::api::Api;
use crate::api::error::Problem;
use crate::api::openapi::bodies;
use crate::api::query::{Params, PathId};
use crate::domain::trace::{EVENTS_FILE, Event};
use crate::domain::{Phase, TraceId};
use crate::store::{JobRow, TaskRow};

/// An [`Event`], as it is serialized.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct EventBody {
    #[schemars(schema_with = "bodies::time")]
    ts: Timestamp,
    #[schemars(schema_with = "bodies::count")]
    seq: u64,
    event: String,
    #[schemars(schema_with = "bodies::trace_id")]
    trace_id: TraceId,
    #[schemars(schema_with = "bodies::object")]
    fields: Map<String, Value>,
}

/// How many events an answer has, if it is not said.
const LIMIT: u32 = 100;
/// The most.
const MAX_LIMIT: u32 = 1000;
/// The bytes after which an answer ends.
const ANSWER: usize = 4 << 20;
/// How long nothing may be sent: whoever is between closes what is silent.
const SILENCE: Duration = Duration::from_secs(15);
/// How long a browser waits before it asks again, in milliseconds.
const RETRY: u32 = 2000;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

const SHAPE: Shape = Shape { kind: "events", stops: true, last: trailer };

/// What happened in a Task's attempt
///
/// The events of the newest attempt, or of the one that `attempt` names, in order. With `follow=true`, or where the client
/// accepts `text/event-stream`, they are server-sent events: those that are there, and then each as it happens, over further
/// attempts, until the Task ends. The `id` of each is ATTEMPT.SEQ; sent back as `Last-Event-ID` it goes on after that one.
/// The last one is `event: end` with the reason. Needs the right to `get` `tasks/trace`.
#[utoipa::path(get, path = "/tasks/{id}/events", tag = "results", operation_id = "list_events",
    params(
        ("id" = String, Path, description = "The Task's ULID"),
        ("attempt" = Option<u32>, Query, description = "Of this attempt alone", minimum = 1),
        ("after" = Option<u64>, Query, description = "Those with a greater seq"),
        ("limit" = Option<u32>, Query, description = "1 to 1000; 100 by default; not with follow", minimum = 1, maximum = 1000),
        ("follow" = Option<bool>, Query, description = "As server-sent events until the Task ends"),
        ("Last-Event-ID" = Option<String>, Header, description = "With follow: go on after this event, ATTEMPT.SEQ", pattern = "^[0-9]+\\.[0-9]+$")),
    responses(
        (status = 200, description = "The events", content(
            (ref("#/components/schemas/Events") = "application/json"), (String = "text/event-stream"))),
        (status = 404, description = "There is no such Task or attempt, or none that the caller may get", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "`trace_changed`: the file is not what was sealed", body = ref("#/components/schemas/Problem")),
        (status = 410, description = "`trace_removed`: retention removed the trace", body = ref("#/components/schemas/Problem"))))]
pub async fn list(
    State(api): State<Api>,
    asker: Asker,
    id: PathId,
    mut query: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let number = query.number("attempt", 1, u32::MAX);
    let after = query.parsed::<u64>("after").unwrap_or(0);
    let limit = query.number("limit", 1, MAX_LIMIT).unwrap_or(LIMIT);
    let follows = query.flag("follow", false) || wants_events(&headers);
    query.finish()?;
    let task = lookup::task(&api, &asker.caller, &id).await?;
    if let Some(number) = number {
        lookup::attempt(&api, &task, &number.to_string()).await?;
    }
    if follows {
        let last = headers.get(LAST_EVENT_ID).map(read_id).transpose()?;
        let last = last.filter(|(attempt, _)| number.is_none_or(|number| number == *attempt));
        return stream(&api, asker, task, number, last.unwrap_or((0, after)));
    }
    let Some(job) = job(&api, &task, number).await? else {
        return api.answers.json(&asker.caller, HeaderMap::new(), b"[]".to_vec()).await;
    };
    lookup::present(&job)?;
    let _turn = api.results.turn().await?;
    let text = read_after(&api, &task, &job, after, limit).await?;
    api.answers.json(&asker.caller, HeaderMap::new(), text).await
}

/// The attempt of this number, or the newest.
pub async fn job(api: &Api, task: &TaskRow, number: Option<u32>) -> Result<Option<JobRow>, Problem> {
    let progress = Progress::of(api, task.id).await?;
    Ok(progress.and_then(|progress| progress.attempt(number.or(progress.newest())?).cloned()))
}

fn read_id(value: &HeaderValue) -> Result<(u32, u64), Problem> {
    let parts = value.to_str().ok().and_then(|text| text.split_once('.'));
    let read = parts.and_then(|(attempt, seq)| Some((attempt.parse().ok()?, seq.parse().ok()?)));
    read.ok_or_else(|| Problem::invalid("Last-Event-ID", "must be ATTEMPT.SEQ, the id of an event that was sent"))
}

/// At most `limit` events after `after`, as a JSON array.
async fn read_after(api: &Api, task: &TaskRow, job: &JobRow, after: u64, limit: u32) -> Result<Vec<u8>, Problem> {
    let Some(found) = lookup::file(api, task, job, EVENTS_FILE).await? else { return Ok(b"[]".to_vec()) };
    let (mut text, mut count, mut at, mut lines) = (vec![b'['], 0, 0, Lines::default());
    while count < limit && text.len() < ANSWER {
        let bytes = api.results.bytes(&found.file, at, PIECE).await.map_err(|error| lookup::unreadable(&error))?;
        if bytes.is_empty() {
            break;
        }
        at += bytes.len() as u64;
        lines.push(&bytes, |line| {
            if let Some((_, line)) = event(line, after).filter(|_| count < limit && text.len() < ANSWER) {
                if count > 0 {
                    text.push(b',');
                }
                text.extend(line.as_bytes());
                count += 1;
            }
        });
    }
    text.push(b']');
    Ok(text)
}

/// The seq and the JSON of an event after `after`; of what is no event, nothing.
fn event(line: &[u8], after: u64) -> Option<(u64, String)> {
    let event: Event = serde_json::from_slice(line).ok().filter(|event: &Event| event.seq > after)?;
    Some((event.seq, serde_json::to_string(&event).ok()?))
}

fn stream(
    api: &Api,
    asker: Asker,
    task: TaskRow,
    number: Option<u32>,
    (attempt, seq): (u32, u64),
) -> Result<Response, Problem> {
    let namespace = task.namespace.clone();
    let begin = number.or(Some(attempt).filter(|attempt| *attempt > 0));
    let followed = Followed { task, path: EVENTS_FILE, attempt: begin, only: number.is_some(), from: 0 };
    let shared = api.clone();
    let body = stream::open(api, asker, &namespace, SHAPE, move |mut feed| async move {
        let mut taker = Sent { after: seq, resumed: begin, ..Sent::default() };
        feed.send(Bytes::from(format!("retry: {RETRY}\n\n"))).await?;
        let phase = follow(&shared, &mut feed, &followed, &mut taker).await?;
        feed.send(end("ended", phase)).await
    })?;
    let mut headers = media::inert("text/event-stream");
    // Proxies that gather answers before they hand them on are asked not to.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok((headers, body).into_response())
}

fn end(reason: &str, phase: Option<Phase>) -> Bytes {
    Bytes::from(format!("event: end\ndata: {}\n\n", json!({"reason": reason, "status": phase})))
}

fn trailer(reason: End) -> Trailer {
    match reason {
        // It has been said with what the Task ended as.
        End::Ended | End::Gone => None,
        reason => Some(Ok(end(reason.reason(), None))),
    }
}

/// Makes server-sent events of lines.
#[derive(Default)]
struct Sent {
    attempt: u32,
    lines: Lines,
    /// The seq after which the first attempt is told.
    after: u64,
    /// The attempt that `after` is of; the first one if it is not named.
    resumed: Option<u32>,
    /// When something was last sent.
    last: Option<Instant>,
}

#[async_trait::async_trait]
impl Taker for Sent {
    fn begin(&mut self, attempt: u32) {
        if self.attempt != 0 || self.resumed.is_some_and(|resumed| resumed != attempt) {
            self.after = 0;
        }
        self.attempt = attempt;
        self.lines = Lines::default();
    }

    async fn take(&mut self, feed: &mut Feed, bytes: &[u8]) -> Result<(), End> {
        let (attempt, mut after, mut text) = (self.attempt, self.after, String::new());
        self.lines.push(bytes, |line| {
            if let Some((seq, line)) = event(line, after) {
                after = seq;
                let _ = write!(text, "id: {attempt}.{seq}\ndata: {line}\n\n");
            }
        });
        self.after = after;
        if text.is_empty() {
            return Ok(());
        }
        self.last = Some(Instant::now());
        feed.send(text.into()).await
    }

    async fn idle(&mut self, feed: &mut Feed) -> Result<(), End> {
        let now = Instant::now();
        if now.duration_since(*self.last.get_or_insert(now)) < SILENCE {
            return Ok(());
        }
        self.last = Some(now);
        feed.send(Bytes::from_static(b": nothing new\n\n")).await
    }

    async fn finish(&mut self, _: &mut Feed) -> Result<(), End> {
        // A line without an end was not written whole.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_event_is_left_out() {
        let line = |seq: u64| {
            json!({"ts": "2026-03-01T12:00:00Z", "seq": seq, "event": "x\ny", "trace_id": "a".repeat(32), "fields": {"a": "\u{1b}\u{2028}"}})
                .to_string()
        };
        assert!(event(line(3).as_bytes(), 3).is_none());
        let (seq, text) = event(line(3).as_bytes(), 2).unwrap();
        assert!(seq == 3 && !text.contains(['\n', '\r', '\u{1b}']), "nothing in it ends an event: {text}");
        for bad in ["", "{}", "id: 9.9\ndata: x", "[1]", &line(9).replace("\"seq\":9", "\"seq\":-9")] {
            assert!(event(bad.as_bytes(), 0).is_none(), "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_follows_hears_something_every_fifteen_seconds() {
        let (mut feed, mut received) = crate::api::results::stream::tests::feed(vec![Some(true)]);
        let (mut sent, mut heard) = (Sent::default(), Vec::new());
        for second in 0..40 {
            sent.idle(&mut feed).await.unwrap();
            if let Ok(piece) = received.try_recv() {
                assert_eq!(piece.unwrap(), ": nothing new\n\n");
                heard.push(second);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(heard, [15, 30]);
    }

    #[test]
    fn an_id_is_of_an_attempt_and_an_event() {
        assert_eq!(read_id(&HeaderValue::from_static("2.17")), Ok((2, 17)));
        for bad in ["", "2", "2.", "a.b", "-1.2", "1.2.3", "99999999999.1"] {
            assert!(read_id(&HeaderValue::from_str(bad).unwrap()).is_err(), "{bad}");
        }
    }
}
