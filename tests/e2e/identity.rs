//! Who did it: stamped by the webhook, kept against everybody, recorded.

use kube::api::{Api, Patch, PatchParams};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Held, Task, World, audit, condition, id, phase, task, task_on, until};

const FORGED: [&str; 4] = ["jct.dev/submitted-by", "jct.dev/trace-id", "jct.dev/stamp", "jct.dev/cancelled-by"];

fn reserved(task: &Task) -> Vec<Option<&String>> {
    FORGED.iter().map(|name| task.metadata.annotations.as_ref().and_then(|all| all.get(*name))).collect()
}

#[tokio::test]
async fn forged_annotations_are_overwritten() {
    let world = World::shared("forged").await;
    let mut manifest = task("forged", json!({"suspend": true}));
    manifest["metadata"]["annotations"] = FORGED.iter().map(|name| (name.to_string(), json!("root"))).collect();
    let created = world.create(manifest).await;
    let [submitted_by, trace_id, stamp, cancelled_by] = reserved(&created)[..] else { panic!() };
    assert_eq!(submitted_by.map(String::as_str), Some("admin"));
    assert_eq!(trace_id.map(String::len), Some(32));
    assert!(stamp.is_some_and(|stamp| stamp.starts_with("v2.")), "{stamp:?}");
    assert_eq!(cancelled_by, None);
    let task = world.wait_for_reason("forged", "Suspended").await;
    let status = task.status.unwrap();
    assert_eq!(status.trace_id.as_ref(), trace_id);
    assert_eq!(
        status.submitted_by.as_deref(),
        Some("admin"),
        "the controller comes to the digest that the webhook sealed"
    );
}

#[tokio::test]
async fn annotations_are_kept_as_they_were_against_change_and_removal() {
    let world = World::shared("kept").await;
    let created = world.create(task("kept", json!({"suspend": true}))).await;
    for value in [json!("root"), Value::Null] {
        let forged: serde_json::Map<_, _> = FORGED.iter().map(|name| (name.to_string(), value.clone())).collect();
        let patched = world.patch("kept", json!({"metadata": {"annotations": forged}})).await.unwrap();
        assert_eq!(reserved(&patched), reserved(&created), "{value}");
    }
    let emptied = world.patch("kept", json!({"metadata": {"annotations": null}})).await.unwrap();
    assert_eq!(reserved(&emptied), reserved(&created));
    let labelled = world.patch("kept", json!({"metadata": {"labels": {"mine": "yes"}}})).await.unwrap();
    assert_eq!(labelled.metadata.labels.unwrap()["mine"], "yes");
}

#[tokio::test]
async fn a_finalizer_that_was_taken_off_comes_back() {
    let world = World::shared("finalizer").await;
    world.create(task("bare", json!({"suspend": true}))).await;
    world.wait_for_reason("bare", "Suspended").await;
    world.patch("bare", json!({"metadata": {"finalizers": null}})).await.unwrap();
    until("the finalizer to be back", async || {
        let finalizers = world.get("bare").await.metadata.finalizers.unwrap_or_default();
        if finalizers == ["jct.dev/record"] { Ok(()) } else { Err(format!("{finalizers:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_task_that_was_forced_away_does_not_run_on() {
    let world = World::shared("forced").await;
    let held = Held::new("demo/forced");
    world.create(task_on("forced", held.name())).await;
    let task = world.wait_for("forced", "Running").await;
    world.tasks().delete("forced", &Default::default()).await.unwrap();
    let _ = world.patch("forced", json!({"metadata": {"finalizers": null}})).await;
    world.wait_until_gone("forced").await;
    world.wait_until_podless(&task).await;
    until("its record to be closed", async || {
        let last = audit(&["--entity", &id(&task)]).await.pop().unwrap_or_default();
        if last["action"] == "deleted" { Ok(()) } else { Err(last.to_string()) }
    })
    .await;
}

#[rstest]
#[case(json!({"objective": "Something else"}))]
#[case(json!({"operation": "docs"}))]
#[case(json!({"operation": null, "type": "analysis"}))]
#[case(json!({"target": {"repo": "demo/other"}}))]
#[case(json!({"target": {"ref": "v1.0.0"}}))]
#[case(json!({"requestedBy": {"id": "eve"}}))]
#[case(json!({"constraints": {"timeBudgetSeconds": 60}}))]
#[case(json!({"inputs": {"a": {"b": 2}}}))]
#[case(json!({"inputs": null}))]
#[case(json!({"metadata": {"x": 1}}))]
#[case(json!({"acceptanceCriteria": ["more"]}))]
#[case(json!({"idempotencyKey": "k"}))]
#[case(json!({"maxAttempts": 2}))]
#[case(json!({"ttlSecondsAfterFinished": 1}))]
#[case(json!({"createCwom": false}))]
#[case(json!({"executor": "other"}))]
#[case(json!({"version": "1.0"}))]
#[tokio::test]
async fn the_spec_cannot_change(#[case] change: Value) {
    let world = World::shared("immutable").await;
    world.create(task("fixed", json!({"suspend": true, "inputs": {"a": {"b": 1}}}))).await;
    let answer = world.patch("fixed", json!({"spec": change})).await;
    let Err(kube::Error::Api(status)) = &answer else { panic!("{answer:?}") };
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"), "{status:?}");
    assert!(status.message.contains("INVALID_SPEC: spec."), "{status:?}");
    assert!(status.message.contains("only suspend and cancel may"), "{status:?}");
}

#[tokio::test]
async fn a_cancellation_tells_who_cancelled() {
    let world = World::shared("canceller").await;
    let held = Held::new("demo/canceller");
    world.create(task_on("stopped", held.name())).await;
    world.wait_for("stopped", "Running").await;
    world.allow("linus@example.org").await;
    let as_linus: Api<Task> = Api::namespaced(world.client_of("linus@example.org").await, &world.namespace);
    let cancel = Patch::Merge(json!({"spec": {"cancel": true}}));
    as_linus.patch("stopped", &PatchParams::default(), &cancel).await.unwrap();

    let task = world.wait_for("stopped", "Cancelled").await;
    assert_eq!(task.metadata.annotations.as_ref().unwrap()["jct.dev/cancelled-by"], "linus@example.org");
    assert_eq!(condition(&task, "Succeeded"), ("False".into(), "Cancelled".into()));
    let entries = audit(&["--entity", &id(&task)]).await;
    let last = entries.last().unwrap();
    assert_eq!((&last["after"]["status"], &last["actor_id"]), (&json!("cancelled"), &json!("linus@example.org")));
}

#[tokio::test]
async fn who_may_edit_a_namespace_may_not_write_a_status() {
    let world = World::shared("status").await;
    world.create(task("mine", json!({"suspend": true}))).await;
    world.wait_for_reason("mine", "Suspended").await;
    world.allow("eve@example.org").await;
    let as_eve: Api<Task> = Api::namespaced(world.client_of("eve@example.org").await, &world.namespace);
    let lie = Patch::Merge(json!({"status": {"phase": "Completed"}}));
    let answer = as_eve.patch_status("mine", &PatchParams::default(), &lie).await;
    assert!(matches!(answer, Err(kube::Error::Api(status)) if status.code == 403));
    assert_eq!(phase(&world.get("mine").await), "Pending");
}

#[tokio::test]
async fn an_id_can_be_pinned_once() {
    let world = World::shared("pinned").await;
    let pinned = |name: &str, id: &str| {
        let mut manifest = task(name, json!({}));
        manifest["metadata"]["annotations"] = json!({"jct.dev/id": id});
        manifest
    };
    let status = world.denied(&pinned("bad", "no-id")).await;
    assert!(status.message.contains("INVALID_SPEC: metadata.annotations[jct.dev/id]: "), "{status:?}");

    let first = world.create(task("first", json!({}))).await;
    let taken = jct_domain::Id::derive(
        first.metadata.creation_timestamp.as_ref().unwrap().0,
        &format!("{}/pinned", first.metadata.uid.as_ref().unwrap()),
    )
    .to_string();
    world.create(pinned("restored", &taken)).await;
    let restored = world.wait_for("restored", "Completed").await;
    assert_eq!(id(&restored), taken);
    world.create(pinned("second", &taken)).await;
    let second = world.wait_for("second", "Failed").await;
    assert_eq!(second.status.as_ref().unwrap().reason.as_deref(), Some("IdConflict"));
    assert_eq!(crate::support::jobs_ever(&restored).len(), 1);
}
