//! `jct operator`: webhook, controller and API in one process, from start to shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use jct_session::client::{self, TokenError};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Client;
use kube::api::{Api, PostParams};
use kube::client::ClientBuilder;
use kube::config::AuthInfo;
use prometheus_client::metrics::gauge::Gauge;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::config_file::Configuration;
use super::controller::Controller;
use super::settings::WebhookArgs;
use super::{ConfigFile, Metrics, Settings, notifications};
use crate::api;
use crate::broker;
use crate::console::{self, AskForSession, Console, Oidc};
use crate::crd::Trust;
use crate::serve::Tls;
use crate::sessions::Sessions;
use crate::shared::{Announcer, Clock, Deletions, Denials, LostTasks, NamespaceLimits};
use crate::signing::{self, SecretKeys};
use crate::store::{DatabaseUrl, Store, StoreSettings};
use crate::trace::TraceVolume;
use crate::webhook::certificates::Identity;
use crate::webhook::{self, Keeper, Reviewer};

/// How long parts may take to end once asked to.
const SHUTDOWN: Duration = Duration::from_secs(18);
/// How long denials that wait then may take to be written.
const LAST_DENIALS: Duration = Duration::from_secs(5);
/// Time limit for closing the store. All three are within the 30 seconds that Kubernetes gives a pod.
const STORE_SHUTDOWN: Duration = Duration::from_secs(5);

/// Runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot start, naming what is missing, or if one of its parts ends by itself.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    info!(version = env!("CARGO_PKG_VERSION"), "jct operator starts");
    let url: DatabaseUrl = settings.record.database_url.parse().context("--database-url")?;
    fit(&url, settings.record.database_on_network)?;
    let lease = settings.controller.lease(&settings.namespace)?;
    let executors = settings.gate.executors_file.as_deref().map(ConfigFile::open).transpose()?;
    let models = settings.models.models_file.as_deref().map(ConfigFile::open).transpose()?;
    let forges = settings.forges.forges_file.as_deref().map(ConfigFile::open).transpose()?;
    let notifications = settings.notifications.notifications_file.as_deref().map(ConfigFile::open).transpose()?;
    let retention = settings.record.retention_file.as_deref().map(ConfigFile::open).transpose()?;
    // A database that is away is no reason to end: admission needs none, and whoever comes back finds us there.
    let store = Store::open_in_background(&StoreSettings::new(url.clone()));
    let metrics = Metrics::default();
    let clock = Clock::new(metrics.process.clock_skew_seconds.clone());
    let client = client(&clock).await.context("cannot find the Kubernetes API server")?;
    let mut keeper = Keeper::new(
        client.clone(),
        settings.webhook.keeper(&settings.namespace, settings.models.service()),
        metrics.webhook.clone(),
        clock.clone(),
    );
    let (identity, trust) = retry_certificates(&mut keeper).await?;

    let shutdown = CancellationToken::new();
    // Nothing waits for them: an outcome that is recorded before they are there is signed later.
    let keys =
        signing::keep(SecretKeys::new(client.clone(), settings.traces.signing(&settings.namespace)), shutdown.clone());
    let events = Announcer::new(metrics.process.events_dropped.clone());
    let (denials, waiting) = Denials::new(metrics.denials.clone());
    let denials = denials.announced_by(events.clone());
    let (deletions, unrecorded) = Deletions::new();
    let lost = LostTasks::default();
    let limits = NamespaceLimits::new(
        store.clone(),
        settings.gate.max_open_tasks,
        settings.gate.max_recorded_per_hour,
        lost.clone(),
    );
    let no_more_denials = CancellationToken::new();
    let recording = {
        let (store, stop) = (store.clone(), no_more_denials.clone());
        tokio::spawn(async move {
            tokio::join!(waiting.record(store.clone(), stop.clone()), unrecorded.record(store, stop))
        })
    };
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(events.clone().send(client.clone(), clock.clone())));
    let executors = follow(executors, &metrics.process.executors_valid, &shutdown);
    let models = follow(models, &metrics.process.models_valid, &shutdown);
    let forges = follow(forges, &metrics.process.forges_valid, &shutdown);
    let notifications = follow(notifications, &metrics.process.notifications_valid, &shutdown);
    notifications::publish(&store, notifications.clone(), shutdown.clone());
    let certificates = keeper.identity();
    let mut parts: JoinSet<(&'static str, anyhow::Result<()>)> = JoinSet::new();
    let mut readiness = Vec::new();
    if settings.webhook.webhook {
        let (ready, is_ready) = watch::channel(false);
        readiness.push(("webhook", is_ready));
        let reviewer = Reviewer {
            policy: settings.gate.policy(),
            trust: trust.clone(),
            trusted_user: own_name(&client).await,
            deletions: deletions.clone(),
            executors: executors.clone(),
            models: models.clone(),
            forges: forges.clone(),
            clock: clock.clone(),
        };
        let router = webhook::router(
            reviewer,
            denials.clone(),
            metrics.webhook.clone(),
            limits.clone(),
            settings.webhook.client_ca().is_some(),
        );
        let part = serve_webhook(&settings.webhook, keeper, identity, router, ready, shutdown.clone()).await?;
        parts.spawn(async move { ("webhook", part.await) });
    } else {
        tokio::spawn(keeper.follow());
    }
    if settings.controller.controller {
        let (ready, is_ready) = watch::channel(false);
        readiness.push(("controller", is_ready));
        let controller = Controller {
            settings: settings.clone(),
            client: client.clone(),
            database: url,
            store: store.clone(),
            trust: trust.clone(),
            deletions: deletions.clone(),
            lost,
            keys: keys.clone(),
            metrics: metrics.clone(),
            executors: executors.clone(),
            models: models.clone(),
            forges: forges.clone(),
            notifications,
            broker_authorities: authorities(certificates.clone(), &shutdown),
            clock: clock.clone(),
            events,
            retention: follow(retention, &metrics.process.retention_valid, &shutdown),
            ready,
        };
        let stop = shutdown.clone();
        parts.spawn(async move { ("controller", controller.run(lease, stop).await) });
    }
    if settings.models.models_file.is_some() {
        let of_broker = broker::Parts {
            client: client.clone(),
            store: store.clone(),
            namespace: settings.namespace.clone(),
            workers: settings.worker_namespace().to_owned(),
            models: models.clone(),
            executors: executors.clone(),
            metrics: metrics.broker.clone(),
        };
        let part = serve_broker(settings.models.model_port, certificates, of_broker, shutdown.clone())?;
        parts.spawn(async move { ("broker of models", part.await) });
    }
    let parts_ready = Arc::new(readiness);
    if settings.api.api && settings.api.api_session_seconds > 0 {
        let sessions = Sessions {
            client: client.clone(),
            trust: trust.clone(),
            clock: clock.clone(),
            metrics: metrics.sessions.clone(),
            life: Duration::from_secs(settings.api.api_session_seconds.into()),
        };
        tokio::spawn(sessions.run(shutdown.clone()));
    }
    let gauges = metrics.gauges();
    let (counted, page) = (metrics.api, metrics.page);
    let health = api::Health { store: store.clone(), parts: parts_ready, metrics: counted, gauges, page, keys, clock };
    let trusted = trust.clone();
    let api = api::Api::new(health, client, settings.gate.policy(), trust, denials, limits, settings.api.settings())
        .with_executors(executors)
        .with_models(models)
        .with_forges(forges)
        .with_traces(TraceVolume::new(&settings.traces.trace_root), shutdown.clone());
    let (address, stop) = (all_interfaces(settings.api.api_port), shutdown.clone());
    let router = match settings.api.api {
        true => {
            let oidc = oidc(&settings).await?;
            let console = settings.api.console();
            console::router(Console::with_oidc(api::router(api), store.clone(), trusted, console, oidc))
        }
        false => api::router(api),
    };
    parts.spawn(async move {
        let served = api::serve(address, router, stop).await;
        ("API", served.with_context(|| format!("cannot serve the API on {address} (API_PORT)")))
    });

    let ended = tokio::select! {
        asked = asked_to_stop() => asked.map(|signal| info!(signal, "shutting down")),
        Some(part) = parts.join_next() => Err(part_ended_early(part)),
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
    if tokio::time::timeout(STORE_SHUTDOWN, store.close()).await.is_err() {
        warn!("the database does not answer; what it was asked for last may or may not be recorded");
    }
    info!("jct operator stopped");
    ended
}

/// Signing in to the console at an issuer, if one is configured.
async fn oidc(settings: &Settings) -> anyhow::Result<Option<Oidc>> {
    let Some(issuer) = settings.oidc.settings()? else { return Ok(None) };
    let oidc = Oidc::new(issuer, settings.api.api_namespace.clone(), ask_for_session(kube::Config::infer().await?))?;
    Ok(Some(oidc))
}

/// Asks the API server for Sessions as the people whose ID tokens are given: with nothing of the operator's own.
fn ask_for_session(config: kube::Config) -> AskForSession {
    Arc::new(move |id_token, namespace| {
        let mut config = config.clone();
        // Nothing of the operator's own stays.
        config.auth_info = AuthInfo::default();
        config.auth_info.token = Some(id_token.into());
        Box::pin(async move {
            let client = Client::try_from(config).map_err(|error| error.to_string())?;
            let token = client::token(&client, &namespace, "console-").await;
            token.map_err(|error| match error {
                TokenError::Api(kube::Error::Api(status)) if status.code == 401 => {
                    "the API server does not know the issuer's tokens: does it trust the issuer, with this client as an audience \
                     (docs/console.md)?"
                        .into()
                }
                TokenError::Api(kube::Error::Api(status)) if status.code == 403 => {
                    format!("{}: a Session is how JCT knows you; sign in with a namespace where you have the role view", status.message)
                }
                TokenError::Api(kube::Error::Api(status)) if status.code == 404 => {
                    format!("there is no namespace {namespace:?}: sign in with one where you have the role view")
                }
                error => error.to_string(),
            })
        })
    })
}

/// A client of the API server whose answers set `clock`.
async fn client(clock: &Clock) -> anyhow::Result<Client> {
    let config = kube::Config::infer().await?;
    Ok(ClientBuilder::try_from(config)?.with_layer(&clock.layer()).build())
}

/// Whether the record may be kept there. What makes a connection unsafe is told in the log.
fn fit(url: &DatabaseUrl, on_network: bool) -> anyhow::Result<()> {
    if let Some(warning) = url.warning() {
        warn!("{warning}");
    }
    match url.network_file_system() {
        None => Ok(()),
        Some(kind) if on_network => {
            warn!(kind, "the database is on a network file system: its locks may not hold, and a crash can damage it");
            Ok(())
        }
        Some(kind) => Err(anyhow!(
            "--database-url (DATABASE_URL): {url:?} is on a network file system ({kind}), where SQLite's locks may not hold: give \
             it a local or block volume, or use PostgreSQL; --database-on-network (JCT_DATABASE_ON_NETWORK) allows it all the same"
        )),
    }
}

/// A configuration, now and whenever its file changes; the default without a file.
fn follow<T: Configuration + Default>(
    file: Option<ConfigFile<T>>,
    valid: &Gauge,
    shutdown: &CancellationToken,
) -> watch::Receiver<Arc<T>> {
    let Some(file) = file else { return watch::Sender::new(Arc::default()).subscribe() };
    let current = file.current();
    tokio::spawn(file.follow(valid.clone(), shutdown.clone()));
    current
}

fn part_ended_early(part: Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>) -> anyhow::Error {
    match part {
        Ok((name, Err(error))) => error.context(format!("the {name} ended")),
        Ok((name, Ok(()))) => anyhow!("the {name} ended"),
        Err(error) => anyhow!("a part of the operator failed: {error}"),
    }
}

/// Certificates need the API server, which may be starting itself.
async fn retry_certificates(keeper: &mut Keeper) -> anyhow::Result<(Identity, watch::Receiver<Arc<Trust>>)> {
    let mut tries = 0;
    loop {
        match keeper.begin().await {
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
    settings: &WebhookArgs,
    keeper: Keeper,
    identity: Identity,
    router: webhook::Router,
    ready: watch::Sender<bool>,
    shutdown: CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
    let tls = Tls::new(&identity.certificate, &identity.key, settings.client_ca());
    let tls = tls.context("cannot serve the webhook (JCT_WEBHOOK_CLIENT_CA_FILE names its client CA)")?;
    let address = all_interfaces(settings.webhook_port);
    tokio::spawn(keeper.run(tls.clone(), identity, ready));
    Ok(async move {
        let served = webhook::serve(address, tls, router, shutdown).await;
        served.with_context(|| format!("cannot serve the webhook on {address} (JCT_WEBHOOK_PORT)"))
    })
}

/// Whom the broker of models is known by, now and whenever its certificates are renewed.
fn authorities(
    mut certificates: watch::Receiver<Option<Identity>>,
    shutdown: &CancellationToken,
) -> watch::Receiver<String> {
    let bundle = |identity: &Option<Identity>| identity.as_ref().map(Identity::bundle).unwrap_or_default();
    let sender = watch::Sender::new(bundle(&certificates.borrow_and_update()));
    let receiver = sender.subscribe();
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(async move {
        while certificates.changed().await.is_ok() {
            sender.send_replace(bundle(&certificates.borrow_and_update()));
        }
    }));
    receiver
}

fn serve_broker(
    port: u16,
    mut certificates: watch::Receiver<Option<Identity>>,
    parts: broker::Parts,
    shutdown: CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
    let identity =
        certificates.borrow_and_update().clone().context("there is no certificate for the broker of models")?;
    let tls = Tls::new(&identity.certificate, &identity.key, None).context("cannot serve the broker of models")?;
    let served = tls.clone();
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(async move {
        while certificates.changed().await.is_ok() {
            let Some(identity) = certificates.borrow_and_update().clone() else { continue };
            if let Err(error) = served.reload(&identity.certificate, &identity.key) {
                warn!(%error, "the broker of models cannot serve its new certificate; the one before holds");
            }
        }
    }));
    let address = all_interfaces(port);
    Ok(async move {
        let served = broker::serve(address, tls, parts, shutdown).await;
        served.with_context(|| format!("cannot serve the broker of models on {address} (JCT_MODEL_PORT)"))
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

fn all_interfaces(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}
