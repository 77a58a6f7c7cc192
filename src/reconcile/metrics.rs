//! What the controllers count.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::metrics::metrics;

/// Labels of `jct_reconciles_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReconcileLabels {
    /// The kind of the object.
    pub kind: &'static str,
    /// `ok`, or the category of the error.
    pub result: &'static str,
}

/// Labels of `jct_task_outcomes_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// `completed`, `failed` or `cancelled`.
    pub phase: &'static str,
    /// The reason, from the enumeration of reasons.
    pub reason: &'static str,
}

metrics! {
    /// The metrics of the controllers.
    pub struct ReconcileMetrics {
        reconciles: Family<ReconcileLabels, Counter> = "reconciles", "Passes of the controller";
        reconcile_seconds: Histogram = "reconcile" in Seconds, "Time of a pass",
            Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0]);
        outcomes: Family<OutcomeLabels, Counter> = "task_outcomes", "Outcomes of Tasks recorded";
        provenance_failures: Counter =
            "provenance_failures", "Tries to sign and write the provenance of an attempt that failed";
        records_lost: Gauge = "tasks_record_lost",
            "Tasks whose object shows more than the record knows; nothing runs of them until an administrator decides";
        retention_traces_removed: Counter =
            "retention_traces_removed", "Traces that retention removed from the volume";
        retention_removed_bytes: Counter =
            "retention_removed" in Bytes, "Sizes of the files that retention removed from the trace volume";
        retention_records_removed: Counter = "retention_records_removed", "Records of Tasks that retention removed";
        retention_failures: Counter = "retention_failures",
            "Sweeps of retention that broke off, and folders that it could not delete; each is tried again";
    }
}
