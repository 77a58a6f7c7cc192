//! What the API says against a request, and what to do next: agents go by it.

use http::StatusCode;
use serde_json::Value;

use crate::rest_client::ApiResponse;

/// In a few lines, for whoever called a tool.
pub(crate) fn on(answer: &ApiResponse) -> String {
    let body = answer.json();
    let detail = &body["detail"];
    let mut lines = vec![match detail {
        Value::String(text) => text.clone(),
        Value::Object(_) => detail["message"].as_str().unwrap_or("it is refused").to_owned(),
        _ => body["message"].as_str().map_or_else(|| answer.status.to_string(), str::to_owned),
    }];
    let violations = detail["violations"].as_array().or_else(|| detail["errors"].as_array());
    for violation in violations.into_iter().flatten() {
        let part = |name: &str| violation[name].as_str().unwrap_or_default();
        lines.push(format!("- {} {}: {}", part("code"), part("field"), part("message")).replace("-  ", "- "));
    }
    lines.push(format!("Next: {}", next(answer, detail)));
    lines.join("\n")
}

fn next(answer: &ApiResponse, detail: &Value) -> String {
    let name = detail["error"].as_str().unwrap_or_default();
    match (answer.status, name) {
        (StatusCode::UNAUTHORIZED, _) => {
            "the token is not accepted or has ended; the person who runs this agent gets a new one (docs/mcp.md). Calling again \
             with the same one is of no use"
                .into()
        }
        (StatusCode::FORBIDDEN, _) if detail["message"].as_str().is_some_and(|message| message.contains("?namespace=")) => {
            "call again with the argument namespace, one that you work in".into()
        }
        (StatusCode::FORBIDDEN, _) => {
            let right = match (detail["verb"].as_str(), detail["resource"].as_str()) {
                (Some(verb), Some(resource)) => format!("the right to {verb} {resource}"),
                _ => "the right to do this".into(),
            };
            format!("tell the person you work for that {right} is missing; calling again is of no use")
        }
        (StatusCode::NOT_FOUND, _) => {
            "check the id: list_tasks shows the Tasks that you may see. What you may not see is not found either".into()
        }
        (StatusCode::CONFLICT, "trace_changed") => {
            "the file is not what was sealed: do not use it, and tell the person you work for".into()
        }
        (StatusCode::CONFLICT, _) => "call get_task: its status says what is possible".into(),
        (StatusCode::GONE, _) => "retention removed the files; their digests stay (list_results), the files do not come back".into(),
        (StatusCode::UNPROCESSABLE_ENTITY, "policy_violation") => {
            "change what is named, or tell the person you work for that policy does not allow it; the same again is denied again".into()
        }
        (StatusCode::UNPROCESSABLE_ENTITY, _) => "mend the arguments that are named, and call again".into(),
        (StatusCode::PAYLOAD_TOO_LARGE, _) => "make it smaller: inputs may have 256 KiB".into(),
        (StatusCode::TOO_MANY_REQUESTS, _) => {
            let seconds = answer.headers.get("retry-after").and_then(|value| value.to_str().ok()).unwrap_or("30");
            format!("wait {seconds} seconds, then call again")
        }
        (StatusCode::GATEWAY_TIMEOUT, _) => {
            "it may still be recorded: look with list_tasks before you ask again, or ask again with the same idempotency_key".into()
        }
        (status, _) if status.is_server_error() => "try again in a few seconds; if it stays so, tell the person you work for".into(),
        _ => "mend the arguments, and call again".into(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn refused(status: u16, body: &Value) -> String {
        let status = StatusCode::from_u16(status).unwrap();
        on(&ApiResponse {
            status,
            headers: [("retry-after", "7")]
                .into_iter()
                .map(|(n, v)| (n.parse::<http::HeaderName>().unwrap(), v.parse().unwrap()))
                .collect(),
            body: body.to_string().into(),
            is_cut: false,
        })
    }

    #[test]
    fn a_denial_names_what_is_to_be_changed() {
        let body = json!({"detail": {"error": "policy_violation", "message": "policy does not allow it", "violations": [
            {"code": "REPO_NOT_ALLOWED", "field": "target.repo", "message": "is none of ours"}]}});
        let text = refused(422, &body);
        assert!(text.contains("- REPO_NOT_ALLOWED target.repo: is none of ours"), "{text}");
        assert!(text.contains("Next: change what is named"), "{text}");
    }

    #[rstest]
    #[case(401, json!({"detail": "a token is required"}), "new one")]
    #[case(403, json!({"detail": {"error": "forbidden", "message": "no", "verb": "create", "resource": "tasks.jct.dev"}}), "the right to create tasks.jct.dev")]
    #[case(403, json!({"detail": {"error": "forbidden", "message": "name one: ?namespace=NAME"}}), "the argument namespace")]
    #[case(404, json!({"detail": "Task 'x' not found"}), "list_tasks")]
    #[case(410, json!({"detail": {"error": "trace_removed", "message": "gone"}}), "list_results")]
    #[case(429, json!({"detail": {"error": "too_many_tasks", "message": "too many"}}), "wait 7 seconds")]
    #[case(503, json!({"detail": "away"}), "try again")]
    #[case(504, json!({"detail": {"error": "not_recorded_yet", "message": "later"}}), "idempotency_key")]
    fn every_refusal_tells_the_next_step(#[case] status: u16, #[case] body: Value, #[case] expected: &str) {
        let text = refused(status, &body);
        assert!(text.contains("Next: ") && text.contains(expected), "{text}");
    }
}
