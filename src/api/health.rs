//! Health, version, public keys and metrics.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tracing::warn;

use super::Api;
use super::auth::{Caller, Right};
use super::error::Problem;
use super::metrics::{ApiMetrics, Gauges};
use crate::metrics::Page;
use crate::shared::Clock;
use crate::signing::Keys;
use crate::store::Store;

/// What the server tells of.
#[derive(Clone)]
pub struct Health {
    /// The record, which must answer.
    pub store: Store,
    /// The parts that must have started, by name.
    pub parts: Arc<Vec<(&'static str, watch::Receiver<bool>)>>,
    pub metrics: ApiMetrics,
    pub gauges: Gauges,
    pub page: Page,
    /// What provenance is signed with.
    pub keys: Keys,
    /// The API server's clock: stamps are dated by it.
    pub clock: Clock,
}

/// How long the record counts as it was found.
const FRESH: Duration = Duration::from_secs(2);
/// How long whoever asks for health alone waits for it.
const GLANCE: Duration = Duration::from_millis(250);
/// How long the record may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the record can be written, as it was found a moment ago: to find out costs a write, and anybody may ask.
#[derive(Debug, Default)]
pub struct Readiness {
    found: RwLock<Option<(Instant, Result<(), String>)>>,
    looking: Mutex<()>,
}

impl Readiness {
    /// Whether `store` can be written; what is wrong, in words that tell nothing of it. The log has the rest.
    pub async fn of(&self, store: &Store) -> Result<(), String> {
        let (found, _one_at_a_time) = match (self.found(), self.looking.try_lock()) {
            (Some((at, found)), _) if at.elapsed() < FRESH => return found,
            (Some((_, found)), Err(_)) => return found,
            (found, Ok(lock)) => (found, lock),
            // Only before the first time.
            (None, Err(_)) => {
                let lock = self.looking.lock().await;
                match self.found() {
                    Some((_, found)) => return found,
                    None => (None, lock),
                }
            }
        };
        let now = match tokio::time::timeout(PATIENCE, store.ping()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                if found.is_none_or(|(_, before)| before.is_ok()) {
                    warn!(%error, category = error.category(), "the record cannot be written: not ready");
                }
                Err(error.summary())
            }
            Err(_) => Err("does not answer".to_owned()),
        };
        *self.found.write().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), now.clone()));
        now
    }

    fn found(&self) -> Option<(Instant, Result<(), String>)> {
        self.found.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether the process answers
///
/// JSON for who accepts it, with the state of the record as it was found a moment ago; 200 whatever that is, for a process is
/// not started again because its database is away.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "It does", content(
    (Value = "application/json"), (String = "text/plain")))))]
pub async fn healthz(State(api): State<Api>, headers: HeaderMap) -> Response {
    liveness(&api, &headers).await
}

/// The same as /healthz
#[utoipa::path(get, path = "/health", tag = "operation", responses((status = 200, description = "It does", content(
    (Value = "application/json"), (String = "text/plain")))))]
pub async fn health(State(api): State<Api>, headers: HeaderMap) -> Response {
    liveness(&api, &headers).await
}

async fn liveness(api: &Api, headers: &HeaderMap) -> Response {
    if !accepts_json(headers) {
        return "ok\n".into_response();
    }
    // A probe is not held up by a database that does not answer.
    let found = tokio::time::timeout(GLANCE, api.readiness.of(&api.health.store)).await;
    let (status, database) = match found {
        Ok(Ok(())) => ("healthy", "connected".to_owned()),
        Ok(Err(why)) => ("degraded", why),
        Err(_) => ("degraded", "does not answer".to_owned()),
    };
    Json(json!({"status": status, "database": database, "version": env!("CARGO_PKG_VERSION")})).into_response()
}

/// Whether an answer in JSON is fine: also where nothing is said, or anything is.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter().peekable();
    accepted.peek().is_none()
        || accepted.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
            let range = range.split(';').next().unwrap_or_default().trim();
            ["*/*", "application/*", "application/json"].iter().any(|json| range.eq_ignore_ascii_case(json))
        })
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
    if let Err(why) = api.readiness.of(&health.store).await {
        missing.push(format!("database: {why}"));
    }
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n").into_response()
}

/// The version of JCT
#[utoipa::path(get, path = "/version", tag = "operation",
    responses((status = 200, description = "Name and version; public_url, where people reach JCT, if that is configured", body = Value)))]
pub async fn version(State(api): State<Api>) -> Json<Value> {
    let mut version = json!({"name": "jct", "version": env!("CARGO_PKG_VERSION")});
    if let Some(url) = &api.settings.public_url {
        version["public_url"] = json!(url);
    }
    Json(version)
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
    Ok(([(header::CONTENT_TYPE, content_type)], api.health.page.encode()).into_response())
}
