//! The end: run by `tests/e2e.sh` after all others, and leaves the chart installed again.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::Api;
use serde_json::json;

use crate::support::{Held, RELEASE_NAMESPACE, World, helm, kubectl, phase, setting, task, task_on, verify_audit};

#[tokio::test]
#[ignore = "takes the installation away"]
async fn an_uninstall_leaves_the_data_and_no_finalizer() {
    let world = World::alone("uninstall").await;
    let held = Held::new("demo/uninstall");
    world.create(task("done", json!({}))).await;
    world.wait_for("done", "Completed").await;
    world.create(task("waiting", json!({"suspend": true}))).await;
    world.wait_for_reason("waiting", "Suspended").await;
    world.create(task_on("running", held.name())).await;
    world.wait_for("running", "Running").await;
    kubectl(&["apply", "--namespace", &world.namespace, "--filename", crate::work_objects::EXAMPLE]).await;
    kubectl(&["wait", "artifact.jct.dev/greet-patch", "--namespace", &world.namespace, "--for=condition=Recorded"])
        .await;
    helm(&["uninstall", "jct", "--namespace", RELEASE_NAMESPACE, "--wait", "--timeout", "120s"]).await;

    for name in ["done", "waiting", "running"] {
        let finalizers = world.get(name).await.metadata.finalizers.unwrap_or_default();
        assert!(finalizers.is_empty(), "{name}: {finalizers:?}");
    }
    let finalizers = "--output=jsonpath={.items[*].metadata.finalizers}";
    assert_eq!(kubectl(&["get", "cwom", "--namespace", &world.namespace, finalizers]).await, "");
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), RELEASE_NAMESPACE);
    for name in ["jct-data", "jct-traces"] {
        assert!(claims.get(name).await.unwrap().metadata.deletion_timestamp.is_none());
    }
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration", "clusterrole", "clusterrolebinding"]
    {
        let left = kubectl(&["get", kind, "--selector=app.kubernetes.io/part-of=jct", "--output=name"]).await;
        assert_eq!(left, "", "{kind}");
    }
    world.tasks().delete("waiting", &Default::default()).await.unwrap();
    world.wait_until_gone("waiting").await;

    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/jct");
    let values = setting("JCT_E2E_VALUES");
    helm(&[
        "install",
        "jct",
        chart,
        "--namespace",
        RELEASE_NAMESPACE,
        "--values",
        &values,
        "--wait",
        "--timeout",
        "100s",
    ])
    .await;
    held.release();
    world.wait_for("running", "Completed").await;
    assert_eq!(phase(&world.get("done").await), "Completed");
    verify_audit().await;
}
