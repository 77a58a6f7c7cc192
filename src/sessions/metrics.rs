//! What is counted of Sessions.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::metrics::metrics;

/// Labels of `jct_sessions_answered_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SessionLabels {
    /// `Issued`, or why there is no token, from the enumeration of reasons.
    pub result: &'static str,
}

metrics! {
    /// The metrics of Sessions.
    pub struct SessionMetrics {
        answered: Family<SessionLabels, Counter> =
            "sessions_answered", "Sessions answered, with a token or with a reason";
    }
}
