//! The attempt's worker: looked at, started, ended.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy};
use serde_json::json;

use super::lost::shown;
use super::observe::{Limits, Observation, clock_behind, has_place, is_finished, observe};
use super::validate::Validated;
use super::{credential, jobs};
use crate::crd::names;
use crate::domain::Phase;
use crate::domain::executor::{Executor, NoExecutor};
use crate::domain::id::sha256_hex;
use crate::domain::model::Record;
use crate::domain::trace::task_json;
use crate::jobs::{Attempt, Broker, JobSettings, job, job_name};
use crate::reconcile::queue::turns::TaskKey;
use crate::reconcile::workers::AttemptKey;
use crate::reconcile::{Context, Error};
use crate::store::{Failure, MarkRunning, StartAttempt, TaskRow};

/// What was seen of an attempt.
#[derive(Clone, Debug)]
pub struct Observed {
    /// By Kubernetes.
    pub observation: Observation,
    /// Whether its worker has begun, by the record or the trace folder.
    pub has_begun: bool,
    /// Whether the observation may become another one by time alone.
    pub has_limit: bool,
}

/// Since when the Task waits for what it waits for: its worker, or to have one.
pub fn waits_since(context: &Context, row: &TaskRow) -> Timestamp {
    let jobs = context.workers.jobs.get(&AttemptKey::new(row.id, row.attempt));
    let job = jobs.first().filter(|_| row.attempt_is_open());
    let made_at = job.and_then(|job| Some(job.metadata.creation_timestamp.as_ref()?.0));
    made_at.or(row.queued_at).unwrap_or(row.created_at)
}

/// Looks at the open attempt of `row`. Caches first; an absence is confirmed at the API server and on the volume.
///
/// # Errors
/// If the API server or the volume does not answer.
pub async fn inspect(context: &Context, task: &Validated, row: &TaskRow) -> Result<Observed, Error> {
    if !row.attempt_is_open() {
        return Ok(Observed { observation: Observation::Missing, has_begun: false, has_limit: false });
    }
    let key = AttemptKey::new(row.id, row.attempt);
    let mut jobs_seen = context.workers.jobs.get(&key);
    let pods_seen = context.workers.pods.get(&key);
    if jobs_seen.is_empty() && pods_seen.is_empty() {
        let name = job_name(row.id, row.attempt);
        let found = jobs(context).get_opt(&name).await.map_err(Error::api("read a Job"))?;
        jobs_seen.extend(found.filter(|job| is_ours(job, row)).map(std::sync::Arc::new));
    }
    let mut pods: Vec<&Pod> = pods_seen.iter().map(AsRef::as_ref).collect();
    let listed;
    if pods.is_empty() && jobs_seen.first().is_none_or(|job| is_finished(job)) {
        // No Job: a pod of it may still be ending, and must not meet a successor. A Job that has ended, and no pod: the
        // watch of pods may lag behind that of Jobs, and the pod knows better why it ended.
        let api: Api<Pod> = Api::namespaced(context.client.clone(), &context.jobs.namespace);
        let selector =
            format!("{}={},{}={}", names::TASK_ID_LABEL, row.id.to_lowercase(), names::ATTEMPT_LABEL, row.attempt);
        listed = api.list(&ListParams::default().labels(&selector)).await.map_err(Error::api("list pods"))?.items;
        pods = listed.iter().collect();
    }
    credential::tend(context, row, jobs_seen.first().map(AsRef::as_ref), &pods).await;
    let observation = observe(jobs_seen.first().map(AsRef::as_ref), &pods, limits(context, row), context.clock.now());
    for pod in &pods {
        let host = pod.status.as_ref().and_then(|status| status.host_ip.as_deref()).unwrap_or_default();
        context.clock.node_is_behind(host, clock_behind(pod));
    }
    let pod = pods.first().and_then(|pod| pod.metadata.name.as_deref());
    let trouble = pod.or(row.job_name.as_deref()).and_then(|name| context.workers.troubles.of(name));
    let observation = observation.explained(trouble);
    let has_begun = observation == Observation::Missing && has_begun(context, task, row).await?;
    Ok(Observed { observation, has_begun, has_limit: pods.iter().any(|pod| has_place(pod)) })
}

/// How long a worker that runs since a moment has, before it has outlived all limits.
pub fn time_left(context: &Context, row: &TaskRow, since: Timestamp) -> Duration {
    let ran = Duration::try_from(context.clock.now().duration_since(since)).unwrap_or_default();
    limits(context, row).run_timeout.saturating_sub(ran) + Duration::from_secs(1)
}

fn limits(context: &Context, row: &TaskRow) -> Limits {
    let budget = Duration::from_secs(row.task.constraints.time_budget_seconds.into());
    // The kubelet ends the pod at budget + grace; what runs on for two minutes more has no kubelet.
    let run_timeout = budget + context.timing.grace + Duration::from_secs(120);
    Limits { start_timeout: context.timing.start_timeout, run_timeout }
}

/// Whether the worker of the open attempt is known to have begun: by the record, by the status of the object, which may know
/// more than a record that was restored, or by the trace folder. Such an attempt is never started again. Volume.
///
/// # Errors
/// If the volume does not answer.
pub async fn has_begun(context: &Context, task: &Validated, row: &TaskRow) -> Result<bool, Error> {
    let shown = shown(task.status.as_ref());
    if row.phase == Phase::Running || (shown.runs && shown.attempt == row.attempt) {
        return Ok(true);
    }
    let (traces, namespace, id, attempt) = (context.traces.clone(), row.namespace.clone(), row.id, row.attempt);
    blocking(move || traces.has_begun(&namespace, id, attempt)).await.map_err(Error::volume("look into a trace folder"))
}

/// Why the last attempt failed, as far as the record knows. Database.
///
/// # Errors
/// If the database does not answer.
pub async fn last_failure(context: &Context, row: &TaskRow) -> Result<Option<Failure>, Error> {
    let jobs = context.store.jobs(row.id).await.map_err(Error::store("read the attempts of a Task"))?;
    Ok(jobs.into_iter().find(|job| job.attempt == row.attempt).and_then(|job| job.error))
}

/// Records that an attempt starts. The Job follows: see [`create_job`].
///
/// # Errors
/// If the database does not take it.
pub async fn start(context: &Context, row: &TaskRow, attempt: u32) -> Result<TaskRow, Error> {
    let start = StartAttempt::of(row, attempt, job_name(row.id, attempt), context.clock.now());
    context.store.start_attempt(start).await.map_err(Error::store("record the start of an attempt"))
}

/// What does the work of the Task, by the configuration as it is now.
///
/// # Errors
/// When nothing does.
pub fn executor(context: &Context, row: &TaskRow) -> Result<Executor, NoExecutor> {
    context.executors().resolve(&row.namespace, row.task.operation, row.executor.as_deref()).cloned()
}

/// Prepares the trace folder and creates the Job of the open attempt. Repeating it is harmless.
///
/// # Errors
/// If the volume cannot be written or the API server refuses the Job.
pub async fn create_job(context: &Context, row: &TaskRow) -> Result<(), Error> {
    // The next pass ends the attempt, should the executor be gone since it was decided that there is one.
    let Ok(mut executor) = executor(context, row) else { return Ok(()) };
    // What was granted when the gate was asked may be so no more: then the broker refuses all that is asked.
    let granted = context.models().granted(&executor, row.model.as_ref(), &row.namespace, &row.task.target.repo);
    if let (Some(model), Ok(Some(granted))) = (&mut executor.model, granted) {
        model.aliases = granted.aliases;
    }
    let task_json = task_json(&row.task);
    let task_sha256 = sha256_hex(&task_json);
    let (traces, namespace, id, number) = (context.traces.clone(), row.namespace.clone(), row.id, row.attempt);
    blocking(move || traces.prepare(&namespace, id, number, &task_json))
        .await
        .map_err(Error::volume("prepare a trace folder"))?;
    let attempt = Attempt {
        task_id: row.id,
        trace_id: &row.trace_id,
        namespace: &row.namespace,
        name: &row.name,
        task: &row.task,
        executor: &executor,
        number: row.attempt,
        task_sha256: &task_sha256,
    };
    let (authorities, bodies) =
        (context.broker_authorities.borrow().clone(), context.models().record == Record::Bodies);
    let broker = Broker { authorities, bodies, ..context.jobs.broker.clone() };
    let forge = credential::source_forge(context, row);
    let job = job(&attempt, &JobSettings { broker, forge, ..context.jobs.clone() });
    context.starts.wait_turn(&TaskKey::new(&row.namespace, &row.name)).await;
    match jobs(context).create(&PostParams::default(), &job).await {
        Ok(created) => {
            // So that the next pass sees it, whenever the watch delivers it.
            context.workers.jobs.put(created);
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let name = job_name(row.id, row.attempt);
            let found = jobs(context).get_opt(&name).await.map_err(Error::api("read a Job"))?;
            match found {
                Some(found) if !is_ours(&found, row) => {
                    Err(Error::Invalid("a Job name of its own: another Job has it"))
                }
                _ => Ok(()),
            }
        }
        Err(error) => Err(Error::api("create a Job")(error)),
    }
}

/// Records that the worker runs, if that is news. Returns the row as it then is.
///
/// # Errors
/// If the database does not take it.
pub async fn note_running(context: &Context, row: TaskRow, pod: String, since: Timestamp) -> Result<TaskRow, Error> {
    if row.phase == Phase::Running && row.assigned_to.as_deref() == Some(&pod) {
        return Ok(row);
    }
    let running = MarkRunning { task_id: row.id, attempt: row.attempt, worker_id: pod, commit: None, at: since };
    context.store.mark_running(running).await.map_err(Error::store("record that a worker runs"))
}

/// Tells the worker that it is about to end because somebody wants that: its trace then says so.
///
/// # Errors
/// If the volume cannot be written.
pub async fn announce_cancel(context: &Context, row: &TaskRow) -> Result<(), Error> {
    let (traces, namespace, id, attempt) = (context.traces.clone(), row.namespace.clone(), row.id, row.attempt);
    blocking(move || traces.announce_cancel(&namespace, id, attempt)).await.map_err(Error::volume("announce a cancel"))
}

/// Deletes the open attempt's Job; its pod has its grace period to seal the trace.
///
/// # Errors
/// If the API server refuses. A Job that is gone is no error.
pub async fn end_job(context: &Context, row: &TaskRow) -> Result<(), Error> {
    // Foreground: the Job stays until its pod is gone, so that we see when nothing runs any more.
    let parameters =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    let deleted = jobs(context).delete(&job_name(row.id, row.attempt), &parameters).await;
    Error::unless_gone("delete a Job", deleted).map(drop)
}

/// Lets Kubernetes remove the last attempt's Job after a while, now that its outcome is recorded.
///
/// # Errors
/// If the API server refuses. A Job that is gone is no error.
pub async fn retire_job(context: &Context, row: &TaskRow) -> Result<(), Error> {
    let seen = context.workers.jobs.get(&AttemptKey::new(row.id, row.attempt));
    for job in seen {
        let retired = job.spec.as_ref().is_some_and(|spec| spec.ttl_seconds_after_finished.is_some());
        if retired || job.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let Some(name) = &job.metadata.name else { continue };
        let patch = Patch::Merge(json!({"spec": {"ttlSecondsAfterFinished": context.timing.job_ttl_seconds}}));
        let retired = jobs(context).patch(name, &PatchParams::default(), &patch).await;
        if let Some(job) = Error::unless_gone("retire a Job", retired)? {
            context.workers.jobs.put(job);
        }
    }
    Ok(())
}

fn is_ours(job: &Job, row: &TaskRow) -> bool {
    let labels = job.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(names::TASK_ID_LABEL)).is_some_and(|id| *id == row.id.to_lowercase())
}

/// Runs file work where it may block.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
