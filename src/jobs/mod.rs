//! A validated Task as a worker Job (design decisions 6 to 9).
//!
//! Pure: the same Task and settings give the same manifest. Nothing in it comes from the Task but its ids, its budget and
//! the URL of a repository that the gate let through: no images, no commands, no environment, no patches.
//!
//! | container | image | mounts |
//! |---|---|---|
//! | `source` (init) | the worker's | trace, work, tools; the credential of a private repository, which no other container has |
//! | `executor` | the executor's | work (in part read-only), tmp, tools (read-only): it has no trace, so that it cannot write one |
//! | `worker` | the worker's | trace, work |
//! | `model`, where the executor may ask models | the worker's | what is private of work, a token for the broker |

mod containers;
mod delivery;
pub mod placement;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, KeyToPath, PersistentVolumeClaimVolumeSource, PodSecurityContext,
    PodSpec, PodTemplateSpec, ProjectedVolumeSource, SeccompProfile, SecretVolumeSource, ServiceAccountTokenProjection,
    Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use self::containers::{
    CA_FILE, CA_VOLUME, CREDENTIAL_VOLUME, MODEL_TOKEN_FILE, MODEL_TOKEN_VOLUME, executor, recorder, relay, source,
};
pub use self::delivery::{
    BASE_CONTAINER, CHECK_CONTAINER, Delivery, PUSH_CONTAINER, delivery_credential_name, delivery_job,
    delivery_job_name, delivery_labels,
};
use self::placement::{Placement, WayOut};
use crate::crd::names;
use crate::domain::executor::Executor;
use crate::domain::forge::Trailers;
use crate::domain::model::AUDIENCE;
use crate::domain::{Id, Task, TraceId};

/// Name of the init container that fetches the source: the only one that needs the network.
pub const SOURCE_CONTAINER: &str = "source";
/// Name of the container that runs the executor.
pub const EXECUTOR_CONTAINER: &str = "executor";
/// Name of the container that records the attempt and seals its trace; `kubectl logs` shows it.
pub const WORKER_CONTAINER: &str = "worker";

/// Name of the container that passes on what the executor asks models.
pub const MODEL_CONTAINER: &str = "model";

/// How long a token for the broker lives; the kubelet renews it.
const MODEL_TOKEN_SECONDS: i64 = 3600;

/// What a Job manifest is made from, besides the Task: the operator's settings alone.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSettings {
    pub namespace: String,
    /// Image of the containers `source` and `worker`, and of executors that are built in.
    pub image: String,
    /// Always, IfNotPresent or Never.
    pub image_pull_policy: String,
    /// User and group of the pod.
    pub uid: i64,
    pub cpu_request: String,
    pub cpu_limit: String,
    pub memory_request: String,
    pub memory_limit: String,
    /// Size limit of the scratch volume.
    pub scratch_limit: String,
    /// RuntimeClass, if not the default.
    pub runtime_class: Option<String>,
    /// hostUsers of the pod, if set.
    pub host_users: Option<bool>,
    /// Where pods run, and what is on them.
    pub placement: Placement,
    pub way_out: WayOut,
    /// Time beyond the budget for fetching the source and sealing the trace, in seconds.
    pub grace_seconds: u32,
    /// Claim of the trace volume.
    pub trace_claim: String,
    /// `{repo}` stands for owner/name.
    pub source_url_template: String,
    /// The most files of a source tree.
    pub source_max_files: u64,
    /// The most bytes of a source tree.
    pub source_max_bytes: u64,
    /// Limit on fetching the source, in seconds.
    pub source_timeout_seconds: u32,
    pub broker: Broker,
    /// Where the repository is read from, if a forge is configured for it.
    pub forge: Option<SourceForge>,
}

/// The forge that an attempt reads from.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceForge {
    /// For messages.
    pub name: String,
    /// Of the repository.
    pub url: String,
    /// Who alone vouches for its host: certificates in PEM.
    pub authorities: Option<String>,
    /// Whether the attempt has a Secret with its credential: [`credential_name`].
    pub has_credential: bool,
    /// How the message of a change's commit names the agent.
    pub trailers: Trailers,
}

/// The broker of models, as worker pods reach it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Broker {
    /// `https://HOST`.
    pub url: String,
    /// Whom its certificate is of: certificates in PEM.
    pub authorities: String,
    /// Whether relays keep bodies for the recorder.
    pub bodies: bool,
}

/// One attempt of a recorded Task.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    pub task_id: Id,
    pub trace_id: &'a TraceId,
    pub namespace: &'a str,
    pub name: &'a str,
    pub task: &'a Task,
    pub executor: &'a Executor,
    /// 1 for the first.
    pub number: u32,
    /// Digest of the task.json that the operator wrote into the trace folder.
    pub task_sha256: &'a str,
}

/// The name of an attempt's Job: the same for whoever computes it.
pub fn job_name(task_id: Id, attempt: u32) -> String {
    format!("t-{}-{attempt}", task_id.to_lowercase())
}

/// The name of the Secret by which an attempt reads a private repository.
pub fn credential_name(task_id: Id, attempt: u32) -> String {
    format!("{}-read", job_name(task_id, attempt))
}

/// Where the repository of `task` is fetched from, if no forge is configured for it.
pub fn source_url(task: &Task, template: &str) -> String {
    template.replace("{repo}", task.target.repo.as_str())
}

/// What every step of an attempt is told of it, wherever it runs: arguments, for an image may set any variable.
pub fn attempt_args(attempt: &Attempt) -> Vec<String> {
    // All of its parts are plain data: there is nothing that serializing could fail on.
    attempt_args_with(attempt, &serde_json::to_string(attempt.executor).unwrap_or_default())
}

/// The same, with another text for the executor's configuration, such as `@` and a file that has it.
pub fn attempt_args_with(attempt: &Attempt, executor: &str) -> Vec<String> {
    arguments(&[
        ("task-id", &attempt.task_id.to_string()),
        ("trace-id", attempt.trace_id.as_str()),
        ("namespace", attempt.namespace),
        ("attempt", &attempt.number.to_string()),
        ("executor", executor),
    ])
}

/// `--NAME=VALUE` of each: whatever a value begins with, it is no option of its own.
pub fn arguments(named: &[(&str, &str)]) -> Vec<String> {
    named.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

/// The Job of one attempt.
pub fn job(attempt: &Attempt, settings: &JobSettings) -> Job {
    // What is ours comes last.
    let labels: BTreeMap<_, _> = settings.placement.labels.clone().into_iter().chain(labels(attempt)).collect();
    let annotations = BTreeMap::from([
        (names::TASK_NAMESPACE.to_owned(), attempt.namespace.to_owned()),
        (names::TASK_NAME.to_owned(), attempt.name.to_owned()),
        (names::TRACE_ID.to_owned(), attempt.trace_id.to_string()),
        ("kubectl.kubernetes.io/default-container".to_owned(), WORKER_CONTAINER.to_owned()),
    ]);
    Job {
        metadata: ObjectMeta {
            name: Some(job_name(attempt.task_id, attempt.number)),
            namespace: Some(settings.namespace.clone()),
            labels: Some(labels.clone()),
            annotations: Some(annotations.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            parallelism: Some(1),
            completions: Some(1),
            backoff_limit: Some(0),
            pod_replacement_policy: Some("Failed".into()),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(attempt, settings)),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}

fn labels(attempt: &Attempt) -> BTreeMap<String, String> {
    // The name of a Task may be longer than a label.
    let name = (attempt.name.len() <= 63).then(|| (names::TASK_NAME.to_owned(), attempt.name.to_owned()));
    let mut labels = BTreeMap::from([
        (names::TASK_NAMESPACE.to_owned(), attempt.namespace.to_owned()),
        (names::MANAGED_BY_LABEL.to_owned(), names::MANAGED_BY.to_owned()),
        ("app.kubernetes.io/name".to_owned(), "jct".to_owned()),
        ("app.kubernetes.io/component".to_owned(), "worker".to_owned()),
        (names::TASK_ID_LABEL.to_owned(), attempt.task_id.to_lowercase()),
        (names::ATTEMPT_LABEL.to_owned(), attempt.number.to_string()),
    ]);
    labels.extend(name);
    labels
}

fn pod(attempt: &Attempt, settings: &JobSettings) -> PodSpec {
    // The kubelet counts from the pod's start, so that waiting for a node does not eat the budget as a deadline on the
    // Job would. The worker ends the executor itself at the budget; this is the net below it.
    let deadline = i64::from(attempt.task.constraints.time_budget_seconds) + i64::from(settings.grace_seconds);
    let pod = PodSpec {
        restart_policy: Some("Never".into()),
        active_deadline_seconds: Some(deadline),
        termination_grace_period_seconds: Some(30),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        host_users: settings.host_users,
        runtime_class_name: attempt.executor.runtime_class.clone().or_else(|| settings.runtime_class.clone()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(settings.uid),
            run_as_group: Some(settings.uid),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        init_containers: Some(vec![source(attempt, settings)]),
        containers: [executor(attempt, settings), recorder(attempt, settings)]
            .into_iter()
            .chain(attempt.executor.model.is_some().then(|| relay(settings)))
            .collect(),
        volumes: Some(vec![
            Volume {
                name: "trace".into(),
                persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                    claim_name: settings.trace_claim.clone(),
                    read_only: None,
                }),
                ..Volume::default()
            },
            scratch("work", &settings.scratch_limit),
            scratch("tmp", &settings.scratch_limit),
            scratch("tools", "256Mi"),
        ]),
        ..PodSpec::default()
    };
    let mut pod = settings.placement.apply(pod);
    if let (true, Some(volumes)) = (attempt.executor.model.is_some(), &mut pod.volumes) {
        volumes.push(model_token());
    }
    if let (Some(SourceForge { has_credential: true, .. }), Some(volumes)) = (&settings.forge, &mut pod.volumes) {
        volumes.push(credential(attempt));
    }
    if let (Some((name, key)), Some(volumes)) = (&settings.way_out.authorities, &mut pod.volumes) {
        volumes.push(authorities(name, key));
    }
    pod
}

fn authorities(name: &str, key: &str) -> Volume {
    let item = KeyToPath { key: key.into(), path: CA_FILE.into(), mode: None };
    let source =
        ConfigMapVolumeSource { name: name.into(), items: Some(vec![item]), ..ConfigMapVolumeSource::default() };
    Volume { name: CA_VOLUME.into(), config_map: Some(source), ..Volume::default() }
}

/// What the source is read by. The pod waits for it: the operator makes it when the pod has a node.
fn credential(attempt: &Attempt) -> Volume {
    let source = SecretVolumeSource {
        secret_name: Some(credential_name(attempt.task_id, attempt.number)),
        default_mode: Some(0o444),
        optional: Some(false),
        ..SecretVolumeSource::default()
    };
    Volume { name: CREDENTIAL_VOLUME.into(), secret: Some(source), ..Volume::default() }
}

/// A token that nobody takes but the broker, bound to the pod. The API server takes it for none of its own.
fn model_token() -> Volume {
    let token = ServiceAccountTokenProjection {
        audience: Some(AUDIENCE.into()),
        expiration_seconds: Some(MODEL_TOKEN_SECONDS),
        path: MODEL_TOKEN_FILE.into(),
    };
    let source = VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() };
    let projected = ProjectedVolumeSource { sources: Some(vec![source]), ..ProjectedVolumeSource::default() };
    Volume { name: MODEL_TOKEN_VOLUME.into(), projected: Some(projected), ..Volume::default() }
}

fn scratch(name: &str, limit: &str) -> Volume {
    Volume {
        name: name.into(),
        empty_dir: Some(EmptyDirVolumeSource { size_limit: Some(Quantity(limit.to_owned())), medium: None }),
        ..Volume::default()
    }
}

#[cfg(test)]
mod tests;
