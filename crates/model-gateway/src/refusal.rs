//! What a program is told that gets no answer from a model: in its dialect, so that it stops, goes on or tries again as it
//! should. Which answer stops which program was measured: a 429 has Gemini CLI and opencode try on and on, a 403 Codex.

use std::fmt::Display;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::Dialect;
use jct_domain::model::record;

/// Has the Anthropic and OpenAI libraries try again, or not, whatever the status is.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Tells the relay, and nobody else, that a budget is used up for good: whoever asks on is ended.
pub(crate) const USED_UP: HeaderName = HeaderName::from_static("x-jct-used-up");

/// Why there is no answer: the codes of the record and of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// Not a path, method or query that is let through.
    NotAllowed,
    /// The request is not understood.
    Invalid,
    /// The provider would reach the network, or keep something, for the program.
    Hosted,
    /// Its body is too large.
    TooLarge,
    /// Its body did not come in time.
    TooSlow,
    /// Whoever asks is not known.
    Unauthenticated,
    /// No such model, or not for this attempt.
    ModelNotAllowed,
    /// The model has no price, and dollars are limited.
    NoPrice,
    /// A budget is used up.
    BudgetExceeded,
    /// The provider, the broker or its ledger can't be had.
    Unavailable,
    /// More came from the provider than is let through.
    ResponseTooLarge,
    /// Nothing came from the provider any more.
    Silent,
    /// What came from the provider is not understood.
    BadUpstream,
}

impl Code {
    /// As records and metrics write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAllowed => "NOT_ALLOWED",
            Self::Invalid => "INVALID_REQUEST",
            Self::Hosted => "HOSTED_REFUSED",
            Self::TooLarge => "REQUEST_TOO_LARGE",
            Self::TooSlow => "REQUEST_TOO_SLOW",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::ModelNotAllowed => "MODEL_NOT_ALLOWED",
            Self::NoPrice => "MODEL_WITHOUT_PRICE",
            Self::BudgetExceeded => record::BUDGET_EXCEEDED,
            Self::Unavailable => record::MODEL_UNAVAILABLE,
            Self::ResponseTooLarge => "RESPONSE_TOO_LARGE",
            Self::Silent => record::UPSTREAM_SILENT,
            Self::BadUpstream => record::BAD_UPSTREAM,
        }
    }

    /// The status, and what Anthropic, OpenAI and Google call such an error.
    fn says(self, dialect: Dialect) -> (StatusCode, &'static str, &'static str, &'static str) {
        use Dialect::{Anthropic, OpenaiResponses};
        match self {
            Self::NotAllowed => (StatusCode::NOT_FOUND, "not_found_error", "not_found", "NOT_FOUND"),
            Self::Invalid | Self::Hosted => {
                (StatusCode::BAD_REQUEST, "invalid_request_error", "invalid_request", "INVALID_ARGUMENT")
            }
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", "request_too_large", "INVALID_ARGUMENT")
            }
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "timeout_error", "timeout", "DEADLINE_EXCEEDED"),
            Self::Unauthenticated => {
                (StatusCode::UNAUTHORIZED, "authentication_error", "invalid_api_key", "UNAUTHENTICATED")
            }
            Self::ModelNotAllowed => (StatusCode::NOT_FOUND, "not_found_error", "model_not_found", "NOT_FOUND"),
            Self::NoPrice => (StatusCode::FORBIDDEN, "permission_error", "model_without_price", "PERMISSION_DENIED"),
            Self::BudgetExceeded if matches!(dialect, Anthropic | OpenaiResponses) => {
                (StatusCode::TOO_MANY_REQUESTS, "billing_error", "insufficient_quota", "RESOURCE_EXHAUSTED")
            }
            Self::BudgetExceeded => (StatusCode::FORBIDDEN, "billing_error", "insufficient_quota", "PERMISSION_DENIED"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "api_error", "server_error", "UNAVAILABLE"),
            Self::ResponseTooLarge | Self::Silent | Self::BadUpstream => {
                (StatusCode::BAD_GATEWAY, "api_error", "server_error", "INTERNAL")
            }
        }
    }

    /// Whether the same request may well succeed in a moment.
    fn is_passing(self) -> bool {
        matches!(self, Self::TooSlow | Self::Unavailable | Self::ResponseTooLarge | Self::Silent | Self::BadUpstream)
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct Refusal {
    /// What kind.
    pub code: Code,
    /// For whoever reads the program's output. Never with anything of the provider's key or address.
    pub message: String,
    /// Whether nothing more comes of asking: a budget is used up, and nobody is asked for more.
    pub is_final: bool,
}

impl Refusal {
    /// With a message.
    pub fn new(code: Code, message: impl Display) -> Self {
        Self { code, message: message.to_string(), is_final: code == Code::BudgetExceeded }
    }

    /// As an answer that is all there is.
    pub fn response(&self, dialect: Dialect) -> Response<Bytes> {
        let (status, ..) = self.code.says(dialect);
        let body = self.error(dialect).to_string();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let retry = if self.code.is_passing() { "true" } else { "false" };
        headers.insert(SHOULD_RETRY, HeaderValue::from_static(retry));
        if self.is_final {
            headers.insert(USED_UP, HeaderValue::from_static("true"));
        }
        response
    }

    /// As the last event of a stream that has begun. The stream must be between two events.
    pub fn event(&self, dialect: Dialect) -> Bytes {
        let error = self.error(dialect);
        let event = match dialect {
            Dialect::Anthropic => format!("event: error\ndata: {error}\n\n"),
            Dialect::OpenaiResponses => {
                let (_, _, code, _) = self.code.says(dialect);
                let response = json!({"id": "resp_refused", "object": "response", "status": "failed", "output": [],
                    "error": {"code": code, "message": self.message}});
                let failed = json!({"type": "response.failed", "response": response});
                format!("event: response.failed\ndata: {failed}\n\n")
            }
            Dialect::OpenaiChat | Dialect::Gemini => format!("data: {error}\n\n"),
        };
        event.into()
    }

    fn error(&self, dialect: Dialect) -> Value {
        let (status, anthropic, openai, google) = self.code.says(dialect);
        let message = &self.message;
        match dialect {
            // `code` is what Codex looks for, `type` what Claude Code does.
            Dialect::Anthropic | Dialect::OpenaiResponses | Dialect::OpenaiChat => {
                json!({"type": "error", "error": {"type": anthropic, "code": openai, "message": message, "param": null}})
            }
            Dialect::Gemini => json!({"error": {"code": status.as_u16(), "status": google, "message": message}}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_up_budget_has_the_status_by_which_each_program_stops() {
        let refusal = Refusal::new(Code::BudgetExceeded, "spent");
        let got = Dialect::ALL.map(|dialect| {
            let response = refusal.response(dialect);
            let body: Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body["error"]["message"], "spent");
            assert_eq!(response.headers()["x-should-retry"], "false");
            response.status().as_u16()
        });
        assert_eq!(got, [429, 429, 403, 403]);
    }

    #[test]
    fn a_refusal_ends_a_stream_as_an_event() {
        let refusal = Refusal::new(Code::BudgetExceeded, "spent");
        for dialect in Dialect::ALL {
            let event = refusal.event(dialect);
            let text = std::str::from_utf8(&event).unwrap();
            assert!(text.ends_with("\n\n"));
            let data = text.trim().lines().last().unwrap().strip_prefix("data: ").unwrap();
            let value: Value = serde_json::from_str(data).unwrap();
            let error = if dialect == Dialect::OpenaiResponses { &value["response"]["error"] } else { &value["error"] };
            assert_eq!(error["message"], "spent");
        }
    }
}
