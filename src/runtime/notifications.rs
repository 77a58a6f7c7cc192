//! Notifications: who is told is known to the record from the start on; the replica that leads sends.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::domain::notification::Notifications;
use crate::metrics::metrics;
use crate::store::Store;

/// Labels of a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReceiverLabels {
    /// Its name in the configuration.
    pub receiver: String,
}

/// Labels of `jct_notification_failures_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FailureLabels {
    /// Its name in the configuration.
    pub receiver: String,
    /// What kind of failure.
    pub reason: &'static str,
}

metrics! {
    /// The metrics of notifications.
    pub struct NotificationMetrics {
        sent: Family<ReceiverLabels, Counter> = "notifications_sent", "Notifications that their receivers have taken";
        failures: Family<FailureLabels, Counter> = "notification_failures",
            "Tries to tell a receiver that failed; each is repeated";
        given_up: Family<ReceiverLabels, Counter> = "notifications_given_up",
            "Notifications that their receivers did not take for a day, and are not told any more";
        oldest_waits: Family<ReceiverLabels, Gauge> = "notification_oldest_waits" in Seconds,
            "For how long the first notification has been there that its receiver has not taken; 0 if there is none";
    }
}

impl jct_notify::Count for NotificationMetrics {
    fn sent(&self, receiver: &str) {
        self.sent.get_or_create(&labels(receiver)).inc();
    }

    fn failed(&self, receiver: &str, reason: &'static str) {
        self.failures.get_or_create(&FailureLabels { receiver: receiver.into(), reason }).inc();
    }

    fn given_up(&self, receiver: &str) {
        self.given_up.get_or_create(&labels(receiver)).inc();
    }

    fn oldest_waits(&self, receiver: &str, seconds: i64) {
        self.oldest_waits.get_or_create(&labels(receiver)).set(seconds);
    }

    fn forget(&self, receiver: &str) {
        self.oldest_waits.remove(&labels(receiver));
    }
}

fn labels(receiver: &str) -> ReceiverLabels {
    ReceiverLabels { receiver: receiver.into() }
}

/// Has the record know who is told, now and whenever that changes, until `stop`.
pub fn publish(store: &Store, mut configured: watch::Receiver<Arc<Notifications>>, stop: CancellationToken) {
    store.set_notifications(configured.borrow_and_update().clone());
    let store = store.clone();
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        while configured.changed().await.is_ok() {
            store.set_notifications(configured.borrow_and_update().clone());
        }
    }));
}
