//! The controllers, put together: watches, triggers, concurrency, shutdown. One for Tasks, one for each kind of work
//! object, all alike.

use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use futures::channel::mpsc;
use futures::future::{join, join_all, join3};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::controller::Config;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, Predicate as _, PredicateConfig, WatchStreamExt as _, predicates, watcher};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::error::Backoff;
use super::metrics::ReconcileLabels;
use super::queue::Queue;
use super::queue::cache::Tasks;
use super::task;
use super::work_object::WorkObject;
use super::work_object::waiting::Place;
use super::workers::{Workers, follow};
use super::{Action, Context, Error, lists, orphans, retention, review, troubles, work_object};
use crate::crd::cwom::api_resource;
use crate::crd::names::TRACE_ID;
use crate::domain::cwom::Kind;

/// The text of the specs, in KiB, that passes under way read together: parsed, recorded and written down it takes some
/// twenty times that. A spec that has more goes alone.
const SPECS_AT_ONCE_KIB: usize = 2048;

/// Runs the controllers until `shutdown`; passes under way end first. Says on `ready` when the caches are filled.
pub async fn run(context: Arc<Context>, concurrency: u16, ready: watch::Sender<bool>, shutdown: CancellationToken) {
    let (trigger, triggered) = mpsc::unbounded();
    let (jobs_ready, mut jobs_are) = watch::channel(false);
    let (pods_ready, mut pods_are) = watch::channel(false);
    let namespace = context.jobs.namespace.clone();
    let lists = lists::one_at_a_time(&context.client);
    let jobs: Api<Job> = Api::namespaced(lists.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(lists.clone(), &namespace);
    let of_jobs = {
        let workers = context.workers.clone();
        follow(jobs, move || workers.clone(), |workers: &Workers| &workers.jobs, trigger.clone(), jobs_ready)
    };
    let of_pods = {
        let workers = context.workers.clone();
        follow(pods, move || workers.clone(), |workers: &Workers| &workers.pods, trigger.clone(), pods_ready)
    };
    let of_events =
        troubles::follow(Api::namespaced(lists.clone(), &namespace), context.workers.clone(), trigger.clone());
    let followers = tokio::spawn(join3(of_jobs, of_pods, of_events));

    // A pass that took an unfilled cache for the truth would look for Jobs one by one.
    let filled = async { jobs_are.wait_for(|is| *is).await.is_ok() && pods_are.wait_for(|is| *is).await.is_ok() };
    tokio::select! {
        filled = filled => if !filled { return },
        () = shutdown.cancelled() => {
            followers.abort();
            return;
        }
    }

    let caches = Arc::new(Caches { unfilled: AtomicUsize::new(1 + Kind::ALL.len()), ready });
    let specs = Arc::new(Semaphore::new(SPECS_AT_ONCE_KIB));
    let deps = ControllerDeps { context, lists, concurrency, specs, caches, shutdown };
    let objects = Kind::ALL.iter().map(|kind| of_objects(&deps, *kind));
    join(of_tasks(&deps, trigger, triggered), join_all(objects)).await;
    followers.abort();
    info!("controller stopped");
}

/// What the controllers have in common.
struct ControllerDeps {
    context: Arc<Context>,
    lists: Client,
    concurrency: u16,
    /// One permit for each KiB of a spec that a pass may read.
    specs: Arc<Semaphore>,
    caches: Arc<Caches>,
    shutdown: CancellationToken,
}

/// Counts the caches that are filled.
struct Caches {
    unfilled: AtomicUsize,
    ready: watch::Sender<bool>,
}

impl Caches {
    fn filled(&self) {
        if self.unfilled.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ready.send_replace(true);
            info!("controller is ready");
        }
    }
}

async fn of_tasks(
    deps: &ControllerDeps,
    trigger: mpsc::UnboundedSender<(String, String)>,
    triggered: impl Stream<Item = (String, String)> + Send + 'static,
) {
    let context = deps.context.clone();
    let notified = context.clone();
    // A Run shows how its Task is: what becomes of the one is news of the other.
    let news = move |object: &task::Object| {
        if let Some(run) = run_of(object) {
            notified.objects.triggers.send(run);
        }
        // A word in the status, which calls for no pass by itself.
        if object.is_decided()
            && let (Some(namespace), Some(name)) = (object.namespace(), &object.metadata.name)
        {
            // The receiver lives as long as the controller.
            let _ = trigger.unbounded_send((namespace, name.clone()));
        }
    };
    let tasks = Arc::new(Tasks::default());
    let (filled, is_filled) = tokio::sync::oneshot::channel();
    let caches = deps.caches.clone();
    let note = move || {
        // Whoever waited for it may be gone.
        let _ = filled.send(());
        caches.filled();
    };
    let sweeper = tokio::spawn(orphans::watch(context.clone(), tasks.clone(), deps.shutdown.clone()));
    let reviews = tokio::spawn(review::watch(context.clone(), deps.shutdown.clone()));
    let (there, shutdown) = (tasks.clone(), deps.shutdown.clone());
    let retention = tokio::spawn({
        let context = context.clone();
        async move {
            tokio::select! {
                // Before the cache is filled, every idempotency key looks like one that nobody has.
                Ok(()) = is_filled => retention::watch(context, there, shutdown.clone()).await,
                () = shutdown.cancelled() => {}
            }
        }
    });
    let events = watcher(Api::all(deps.lists.clone()), lists::config()).default_backoff();
    let queue = Queue::new(context, tasks, deps.specs.clone(), deps.concurrency);
    queue.run(events, triggered, news, note, deps.shutdown.clone()).await;
    // They end between two Tasks, on the same signal.
    let _ = sweeper.await;
    let _ = reviews.await;
    let _ = retention.await;
}

async fn of_objects(deps: &ControllerDeps, kind: Kind) {
    let context = deps.context.clone();
    let resource = api_resource(kind);
    let triggered = context.objects.triggers.open(kind).map({
        let resource = resource.clone();
        move |(namespace, name): (String, String)| ObjectRef::new_with(&name, resource.clone()).within(&namespace)
    });
    let (filled, is_filled) = tokio::sync::oneshot::channel();
    let mut filled = Some(filled);
    let note = move || {
        // Whoever waited for it may be gone.
        let _ = filled.take().map(|filled| filled.send(()));
    };
    let watched = Watched::new(deps, Api::all_with(deps.lists.clone(), &resource), resource, |_| {}, note);
    let (reader, shutdown) = (watched.reader.clone(), deps.shutdown.clone());
    let sweeper = tokio::spawn(async move {
        tokio::select! {
            // Before its cache is filled, every object looks like one that is gone.
            Ok(()) = is_filled => work_object::orphans::watch(context, kind, reader, shutdown.clone()).await,
            () = shutdown.cancelled() => {}
        }
    });
    let pass = move |object: Arc<WorkObject>, context: Arc<Context>| async move {
        work_object::reconcile(kind, &object, &context).await
    };
    watched.control(deps, kind, triggered, |object| object.spec_bytes, pass).await;
    let _ = sweeper.await;
}

/// The Run that a Task carries out.
fn run_of(object: &task::Object) -> Option<Place> {
    let owner = object.owner_references().iter().find(|owner| owner.kind == Kind::Run.as_str())?;
    Some(Place { kind: Kind::Run, namespace: object.namespace()?, name: owner.name.clone() })
}

/// The objects of a kind: their cache, and what of their changes calls for a pass.
struct Watched<K: Resource + 'static, S>
where
    K::DynamicType: Hash + Eq,
{
    reader: Store<K>,
    type_: K::DynamicType,
    changes: S,
}

impl<K> Watched<K, ()>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Debug + Eq + Hash + Clone + Unpin + Send + Sync,
{
    /// Watches all objects behind `api`. Every one that comes or changes is shown to `news`; `filled` is told once, when the
    /// cache is filled.
    fn new(
        deps: &ControllerDeps,
        api: Api<K>,
        type_: K::DynamicType,
        news: impl Fn(&K) + Send + 'static,
        mut filled: impl FnMut() + Send + 'static,
    ) -> Watched<K, impl Stream<Item = Result<K, watcher::Error>> + Send + 'static> {
        let writer = Writer::new(type_.clone());
        let reader = writer.as_reader();
        let (caches, is_filled) = (deps.caches.clone(), AtomicBool::new(false));
        let changes = watcher(api, lists::config())
            .default_backoff()
            .reflect(writer)
            // Not `Store::wait_until_ready`: the controller waits on it too, and only the last to wait is woken.
            .inspect_ok(move |event| {
                if matches!(event, watcher::Event::InitDone) && !is_filled.swap(true, Ordering::AcqRel) {
                    filled();
                    caches.filled();
                }
            })
            .touched_objects()
            .inspect_ok(move |object| news(object))
            // Our own status writes are no news; edits of the spec, deletions, cancellations and finalizers are.
            .predicate_filter(
                predicates::generation.combine(predicates::finalizers).combine(predicates::annotations),
                PredicateConfig::default(),
            );
        Watched { reader, type_, changes }
    }
}

impl<K, S> Watched<K, S>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Debug + Eq + Hash + Clone + Unpin + Send + Sync,
    S: Stream<Item = Result<K, watcher::Error>> + Send + 'static,
{
    /// Calls `pass` for each object that changed or is triggered, until shutdown. `spec_bytes` is how much it may have to read.
    async fn control<F>(
        self,
        deps: &ControllerDeps,
        kind: Kind,
        triggered: impl Stream<Item = ObjectRef<K>> + Send + 'static,
        spec_bytes: impl Fn(&K) -> usize + Send + Sync + Clone + 'static,
        pass: impl Fn(Arc<K>, Arc<Context>) -> F + Send + Sync + Clone + 'static,
    ) where
        F: Future<Output = Result<Action, Error>> + Send + 'static,
    {
        let stop = deps.shutdown.clone();
        let specs = deps.specs.clone();
        let called = kind.as_str();
        let weighed = move |object: Arc<K>, context: Arc<Context>| {
            let kib = permits_for(spec_bytes(&object));
            let (specs, pass) = (specs.clone(), pass.clone());
            async move {
                // The semaphore is never closed.
                let _held = specs.acquire_many(kib).await;
                pass(object, context).await
            }
        };
        Controller::for_stream_with(self.changes, self.reader, self.type_)
            .with_config(Config::default().concurrency(deps.concurrency))
            .reconcile_on(triggered)
            .graceful_shutdown_on(async move { stop.cancelled().await })
            .run(
                move |object, context| {
                    let passed = measured(called, context.clone(), weighed(object, context));
                    async move { passed.await.map(Into::into) }
                },
                move |object, error, context| {
                    failed(called, &*object, error, &context.objects.notes(kind).backoff).into()
                },
                deps.context.clone(),
            )
            .for_each(|result| async move {
                // Failures of passes are logged where they are handled; here remain those of the machinery.
                if let Err(kube::runtime::controller::Error::QueueError(error)) = result {
                    warn!(kind = called, %error, "watch interrupted");
                }
            })
            .await;
    }
}

/// How many permits a pass needs that may read so many bytes of a spec.
pub(super) fn permits_for(spec_bytes: usize) -> u32 {
    u32::try_from((spec_bytes / 1024 + 1).min(SPECS_AT_ONCE_KIB)).unwrap_or(u32::MAX)
}

/// Counts a pass and its time.
pub(super) async fn measured(
    kind: &'static str,
    context: Arc<Context>,
    pass: impl Future<Output = Result<Action, Error>>,
) -> Result<Action, Error> {
    let began = Instant::now();
    let result = pass.await;
    let label = result.as_ref().err().map_or("ok", Error::category);
    context.metrics.reconciles.get_or_create(&ReconcileLabels { kind, result: label }).inc();
    context.metrics.reconcile_seconds.observe(began.elapsed().as_secs_f64());
    result
}

/// Called for a pass that failed: logs it once and says when to try again.
pub(super) fn failed(kind: &'static str, object: &impl Resource, error: &Error, backoff: &Backoff) -> Action {
    let metadata = object.meta();
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let trace_id = metadata.annotations.as_ref().and_then(|annotations| annotations.get(TRACE_ID));
    let trace_id = trace_id.map_or("", String::as_str);
    if let Error::Invalid(_) = error {
        warn!(kind, namespace, name, trace_id, %error, "object cannot be handled; waiting for an edit");
        return Action::await_change();
    }
    let wait = backoff.failed(metadata.uid.as_deref().unwrap_or_default());
    warn!(kind, namespace, name, trace_id, %error, category = error.category(), retry_in = ?wait, "pass failed");
    Action::requeue(wait)
}
