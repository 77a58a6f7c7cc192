//! Metrics in the OpenMetrics text format. Labels come from enumerations, never from messages.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Labels of `jct_admission_reviews_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReviewLabels {
    /// `mutate` or `validate`.
    pub webhook: &'static str,
    /// `allowed`, the first code of a refusal, or `malformed`.
    pub result: String,
}

/// Labels of `jct_reconciles_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReconcileLabels {
    /// The kind of the object.
    pub kind: &'static str,
    /// `ok`, or the category of the error.
    pub result: &'static str,
}

/// Labels of `jct_api_requests_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The path as the OpenAPI document has it; `none` for a request that fits none.
    pub route: String,
    /// The status code.
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

/// Labels of `jct_sessions_answered_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SessionLabels {
    /// `Issued`, or why there is no token, from the enumeration of reasons.
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

/// Labels of `jct_tasks`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PhaseLabels {
    /// A phase, as in the database.
    pub phase: &'static str,
}

/// Every metric of the operator. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Admission reviews answered.
    pub reviews: Family<ReviewLabels, Counter>,
    /// Time from a review's arrival to its answer.
    pub review_seconds: Histogram,
    /// Denied requests that the audit log does not have, for want of a record.
    pub denials_dropped: Counter,
    /// Denied requests that it has by their count, with the first of their like.
    pub denials_merged: Counter,
    /// Denied requests that it has as a number in a namespace.
    pub denials_left_out: Counter,
    /// API requests answered, probes left out.
    pub requests: Family<RequestLabels, Counter>,
    /// Time from an API request's head to its answer.
    pub request_seconds: Histogram,
    /// Followers and downloads under way.
    pub streams: Family<StreamLabels, Gauge>,
    /// Those that have ended.
    pub stream_ends: Family<StreamEndLabels, Counter>,
    /// Bytes that they were sent.
    pub stream_bytes: Counter,
    /// Sealed files that were asked for and are not what was sealed.
    pub trace_files_changed: Counter,
    /// Sessions answered.
    pub sessions: Family<SessionLabels, Counter>,
    /// Passes of the controller.
    pub reconciles: Family<ReconcileLabels, Counter>,
    /// Time of a pass.
    pub reconcile_seconds: Histogram,
    /// Outcomes recorded.
    pub outcomes: Family<OutcomeLabels, Counter>,
    /// Provenance that could not be signed or written, each try.
    pub provenance_failures: Counter,
    /// Tasks whose object shows more than the record knows: an administrator has to decide.
    pub records_lost: Gauge,
    /// 0 while the audit log is not the one that was signed.
    pub audit_log_intact: Gauge,
    /// 1 while this process runs the controller.
    pub leads: Gauge,
    /// Tasks in the record by phase, as the replica that runs the controller counts them now and then.
    pub tasks: Family<PhaseLabels, Gauge>,
    /// Kubernetes Events that were left out, for there were too many.
    pub events_dropped: Counter,
    /// 1 if the configuration of executors is the one that is there; 0 while a former one holds.
    pub executors_valid: Gauge,
    /// 1 if the configuration of retention is the one that is there; 0 while a former one holds.
    pub retention_valid: Gauge,
    /// Traces removed from the volume.
    pub retention_traces_removed: Counter,
    /// Their bytes.
    pub retention_removed_bytes: Counter,
    /// Records of Tasks removed.
    pub retention_records_removed: Counter,
    /// Sweeps, and folders, that failed; each is tried again.
    pub retention_failures: Counter,
    /// How far this machine's clock is ahead of the API server's.
    pub clock_skew_seconds: Gauge,
    certificate_expiry: Gauge<f64, AtomicU64>,
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        let reviews = Family::default();
        let denials_dropped = Counter::default();
        let denials_merged = Counter::default();
        let denials_left_out = Counter::default();
        let requests = Family::default();
        let streams = Family::<StreamLabels, Gauge>::default();
        let stream_ends = Family::default();
        let stream_bytes = Counter::default();
        let trace_files_changed = Counter::default();
        let sessions = Family::default();
        let reconciles = Family::default();
        let outcomes = Family::default();
        let provenance_failures = Counter::default();
        let records_lost = Gauge::default();
        let audit_log_intact = Gauge::default();
        audit_log_intact.set(1);
        let leads = Gauge::default();
        let events_dropped = Counter::default();
        let tasks = Family::<PhaseLabels, Gauge>::default();
        let executors_valid = Gauge::default();
        executors_valid.set(1);
        let retention_valid = Gauge::default();
        retention_valid.set(1);
        let retention_traces_removed = Counter::default();
        let retention_removed_bytes = Counter::default();
        let retention_records_removed = Counter::default();
        let retention_failures = Counter::default();
        let clock_skew_seconds = Gauge::default();
        let certificate_expiry = Gauge::default();
        let review_seconds = Histogram::new([0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5]);
        let request_seconds = Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0]);
        let reconcile_seconds = Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0]);
        let mut registry = Registry::with_prefix("jct");
        registry.register("admission_reviews", "Admission reviews answered", reviews.clone());
        registry.register_with_unit(
            "admission_review",
            "Time to answer a review",
            Unit::Seconds,
            review_seconds.clone(),
        );
        registry.register(
            "admission_denials_dropped",
            "Denied requests that are not kept in the audit log",
            denials_dropped.clone(),
        );
        registry.register(
            "admission_denials_merged",
            "Denied requests that the audit log counts with the first of their like",
            denials_merged.clone(),
        );
        registry.register(
            "admission_denials_left_out",
            "Denied requests that the audit log has as a number alone, for there were too many",
            denials_left_out.clone(),
        );
        registry.register("api_requests", "API requests answered, probes left out", requests.clone());
        registry.register_with_unit(
            "api_request",
            "Time to answer an API request",
            Unit::Seconds,
            request_seconds.clone(),
        );
        registry.register("api_streams", "Followers and downloads of traces under way", streams.clone());
        registry.register(
            "api_streams_ended",
            "Followers and downloads of traces that have ended",
            stream_ends.clone(),
        );
        registry.register_with_unit(
            "api_streams_sent",
            "What followers and downloads of traces were sent",
            Unit::Bytes,
            stream_bytes.clone(),
        );
        registry.register(
            "api_trace_files_changed",
            "Sealed files that were asked for and are not what was sealed",
            trace_files_changed.clone(),
        );
        registry.register("sessions_answered", "Sessions answered, with a token or with a reason", sessions.clone());
        registry.register("reconciles", "Passes of the controller", reconciles.clone());
        registry.register_with_unit("reconcile", "Time of a pass", Unit::Seconds, reconcile_seconds.clone());
        registry.register("task_outcomes", "Outcomes of Tasks recorded", outcomes.clone());
        registry.register(
            "provenance_failures",
            "Tries to sign and write the provenance of an attempt that failed",
            provenance_failures.clone(),
        );
        registry.register(
            "tasks_record_lost",
            "Tasks whose object shows more than the record knows; nothing runs of them until an administrator decides",
            records_lost.clone(),
        );
        registry.register(
            "audit_log_intact",
            "0 while the audit log is not the one that was signed, and no checkpoint is made",
            audit_log_intact.clone(),
        );
        registry.register(
            "controller_leads",
            "1 while this process runs the controller, 0 while another replica does",
            leads.clone(),
        );
        registry.register("tasks", "Tasks in the record, by phase, counted twice a minute", tasks.clone());
        registry.register(
            "events_dropped",
            "Kubernetes Events that were left out, for there were too many: all they say is in the status of Tasks",
            events_dropped.clone(),
        );
        registry.register(
            "executors_configuration_valid",
            "1 if the configuration of executors is the one that is there, 0 while a former one holds",
            executors_valid.clone(),
        );
        registry.register(
            "retention_configuration_valid",
            "1 if the configuration of retention is the one that is there, 0 while a former one holds",
            retention_valid.clone(),
        );
        registry.register(
            "retention_traces_removed",
            "Traces that retention removed from the volume",
            retention_traces_removed.clone(),
        );
        registry.register_with_unit(
            "retention_removed",
            "Sizes of the files that retention removed from the trace volume",
            Unit::Bytes,
            retention_removed_bytes.clone(),
        );
        registry.register(
            "retention_records_removed",
            "Records of Tasks that retention removed",
            retention_records_removed.clone(),
        );
        registry.register(
            "retention_failures",
            "Sweeps of retention that broke off, and folders that it could not delete; each is tried again",
            retention_failures.clone(),
        );
        registry.register_with_unit(
            "clock_skew",
            "How far this machine's clock is ahead of the API server's; negative if it is behind",
            Unit::Seconds,
            clock_skew_seconds.clone(),
        );
        registry.register(
            "webhook_certificate_expiry_timestamp_seconds",
            "When the webhook's certificate ends, as Unix time; 0 if this process serves none",
            certificate_expiry.clone(),
        );
        Self {
            reviews,
            review_seconds,
            denials_dropped,
            denials_merged,
            denials_left_out,
            requests,
            request_seconds,
            streams,
            stream_ends,
            stream_bytes,
            trace_files_changed,
            sessions,
            reconciles,
            reconcile_seconds,
            outcomes,
            provenance_failures,
            records_lost,
            audit_log_intact,
            leads,
            events_dropped,
            tasks,
            executors_valid,
            retention_valid,
            retention_traces_removed,
            retention_removed_bytes,
            retention_records_removed,
            retention_failures,
            clock_skew_seconds,
            certificate_expiry,
            registry: Arc::new(registry),
        }
    }
}

impl Metrics {
    /// Notes when the serving certificate ends.
    pub fn certificate_expires_at(&self, time: SystemTime) {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.certificate_expiry.set(since_epoch.as_secs_f64());
    }

    /// When the serving certificate ends, in seconds since 1970; none if this process serves none.
    pub fn certificate_expiry(&self) -> Option<i64> {
        let at = self.certificate_expiry.get();
        #[allow(clippy::cast_possible_truncation)] // Seconds of this era fit.
        (at > 0.0).then_some(at as i64)
    }

    /// All of it, as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut page, &self.registry);
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_metric() {
        let metrics = Metrics::default();
        metrics.certificate_expires_at(SystemTime::UNIX_EPOCH + Duration::from_secs(60));
        metrics.reviews.get_or_create(&ReviewLabels { webhook: "mutate", result: "allowed".into() }).inc();
        let page = metrics.encode();
        assert!(page.contains("jct_webhook_certificate_expiry_timestamp_seconds 60"), "{page}");
        assert!(page.contains(r#"jct_admission_reviews_total{webhook="mutate",result="allowed"} 1"#), "{page}");
    }
}
