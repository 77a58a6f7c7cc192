//! What keeps Jobs and their pods from starting, in the cluster's own words: the warnings among its events.
//!
//! A Job whose pod is refused says so nowhere else, nor does a pod whose volume does not come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Event as ClusterEvent;
use kube::api::Api;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use tracing::warn;

use super::lists;
use super::workers::{Trigger, Workers, trigger_task_of};
use crate::crd::status::Reason;

/// Of so many objects it is known at once; of more not, and their Tasks wait without a reason of their own.
const MOST: usize = 20_000;

/// How much of a warning is kept, in characters.
const MOST_CHARACTERS: usize = 300;

/// What an object waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub reason: Reason,
    /// In the words of the cluster.
    pub words: String,
}

impl Trouble {
    /// What a warning about an object of this kind tells of its start.
    pub fn of(kind: &str, reason: &str, message: &str) -> Option<Self> {
        let reason = match (kind, reason) {
            ("Job", "FailedCreate") if message.contains(QUOTA) => Reason::WaitingForQuota,
            ("Job", "FailedCreate") => Reason::WaitingForAdmission,
            ("Pod", "FailedMount" | "FailedAttachVolume" | "FailedMapVolume") => Reason::WaitingForVolume,
            ("Pod", "FailedCreatePodSandBox") => Reason::WaitingForStart,
            _ => return None,
        };
        Some(Self { reason, words: words(message).chars().take(MOST_CHARACTERS).collect() })
    }
}

const QUOTA: &str = "exceeded quota";

/// Without the name of the pod, which is another one at each try.
fn words(message: &str) -> &str {
    if let Some(at) = message.find(QUOTA) {
        return &message[at..];
    }
    message.split_once(" is forbidden: ").map_or(message, |(_, why)| why)
}

#[derive(Debug)]
struct Noted {
    trouble: Trouble,
    event: String,
}

/// The last trouble of each object, by its name.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<HashMap<String, Noted>>);

impl Troubles {
    /// What keeps the Job or pod of this name from starting, if something does.
    pub fn of(&self, name: &str) -> Option<Trouble> {
        self.0.lock().ok()?.get(name).map(|noted| noted.trouble.clone())
    }

    /// Notes what is told of an object by `event`. Says whether that is news: the same trouble in other words is none, or each
    /// count of what a quota has left would be.
    pub fn note(&self, name: &str, event: &str, trouble: Trouble) -> bool {
        let Ok(mut all) = self.0.lock() else { return false };
        if let Some(noted) = all.get_mut(name).filter(|noted| noted.trouble.reason == trouble.reason) {
            event.clone_into(&mut noted.event);
            return false;
        }
        if all.len() >= MOST && !all.contains_key(name) {
            return false;
        }
        all.insert(name.to_owned(), Noted { trouble, event: event.to_owned() });
        true
    }

    fn forget(&self, name: &str, event: &str) {
        if let Ok(mut all) = self.0.lock()
            && all.get(name).is_some_and(|noted| noted.event == event)
        {
            all.remove(name);
        }
    }
}

/// Keeps `workers.troubles` current for ever, and names the Task of each object that is newly in trouble.
pub async fn follow(api: Api<ClusterEvent>, workers: Arc<Workers>, trigger: Trigger) {
    let config = lists::config().fields("type=Warning");
    let mut stream = std::pin::pin!(watcher(api, config).default_backoff());
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::InitApply(event) | Event::Apply(event)) => {
                let (name, id) = names(&event);
                let message = event.message.as_deref().unwrap_or_default();
                let kind = event.involved_object.kind.as_deref().unwrap_or_default();
                let trouble = Trouble::of(kind, event.reason.as_deref().unwrap_or_default(), message);
                if trouble.is_some_and(|trouble| workers.troubles.note(name, id, trouble)) {
                    workers.with_name(name, |object| trigger_task_of(&trigger, object));
                }
            }
            Ok(Event::Delete(event)) => {
                let (name, id) = names(&event);
                workers.troubles.forget(name, id);
            }
            Ok(Event::Init | Event::InitDone) => {}
            // The watcher recovers by itself, with a backoff.
            Err(error) => warn!(kind = "Event", %error, "watch interrupted"),
        }
    }
}

fn names(event: &ClusterEvent) -> (&str, &str) {
    let name = event.involved_object.name.as_deref().unwrap_or_default();
    (name, event.metadata.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Job", "FailedCreate",
        "Error creating: pods \"t-1-x7k2p\" is forbidden: exceeded quota: tight, requested: pods=1, used: pods=1, limited: pods=1",
        Some((Reason::WaitingForQuota, "exceeded quota: tight, requested: pods=1, used: pods=1, limited: pods=1")))]
    #[case("Job", "FailedCreate",
        "Error creating: pods \"t-1-abcde\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot",
        Some((Reason::WaitingForAdmission, "violates PodSecurity \"restricted:latest\": runAsNonRoot")))]
    #[case("Job", "FailedCreate", "Error creating: admission webhook \"w\" denied the request: no",
        Some((Reason::WaitingForAdmission, "Error creating: admission webhook \"w\" denied the request: no")))]
    #[case("Pod", "FailedMount", "MountVolume.SetUp failed for volume \"trace\"",
        Some((Reason::WaitingForVolume, "MountVolume.SetUp failed for volume \"trace\"")))]
    #[case("Pod", "FailedCreatePodSandBox", "no runtime", Some((Reason::WaitingForStart, "no runtime")))]
    #[case("Job", "BackoffLimitExceeded", "Job has reached the specified backoff limit", None)]
    #[case("Pod", "Unhealthy", "exceeded quota", None)]
    fn a_warning_says_what_is_waited_for(
        #[case] kind: &str,
        #[case] reason: &str,
        #[case] message: &str,
        #[case] expected: Option<(Reason, &str)>,
    ) {
        let found = Trouble::of(kind, reason, message);
        let found = found.as_ref().map(|trouble| (trouble.reason, trouble.words.as_str()));
        assert_eq!(found, expected);
    }

    #[test]
    fn another_count_of_the_same_is_no_news_and_an_event_that_expires_is_forgotten() {
        let troubles = Troubles::default();
        let quota = |used: u32| {
            Trouble::of("Job", "FailedCreate", &format!("exceeded quota: tight, used: pods={used}")).unwrap()
        };
        assert!(troubles.note("t-1", "a", quota(1)));
        assert!(!troubles.note("t-1", "b", quota(2)));
        assert_eq!(troubles.of("t-1"), Some(quota(1)));
        assert!(troubles.note("t-1", "c", Trouble::of("Job", "FailedCreate", "no").unwrap()));
        troubles.forget("t-1", "a");
        assert!(troubles.of("t-1").is_some(), "an older one");
        troubles.forget("t-1", "c");
        assert_eq!(troubles.of("t-1"), None);
    }
}
