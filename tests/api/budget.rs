//! Raising the budget of a Task that waits for it.

use std::sync::Arc;

use jct::domain::executor::Executors;
use jct::domain::model::Models;
use jct::domain::model::budget::Unit;
use jct::store::{AskBudget, HoldState};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::world::{ADA, CI, EVE, World};

impl World {
    /// With an executor of the name `asks`, whose model is granted, and somebody is asked for more.
    fn with_models(&mut self) {
        let executors = "executors:\n  - {name: asks, operations: [analysis], image: a, command: [a], model: {aliases: [m], maxUsd: 2}}";
        let models = "providers: [{name: p, dialect: anthropic, url: 'https://p', key: {secret: s, key: k}}]
models: [{alias: m, provider: p, model: m}]
grants: [{namespaces: ['*'], repos: [octo/], aliases: [m], max_usd_per_day: 10, when_used_up: ask}]";
        let (executors, models) = (Executors::read(executors).unwrap(), Models::read(models).unwrap());
        self.configured = Some((Arc::new(executors), Arc::new(models)));
        self.restart();
    }
}

#[tokio::test]
async fn a_second_person_with_the_right_raises_it_within_the_grant_once() {
    let mut world = World::new().await;
    world.with_models();
    let made = world.enqueue(json!({"executor": "asks"})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.body["task_id"].as_str().unwrap().parse().unwrap();
    let path = format!("/tasks/{id}/budget");
    let raise = json!({"decision": "raise", "max_usd": 5});
    world.allow("eve", &["get"], "team");
    world.restart();
    let answer = world.post(EVE, &path, &raise).await;
    assert_eq!((answer.status, &answer.body["detail"]["resource"]), (403, &json!("tasks.jct.dev/budget")));
    assert_eq!(world.post(CI, &path, &raise).await.status, 404, "who may not get it is told of nothing");
    for user in ["eve", "ada"] {
        world.cluster.rights.lock().unwrap().entry(user).or_default().push(("update", "tasks/budget", "team"));
    }
    world.restart();
    assert_eq!(world.post(EVE, &path, &raise).await.status, 409, "nobody is asked");
    let (at, until) = (Timestamp::now(), Timestamp::now() + SignedDuration::from_secs(60));
    world.store.ask_model_budget(AskBudget { task_id: id, attempt: 1, unit: Unit::Usd, at, until }).await.unwrap();
    let own = world.post(ADA, &path, &raise).await;
    assert_eq!((own.status, &own.body["detail"]["error"]), (403, &json!("second_person")), "{}", own.text);
    let high = world.post(EVE, &path, &json!({"decision": "raise", "max_usd": 11})).await;
    assert_eq!((high.status, &high.body["detail"]["code"]), (422, &json!("BUDGET_TOO_HIGH")));
    for wrong in [Value::Null, json!({"decision": "more"}), json!({"decision": "raise", "dollars": 5})] {
        assert_eq!(world.post(EVE, &path, &wrong).await.status, 422, "{wrong}");
    }
    assert_eq!(
        world.store.model_hold(id).await.unwrap().unwrap().state,
        HoldState::Waiting,
        "nothing was decided so far"
    );

    let raised = world.post(EVE, &path, &raise).await;
    assert_eq!((raised.status, &raised.body["limits"]), (200, &json!({"max_usd": 5.0})), "{}", raised.text);
    let hold = world.store.model_hold(id).await.unwrap().unwrap();
    assert_eq!((hold.state, hold.decided_by.as_deref()), (HoldState::Raised, Some("eve")));
    assert_eq!(world.post(EVE, &path, &raise).await.status, 409, "once");

    // Who raised it before may do so again: that is no part in how the Task came about.
    world.store.ask_model_budget(AskBudget { task_id: id, attempt: 1, unit: Unit::Usd, at, until }).await.unwrap();
    let lower = world.post(EVE, &path, &json!({"decision": "raise", "max_usd": 4})).await;
    assert_eq!(lower.status, 422, "less than it has: {}", lower.text);
    let ended = world.post(EVE, &path, &json!({"decision": "end"})).await;
    assert_eq!(ended.status, 200, "{}", ended.text);
    assert_eq!(world.store.model_hold(id).await.unwrap().unwrap().state, HoldState::Ended);
}
