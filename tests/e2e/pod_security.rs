//! What a worker may do, as the API server finally stored it.

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use serde_json::json;

use crate::support::{Held, World, task_on};

#[tokio::test]
async fn the_worker_namespace_refuses_what_is_not_restricted() {
    let world = World::shared("restricted").await;
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "careless"},
        "spec": {"containers": [{"name": "a", "image": "jct-worker:none"}], "hostNetwork": true},
    }))
    .unwrap();
    let answer = world.pods().create(&PostParams { dry_run: true, field_manager: None }, &pod).await;
    let Err(kube::Error::Api(status)) = &answer else { panic!("{answer:?}") };
    assert_eq!(status.code, 403);
    assert!(status.message.contains("violates PodSecurity \"restricted"), "{}", status.message);
}

#[tokio::test]
async fn a_worker_has_no_rights_and_no_way_to_get_any() {
    let world = World::shared("worker").await;
    let held = Held::new("demo/worker");
    world.create(task_on("seen", held.name())).await;
    let task = world.wait_for("seen", "Running").await;

    let job = world.jobs_of(&task).await.pop().unwrap();
    let spec = job.spec.as_ref().unwrap();
    assert_eq!((spec.backoff_limit, spec.parallelism, spec.completions), (Some(0), Some(1), Some(1)));
    assert_eq!(spec.pod_replacement_policy.as_deref(), Some("Failed"));
    assert_eq!(spec.ttl_seconds_after_finished, None);

    let pod = world.pods_of(&task).await.pop().unwrap();
    let spec = pod.spec.unwrap();
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
    assert_eq!(spec.enable_service_links, Some(false));
    assert!(spec.active_deadline_seconds.is_some());
    assert!([spec.host_network, spec.host_pid, spec.host_ipc].iter().all(|host| *host != Some(true)));
    let security = spec.security_context.unwrap();
    assert_eq!((security.run_as_non_root, security.run_as_user), (Some(true), Some(65532)));
    assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
    let volumes: Vec<String> = spec.volumes.unwrap().into_iter().map(|volume| volume.name).collect();
    assert_eq!(volumes, ["trace", "work", "tmp", "tools"], "no token, no configuration, no secret");
    for container in spec.init_containers.unwrap().into_iter().chain(spec.containers) {
        let name = container.name;
        let security = container.security_context.unwrap();
        assert_eq!(security.read_only_root_filesystem, Some(true));
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert_eq!(security.capabilities.unwrap().drop, Some(vec!["ALL".into()]));
        let resources = container.resources.unwrap();
        assert!(resources.limits.unwrap().contains_key("memory") && resources.requests.unwrap().contains_key("cpu"));
        let trace = container.volume_mounts.unwrap().into_iter().find(|mount| mount.name == "trace");
        let own = format!("{}/{}/1", world.namespace, crate::support::id(&task));
        assert_eq!(trace.map(|mount| mount.sub_path.unwrap()), Some(own).filter(|_| name != "executor"), "{name}");
    }
}
