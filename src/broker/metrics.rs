//! What the broker counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::metrics::metrics;

/// Labels of `jct_model_exchanges_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ExchangeLabels {
    /// What was spoken.
    pub dialect: &'static str,
    /// The broker's code, or nothing.
    pub refused: String,
}

/// Labels of `jct_model_usd_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DialectLabels {
    /// What was spoken.
    pub dialect: &'static str,
}

metrics! {
    /// The metrics of the broker of models.
    pub struct BrokerMetrics {
        exchanges: Family<ExchangeLabels, Counter> = "model_exchanges",
            "Requests to models that have ended, by dialect and by why they were refused, if they were";
        usd: Family<DialectLabels, Counter<f64, AtomicU64>> =
            "model_usd", "Dollars that models cost at list price, by dialect";
    }
}

impl BrokerMetrics {
    /// Counts an exchange that has ended: `refused` is a code, or empty.
    pub fn count(&self, dialect: &'static str, refused: String, usd: f64) {
        self.exchanges.get_or_create(&ExchangeLabels { dialect, refused }).inc();
        self.usd.get_or_create(&DialectLabels { dialect }).inc_by(usd);
    }
}
