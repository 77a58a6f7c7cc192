//! What Job and pod say of an attempt. Pure: no client, no clock but the time passed in.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use crate::crd::status::Reason;
use crate::domain::FailureReason;
use crate::domain::provenance::ContainerImage;
use crate::domain::trace::Termination;
use crate::jobs::{EXECUTOR_CONTAINER, SOURCE_CONTAINER, WORKER_CONTAINER};
use crate::outcome::Ended;
use crate::reconcile::troubles::Trouble;

/// Where an attempt is, by the account of Kubernetes.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// There is no Job.
    Missing,
    /// The worker has not begun, for a reason with a name.
    Waiting(Reason, String),
    Running {
        pod: String,
        since: Timestamp,
    },
    /// The worker cannot start, or runs on past all limits: the Job is to be ended, and the attempt fails with this.
    Stuck(FailureReason, String),
    /// The Job is being deleted; its pod still ends.
    Ending,
    /// No pod of the attempt runs any more.
    Ended(Ended),
}

impl Observation {
    /// The same, with what the cluster says besides of a start that does not come.
    #[must_use]
    pub fn explained(self, trouble: Option<Trouble>) -> Self {
        match (self, trouble) {
            (Self::Waiting(Reason::JobCreated, _), Some(Trouble { reason, words })) => Self::Waiting(reason, words),
            (Self::Stuck(FailureReason::StartFailed, message), Some(Trouble { words, .. })) => {
                Self::Stuck(FailureReason::StartFailed, format!("{message}: {words}"))
            }
            (observation, _) => observation,
        }
    }
}

/// The limits that make an attempt stuck.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the Job's creation to the worker's start, where something is wrong with the start.
    pub start_timeout: Duration,
    /// From the worker's start to its end.
    pub run_timeout: Duration,
}

/// Why a container waits, when it is not on its way.
const IMAGE_TROUBLE: [&str; 6] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "ImageInspectError",
];
/// Image trouble that waiting does not mend.
const IMAGE_HOPELESS: [&str; 2] = ["InvalidImageName", "ErrImageNeverPull"];
const START_TROUBLE: [&str; 5] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CreatePodSandboxError",
    "PostStartHookError",
];

/// What `job` and its `pods` say at `now`.
pub fn observe(job: Option<&Job>, pods: &[&Pod], limits: Limits, now: Timestamp) -> Observation {
    // There is one pod for an attempt; were there two, the one that found the other there before it tells nothing, and of
    // the rest the newest tells.
    let pod = pods.iter().max_by_key(|pod| (!found_another(pod), pod.metadata.creation_timestamp.clone()));
    if let Some(pod) = pod
        && is_over(pod)
    {
        return Observation::Ended(ended(pod));
    }
    let Some(job) = job else {
        return if pod.is_some() { Observation::Ending } else { Observation::Missing };
    };
    if pod.is_none() && is_finished(job) {
        let why = "the worker's pod is gone; its Job has failed without telling why".to_owned();
        let mut ended = Ended::unseen(FailureReason::Interrupted, why);
        ended.failure = ended.failure.filter(|_| condition(job, "Failed"));
        return Observation::Ended(ended);
    }
    if job.metadata.deletion_timestamp.is_some() {
        return Observation::Ending;
    }
    let created_at = job.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    match pod {
        Some(pod) => unfinished(job, pod, created_at, limits, now),
        None => starting(job),
    }
}

/// What an attempt waits for from the Job's creation to the worker's start: one text, lest each step of a start that takes
/// a second costs a write of the status.
///
/// Usually a pod comes within milliseconds; else quota or admission stand in the way, of which [`Observation::explained`] tells.
pub fn job_created(job_name: &str) -> (Reason, String) {
    (Reason::JobCreated, format!("Job {job_name} is created and waits for its pod to start"))
}

fn starting(job: &Job) -> Observation {
    let (reason, message) = job_created(job.metadata.name.as_deref().unwrap_or_default());
    Observation::Waiting(reason, message)
}

fn unfinished(job: &Job, pod: &Pod, created_at: Timestamp, limits: Limits, now: Timestamp) -> Observation {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let behind = clock_behind(pod);
    let running_since = running_since(pod).map(|since| since + behind);
    if running_since.is_some_and(|since| elapsed(since, now) > limits.run_timeout) {
        let message = format!("pod {name} has outlived its budget and its grace; its node may be lost");
        return Observation::Stuck(FailureReason::NodeLost, message);
    }
    // The image of the executor is pulled only when the source is there.
    let could_start_at = source_ended_at(pod).map_or(created_at, |at| (at + behind).max(created_at));
    let late = elapsed(could_start_at, now) > limits.start_timeout;
    for status in statuses(pod) {
        let Some(waiting) = status.state.as_ref().and_then(|state| state.waiting.as_ref()) else { continue };
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let detail = waiting.message.as_deref().unwrap_or_default();
        let message = format!("container {} of pod {name}: {reason}: {detail}", status.name);
        if IMAGE_TROUBLE.contains(&reason) {
            if late || IMAGE_HOPELESS.contains(&reason) {
                return Observation::Stuck(FailureReason::ImagePullFailed, message);
            }
            return Observation::Waiting(Reason::WaitingForImage, message);
        }
        if START_TROUBLE.contains(&reason) {
            if late {
                return Observation::Stuck(FailureReason::StartFailed, message);
            }
            return Observation::Waiting(Reason::WaitingForStart, message);
        }
    }
    if let Some(since) = running_since {
        return Observation::Running { pod: name, since };
    }
    match unscheduled(pod) {
        // A place may become free hours later: waiting in line is not failing.
        Some(message) => Observation::Waiting(Reason::WaitingForScheduling, message),
        None if late => {
            let message = format!("pod {name} has not started within {} s", limits.start_timeout.as_secs());
            Observation::Stuck(FailureReason::StartFailed, message)
        }
        None => starting(job),
    }
}

/// Whether the scheduler has not said that there is no place for the pod: from then on it has to start within a time.
pub fn has_place(pod: &Pod) -> bool {
    unscheduled(pod).is_none()
}

fn unscheduled(pod: &Pod) -> Option<String> {
    pod_condition(pod, "PodScheduled", "False")
}

/// When the pod got its node.
pub fn scheduled_at(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let found = conditions.iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == "True")?;
    found.last_transition_time.as_ref().map(|time| time.0)
}

/// Whether the container that fetches the source has ended, or never will begin.
pub fn source_has_ended(pod: &Pod) -> bool {
    source_ended_at(pod).is_some() || is_over(pod)
}

/// How far the clock of the pod's node is behind that of the control plane, at least: the kubelet says when it saw the pod first,
/// which was not before that was scheduled there, nor before it was made. That one is ahead can't be told from its being slow;
/// then things seem to have taken less time than they have, and nothing is ended for it.
pub fn clock_behind(pod: &Pod) -> SignedDuration {
    let status = pod.status.as_ref();
    let seen_at = status.and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    let began_at = running_since(pod).into_iter().chain(seen_at).min();
    let scheduled_at = status
        .and_then(|status| status.conditions.as_deref())
        .and_then(|all| all.iter().find(|one| one.type_ == "PodScheduled" && one.status == "True"))
        .and_then(|scheduled| scheduled.last_transition_time.as_ref());
    let there_at = scheduled_at.max(pod.metadata.creation_timestamp.as_ref()).map(|time| time.0);
    let behind = began_at.zip(there_at).map(|(began_at, there_at)| there_at.duration_since(began_at));
    behind.unwrap_or_default().max(SignedDuration::ZERO)
}

/// Since when any of the worker's containers has run.
fn running_since(pod: &Pod) -> Option<Timestamp> {
    statuses(pod)
        .filter_map(|status| status.state.as_ref())
        .filter_map(|state| {
            let running = state.running.as_ref().and_then(|running| running.started_at.as_ref());
            let ended = state.terminated.as_ref().and_then(|ended| ended.started_at.as_ref());
            running.or(ended).map(|time| time.0)
        })
        .min()
}

/// When the source was there, and the other containers could start.
fn source_ended_at(pod: &Pod) -> Option<Timestamp> {
    let source = statuses(pod).find(|status| status.name == SOURCE_CONTAINER)?;
    source.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|time| time.0)
}

/// The containers of a pod that have ended, in the order of their work.
fn terminated(pod: &Pod) -> Vec<(&ContainerStatus, &ContainerStateTerminated)> {
    let mut all: Vec<_> =
        statuses(pod).filter_map(|status| Some((status, status.state.as_ref()?.terminated.as_ref()?))).collect();
    let order = [SOURCE_CONTAINER, EXECUTOR_CONTAINER, WORKER_CONTAINER];
    all.sort_by_key(|(status, _)| order.iter().position(|name| *name == status.name));
    all
}

fn termination_message(end: &ContainerStateTerminated) -> Option<Termination> {
    serde_json::from_str(end.message.as_deref()?).ok()
}

/// Whether a pod of the same attempt was there before this one, which did nothing then.
fn found_another(pod: &Pod) -> bool {
    terminated(pod)
        .into_iter()
        .any(|(_, end)| termination_message(end).is_some_and(|termination| termination.claimed_by.is_some()))
}

fn ended(pod: &Pod) -> Ended {
    let (terminated, behind) = (terminated(pod), clock_behind(pod));
    // The source container ends first; if it failed, the others never ran. Of those, the recorder knows best.
    let failed = |name: &str| terminated.iter().find(|(status, end)| status.name == name && end.exit_code != 0);
    let decisive = failed(SOURCE_CONTAINER)
        .or_else(|| failed(WORKER_CONTAINER).filter(|(_, end)| termination_message(end).is_some()))
        .or_else(|| failed(EXECUTOR_CONTAINER))
        .or_else(|| failed(WORKER_CONTAINER))
        .or_else(|| terminated.last());
    let termination = decisive.and_then(|(_, end)| termination_message(end));
    let killed = failed(EXECUTOR_CONTAINER).map(|(_, end)| *end);
    let succeeded = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded");
    Ended {
        failure: if succeeded {
            None
        } else {
            Some(failure(pod, decisive.map(|(_, end)| *end), killed, termination.as_ref()))
        },
        exit_code: decisive.map(|(_, end)| end.exit_code),
        termination,
        pod: pod.metadata.name.clone(),
        started_at: running_since(pod).map(|at| at + behind),
        ended_at: terminated.iter().filter_map(|(_, end)| end.finished_at.as_ref().map(|time| time.0 + behind)).max(),
        images: images(pod),
    }
}

/// The images that the worker's containers ran, as the node tells.
pub fn images(pod: &Pod) -> Vec<ContainerImage> {
    let known = statuses(pod).filter(|status| !status.image.is_empty());
    let image = |status: &ContainerStatus| ContainerImage {
        container: status.name.clone(),
        image: status.image.clone(),
        image_id: status.image_id.clone(),
    };
    known.map(image).collect()
}

/// Why the pod failed: the worker's own word first, then what the node and the API server say of it.
fn failure(
    pod: &Pod,
    decisive: Option<&ContainerStateTerminated>,
    executor: Option<&ContainerStateTerminated>,
    termination: Option<&Termination>,
) -> (FailureReason, String) {
    let status = pod.status.as_ref();
    let detail = status.and_then(|status| status.message.clone()).unwrap_or_default();
    let reported = termination.and_then(|termination| {
        termination.reason.map(|reason| (reason, termination.message.clone().unwrap_or_default()))
    });
    let disruption = pod_condition_reason(pod, "DisruptionTarget");
    let by_pod = match (status.and_then(|status| status.reason.as_deref()).unwrap_or_default(), disruption) {
        ("Evicted", _) => Some(FailureReason::Evicted),
        ("DeadlineExceeded", _) => Some(FailureReason::TimeBudgetExceeded),
        ("NodeLost" | "NodeShutdown" | "Terminated", _) => Some(FailureReason::NodeLost),
        (
            _,
            Some(
                "EvictionByEvictionAPI"
                | "PreemptionByScheduler"
                | "PreemptionByKubeScheduler"
                | "TerminationByKubelet",
            ),
        ) => Some(FailureReason::Evicted),
        (_, Some("DeletionByPodGC" | "DeletionByTaintManager")) => Some(FailureReason::NodeLost),
        _ => None,
    };
    let by_container = |end: &ContainerStateTerminated| match end.reason.as_deref() {
        Some("OOMKilled") => Some((FailureReason::OomKilled, "the worker ran out of memory".to_owned())),
        Some("StartError" | "ContainerCannotRun") => {
            Some((FailureReason::StartFailed, end.message.clone().unwrap_or_default()))
        }
        _ => None,
    };
    match &reported {
        // The worker was told to stop; the pod may know by whom.
        Some((FailureReason::Evicted, message)) => {
            return by_pod.map_or((FailureReason::Evicted, message.clone()), |reason| (reason, detail));
        }
        // The recorder lost the supervisor; its container may know why.
        Some((FailureReason::WorkerFailed, _)) => {
            if let Some(found) = executor.and_then(by_container) {
                return found;
            }
        }
        _ => {}
    }
    if let Some(reported) = reported {
        return reported;
    }
    if let Some(reason) = by_pod {
        let message = if detail.is_empty() { format!("the pod ended: {reason}") } else { detail };
        return (reason, message);
    }
    if let Some(found) = decisive.and_then(by_container) {
        return found;
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return (FailureReason::Interrupted, "the worker's pod was deleted".into());
    }
    let code = decisive.map_or("unknown".to_owned(), |end| end.exit_code.to_string());
    (FailureReason::WorkerFailed, format!("the worker ended with exit code {code} and did not say why"))
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_deref()).unwrap_or_default();
    let main = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let names = [SOURCE_CONTAINER, EXECUTOR_CONTAINER, WORKER_CONTAINER];
    let ours = move |status: &&ContainerStatus| names.contains(&status.name.as_str());
    init.iter().chain(main).filter(ours)
}

/// Whether no container of the pod runs or will run.
fn is_over(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let running = |state: &ContainerState| state.running.is_some();
    matches!(phase, Some("Succeeded" | "Failed"))
        && !statuses(pod).any(|status| status.state.as_ref().is_some_and(running))
}

/// Whether the Job has ended, well or not.
pub fn is_finished(job: &Job) -> bool {
    condition(job, "Complete") || condition(job, "Failed")
}

fn condition(job: &Job, type_: &str) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
}

fn pod_condition(pod: &Pod, type_: &str, status: &str) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let found = conditions.iter().find(|condition| condition.type_ == type_ && condition.status == status)?;
    Some(found.message.clone().unwrap_or_default())
}

fn pod_condition_reason<'a>(pod: &'a Pod, type_: &str) -> Option<&'a str> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")?.reason.as_deref()
}

fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}
