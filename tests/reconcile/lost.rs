//! Objects that show more than the record knows: the database was lost, or is an older one, or belongs to another installation.

use jct::domain::{FailureReason, Phase};
use serde_json::{Value, json};

use crate::api::{Answer, Call, call};
use crate::fixture::{World, job, job_name, running, seen, succeeded, task_id};

const JOBS: &str = "/apis/batch/v1/namespaces/workers/jobs";
const STATUS: &str = "/apis/jct.dev/v1/namespaces/team/tasks/look/status";

fn condition<'s>(status: &'s Value, type_: &str) -> &'s Value {
    status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == type_).unwrap()
}

fn status_call() -> Vec<Call> {
    vec![call("PATCH", STATUS, Answer::Echo)]
}

fn start() -> Vec<Call> {
    vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)]
}

fn nothing_there() -> Vec<Call> {
    vec![
        call("GET", JOBS, Answer::Failure(404)),
        call("GET", "/pods", Answer::Object(json!({"metadata": {}, "items": []}))),
        call("PATCH", STATUS, Answer::Echo),
    ]
}

/// The status of a Task that has run to its end, or failed, in another world.
async fn ended_status(failure: Option<FailureReason>) -> Value {
    let world = World::new().await;
    let task = world.task(json!({}));
    world.pass(&task, start()).await.result.unwrap();
    world.leave_trace(1, failure);
    let script = vec![call("PATCH", JOBS, Answer::Object(job(1, json!({})))), call("PATCH", STATUS, Answer::Echo)];
    let pass = world.pass_with(&task, script, |context| seen(context, 1, json!({}), succeeded())).await;
    pass.status().clone()
}

/// The status of a Task whose worker runs, in another world.
async fn running_status() -> Value {
    let world = World::new().await;
    let task = world.task(json!({}));
    world.pass(&task, start()).await.result.unwrap();
    let pass = world.pass_with(&task, status_call(), |context| seen(context, 1, json!({}), running())).await;
    pass.status().clone()
}

fn decided(mut status: Value, action: &str) -> Value {
    status["decision"] = json!({"action": action, "by": "root@example.org", "at": "2026-03-01T13:00:00Z"});
    status
}

fn check_lost(status: &Value, before: &Value) {
    assert_eq!(status["reason"], "RecordLost");
    let recorded = condition(status, "Recorded");
    assert_eq!((&recorded["status"], &recorded["reason"]), (&json!("False"), &json!("RecordLost")));
    assert!(recorded["message"].as_str().unwrap().contains("jct tasks rerun team/look"), "{recorded}");
    for kept in
        ["phase", "attempt", "commit", "trace", "completedAt", "startedAt", "id", "traceId", "submittedBy", "cwom"]
    {
        assert_eq!(status[kept], before[kept], "{kept}");
    }
    assert_eq!(condition(status, "Succeeded"), condition(before, "Succeeded"));
}

#[tokio::test]
async fn an_ended_task_of_which_the_record_knows_nothing_keeps_its_end_and_runs_nothing() {
    for failure in [None, Some(FailureReason::ExecutorFailed)] {
        let shown = ended_status(failure).await;
        let world = World::new().await;
        let pass = world.pass(&world.task(json!({"status": shown})), status_call()).await;
        pass.result.as_ref().unwrap();
        check_lost(pass.status(), &shown);
        assert_eq!(world.store.task(task_id()).await.unwrap(), None);
        assert_eq!(world.audit().await, Vec::<String>::new());
        // It says so once.
        let lost = world.task(json!({"status": pass.status().clone()}));
        world.pass(&lost, vec![]).await.result.unwrap();
    }
}

/// The control: without that status the same Task runs.
#[tokio::test]
async fn a_task_that_shows_no_end_is_new() {
    let world = World::new().await;
    let waiting = json!({"phase": "Pending", "reason": "StoreUnavailable", "conditions": []});
    world.pass(&world.task(json!({"status": waiting})), start()).await.result.unwrap();
    assert_eq!(world.row().await.phase, Phase::Queued);
}

#[tokio::test]
async fn a_task_that_was_refused_does_not_run_once_the_refusal_is_lost() {
    let mut world = World::new().await;
    world.policy = jct::policy::Policy::default().allowing("other/");
    let refused = world.pass(&world.task(json!({})), status_call()).await.status().clone();
    let world = World::new().await;
    let pass = world.pass(&world.task(json!({"status": refused})), status_call()).await;
    assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Failed"), &json!("RecordLost")));
    assert_eq!(world.store.task(task_id()).await.unwrap(), None);
}

/// A backup from before the Task had ended: from before its first attempt, and from while that was under way.
#[tokio::test]
async fn an_ended_task_does_not_run_again_by_an_older_record() {
    let shown = ended_status(None).await;
    let held_back = World::new().await;
    held_back.pass(&held_back.task(json!({"spec": {"suspend": true}})), status_call()).await.result.unwrap();
    let begun = World::new().await;
    begun.pass(&begun.task(json!({})), start()).await.result.unwrap();
    for world in [held_back, begun] {
        let before = world.row().await;
        let pass = world.pass(&world.task(json!({"status": shown})), status_call()).await;
        pass.result.as_ref().unwrap();
        check_lost(pass.status(), &shown);
        assert_eq!(world.row().await, before);
    }
}

#[tokio::test]
async fn attempts_that_the_record_has_missed_are_not_started_again() {
    let mut shown = running_status().await;
    shown["attempt"] = json!(3);
    let world = World::new().await;
    world.pass(&world.task(json!({"spec": {"suspend": true}})), status_call()).await.result.unwrap();
    let pass = world.pass(&world.task(json!({"status": shown})), status_call()).await;
    check_lost(pass.status(), &shown);
    assert_eq!(pass.status()["phase"], "Running");
    assert!(!condition(pass.status(), "Recorded")["message"].as_str().unwrap().contains("adopt"));
    assert_eq!(world.row().await.attempt, 0);
}

/// The record was lost while the first attempt ran.
#[tokio::test]
async fn a_running_attempt_is_gone_on_with_and_no_second_one_is_made() {
    let shown = running_status().await;
    let world = World::new().await;
    let task = world.task(json!({"status": shown}));
    // No Job is made; the one that is there is watched.
    let pass = world.pass_with(&task, status_call(), |context| seen(context, 1, json!({}), running())).await;
    pass.result.as_ref().unwrap();
    assert_eq!((world.row().await.phase, world.row().await.attempt), (Phase::Running, 1));
}

#[tokio::test]
async fn an_attempt_whose_job_is_gone_is_judged_by_what_it_left() {
    let shown = running_status().await;
    let world = World::new().await;
    let pass = world.pass(&world.task(json!({"status": shown})), nothing_there()).await;
    assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Failed"), &json!("JobDeleted")));
}

/// A folder that is claimed is an attempt that ran, whatever record and status say: an older backup of both, a failover that
/// lost a commit, a pinned id of another time.
#[tokio::test]
async fn an_attempt_whose_trace_folder_is_claimed_is_never_started_again() {
    let claimed = async || {
        let world = World::new().await;
        let task = world.task(json!({}));
        let suspended = world.task(json!({"spec": {"suspend": true}}));
        world.pass(&suspended, status_call()).await.result.unwrap();
        std::fs::create_dir_all(world.trace_folder(1)).unwrap();
        std::fs::write(world.trace_folder(1).join("task.json"), task_json(&world).await).unwrap();
        (world, task)
    };
    // The control: what the operator itself prepares is no claim.
    let (world, task) = claimed().await;
    world.pass(&task, start()).await.result.unwrap();

    let (world, task) = claimed().await;
    std::fs::write(world.trace_folder(1).join("claim.json"), "{}").unwrap();
    let pass = world.pass(&task, nothing_there()).await;
    assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Failed"), &json!("JobDeleted")));
    assert_eq!(world.row().await.attempt, 1);

    let (world, task) = claimed().await;
    world.leave_trace(1, None);
    let pass = world.pass(&task, nothing_there()).await;
    assert_eq!(pass.status()["phase"], "Completed", "it was sealed");
}

async fn task_json(world: &World) -> Vec<u8> {
    jct::domain::trace::task_json(&world.row().await.task)
}

#[tokio::test]
async fn an_administrator_adopts_the_end_that_is_shown() {
    let world = World::new().await;
    for (failure, phase) in [(None, "Completed"), (Some(FailureReason::ExecutorFailed), "Failed")] {
        let world = if failure.is_none() { &world } else { &World::new().await };
        let shown = ended_status(failure).await;
        let lost = world.pass(&world.task(json!({"status": shown})), status_call()).await.status().clone();
        let adopted = world.task(json!({"status": decided(lost, "Adopt")}));
        let pass = world.pass(&adopted, status_call()).await;
        pass.result.as_ref().unwrap();
        let status = pass.status();
        assert_eq!(status["phase"], phase);
        assert_eq!(status["decision"], Value::Null, "it is done");
        assert_eq!((&status["trace"], &status["commit"]), (&shown["trace"], &shown["commit"]));
        assert_eq!(condition(status, "Succeeded")["reason"], condition(&shown, "Succeeded")["reason"]);
        let recorded = condition(status, "Recorded");
        assert_eq!(recorded["status"], "True");
        assert!(recorded["message"].as_str().unwrap().contains("root@example.org"), "{recorded}");
        let row = world.row().await;
        assert_eq!(
            (row.adopted_by.as_deref(), row.attempt),
            (Some("root@example.org (unverified: as the status says)"), 1)
        );
        assert_eq!(json!(row.manifest_sha256), shown["trace"]["manifestSha256"]);
        // Whoever may write statuses can say any name: nobody is said to have done it.
        assert!(world.audit().await.iter().any(|entry| entry.ends_with("by unverified")));
        assert!(!world.audit().await.iter().any(|entry| entry.ends_with("by root@example.org")));
        // A cache that lags shows the word of the administrator again.
        let entries = world.audit().await.len();
        world.pass(&adopted, status_call()).await.result.unwrap();
        assert_eq!(world.audit().await.len(), entries);
    }
}

/// What ran before is not held against the policy of today.
#[tokio::test]
async fn an_end_is_adopted_though_the_policy_became_tighter() {
    let shown = ended_status(None).await;
    let mut world = World::new().await;
    world.policy = jct::policy::Policy::default().allowing("other/");
    let pass = world.pass(&world.task(json!({"status": shown})), status_call()).await;
    check_lost(pass.status(), &shown);
    assert_eq!(world.audit().await, Vec::<String>::new(), "the end of what has run is not that it is refused now");
    let adopted = world.task(json!({"status": decided(shown.clone(), "Adopt")}));
    let pass = world.pass(&adopted, status_call()).await;
    assert_eq!(pass.status()["phase"], "Completed");
    assert_eq!(world.row().await.phase, Phase::Completed);
}

#[tokio::test]
async fn an_end_is_adopted_over_an_older_record() {
    let shown = ended_status(None).await;
    let world = World::new().await;
    world.pass(&world.task(json!({})), start()).await.result.unwrap();
    let adopted = world.task(json!({"status": decided(shown, "Adopt")}));
    world.pass(&adopted, status_call()).await.result.unwrap();
    let row = world.row().await;
    assert_eq!((row.phase, row.attempt), (Phase::Completed, 1));
    assert_eq!(world.store.jobs(row.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_administrator_lets_a_task_run_again_after_what_it_shows() {
    let shown = ended_status(Some(FailureReason::ExecutorFailed)).await;
    let world = World::new().await;
    let again = world.task(json!({"status": decided(shown, "Rerun")}));
    // After the wait before another attempt.
    let waiting = world.pass(&again, status_call()).await;
    assert_eq!(waiting.status()["reason"], "Retrying");
    assert_eq!(waiting.status()["decision"], Value::Null);
    tokio::time::sleep(std::time::Duration::from_millis(3100)).await;
    // By a cache that lags, and by one that does not.
    let pass = world.pass(&again, start()).await;
    pass.result.as_ref().unwrap();
    assert_eq!(pass.calls[0].2["metadata"]["name"], job_name(2));
    assert_eq!((world.row().await.attempt, world.row().await.phase), (2, Phase::Queued));
    world.leave_trace(2, None);
    let script = vec![call("PATCH", JOBS, Answer::Object(job(2, json!({})))), call("PATCH", STATUS, Answer::Echo)];
    let pass = world.pass_with(&again, script, |context| seen(context, 2, json!({}), succeeded())).await;
    assert_eq!(pass.status()["phase"], "Completed");
    assert_eq!(world.store.jobs(task_id()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lost_task_can_be_deleted_and_its_record_is_closed() {
    let shown = ended_status(None).await;
    let deleted =
        |world: &World| world.task(json!({"status": shown, "metadata": {"deletionTimestamp": "2026-03-01T12:05:00Z"}}));
    let release = |world: &World| {
        let metadata = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": deleted(world)["metadata"]});
        vec![
            call("GET", "/tasks/look", Answer::Object(metadata.clone())),
            call("PATCH", "/tasks/look", Answer::Object(metadata)),
        ]
    };
    let world = World::new().await;
    let pass = world.pass(&deleted(&world), release(&world)).await;
    pass.result.as_ref().unwrap();
    assert_eq!(pass.calls[1].2["metadata"]["finalizers"], json!([]));
    assert_eq!(world.store.task(task_id()).await.unwrap(), None);

    let world = World::new().await;
    world.pass(&world.task(json!({})), start()).await.result.unwrap();
    let mut script = vec![call("DELETE", JOBS, Answer::Failure(404))];
    script.extend(release(&world));
    let pass = world.pass(&deleted(&world), script).await;
    pass.result.as_ref().unwrap();
    let row = world.row().await;
    assert_eq!((row.phase, row.error.unwrap().reason.as_str()), (Phase::Failed, "RecordLost"));
    assert!(row.deleted_at.is_some());
}

#[tokio::test]
async fn a_lost_task_whose_key_is_taken_keeps_its_end() {
    let shown = ended_status(None).await;
    let world = World::new().await;
    let other = world.task(json!({
        "metadata": {"name": "other", "uid": "00000000-0000-0000-0000-000000000002"},
        "spec": {"idempotencyKey": "k", "suspend": true},
    }));
    world.pass(&other, vec![call("PATCH", "/tasks/other/status", Answer::Echo)]).await.result.unwrap();
    for status in [shown.clone(), decided(shown.clone(), "Adopt"), decided(shown.clone(), "Rerun")] {
        let lost = world.task(json!({"spec": {"idempotencyKey": "k"}, "status": status}));
        let pass = world.pass(&lost, status_call()).await;
        assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Completed"), &json!("RecordLost")));
        assert_eq!(pass.status()["trace"], shown["trace"]);
    }
    assert_eq!(world.store.task(task_id()).await.unwrap(), None);
}
