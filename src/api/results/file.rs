//! The bytes of one file.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use super::lookup::{self, Found};
use super::range::{Wanted, wanted};
use super::stream::{self, End, Feed, Shape};
use super::{Asker, Segments, media};
use crate::api::Api;
use crate::api::error::Problem;
use crate::api::query::{Params, PathId};
use crate::domain::id::hex;

/// How much is read and sent at once, in bytes.
const PIECE: usize = 64 * 1024;

const SHAPE: Shape = Shape { kind: "file", stops: false, last: stream::trailer_of_file };

/// A file of a trace
///
/// A sealed file is checked against the digest that it was sealed with before its first byte; one that is another is not given
/// out. Its `ETag` is that digest. `Range` and `If-None-Match` are understood; always a download.
/// Needs the right to `get` `tasks/trace`.
#[utoipa::path(get, path = "/tasks/{id}/trace/{attempt}/{*path}", tag = "results", operation_id = "get_trace_file",
    params(
        ("id" = String, Path, description = "The Task's ULID"),
        ("attempt" = u32, Path, description = "The attempt's number, from 1", minimum = 1),
        ("path" = String, Path, description = "As the list of the trace has it; it may have slashes")),
    responses(
        (status = 200, description = "The file", content_type = "*/*", body = ref("#/components/schemas/Bytes")),
        (status = 206, description = "The part that `Range` asks for", content_type = "*/*", body = ref("#/components/schemas/Bytes")),
        (status = 304, description = "It is what `If-None-Match` names"),
        (status = 404, description = "There is no such Task, attempt or file, or none that the caller may get", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "`trace_changed`: the file is not what was sealed", body = ref("#/components/schemas/Problem")),
        (status = 410, description = "`trace_removed`: retention removed the trace", body = ref("#/components/schemas/Problem")),
        (status = 416, description = "There is nothing in the range that is asked for", body = ref("#/components/schemas/Problem"))))]
pub async fn get(
    State(api): State<Api>,
    asker: Asker,
    segments: Segments,
    query: Params,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    query.finish()?;
    let task = lookup::task(&api, &asker.caller, &PathId::new(segments.get(0))).await?;
    let job = lookup::attempt(&api, &task, segments.get(1)).await?;
    let path = segments.get(2);
    let found = lookup::file(&api, &task, &job, path).await?;
    let found = found.ok_or_else(|| Problem::not_found("File not found: the trace has none of this name"))?;
    let size = found.stamp.size_bytes;
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut answer = media::download(name, found.media_type);
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let tag = found.sha256.as_ref().map(|sha256| format!("\"{sha256}\""));
    if let Some(tag) = tag.as_deref().and_then(|tag| HeaderValue::from_str(tag).ok()) {
        answer.insert(header::ETAG, tag);
        // Kept by nobody but the caller, and asked about each time: rights may be lost.
        answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    if let Some(tag) = &tag
        && names(headers.get(header::IF_NONE_MATCH), tag)
    {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    // A part of another file is of no use to who has the rest of this one.
    let is_same = headers.get(header::IF_RANGE).is_none_or(|asked| tag.as_deref().is_some_and(|tag| *asked == *tag));
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).filter(|_| is_same);
    let (status, from, to) = match wanted(range, size) {
        Wanted::Whole => (StatusCode::OK, 0, size),
        Wanted::Part(from, to) => (StatusCode::PARTIAL_CONTENT, from, to),
        Wanted::Nothing => return Ok(nothing_there(size)),
    };
    if status == StatusCode::PARTIAL_CONTENT {
        put(&mut answer, header::CONTENT_RANGE, format!("bytes {from}-{}/{size}", to - 1));
    }
    put(&mut answer, header::CONTENT_LENGTH, (to - from).to_string());
    let body = match method {
        Method::HEAD => Body::empty(),
        _ => send(&api, asker, &task.namespace, found, from, to)?,
    };
    Ok((status, answer, body).into_response())
}

fn put(headers: &mut HeaderMap, name: header::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(name, value);
    }
}

fn nothing_there(size: u64) -> Response {
    let message = format!("the file has {size} bytes: there is nothing in that range");
    let problem = Problem::named(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", message);
    let mut response = problem.into_response();
    put(response.headers_mut(), header::CONTENT_RANGE, format!("bytes */{size}"));
    response
}

/// Whether `If-None-Match` names this tag.
fn names(header: Option<&HeaderValue>, tag: &str) -> bool {
    let Some(text) = header.and_then(|value| value.to_str().ok()) else { return false };
    text.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

/// The bytes from `from` to before `to`.
fn send(api: &Api, asker: Asker, namespace: &str, found: Found, from: u64, to: u64) -> Result<Body, Problem> {
    let shared = api.clone();
    stream::open(api, asker, namespace, SHAPE, move |mut feed| async move {
        let done = bytes(&shared, &mut feed, &found, from, to).await;
        if done == Err(End::Changed) {
            shared.health.metrics.trace_files_changed.inc();
        }
        done
    })
}

async fn bytes(api: &Api, feed: &mut Feed, found: &Found, from: u64, to: u64) -> Result<(), End> {
    let is_whole = from == 0 && to == found.stamp.size_bytes;
    let mut hash = (is_whole && found.sha256.is_some()).then(Sha256::new);
    let mut at = from;
    while at < to {
        let most = usize::try_from(to - at).unwrap_or(PIECE).min(PIECE);
        let (piece, stamp) = api.results.bytes_and_stamp(&found.file, at, most).await.map_err(|_| End::Broken)?;
        if piece.is_empty() {
            return Err(if found.sha256.is_some() { End::Changed } else { End::Broken });
        }
        at += piece.len() as u64;
        if let Some(sha256) = &found.sha256 {
            if let Some(hash) = &mut hash {
                hash.update(&piece);
            }
            let is_last = at >= to;
            let is_it = hash.as_ref().filter(|_| is_last).is_none_or(|hash| hex(&hash.clone().finalize()) == *sha256);
            // Before the piece is sent: who gets all of it has got what was sealed.
            if !is_it || stamp != found.stamp {
                return Err(End::Changed);
            }
        }
        feed.send(piece).await?;
    }
    Ok(())
}
