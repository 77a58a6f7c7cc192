//! The HTTPS server that the API server calls.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use axum_server::tls_rustls::RustlsConfig;
use jiff::Timestamp;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionReview};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::certificates::Identity;
use super::review::{Caller, Door, Review, Reviewer};
use crate::runtime::metrics::ReviewLabels;
use crate::runtime::{Denials, Metrics};

/// A review holds the object twice, and an object of 1.5 MiB is the most that etcd takes.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// The certificate being served; a reload reaches new connections at once.
#[derive(Clone, Debug)]
pub struct Tls(RustlsConfig);

impl Tls {
    /// Serves `identity`.
    ///
    /// # Errors
    /// If certificate and key do not make a TLS server.
    pub async fn new(identity: &Identity) -> io::Result<Self> {
        RustlsConfig::from_pem(identity.certificate.clone().into(), identity.key.clone().into()).await.map(Self)
    }

    /// Serves `identity` from now on.
    ///
    /// # Errors
    /// As for [`Tls::new`]; the old certificate goes on being served.
    pub async fn reload(&self, identity: &Identity) -> io::Result<()> {
        self.0.reload_from_pem(identity.certificate.clone().into(), identity.key.clone().into()).await
    }
}

#[derive(Clone)]
struct App {
    reviewer: Arc<Reviewer>,
    denials: Denials,
    metrics: Metrics,
}

/// The routes: `/mutate` and `/validate`. What they refuse is handed to `denials`.
pub fn router(reviewer: Reviewer, denials: Denials, metrics: Metrics) -> Router {
    Router::new()
        .route("/mutate", post(|app, body| answer(Door::Mutate, app, body)))
        .route("/validate", post(|app, body| answer(Door::Validate, app, body)))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(App { reviewer: Arc::new(reviewer), denials, metrics })
}

/// Serves `router` until `shutdown`, then lets reviews under way end.
///
/// # Errors
/// If the port cannot be bound.
pub async fn serve(address: SocketAddr, tls: Tls, router: Router, shutdown: CancellationToken) -> io::Result<()> {
    let handle = axum_server::Handle::new();
    let stopper = handle.clone();
    tokio::spawn(async move {
        shutdown.cancelled().await;
        stopper.graceful_shutdown(Some(Duration::from_secs(10)));
    });
    info!(%address, "admission webhook listens");
    axum_server::bind_rustls(address, tls.0).handle(handle).serve(router.into_make_service()).await
}

async fn answer(door: Door, State(app): State<App>, body: Bytes) -> Response {
    let began = Instant::now();
    let webhook = match door {
        Door::Mutate => "mutate",
        Door::Validate => "validate",
    };
    let review = serde_json::from_slice::<AdmissionReview<DynamicObject>>(&body);
    let request: Result<AdmissionRequest<DynamicObject>, String> = match review {
        Ok(review) => review.try_into().map_err(|_| "the review has no request".into()),
        Err(error) => Err(error.to_string()),
    };
    let (result, response) = match request {
        Err(error) => {
            warn!(webhook, error, "malformed admission review refused");
            (
                "malformed".to_owned(),
                (StatusCode::BAD_REQUEST, format!("not an AdmissionReview: {error}")).into_response(),
            )
        }
        Ok(request) => {
            let mut random = [0; 16];
            if let Err(error) = getrandom::fill(&mut random) {
                return (StatusCode::INTERNAL_SERVER_ERROR, format!("no random bytes: {error}")).into_response();
            }
            let now = Timestamp::now();
            let Review { response, findings } = app.reviewer.review(door, Caller::Anonymous, &request, random, now);
            let result = match response.allowed {
                true => "allowed".to_owned(),
                false => refused(webhook, &request, &response),
            };
            if let Some(denial) = app.reviewer.denial(&request, findings, random, now) {
                app.denials.keep(denial);
            }
            (result, Json(response.into_review()).into_response())
        }
    };
    app.metrics.reviews.get_or_create(&ReviewLabels { webhook, result }).inc();
    app.metrics.review_seconds.observe(began.elapsed().as_secs_f64());
    response
}

/// Logs a refusal and gives its first code.
fn refused(
    webhook: &'static str,
    request: &AdmissionRequest<DynamicObject>,
    response: &kube::core::admission::AdmissionResponse,
) -> String {
    let codes = response.audit_annotations.get("codes").map_or("", String::as_str);
    info!(
        webhook,
        codes,
        kind = request.kind.kind,
        namespace = request.namespace,
        name = request.name,
        user = request.user_info.username,
        "object refused"
    );
    codes.split(',').next().unwrap_or_default().to_owned()
}
