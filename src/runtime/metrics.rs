//! What the process counts by itself, and the metrics of all its parts on one page.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::api::{ApiMetrics, Gauges};
use crate::broker::BrokerMetrics;
use crate::metrics::{Page, metrics, one, registry};
use crate::reconcile::ReconcileMetrics;
use crate::sessions::SessionMetrics;
use crate::shared::DenialMetrics;
use crate::webhook::WebhookMetrics;

use super::notifications::NotificationMetrics;

/// Labels of `jct_tasks`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PhaseLabels {
    /// A phase, as in the database.
    pub phase: &'static str,
}

/// Labels of `jct_open_tasks`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OpenLabels {
    /// One of those with the most of them; empty for all others.
    pub namespace: String,
    /// A phase that is not an end.
    pub phase: &'static str,
}

metrics! {
    /// The metrics of the process.
    pub struct ProcessMetrics {
        audit_log_intact: Gauge = "audit_log_intact",
            "0 while the audit log is not the one that was signed, and no checkpoint is made", one();
        leads: Gauge =
            "controller_leads", "1 while this process runs the controller, 0 while another replica does";
        tasks: Family<PhaseLabels, Gauge> = "tasks", "Tasks in the record, by phase, counted twice a minute";
        open_tasks: Family<OpenLabels, Gauge> = "open_tasks",
            "Tasks that have not ended, by namespace and phase, counted twice a minute; those of small namespaces beyond a hundred are under an empty name";
        events_dropped: Counter = "events_dropped",
            "Kubernetes Events that were left out, for there were too many: all they say is in the status of Tasks";
        executors_valid: Gauge = "executors_configuration_valid",
            "1 if the configuration of executors is the one that is there, 0 while a former one holds", one();
        models_valid: Gauge = "models_configuration_valid",
            "1 if the configuration of models is the one that is there, 0 while a former one holds", one();
        forges_valid: Gauge = "forges_configuration_valid",
            "1 if the configuration of forges is the one that is there, 0 while a former one holds", one();
        notifications_valid: Gauge = "notifications_configuration_valid",
            "1 if the configuration of notifications is the one that is there, 0 while a former one holds", one();
        retention_valid: Gauge = "retention_configuration_valid",
            "1 if the configuration of retention is the one that is there, 0 while a former one holds", one();
        clock_skew_seconds: Gauge = "clock_skew" in Seconds,
            "How far this machine's clock is ahead of the API server's; negative if it is behind";
    }
}

/// Every metric of the operator, by part. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub webhook: WebhookMetrics,
    pub denials: DenialMetrics,
    pub api: ApiMetrics,
    pub sessions: SessionMetrics,
    pub reconcile: ReconcileMetrics,
    /// Those of the broker of models.
    pub broker: BrokerMetrics,
    /// Those of notifications.
    pub notifications: NotificationMetrics,
    pub process: ProcessMetrics,
    pub page: Page,
}

impl Metrics {
    /// What diagnostics tell of.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            leads: self.process.leads.clone(),
            records_lost: self.reconcile.records_lost.clone(),
            audit_log_intact: self.process.audit_log_intact.clone(),
            executors_valid: self.process.executors_valid.clone(),
            retention_valid: self.process.retention_valid.clone(),
            certificate_expiry: self.webhook.certificate_expiry.clone(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = registry();
        Self {
            webhook: WebhookMetrics::register(&mut registry),
            denials: DenialMetrics::register(&mut registry),
            api: ApiMetrics::register(&mut registry),
            sessions: SessionMetrics::register(&mut registry),
            reconcile: ReconcileMetrics::register(&mut registry),
            broker: BrokerMetrics::register(&mut registry),
            notifications: NotificationMetrics::register(&mut registry),
            process: ProcessMetrics::register(&mut registry),
            page: Page::new(registry),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::webhook::ReviewLabels;

    #[test]
    fn the_page_has_the_metrics_of_every_part() {
        let metrics = Metrics::default();
        metrics.webhook.certificate_expires_at(SystemTime::UNIX_EPOCH + Duration::from_secs(60));
        metrics.webhook.reviews.get_or_create(&ReviewLabels { webhook: "mutate", result: "allowed".into() }).inc();
        metrics.api.stream_bytes.inc_by(3);
        metrics.denials.merged.inc();
        metrics.reconcile.records_lost.set(2);
        let page = metrics.page.encode();
        for line in [
            "jct_webhook_certificate_expiry_timestamp_seconds 60",
            r#"jct_admission_reviews_total{webhook="mutate",result="allowed"} 1"#,
            "jct_api_streams_sent_bytes_total 3",
            "jct_admission_denials_merged_total 1",
            "jct_tasks_record_lost 2",
            "jct_audit_log_intact 1",
            "# UNIT jct_clock_skew_seconds seconds",
        ] {
            assert!(page.lines().any(|found| found.starts_with(line)), "{line}: {page}");
        }
    }
}
