//! What goes wrong, as clients see it: `{"detail": …}` (contract section 3).

use std::fmt;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tracing::error;

use super::openapi::bodies;
use crate::domain::{Code, Finding, TraceId};
use crate::shared::TooMany;
use crate::store::StoreError;

/// A refusal or a failure, ready to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub status: StatusCode,
    pub detail: Detail,
    /// When to try again, in seconds.
    pub retry_after_seconds: Option<u32>,
    /// The value of `WWW-Authenticate`.
    pub challenge: Option<&'static str>,
}

/// The body.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ProblemBody {
    detail: Detail,
}

/// A sentence, or an object that programs can decide by.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Detail {
    Text(String),
    Named(Box<Named>),
}

/// A problem with a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Named {
    pub error: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bodies::code")]
    pub code: Option<Code>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Violation>")]
    pub violations: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bodies::id")]
    pub task_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bodies::trace_id")]
    pub trace_id: Option<TraceId>,
    /// The object that never changes, as the path names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub object_id: Option<String>,
    #[serde(flatten)]
    #[schemars(with = "Option<MissingRight>")]
    pub missing: Option<MissingRight>,
}

/// The right that a caller lacks.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct MissingRight {
    pub verb: &'static str,
    /// With its group.
    pub resource: String,
    /// Null if it is needed in all.
    pub namespace: Option<String>,
}

/// A [`Finding`], as it is serialized.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct Violation {
    #[schemars(schema_with = "bodies::code")]
    code: Code,
    field: String,
    message: String,
}

impl Problem {
    /// A problem that is told in a sentence.
    pub fn text(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, Detail::Text(message.into()))
    }

    /// A problem with a name, `error`, that programs can decide by.
    pub fn named(status: StatusCode, error: &str, message: impl Into<String>) -> Self {
        let named = Named { error: error.into(), message: message.into(), ..Named::default() };
        Self::new(status, Detail::Named(Box::new(named)))
    }

    /// The same, with more said of it.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Named)) -> Self {
        if let Detail::Named(named) = &mut self.detail {
            change(named);
        }
        self
    }

    fn new(status: StatusCode, detail: Detail) -> Self {
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
        Self::named(StatusCode::UNPROCESSABLE_ENTITY, error, message.unwrap_or_default()).with(|named| {
            named.code = Some(code);
            named.violations = findings.to_vec();
        })
    }

    /// 422 for one thing that does not fit the schema.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::findings(&[Finding::new(Code::InvalidSpec, field, message)])
    }

    /// 429: there are as many Tasks or work objects of the namespace as may be.
    pub fn too_many(TooMany { finding, retry_after_seconds }: &TooMany) -> Self {
        Self::named(StatusCode::TOO_MANY_REQUESTS, "too_many_tasks", finding.message.clone())
            .with(|named| named.code = Some(finding.code))
            .retry_after(*retry_after_seconds)
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
    pub fn about(self, task_id: impl ToString, trace_id: &TraceId) -> Self {
        self.with(|named| {
            named.task_id = Some(task_id.to_string());
            named.trace_id = Some(trace_id.clone());
        })
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

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", json!(self.detail))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!(ProblemBody { detail: self.detail }))).into_response();
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
        let of = |findings: &[Finding]| json!(Problem::findings(findings).detail)["error"].clone();
        assert_eq!(of(std::slice::from_ref(&policy)), "policy_violation");
        assert_eq!(of(&[schema, policy]), "validation_error");
    }

    #[test]
    fn a_database_that_is_away_is_worth_another_try_and_a_broken_one_tells_nothing() {
        let away = Problem::from(StoreError::Unavailable("locked".into()));
        assert_eq!((away.status.as_u16(), away.retry_after_seconds), (503, Some(5)));
        let broken = Problem::from(StoreError::Internal("near SELECT".into()));
        assert_eq!(broken.status, 500);
        assert!(!broken.to_string().contains("SELECT"));
    }
}
