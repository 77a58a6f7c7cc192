//! The manifests of Jobs.

use k8s_openapi::api::core::v1::Container;
use serde_json::json;

use super::*;
use crate::domain::executor::{Builtin, Executors};
use crate::domain::forge::AgentTrailer;
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

pub fn settings() -> JobSettings {
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
        forge: None,
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
    let source = json!(token.projected.unwrap().sources.unwrap()[0].service_account_token);
    assert_eq!(source, json!({"audience": "jct-model-broker", "expirationSeconds": 3600, "path": "token"}));
    let relay = pod.containers.last().unwrap();
    let mounts: Vec<_> = relay.volume_mounts.iter().flatten().map(|mount| mount.mount_path.as_str()).collect();
    assert_eq!(mounts, ["/work/private", "/var/run/secrets/jct-model"]);
    let args = relay.args.as_ref().unwrap();
    for expected in [
        "--broker=https://jct-model.jct-system.svc",
        "--broker-authorities=-----BEGIN CERTIFICATE-----\n",
        "--token-file=/var/run/secrets/jct-model/token",
    ] {
        assert!(args.iter().any(|arg| arg == expected), "{expected} is not in {args:?}");
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
fn the_source_alone_has_the_credential_of_a_forge() {
    let forge = SourceForge {
        name: "own".into(),
        url: "https://git.example/octo/hello.git".into(),
        authorities: Some("-----BEGIN CERTIFICATE-----\n".into()),
        has_credential: true,
        trailers: Trailers::default(),
    };
    let with = |forge: SourceForge| manifest(&JobSettings { forge: Some(forge), ..settings() });
    let pod = with(forge.clone()).spec.unwrap().template.spec.unwrap();
    let containers = pod.init_containers.iter().flatten().chain(&pod.containers);
    let has_it: Vec<_> = containers
        .filter(|container| container.volume_mounts.iter().flatten().any(|mount| mount.name == CREDENTIAL_VOLUME))
        .map(|container| container.name.as_str())
        .collect();
    assert_eq!(has_it, [SOURCE_CONTAINER]);
    let source = &pod.init_containers.as_ref().unwrap()[0];
    let args = source.args.as_ref().unwrap();
    let mount = "--credential=/var/run/secrets/jct-forge";
    for expected in ["--forge=own", mount, "--authorities=-----BEGIN CERTIFICATE-----\n"] {
        assert!(args.iter().any(|arg| arg == expected), "{expected} is not in {args:?}");
    }
    assert!(serde_json::to_string(&source.env).unwrap().contains("https://git.example/octo/hello.git"));
    let without = serde_json::to_string(&with(SourceForge { has_credential: false, ..forge })).unwrap();
    assert!(!without.contains(CREDENTIAL_VOLUME) && !without.contains("--credential"), "{without}");
}

#[test]
fn the_recorder_knows_how_the_project_wants_the_agent_named() {
    let trailers =
        |identity: Option<&str>| Trailers { agent: AgentTrailer::AssistedBy, identity: identity.map(str::to_owned) };
    let args = |trailers: Option<Trailers>| {
        let forge = trailers.map(|trailers| SourceForge {
            name: "own".into(),
            url: "https://git.example/octo/hello.git".into(),
            authorities: None,
            has_credential: false,
            trailers,
        });
        let pod = manifest(&JobSettings { forge, ..settings() }).spec.unwrap().template.spec.unwrap();
        let containers = pod.init_containers.into_iter().flatten().chain(pod.containers);
        let recorder = containers.into_iter().find(|container| container.name == WORKER_CONTAINER).unwrap();
        recorder.args.unwrap().into_iter().filter(|arg| arg.starts_with("--agent")).collect::<Vec<_>>()
    };
    assert_eq!(args(Some(trailers(Some("Bot <bot@x>")))), ["--agent-trailer=Assisted-by", "--agent=Bot <bot@x>"]);
    assert_eq!(args(Some(trailers(None))), ["--agent-trailer=Assisted-by"]);
    assert_eq!(args(None), Vec::<String>::new());
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
            tolerations: serde_json::from_value(json!([{"key": "work", "operator": "Exists", "effect": "NoSchedule"}]))
                .unwrap(),
            affinity: serde_json::from_value(json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}]}}}))
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
        source.env.as_ref().unwrap().iter().find(|variable| variable.name == name).and_then(|found| found.value.clone())
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
