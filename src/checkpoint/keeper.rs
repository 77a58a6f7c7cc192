//! Makes checkpoints for as long as this operator leads.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{CheckpointFile, CheckpointMap, Made, Sink, line, make};
use crate::domain::checkpoint::Checkpoint;
use crate::signing::{KeyRing, Keys, PublicKey};
use crate::store::{AuditCheck, Store};

/// When a checkpoint is due.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointSchedule {
    pub entries: u64,
    /// After so long, if there is any new entry.
    pub time: Duration,
    /// How often the end of the log is looked at. That is one row.
    pub look: Duration,
}

/// Where checkpoints are left, besides the log.
#[derive(Clone)]
pub struct Places {
    pub file: CheckpointFile,
    pub map: CheckpointMap,
    pub sink: Option<Sink>,
}

/// Makes checkpoints, and leaves them in their places.
pub struct Keeper {
    pub store: Store,
    pub keys: Keys,
    pub every: CheckpointSchedule,
    pub places: Places,
    /// 1 as long as the log follows from what was signed of it.
    pub intact: Gauge,
    /// The newest one, for those who name it in what they sign.
    pub newest: watch::Sender<Option<Checkpoint>>,
}

/// What is known of what is there.
struct State {
    last: Option<Checkpoint>,
    /// When the last one was made, or looked for.
    since: Instant,
    /// Its line, as long as a place does not have it.
    missing: Missing,
    reported: Option<AuditCheck>,
}

#[derive(Default)]
struct Missing {
    file: Option<String>,
    map: Option<String>,
}

impl Keeper {
    /// Makes checkpoints until `stop`, and then a last one. What fails is told and tried again.
    pub async fn run(self, stop: CancellationToken) {
        let Some(mut state) = stop.run_until_cancelled(self.begin()).await else { return };
        let lines = watch::Sender::new(None);
        if let Some(sink) = self.places.sink.clone() {
            tokio::spawn(sink.follow(lines.subscribe()));
        }
        let mut is_last = false;
        loop {
            if let Some(ring) = self.keys.current() {
                self.step(&mut state, &ring, &lines, is_last).await;
            }
            if is_last {
                return;
            }
            is_last = stop.run_until_cancelled(sleep(self.every.look)).await.is_none();
        }
    }

    async fn begin(&self) -> State {
        let ring = loop {
            match self.keys.current() {
                Some(ring) => break ring,
                None => sleep(self.every.look).await,
            }
        };
        let last = loop {
            match self.last(ring.public()).await {
                Ok(last) => break last,
                Err(error) => {
                    warn!(error, "checkpoints of the audit log cannot be read; none is made until they can be");
                    sleep(self.every.look * 5).await;
                }
            }
        };
        self.newest.send_replace(last.clone());
        State { last, since: Instant::now(), missing: Missing::default(), reported: None }
    }

    /// The newest checkpoint that is anywhere. Both places are asked: whoever can write to one alone hides nothing.
    async fn last(&self, keys: &[PublicKey]) -> Result<Option<Checkpoint>, String> {
        let (file, known) = (self.places.file.clone(), keys.to_vec());
        let in_file =
            tokio::task::spawn_blocking(move || file.recent(&known)).await.map_err(|error| error.to_string())?;
        let in_file = in_file.map_err(|error| format!("{}: {error}", self.places.file.path().display()))?;
        let in_map =
            self.places.map.read(keys).await.map_err(|error| format!("{}: {error}", self.places.map.place()))?;
        let both = in_file.newest().into_iter().chain(in_map.newest());
        Ok(both.max_by_key(|checkpoint| (checkpoint.seq, checkpoint.time)).cloned())
    }

    async fn step(&self, state: &mut State, ring: &KeyRing, lines: &watch::Sender<Option<String>>, at_once: bool) {
        if at_once || self.is_due(state).await {
            match make(&self.store, ring, state.last.as_ref()).await {
                Ok(Made::Nothing) => {}
                Ok(Made::Signed(checkpoint, envelope)) => {
                    let Checkpoint { seq, hash, .. } = &*checkpoint;
                    info!(seq, hash, key = ring.signing().public().id(), "checkpoint of the audit log");
                    let line = line(&envelope);
                    state.missing = Missing { file: Some(line.clone()), map: Some(line.clone()) };
                    lines.send_replace(Some(line));
                    self.newest.send_replace(Some((*checkpoint).clone()));
                    state.last = Some(*checkpoint);
                    state.since = Instant::now();
                    state.reported = None;
                    self.intact.set(1);
                }
                Ok(Made::Refused(found)) => {
                    self.intact.set(0);
                    if state.reported.as_ref() != Some(&found) {
                        refuse(&found);
                        state.reported = Some(found);
                    }
                }
                // The writer tells what is wrong with the database.
                Err(error) => tracing::debug!(%error, "no checkpoint of the audit log"),
            }
        }
        self.leave(&mut state.missing).await;
    }

    async fn is_due(&self, state: &State) -> bool {
        let Ok(head) = self.store.audit_head().await else { return false };
        match &state.last {
            // Also if it went back, or is another one.
            Some(last) if head.seq <= last.seq => head.seq != last.seq || head.hash != last.hash,
            Some(last) => head.seq - last.seq >= self.every.entries || state.since.elapsed() >= self.every.time,
            // At once, so that no log of a new installation is without one for long.
            None => head.seq > 0,
        }
    }

    /// Tries the places that don't have the last one.
    async fn leave(&self, missing: &mut Missing) {
        if let Some(line) = missing.file.clone() {
            let file = self.places.file.clone();
            let written = tokio::task::spawn_blocking(move || file.append(&line)).await;
            match written.map_err(|error| error.to_string()).and_then(|done| done.map_err(|error| error.to_string())) {
                Ok(()) => missing.file = None,
                Err(error) => {
                    let path = self.places.file.path().display();
                    warn!(error, %path, "a checkpoint could not be written; trying again");
                }
            }
        }
        if let Some(line) = &missing.map {
            match self.places.map.append(line).await {
                Ok(()) => missing.map = None,
                Err(error) => {
                    warn!(%error, place = self.places.map.place(), "a checkpoint could not be written; trying again");
                }
            }
        }
    }
}

fn refuse(found: &AuditCheck) {
    let AuditCheck::Broken { seq, problem, .. } = found else { return };
    error!(
        seq,
        problem,
        "the audit log is not the one that was signed: somebody wrote to the database, or an older copy of it was put back; no \
         checkpoint is signed until that is settled (docs/audit.md)"
    );
}
