//! Jobs and pods of attempts, cached by attempt. Reads come from here; what must be certain is asked of the API server.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use futures::channel::mpsc::UnboundedSender;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch as signal;
use tracing::warn;

use super::lists;
use super::troubles::Troubles;
use crate::crd::names;
use crate::domain::Id;

/// One attempt of one Task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    /// The Task's id, in lower case as in labels.
    task_id: String,
    attempt: u32,
}

impl AttemptKey {
    /// The key of an attempt.
    pub fn new(task_id: Id, attempt: u32) -> Self {
        Self { task_id: task_id.to_lowercase(), attempt }
    }

    /// The key of the attempt whose Job has this name, or a pod with that at the beginning of its own.
    fn of_name(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("t-")?.split('-');
        Some(Self { task_id: parts.next()?.to_owned(), attempt: parts.next()?.parse().ok()? })
    }

    fn of(object: &impl Resource) -> Option<Self> {
        let labels = object.meta().labels.as_ref()?;
        let attempt = labels.get(names::ATTEMPT_LABEL)?.parse().ok()?;
        Some(Self { task_id: labels.get(names::TASK_ID_LABEL)?.clone(), attempt })
    }
}

/// Of each attempt its objects, by name and as JSON: as values they would take ten times that, and there may be ten thousand.
type Table = HashMap<AttemptKey, Vec<(Box<str>, Box<[u8]>)>>;

/// The objects of one kind, by attempt and name.
#[derive(Debug)]
pub struct Index<K>(Mutex<Table>, PhantomData<fn() -> K>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(Mutex::default(), PhantomData)
    }
}

/// What is cached of a Job or a pod: what passes read of it.
pub trait Projected: Resource {
    /// Takes off all the rest.
    fn project(&mut self);
}

impl Projected for Job {
    /// Of the spec it stays when the Job goes.
    fn project(&mut self) {
        project_metadata(self.meta_mut());
        if let Some(spec) = &mut self.spec {
            *spec = JobSpec { ttl_seconds_after_finished: spec.ttl_seconds_after_finished, ..JobSpec::default() };
        }
        let conditions =
            self.status.take().and_then(|status| status.conditions).filter(|conditions| !conditions.is_empty());
        self.status = conditions.map(|conditions| JobStatus { conditions: Some(conditions), ..JobStatus::default() });
    }
}

impl Projected for Pod {
    fn project(&mut self) {
        project_metadata(self.meta_mut());
        self.spec = None;
    }
}

fn project_metadata(metadata: &mut ObjectMeta) {
    let ObjectMeta { name, uid, labels, annotations, creation_timestamp, deletion_timestamp, .. } =
        std::mem::take(metadata);
    let kept = |map: Option<BTreeMap<String, String>>, names: [&str; 2]| {
        map.map(|map| map.into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect())
    };
    *metadata = ObjectMeta {
        name,
        uid,
        labels: kept(labels, [names::TASK_ID_LABEL, names::ATTEMPT_LABEL]),
        annotations: kept(annotations, [names::TASK_NAMESPACE, names::TASK_NAME]),
        creation_timestamp,
        deletion_timestamp,
        ..ObjectMeta::default()
    };
}

impl<K: Projected + Serialize + DeserializeOwned> Index<K> {
    /// The objects of an attempt, by name.
    pub fn get(&self, key: &AttemptKey) -> Vec<Arc<K>> {
        let table = self.table();
        let packed = table.get(key).into_iter().flatten();
        packed.filter_map(|(_, packed)| serde_json::from_slice(packed).ok()).map(Arc::new).collect()
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
            objects.retain(|(known, _)| **known != *name);
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

fn insert<K: Projected + Serialize>(table: &mut Table, mut object: K) -> bool {
    object.project();
    let (Some(key), Ok(packed)) = (AttemptKey::of(&object), serde_json::to_vec(&object)) else { return false };
    let (name, packed) = (object.name_any(), packed.into_boxed_slice());
    let objects = table.entry(key).or_insert_with(|| Vec::with_capacity(1));
    match objects.iter_mut().find(|(known, _)| **known == *name) {
        Some((_, known)) if *known == packed => false,
        Some((_, known)) => {
            *known = packed;
            true
        }
        None => {
            objects.push((name.into(), packed));
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
    K: Projected + Serialize + Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
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
                tell(&trigger, &object);
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
                tell(&trigger, &object);
            }
            // The watcher recovers by itself, with a backoff.
            Err(error) => warn!(kind = %K::kind(&()), %error, "watch interrupted"),
        }
    }
}

/// Names the Task that `object` works for, so that it is reconciled.
pub(super) fn tell(trigger: &Trigger, object: &impl Resource) {
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

    fn job(change: &Value) -> Job {
        let mut job = json!({
            "metadata": {
                "name": "jct-a-1", "uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-03-01T12:00:00Z",
                "labels": {names::TASK_ID_LABEL: "a", names::ATTEMPT_LABEL: "1", "app": "x"},
                "annotations": {names::TASK_NAMESPACE: "team", names::TASK_NAME: "look", "note": "n".repeat(1000)},
                "managedFields": [{"manager": "jct"}],
            },
            "spec": {"template": {"spec": {"containers": [{"name": "worker", "image": "i".repeat(1000)}]}}},
        });
        json_patch::merge(&mut job, change);
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn of_a_job_a_few_hundred_bytes_are_kept_and_what_no_pass_looks_at_is_no_news() {
        let index: Index<Job> = Index::default();
        assert!(index.put(job(&json!({}))));
        assert!(!index.put(job(&json!({"metadata": {"resourceVersion": "8"}, "status": {"active": 1, "ready": 1}}))));
        let key = AttemptKey { task_id: "a".into(), attempt: 1 };
        let kept = index.get(&key);
        assert_eq!((kept.len(), kept[0].metadata.name.as_deref()), (1, Some("jct-a-1")));
        assert_eq!(task_of(&*kept[0]), Some(("team".into(), "look".into())));
        let bytes: usize = index.table()[&key].iter().map(|(_, packed)| packed.len()).sum();
        assert!(bytes < 600, "{bytes}");
        let condition = json!({"type": "Complete", "status": "True"});
        for news in [
            json!({"status": {"active": 1, "conditions": [condition]}}),
            json!({"spec": {"ttlSecondsAfterFinished": 600}}),
            json!({"metadata": {"deletionTimestamp": "2026-03-01T12:00:01Z"}}),
        ] {
            assert!(index.put(job(&news)) && !index.put(job(&news)), "{news}");
        }
        index.remove(&job(&json!({})));
        assert!(index.table().is_empty());
    }
}
