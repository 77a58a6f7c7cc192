//! The controller as a part of the operator: on one replica alone, for as long as that one holds the Lease.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use kube::Client;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::count::count_tasks;
use super::lease::{Lease, LeaseSettings};
use super::{Metrics, Settings};
use crate::checkpoint::{CheckpointFile, CheckpointMap, Keeper, Places};
use crate::crd::Trust;
use crate::domain::checkpoint::{CHECKPOINTS_DIR, CHECKPOINTS_FILE, Checkpoint};
use crate::domain::executor::Executors;
use crate::domain::forge::Forges;
use crate::domain::model::Models;
use crate::domain::notification::Notifications;
use crate::domain::retention::Retention;
use crate::forges::Credentials;
use crate::reconcile;
use crate::reconcile::context::{Context, RetryWaits, SignedAttempts, Timing, WHOLE_SPECS};
use crate::reconcile::error::Backoff;
use crate::reconcile::queue::starts::Starts;
use crate::reconcile::status::Written;
use crate::reconcile::task::AttemptSecrets;
use crate::reconcile::work_object::Objects;
use crate::shared::{Announcer, Clock, Deletions, LostTasks};
use crate::signing::Keys;
use crate::store::{DatabaseUrl, Store, WriterLock};
use crate::trace::TraceVolume;

/// How long the database may take to open before Tasks are told that it is away.
const OPENING: Duration = Duration::from_secs(3);

/// Between two looks whether the database file is another process's.
const ALONE_INTERVAL: Duration = Duration::from_millis(500);

/// How long the last checkpoint of a term may take.
const LAST_CHECKPOINT: Duration = Duration::from_secs(3);

/// What the controller is made from.
#[derive(Clone)]
pub struct Controller {
    pub settings: Settings,
    pub client: Client,
    pub database: DatabaseUrl,
    pub store: Store,
    pub trust: watch::Receiver<Arc<Trust>>,
    pub deletions: Deletions,
    pub lost: LostTasks,
    /// What provenance is signed with.
    pub keys: Keys,
    pub metrics: Metrics,
    pub clock: Clock,
    pub events: Announcer,
    /// What may do the work.
    pub executors: watch::Receiver<Arc<Executors>>,
    pub models: watch::Receiver<Arc<Models>>,
    /// Where repositories are, and who may read and deliver by which credentials.
    pub forges: watch::Receiver<Arc<Forges>>,
    /// Who is told of what is recorded.
    pub notifications: watch::Receiver<Arc<Notifications>>,
    /// Whom the broker is known by.
    pub broker_authorities: watch::Receiver<String>,
    pub retention: watch::Receiver<Arc<Retention>>,
    /// Whether it is ready, or stands by.
    pub ready: watch::Sender<bool>,
}

impl Controller {
    /// Runs it until `shutdown`, whenever `lease` is held, and no other process has the database file for itself.
    ///
    /// A replica that loses the Lease ends what it is doing and stands by again. It does not end itself: webhook and API
    /// go on, and a slow API server would otherwise take them down with the controller.
    ///
    /// # Errors
    /// If the trace volume is not there, or the controller ends by itself.
    pub async fn run(self, lease: LeaseSettings, shutdown: CancellationToken) -> anyhow::Result<()> {
        self.traces()?;
        // Or at every start Tasks would be told of an outage that is none.
        let _ = timeout(OPENING, shutdown.run_until_cancelled(self.store.opened())).await;
        let mut lease = Lease::new(self.client.clone(), lease);
        // Who stands by is ready too, or a rollout would wait for it in vain.
        self.ready.send_replace(true);
        while shutdown.run_until_cancelled(lease.acquire()).await.is_some() {
            let term = shutdown.child_token();
            // A task of its own, so that no long pass holds up a renewal.
            let mut leading = tokio::spawn(self.clone().lead(term.clone()));
            tokio::select! {
                ended = &mut leading => {
                    lease.release().await;
                    ended??;
                    if !shutdown.is_cancelled() {
                        return Err(anyhow!("it ended by itself"));
                    }
                }
                () = lease.hold() => {
                    term.cancel();
                    leading.await??;
                }
            }
        }
        Ok(())
    }

    /// Returns once no other process runs a controller on the same database file: one with another Lease, in another
    /// namespace or cluster, or a version from before there was one.
    async fn alone(&self) -> WriterLock {
        let lock = self.database.lock_file().unwrap_or_default();
        let mut logged = String::new();
        loop {
            let problem = match self.database.lock_exclusively() {
                Ok(Some(sole)) => return sole,
                Ok(None) => "another process on this machine runs a controller on the same database".to_owned(),
                Err(error) => format!("the lock cannot be taken: {error}"),
            };
            if problem != logged {
                warn!(lock = %lock.display(), "standing by: {problem}");
                logged = problem;
            }
            sleep(ALONE_INTERVAL).await;
        }
    }

    async fn lead(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Some(_sole) = stop.run_until_cancelled(self.alone()).await else { return Ok(()) };
        // Nothing is kept from an earlier term: caches and notes would be of a time when another replica led.
        let newest = watch::Sender::new(None);
        let context = Arc::new(self.context(newest.subscribe())?);
        let checkpoints = tokio::spawn(self.checkpoints(newest)?.run(stop.clone()));
        let notifying = tokio::spawn(self.notifier().run(stop.clone()));
        let counting = tokio::spawn(count_tasks(self.store.clone(), self.metrics.process.clone(), stop.clone()));
        self.metrics.process.leads.set(1);
        self.deletions.lead(true);
        reconcile::run(context, self.settings.controller.concurrency, self.ready, stop).await;
        self.metrics.process.leads.set(0);
        self.deletions.lead(false);
        // It ends with the term, and leaves no count of one that is over.
        let _ = counting.await;
        let _ = notifying.await;
        if timeout(LAST_CHECKPOINT, checkpoints).await.is_err() {
            warn!("the last checkpoint of the audit log was not made in time; the next one covers it");
        }
        Ok(())
    }

    fn notifier(&self) -> jct_notify::Sender {
        let clock = self.clock.clone();
        jct_notify::Sender {
            store: self.store.clone(),
            configured: self.notifications.clone(),
            secrets: jct_notify::Secrets::new(&self.settings.notifications.notifications_secrets),
            public_url: self.settings.api.public_url(),
            now: Arc::new(move || clock.now()),
            count: Arc::new(self.metrics.notifications.clone()),
            timing: jct_notify::Timing::default(),
        }
    }

    fn checkpoints(&self, newest: watch::Sender<Option<Checkpoint>>) -> anyhow::Result<Keeper> {
        let settings = &self.settings;
        let file = self.traces()?.root().join(CHECKPOINTS_DIR).join(CHECKPOINTS_FILE);
        let map =
            CheckpointMap::new(self.client.clone(), &settings.namespace, &settings.record.audit_checkpoint_config_map);
        Ok(Keeper {
            store: self.store.clone(),
            keys: self.keys.clone(),
            every: settings.record.checkpoints(),
            places: Places { file: CheckpointFile::new(file), map, sink: settings.record.checkpoint_sink()? },
            intact: self.metrics.process.audit_log_intact.clone(),
            newest,
        })
    }

    fn context(&self, checkpoint: watch::Receiver<Option<Checkpoint>>) -> anyhow::Result<Context> {
        let settings = &self.settings;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Ok(Context {
            client: self.client.clone(),
            store: self.store.clone(),
            policy: settings.gate.policy(),
            jobs: settings.jobs(),
            executors: self.executors.clone(),
            models: self.models.clone(),
            forges: self.forges.clone(),
            broker_authorities: self.broker_authorities.clone(),
            retention: self.retention.clone(),
            credentials: Credentials::new(self.client.clone(), &settings.namespace),
            attempt_secrets: AttemptSecrets::default(),
            timing: Timing {
                start_timeout: seconds(settings.controller.worker_start_timeout_seconds),
                grace: seconds(settings.workers.worker_grace_seconds),
                job_ttl_seconds: settings.controller.job_ttl_seconds,
                retry_delay: seconds(settings.controller.retry_delay_seconds),
                infrastructure_retries: settings.controller.infrastructure_retries,
                executor_patience: seconds(settings.controller.executor_wait_seconds),
            },
            started: Instant::now(),
            clock: self.clock.clone(),
            retry_waits: RetryWaits::default(),
            trust: self.trust.clone(),
            deletions: self.deletions.clone(),
            lost: self.lost.clone(),
            traces: self.traces()?,
            keys: self.keys.clone(),
            checkpoint,
            builder_id: settings.traces.provenance_builder_id.clone(),
            signed: SignedAttempts::default(),
            starts: Starts::default(),
            workers: Arc::default(),
            metrics: self.metrics.reconcile.clone(),
            backoff: Backoff::default(),
            events: self.events.clone(),
            written: Written::default(),
            whole: Semaphore::new(WHOLE_SPECS),
            objects: Objects::default(),
        })
    }

    fn traces(&self) -> anyhow::Result<TraceVolume> {
        let traces = TraceVolume::new(&self.settings.traces.trace_root);
        if !traces.is_mounted() {
            return Err(anyhow!(
                "--trace-root (JCT_TRACE_ROOT): {} is no folder; mount the trace volume there",
                traces.root().display()
            ));
        }
        Ok(traces)
    }
}
