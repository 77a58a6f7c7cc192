//! The broker of models, as a listener of the operator: it has the keys of providers, and passes on what relays ask, within the
//! budgets that the record keeps. What it does with a request is the crate `jct-model-gateway`'s; here is who asks
//! (`identity`, `caller`), where accounts are kept (`ledger`) and where keys come from (`keys`).

mod caller;
mod identity;
pub mod keys;
mod ledger;
mod metrics;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use jct_model_gateway::Broker;
use jct_model_gateway::broker::Settings;
use jct_model_gateway::catalog::Catalog;
use jct_model_gateway::connect::Trusting;
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use caller::caller;
pub use identity::PodIdentity;
pub use ledger::StoreLedger;
pub use metrics::BrokerMetrics;

use crate::domain::executor::Executors;
use crate::domain::model::Models;
use crate::serve::{self, Limits, Tls};
use crate::store::Store;

/// What its port takes. One address may be that of many pods: of a node that hides them.
const LIMITS: Limits = Limits {
    connections: 512,
    connections_of_one: 256,
    handshake: Duration::from_secs(5),
    head: Duration::from_secs(10),
    idle: Duration::from_secs(120),
    grace: Duration::from_secs(15),
};
/// Bytes of requests in memory at the same time: it shares its process with the operator.
const REQUEST_MEMORY: u64 = 64 << 20;
/// How long a reservation whose broker is gone stays as it is.
const ABANDONED: Duration = Duration::from_secs(600);
/// How often these are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// What the broker is made from.
pub struct Parts {
    /// The API server.
    pub client: Client,
    /// The record.
    pub store: Store,
    /// Where Secrets with keys are.
    pub namespace: String,
    /// Where worker pods are.
    pub workers: String,
    /// Which models there are, and who may ask them.
    pub models: watch::Receiver<Arc<Models>>,
    /// Who asks which.
    pub executors: watch::Receiver<Arc<Executors>>,
    /// Counts.
    pub metrics: BrokerMetrics,
}

type OperatorBroker = Broker<StoreLedger, PodIdentity, Trusting>;

/// Serves relays until `shutdown`, then lets what is under way end.
///
/// # Errors
/// If the port cannot be bound, or there is no TLS or no randomness.
pub async fn serve(address: SocketAddr, tls: Tls, parts: Parts, shutdown: CancellationToken) -> io::Result<()> {
    let Parts { client, store, namespace, workers, models, executors, metrics } = parts;
    let ledger = StoreLedger::new(store.clone(), metrics).map_err(io::Error::other)?;
    let own = ledger.broker().to_owned();
    let identity = PodIdentity::new(client.clone(), store.clone(), workers, executors, models.clone());
    let connector = Trusting::new().map_err(io::Error::other)?;
    let settings = Settings { request_memory: REQUEST_MEMORY, ..Settings::default() };
    let broker = Broker::new(ledger, identity, connector.clone(), Catalog::default(), settings);
    let following = keys::follow(broker.clone(), connector, client, namespace, models);
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(following));
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(charge_abandoned(store, own)));
    info!(%address, "the broker of models listens");
    serve::serve(address, Some(tls), router(broker.clone()), LIMITS, shutdown).await?;
    broker.drained().await;
    Ok(())
}

fn router(broker: OperatorBroker) -> Router {
    Router::new().fallback(answer).with_state(broker)
}

async fn answer(State(broker): State<OperatorBroker>, request: Request) -> Response {
    broker.handle(request).await.map(Body::new)
}

/// Charges what brokers have reserved that are gone.
async fn charge_abandoned(store: Store, own: String) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let before = jiff::Timestamp::now() - ABANDONED;
        match store.charge_abandoned(&own, before).await {
            Ok(0) => {}
            Ok(count) => warn!(count, "exchanges of a broker that is gone are charged in full"),
            Err(error) => warn!(%error, "exchanges of a broker that is gone cannot be charged; trying again"),
        }
    }
}
