//! Before each attempt the gate is asked about what would run: the recorded Task.

use jct::domain::Phase;
use jct::domain::executor::Executors;
use jct::domain::model::Models;
use jct::policy::Policy;
use serde_json::{Value, json};

use crate::api::{Answer, call};
use crate::fixture::{World, seen, succeeded};

const JOBS: &str = "/apis/batch/v1/namespaces/workers/jobs";
const STATUS: &str = "/apis/jct.dev/v1/namespaces/team/tasks/look/status";

/// A Task that is recorded and held back, with `change` merged into it.
async fn held_back(world: &World, change: Value) -> Value {
    let mut suspended = world.task(change);
    json_patch::merge(&mut suspended, &json!({"spec": {"suspend": true}}));
    world.pass(&suspended, vec![call("PATCH", STATUS, Answer::Echo)]).await.result.unwrap();
    assert_eq!(world.row().await.phase, Phase::Pending);
    let mut released = suspended;
    json_patch::merge(&mut released, &json!({"spec": {"suspend": null}, "metadata": {"generation": 2}}));
    released
}

#[tokio::test]
async fn a_released_task_runs_what_is_recorded() {
    let world = World::new().await;
    let released = held_back(&world, json!({"spec": {"inputs": {"commands": [["true"]]}, "maxAttempts": 3}})).await;
    let pass = world.pass(&released, vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)]).await;
    pass.result.unwrap();
    assert_eq!(world.row().await.phase, Phase::Queued);
}

#[tokio::test]
async fn a_policy_that_became_tighter_stops_what_is_recorded() {
    let mut world = World::new().await;
    let released = held_back(&world, json!({})).await;
    world.policy = Policy::default().allowing("octo/safe");
    let pass = world.pass(&released, vec![call("PATCH", STATUS, Answer::Echo)]).await;
    assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Failed"), &json!("REPO_NOT_ALLOWED")));
    assert_eq!(world.row().await.attempt, 0);
}

#[tokio::test]
async fn a_policy_that_became_tighter_stops_the_next_attempt() {
    let mut world = World::new().await;
    let task = world.task(json!({"spec": {"maxAttempts": 2}}));
    let start = vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)];
    world.pass(&task, start).await.result.unwrap();
    world.leave_trace(1, Some(jct::domain::FailureReason::SourceUnavailable));
    world.policy = Policy::default().allowing("octo/safe");
    let script = vec![
        call("PATCH", JOBS, Answer::Object(crate::fixture::job(1, json!({})))),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let pass = world.pass_with(&task, script, |context| seen(context, 1, json!({}), succeeded())).await;
    assert_eq!(pass.status()["reason"], "REPO_NOT_ALLOWED");
    assert_eq!(world.row().await.attempt, 1);
}

/// Whatever let the object show something else than what was recorded: nobody who looks at it decides about what runs.
#[tokio::test]
async fn an_object_that_shows_another_spec_than_the_recorded_one_runs_nothing() {
    let changes = [
        json!({"target": {"repo": "octo/harmless"}}),
        json!({"inputs": {"commands": [["true"]]}}),
        json!({"executor": "ops"}),
        json!({"maxAttempts": 9}),
        json!({"objective": 7}),
    ];
    for change in changes {
        let world = World::new().await;
        let mut released = held_back(&world, json!({})).await;
        json_patch::merge(&mut released["spec"], &change);
        let pass = world.pass(&released, vec![call("PATCH", STATUS, Answer::Echo)]).await;
        assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Failed"), &json!("INVALID_SPEC")));
        assert_eq!(world.row().await.attempt, 0, "{change}");
    }
}

const ASKS: &str =
    "executors: [{name: agent, operations: [analysis], image: a, command: [a], model: {aliases: [large, small]}}]
defaults: {analysis: agent}";
const MODELS: &str = "providers: [{name: p, dialect: anthropic, url: 'https://p.example', key: {secret: s, key: k}}]
models: [{alias: small, provider: p, model: m}]
grants: [{namespaces: [team], repos: [octo/], aliases: [small], unlimited: true}]";

#[tokio::test]
async fn models_that_are_granted_no_more_stop_what_is_recorded() {
    let mut world = World::new().await;
    let released = held_back(&world, json!({})).await;
    world.executors = Executors::read(ASKS).unwrap();
    let pass = world.pass(&released, vec![call("PATCH", STATUS, Answer::Echo)]).await;
    assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Failed"), &json!("MODEL_NOT_ALLOWED")));
    assert_eq!(world.row().await.attempt, 0);
}

#[tokio::test]
async fn a_job_of_an_executor_with_a_model_has_a_relay_that_knows_the_broker() {
    let mut world = World::new().await;
    (world.executors, world.models) = (Executors::read(ASKS).unwrap(), Models::read(MODELS).unwrap());
    let task = world.task(json!({}));
    let pass = world.pass(&task, vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)]).await;
    let (_, _, job) = pass.calls.iter().find(|(method, ..)| method == "POST").unwrap();
    let containers = job["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let args = |name: &str| {
        let found =
            containers.iter().find(|container| container["name"] == name).unwrap_or_else(|| panic!("no {name}"));
        found["args"].to_string()
    };
    assert!(args("model").contains("--broker-authorities=authorities of the broker"), "{}", args("model"));
    // Of what it asks, what it is granted.
    assert!(args("executor").contains("small") && !args("executor").contains("large"), "{}", args("executor"));
}
