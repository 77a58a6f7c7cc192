//! The HTTP server for people, probes and Prometheus (contract section 3): `/healthz`, `/readyz`, `/version`, `/metrics`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::runtime::Metrics;
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
}

/// The routes.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/version", get(|| async { Json(json!({"name": "jct", "version": env!("CARGO_PKG_VERSION")})) }))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// Serves `router` until `shutdown`.
///
/// # Errors
/// If the port cannot be bound.
pub async fn serve(address: SocketAddr, router: Router, shutdown: CancellationToken) -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    info!(%address, "API listens");
    axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.cancelled().await }).await
}

/// 200 when every part has started and the record can be written; else 503 with what is missing.
async fn readyz(State(health): State<Health>) -> Response {
    let mut missing: Vec<String> = health
        .parts
        .iter()
        .filter(|(_, ready)| !*ready.borrow())
        .map(|(name, _)| format!("{name}: starting"))
        .collect();
    match tokio::time::timeout(Duration::from_secs(3), health.store.ping()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => missing.push(format!("store: {error}")),
        Err(_) => missing.push("store: does not answer".into()),
    }
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n").into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], health.metrics.encode()).into_response()
}
