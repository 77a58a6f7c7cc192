//! The Job of one try to deliver a sealed change: docs/delivery.md.
//!
//! | container | mounts |
//! |---|---|
//! | `base` (init) | the shared repository, the credential |
//! | `check` (init) | the shared repository, the attempt's folder of the trace volume (read-only) |
//! | `push` | the shared repository (read-only), the credential |
//!
//! Each has a scratch folder of its own. It has the labels that network policies go by, and is no attempt: no label says so.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Container, PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile,
    SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::containers::{CA_FILE, CA_MOUNT, CREDENTIAL_MOUNT, CREDENTIAL_VOLUME, TRACE_MOUNT, literal, mount, ours};
use super::{CA_VOLUME, JobSettings, arguments, authorities, scratch};
use crate::crd::names;
use crate::domain::forge::Forge;
use crate::domain::task::Repo;
use crate::domain::{Id, TraceId, trace};

/// Name of the container that fetches the commit that the change is made on.
pub const BASE_CONTAINER: &str = "base";
/// Name of the container that holds the change against its digests.
pub const CHECK_CONTAINER: &str = "check";
/// Name of the container that pushes; `kubectl logs` shows it.
pub const PUSH_CONTAINER: &str = "push";
const REPOSITORY_MOUNT: &str = "/repository";
const SCRATCH_MOUNT: &str = "/tmp";
/// What the steps may take after their own time is up, in seconds.
const GRACE_SECONDS: u32 = 60;

/// One try to deliver what an attempt has sealed.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub task_id: Id,
    pub trace_id: &'a TraceId,
    pub namespace: &'a str,
    pub name: &'a str,
    /// The attempt whose trace it is.
    pub attempt: u32,
    /// Which try: 1 for the first.
    pub number: u32,
    pub forge: &'a Forge,
    pub repo: &'a Repo,
    /// Of the attempt's manifest, by the record.
    pub manifest_sha256: &'a str,
    /// The commit that the change is made on.
    pub base: &'a str,
    /// The commit that was sealed.
    pub sealed_commit: &'a str,
    /// The same with a signature, in base64, and its id.
    pub signed: Option<(&'a str, &'a str)>,
    pub branch: &'a str,
    /// The branch that the change should go into, where that is known.
    pub base_branch: Option<&'a str>,
    /// Where the branch is by the record; none where it is to be made.
    pub expected: Option<&'a str>,
}

/// The name of a delivery's Job: the same for whoever computes it.
pub fn delivery_job_name(task_id: Id, number: u32) -> String {
    format!("d-{}-{number}", task_id.to_lowercase())
}

/// The name of the Secret by which a delivery writes.
pub fn delivery_credential_name(task_id: Id, number: u32) -> String {
    format!("{}-write", delivery_job_name(task_id, number))
}

/// The labels that tell a delivery's Job and pods.
pub fn delivery_labels(task_id: Id, number: u32) -> BTreeMap<String, String> {
    BTreeMap::from([
        (names::MANAGED_BY_LABEL.to_owned(), names::MANAGED_BY.to_owned()),
        (names::TASK_ID_LABEL.to_owned(), task_id.to_lowercase()),
        (names::DELIVERY_LABEL.to_owned(), number.to_string()),
    ])
}

/// The Job.
pub fn delivery_job(delivery: &Delivery, settings: &JobSettings) -> Job {
    let mut labels = settings.placement.labels.clone();
    labels.extend(delivery_labels(delivery.task_id, delivery.number));
    labels.extend([
        (names::TASK_NAMESPACE.to_owned(), delivery.namespace.to_owned()),
        ("app.kubernetes.io/name".to_owned(), "jct".to_owned()),
        ("app.kubernetes.io/component".to_owned(), "worker".to_owned()),
    ]);
    let annotations = BTreeMap::from([
        (names::TASK_NAMESPACE.to_owned(), delivery.namespace.to_owned()),
        (names::TASK_NAME.to_owned(), delivery.name.to_owned()),
        (names::TRACE_ID.to_owned(), delivery.trace_id.to_string()),
        ("kubectl.kubernetes.io/default-container".to_owned(), PUSH_CONTAINER.to_owned()),
    ]);
    let metadata = ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() };
    Job {
        metadata: ObjectMeta {
            name: Some(delivery_job_name(delivery.task_id, delivery.number)),
            namespace: Some(settings.namespace.clone()),
            ..metadata.clone()
        },
        spec: Some(JobSpec {
            parallelism: Some(1),
            completions: Some(1),
            backoff_limit: Some(0),
            pod_replacement_policy: Some("Failed".into()),
            template: PodTemplateSpec { metadata: Some(metadata), spec: Some(pod(delivery, settings)) },
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}

fn pod(delivery: &Delivery, settings: &JobSettings) -> PodSpec {
    let deadline = 3 * settings.source_timeout_seconds + GRACE_SECONDS;
    let secret = SecretVolumeSource {
        secret_name: Some(delivery_credential_name(delivery.task_id, delivery.number)),
        default_mode: Some(0o444),
        optional: Some(false),
        ..SecretVolumeSource::default()
    };
    let trace = PersistentVolumeClaimVolumeSource { claim_name: settings.trace_claim.clone(), read_only: None };
    let mut volumes = vec![
        scratch("repository", &settings.scratch_limit),
        scratch("scratch", &settings.scratch_limit),
        Volume { name: "trace".into(), persistent_volume_claim: Some(trace), ..Volume::default() },
        Volume { name: CREDENTIAL_VOLUME.into(), secret: Some(secret), ..Volume::default() },
    ];
    if let Some((name, key)) = &settings.way_out.authorities {
        volumes.push(authorities(name, key));
    }
    settings.placement.apply(PodSpec {
        restart_policy: Some("Never".into()),
        active_deadline_seconds: Some(deadline.into()),
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
        init_containers: Some(vec![base(delivery, settings), check(delivery, settings)]),
        containers: vec![push(delivery, settings)],
        volumes: Some(volumes),
        ..PodSpec::default()
    })
}

fn base(delivery: &Delivery, settings: &JobSettings) -> Container {
    let args = [step_args(delivery, settings), remote_args(delivery)].concat();
    with_network(container(BASE_CONTAINER, "deliver-base", &args, false, settings), settings)
}

fn check(delivery: &Delivery, settings: &JobSettings) -> Container {
    let Delivery { namespace, task_id, attempt, manifest_sha256, sealed_commit, signed, .. } = delivery;
    let named = [("trace-dir", TRACE_MOUNT), ("manifest-sha256", manifest_sha256), ("commit", sealed_commit)];
    let mut args = [step_args(delivery, settings), arguments(&named)].concat();
    args.extend(signed.iter().flat_map(|(commit, _)| arguments(&[("signed-commit", commit)])));
    let mut container = container(CHECK_CONTAINER, "deliver-check", &args, false, settings);
    // The attempt's own folder, and no other.
    let folder = trace::folder(namespace, *task_id, *attempt);
    let trace = VolumeMount { sub_path: Some(folder), read_only: Some(true), ..mount("trace", TRACE_MOUNT) };
    container.volume_mounts.get_or_insert_default().push(trace);
    container
}

fn push(delivery: &Delivery, settings: &JobSettings) -> Container {
    let Delivery { sealed_commit, signed, branch, base_branch, expected, .. } = delivery;
    let commit = signed.map_or(*sealed_commit, |(_, id)| id);
    let mut args = [step_args(delivery, settings), remote_args(delivery)].concat();
    args.extend(arguments(&[("branch", branch), ("commit", commit)]));
    args.extend(base_branch.iter().flat_map(|base| arguments(&[("base-branch", base)])));
    args.extend(expected.iter().flat_map(|expected| arguments(&[("expected", expected)])));
    with_network(container(PUSH_CONTAINER, "deliver-push", &args, true, settings), settings)
}

fn step_args(delivery: &Delivery, settings: &JobSettings) -> Vec<String> {
    arguments(&[
        ("repository", REPOSITORY_MOUNT),
        ("scratch", SCRATCH_MOUNT),
        ("base", delivery.base),
        ("timeout-seconds", &settings.source_timeout_seconds.to_string()),
        ("max-bytes", &settings.source_max_bytes.to_string()),
    ])
}

fn remote_args(delivery: &Delivery) -> Vec<String> {
    let Delivery { forge, repo, .. } = delivery;
    let url = forge.git_url(repo);
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let mut args = arguments(&[
        ("url", &url),
        ("forge", &forge.name),
        ("repo", repo.as_str()),
        ("credential", CREDENTIAL_MOUNT),
        // The one that the forge's address has: no other is asked for.
        ("protocols", scheme),
    ]);
    args.extend(forge.ca_bundle.iter().flat_map(|pem| arguments(&[("authorities", pem)])));
    args
}

fn container(name: &str, step: &str, args: &[String], reads_only: bool, settings: &JobSettings) -> Container {
    let scratch = VolumeMount { sub_path: Some(name.into()), ..mount("scratch", SCRATCH_MOUNT) };
    let repository = VolumeMount { read_only: reads_only.then_some(true), ..mount("repository", REPOSITORY_MOUNT) };
    Container { volume_mounts: Some(vec![repository, scratch]), ..ours(name, step, args, settings) }
}

/// With the credential, and the way out that the source has.
fn with_network(mut container: Container, settings: &JobSettings) -> Container {
    let mounts = container.volume_mounts.get_or_insert_default();
    mounts.push(VolumeMount { read_only: Some(true), ..mount(CREDENTIAL_VOLUME, CREDENTIAL_MOUNT) });
    if settings.way_out.authorities.is_some() {
        mounts.push(VolumeMount { read_only: Some(true), ..mount(CA_VOLUME, CA_MOUNT) });
    }
    let set = |name: &str, value: &str| k8s_openapi::api::core::v1::EnvVar {
        name: name.into(),
        value: Some(literal(value)),
        value_from: None,
    };
    let env = container.env.get_or_insert_default();
    if let Some(proxy) = &settings.way_out.proxy {
        env.extend([set("http_proxy", proxy), set("https_proxy", proxy)]);
    }
    if settings.way_out.authorities.is_some() {
        env.push(set("GIT_SSL_CAINFO", &format!("{CA_MOUNT}/{CA_FILE}")));
    }
    container
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::*;
    use crate::domain::forge::Forges;

    const FORGE: &str =
        "[{name: own, kind: gitea, repos: [octo/], git: 'https://g/{repo}.git', api: 'https://g/api/v1'}]";

    fn manifest(signed: Option<(&str, &str)>, expected: Option<&str>) -> Job {
        let forges = Forges::read(FORGE).unwrap();
        let delivery = Delivery {
            task_id: Id::derive("2026-03-01T12:00:00Z".parse().unwrap(), "uid"),
            trace_id: &TraceId::derive("uid"),
            namespace: "team",
            name: &"n".repeat(253),
            attempt: 2,
            number: 3,
            forge: &forges.0[0],
            repo: &Repo::parse("octo/hello").unwrap(),
            manifest_sha256: "aa",
            base: "bb",
            sealed_commit: "cc",
            signed,
            branch: "jct/mend-$(POD)",
            base_branch: Some("main"),
            expected,
        };
        delivery_job(&delivery, &settings())
    }

    fn containers(job: &Job) -> Vec<Container> {
        let pod = job.spec.clone().unwrap().template.spec.unwrap();
        pod.init_containers.into_iter().flatten().chain(pod.containers).collect()
    }

    fn mounted(job: &Job, volume: &str) -> Vec<(String, bool)> {
        let mounts = containers(job).into_iter().flat_map(|container| {
            let name = container.name;
            container.volume_mounts.into_iter().flatten().map(move |mount| (name.clone(), mount))
        });
        let mounts = mounts.filter(|(_, mount)| mount.name == volume);
        mounts.map(|(name, mount)| (name, mount.read_only == Some(true))).collect()
    }

    #[test]
    fn the_manifest_is_frozen() {
        insta::assert_yaml_snapshot!(manifest(Some(("c2lnbmVk", "dd")), Some("bb")));
    }

    #[test]
    fn who_has_the_credential_has_no_trace_and_the_other_way_round() {
        let job = manifest(None, None);
        let of = |name: &str, reads_only| (name.to_owned(), reads_only);
        assert_eq!(mounted(&job, CREDENTIAL_VOLUME), [of("base", true), of("push", true)]);
        assert_eq!(mounted(&job, "trace"), [of("check", true)]);
        assert_eq!(mounted(&job, "repository"), [of("base", false), of("check", false), of("push", true)]);
        let pod = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        assert_eq!(pod.automount_service_account_token, Some(false));
        let secrets: Vec<_> = pod.volumes.iter().flatten().filter_map(|volume| volume.secret.as_ref()).collect();
        assert_eq!(secrets.len(), 1);
        assert!(secrets[0].secret_name.as_ref().unwrap().ends_with("-3-write"));
    }

    #[test]
    fn what_is_delivered_is_in_the_arguments() {
        let args =
            |job: &Job| containers(job).into_iter().flat_map(|container| container.args.unwrap()).collect::<Vec<_>>();
        let plain = args(&manifest(None, None));
        assert!(plain.iter().filter(|arg| *arg == "--commit=cc").count() == 2, "{plain:?}");
        assert!(plain.contains(&"--branch=jct/mend-$$(POD)".to_owned()), "{plain:?}");
        assert!(!plain.iter().any(|arg| arg.contains("--expected") || arg.contains("--signed-commit")));
        let signed = args(&manifest(Some(("c2lnbmVk", "dd")), Some("bb")));
        for expected in ["--commit=cc", "--signed-commit=c2lnbmVk", "--commit=dd", "--expected=bb"] {
            assert!(signed.contains(&expected.to_owned()), "{expected}: {signed:?}");
        }
    }

    #[test]
    fn it_is_no_attempt_and_under_the_policies_of_one() {
        let job = manifest(None, None);
        let labels = job.metadata.labels.unwrap();
        assert!(!labels.contains_key(names::ATTEMPT_LABEL) && labels.values().all(|value| value.len() <= 63));
        assert_eq!(labels["app.kubernetes.io/component"], "worker");
        assert_eq!(job.metadata.name.unwrap(), format!("d-{}-3", labels[names::TASK_ID_LABEL]));
    }
}
