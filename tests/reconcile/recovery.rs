use jct::domain::Phase;
use serde_json::json;

use crate::api::{Answer, call};
use crate::fixture::{World, job, job_name, running, seen};

const JOBS: &str = "/apis/batch/v1/namespaces/workers/jobs";
const STATUS: &str = "/apis/jct.dev/v1/namespaces/team/tasks/look/status";

fn no_pods() -> Answer {
    Answer::Object(json!({"metadata": {}, "items": []}))
}

#[tokio::test]
async fn a_crash_between_row_and_job_is_gone_on_from() {
    let world = World::new().await;
    let crashed = world.pass(&world.task(json!({})), vec![call("POST", JOBS, Answer::Failure(500))]).await;
    assert_eq!(crashed.result.unwrap_err().category(), "api");
    assert_eq!(world.row().await.attempt, 1);
    let script = vec![
        call("GET", format!("{JOBS}/{}", job_name(1)), Answer::Failure(404)),
        call("GET", "/pods", no_pods()),
        call("POST", JOBS, Answer::Echo),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let pass = world.pass(&world.task(json!({})), script).await;
    pass.result.unwrap();
    assert_eq!(pass.calls[2].2["metadata"]["name"], job_name(1));
    assert_eq!(world.store.jobs(world.row().await.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_create_that_was_applied_though_it_failed_is_a_success() {
    let world = World::new().await;
    let script = vec![
        call("POST", JOBS, Answer::Failure(409)),
        call("GET", JOBS, Answer::Object(job(1, json!({})))),
        call("PATCH", STATUS, Answer::Echo),
    ];
    world.pass(&world.task(json!({})), script).await.result.unwrap();
    assert_eq!(world.row().await.phase, Phase::Queued);
}

#[tokio::test]
async fn a_stranger_with_our_jobs_name_is_no_success() {
    let world = World::new().await;
    let mut stranger = job(1, json!({}));
    stranger["metadata"]["labels"] = json!({});
    let script = vec![call("POST", JOBS, Answer::Failure(409)), call("GET", JOBS, Answer::Object(stranger))];
    world.pass(&world.task(json!({})), script).await.result.unwrap_err();
}

#[tokio::test]
async fn a_job_that_vanished_after_its_worker_began_is_not_run_again() {
    let world = World::new().await;
    world
        .pass(&world.task(json!({})), vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)])
        .await;
    std::fs::write(world.trace_folder(1).join("events.jsonl"), "").unwrap();
    let script = vec![
        call("GET", JOBS, Answer::Failure(404)),
        call("GET", "/pods", no_pods()),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let pass = world.pass(&world.task(json!({})), script).await;
    assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Failed"), &json!("JobDeleted")));
}

#[tokio::test]
async fn a_vanished_job_whose_trace_is_sealed_has_done_its_work() {
    let world = World::new().await;
    world
        .pass(&world.task(json!({})), vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)])
        .await;
    world.leave_trace(1, None);
    let script = vec![
        call("GET", JOBS, Answer::Failure(404)),
        call("GET", "/pods", no_pods()),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let pass = world.pass(&world.task(json!({})), script).await;
    assert_eq!(pass.status()["phase"], "Completed");
}

#[tokio::test]
async fn an_outcome_that_is_recorded_is_shown_though_its_status_was_never_written() {
    let world = World::new().await;
    world
        .pass(&world.task(json!({})), vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)])
        .await;
    world.leave_trace(1, None);
    let gone = || {
        vec![
            call("GET", JOBS, Answer::Failure(404)),
            call("GET", "/pods", no_pods()),
            call("PATCH", STATUS, Answer::Failure(500)),
        ]
    };
    world.pass(&world.task(json!({})), gone()).await.result.unwrap_err();
    assert_eq!(world.row().await.phase, Phase::Completed);
    let entries = world.audit().await.len();
    let pass = world.pass(&world.task(json!({})), vec![call("PATCH", STATUS, Answer::Echo)]).await;
    assert_eq!(pass.status()["phase"], "Completed");
    assert_eq!(world.audit().await.len(), entries, "a replay writes nothing");
}

#[tokio::test]
async fn a_cache_that_lags_makes_no_second_write() {
    let world = World::new().await;
    let task = world.task(json!({}));
    world.pass(&task, vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)]).await;
    let running = world
        .pass_with(&task, vec![call("PATCH", STATUS, Answer::Echo)], |context| seen(context, 1, json!({}), running()))
        .await;
    // The same controller sees the object as it was before its own write.
    let cached: jct::reconcile::task::Object = serde_json::from_value(task).unwrap();
    jct::reconcile::task::reconcile(std::sync::Arc::new(cached), running.context.clone()).await.unwrap();
}
