//! A validated Task as a worker Job (design decisions 6 to 9).
//!
//! Pure: the same Task and settings give the same manifest. Nothing in it comes from the Task but its ids, its budget and
//! the URL of a repository that the gate let through: no images, no commands, no environment, no patches.

pub mod executors;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, PersistentVolumeClaimVolumeSource, PodSecurityContext,
    PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::crd::names;
use crate::domain::{Id, Task, TraceId, trace};

/// Name of the init container that fetches the source: the only one that needs the network.
pub const SOURCE_CONTAINER: &str = "source";
/// Name of the container that runs the executor.
pub const WORKER_CONTAINER: &str = "worker";

const TRACE_MOUNT: &str = "/trace";
const WORK_MOUNT: &str = "/work";

/// What a Job manifest is made from, besides the Task: the operator's settings alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSettings {
    /// The worker namespace.
    pub namespace: String,
    /// Image of both containers.
    pub image: String,
    /// Always, IfNotPresent or Never.
    pub image_pull_policy: String,
    /// User and group of the pod.
    pub uid: i64,
    /// CPU request.
    pub cpu_request: String,
    /// CPU limit.
    pub cpu_limit: String,
    /// Memory request.
    pub memory_request: String,
    /// Memory limit.
    pub memory_limit: String,
    /// Size limit of the scratch volume.
    pub scratch_limit: String,
    /// RuntimeClass, if not the default.
    pub runtime_class: Option<String>,
    /// hostUsers of the pod, if set.
    pub host_users: Option<bool>,
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
}

/// One attempt of a recorded Task.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The Task's id.
    pub task_id: Id,
    /// Its trace id.
    pub trace_id: &'a TraceId,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What to do.
    pub task: &'a Task,
    /// The executor's name.
    pub executor: &'a str,
    /// 1 for the first.
    pub number: u32,
    /// Digest of the task.json that the operator wrote into the trace folder.
    pub task_sha256: &'a str,
}

/// The name of an attempt's Job: the same for whoever computes it.
pub fn job_name(task_id: Id, attempt: u32) -> String {
    format!("t-{}-{attempt}", task_id.to_lowercase())
}

/// Where the repository of `task` is fetched from.
pub fn source_url(task: &Task, template: &str) -> String {
    template.replace("{repo}", task.target.repo.as_str())
}

/// The Job of one attempt.
pub fn job(attempt: &Attempt, settings: &JobSettings) -> Job {
    let labels = labels(attempt);
    let annotations = BTreeMap::from([
        (names::TASK_NAMESPACE.to_owned(), attempt.namespace.to_owned()),
        (names::TASK_NAME.to_owned(), attempt.name.to_owned()),
        (names::TRACE_ID.to_owned(), attempt.trace_id.to_string()),
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
    BTreeMap::from([
        (names::MANAGED_BY_LABEL.to_owned(), names::MANAGED_BY.to_owned()),
        ("app.kubernetes.io/name".to_owned(), "jct".to_owned()),
        ("app.kubernetes.io/component".to_owned(), "worker".to_owned()),
        (names::TASK_ID_LABEL.to_owned(), attempt.task_id.to_lowercase()),
        (names::ATTEMPT_LABEL.to_owned(), attempt.number.to_string()),
    ])
}

fn pod(attempt: &Attempt, settings: &JobSettings) -> PodSpec {
    // The kubelet counts from the pod's start, so that waiting for a node does not eat the budget as a deadline on the
    // Job would. The worker ends the executor itself at the budget; this is the net below it.
    let deadline = i64::from(attempt.task.constraints.time_budget_seconds) + i64::from(settings.grace_seconds);
    PodSpec {
        restart_policy: Some("Never".into()),
        active_deadline_seconds: Some(deadline),
        termination_grace_period_seconds: Some(30),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        host_users: settings.host_users,
        runtime_class_name: settings.runtime_class.clone(),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(settings.uid),
            run_as_group: Some(settings.uid),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        init_containers: Some(vec![container(SOURCE_CONTAINER, "source", attempt, settings)]),
        containers: vec![container(WORKER_CONTAINER, "run", attempt, settings)],
        volumes: Some(vec![
            Volume {
                name: "trace".into(),
                persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                    claim_name: settings.trace_claim.clone(),
                    read_only: None,
                }),
                ..Volume::default()
            },
            Volume {
                name: "work".into(),
                empty_dir: Some(EmptyDirVolumeSource {
                    size_limit: Some(Quantity(settings.scratch_limit.clone())),
                    medium: None,
                }),
                ..Volume::default()
            },
        ]),
        ..PodSpec::default()
    }
}

fn container(name: &str, step: &str, attempt: &Attempt, settings: &JobSettings) -> Container {
    let quantities = |cpu: &str, memory: &str| {
        Some(BTreeMap::from([
            ("cpu".to_owned(), Quantity(cpu.to_owned())),
            ("memory".to_owned(), Quantity(memory.to_owned())),
        ]))
    };
    Container {
        name: name.into(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        args: Some(vec!["worker".into(), step.into()]),
        env: Some(environment(attempt, settings)),
        resources: Some(ResourceRequirements {
            requests: quantities(&settings.cpu_request, &settings.memory_request),
            limits: quantities(&settings.cpu_limit, &settings.memory_limit),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("File".into()),
        volume_mounts: Some(vec![
            VolumeMount {
                name: "trace".into(),
                mount_path: TRACE_MOUNT.into(),
                sub_path: Some(trace::folder(attempt.namespace, attempt.task_id, attempt.number)),
                ..VolumeMount::default()
            },
            VolumeMount { name: "work".into(), mount_path: WORK_MOUNT.into(), ..VolumeMount::default() },
        ]),
        ..Container::default()
    }
}

fn environment(attempt: &Attempt, settings: &JobSettings) -> Vec<EnvVar> {
    let number = attempt.number.to_string();
    let url = source_url(attempt.task, &settings.source_url_template);
    let max_files = settings.source_max_files.to_string();
    let max_bytes = settings.source_max_bytes.to_string();
    let timeout = settings.source_timeout_seconds.to_string();
    let task_id = attempt.task_id.to_string();
    [
        ("JCT_TASK_ID", task_id.as_str()),
        ("JCT_TRACE_ID", attempt.trace_id.as_str()),
        ("JCT_TASK_NAMESPACE", attempt.namespace),
        ("JCT_ATTEMPT", &number),
        ("JCT_TASK_SHA256", attempt.task_sha256),
        ("JCT_EXECUTOR", attempt.executor),
        ("JCT_SOURCE_URL", &url),
        ("JCT_SOURCE_MAX_FILES", &max_files),
        ("JCT_SOURCE_MAX_BYTES", &max_bytes),
        ("JCT_SOURCE_TIMEOUT_SECONDS", &timeout),
        ("JCT_TRACE_DIR", TRACE_MOUNT),
        ("JCT_WORK_DIR", WORK_MOUNT),
    ]
    .into_iter()
    .map(|(name, value)| EnvVar { name: name.into(), value: Some(value.into()), value_from: None })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::task::Naming;
    use crate::policy::{Policy, Verdict, gate};

    fn task() -> Task {
        let spec = json!({
            "requestedBy": {"kind": "human", "id": "ada"}, "objective": "Look around",
            "operation": "analysis", "target": {"repo": "octo/hello"},
            "inputs": {"image": "evil", "env": {"PATH": "/evil"}},
        });
        match gate(&spec, Naming::CustomResource, &Policy::default().allowing("octo/")) {
            Verdict::Accepted(task) => *task,
            Verdict::Refused(findings) => panic!("{findings:?}"),
        }
    }

    fn settings() -> JobSettings {
        JobSettings {
            namespace: "jct-system".into(),
            image: "jct-worker:1".into(),
            image_pull_policy: "IfNotPresent".into(),
            uid: 65532,
            cpu_request: "100m".into(),
            cpu_limit: "1".into(),
            memory_request: "128Mi".into(),
            memory_limit: "1Gi".into(),
            scratch_limit: "8Gi".into(),
            runtime_class: None,
            host_users: None,
            grace_seconds: 60,
            trace_claim: "jct-traces".into(),
            source_url_template: "https://git.example/{repo}.git".into(),
            source_max_files: 10,
            source_max_bytes: 20,
            source_timeout_seconds: 30,
        }
    }

    fn manifest(settings: &JobSettings) -> Job {
        let task = task();
        let created_at = "2026-03-01T12:00:00Z".parse().unwrap();
        let attempt = Attempt {
            task_id: Id::derive(created_at, "uid"),
            trace_id: &TraceId::derive("uid"),
            namespace: "team",
            name: &"n".repeat(253),
            task: &task,
            executor: "analysis",
            number: 1,
            task_sha256: "ab",
        };
        job(&attempt, settings)
    }

    #[test]
    fn the_manifest_is_frozen() {
        insta::assert_yaml_snapshot!(manifest(&settings()));
    }

    #[test]
    fn isolation_is_settable() {
        let strict = JobSettings { runtime_class: Some("gvisor".into()), host_users: Some(false), ..settings() };
        let pod = manifest(&strict).spec.unwrap().template.spec.unwrap();
        assert_eq!((pod.runtime_class_name.as_deref(), pod.host_users), (Some("gvisor"), Some(false)));
    }

    #[test]
    fn nothing_free_form_of_the_task_reaches_the_manifest() {
        assert!(!serde_json::to_string(&manifest(&settings())).unwrap().contains("evil"));
    }

    #[test]
    fn labels_and_names_fit_whatever_the_task_is_called() {
        let job = manifest(&settings());
        assert!(job.metadata.name.unwrap().len() <= 63);
        assert!(job.metadata.labels.unwrap().values().all(|value| value.len() <= 63));
    }
}
