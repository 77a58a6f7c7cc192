//! Reading a JSON body, whatever was sent.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde_json::Value;

use super::error::Problem;

/// How deep a body may be nested. A Task is wrapped several times on its way – object, review, audit entry – and every
/// reader on it, ours included, gives up at 128.
const MAX_DEPTH: usize = 100;

/// The JSON of a request's body.
#[derive(Debug)]
pub struct JsonBody(pub Value);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let is_json = content_type.is_none_or(|value| value.to_str().is_ok_and(is_json));
        if !is_json {
            let message = "the body must be JSON: send it with Content-Type: application/json";
            return Err(Problem::named(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let message = "the body is larger than this server accepts (JCT_API_MAX_BODY_BYTES)";
                Problem::named(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
            }
            _ => Problem::invalid("body", "could not be read"),
        })?;
        parse(&bytes).map(Self)
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let invalid = |message: String| Problem::invalid("body", message);
    let text = std::str::from_utf8(bytes)
        .map_err(|error| invalid(format!("must be UTF-8, is not at byte {}", error.valid_up_to())))?;
    let body: Value = serde_json::from_str(text).map_err(|error| invalid(format!("must be JSON: {error}")))?;
    if depth(&body) > MAX_DEPTH {
        return Err(invalid(format!("must not be nested deeper than {MAX_DEPTH}")));
    }
    Ok(body)
}

/// How deep `value` is nested; the parser has bounded it.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
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
        let problem = parse(bytes.as_ref()).unwrap_err();
        assert_eq!(problem.status, 422);
        assert!(problem.detail["message"].as_str().unwrap().contains(said), "{}", problem.detail);
    }

    #[test]
    fn json_is_known_by_its_type() {
        assert!(is_json("application/json; charset=utf-8") && is_json("application/merge-patch+json"));
        assert!(!is_json("text/plain") && !is_json("application/x-www-form-urlencoded"));
    }
}
