//! The HTTPS server that the API server calls.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use jiff::Timestamp;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, Operation};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Caller;
use super::metrics::{ReviewLabels, WebhookMetrics};
use super::read::{Read, read};
use super::review::{Endpoint, Review, Reviewer};
use crate::crd::names::GROUP;
use crate::domain::cwom::Kind;
use crate::serve::{self, Body, BodyError, BodyLimits, Budget, Limits, Peer, Tls};
use crate::shared::{Denials, NamespaceLimits, TooMany};

/// An object of 1.5 MiB is the most that etcd takes. A review has the object as it was too, and who asks.
const MAX_BODY_BYTES: usize = 3 * 1024 * 1024 + 128 * 1024;
/// What is read at once, of all and of one address: four of the greatest bodies, or hundreds of common ones.
const BODIES: (usize, usize) = (4 * MAX_BODY_BYTES, 2 * MAX_BODY_BYTES);
/// The API server waits for five seconds, the chart says; what waits for room holds none.
const BODY: BodyLimits =
    BodyLimits { bytes: MAX_BODY_BYTES, wait: Duration::from_secs(4), read: Duration::from_secs(3) };
/// How many reviews are made values of at once. It takes no waiting, so more would not be faster.
const READ_AT_ONCE: usize = 2;
/// Reviews from this length on, in bytes, are looked at aside: meanwhile the bodies of others, each of which has its time to
/// arrive, are read.
const LARGE: usize = 64 * 1024;
/// How many requests are under way at once, most of them waiting for one of the above.
const MAX_REQUESTS: usize = 256;
/// The API server keeps one connection, or a few.
const LIMITS: Limits = Limits {
    connections: 256,
    connections_of_one: 64,
    handshake: Duration::from_secs(5),
    head: Duration::from_secs(10),
    idle: Duration::from_secs(120),
    grace: Duration::from_secs(10),
};
/// How often the file of client CAs is looked at.
const CA_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct App(Arc<Shared>);

struct Shared {
    reviewer: Reviewer,
    denials: Denials,
    metrics: WebhookMetrics,
    limits: NamespaceLimits,
    /// Whether callers must show a certificate.
    authenticates: bool,
    bodies: Budget,
    readers: Arc<Semaphore>,
    requests: Semaphore,
}

/// The routes: `/mutate`, `/validate` and `/deletion`. What they refuse is handed to `denials`. With `authenticates`, who has shown no
/// certificate gets no answer of theirs.
pub fn router(
    reviewer: Reviewer,
    denials: Denials,
    metrics: WebhookMetrics,
    limits: NamespaceLimits,
    authenticates: bool,
) -> Router {
    let (all, of_one) = BODIES;
    let shared = Shared {
        reviewer,
        denials,
        metrics,
        limits,
        authenticates,
        bodies: Budget::new(all, of_one),
        readers: Arc::new(Semaphore::new(READ_AT_ONCE)),
        requests: Semaphore::new(MAX_REQUESTS),
    };
    Router::new()
        .route("/mutate", post(|app, peer, request| answer(Endpoint::Mutate, app, peer, request)))
        .route("/validate", post(|app, peer, request| answer(Endpoint::Validate, app, peer, request)))
        .route("/deletion", post(|app, peer, request| answer(Endpoint::Deletion, app, peer, request)))
        .with_state(App(Arc::new(shared)))
}

/// Serves `router` until `shutdown`, then lets reviews under way end.
///
/// # Errors
/// If the port cannot be bound.
pub async fn serve(address: SocketAddr, tls: Tls, router: Router, shutdown: CancellationToken) -> io::Result<()> {
    info!(%address, client_certificates = tls.authenticates(), "admission webhook listens");
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(follow_client_ca(tls.clone())));
    serve::serve(address, Some(tls), router, LIMITS, shutdown).await
}

/// Takes up client CAs when they change.
async fn follow_client_ca(tls: Tls) {
    loop {
        tokio::time::sleep(CA_INTERVAL).await;
        match tls.refresh() {
            Ok(false) => {}
            Ok(true) => info!("webhook believes the new client CA"),
            Err(error) => warn!(%error, "the client CA cannot be taken up; the one before holds"),
        }
    }
}

async fn answer(
    endpoint: Endpoint,
    State(App(app)): State<App>,
    peer: Option<Extension<Peer>>,
    request: Request,
) -> Response {
    let began = Instant::now();
    let webhook = match endpoint {
        Endpoint::Mutate => "mutate",
        Endpoint::Validate => "validate",
        Endpoint::Deletion => "deletion",
    };
    let (result, response) = match admit(&app, endpoint, webhook, peer.map(|Extension(peer)| peer), request).await {
        Ok(answered) => answered,
        Err(rejected) => rejected.respond(webhook),
    };
    if endpoint == Endpoint::Deletion {
        // The object may go as soon as this is answered, and another replica record that.
        app.reviewer.deletions.wait_until_shared().await;
    }
    app.metrics.reviews.get_or_create(&ReviewLabels { webhook, result }).inc();
    app.metrics.review_seconds.observe(began.elapsed().as_secs_f64());
    response
}

/// Why a request is no review to be answered.
enum Rejected {
    /// No certificate where one must be.
    Stranger,
    Unread(BodyError),
    /// Too many are under way.
    Busy,
    /// It is no review.
    Malformed(String),
}

impl Rejected {
    fn respond(self, webhook: &'static str) -> (String, Response) {
        let busy = |message: &str| {
            let retry = [(header::RETRY_AFTER, "1")];
            (StatusCode::SERVICE_UNAVAILABLE, retry, message.to_owned()).into_response()
        };
        let (result, response) = match self {
            Self::Stranger => {
                let message = "only the API server is answered here, and this is not its certificate";
                ("unauthenticated", (StatusCode::FORBIDDEN, message).into_response())
            }
            Self::Unread(BodyError::TooLarge) => {
                warn!(webhook, "review refused: more than {MAX_BODY_BYTES} bytes");
                let message = format!("a review must have at most {MAX_BODY_BYTES} bytes");
                ("too_large", (StatusCode::PAYLOAD_TOO_LARGE, message).into_response())
            }
            Self::Unread(error @ BodyError::NoRoom) => {
                warn!(webhook, %error, "review refused");
                ("overloaded", busy(&error.to_string()))
            }
            Self::Unread(error) => {
                warn!(webhook, %error, "review refused");
                ("unread", (StatusCode::REQUEST_TIMEOUT, error.to_string()).into_response())
            }
            Self::Busy => {
                warn!(webhook, "review refused: too many are under way");
                ("overloaded", busy("too many reviews are under way"))
            }
            Self::Malformed(error) => {
                warn!(webhook, error, "malformed admission review refused");
                ("malformed", (StatusCode::BAD_REQUEST, format!("not an AdmissionReview: {error}")).into_response())
            }
        };
        (result.to_owned(), response)
    }
}

/// Answers a review, and says how it was answered.
async fn admit(
    app: &Arc<Shared>,
    endpoint: Endpoint,
    webhook: &'static str,
    peer: Option<Peer>,
    request: Request,
) -> Result<(String, Response), Rejected> {
    let caller = Caller::of(peer);
    if app.authenticates && caller == Caller::Anonymous {
        return Err(Rejected::Stranger);
    }
    let _place = app.requests.try_acquire().map_err(|_| Rejected::Busy)?;
    let (head, body) = request.into_parts();
    let source = peer.map_or_else(String::new, |peer| peer.address.to_string());
    let body = serve::read(&head.headers, body, BODY, &app.bodies, &source).await.map_err(Rejected::Unread)?;
    let reader = app.readers.clone().acquire_owned().await.map_err(|_| Rejected::Busy)?;
    let Body { bytes, charge } = body;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Rejected::Malformed(format!("no random bytes: {error}")))?;
    let now = app.reviewer.clock.now();
    let is_large = bytes.len() >= LARGE;
    // What it holds it holds to its end, though nobody waits for that any more.
    let held = (app.clone(), reader, charge);
    let judge = move || judge(&held.0, endpoint, caller, bytes, random, now).map(|judged| (judged, held));
    let judged = match is_large {
        true => tokio::task::spawn_blocking(judge).await.map_err(|_| Rejected::Busy)?,
        false => judge(),
    };
    let ((request, review), _held) = judged?;
    let Review { response, findings } = unless_too_many(app, endpoint, caller, &request, review).await;
    let result = match response.allowed {
        true => "allowed".to_owned(),
        false => refused(webhook, &request, &response),
    };
    if let Some(denial) = app.reviewer.denial(&request, findings, caller, random, now) {
        // Behind the API server's certificate each user is one source, else each address.
        let source = if denial.authenticated { denial.actor.id.clone() } else { source };
        let uid = request.old_object.as_ref().and_then(|object| object.metadata.uid.clone());
        app.denials.keep(denial, &source, uid);
    }
    Ok((result, Json(response.into_review()).into_response()))
}

/// Reads a review and looks at what is asked. Takes no waiting, but time: as much as there is to read.
fn judge(
    app: &Shared,
    endpoint: Endpoint,
    caller: Caller,
    bytes: Vec<u8>,
    random: [u8; 16],
    now: Timestamp,
) -> Result<(AdmissionRequest<DynamicObject>, Review), Rejected> {
    let Read { request, findings } = read(&bytes).map_err(Rejected::Malformed)?;
    drop(bytes);
    let review = match findings.is_empty() {
        true => app.reviewer.review(endpoint, caller, &request, random, now),
        false => super::review::refuse(&request, findings),
    };
    Ok((request, review))
}

/// The review, or a refusal of one more Task or work object where there are as many as may be. Asked at the last, of what is
/// about to be stored: a dry run is refused as well, and not counted.
async fn unless_too_many(
    app: &Shared,
    endpoint: Endpoint,
    caller: Caller,
    request: &AdmissionRequest<DynamicObject>,
    review: Review,
) -> Review {
    let is_task = request.kind.kind == "Task";
    let is_new = endpoint == Endpoint::Validate
        && request.operation == Operation::Create
        && request.kind.group == GROUP
        && (is_task || Kind::ALL.iter().any(|kind| kind.as_str() == request.kind.kind))
        && request.sub_resource.is_none();
    if !is_new || !review.response.allowed {
        return review;
    }
    let (namespace, field) = (request.namespace.as_deref().unwrap_or_default(), "metadata.namespace");
    let too_many = match is_task {
        true => app.limits.check_task(namespace, field).await,
        false => app.limits.check_object(namespace, field).await,
    };
    if let Some(TooMany { finding, .. }) = too_many {
        return super::review::refuse(request, vec![finding]);
    }
    // Strangers could make a namespace look full by telling of what nobody makes.
    if caller == Caller::Authenticated && !request.dry_run {
        if is_task { app.limits.admit_task(namespace) } else { app.limits.admit_object(namespace) }
    }
    review
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
