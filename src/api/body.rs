//! Reading a JSON body, whatever was sent, once its caller may send one.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::auth::Caller;
use super::error::Problem;
use crate::serve::json::Size;
use crate::serve::{self, BodyError, BodyLimits, Budget, Charge};

/// How deep a body may be nested. A Task is wrapped several times on its way – object, review, audit entry – and every
/// reader on it, ours included, gives up at 128.
const MAX_DEPTH: usize = 100;
/// The most values and names in a body: each takes up to a hundred bytes, whatever its text.
const MAX_NODES: usize = 50_000;
/// How many of these are in memory at once, in all and of one caller.
const NODES: (usize, usize) = (8 * MAX_NODES, 4 * MAX_NODES);
/// How many of the greatest bodies are, in all and of one caller.
const BODIES: (usize, usize) = (8, 4);
/// How long a body may wait for room.
const WAIT: Duration = Duration::from_secs(5);
/// How long it may take to arrive.
const READ: Duration = Duration::from_secs(10);

/// The room that bodies have.
#[derive(Debug)]
pub struct Room {
    limits: BodyLimits,
    bytes: Budget,
    nodes: Budget,
}

impl Room {
    /// Room for bodies of at most `max_body_bytes`.
    pub fn new(max_body_bytes: usize) -> Self {
        let limits = BodyLimits { bytes: max_body_bytes, wait: WAIT, read: READ };
        let bytes = Budget::new(BODIES.0 * max_body_bytes, BODIES.1 * max_body_bytes);
        Self { limits, bytes, nodes: Budget::new(NODES.0, NODES.1) }
    }
}

/// A body that nobody has read yet. Handlers take this, look whether the caller may do what they ask for, and read it then.
#[derive(Debug)]
pub struct Unread {
    headers: HeaderMap,
    body: Body,
}

impl<S: Sync> FromRequest<S> for Unread {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        Ok(Self { headers: head.headers, body })
    }
}

/// The JSON of a body, with the room that it takes: given back when this is dropped.
#[derive(Debug)]
pub struct Json {
    pub value: Value,
    _charges: [Charge; 2],
}

impl Unread {
    /// Reads it, for `caller`.
    ///
    /// # Errors
    /// 408, 413, 415, 422, and 503 if too many are being read.
    pub async fn json(self, room: &Room, caller: &Caller) -> Result<Json, Problem> {
        let content_type = self.headers.get(header::CONTENT_TYPE);
        if !content_type.is_none_or(|value| value.to_str().is_ok_and(is_json)) {
            let message = "the body must be JSON: send it with Content-Type: application/json";
            return Err(Problem::named(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
        }
        let source = caller.username();
        let read = serve::read(&self.headers, self.body, room.limits, &room.bytes, source).await;
        let body = read.map_err(unread)?;
        let text = utf8(&body.bytes)?;
        let nodes = Size::of(text.as_bytes()).nodes;
        if nodes > MAX_NODES {
            return Err(invalid(format!("must have at most {MAX_NODES} values and names")));
        }
        let charge = room.nodes.charge(source, nodes, WAIT).await.ok_or_else(|| unread(BodyError::NoRoom))?;
        Ok(Json { value: parse(text)?, _charges: [body.charge, charge] })
    }
}

fn unread(error: BodyError) -> Problem {
    match error {
        BodyError::TooLarge => {
            let message = "the body is larger than this server accepts (JCT_API_MAX_BODY_BYTES)";
            Problem::named(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
        }
        BodyError::NoRoom => {
            let message = "too many bodies are being read; try again";
            Problem::named(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry_after(1)
        }
        BodyError::TooSlow => {
            let message = format!("the body did not arrive within {} seconds", READ.as_secs());
            Problem::named(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
        }
        BodyError::Broken => Problem::invalid("body", "could not be read"),
    }
}

fn invalid(message: String) -> Problem {
    Problem::invalid("body", message)
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes)
        .map_err(|error| invalid(format!("must be UTF-8, is not at byte {}", error.valid_up_to())))
}

fn parse(text: &str) -> Result<Value, Problem> {
    let body: Value = serde_json::from_str(text).map_err(|error| invalid(format!("must be JSON: {error}")))?;
    if Size::of(text.as_bytes()).depth > MAX_DEPTH {
        return Err(invalid(format!("must not be nested deeper than {MAX_DEPTH}")));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"", "EOF")]
    #[case(b"{", "EOF")]
    #[case(b"{\"a\": 1e999}", "number out of range")]
    #[case(b"\"\xff\"", "must be UTF-8, is not at byte 1")]
    #[case(b"\"\\ud800\"", "must be JSON")]
    #[case("[".repeat(10_000), "recursion limit")]
    #[case("[".repeat(101) + &"]".repeat(101), "deeper than 100")]
    fn what_is_no_json_is_told(#[case] bytes: impl AsRef<[u8]>, #[case] said: &str) {
        let problem = utf8(bytes.as_ref()).and_then(parse).unwrap_err();
        assert_eq!(problem.status, 422);
        assert!(problem.to_string().contains(said), "{problem}");
    }

    #[test]
    fn json_is_known_by_its_type() {
        assert!(is_json("application/json; charset=utf-8") && is_json("application/merge-patch+json"));
        assert!(!is_json("text/plain") && !is_json("application/x-www-form-urlencoded"));
    }
}
