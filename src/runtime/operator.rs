//! `jct operator`: webhook, controller and API in one process, from start to shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Denials, Metrics, Settings};
use crate::api;
use crate::domain::StampKey;
use crate::reconcile::context::{Context, Timing};
use crate::reconcile::trace_volume::TraceVolume;
use crate::reconcile::{self};
use crate::store::{Store, StoreSettings};
use crate::webhook::certificates::Identity;
use crate::webhook::{self, Keeper, KeeperSettings, Reviewer, Tls};

/// How long parts may take to end once asked to.
const SHUTDOWN: Duration = Duration::from_secs(20);
/// How long denials that wait then may take to be written.
const LAST_DENIALS: Duration = Duration::from_secs(5);

/// Runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot start, naming what is missing, or if one of its parts ends by itself.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    info!(version = env!("CARGO_PKG_VERSION"), "jct operator starts");
    let url = settings.database_url.parse().context("--database-url")?;
    let store = Store::open(&StoreSettings::new(url)).await.context("cannot open the database (DATABASE_URL)")?;
    let client = Client::try_default().await.context("cannot find the Kubernetes API server")?;
    let metrics = Metrics::default();
    let keeper = Keeper::new(client.clone(), keeper_settings(&settings), metrics.clone());
    let (identity, stamp_key) = patiently(&keeper).await?;

    let shutdown = CancellationToken::new();
    let (denials, waiting) = Denials::new(&metrics);
    let no_more_denials = CancellationToken::new();
    let recording = tokio::spawn(waiting.record(store.clone(), no_more_denials.clone()));
    let mut parts: JoinSet<(&'static str, anyhow::Result<()>)> = JoinSet::new();
    let mut readiness = Vec::new();
    if settings.webhook {
        let (ready, is_ready) = watch::channel(false);
        readiness.push(("webhook", is_ready));
        let reviewer =
            Reviewer { policy: settings.policy(), key: stamp_key.clone(), trusted_user: own_name(&client).await };
        let router = webhook::router(reviewer, denials.clone(), metrics.clone());
        let part = serve_webhook(&settings, keeper, identity, router, ready, shutdown.clone()).await?;
        parts.spawn(async move { ("webhook", part.await) });
    }
    if settings.controller {
        let (ready, is_ready) = watch::channel(false);
        readiness.push(("controller", is_ready));
        let (client, stamp_key) = (client.clone(), stamp_key.clone());
        let context = Arc::new(context(&settings, client, store.clone(), stamp_key, metrics.clone())?);
        let (concurrency, stop) = (settings.concurrency, shutdown.clone());
        parts.spawn(async move {
            reconcile::run(context, concurrency, ready, stop).await;
            ("controller", Ok(()))
        });
    }
    let health = api::Health { store: store.clone(), parts: Arc::new(readiness), metrics };
    let api = api::Api::new(health, client, settings.policy(), stamp_key, denials, settings.api());
    let (address, stop) = (any(settings.api_port), shutdown.clone());
    parts.spawn(async move {
        let served = api::serve(address, api::router(api), stop).await;
        ("API", served.with_context(|| format!("cannot serve the API on {address} (API_PORT)")))
    });

    let ended = tokio::select! {
        asked = asked_to_stop() => asked.map(|signal| info!(signal, "shutting down")),
        Some(part) = parts.join_next() => Err(untimely(part)),
    };
    shutdown.cancel();
    let all = async { while parts.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN, all).await.is_err() {
        warn!("parts did not end in time; what they were doing goes on at the next start");
    }
    no_more_denials.cancel();
    if tokio::time::timeout(LAST_DENIALS, recording).await.is_err() {
        warn!("the record did not take the last denials in time: they are not kept");
    }
    store.close().await;
    info!("jct operator stopped");
    ended
}

fn untimely(part: Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>) -> anyhow::Error {
    match part {
        Ok((name, Err(error))) => error.context(format!("the {name} ended")),
        Ok((name, Ok(()))) => anyhow!("the {name} ended"),
        Err(error) => anyhow!("a part of the operator failed: {error}"),
    }
}

/// Certificates need the API server, which may be starting itself.
async fn patiently(keeper: &Keeper) -> anyhow::Result<(Identity, StampKey)> {
    let mut tries = 0;
    loop {
        match keeper.ensure().await {
            Ok(found) => return Ok(found),
            Err(error) if tries < 5 => {
                tries += 1;
                warn!(%error, tries, "webhook certificates are not there yet");
                tokio::time::sleep(Duration::from_secs(tries)).await;
            }
            Err(error) => return Err(error).context("cannot get the webhook's certificates"),
        }
    }
}

async fn serve_webhook(
    settings: &Settings,
    keeper: Keeper,
    identity: Identity,
    router: webhook::Router,
    ready: watch::Sender<bool>,
    shutdown: CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
    let tls = Tls::new(&identity).await.context("cannot serve the webhook's certificate")?;
    let address = any(settings.webhook_port);
    tokio::spawn(keeper.run(tls.clone(), identity, ready));
    Ok(async move {
        let served = webhook::serve(address, tls, router, shutdown).await;
        served.with_context(|| format!("cannot serve the webhook on {address} (JCT_WEBHOOK_PORT)"))
    })
}

fn keeper_settings(settings: &Settings) -> KeeperSettings {
    KeeperSettings {
        namespace: settings.namespace.clone(),
        secret: settings.webhook_secret.clone(),
        service: settings.webhook_service.clone(),
        configuration: settings.webhook_configuration.clone(),
        life: Duration::from_secs(u64::from(settings.webhook_certificate_hours) * 3600),
    }
}

fn context(
    settings: &Settings,
    client: Client,
    store: Store,
    stamp_key: StampKey,
    metrics: Metrics,
) -> anyhow::Result<Context> {
    let traces = TraceVolume::new(&settings.trace_root);
    if !traces.is_mounted() {
        return Err(anyhow!(
            "--trace-root (JCT_TRACE_ROOT): {} is no folder; mount the trace volume there",
            traces.root().display()
        ));
    }
    Ok(Context {
        client,
        store,
        policy: settings.policy(),
        jobs: settings.jobs(),
        timing: Timing {
            start_timeout: settings.worker_start_timeout(),
            grace: Duration::from_secs(settings.worker_grace_seconds.into()),
            job_ttl_seconds: settings.job_ttl_seconds,
            retry_delay: Duration::from_secs(settings.retry_delay_seconds.into()),
        },
        stamp_key,
        traces,
        workers: Arc::default(),
        metrics,
        backoff: reconcile::error::Backoff::default(),
        written: reconcile::status::Written::default(),
        objects: reconcile::work_object::Objects::default(),
    })
}

/// The user name that the API server knows this process by: the one whose stamps the webhook takes over.
async fn own_name(client: &Client) -> String {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = SelfSubjectReview { metadata: kube::api::ObjectMeta::default(), status: None };
    match reviews.create(&PostParams::default(), &review).await {
        Ok(review) => review.status.and_then(|status| status.user_info?.username).unwrap_or_default(),
        Err(error) => {
            // An empty name is nobody's: stamps of the operator's own Tasks are then overwritten, never trusted.
            warn!(%error, "cannot find out the operator's own user name");
            String::new()
        }
    }
}

async fn asked_to_stop() -> anyhow::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}
