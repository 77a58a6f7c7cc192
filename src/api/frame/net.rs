//! Errors in the one form, whoever made them: what a framework or a panic answers is caught here.

use std::any::Any;

use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::error::Problem;

/// What probes ask for: what they are told may be lines of text, and is not counted.
pub const PROBES: [&str; 3] = ["/healthz", "/health", "/readyz"];

/// 404 for a path that is nothing.
pub async fn not_found(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}; see /openapi.json", uri.path()))
}

/// 500 for a mistake in this program.
pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::internal("serve a request", &"it panicked").into_response()
}

/// Middleware: gives an error that is no JSON the form of ours, its headers kept.
pub async fn json_errors(request: Request, next: Next) -> Response {
    let is_plain = PROBES.contains(&request.uri().path());
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if !is_error || is_json || (is_plain && status == StatusCode::SERVICE_UNAVAILABLE) {
        return response;
    }
    let mut ours = Problem::text(status, status.canonical_reason().unwrap_or("error")).into_response();
    for (name, value) in response.headers() {
        if ![header::CONTENT_TYPE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(name) {
            ours.headers_mut().insert(name, value.clone());
        }
    }
    *ours.extensions_mut() = response.into_parts().0.extensions;
    ours
}
