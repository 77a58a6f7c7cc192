//! The webhooks gone, or down: no Task runs ungated, and nothing else suffers.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, PostParams};
use serde_json::{Value, json};

use crate::certificates::bundles;
use crate::support::{
    RELEASE_NAMESPACE, World, audit, condition, id, jobs_ever, kubectl, reason, run, task, until, upgrade,
};

#[tokio::test]
async fn schema_and_controller_hold_the_gate_when_the_webhooks_are_gone() {
    let world = World::alone("ungated").await;
    kubectl(&["delete", "mutatingwebhookconfiguration,validatingwebhookconfiguration", "jct"]).await;
    // The API server takes a moment to notice.
    until("the webhooks to be out of the way", async || {
        let answer = world
            .try_create(&world.client, &task("probe", json!({"target": {"repo": "other/thing"}})), "dryRun=All")
            .await;
        answer.map(drop).map_err(|error| error.to_string())
    })
    .await;

    let denials = [
        (json!({"version": "2.0"}), "INVALID_SPEC: spec.version: "),
        (json!({"objective": "    "}), "INVALID_SPEC: spec.objective: "),
        (json!({"operation": "deploy"}), "INVALID_OPERATION: spec.operation: "),
        (json!({"operation": null}), "INVALID_SPEC: spec.operation: "),
        (json!({"requestedBy": {"kind": "robot"}}), "INVALID_SPEC: spec.requestedBy.kind: "),
        (
            json!({"constraints": {"timeBudgetSeconds": 29}}),
            "TIME_BUDGET_TOO_LOW: spec.constraints.timeBudgetSeconds: ",
        ),
        (
            json!({"constraints": {"timeBudgetSeconds": 86_401}}),
            "TIME_BUDGET_TOO_HIGH: spec.constraints.timeBudgetSeconds: ",
        ),
        (json!({"constraints": {"allowNetwork": true}}), "NETWORK_ACCESS_DENIED: spec.constraints.allowNetwork: "),
        (json!({"constraints": {"allowSecrets": true}}), "SECRETS_ACCESS_DENIED: spec.constraints.allowSecrets: "),
        (json!({"target": {"repo": "https://user:pw@host/x"}}), "INVALID_SPEC: spec.target.repo: "),
        (json!({"target": {"repo": "../x"}}), "INVALID_SPEC: spec.target.repo: "),
        (json!({"target": {"ref": "-x"}}), "INVALID_SPEC: spec.target.ref: "),
        (json!({"target": {"path": "../../etc"}}), "INVALID_SPEC: spec.target.path: "),
    ];
    for (change, expected) in denials {
        let status = world.denied(&task("bad", change.clone())).await;
        assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"), "{change}: {status:?}");
        assert!(status.message.contains(expected), "{change}: {status:?}");
    }

    // What no static rule can decide.
    for (name, change, code) in [
        ("elsewhere", json!({"target": {"repo": "other/thing"}}), "REPO_NOT_ALLOWED"),
        ("stuffed", json!({"inputs": {"text": "x".repeat(300 << 10)}}), "INVALID_SPEC"),
    ] {
        let mut manifest = task(name, change);
        manifest["metadata"]["annotations"] = json!({"jct.dev/submitted-by": "root", "jct.dev/stamp": "forged"});
        world.create(manifest).await;
        let task = world.wait_for(name, "Failed").await;
        assert_eq!(reason(&task), code);
        assert_eq!(condition(&task, "Accepted"), ("False".into(), code.into()));
        assert_eq!(task.status.as_ref().unwrap().submitted_by, None, "a forged stamp was believed");
        assert!(jobs_ever(&task).is_empty());
        let entries = audit(&["--entity", &id(&task)]).await;
        assert_eq!(entries.len(), 1, "{entries:?}");
        assert_eq!((&entries[0]["actor_id"], &entries[0]["entity_kind"]), (&json!("unverified"), &json!("Task")));
        assert!(entries[0].to_string().contains(code), "{}", entries[0]);
        world.tasks().delete(name, &Default::default()).await.unwrap();
        world.wait_until_gone(name).await;
    }

    // A good one runs: the controller has gated it.
    world.create(task("good", json!({}))).await;
    let good = world.wait_for("good", "Completed").await;
    assert_eq!(audit(&["--entity", &id(&good)]).await[0]["actor_id"], "unverified");
    let changed = world.patch("good", json!({"spec": {"objective": "Something else"}})).await;
    assert!(matches!(&changed, Err(kube::Error::Api(status)) if status.code == 422), "{changed:?}");

    crate::work_objects::held_without_webhooks(&world).await;

    // Puts back what the chart makes.
    upgrade(&[]).await;
    until("the caBundle to be back", async || {
        let found = bundles(&world).await;
        if found.len() == 3 && found.iter().all(|bundle| bundle.contains("BEGIN CERTIFICATE")) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
    until("the webhook to deny again", async || {
        match world
            .try_create(&world.client, &task("bad", json!({"target": {"repo": "other/thing"}})), "dryRun=All")
            .await
        {
            Err(kube::Error::Api(status)) if status.message.contains("REPO_NOT_ALLOWED") => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn while_the_webhook_is_down_tasks_cannot_be_written_and_all_else_can() {
    let world = World::alone("down").await;
    for name in ["before", "forsaken", "kept"] {
        world.create(task(name, json!({"suspend": true}))).await;
        world.wait_for_reason(name, "Suspended").await;
    }
    let scale = async |replicas: &str| {
        kubectl(&["scale", "deployment/jct", "--namespace", RELEASE_NAMESPACE, replicas]).await;
    };
    scale("--replicas=0").await;
    let selector = "--selector=app.kubernetes.io/component=operator";
    kubectl(&["wait", "pods", "--namespace", RELEASE_NAMESPACE, selector, "--for=delete", "--timeout=60s"]).await;

    let created = world.try_create(&world.client, &task("during", json!({})), "").await;
    assert!(closed(&created), "{created:?}");
    let patched = world.patch("before", json!({"spec": {"cancel": true}})).await;
    assert!(closed(&patched), "{patched:?}");
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
    let map =
        ConfigMap { metadata: ObjectMeta { name: Some("free".into()), ..Default::default() }, ..Default::default() };
    maps.create(&PostParams::default(), &map).await.unwrap();
    assert_eq!(reason(&world.get("before").await), "Suspended");
    for name in ["before", "forsaken"] {
        world.tasks().delete(name, &Default::default()).await.unwrap();
    }
    assert!(world.get("before").await.metadata.deletion_timestamp.is_some(), "the finalizer did not hold it");

    // With the operator gone, an administrator can let go what is being deleted, and change nothing else of it.
    for key in ["labels", "annotations"] {
        let smuggled = json!({"metadata": {"finalizers": null, key: {"jct.dev/submitted-by": "somebody"}}});
        let patched = world.patch("forsaken", smuggled).await;
        assert!(closed(&patched), "{key}: {patched:?}");
    }
    let smuggled = json!({"metadata": {"finalizers": null}, "spec": {"suspend": false}});
    let patched = world.patch("forsaken", smuggled).await;
    assert!(closed(&patched), "{patched:?}");
    world.patch("forsaken", json!({"metadata": {"finalizers": null}})).await.unwrap();
    world.wait_until_gone("forsaken").await;
    let patched = world.patch("kept", json!({"metadata": {"finalizers": null}})).await;
    assert!(closed(&patched), "what is not being deleted keeps its finalizer: {patched:?}");

    scale("--replicas=1").await;
    kubectl(&["rollout", "status", "deployment/jct", "--namespace", RELEASE_NAMESPACE, "--timeout=100s"]).await;
    world.wait_until_gone("before").await;
    until("Tasks to be admitted", async || {
        let manifest = task("after", json!({})).to_string();
        run("kubectl", &["apply", "--namespace", &world.namespace, "--filename=-"], &manifest).await
    })
    .await;
    world.wait_for("after", "Completed").await;
}

fn closed<T: std::fmt::Debug>(answer: &kube::Result<T>) -> bool {
    let Err(kube::Error::Api(status)) = answer else { return false };
    status.code == 500 && status.message.contains("failed calling webhook")
}

#[tokio::test]
async fn a_task_in_the_operators_own_namespace_is_gated_by_the_controller() {
    let world = World::shared("own").await;
    let tasks: Api<crate::support::Task> = Api::namespaced(world.client.clone(), RELEASE_NAMESPACE);
    let manifest: Value = task(&world.namespace, json!({"target": {"repo": "other/thing"}}));
    tasks.create(&PostParams::default(), &serde_json::from_value(manifest).unwrap()).await.unwrap();
    let found = until("the refusal", async || {
        let task = tasks.get(&world.namespace).await.unwrap();
        if reason(&task) == "REPO_NOT_ALLOWED" { Ok(task) } else { Err(format!("{:?}", task.status)) }
    })
    .await;
    assert!(jobs_ever(&found).is_empty());
    tasks.delete(&world.namespace, &Default::default()).await.unwrap();
}
