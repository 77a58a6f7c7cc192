//! What the API counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::metrics::metrics;

/// Gauges of other parts, of which diagnostics tell.
#[derive(Clone, Debug)]
pub struct Gauges {
    pub leads: Gauge,
    pub records_lost: Gauge,
    pub audit_log_intact: Gauge,
    pub executors_valid: Gauge,
    pub retention_valid: Gauge,
    /// In seconds since 1970; 0 if this process serves no webhook.
    pub certificate_expiry: Gauge<f64, AtomicU64>,
}

/// Labels of `jct_api_requests_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The path as the OpenAPI document has it; `none` for a request that fits none.
    pub route: String,
    pub status: u16,
}

/// Labels of `jct_api_streams`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StreamLabels {
    /// `events`, `log`, `file` or `archive`.
    pub kind: &'static str,
}

/// Labels of `jct_api_streams_ended_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StreamEndLabels {
    /// As in `jct_api_streams`.
    pub kind: &'static str,
    /// `ended`, or why it ended before.
    pub reason: &'static str,
}

metrics! {
    /// The metrics of the API.
    pub struct ApiMetrics {
        requests: Family<RequestLabels, Counter> = "api_requests", "API requests answered, probes left out";
        request_seconds: Histogram = "api_request" in Seconds, "Time to answer an API request",
            Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0]);
        streams: Family<StreamLabels, Gauge> = "api_streams", "Followers and downloads of traces under way";
        stream_ends: Family<StreamEndLabels, Counter> =
            "api_streams_ended", "Followers and downloads of traces that have ended";
        stream_bytes: Counter = "api_streams_sent" in Bytes, "What followers and downloads of traces were sent";
        trace_files_changed: Counter =
            "api_trace_files_changed", "Sealed files that were asked for and are not what was sealed";
    }
}
