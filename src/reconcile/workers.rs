//! Jobs and pods of attempts, cached by attempt. Reads come from here; what must be certain is asked of the API server.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use futures::channel::mpsc::UnboundedSender;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Resource, ResourceExt as _};
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

type Table<K> = HashMap<AttemptKey, BTreeMap<String, Arc<K>>>;

/// The objects of one kind, by attempt and name.
#[derive(Debug)]
pub struct Index<K>(Mutex<Table<K>>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(Mutex::default())
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
    }
}

impl Projected for Pod {
    fn project(&mut self) {
        project_metadata(self.meta_mut());
        self.spec = None;
    }
}

fn project_metadata(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.owner_references = None;
    if let Some(labels) = &mut metadata.labels {
        labels.retain(|name, _| [names::TASK_ID_LABEL, names::ATTEMPT_LABEL].contains(&name.as_str()));
    }
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, _| [names::TASK_NAMESPACE, names::TASK_NAME].contains(&name.as_str()));
    }
}

impl<K: Projected> Index<K> {
    /// The objects of an attempt, by name.
    pub fn get(&self, key: &AttemptKey) -> Vec<Arc<K>> {
        let Ok(table) = self.0.lock() else { return Vec::new() };
        table.get(key).map(|objects| objects.values().cloned().collect()).unwrap_or_default()
    }

    /// Adds or replaces an object.
    pub fn put(&self, object: K) {
        if let Ok(mut table) = self.0.lock() {
            insert(&mut table, object);
        }
    }

    fn remove(&self, object: &K) {
        let (Some(key), Ok(mut table)) = (AttemptKey::of(object), self.0.lock()) else { return };
        if let Some(objects) = table.get_mut(&key) {
            objects.remove(&object.name_any());
            if objects.is_empty() {
                table.remove(&key);
            }
        }
    }

    fn replace(&self, fresh: Table<K>) {
        if let Ok(mut table) = self.0.lock() {
            *table = fresh;
        }
    }
}

fn insert<K: Projected>(table: &mut Table<K>, mut object: K) {
    object.project();
    if let Some(key) = AttemptKey::of(&object) {
        table.entry(key).or_default().insert(object.name_any(), Arc::new(object));
    }
}

/// The Jobs and pods of all attempts.
#[derive(Debug, Default)]
pub struct Workers {
    /// Jobs.
    pub jobs: Index<Job>,
    /// Their pods.
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
    K: Projected + Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let selector = format!("{}={}", names::MANAGED_BY_LABEL, names::MANAGED_BY);
    let config = lists::config().labels(&selector);
    let stream = watch::watcher(api, config).default_backoff().modify(Projected::project);
    let workers = index();
    let index = pick(&workers);
    let mut fresh: Table<K> = HashMap::new();
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
                index.put(object);
                send(&trigger, task);
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

/// A reference to a Task by namespace and name.
pub fn task_ref<K: Resource<DynamicType = ()>>((namespace, name): (String, String)) -> ObjectRef<K> {
    ObjectRef::new(&name).within(&namespace)
}
