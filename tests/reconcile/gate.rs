//! Before each attempt the gate is asked about what would run: the recorded Task.

use jct::domain::Phase;
use jct::domain::executor::Executors;
use jct::domain::forge::{Forges, Mode};
use jct::domain::model::budget::{Amount, Unit, Want};
use jct::domain::model::{Limits, Models, Usd};
use jct::policy::Policy;
use jct::store::{AskBudget, NewExchange, Reserve, Settle, task_account};
use serde_json::{Value, json};

use crate::api::{Answer, call};
use crate::fixture::{World, running, seen, succeeded};

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
async fn a_grant_that_is_taken_back_stops_what_would_be_delivered_by_it() {
    const FORGES: &str = "[{name: own, kind: gitea, repos: [octo/], git: 'https://g/{repo}', api: 'https://g/api/v1', \
                          write: {secret: w}, grants: [{namespaces: [team], repos: [octo/], deliver: [branch]}]}]";
    let change = json!({"spec": {"operation": "docs", "delivery": {"mode": "branch"}}});
    for (forges, phase, reason) in [
        (FORGES.to_owned(), "Queued", "JobCreated"),
        (FORGES.replace("[branch]", "[]"), "Failed", "DELIVERY_NOT_ALLOWED"),
        ("[]".into(), "Failed", "DELIVERY_NOT_ALLOWED"),
    ] {
        let mut world = World::new().await;
        world.forges = Forges::read(FORGES).unwrap();
        let released = held_back(&world, change.clone()).await;
        assert_eq!(world.row().await.delivery.unwrap().mode, Mode::Branch);
        world.forges = Forges::read(&forges).unwrap();
        let job = (phase == "Queued").then(|| call("POST", JOBS, Answer::Echo));
        let pass = world.pass(&released, job.into_iter().chain([call("PATCH", STATUS, Answer::Echo)]).collect()).await;
        assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!(phase), &json!(reason)));
    }
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

#[tokio::test]
async fn a_task_that_waits_for_its_budget_says_so_and_on_what_it_was_spent() {
    let mut world = World::new().await;
    let asks = MODELS.replace("unlimited: true", "unlimited: true, when_used_up: ask");
    (world.executors, world.models) = (Executors::read(ASKS).unwrap(), Models::read(&asks).unwrap());
    let task = world.task(json!({}));
    world
        .pass(&task, vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)])
        .await
        .result
        .unwrap();
    let runs = async |world: &World| {
        let script = vec![call("PATCH", STATUS, Answer::Echo)];
        world.pass_with(&task, script, |context| seen(context, 1, json!({}), running())).await
    };
    let before = runs(&world).await;
    assert_eq!((&before.status()["phase"], &before.status()["reason"]), (&json!("Running"), &json!("Running")));
    let (task_id, at) = (world.row().await.id, "2026-03-01T12:00:00Z".parse().unwrap());
    let used = Amount { usd: Usd::from_dollars(0.25).unwrap(), tokens: 1200, requests: 1 };
    let accounts = vec![(task_account(task_id), Limits::default())];
    let want = Want { most: used, least: used };
    let reserve = Reserve { id: "1".into(), broker: "b".into(), accounts, want, at };
    world.store.reserve_model(reserve).await.unwrap().unwrap();
    let exchange = NewExchange { task_id, attempt: 1, alias: "small".into(), used, at, json: "{}".into() };
    world.store.settle_model(Settle { id: "1".into(), exchange }).await.unwrap();
    let until = "2026-03-01T13:00:00Z".parse().unwrap();
    let ask = AskBudget { task_id, attempt: 1, unit: Unit::Usd, at, until };
    world.store.ask_model_budget(ask).await.unwrap();
    let waits = runs(&world).await;
    assert_eq!((&waits.status()["phase"], &waits.status()["reason"]), (&json!("Running"), &json!("AwaitingBudget")));
    let message = waits.status()["message"].as_str().unwrap();
    let expected = format!(
        "its budget of models is used up (dollars): $0.25 and 1200 tokens are spent: $0.25 on small in 1 requests. POST \
         /tasks/{task_id}/budget raises it or ends the attempt, which ends by itself at 2026-03-01T13:00:00Z"
    );
    assert_eq!(message, expected);
    world.store.resume_model_budget(task_id).await.unwrap();
    assert_eq!(runs(&world).await.status()["reason"], json!("Running"));
}
