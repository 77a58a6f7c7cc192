//! The REST door (contract section 3): the HTTP server for people, programs, probes and Prometheus.
//!
//! Two sets of routes make the whole: `public` ones, which tell nothing of anybody's, and `guarded` ones, all behind
//! one authentication. A route is in the OpenAPI document because it is in the router, and behind authentication because
//! it is in the second set: there is no third way.

mod audit;
mod auth;
mod body;
mod cost;
mod cursor;
mod cwom;
mod diagnostics;
mod error;
mod frame;
mod health;
mod mcp;
mod metrics;
mod namespaces;
mod openapi;
mod page;
mod query;
mod results;
mod reviews;
mod session;
mod statistics;
mod tasks;
mod trace;

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use health::Health;
pub use metrics::{ApiMetrics, Gauges, RequestLabels};

use crate::crd::Trust;
use crate::domain::executor::Executors;
use crate::domain::forge::Forges;
use crate::domain::model::Models;
use crate::policy::Policy;
use crate::serve;
use crate::shared::{Denials, NamespaceLimits};
use crate::store::Store;
use crate::trace::TraceVolume;
use auth::{Access, KubernetesAuthority, SessionAuthority};
use body::Room;
use cursor::CursorKey;
use frame::Limits;
use health::Readiness;
use namespaces::Namespaces;
use page::Answers;
use results::Results;

/// The settings of the API.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// Serve the REST routes; without it there are health, version, public keys and metrics alone.
    pub enabled: bool,
    /// A caller's token must be meant for one of these.
    pub audiences: Vec<String>,
    /// Where Tasks are created whose request names no namespace.
    pub namespace: String,
    /// Where people reach API and console, without a slash at its end, where that is known.
    pub public_url: Option<String>,
    /// How long decisions on tokens and rights are kept; refusals for a fifth of it.
    pub keep_decisions: Duration,
    /// How long a request may take.
    pub timeout: Duration,
    /// The greatest body that is read, in bytes.
    pub max_body_bytes: usize,
    /// How many requests are served at once; one caller may have half of them.
    pub max_requests: usize,
    /// How many answers that last are sent at once: followers and downloads; one caller may have a twentieth of them.
    pub max_followers: usize,
}

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

/// See [`Api`].
pub struct Shared {
    store: Store,
    client: Client,
    policy: Policy,
    trust: watch::Receiver<Arc<Trust>>,
    cursor_key: CursorKey,
    access: Access,
    limits: Limits,
    room: Room,
    answers: Answers,
    results: Results,
    namespaces: Namespaces,
    readiness: Readiness,
    denials: Denials,
    namespace_limits: NamespaceLimits,
    executors: watch::Receiver<Arc<Executors>>,
    models: watch::Receiver<Arc<Models>>,
    forges: watch::Receiver<Arc<Forges>>,
    health: Health,
    settings: ApiSettings,
}

impl Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Api {
    /// The same, with `executors` that may do the work: whoever asks for what nothing can do is warned.
    #[must_use]
    pub fn with_executors(mut self, executors: watch::Receiver<Arc<Executors>>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.0) {
            shared.executors = executors;
        }
        self
    }

    /// The same, with the `models` that may be asked, and by whom.
    #[must_use]
    pub fn with_models(mut self, models: watch::Receiver<Arc<Models>>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.0) {
            shared.models = models;
        }
        self
    }

    /// The same, with the `forges` that changes may be delivered to, and by whom.
    #[must_use]
    pub fn with_forges(mut self, forges: watch::Receiver<Arc<Forges>>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.0) {
            shared.forges = forges;
        }
        self
    }

    /// The same, with the traces of `volume`, which are followed until `stop`.
    #[must_use]
    pub fn with_traces(mut self, volume: TraceVolume, stop: CancellationToken) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.0) {
            shared.results = Results::new(shared.settings.max_followers).of(volume, stop);
        }
        self
    }

    /// An API over the record that `health` tells of, which creates Tasks through `client` if `policy` allows them, and
    /// hands those that it does not to `denials`. `namespace_limits` say when there are too many.
    pub fn new(
        health: Health,
        client: Client,
        policy: Policy,
        trust: watch::Receiver<Arc<Trust>>,
        denials: Denials,
        namespace_limits: NamespaceLimits,
        settings: ApiSettings,
    ) -> Self {
        let cursor_key = CursorKey::of(trust.borrow().keys.sealing());
        let authority = SessionAuthority {
            others: KubernetesAuthority::new(client.clone(), settings.audiences.clone()),
            client: client.clone(),
            trust: trust.clone(),
            clock: health.clock.clone(),
        };
        Self(Arc::new(Shared {
            store: health.store.clone(),
            client: client.clone(),
            policy,
            cursor_key,
            trust,
            access: Access::new(Arc::new(authority), settings.keep_decisions),
            limits: Limits::new(settings.max_requests),
            room: Room::new(settings.max_body_bytes),
            answers: Answers::default(),
            results: Results::new(settings.max_followers),
            namespaces: Namespaces::new(client.clone()),
            readiness: Readiness::default(),
            denials,
            namespace_limits,
            executors: watch::Sender::new(Arc::default()).subscribe(),
            models: watch::Sender::new(Arc::default()).subscribe(),
            forges: watch::Sender::new(Arc::default()).subscribe(),
            health,
            settings,
        }))
    }
}

/// What anybody may ask for.
fn public() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(health::healthz))
        .routes(routes!(health::health))
        .routes(routes!(health::readyz))
        .routes(routes!(health::version))
        .routes(routes!(health::keys))
        .routes(routes!(openapi::serve))
}

/// What only somebody with a token may ask for.
fn guarded(enabled: bool) -> OpenApiRouter<Api> {
    let router = OpenApiRouter::default().routes(routes!(health::metrics)).routes(routes!(diagnostics::report));
    if !enabled {
        return router;
    }
    router
        .routes(routes!(tasks::enqueue::enqueue))
        .routes(routes!(tasks::list::list))
        .routes(routes!(tasks::list::get))
        .routes(routes!(tasks::cancel::cancel))
        .routes(routes!(tasks::budget::decide))
        .routes(routes!(tasks::retry::retry))
        .routes(routes!(results::listing::list))
        .routes(routes!(results::archive::get))
        .routes(routes!(results::file::get))
        .routes(routes!(results::events::list))
        .routes(routes!(results::log::get))
        .routes(routes!(session::show, session::end))
        .routes(routes!(audit::list))
        .routes(routes!(cost::get))
        .routes(routes!(statistics::get))
        .routes(routes!(trace::show))
        .merge(cwom::routes())
        .merge(reviews::routes())
}

/// The OpenAPI document of all routes.
pub fn document() -> serde_json::Value {
    openapi::document(public().into_openapi(), guarded(true).into_openapi())
}

pub fn router(api: Api) -> Router {
    let (public, public_paths) = public().split_for_parts();
    let (guarded, guarded_paths) = guarded(api.settings.enabled).split_for_parts();
    let document = openapi::document(public_paths, guarded_paths);
    let router = public.merge(frame::guard(guarded, &api)).merge(openapi::explorer());
    let rest = frame::wrap(router.layer(openapi::provide(&document)), &api).with_state(api.clone());
    if !api.settings.enabled {
        return rest;
    }
    let mcp = mcp::route(&api, rest.clone()).with_state(api);
    rest.merge(mcp)
}

/// A caller keeps one connection, or a few, and one for each Task that they follow; behind a proxy all callers have one address.
const LIMITS: serve::Limits = serve::Limits {
    connections: 2048,
    connections_of_one: 1280,
    handshake: Duration::from_secs(5),
    head: Duration::from_secs(10),
    idle: Duration::from_secs(120),
    grace: Duration::from_secs(10),
};

/// Serves `router` until `shutdown`, then lets requests under way end.
///
/// # Errors
/// If the port cannot be bound.
pub async fn serve(address: SocketAddr, router: Router, shutdown: CancellationToken) -> io::Result<()> {
    info!(%address, "API listens");
    serve::serve(address, None, router, LIMITS, shutdown).await
}
