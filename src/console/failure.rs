//! What goes wrong, as a page.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::Value;

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status code of the answer.
    pub status: StatusCode,
    /// In a sentence.
    pub message: String,
    /// What is wrong, one by one.
    pub findings: Vec<String>,
    /// `error` of the API's answer, if it has one.
    pub name: String,
}

impl Failure {
    /// A failure that is told in a sentence.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), findings: Vec::new(), name: String::new() }
    }

    /// 500. What happened goes into the log.
    pub fn internal(what: &str) -> Self {
        tracing::error!(what, "the console cannot show a page");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "an internal error; the operator's log tells more")
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// What an answer of the API says.
    pub fn answered(status: StatusCode, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let detail = &body["detail"];
        let text = |value: &Value| value.as_str().map(super::view::plain);
        let message = text(detail).or_else(|| text(&detail["message"]));
        let findings = detail["violations"].as_array().into_iter().flatten().map(|violation| {
            let part = |field: &str| super::view::plain(violation[field].as_str().unwrap_or_default());
            format!("{}: {}: {}", part("field"), part("code"), part("message"))
        });
        Self {
            status,
            message: message.unwrap_or_else(|| format!("the API answers {status}")),
            findings: findings.collect(),
            name: text(&detail["error"]).unwrap_or_default(),
        }
    }

    /// Whether the API does not know the visitor any more.
    pub fn is_signed_out(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    /// Whether there is nothing, or nothing any more.
    pub fn is_nothing(&self) -> bool {
        [StatusCode::NOT_FOUND, StatusCode::GONE].contains(&self.status)
    }
}

/// Marks an answer to somebody who is not known any more; the middleware signs them out.
#[derive(Clone, Copy, Debug)]
pub struct SignedOut;

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = plain_page(&self).into_response();
        if self.is_signed_out() {
            response.extensions_mut().insert(SignedOut);
        }
        response
    }
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage<'a> {
    version: &'static str,
    title: &'static str,
    failure: &'a Failure,
    asks_namespace: bool,
}

/// A page that needs nobody to be signed in.
pub fn plain_page(failure: &Failure) -> impl IntoResponse + use<> {
    let title = match failure.status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::GONE => "Gone",
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => "Not allowed",
        StatusCode::CONFLICT => "Not possible now",
        StatusCode::UNPROCESSABLE_ENTITY => "Not accepted",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "Try again",
        _ => "Something went wrong",
    };
    let asks_namespace = failure.message.contains("?namespace=");
    let page = FailurePage { version: env!("CARGO_PKG_VERSION"), title, failure, asks_namespace };
    let text = page.render().unwrap_or_else(|_| "<!doctype html><title>JCT</title>Something went wrong".to_owned());
    (failure.status, [(header::CACHE_CONTROL, "no-store")], Html(text))
}

/// A template as an answer.
///
/// # Errors
/// If it can't be rendered.
pub fn rendered(template: &impl Template) -> Result<Response, Failure> {
    let text = template.render().map_err(|error| Failure::internal(&format!("render a page: {error}")))?;
    Ok(Html(text).into_response())
}
