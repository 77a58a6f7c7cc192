//! The controller, put together: watches, triggers, concurrency, shutdown.

use std::sync::Arc;
use std::time::Instant;

use futures::channel::mpsc;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::controller::{Action, Config};

use kube::runtime::reflector;
use kube::runtime::{Controller, Predicate as _, PredicateConfig, WatchStreamExt as _, predicates, watcher};
use kube::{Resource as _, ResourceExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::task::{Object, reconcile};
use super::workers::{Workers, follow, task_ref};
use super::{Context, Error, orphans};
use crate::runtime::metrics::ReconcileLabels;

/// Runs the controller until `shutdown`; passes under way end first. Says on `ready` when the caches are filled.
pub async fn run(context: Arc<Context>, concurrency: u16, ready: watch::Sender<bool>, shutdown: CancellationToken) {
    let (trigger, triggered) = mpsc::unbounded();
    let (jobs_ready, mut jobs_are) = watch::channel(false);
    let (pods_ready, mut pods_are) = watch::channel(false);
    let namespace = context.jobs.namespace.clone();
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let of_jobs = {
        let workers = context.workers.clone();
        follow(jobs, move || workers.clone(), |workers: &Workers| &workers.jobs, trigger.clone(), jobs_ready)
    };
    let of_pods = {
        let workers = context.workers.clone();
        follow(pods, move || workers.clone(), |workers: &Workers| &workers.pods, trigger, pods_ready)
    };
    let followers = tokio::spawn(futures::future::join(of_jobs, of_pods));

    // A pass that took an unfilled cache for the truth would look for Jobs one by one.
    let filled = async { jobs_are.wait_for(|is| *is).await.is_ok() && pods_are.wait_for(|is| *is).await.is_ok() };
    tokio::select! {
        filled = filled => if !filled { return },
        () = shutdown.cancelled() => {
            followers.abort();
            return;
        }
    }

    let (reader, writer) = reflector::store();
    let tasks: Api<Object> = Api::all(context.client.clone());
    let watched = watcher(tasks, watcher::Config::default())
        .default_backoff()
        .modify(|object| object.meta_mut().managed_fields = None)
        .reflect(writer)
        // Not `Store::wait_until_ready`: the controller waits on it too, and only the last to wait is woken.
        .inspect_ok(move |event| {
            if matches!(event, watcher::Event::InitDone) && !ready.send_replace(true) {
                info!("controller is ready");
            }
        })
        .touched_objects()
        // Our own status writes are no news; edits of the spec, deletions, cancellations and finalizers are.
        .predicate_filter(
            predicates::generation.combine(predicates::finalizers).combine(predicates::annotations),
            PredicateConfig::default(),
        );
    let sweeper = tokio::spawn(orphans::watch(context.clone(), reader.clone(), shutdown.clone()));
    let stop = shutdown.clone();
    Controller::for_stream(watched, reader)
        .with_config(Config::default().concurrency(concurrency))
        .reconcile_on(triggered.map(task_ref))
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(pass, failed, context)
        .for_each(|result| async move {
            // Failures of passes are logged where they are handled; here remain those of the machinery.
            if let Err(kube::runtime::controller::Error::QueueError(error)) = result {
                warn!(%error, "watch of Tasks interrupted");
            }
        })
        .await;
    followers.abort();
    // It ends between two Tasks, on the same signal.
    let _ = sweeper.await;
    info!("controller stopped");
}

async fn pass(object: Arc<Object>, context: Arc<Context>) -> Result<Action, Error> {
    let began = Instant::now();
    let metrics = context.metrics.clone();
    let result = reconcile(object, context).await;
    let label = result.as_ref().err().map_or("ok", Error::category);
    metrics.reconciles.get_or_create(&ReconcileLabels { result: label }).inc();
    metrics.reconcile_seconds.observe(began.elapsed().as_secs_f64());
    result
}

/// Called for a pass that failed: logs it once and says when to try again.
fn failed(object: Arc<Object>, error: &Error, context: Arc<Context>) -> Action {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let trace_id = object.annotations().get(crate::crd::names::TRACE_ID).map_or("", String::as_str);
    if let Error::Invalid(_) = error {
        warn!(namespace, name, trace_id, %error, "Task cannot be handled; waiting for an edit");
        return Action::await_change();
    }
    let wait = context.backoff.failed(object.meta().uid.as_deref().unwrap_or_default());
    warn!(namespace, name, trace_id, %error, category = error.category(), retry_in = ?wait, "pass failed");
    Action::requeue(wait)
}
