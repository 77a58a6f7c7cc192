use jct::crd::names::FINALIZER;
use jct::domain::Phase;
use jct::domain::executor::Executors;
use serde_json::{Value, json};

use crate::api::{Answer, call};
use crate::fixture::{World, task_id};

const STATUS: &str = "/apis/jct.dev/v1/namespaces/team/tasks/look/status";
const JOBS: &str = "/apis/batch/v1/namespaces/workers/jobs";

/// A Task as somebody makes it while no webhook looks.
fn ungated(world: &World, change: Value) -> Value {
    let mut task = world.task(json!({"metadata": {"annotations": null}}));
    json_patch::merge(&mut task, &change);
    task
}

#[tokio::test]
async fn an_ungated_task_never_runs() {
    let world = World::new().await;
    let task = ungated(&world, json!({"spec": {"target": {"repo": "evil/x"}}}));
    let pass = world.pass(&task, vec![call("PATCH", STATUS, Answer::Echo)]).await;
    assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Failed"), &json!("REPO_NOT_ALLOWED")));
    assert_eq!(world.store.task(task_id()).await.unwrap(), None);
    assert_eq!(world.audit().await, ["Task created failed by unverified"]);
    // Again, and after the policy would allow it: the refusal stands.
    let allowed = ungated(&world, json!({"status": pass.status().clone()}));
    world.pass(&allowed, vec![]).await.result.unwrap();
    assert_eq!(world.audit().await.len(), 1);
}

#[tokio::test]
async fn who_submitted_is_believed_only_under_the_webhooks_seal() {
    let world = World::new().await;
    let mut forged = world.task(json!({}));
    forged["metadata"]["annotations"]["jct.dev/submitted-by"] = json!("root@example.org");
    world
        .pass(&forged, vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)])
        .await
        .result
        .unwrap();
    assert_eq!(world.row().await.submitted_by, None);
    assert_eq!(world.audit().await[0], "Task created queued by unverified");
}

#[tokio::test]
async fn an_object_without_our_finalizer_gets_it_before_it_is_recorded() {
    let world = World::new().await;
    let task = ungated(&world, json!({"metadata": {"finalizers": ["other/one"]}}));
    let metadata =
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": task["metadata"]});
    let script = vec![
        call("GET", "/tasks/look", Answer::Object(metadata.clone())),
        call("PATCH", "/tasks/look", Answer::Object(metadata)),
        call("POST", JOBS, Answer::Echo),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let pass = world.pass(&task, script).await;
    assert_eq!(pass.calls[1].2["metadata"]["finalizers"], json!(["other/one", FINALIZER]));
}

#[tokio::test]
async fn an_operation_without_an_executor_fails_without_a_job() {
    let mut world = World::new().await;
    world.executors = Executors::read("defaults: {code_change: null}").unwrap();
    let task = world.task(json!({"spec": {"operation": "code_change"}}));
    let pass = world.pass(&task, vec![call("PATCH", STATUS, Answer::Echo)]).await;
    assert_eq!(pass.status()["reason"], "ExecutorNotConfigured");
    let message = pass.status()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("allowed in spec.executor: code-change"), "{message}");
    assert_eq!(world.row().await.phase, Phase::Failed);
}

/// As when the chart and a Task are applied together.
#[tokio::test]
async fn a_task_waits_for_an_executor_that_is_being_configured() {
    let mut world = World::new().await;
    world.executor_patience = std::time::Duration::from_secs(60);
    let task = world.task(json!({"spec": {"executor": "agent"}}));
    let pass = world.pass(&task, vec![call("PATCH", STATUS, Answer::Echo)]).await;
    pass.result.as_ref().unwrap();
    assert_eq!(pass.status()["reason"], "WaitingForExecutor");
    assert_ne!(pass.status()["phase"], "Failed");
    assert!(pass.status()["message"].as_str().unwrap().contains("\"agent\""), "{}", pass.status());
    world.executors =
        Executors::read("executors: [{name: agent, operations: [analysis], image: a, command: [a]}]").unwrap();
    let pass = world.pass(&task, vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)]).await;
    pass.result.as_ref().unwrap();
    assert_eq!(pass.status()["reason"], "JobCreated");
}

#[tokio::test]
async fn a_second_object_with_a_known_key_shows_the_firsts_outcome() {
    let world = World::new().await;
    let first = world.task(json!({"spec": {"idempotencyKey": "k", "executor": "nobody"}}));
    world.pass(&first, vec![call("PATCH", STATUS, Answer::Echo)]).await.result.unwrap();
    let second = world.task(json!({
        "metadata": {"name": "again", "uid": "00000000-0000-0000-0000-000000000002"},
        "spec": {"idempotencyKey": "k", "executor": "nobody"},
    }));
    let pass = world.pass(&second, vec![call("PATCH", "/tasks/again/status", Answer::Echo)]).await;
    assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Failed"), &json!("Duplicate")));
    assert!(pass.status()["message"].as_str().unwrap().contains(&task_id().to_string()));
}

#[tokio::test]
async fn an_object_that_does_not_fit_the_types_is_refused_and_stalls_nothing() {
    let world = World::new().await;
    let mut poison = world.task(json!({}));
    poison["spec"] = json!({"objective": 7, "target": []});
    let pass = world.pass(&poison, vec![call("PATCH", STATUS, Answer::Echo)]).await;
    assert_eq!(pass.status()["reason"], "INVALID_SPEC");
}

#[tokio::test]
async fn a_pinned_id_of_another_task_is_a_conflict() {
    let world = World::new().await;
    world
        .pass(&world.task(json!({"spec": {"suspend": true}})), vec![call("PATCH", STATUS, Answer::Echo)])
        .await
        .result
        .unwrap();
    let thief = world.task(json!({"metadata": {
        "name": "thief", "uid": "00000000-0000-0000-0000-000000000003", "annotations": {"jct.dev/id": task_id().to_string()},
    }}));
    let pass = world.pass(&thief, vec![call("PATCH", "/tasks/thief/status", Answer::Echo)]).await;
    assert_eq!(pass.status()["reason"], "IdConflict");
}
