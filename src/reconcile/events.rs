//! Kubernetes Events about Tasks, for people: what waits, is tried again or fails at once, and the end of an ordinary one where
//! there is room for it. All they say is in statuses too: they are never worth a delay.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::debug;

use crate::crd::TaskStatus;
use crate::crd::names::GROUP;
use crate::crd::status::Reason;
use crate::domain::id::sha256_hex;
use crate::domain::{FailureReason, Phase};
use crate::runtime::Clock;

/// Between two events: ten in a second.
const INTERVAL: Duration = Duration::from_millis(100);

/// How many of what is to be told at once may wait, and how many ordinary ends.
const URGENT: usize = 1_000;
const ORDINARY: usize = 50;

/// The greatest note, in bytes (events.k8s.io/v1).
const MOST_BYTES: usize = 1_000;

/// What people are told of a Task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The Task's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// A reason of `.status.reason`.
    pub reason: String,
    /// In a sentence.
    pub note: String,
    /// Whether something is not as it was meant to be.
    pub is_warning: bool,
    /// Tells apart what is told of one Task for the same reason: the attempt.
    pub attempt: i64,
}

/// What is new in a status, if people are to know it at once.
///
/// An ordinary Task that goes its way is told of at its end alone.
pub fn news(of: (&str, &str, &str), before: Option<&TaskStatus>, now: &TaskStatus) -> Option<Announcement> {
    let of_status = |status: &TaskStatus| (status.phase.clone(), status.reason.clone(), status.attempt);
    if before.is_some_and(|before| of_status(before) == of_status(now)) {
        return None;
    }
    let reason = now.reason.as_deref()?;
    let phase = Phase::ALL.into_iter().find(|phase| Some(phase.as_condition()) == now.phase.as_deref())?;
    let is_copy = reason == Reason::Duplicate.as_str();
    let is_warning = match phase {
        Phase::Completed | Phase::Cancelled => false,
        Phase::Failed => !is_copy,
        Phase::Pending | Phase::Queued | Phase::Running => {
            let worth_it =
                Reason::TOLD.iter().any(|told| told.as_str() == reason) || reason == FailureReason::RecordLost.as_str();
            if !worth_it {
                return None;
            }
            true
        }
    };
    let (namespace, name, uid) = of;
    Some(Announcement {
        namespace: namespace.into(),
        name: name.into(),
        uid: uid.into(),
        reason: reason.into(),
        note: now.message.clone().unwrap_or_else(|| format!("the Task is {}", phase.as_condition())),
        is_warning,
        attempt: now.attempt.unwrap_or_default(),
    })
}

#[derive(Debug, Default)]
struct Queues {
    urgent: VecDeque<Announcement>,
    ordinary: VecDeque<Announcement>,
}

impl Queues {
    /// Adds an announcement. Of one Task only the last word counts. Says whether another one had to go for it.
    fn add(&mut self, announcement: Announcement) -> bool {
        for queue in [&mut self.urgent, &mut self.ordinary] {
            queue.retain(|waiting| waiting.uid != announcement.uid);
        }
        let (queue, most) =
            if announcement.is_warning { (&mut self.urgent, URGENT) } else { (&mut self.ordinary, ORDINARY) };
        queue.push_back(announcement);
        let is_full = queue.len() > most;
        if is_full {
            queue.pop_front();
        }
        is_full
    }

    fn next(&mut self) -> Option<Announcement> {
        self.urgent.pop_front().or_else(|| self.ordinary.pop_front())
    }
}

/// Takes what is to be told, and never makes anybody wait. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Announcer {
    queues: Arc<Mutex<Queues>>,
    news: Arc<Notify>,
    dropped: Counter,
}

impl Announcer {
    /// One that counts what it has to leave out.
    pub fn new(dropped: Counter) -> Self {
        Self { dropped, ..Self::default() }
    }

    /// Tells it, soon or never.
    pub fn tell(&self, announcement: Announcement) {
        if let Ok(mut queues) = self.queues.lock()
            && queues.add(announcement)
        {
            self.dropped.inc();
        }
        self.news.notify_one();
    }

    /// What is to be told next.
    pub fn next(&self) -> Option<Announcement> {
        self.queues.lock().ok()?.next()
    }

    /// Sends what is to be told, for ever, at most ten in a second.
    pub async fn send(self, client: Client, clock: Clock) {
        loop {
            let Some(announcement) = self.next() else {
                self.news.notified().await;
                continue;
            };
            let events: Api<Event> = Api::namespaced(client.clone(), &announcement.namespace);
            match events.create(&PostParams::default(), &event(&announcement, clock.now())).await {
                Ok(_) => {}
                // Told before, by this process or an earlier one.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => {
                    debug!(reason = announcement.reason, %error, "an Event was not written");
                    self.dropped.inc();
                }
            }
            sleep(INTERVAL).await;
        }
    }
}

/// One name for the same news, so that nothing is told twice.
fn event(announcement: &Announcement, now: Timestamp) -> Event {
    let Announcement { namespace, name, uid, reason, note, is_warning, attempt } = announcement;
    let key = sha256_hex(format!("{uid} {attempt} {reason} {note}").as_bytes());
    let stem: String = name.chars().take(200).collect();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", stem.trim_end_matches(['-', '.']), &key[..16])),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        action: Some("Reconcile".into()),
        event_time: Some(MicroTime(now)),
        note: Some(cut(note)),
        reason: Some(reason.clone()),
        regarding: Some(ObjectReference {
            api_version: Some(format!("{GROUP}/v1")),
            kind: Some("Task".into()),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            uid: Some(uid.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(format!("{GROUP}/controller")),
        reporting_instance: Some("jct-controller".into()),
        type_: Some(if *is_warning { "Warning" } else { "Normal" }.into()),
        ..Event::default()
    }
}

fn cut(note: &str) -> String {
    let end = note.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MOST_BYTES).last();
    note[..end.unwrap_or_default()].to_owned()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn status(phase: &str, reason: &str) -> TaskStatus {
        TaskStatus {
            phase: Some(phase.into()),
            reason: Some(reason.into()),
            message: Some(format!("because of {reason}")),
            ..TaskStatus::default()
        }
    }

    fn told(before: Option<&TaskStatus>, now: &TaskStatus) -> Option<bool> {
        news(("team", "look", "u"), before, now).map(|news| news.is_warning)
    }

    #[rstest]
    #[case("Queued", "JobCreated", None)]
    #[case("Queued", "WaitingForTurn", None)]
    #[case("Pending", "Suspended", None)]
    #[case("Running", "Running", None)]
    #[case("Queued", "WaitingForQuota", Some(true))]
    #[case("Queued", "WaitingForScheduling", Some(true))]
    #[case("Queued", "Retrying", Some(true))]
    #[case("Running", "RecordLost", Some(true))]
    #[case("Failed", "REPO_NOT_ALLOWED", Some(true))]
    #[case("Failed", "ExecutorFailed", Some(true))]
    #[case("Failed", "Duplicate", Some(false))]
    #[case("Cancelled", "Cancelled", Some(false))]
    #[case("Completed", "Completed", Some(false))]
    fn an_ordinary_task_is_told_of_at_its_end_and_trouble_at_once(
        #[case] phase: &str,
        #[case] reason: &str,
        #[case] expected: Option<bool>,
    ) {
        assert_eq!(told(Some(&status("Queued", "Recorded")), &status(phase, reason)), expected);
        assert_eq!(told(Some(&status(phase, reason)), &status(phase, reason)), None, "it is no news");
    }

    fn announcement(uid: usize, is_warning: bool) -> Announcement {
        let end = if is_warning { status("Failed", "OOMKilled") } else { status("Completed", "Completed") };
        news(("team", "look", &uid.to_string()), None, &end).unwrap()
    }

    #[test]
    fn what_is_ordinary_goes_first_where_there_is_too_much_and_comes_last() {
        let announcer = Announcer::default();
        for uid in 0..ORDINARY * 3 {
            announcer.tell(announcement(uid, false));
        }
        announcer.tell(announcement(7_000, true));
        assert_eq!(announcer.dropped.get(), ORDINARY as u64 * 2);
        assert!(announcer.next().unwrap().is_warning);
        assert_eq!(announcer.next().unwrap().uid, (ORDINARY * 2).to_string());
    }

    #[test]
    fn of_one_task_the_last_word_counts() {
        let announcer = Announcer::default();
        announcer.tell(announcement(1, true));
        announcer.tell(announcement(1, false));
        assert!(!announcer.next().unwrap().is_warning);
        assert_eq!(announcer.next(), None);
    }

    #[test]
    fn an_event_fits_what_the_api_takes() {
        let long = Announcement { name: "n".repeat(253), note: "ä".repeat(4_000), ..announcement(1, true) };
        let event = event(&long, Timestamp::UNIX_EPOCH);
        assert!(event.metadata.name.as_ref().unwrap().len() <= 253);
        assert!(event.note.unwrap().len() <= MOST_BYTES);
        let regarding = event.regarding.unwrap();
        assert_eq!((regarding.uid.as_deref(), regarding.namespace), (Some("1"), event.metadata.namespace));
    }
}
