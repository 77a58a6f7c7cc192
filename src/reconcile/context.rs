//! What every pass of the controller may use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Client;

use super::error::Backoff;
use super::trace_volume::TraceVolume;
use super::workers::Workers;
use crate::crd::TaskStatus;
use crate::domain::StampKey;
use crate::jobs::JobSettings;
use crate::policy::Policy;
use crate::runtime::Metrics;
use crate::store::Store;

/// What every pass of the controller may use. One for the process.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The record.
    pub store: Store,
    /// What Tasks are held against.
    pub policy: Policy,
    /// What Jobs are made from.
    pub jobs: JobSettings,
    /// Timing.
    pub timing: Timing,
    /// Tells the webhook's stamps from forgeries.
    pub stamp_key: StampKey,
    /// The volume of traces.
    pub traces: TraceVolume,
    /// Jobs and pods, cached.
    pub workers: Arc<Workers>,
    /// Counts.
    pub metrics: Metrics,
    /// Failures in a row.
    pub backoff: Backoff,
    /// What was written to statuses and may not be in the cache yet.
    pub written: Written,
}

/// How long things may take.
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
}

/// The statuses last written, by uid: a cache that lags would make the controller write them again.
#[derive(Debug, Default)]
pub struct Written(Mutex<HashMap<String, (u64, TaskStatus)>>);

impl Written {
    /// The status as it stands: what was last written, unless the cache has caught up with that write.
    ///
    /// Resource versions are comparable numbers (Kubernetes API concepts, 1.35).
    pub fn current(&self, uid: &str, resource_version: Option<&str>, cached: Option<TaskStatus>) -> Option<TaskStatus> {
        let Ok(mut written) = self.0.lock() else { return cached };
        let seen = resource_version.and_then(|version| version.parse().ok()).unwrap_or(u64::MAX);
        match written.get(uid) {
            Some((version, status)) if *version > seen => Some(status.clone()),
            Some(_) => {
                written.remove(uid);
                cached
            }
            None => cached,
        }
    }

    /// Notes what was written, and the resource version that it made.
    pub fn note(&self, uid: &str, resource_version: Option<&str>, status: TaskStatus) {
        let version = resource_version.and_then(|version| version.parse().ok());
        if let (Some(version), Ok(mut written)) = (version, self.0.lock()) {
            written.insert(uid.to_owned(), (version, status));
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        if let Ok(mut written) = self.0.lock() {
            written.remove(uid);
        }
    }
}
