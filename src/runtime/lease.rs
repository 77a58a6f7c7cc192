//! Which of several replicas runs the controller: the one that holds a Lease (design decision 12).
//!
//! The Lease is replaced with its resourceVersion, so that of two who want it one gets it. Times of other machines are
//! not believed: a Lease has run out when it was not seen to change for as long as it is to last, by the clock here. It
//! is no fence: a holder that was stopped for a while may act for a moment after another one has taken over. Rows are
//! guarded against that by unique keys and compare-and-set, Jobs by their names.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{info, warn};

/// Where the Lease is, and who wants it.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    pub namespace: String,
    pub name: String,
    /// This replica; no other one may be called so.
    pub identity: String,
    /// How long the Lease lasts from its last renewal.
    pub duration: Duration,
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is ours: renew it.
    Hold,
    /// It is nobody's, or has run out: take it.
    Take,
    /// It is another one's, for so long at least.
    Wait(Duration),
}

/// A Lease as it was last seen.
#[derive(Clone, Debug)]
pub struct Observed {
    pub lease: LeaseObject,
    /// When this version of it was first seen.
    pub since: Instant,
}

/// What to do about the Lease at `now`; `me` is this replica.
pub fn decide(now: Instant, observed: Option<&Observed>, me: &str) -> Decision {
    let Some(Observed { lease, since }) = observed else { return Decision::Take };
    let spec = lease.spec.as_ref();
    match spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default() {
        "" => Decision::Take,
        holder if holder == me => Decision::Hold,
        _ => {
            let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
            let end = *since + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
            if now >= end { Decision::Take } else { Decision::Wait(end - now) }
        }
    }
}

/// The Lease, as this replica holds or waits for it.
pub struct Lease {
    objects: Api<LeaseObject>,
    settings: LeaseSettings,
    observed: Option<Observed>,
}

impl Lease {
    /// Looks at nothing yet.
    pub fn new(client: Client, settings: LeaseSettings) -> Self {
        Self { objects: Api::namespaced(client, &settings.namespace), settings, observed: None }
    }

    /// Returns once the Lease is ours, however long that takes.
    pub async fn acquire(&mut self) {
        let mut awaited = None;
        loop {
            match self.attempt().await {
                Ok(Decision::Wait(time)) => {
                    let holder = self.holder().map(str::to_owned);
                    if awaited != holder {
                        info!(lease = self.settings.name, holder, "another replica runs the controller; standing by");
                        awaited = holder;
                    }
                    sleep(time.min(self.interval())).await;
                }
                Ok(Decision::Hold | Decision::Take) => {
                    info!(
                        lease = self.settings.name,
                        identity = self.settings.identity,
                        "this replica runs the controller"
                    );
                    return;
                }
                Err(error) => {
                    warn!(%error, lease = self.settings.name, "cannot get the Lease; trying again");
                    sleep(self.interval()).await;
                }
            }
        }
    }

    /// Renews the Lease, which is ours, and returns when it is no more, or could not be renewed for two thirds of the time
    /// that it lasts: before another replica may take it.
    pub async fn hold(&mut self) {
        let mut renewed = Instant::now();
        loop {
            let end = renewed + self.settings.duration * 2 / 3;
            sleep_until(end.min(Instant::now() + self.interval())).await;
            let began = Instant::now();
            if began >= end {
                warn!(lease = self.settings.name, "the Lease could not be renewed in time and is given up");
                return;
            }
            match timeout_at(end, self.attempt()).await {
                Ok(Ok(Decision::Hold | Decision::Take)) => renewed = began,
                Ok(Ok(Decision::Wait(_))) => {
                    warn!(lease = self.settings.name, holder = self.holder(), "another replica has taken the Lease");
                    return;
                }
                Ok(Err(error)) => warn!(%error, lease = self.settings.name, "cannot renew the Lease; trying again"),
                Err(_) => warn!(lease = self.settings.name, "the API server does not answer"),
            }
        }
    }

    /// Lets another replica have the Lease at once, if it is ours.
    pub async fn release(&mut self) {
        let ours = self.observed.take().filter(|observed| holder_of(&observed.lease) == Some(&self.settings.identity));
        let Some(mut lease) = ours.map(|observed| observed.lease) else { return };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        match self.objects.replace(&self.settings.name, &PostParams::default(), &lease).await {
            Ok(_) => info!(lease = self.settings.name, "the Lease is given back"),
            Err(error) => warn!(%error, lease = self.settings.name, "the Lease could not be given back; it runs out"),
        }
    }

    fn holder(&self) -> Option<&str> {
        self.observed.as_ref().and_then(|observed| holder_of(&observed.lease))
    }

    /// Between two looks.
    fn interval(&self) -> Duration {
        self.settings.duration / 5
    }

    /// Looks, decides, and writes unless the Lease is another one's. Who is overtaken in between looks again.
    async fn attempt(&mut self) -> kube::Result<Decision> {
        loop {
            self.refresh().await?;
            let decision = decide(Instant::now(), self.observed.as_ref(), &self.settings.identity);
            if let Decision::Wait(_) = decision {
                return Ok(decision);
            }
            match self.write().await {
                Ok(lease) => {
                    self.observed = Some(Observed { lease, since: Instant::now() });
                    return Ok(decision);
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn refresh(&mut self) -> kube::Result<()> {
        let found = self.objects.get_opt(&self.settings.name).await?;
        let known = self.observed.take();
        self.observed = found.map(|lease| match known {
            Some(known) if known.lease.metadata.resource_version == lease.metadata.resource_version => known,
            _ => Observed { lease, since: Instant::now() },
        });
        Ok(())
    }

    /// Writes what makes the Lease ours.
    async fn write(&self) -> kube::Result<LeaseObject> {
        let LeaseSettings { name, identity, duration, .. } = &self.settings;
        let now = MicroTime(Timestamp::now());
        let mut lease = match &self.observed {
            Some(observed) => observed.lease.clone(),
            None => LeaseObject {
                metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
                ..LeaseObject::default()
            },
        };
        let is_ours = holder_of(&lease) == Some(identity);
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if !is_ours {
            spec.lease_transitions =
                Some(spec.lease_transitions.map_or(0, |transitions| transitions.saturating_add(1)));
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(identity.clone());
        spec.lease_duration_seconds = Some(i32::try_from(duration.as_secs().max(1)).unwrap_or(i32::MAX));
        spec.renew_time = Some(now);
        match &self.observed {
            Some(_) => self.objects.replace(name, &PostParams::default(), &lease).await,
            None => self.objects.create(&PostParams::default(), &lease).await,
        }
    }
}

fn holder_of(lease: &LeaseObject) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: Option<&str>, since: Instant) -> Observed {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        Observed { lease: LeaseObject { spec: Some(spec), ..LeaseObject::default() }, since }
    }

    #[test]
    fn a_lease_is_taken_that_is_nobodys() {
        let now = Instant::now();
        assert_eq!(decide(now, None, "me"), Decision::Take);
        assert_eq!(decide(now, Some(&held_by(None, now)), "me"), Decision::Take);
        assert_eq!(decide(now, Some(&held_by(Some(""), now)), "me"), Decision::Take);
        let empty = Observed { lease: LeaseObject::default(), since: now };
        assert_eq!(decide(now, Some(&empty), "me"), Decision::Take);
    }

    #[test]
    fn ones_own_is_held_also_after_a_restart_and_a_pause() {
        let seen = Instant::now();
        assert_eq!(decide(seen, Some(&held_by(Some("me"), seen)), "me"), Decision::Hold);
        assert_eq!(decide(seen + Duration::from_secs(60), Some(&held_by(Some("me"), seen)), "me"), Decision::Hold);
    }

    #[test]
    fn another_ones_is_waited_for_until_it_was_not_seen_to_change_for_its_time() {
        let seen = Instant::now();
        let at = |seconds| decide(seen + Duration::from_secs(seconds), Some(&held_by(Some("other"), seen)), "me");
        assert_eq!(at(0), Decision::Wait(Duration::from_secs(15)));
        assert_eq!(at(14), Decision::Wait(Duration::from_secs(1)));
        assert_eq!(at(15), Decision::Take);
    }
}
