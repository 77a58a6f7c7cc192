//! What goes wrong, as clients see it: `{"detail": …}` (contract section 3).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tracing::error;

use crate::domain::{Code, Finding, TraceId};
use crate::shared::TooMany;
use crate::store::StoreError;

/// A refusal or a failure, ready to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub status: StatusCode,
    /// The text or object under `detail`.
    pub detail: Value,
    /// When to try again, in seconds.
    pub retry_after_seconds: Option<u32>,
    /// The value of `WWW-Authenticate`.
    pub challenge: Option<&'static str>,
}

impl Problem {
    /// A problem that is told in a sentence.
    pub fn text(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, Value::String(message.into()))
    }

    /// A problem with a name, `error`, that programs can decide by.
    pub fn named(status: StatusCode, error: &str, message: impl Into<String>) -> Self {
        Self::new(status, json!({"error": error, "message": message.into()}))
    }

    fn new(status: StatusCode, detail: Value) -> Self {
        Self { status, detail, retry_after_seconds: None, challenge: None }
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::text(StatusCode::NOT_FOUND, message)
    }

    /// 409.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::text(StatusCode::CONFLICT, message)
    }

    /// 422 for these findings, which are not empty: `validation_error` if the first one is of the schema, else
    /// `policy_violation`.
    pub fn findings(findings: &[Finding]) -> Self {
        let first = findings.first();
        let code = first.map_or(Code::InvalidSpec, |finding| finding.code);
        let error = if code == Code::InvalidSpec { "validation_error" } else { "policy_violation" };
        let message = first.map(|finding| match finding.field.as_str() {
            "" => finding.message.clone(),
            field => format!("{field}: {}", finding.message),
        });
        let detail = json!({"error": error, "code": code, "message": message, "violations": findings});
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 422 for one thing that does not fit the schema.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::findings(&[Finding::new(Code::InvalidSpec, field, message)])
    }

    /// 429: there are as many Tasks or work objects of the namespace as may be.
    pub fn too_many(TooMany { finding, retry_after_seconds }: &TooMany) -> Self {
        let mut problem = Self::named(StatusCode::TOO_MANY_REQUESTS, "too_many_tasks", finding.message.clone());
        problem.detail["code"] = json!(finding.code);
        problem.retry_after(*retry_after_seconds)
    }

    /// 401.
    pub fn unauthenticated(message: &str, challenge: &'static str) -> Self {
        let problem = Self::named(StatusCode::UNAUTHORIZED, "unauthenticated", message);
        Self { challenge: Some(challenge), ..problem }
    }

    /// 503: something that this process depends on does not answer.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::named(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).retry_after(5)
    }

    /// 500. What happened goes into the log, not to the client.
    pub fn internal(what: &str, cause: &dyn std::fmt::Display) -> Self {
        error!(what, %cause, "request failed");
        let message = "an internal error; the operator's log tells more under this response's X-Trace-Id";
        Self::named(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    /// The same, naming the Task that it is about.
    #[must_use]
    pub fn about(mut self, task_id: impl ToString, trace_id: &TraceId) -> Self {
        if let Value::Object(detail) = &mut self.detail {
            detail.insert("task_id".into(), task_id.to_string().into());
            detail.insert("trace_id".into(), trace_id.as_str().into());
        }
        self
    }

    /// The same, with the time after which to try again.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_seconds: Some(seconds), ..self }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let is_not_open = matches!(
            error,
            StoreError::Closed | StoreError::NewerSchema(_) | StoreError::Migration(_) | StoreError::ImportUnfinished
        );
        if error.is_transient() || is_not_open {
            tracing::warn!(%error, "the record does not answer a request");
            return Self::unavailable("the record is not available; try again");
        }
        Self::internal("use the record", &error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({"detail": self.detail}))).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_finding_names_the_error() {
        let policy = Finding::new(Code::RepoNotAllowed, "target.repo", "no");
        let schema = Finding::new(Code::InvalidSpec, "objective", "is required");
        let of = |findings: &[Finding]| Problem::findings(findings).detail["error"].clone();
        assert_eq!(of(std::slice::from_ref(&policy)), "policy_violation");
        assert_eq!(of(&[schema, policy]), "validation_error");
    }

    #[test]
    fn a_database_that_is_away_is_worth_another_try_and_a_broken_one_tells_nothing() {
        let away = Problem::from(StoreError::Unavailable("locked".into()));
        assert_eq!((away.status.as_u16(), away.retry_after_seconds), (503, Some(5)));
        let broken = Problem::from(StoreError::Internal("near SELECT".into()));
        assert_eq!(broken.status, 500);
        assert!(!broken.detail.to_string().contains("SELECT"));
    }
}
