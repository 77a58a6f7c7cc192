//! The containers of a worker pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceRequirements, SecurityContext,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{
    Attempt, Broker, EXECUTOR_CONTAINER, JobSettings, MODEL_CONTAINER, SOURCE_CONTAINER, SourceForge, WORKER_CONTAINER,
    arguments, attempt_args, source_url,
};
use crate::domain::executor::{Executor, READ_ONLY_FOLDERS};
use crate::domain::forge::Trailers;
use crate::domain::trace;
use crate::domain::url::SOURCE_URL;

pub(super) const TRACE_MOUNT: &str = "/trace";
const WORK_MOUNT: &str = "/work";
const TOOLS_MOUNT: &str = "/jct";
const TMP_MOUNT: &str = "/tmp";
pub(super) const CA_VOLUME: &str = "source-ca";
pub(super) const CA_MOUNT: &str = "/etc/jct/source-ca";
pub(super) const CA_FILE: &str = "ca.crt";
pub(super) const CREDENTIAL_VOLUME: &str = "forge-credential";
pub(super) const CREDENTIAL_MOUNT: &str = "/var/run/secrets/jct-forge";
pub(super) const MODEL_TOKEN_VOLUME: &str = "model-token";
const MODEL_TOKEN_MOUNT: &str = "/var/run/secrets/jct-model";
pub(super) const MODEL_TOKEN_FILE: &str = "token";
/// In the worker's image.
const RELAY_PROGRAM: &str = "/usr/local/bin/jct-relay";
/// What the containers of the recorder and of the relay request: they wait most of the time.
const RECORDER_REQUESTS: [(&str, &str); 2] = [("cpu", "10m"), ("memory", "32Mi")];

pub(super) fn source(attempt: &Attempt, settings: &JobSettings) -> Container {
    let forge = settings.forge.as_ref();
    let url = forge.map_or_else(|| source_url(attempt.task, &settings.source_url_template), |forge| forge.url.clone());
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let mut args = attempt_args(attempt);
    args.extend(arguments(&[
        ("work-dir", WORK_MOUNT),
        ("tools-dir", TOOLS_MOUNT),
        // The one that the operator's settings have: no other is asked for.
        ("protocols", scheme),
        ("max-files", &settings.source_max_files.to_string()),
        ("max-bytes", &settings.source_max_bytes.to_string()),
        ("timeout-seconds", &settings.source_timeout_seconds.to_string()),
    ]));
    if let Some(SourceForge { name, authorities, has_credential, .. }) = forge {
        args.extend(arguments(&[("forge", name)]));
        args.extend(authorities.iter().flat_map(|pem| arguments(&[("authorities", pem)])));
        args.extend(has_credential.then(|| arguments(&[("credential", CREDENTIAL_MOUNT)])).unwrap_or_default());
    }
    let url = EnvVar { name: SOURCE_URL.into(), value: Some(literal(&url)), value_from: None };
    let container = with_trace(ours(SOURCE_CONTAINER, "source", &args, settings), attempt);
    let mut env = [container.env.unwrap_or_default(), vec![url]].concat();
    let mut mounts = vec![trace_mount(attempt), mount("work", WORK_MOUNT), mount("tools", TOOLS_MOUNT)];
    if forge.is_some_and(|forge| forge.has_credential) {
        mounts.push(VolumeMount { read_only: Some(true), ..mount(CREDENTIAL_VOLUME, CREDENTIAL_MOUNT) });
    }
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
pub(super) fn executor(attempt: &Attempt, settings: &JobSettings) -> Container {
    let Executor { image, image_pull_policy, resources, .. } = attempt.executor;
    let quantities = |quantities: &BTreeMap<String, String>| {
        let quantities = quantities.iter().map(|(name, quantity)| (name.clone(), Quantity(quantity.clone())));
        Some(quantities.collect())
    };
    let mut args = attempt_args(attempt);
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

pub(super) fn recorder(attempt: &Attempt, settings: &JobSettings) -> Container {
    let mut args = attempt_args(attempt);
    args.extend(arguments(&[("work-dir", WORK_MOUNT)]));
    if let Some(SourceForge { trailers: Trailers { agent, identity }, .. }) = &settings.forge {
        args.extend(arguments(&[("agent-trailer", agent.as_str())]));
        args.extend(identity.iter().flat_map(|identity| arguments(&[("agent", identity)])));
    }
    Container {
        resources: waiting(settings),
        volume_mounts: Some(vec![trace_mount(attempt), mount("work", WORK_MOUNT)]),
        ..with_trace(ours(WORKER_CONTAINER, "record", &args, settings), attempt)
    }
}

/// The container that passes on what the executor asks models: it alone has the token, and neither trace nor workspace.
pub(super) fn relay(settings: &JobSettings) -> Container {
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
pub(super) fn ours(name: &str, step: &str, args: &[String], settings: &JobSettings) -> Container {
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

pub(super) fn mount(name: &str, path: &str) -> VolumeMount {
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
pub(super) fn literal(value: &str) -> String {
    value.replace('$', "$$")
}
