//! Workers that cannot start, and a record that cannot be written.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;

use crate::support::{
    RELEASE_NAMESPACE, World, audit, condition, id, jobs_ever, lock_database, phase, reason, task, until, upgrade,
    verify_audit,
};

#[tokio::test]
async fn an_image_that_cannot_be_pulled_fails_the_attempt() {
    let world = World::alone("image").await;
    upgrade(&["workers.image.tag=absent", "workers.startTimeoutSeconds=10"]).await;
    world.create(task("pulls", json!({}))).await;
    let waiting = world.wait_for_reason("pulls", "WaitingForImage").await;
    let failed = world.wait_for("pulls", "Failed").await;
    upgrade(&["workers.image.tag=absent", "workers.image.pullPolicy=Never"]).await;
    world.create(task("never", json!({}))).await;
    let hopeless = world.wait_for("never", "Failed").await;
    upgrade(&[]).await;

    assert!(waiting.status.unwrap().message.unwrap().contains("jct-worker:absent"));
    for task in [failed, hopeless] {
        assert_eq!(reason(&task), "ImagePullFailed");
        assert_eq!(condition(&task, "TraceCaptured"), ("False".into(), "Incomplete".into()));
        let entries = audit(&["--entity", &id(&task)]).await;
        assert_eq!(entries.last().unwrap()["after"]["status"], "failed");
        world.wait_until_podless(&task).await;
    }
    world.create(task("mended", json!({}))).await;
    world.wait_for("mended", "Completed").await;
}

#[tokio::test]
async fn without_quota_a_task_waits() {
    let world = World::alone("quota").await;
    let quotas: Api<ResourceQuota> = Api::namespaced(world.client.clone(), RELEASE_NAMESPACE);
    let nothing = json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    quotas.create(&PostParams::default(), &serde_json::from_value(nothing).unwrap()).await.unwrap();
    // Whatever fails here, the tests after this one are to have their pods.
    let waits = async {
        world.create(task("queued", json!({}))).await;
        let waiting = world.wait_for_reason("queued", "WaitingForQuota").await;
        let pods = world.pods_of(&waiting).await;
        (waiting, pods)
    };
    let seen = AssertUnwindSafe(waits).catch_unwind().await;
    quotas.delete("none", &Default::default()).await.unwrap();
    let (waiting, pods) = seen.unwrap_or_else(|panic| std::panic::resume_unwind(panic));

    assert!(pods.is_empty(), "the quota let a pod through");
    let reported = waiting.status.as_ref().unwrap().message.as_deref().unwrap();
    assert!(reported.starts_with("exceeded quota: none, requested: pods=1"), "{reported}");
    announced(&world, "queued", "WaitingForQuota", "Warning").await;
    let task = world.wait_for("queued", "Completed").await;
    assert_eq!(jobs_ever(&task).len(), 1);
    announced(&world, "queued", "Completed", "Normal").await;
}

/// Waits until an Event tells of the Task for this reason.
async fn announced(world: &World, name: &str, reason: &str, type_: &str) {
    let events: Api<Event> = Api::namespaced(world.client.clone(), &world.namespace);
    until(&format!("an Event {reason}"), async || {
        let reported = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
        let is_it = |event: &Event| {
            let regarding = event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref());
            regarding == Some(name) && event.reason.as_deref() == Some(reason) && event.type_.as_deref() == Some(type_)
        };
        if reported.iter().any(is_it) { Ok(()) } else { Err(format!("{reported:?}")) }
    })
    .await;
}

#[tokio::test]
async fn while_the_database_is_locked_a_task_waits_unrecorded() {
    let world = World::alone("locked").await;
    let lock = lock_database(&world).await;
    world.create(task("patient", json!({}))).await;
    let waiting = world.wait_for_reason("patient", "StoreUnavailable").await;
    lock.release().await;

    assert_eq!((phase(&waiting), condition(&waiting, "Recorded").0.as_str()), ("Pending", "False"));
    let task = world.wait_for("patient", "Completed").await;
    assert_eq!(jobs_ever(&task).len(), 1);
    verify_audit().await;
}
