//! What one receiver is to be told, in the order in which it happened, and what it does not take.

use std::collections::BTreeMap;
use std::time::Duration;

use jct_domain::Id;
use jct_domain::notification::Receiver;
use jct_store::Waiting;
use tokio::time::Instant;

use crate::Sender;
use crate::post::{Poster, Problem};

/// How many are read at once.
const PAGE: u32 = 50;
/// How many that were not taken are remembered by themselves: with more of them, the receiver is taken to be away.
const MAX_RETRIES: usize = 1_000;
/// How often in a row it has to fail before something is given up: after an outage of our own, one failure proves nothing.
const FAILURES: u32 = 5;

/// The way of events to a receiver.
pub(crate) struct Queue {
    sender: Sender,
    name: String,
    poster: Poster,
    /// Events that were not taken, how often, and when each is told again.
    retries: BTreeMap<Id, (u32, Instant)>,
    /// How often in a row the receiver was away.
    failures: u32,
}

/// How far a pass came.
enum Pass {
    /// Through all; at this time one that was set aside is due.
    Through(Option<Instant>),
    /// The receiver, or the record, is away.
    Away(Duration),
}

impl Queue {
    pub(crate) fn new(sender: Sender, receiver: Receiver) -> Self {
        let name = receiver.name.clone();
        let poster = Poster::new(receiver, sender.secrets.clone(), sender.public_url.clone());
        Self { sender, name, poster, retries: BTreeMap::new(), failures: 0 }
    }

    /// Tells the receiver what there is, for ever.
    pub(crate) async fn run(mut self) {
        let mut written = self.sender.store.notifications_written();
        loop {
            written.borrow_and_update();
            match self.pass().await {
                Pass::Away(wait) => tokio::time::sleep(wait).await,
                Pass::Through(due) => {
                    let latest = Instant::now() + self.sender.timing.look_again;
                    let due = due.map_or(latest, |due| due.min(latest));
                    tokio::select! {
                        _ = written.changed() => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
            }
        }
    }

    async fn pass(&mut self) -> Pass {
        let (mut after, mut is_first) = (None, true);
        loop {
            let page = match self.sender.store.waiting_notifications(&self.name, after, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::debug!(%error, receiver = self.name, "what it is to be told cannot be read");
                    return Pass::Away(self.sender.timing.first_wait);
                }
            };
            if is_first {
                let waits = page.first().map_or(0, |first| self.age(first).as_secs());
                self.sender.count.oldest_waits(&self.name, waits);
                is_first = false;
            }
            let is_last = page.len() < PAGE as usize;
            for waiting in page {
                after = Some(waiting.event.id);
                if self.retries.get(&waiting.event.id).is_some_and(|(_, due)| *due > Instant::now()) {
                    continue;
                }
                if let Some(wait) = self.deliver(&waiting).await {
                    return Pass::Away(wait);
                }
            }
            if is_last {
                return Pass::Through(self.retries.values().map(|(_, due)| *due).min());
            }
        }
    }

    fn age(&self, waiting: &Waiting) -> jiff::SignedDuration {
        (self.sender.now)().duration_since(waiting.since)
    }

    fn is_old(&self, waiting: &Waiting) -> bool {
        self.age(waiting) >= self.sender.timing.give_up
    }

    /// Tells one event; how long to wait, if the receiver is away.
    async fn deliver(&mut self, waiting: &Waiting) -> Option<Duration> {
        let id = waiting.event.id;
        let posted = self.poster.post(&waiting.event, (self.sender.now)(), self.sender.timing.request).await;
        let Err(problem) = posted else {
            self.failures = 0;
            self.retries.remove(&id);
            self.sender.count.sent(&self.name);
            // Not settled, it is told again: at least once is what is promised.
            let settled = self.sender.store.settle_notification(&self.name, id).await;
            return settled.err().map(|_| self.sender.timing.first_wait);
        };
        self.sender.count.failed(&self.name, problem.reason);
        let tries = self.schedule_retry(id);
        let Problem { reason, message, is_of_the_event } = problem;
        tracing::warn!(receiver = self.name, reason, message, event = %id, tries, "a notification was not taken; it is sent again");
        if is_of_the_event {
            self.failures = 0;
            if tries >= FAILURES && self.is_old(waiting) {
                self.give_up(id).await;
            }
            return (self.retries.len() > MAX_RETRIES).then_some(self.sender.timing.longest_wait);
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            self.give_up_old().await;
        }
        Some(self.wait(self.failures))
    }

    /// Has the event told again later, and others before it; how often it was tried.
    fn schedule_retry(&mut self, id: Id) -> u32 {
        let tries = self.retries.get(&id).map_or(0, |(tries, _)| *tries).saturating_add(1);
        let due = Instant::now() + self.wait(tries);
        if self.retries.len() <= MAX_RETRIES || self.retries.contains_key(&id) {
            self.retries.insert(id, (tries, due));
        }
        tries
    }

    fn wait(&self, failures: u32) -> Duration {
        let timing = &self.sender.timing;
        timing.first_wait.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(timing.longest_wait)
    }

    /// Gives up what was written down too long ago.
    async fn give_up_old(&mut self) {
        loop {
            let Ok(page) = self.sender.store.waiting_notifications(&self.name, None, PAGE).await else { return };
            let is_full = page.len() == PAGE as usize;
            let old: Vec<Id> =
                page.iter().filter(|waiting| self.is_old(waiting)).map(|waiting| waiting.event.id).collect();
            if old.is_empty() {
                return;
            }
            for id in old {
                if !self.give_up(id).await {
                    return;
                }
            }
            if !is_full {
                return;
            }
        }
    }

    async fn give_up(&mut self, id: Id) -> bool {
        if let Err(error) = self.sender.store.settle_notification(&self.name, id).await {
            tracing::warn!(%error, receiver = self.name, event = %id, "a notification cannot be given up now");
            return false;
        }
        self.retries.remove(&id);
        self.sender.count.given_up(&self.name);
        let hours = self.sender.timing.give_up.as_hours();
        tracing::error!(receiver = self.name, event = %id, hours, "a notification is given up: it was not taken for so long");
        true
    }
}
