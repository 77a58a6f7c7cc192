//! What is counted of denied requests.

use prometheus_client::metrics::counter::Counter;

use crate::metrics::metrics;

metrics! {
    /// The metrics of the way of denials into the audit log.
    pub struct DenialMetrics {
        dropped: Counter = "admission_denials_dropped", "Denied requests that are not kept in the audit log";
        merged: Counter =
            "admission_denials_merged", "Denied requests that the audit log counts with the first of their like";
        left_out: Counter = "admission_denials_left_out",
            "Denied requests that the audit log has as a number alone, for there were too many";
    }
}
