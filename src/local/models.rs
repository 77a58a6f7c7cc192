//! Models for an executor of this machine: relay and broker are parts of this process, which has the keys, and into which nobody
//! else looks. The accounts are in the record of the folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jct_model_gateway::broker::Settings;
use jct_model_gateway::catalog::Catalog;
use jct_model_gateway::connect::{Https, Trusting, in_process};
use jct_model_gateway::keep::Keep;
use jct_model_gateway::{Broker, Caller, Identity, IdentityError, Relay, relay};
use tokio::task::JoinHandle;

use super::State;
use crate::broker::{BrokerMetrics, StoreLedger, caller};
use crate::domain::model::{BODIES, Granted};
use crate::store::TaskRow;

/// How long what is under way may take once the executor has ended.
const LAST_EXCHANGES: Duration = Duration::from_secs(10);
/// What a broker of this folder had reserved is nobody's any more after this long.
const ABANDONED: Duration = Duration::from_secs(600);

/// What the executor may ask, and where that is.
#[derive(Clone, Debug)]
pub struct ModelAccess {
    /// By the grants of the configuration.
    pub granted: Granted,
    /// The models, with their providers and keys.
    pub catalog: Catalog,
    /// Who vouches for which host, where that is not a public authority.
    pub authorities: BTreeMap<String, Https>,
    /// Whether bodies are recorded.
    pub bodies: bool,
}

/// Whoever comes over the one way that there is.
struct TheAttempt(Arc<Caller>);

impl Identity for TheAttempt {
    async fn identify(&self, _: &str) -> Result<Arc<Caller>, IdentityError> {
        Ok(self.0.clone())
    }
}

/// Relay and broker of an attempt, while it lasts.
pub struct Attending {
    broker: Broker<StoreLedger, TheAttempt, Trusting>,
    relaying: JoinHandle<()>,
}

impl Attending {
    /// Waits in the work folder for the supervisor of the attempt that `row` has open.
    ///
    /// # Errors
    /// If there is no TLS or no randomness.
    pub fn begin(access: &ModelAccess, state: &State, row: &TaskRow, work: &Path) -> std::io::Result<Self> {
        let ledger = StoreLedger::new(state.store.clone(), BrokerMetrics::default()).map_err(std::io::Error::other)?;
        // There is nobody else who could be asked for more.
        let granted = Granted { asks_for_seconds: None, ..access.granted.clone() };
        let who = TheAttempt(Arc::new(caller(row, granted)));
        let connector = Trusting::new().map_err(std::io::Error::other)?;
        connector.trust(access.authorities.clone());
        let broker = Broker::new(ledger, who, connector, access.catalog.clone(), Settings::default());
        let nowhere = http::Uri::from_static("http://broker");
        // The broker knows who asks: but a relay shows something.
        let token = Arc::new(|| Ok("the attempt".to_owned()));
        let keep = access.bodies.then(|| Keep::new(&work.join(BODIES))).transpose()?;
        let relay = Relay::new(nowhere, in_process(broker.clone()), token, relay::Limits::default()).keeping(keep);
        let work = work.to_owned();
        let relaying = tokio::spawn(async move {
            if let Err(error) = jct_relay::attend(Ok(relay), &work).await {
                tracing::warn!(%error, "the recorder cannot be told of models");
            }
        });
        Ok(Self { broker, relaying })
    }

    /// The attempt's steps have ended: what is under way is settled.
    pub async fn end(self) {
        self.relaying.abort();
        let _ = tokio::time::timeout(LAST_EXCHANGES, self.broker.drained()).await;
    }
}

/// Charges what runs had reserved that were killed.
pub async fn charge_abandoned(state: &State) {
    let before = jiff::Timestamp::now() - ABANDONED;
    if let Err(error) = state.store.charge_abandoned("", before).await {
        tracing::warn!(%error, "what a killed run had asked models cannot be charged; the next run tries again");
    }
}
