//! Health, version, public keys and metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Api;
use super::auth::{Caller, Right};
use super::error::Problem;
use crate::runtime::Metrics;
use crate::signing::Keys;
use crate::store::Store;

/// What the server tells of.
#[derive(Clone)]
pub struct Health {
    /// The record, which must answer.
    pub store: Store,
    /// The parts that must have started, by name.
    pub parts: Arc<Vec<(&'static str, watch::Receiver<bool>)>>,
    /// The metrics page.
    pub metrics: Metrics,
    /// What provenance is signed with.
    pub keys: Keys,
}

/// Whether the process answers
#[utoipa::path(get, path = "/healthz", tag = "operation",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether every part has started and the record can be written
#[utoipa::path(get, path = "/readyz", tag = "operation", responses(
    (status = 200, description = "Ready", body = String, content_type = "text/plain"),
    (status = 503, description = "What is missing, a line for each", body = String, content_type = "text/plain")))]
pub async fn readyz(State(api): State<Api>) -> Response {
    let health = &api.health;
    let mut missing: Vec<String> = health
        .parts
        .iter()
        .filter(|(_, ready)| !*ready.borrow())
        .map(|(name, _)| format!("{name}: starting"))
        .collect();
    match tokio::time::timeout(Duration::from_secs(3), health.store.ping()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => missing.push(format!("database: {error}")),
        Err(_) => missing.push("database: does not answer".into()),
    }
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n").into_response()
}

/// The version of JCT
#[utoipa::path(get, path = "/version", tag = "operation",
    responses((status = 200, description = "Name and version", body = Value)))]
pub async fn version() -> Json<Value> {
    Json(json!({"name": "jct", "version": env!("CARGO_PKG_VERSION")}))
}

/// The public keys that provenance is checked with, retired ones too
#[utoipa::path(get, path = "/keys", tag = "operation", responses(
    (status = 200, description = "JSON Web Key Set (RFC 7517) of Ed25519 keys (RFC 8037), the one in use first. `kid` is the SHA-256 of the key's SubjectPublicKeyInfo; `created_at` and `retired_at` tell when it was in use", body = Value),
    (status = 503, description = "The operator has no keys yet")))]
pub async fn keys(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    match api.health.keys.current() {
        Some(ring) => Ok(Json(ring.to_jwks())),
        None => Err(Problem::unavailable("the signing keys are not there yet")),
    }
}

/// Metrics, for Prometheus
///
/// Needs the right to `get` the path `/metrics`.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text")))]
pub async fn metrics(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    api.access.require(&caller, &Right::Path { verb: "get", path: "/metrics" }).await?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], api.health.metrics.encode()).into_response())
}
