//! A validated Task as a worker Job (design decisions 6 to 9).
//!
//! Pure: the same Task and settings give the same manifest. Nothing in it comes from the Task but its ids, its budget and
//! the URL of a repository that the gate let through: no images, no commands, no environment, no patches.
//!
//! | container | image | mounts |
//! |---|---|---|
//! | `source` (init) | the worker's | trace, work, tools |
//! | `executor` | the executor's | work (in part read-only), tmp, tools (read-only): it has no trace, so that it cannot write one |
//! | `worker` | the worker's | trace, work |
//! | `model`, where the executor may ask models | the worker's | what is private of work, a token for the broker |

pub mod placement;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, KeyToPath,
    ObjectFieldSelector, PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec,
    ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecurityContext, ServiceAccountTokenProjection,
    Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use self::placement::{Placement, WayOut};
use crate::crd::names;
use crate::domain::executor::{Executor, READ_ONLY_FOLDERS};
use crate::domain::model::AUDIENCE;
use crate::domain::url::SOURCE_URL;
use crate::domain::{Id, Task, TraceId, trace};

/// Name of the init container that fetches the source: the only one that needs the network.
pub const SOURCE_CONTAINER: &str = "source";
/// Name of the container that runs the executor.
pub const EXECUTOR_CONTAINER: &str = "executor";
/// Name of the container that records the attempt and seals its trace; `kubectl logs` shows it.
pub const WORKER_CONTAINER: &str = "worker";

/// Name of the container that passes on what the executor asks models.
pub const MODEL_CONTAINER: &str = "model";

const TRACE_MOUNT: &str = "/trace";
const WORK_MOUNT: &str = "/work";
const TOOLS_MOUNT: &str = "/jct";
const TMP_MOUNT: &str = "/tmp";
const CA_VOLUME: &str = "source-ca";
const CA_MOUNT: &str = "/etc/jct/source-ca";
const CA_FILE: &str = "ca.crt";
const MODEL_TOKEN_VOLUME: &str = "model-token";
const MODEL_TOKEN_MOUNT: &str = "/var/run/secrets/jct-model";
const MODEL_TOKEN_FILE: &str = "token";
/// In the worker's image.
const RELAY_PROGRAM: &str = "/usr/local/bin/jct-relay";
/// How long a token for the broker lives; the kubelet renews it.
const MODEL_TOKEN_SECONDS: i64 = 3600;
/// What the containers of the recorder and of the relay request: they wait most of the time.
const RECORDER_REQUESTS: [(&str, &str); 2] = [("cpu", "10m"), ("memory", "32Mi")];

/// What a Job manifest is made from, besides the Task: the operator's settings alone.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSettings {
    /// The worker namespace.
    pub namespace: String,
    /// Image of the containers `source` and `worker`, and of executors that are built in.
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
    /// Where pods run, and what is on them.
    pub placement: Placement,
    /// How sources are reached.
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
    /// Who has the models.
    pub broker: Broker,
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
    /// What does it.
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

/// Where the repository of `task` is fetched from.
pub fn source_url(task: &Task, template: &str) -> String {
    template.replace("{repo}", task.target.repo.as_str())
}

/// What every step of an attempt is told of it, wherever it runs: arguments, for an image may set any variable.
pub fn told(attempt: &Attempt) -> Vec<String> {
    // All of its parts are plain data: there is nothing that serializing could fail on.
    told_with(attempt, &serde_json::to_string(attempt.executor).unwrap_or_default())
}

/// The same, with another text for the executor's configuration, such as `@` and a file that has it.
pub fn told_with(attempt: &Attempt, executor: &str) -> Vec<String> {
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

fn source(attempt: &Attempt, settings: &JobSettings) -> Container {
    let url = source_url(attempt.task, &settings.source_url_template);
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let mut args = told(attempt);
    args.extend(arguments(&[
        ("work-dir", WORK_MOUNT),
        ("tools-dir", TOOLS_MOUNT),
        // The one that the operator's settings have: no other is asked for.
        ("protocols", scheme),
        ("max-files", &settings.source_max_files.to_string()),
        ("max-bytes", &settings.source_max_bytes.to_string()),
        ("timeout-seconds", &settings.source_timeout_seconds.to_string()),
    ]));
    let url = EnvVar { name: SOURCE_URL.into(), value: Some(literal(&url)), value_from: None };
    let container = with_trace(ours(SOURCE_CONTAINER, "source", &args, settings), attempt);
    let mut env = [container.env.unwrap_or_default(), vec![url]].concat();
    let mut mounts = vec![trace_mount(attempt), mount("work", WORK_MOUNT), mount("tools", TOOLS_MOUNT)];
    // Here alone: this container runs our own image, and nothing of the executor's.
    let set = |name: &str, value: &str| EnvVar { name: name.into(), value: Some(literal(value)), value_from: None };
    if let Some(proxy) = &settings.way_out.proxy {
        env.extend([set("http_proxy", proxy), set("https_proxy", proxy)]);
    }
    if settings.way_out.authorities.is_some() {
        env.push(set("GIT_SSL_CAINFO", &format!("{CA_MOUNT}/{CA_FILE}")));
        mounts.push(VolumeMount { read_only: Some(true), ..mount(CA_VOLUME, CA_MOUNT) });
    }
    Container { env: Some(env), volume_mounts: Some(mounts), ..container }
}

/// The container whose image may be anybody's. What is started in it is our own program, which confines the command.
fn executor(attempt: &Attempt, settings: &JobSettings) -> Container {
    let Executor { image, image_pull_policy, resources, .. } = attempt.executor;
    let quantities = |quantities: &BTreeMap<String, String>| {
        let quantities = quantities.iter().map(|(name, quantity)| (name.clone(), Quantity(quantity.clone())));
        Some(quantities.collect())
    };
    let mut args = told(attempt);
    args.extend(arguments(&[("work-dir", WORK_MOUNT), ("tmp-dir", TMP_MOUNT)]));
    let mut mounts = vec![
        mount("work", WORK_MOUNT),
        mount("tmp", TMP_MOUNT),
        VolumeMount { read_only: Some(true), ..mount("tools", TOOLS_MOUNT) },
    ];
    // Landlock keeps the executor from writing there, but not from changing modes and times of what its user owns.
    mounts.extend(READ_ONLY_FOLDERS.map(|folder| VolumeMount {
        sub_path: Some(folder.into()),
        read_only: Some(true),
        ..mount("work", &format!("{WORK_MOUNT}/{folder}"))
    }));
    Container {
        image: Some(image.clone().unwrap_or_else(|| settings.image.clone())),
        image_pull_policy: Some(image_pull_policy.clone().unwrap_or_else(|| settings.image_pull_policy.clone())),
        command: Some(vec![format!("{TOOLS_MOUNT}/jct")]),
        resources: match resources {
            None => default_resources(settings),
            Some(resources) => Some(ResourceRequirements {
                requests: quantities(&resources.requests),
                limits: quantities(&resources.limits),
                ..ResourceRequirements::default()
            }),
        },
        volume_mounts: Some(mounts),
        ..ours(EXECUTOR_CONTAINER, "run", &args, settings)
    }
}

fn recorder(attempt: &Attempt, settings: &JobSettings) -> Container {
    let mut args = told(attempt);
    args.extend(arguments(&[("work-dir", WORK_MOUNT)]));
    Container {
        resources: waiting(settings),
        volume_mounts: Some(vec![trace_mount(attempt), mount("work", WORK_MOUNT)]),
        ..with_trace(ours(WORKER_CONTAINER, "record", &args, settings), attempt)
    }
}

/// The container that passes on what the executor asks models: it alone has the token, and neither trace nor workspace.
fn relay(settings: &JobSettings) -> Container {
    let Broker { url, authorities, bodies } = &settings.broker;
    let args = arguments(&[
        ("work-dir", WORK_MOUNT),
        ("broker", url),
        ("broker-authorities", authorities),
        ("token-file", &format!("{MODEL_TOKEN_MOUNT}/{MODEL_TOKEN_FILE}")),
    ]);
    let args = args.into_iter().chain(bodies.then(|| "--bodies".to_owned()));
    let private = "private";
    Container {
        command: Some(vec![RELAY_PROGRAM.into()]),
        args: Some(args.map(|arg| literal(&arg)).collect()),
        resources: waiting(settings),
        volume_mounts: Some(vec![
            VolumeMount { sub_path: Some(private.into()), ..mount("work", &format!("{WORK_MOUNT}/{private}")) },
            VolumeMount { read_only: Some(true), ..mount(MODEL_TOKEN_VOLUME, MODEL_TOKEN_MOUNT) },
        ]),
        ..ours(MODEL_CONTAINER, "", &[], settings)
    }
}

/// Little until there is something to do.
fn waiting(settings: &JobSettings) -> Option<ResourceRequirements> {
    let requests = RECORDER_REQUESTS.map(|(name, quantity)| (name.to_owned(), Quantity(quantity.to_owned())));
    default_resources(settings)
        .map(|resources| ResourceRequirements { requests: Some(BTreeMap::from(requests)), ..resources })
}

/// What all of them have in common.
fn ours(name: &str, step: &str, args: &[String], settings: &JobSettings) -> Container {
    let step = ["worker".to_owned(), step.to_owned()];
    Container {
        name: name.into(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        args: Some(step.into_iter().chain(args.iter().map(|arg| literal(arg))).collect()),
        resources: default_resources(settings),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("File".into()),
        ..Container::default()
    }
}

fn default_resources(settings: &JobSettings) -> Option<ResourceRequirements> {
    let quantities = |cpu: &str, memory: &str| {
        Some(BTreeMap::from([
            ("cpu".to_owned(), Quantity(cpu.to_owned())),
            ("memory".to_owned(), Quantity(memory.to_owned())),
        ]))
    };
    Some(ResourceRequirements {
        requests: quantities(&settings.cpu_request, &settings.memory_request),
        limits: quantities(&settings.cpu_limit, &settings.memory_limit),
        ..ResourceRequirements::default()
    })
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.into(), mount_path: path.into(), ..VolumeMount::default() }
}

/// The attempt's own folder of the trace volume, and no other.
fn trace_mount(attempt: &Attempt) -> VolumeMount {
    let folder = trace::folder(attempt.namespace, attempt.task_id, attempt.number);
    VolumeMount { sub_path: Some(folder), ..mount("trace", TRACE_MOUNT) }
}

/// What those are told that write to the trace. Both run our own image: Kubernetes sets the variables and puts them in.
fn with_trace(container: Container, attempt: &Attempt) -> Container {
    let of_pod = |name: &str, field: &str| EnvVar {
        name: name.into(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { api_version: Some("v1".into()), field_path: field.into() }),
            ..EnvVarSource::default()
        }),
    };
    let mut args = container.args.unwrap_or_default();
    args.extend(arguments(&[("task-sha256", attempt.task_sha256), ("trace-dir", TRACE_MOUNT)]));
    args.extend(arguments(&[("pod-uid", "$(POD_UID)"), ("pod-name", "$(POD_NAME)")]));
    let env = vec![of_pod("POD_UID", "metadata.uid"), of_pod("POD_NAME", "metadata.name")];
    Container { args: Some(args), env: Some(env), ..container }
}

/// Kubernetes replaces `$(NAME)` in arguments and values: a dollar is doubled, so that it stands for itself.
fn literal(value: &str) -> String {
    value.replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::executor::{Builtin, Executors};
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
            placement: Placement::default(),
            way_out: WayOut::default(),
            grace_seconds: 60,
            trace_claim: "jct-traces".into(),
            source_url_template: "https://git.example/{repo}.git".into(),
            source_max_files: 10,
            source_max_bytes: 20,
            source_timeout_seconds: 30,
            broker: Broker {
                url: "https://jct-model.jct-system.svc".into(),
                authorities: "-----BEGIN CERTIFICATE-----\n".into(),
                bodies: false,
            },
        }
    }

    fn manifest(settings: &JobSettings) -> Job {
        manifest_of(settings, &Executor::builtin(Builtin::Analysis))
    }

    fn manifest_of(settings: &JobSettings, executor: &Executor) -> Job {
        manifest_with(settings, executor, &"n".repeat(253))
    }

    fn manifest_named(name: &str) -> Job {
        manifest_with(&settings(), &Executor::builtin(Builtin::Analysis), name)
    }

    fn manifest_with(settings: &JobSettings, executor: &Executor, name: &str) -> Job {
        let task = task();
        let created_at = "2026-03-01T12:00:00Z".parse().unwrap();
        let attempt = Attempt {
            task_id: Id::derive(created_at, "uid"),
            trace_id: &TraceId::derive("uid"),
            namespace: "team",
            name,
            task: &task,
            executor,
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
    fn an_executor_brings_its_image_and_gets_no_trace() {
        let yaml = "executors: [{name: agent, operations: [docs], image: 'registry.example/agent:1', command: [agent], \
                    env: {PRICE: '$(HOME)'}, imagePullPolicy: Always, runtimeClass: gvisor, \
                    resources: {limits: {memory: 2Gi}}}]";
        let executors = Executors::read(yaml).unwrap();
        let executor = executors.iter().find(|executor| executor.name == "agent").unwrap();
        let pod = manifest_of(&settings(), executor).spec.unwrap().template.spec.unwrap();
        assert_eq!(pod.runtime_class_name.as_deref(), Some("gvisor"));
        let [executor, recorder] = &pod.containers[..] else { panic!() };
        assert_eq!(executor.image.as_deref(), Some("registry.example/agent:1"));
        assert_eq!(executor.image_pull_policy.as_deref(), Some("Always"));
        assert_eq!(executor.command.as_deref(), Some(&["/jct/jct".to_owned()][..]));
        let limits = executor.resources.as_ref().unwrap().limits.as_ref().unwrap();
        assert_eq!((limits.len(), limits["memory"].0.as_str()), (1, "2Gi"));
        assert_eq!(recorder.image.as_deref(), Some("jct-worker:1"));
        let has_trace =
            |container: &Container| container.volume_mounts.as_ref().unwrap().iter().any(|mount| mount.name == "trace");
        assert!(!has_trace(executor) && has_trace(recorder));
        let spec = executor.args.as_ref().unwrap().iter().find(|arg| arg.starts_with("--executor=")).unwrap();
        assert!(spec.contains("$$(HOME)"), "Kubernetes must not replace it");
        assert_eq!(executor.env, None, "what its image sets is not asked for, and nothing is set beside it");
    }

    #[test]
    fn the_relay_of_models_alone_has_the_token_and_sees_neither_trace_nor_workspace() {
        let yaml = "executors: [{name: agent, operations: [docs], image: a, command: [a], model: {aliases: [small]}}]";
        let executors = Executors::read(yaml).unwrap();
        let executor = executors.iter().find(|executor| executor.name == "agent").unwrap();
        let job = manifest_of(&settings(), executor);
        let pod = job.spec.unwrap().template.spec.unwrap();
        let token = pod.volumes.unwrap().into_iter().find(|volume| volume.name == MODEL_TOKEN_VOLUME).unwrap();
        let told = json!(token.projected.unwrap().sources.unwrap()[0].service_account_token);
        assert_eq!(told, json!({"audience": "jct-model-broker", "expirationSeconds": 3600, "path": "token"}));
        let relay = pod.containers.last().unwrap();
        let mounts: Vec<_> = relay.volume_mounts.iter().flatten().map(|mount| mount.mount_path.as_str()).collect();
        assert_eq!(mounts, ["/work/private", "/var/run/secrets/jct-model"]);
        let args = relay.args.as_ref().unwrap();
        for told in [
            "--broker=https://jct-model.jct-system.svc",
            "--broker-authorities=-----BEGIN CERTIFICATE-----\n",
            "--token-file=/var/run/secrets/jct-model/token",
        ] {
            assert!(args.iter().any(|arg| arg == told), "{told} is not in {args:?}");
        }
        assert_eq!((relay.image.as_deref(), &relay.env), (Some("jct-worker:1"), &None));
        let context = relay.security_context.as_ref().unwrap();
        assert_eq!((context.read_only_root_filesystem, context.run_as_non_root), (Some(true), Some(true)));
        let has_token: Vec<_> = pod
            .init_containers
            .iter()
            .flatten()
            .chain(&pod.containers)
            .filter(|container| serde_json::to_string(container).unwrap().contains(MODEL_TOKEN_VOLUME))
            .map(|container| container.name.as_str())
            .collect();
        assert_eq!((has_token, pod.automount_service_account_token), (vec![MODEL_CONTAINER], Some(false)));
    }

    #[test]
    fn isolation_is_settable() {
        let strict = JobSettings { runtime_class: Some("gvisor".into()), host_users: Some(false), ..settings() };
        let pod = manifest(&strict).spec.unwrap().template.spec.unwrap();
        assert_eq!((pod.runtime_class_name.as_deref(), pod.host_users), (Some("gvisor"), Some(false)));
    }

    #[test]
    fn pods_are_placed_and_labelled_by_the_settings() {
        let placed = JobSettings {
            placement: Placement {
                node_selector: [("pool".to_owned(), "work".to_owned())].into(),
                tolerations: serde_json::from_value(
                    json!([{"key": "work", "operator": "Exists", "effect": "NoSchedule"}]),
                )
                .unwrap(),
                affinity: serde_json::from_value(
                    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                    {"nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}]}}}),
                )
                .unwrap(),
                priority_class: Some("low".into()),
                labels: [("cost".to_owned(), "a".to_owned()), (names::ATTEMPT_LABEL.to_owned(), "9".to_owned())].into(),
            },
            ..settings()
        };
        let job = manifest(&placed);
        let labels = job.metadata.labels.unwrap();
        assert_eq!((labels["cost"].as_str(), labels[names::ATTEMPT_LABEL].as_str()), ("a", "1"));
        let template = job.spec.unwrap().template;
        assert_eq!(template.metadata.unwrap().labels.unwrap()["cost"], "a");
        let pod = template.spec.unwrap();
        assert_eq!(pod.node_selector.unwrap()["pool"], "work");
        assert_eq!(pod.tolerations.unwrap()[0].key.as_deref(), Some("work"));
        assert_eq!(pod.priority_class_name.as_deref(), Some("low"));
        assert!(pod.affinity.unwrap().node_affinity.is_some());
    }

    #[test]
    fn the_way_to_the_source_is_told_to_the_step_that_fetches_it_alone() {
        let way_out = WayOut {
            proxy: Some("http://proxy.example:3128".into()),
            authorities: Some(("corporate".into(), "bundle.pem".into())),
        };
        let pod = manifest(&JobSettings { way_out, ..settings() }).spec.unwrap().template.spec.unwrap();
        let source = &pod.init_containers.as_ref().unwrap()[0];
        let variable = |name: &str| {
            source
                .env
                .as_ref()
                .unwrap()
                .iter()
                .find(|variable| variable.name == name)
                .and_then(|found| found.value.clone())
        };
        assert_eq!(variable("https_proxy").as_deref(), Some("http://proxy.example:3128"));
        let file = variable("GIT_SSL_CAINFO").unwrap();
        let mount = source.volume_mounts.as_ref().unwrap().iter().find(|mount| mount.name == CA_VOLUME).unwrap();
        assert_eq!((file, mount.read_only), (format!("{}/ca.crt", mount.mount_path), Some(true)));
        let volume = pod.volumes.as_ref().unwrap().iter().find(|volume| volume.name == CA_VOLUME).unwrap();
        let map = volume.config_map.as_ref().unwrap();
        assert_eq!((map.name.as_str(), map.items.as_ref().unwrap()[0].key.as_str()), ("corporate", "bundle.pem"));
        for container in &pod.containers {
            let text = serde_json::to_string(container).unwrap();
            assert!(!text.contains("proxy.example") && !text.contains(CA_VOLUME), "{text}");
        }
    }

    #[test]
    fn nothing_free_form_of_the_task_reaches_the_manifest() {
        assert!(!serde_json::to_string(&manifest(&settings())).unwrap().contains("evil"));
    }

    #[test]
    fn labels_and_names_fit_whatever_the_task_is_called() {
        let job = manifest(&settings());
        assert!(job.metadata.name.unwrap().len() <= 63);
        let labels = job.metadata.labels.unwrap();
        assert!(labels.values().all(|value| value.len() <= 63));
        assert_eq!((labels[names::TASK_NAMESPACE].as_str(), labels.get(names::TASK_NAME)), ("team", None));
        let named = manifest_named("look").metadata.labels.unwrap();
        assert_eq!(named[names::TASK_NAME], "look");
    }
}
