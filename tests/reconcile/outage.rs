//! The record cannot be written: each Task is told once, and all goes on where it stopped.

use std::sync::Arc;
use std::time::Duration;

use jct::domain::Phase;
use jct::reconcile::task::{Object, reconcile};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::api::{Answer, call};
use crate::fixture::{World, running, seen};

const JOBS: &str = "/apis/batch/v1/namespaces/workers/jobs";
const STATUS: &str = "/apis/jct.dev/v1/namespaces/team/tasks/look/status";

async fn impatient() -> World {
    World::with(|settings| settings.wait = Duration::from_millis(300)).await
}

fn recorded(status: &Value) -> &Value {
    let conditions = status["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == "Recorded").unwrap()
}

#[tokio::test]
async fn a_new_task_is_told_once_and_runs_when_the_record_is_back() {
    let world = impatient().await;
    let task = world.task(json!({}));
    let lock = world.lock().await;
    let pass = world.pass(&task, vec![call("PATCH", STATUS, Answer::Echo)]).await;
    assert_eq!(pass.result.as_ref().unwrap_err().category(), "store");
    let status = pass.status();
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Pending"), &json!("StoreUnavailable")));
    assert_eq!(recorded(status)["status"], "False");
    assert!(status["message"].as_str().unwrap().starts_with("the database is not available: "), "{status}");

    // The same controller again, and one that has just started: neither says it a second time.
    let object: Object = serde_json::from_value(task.clone()).unwrap();
    reconcile(Arc::new(object), pass.context.clone()).await.unwrap_err();
    let reported = world.task(json!({"status": status}));
    world.pass(&reported, vec![]).await.result.unwrap_err();

    lock.close().await.unwrap();
    let script = vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)];
    let pass = world.pass(&reported, script).await;
    pass.result.as_ref().unwrap();
    assert_eq!((&pass.status()["phase"], &recorded(pass.status())["status"]), (&json!("Queued"), &json!("True")));
    let entries = world.audit().await;
    assert_eq!(entries.iter().filter(|entry| entry.starts_with("Task created")).count(), 1, "{entries:?}");
}

#[tokio::test]
async fn a_recorded_task_says_that_its_record_is_behind() {
    let world = impatient().await;
    let started = vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)];
    let before = world.pass(&world.task(json!({})), started).await.status().clone();
    let lock = world.lock().await;
    let queued = world.task(json!({"status": before}));
    let script = vec![call("PATCH", STATUS, Answer::Echo)];
    let pass = world.pass_with(&queued, script, |context| seen(context, 1, json!({}), running())).await;
    pass.result.as_ref().unwrap_err();
    let mut status = before.clone();
    json_patch::merge(&mut status, pass.status());
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Queued"), &json!("StoreUnavailable")));
    assert_eq!((&recorded(&status)["status"], &status["jobName"]), (&json!("Unknown"), &before["jobName"]));
    let reported = world.task(json!({"status": status}));
    let again = world.pass_with(&reported, vec![], |context| seen(context, 1, json!({}), running())).await;
    again.result.unwrap_err();

    lock.close().await.unwrap();
    let script = vec![call("PATCH", STATUS, Answer::Echo)];
    let pass = world.pass_with(&reported, script, |context| seen(context, 1, json!({}), running())).await;
    pass.result.as_ref().unwrap();
    assert_eq!((&pass.status()["reason"], &recorded(pass.status())["status"]), (&json!("Running"), &json!("True")));
    assert_eq!(world.row().await.phase, Phase::Running);
}

#[tokio::test]
async fn an_end_that_is_shown_stays_as_it_is() {
    let world = impatient().await;
    let ended = world.task(json!({"status": {"phase": "Failed", "reason": "ExecutorFailed"}}));
    let lock = world.lock().await;
    world.pass(&ended, vec![]).await.result.unwrap_err();
    drop(lock);
}
