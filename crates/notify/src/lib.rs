//! Sends notifications (docs/notifications.md): what the outbox of the record has for each receiver, until it is told or given up.
//!
//! A row leaves the outbox after the receiver has taken the event: whoever dies between the two tells it again, with the same id.
//! Each receiver has a task of its own, so that one that is slow or away delays no other. One process is to send at a time: the
//! one that leads.

#![warn(missing_docs)] // other crates use it

mod connect;
mod post;
mod queue;
mod secrets;
mod sign;

use std::sync::Arc;
use std::time::Duration;

use jct_domain::notification::Notifications;
use jct_store::Store;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use secrets::Secrets;
pub use sign::{InvalidKey, SigningKeys, signature};

use queue::Queue;

/// What is counted, by the names of receivers.
pub trait Count: Send + Sync + 'static {
    /// A receiver took an event.
    fn sent(&self, receiver: &str);
    /// It did not, for this reason: `unreachable`, `timeout`, `refused`, `redirect`, `error`, `configuration`.
    fn failed(&self, receiver: &str, reason: &'static str);
    /// It is not told of an event any more.
    fn given_up(&self, receiver: &str);
    /// For how long the first event that it was not told of has been there; 0 if there is none.
    fn oldest_waits(&self, receiver: &str, seconds: i64);
    /// Nothing is sent to it by this process any more.
    fn forget(&self, receiver: &str);
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A request, with its answer.
    pub request: Duration,
    /// The wait after the first failure; doubled for each further one.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// An event that was written down so long ago is given up when its receiver does not take it.
    pub give_up: SignedDuration,
    /// Between two looks without a reason.
    pub look_again: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(300),
            give_up: SignedDuration::from_hours(24),
            look_again: Duration::from_secs(60),
        }
    }
}

/// What sends.
#[derive(Clone)]
pub struct Sender {
    /// Has the outbox.
    pub store: Store,
    /// Who is told, now and later.
    pub configured: watch::Receiver<Arc<Notifications>>,
    /// Their keys and addresses.
    pub secrets: Secrets,
    /// Where people reach JCT, without a slash at its end: with it, events link to their Tasks.
    pub public_url: Option<String>,
    /// What time it is.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// What counts.
    pub count: Arc<dyn Count>,
    /// How long things may take.
    pub timing: Timing,
}

impl Sender {
    /// Sends until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        if stop.run_until_cancelled(self.store.opened()).await.is_none() {
            return;
        }
        loop {
            let configured = self.configured.borrow_and_update().clone();
            let term = stop.child_token();
            let mut receivers = JoinSet::new();
            for receiver in configured.receivers.clone() {
                let queue = Queue::new(self.clone(), receiver);
                receivers.spawn(term.clone().run_until_cancelled_owned(queue.run()));
            }
            let forgetting = self.forget_others(&configured);
            let changed = tokio::select! {
                () = stop.cancelled() => false,
                changed = async {
                    forgetting.await;
                    self.configured.clone().changed().await
                } => changed.is_ok(),
            };
            if !changed {
                // As it stands, to the end.
                stop.cancelled().await;
            }
            term.cancel();
            while receivers.join_next().await.is_some() {}
            for receiver in &configured.receivers {
                self.count.forget(&receiver.name);
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }

    /// Removes what is there for those that are no receivers any more.
    async fn forget_others(&self, configured: &Notifications) {
        let receivers = match self.store.notified_receivers().await {
            Ok(receivers) => receivers,
            Err(error) => return tracing::debug!(%error, "who is to be told cannot be read yet"),
        };
        for name in receivers {
            if configured.receivers.iter().all(|receiver| receiver.name != name) {
                match self.store.forget_receiver(&name).await {
                    Ok(()) => {
                        tracing::info!(receiver = name, "what it was not told is removed: it is no receiver any more")
                    }
                    Err(error) => tracing::warn!(receiver = name, %error, "what it was not told cannot be removed"),
                }
            }
        }
    }
}
