//! What the admission webhook counts.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::metrics::metrics;

/// Labels of `jct_admission_reviews_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReviewLabels {
    /// `mutate` or `validate`.
    pub webhook: &'static str,
    /// `allowed`, the first code of a refusal, or `malformed`.
    pub result: String,
}

metrics! {
    /// The metrics of the webhook.
    pub struct WebhookMetrics {
        reviews: Family<ReviewLabels, Counter> = "admission_reviews", "Admission reviews answered";
        review_seconds: Histogram = "admission_review" in Seconds, "Time to answer a review",
            Histogram::new([0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5]);
        certificate_expiry: Gauge<f64, AtomicU64> = "webhook_certificate_expiry_timestamp_seconds",
            "When the webhook's certificate ends, as Unix time; 0 if this process serves none";
    }
}

impl WebhookMetrics {
    /// Notes when the serving certificate ends.
    pub fn certificate_expires_at(&self, time: SystemTime) {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.certificate_expiry.set(since_epoch.as_secs_f64());
    }
}
