//! Jobs and pods of attempts, cached by attempt. Reads come from here; what must be certain is asked of the API server.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use futures::channel::mpsc::UnboundedSender;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch as signal;
use tracing::warn;

use super::lists;
use super::projected::{Projected, is_called, packed, unpacked};
use super::troubles::Troubles;
use crate::crd::names;
use crate::domain::Id;
use crate::jobs::job_name;

/// One attempt of one Task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    task_id: [u8; 16],
    attempt: u32,
}

impl AttemptKey {
    /// The key of an attempt.
    pub fn new(task_id: Id, attempt: u32) -> Self {
        Self { task_id: task_id.to_bytes(), attempt }
    }

    fn parsed(task_id: &str, attempt: &str) -> Option<Self> {
        Some(Self::new(task_id.to_ascii_uppercase().parse().ok()?, attempt.parse().ok()?))
    }

    /// The key of the attempt whose Job has this name, or a pod with that at the beginning of its own.
    fn of_name(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("t-")?.split('-');
        Self::parsed(parts.next()?, parts.next()?)
    }

    fn of(object: &impl Resource) -> Option<Self> {
        let labels = object.meta().labels.as_ref()?;
        Self::parsed(labels.get(names::TASK_ID_LABEL)?, labels.get(names::ATTEMPT_LABEL)?)
    }

    /// What its Job is called, and at the beginning of its name the pod.
    pub fn job_name(self) -> String {
        job_name(Id::from_bytes(self.task_id), self.attempt)
    }

    /// The labels that tell it.
    pub fn labels(self) -> BTreeMap<String, String> {
        let id = Id::from_bytes(self.task_id).to_lowercase();
        BTreeMap::from([
            (names::TASK_ID_LABEL.to_owned(), id),
            (names::ATTEMPT_LABEL.to_owned(), self.attempt.to_string()),
        ])
    }
}

/// Of each attempt its objects, packed.
type Table = HashMap<AttemptKey, Vec<Box<[u8]>>>;

/// The objects of one kind, by attempt and name.
#[derive(Debug)]
pub struct Index<K>(Mutex<Table>, PhantomData<fn() -> K>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(Mutex::default(), PhantomData)
    }
}

impl<K: Projected> Index<K> {
    /// The objects of an attempt, by name.
    pub fn get(&self, key: &AttemptKey) -> Vec<Arc<K>> {
        let table = self.table();
        let objects = table.get(key).into_iter().flatten();
        objects.filter_map(|object| unpacked(*key, object)).map(Arc::new).collect()
    }

    /// Adds or replaces an object. Says whether anything of it is new that a pass looks at.
    pub fn put(&self, object: K) -> bool {
        insert(&mut self.table(), object)
    }

    fn remove(&self, object: &K) {
        let Some(key) = AttemptKey::of(object) else { return };
        let mut table = self.table();
        if let Some(objects) = table.get_mut(&key) {
            let name = object.name_any();
            objects.retain(|known| !is_called(key, known, &name));
            if objects.is_empty() {
                table.remove(&key);
            }
        }
    }

    fn replace(&self, fresh: Table) {
        *self.table() = fresh;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert<K: Projected>(table: &mut Table, object: K) -> bool {
    let (Some(key), name) = (AttemptKey::of(&object), object.name_any()) else { return false };
    let Some(packed) = packed(key, object) else { return false };
    let objects = table.entry(key).or_insert_with(|| Vec::with_capacity(1));
    match objects.iter_mut().find(|known| is_called(key, known, &name)) {
        Some(known) if *known == packed => false,
        Some(known) => {
            *known = packed;
            true
        }
        None => {
            objects.push(packed);
            true
        }
    }
}

/// The Jobs and pods of all attempts.
#[derive(Debug, Default)]
pub struct Workers {
    pub jobs: Index<Job>,
    pub pods: Index<Pod>,
    /// What keeps them from starting.
    pub troubles: Troubles,
}

impl Workers {
    /// Shows the Job or pod of this name to `look`, if it is there.
    pub fn with_name(&self, name: &str, look: impl Fn(&Job)) {
        let Some(key) = AttemptKey::of_name(name) else { return };
        for job in self.jobs.get(&key) {
            look(&job);
        }
    }
}

/// Names the Task that a Job or pod works for, so that it is reconciled.
pub type Trigger = UnboundedSender<(String, String)>;

/// Keeps `index` current for ever, and names the Task of each object that changed. Says on `ready` when the first list is
/// complete.
pub async fn follow<K>(
    api: Api<K>,
    index: impl Fn() -> Arc<Workers>,
    pick: fn(&Workers) -> &Index<K>,
    trigger: Trigger,
    ready: signal::Sender<bool>,
) where
    K: Projected + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let selector = format!("{}={}", names::MANAGED_BY_LABEL, names::MANAGED_BY);
    let config = lists::config().labels(&selector);
    let stream = watch::watcher(api, config).default_backoff().modify(Projected::project);
    let workers = index();
    let index = pick(&workers);
    let mut fresh: Table = HashMap::new();
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => fresh = HashMap::new(),
            Ok(Event::InitApply(object)) => {
                trigger_task_of(&trigger, &object);
                insert(&mut fresh, object);
            }
            Ok(Event::InitDone) => {
                index.replace(std::mem::take(&mut fresh));
                ready.send_replace(true);
            }
            Ok(Event::Apply(object)) => {
                let task = task_of(&object);
                // What we have just made ourselves comes back so, and counts of pods that no pass looks at.
                if index.put(object) {
                    send(&trigger, task);
                }
            }
            Ok(Event::Delete(object)) => {
                index.remove(&object);
                trigger_task_of(&trigger, &object);
            }
            // The watcher recovers by itself, with a backoff.
            Err(error) => warn!(kind = %K::kind(&()), %error, "watch interrupted"),
        }
    }
}

/// Names the Task that `object` works for, so that it is reconciled.
pub(super) fn trigger_task_of(trigger: &Trigger, object: &impl Resource) {
    send(trigger, task_of(object));
}

fn send(trigger: &Trigger, task: Option<(String, String)>) {
    if let Some(task) = task {
        // The receiver lives as long as the controller.
        let _ = trigger.unbounded_send(task);
    }
}

fn task_of(object: &impl Resource) -> Option<(String, String)> {
    let annotations = object.meta().annotations.as_ref()?;
    Some((annotations.get(names::TASK_NAMESPACE)?.clone(), annotations.get(names::TASK_NAME)?.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "01kjmma2g027ce4ht1rzkzbw4a";

    fn metadata(name: &str) -> Value {
        json!({
            "name": name, "uid": "7f9c2ba4-e88f-4a3c-9d52-0f1d6c1f2e11", "resourceVersion": "7",
            "creationTimestamp": "2026-03-01T12:00:00Z",
            "labels": {names::TASK_ID_LABEL: ID, names::ATTEMPT_LABEL: "1", "app": "x"},
            "annotations": {names::TASK_NAMESPACE: "team", names::TASK_NAME: "look", "note": "n".repeat(1000)},
            "managedFields": [{"manager": "jct"}],
        })
    }

    fn job(change: &Value) -> Job {
        let mut job = json!({
            "metadata": metadata(&format!("t-{ID}-1")),
            "spec": {"template": {"spec": {"containers": [{"name": "worker", "image": "i".repeat(1000)}]}}},
        });
        json_patch::merge(&mut job, change);
        serde_json::from_value(job).unwrap()
    }

    fn key() -> AttemptKey {
        AttemptKey::of_name(&format!("t-{ID}-1-x7k2p")).unwrap()
    }

    /// Of the objects of an attempt.
    fn bytes<K: Projected>(index: &Index<K>) -> usize {
        index.table()[&key()].iter().map(|packed| packed.len()).sum()
    }

    #[test]
    fn of_a_job_a_hundred_bytes_are_kept_and_what_no_pass_looks_at_is_no_news() {
        let index: Index<Job> = Index::default();
        assert!(index.put(job(&json!({}))));
        assert!(!index.put(job(&json!({"metadata": {"resourceVersion": "8"}, "status": {"active": 1, "ready": 1}}))));
        let kept = index.get(&key());
        let mut expected = job(&json!({}));
        expected.project();
        assert_eq!(kept.iter().map(|job| (**job).clone()).collect::<Vec<_>>(), [expected]);
        assert_eq!(task_of(&*kept[0]), Some(("team".into(), "look".into())));
        let bytes = bytes(&index);
        assert!(bytes < 110, "{bytes}");
        let condition = json!({"type": "Complete", "status": "True"});
        for news in [
            json!({"status": {"active": 1, "conditions": [condition]}}),
            json!({"spec": {"ttlSecondsAfterFinished": 600}}),
            json!({"metadata": {"deletionTimestamp": "2026-03-01T12:00:01Z"}}),
        ] {
            assert!(index.put(job(&news)) && !index.put(job(&news)), "{news}");
            let mut expected = job(&news);
            expected.project();
            assert_eq!(*index.get(&key())[0], expected);
        }
        index.remove(&job(&json!({})));
        assert!(index.table().is_empty());
    }

    #[test]
    fn of_a_pod_what_it_says_of_the_attempt_is_kept() {
        let condition = |type_: &str, status: &str| json!({"type": type_, "status": status, "lastProbeTime": null, "lastTransitionTime": "2026-03-01T12:00:00Z", "message": "m"});
        let container = |name: &str| {
            json!({
                "name": name, "image": "i", "imageID": "sha256:1", "ready": false, "restartCount": 0, "started": false,
                "containerID": "c".repeat(70), "volumeMounts": [{"name": "v", "mountPath": "/v".repeat(100)}],
                "state": {"waiting": {"reason": "PodInitializing"}}, "lastState": {},
            })
        };
        let pod = |name: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": metadata(name),
                "spec": {"containers": [{"name": "worker", "image": "i".repeat(1000)}]},
                "status": {
                    "phase": "Pending", "hostIP": "10.0.0.1", "podIP": "10.1.0.1", "qosClass": "Burstable",
                    "startTime": "2026-03-01T12:00:01Z",
                    "conditions": [condition("PodScheduled", "True"), condition("Ready", "False"), condition("Initialized", "False")],
                    "initContainerStatuses": [container("source"), container("injected")],
                    "containerStatuses": [container("executor"), container("worker")],
                },
            }))
            .unwrap()
        };
        let index: Index<Pod> = Index::default();
        let (first, second) = (format!("t-{ID}-1-x7k2p"), "by-hand".to_owned());
        assert!(index.put(pod(&first)) && index.put(pod(&second)) && !index.put(pod(&second)));
        let kept = index.get(&key());
        assert_eq!(kept.iter().map(|pod| pod.name_any()).collect::<Vec<_>>(), [first.clone(), second.clone()]);
        let status = kept[0].status.clone().unwrap();
        assert_eq!(
            (status.phase.as_deref(), status.host_ip.as_deref(), status.start_time.is_some()),
            (Some("Pending"), Some("10.0.0.1"), true)
        );
        assert_eq!(status.conditions.unwrap().len(), 1);
        let source = &status.init_container_statuses.unwrap()[0];
        assert!(source.state.as_ref().unwrap().waiting.is_some() && source.image_id == "sha256:1");
        assert_eq!(status.container_statuses.unwrap().len(), 2);
        let bytes = bytes(&index);
        assert!(bytes < 2 * 1000, "{bytes}");
        index.remove(&pod(&first));
        assert_eq!(index.get(&key()).iter().map(|pod| pod.name_any()).collect::<Vec<_>>(), [second]);
    }

    #[test]
    fn keys_are_told_by_names_and_labels() {
        assert_eq!(AttemptKey::of(&job(&json!({}))), Some(key()));
        assert_eq!(AttemptKey::of_name(&key().job_name()), Some(key()));
        for odd in ["", "t-", "t-a-1", &format!("t-{ID}"), &format!("t-{ID}-x"), &format!("x-{ID}-1")] {
            assert_eq!(AttemptKey::of_name(odd), None, "{odd}");
        }
    }
}
