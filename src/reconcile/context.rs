//! What every pass of the controller may use.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use tokio::sync::{Semaphore, watch};

use super::by_uid::ByUid;
use super::error::{Backoff, Error};
use super::metrics::ReconcileMetrics;
use super::queue::starts::Starts;
use super::status::Written;
use super::task::AttemptSecrets;
use super::work_object::Objects;
use super::workers::Workers;
use crate::crd::TaskStatus;
use crate::crd::Trust;
use crate::domain::checkpoint::Checkpoint;
use crate::domain::executor::Executors;
use crate::domain::forge::Forges;
use crate::domain::model::Models;
use crate::domain::retention::Retention;
use crate::forges::Credentials;
use crate::jobs::JobSettings;
use crate::policy::Policy;
use crate::shared::{Announcer, Clock, Deleter, Deletions, LostTasks};
use crate::signing::Keys;
use crate::store::Store;
use crate::trace::TraceVolume;

/// What every pass of the controller may use. One for the process.
pub struct Context {
    pub client: Client,
    pub store: Store,
    /// What Tasks are held against.
    pub policy: Policy,
    /// What Jobs are made from.
    pub jobs: JobSettings,
    /// What may do the work; changes with the operator's configuration.
    pub executors: watch::Receiver<Arc<Executors>>,
    /// Which models who may ask; changes with the operator's configuration.
    pub models: watch::Receiver<Arc<Models>>,
    /// Where repositories are, and who may read and deliver by which credentials; changes with the operator's configuration.
    pub forges: watch::Receiver<Arc<Forges>>,
    /// Whom the broker of models is known by: certificates in PEM, none while there are none. Changes when they are renewed.
    pub broker_authorities: watch::Receiver<String>,
    /// Which traces and records may go; changes with the operator's configuration.
    pub retention: watch::Receiver<Arc<Retention>>,
    /// By which forges are read and delivered to.
    pub credentials: Credentials,
    /// What attempts read private repositories by.
    pub attempt_secrets: AttemptSecrets,
    pub timing: Timing,
    /// Since when this controller works.
    pub started: Instant,
    /// The API server's clock, as far as it is known.
    pub clock: Clock,
    /// Who waits for another attempt.
    pub retry_waits: RetryWaits,
    /// Tells stamps from forgeries; changes with the webhook's Secret and configurations.
    pub trust: watch::Receiver<Arc<Trust>>,
    pub deletions: Deletions,
    /// Tasks whose record was lost, as the last sweep found them.
    pub lost: LostTasks,
    pub traces: TraceVolume,
    /// What provenance is signed with.
    pub keys: Keys,
    /// The newest checkpoint of the audit log.
    pub checkpoint: watch::Receiver<Option<Checkpoint>>,
    /// Who provenance says ran an attempt.
    pub builder_id: String,
    /// Whose attempts are signed already.
    pub signed: SignedAttempts,
    /// In which order Jobs are made.
    pub starts: Starts,
    pub workers: Arc<Workers>,
    pub metrics: ReconcileMetrics,
    /// Failures in a row of passes over Tasks.
    pub backoff: Backoff,
    /// What people are told by Kubernetes Events.
    pub events: Announcer,
    /// What was written to statuses and may not be in the cache yet.
    pub written: Written<TaskStatus>,
    /// Taken by whoever has the whole spec of a Task in memory.
    pub whole: Semaphore,
    /// What work objects need besides.
    pub objects: Objects,
}

/// Since when Tasks wait for their next attempt, as far as this process has looked: the record has the end of the last one by the
/// clock of a node, or of another replica, which may be ahead.
#[derive(Debug, Default)]
pub struct RetryWaits(ByUid<Option<(u32, Instant)>>);

impl RetryWaits {
    /// How long this process has seen the Task wait after this attempt.
    pub fn waited(&self, uid: &str, attempt: u32) -> Duration {
        self.0.change(uid, |seen| match seen {
            Some((of, since)) if *of == attempt => since.elapsed(),
            _ => {
                *seen = Some((attempt, Instant::now()));
                Duration::ZERO
            }
        })
    }

    /// Forgets a Task.
    pub fn forget(&self, uid: &str) {
        self.0.forget(uid);
    }
}

/// How many whole specs of Tasks may be in memory at once.
pub const WHOLE_SPECS: usize = 4;

/// Up to which attempt Tasks have their provenance, as far as this process has looked, by the uids of their objects: a Task
/// that has ended is passed over often, and the volume need not be asked each time.
#[derive(Debug, Default)]
pub struct SignedAttempts(ByUid<u32>);

impl SignedAttempts {
    /// Whether the attempts up to this one have it.
    pub fn has(&self, uid: &str, attempt: u32) -> bool {
        self.0.get(uid).is_some_and(|last| last >= attempt)
    }

    /// Notes that the attempts up to this one have it.
    pub fn note(&self, uid: &str, attempt: u32) {
        self.0.put(uid, attempt);
    }

    /// Forgets a Task.
    pub fn forget(&self, uid: &str) {
        self.0.forget(uid);
    }
}

impl Context {
    /// What may do the work, now.
    pub fn executors(&self) -> Arc<Executors> {
        self.executors.borrow().clone()
    }

    /// Which models who may ask, now.
    pub fn models(&self) -> Arc<Models> {
        self.models.borrow().clone()
    }

    /// Where repositories are, and who may do what there, now.
    pub fn forges(&self) -> Arc<Forges> {
        self.forges.borrow().clone()
    }

    /// Who deleted the object with this uid, as far as the webhook of any replica saw it. Database.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn deleter(&self, uid: &str) -> Result<Deleter, Error> {
        let mut notes = self.deletions.of(uid);
        let recorded = self.store.deletion_notes(uid).await;
        notes.extend(recorded.map_err(Error::store("look who asked for a deletion"))?);
        Ok(Deleter::of(&notes, &self.trust()))
    }

    /// Forgets all Tasks but those with these uids.
    pub fn keep(&self, there: &HashSet<String>) {
        self.signed.0.keep(there);
        self.retry_waits.0.keep(there);
        self.backoff.keep(there);
        self.written.keep(there);
        self.attempt_secrets.keep(there);
    }

    /// Which seals are believed, now.
    pub fn trust(&self) -> Arc<Trust> {
        self.trust.borrow().clone()
    }
}

/// How long things may take, and how often they are tried.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From the Job's creation to the worker's start.
    pub start_timeout: Duration,
    /// Beyond the budget, before the Job is taken for lost.
    pub grace: Duration,
    /// How long a Job stays after its outcome is recorded, in seconds.
    pub job_ttl_seconds: u32,
    /// Before the second attempt; doubled for each further one.
    pub retry_delay: Duration,
    /// How often an attempt is repeated that the cluster failed, apart from the Task's own `maxAttempts`.
    pub infrastructure_retries: u32,
    /// How long a Task waits for an executor that is not configured.
    pub executor_patience: Duration,
}
