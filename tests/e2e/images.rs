//! A worker image that cannot be had.

use serde_json::json;

use crate::support::{RELEASE_NAMESPACE, World, audit, condition, helm, id, reason, setting, task};

/// Upgrades the release with its own values and `--set` of some.
async fn upgrade(sets: &[&str]) {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/jct");
    let values = setting("JCT_E2E_VALUES");
    let mut args = vec!["upgrade", "jct", chart, "--namespace", RELEASE_NAMESPACE, "--values", &values];
    for set in sets {
        args.extend(["--set", set]);
    }
    args.extend(["--wait", "--timeout", "100s"]);
    helm(&args).await;
}

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
