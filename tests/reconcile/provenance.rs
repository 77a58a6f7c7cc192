//! The provenance of attempts: written with their outcome, whatever came in between.

use std::fs;
use std::path::Path;

use jct::domain::provenance::{Envelope, Statement};
use jct::domain::{FailureReason, Phase};
use jct::signing::{KeyRing, Keys, SigningKey};
use jct::trace::{Checked, State, Verdict, verify};
use serde_json::{Value, json};

use crate::api::{Answer, Call, call};
use crate::fixture::{World, job, job_name, seen};

const JOBS: &str = "/apis/batch/v1/namespaces/workers/jobs";
const STATUS: &str = "/apis/jct.dev/v1/namespaces/team/tasks/look/status";
const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn status() -> Call {
    call("PATCH", STATUS, Answer::Echo)
}

fn retired() -> Call {
    call("PATCH", format!("{JOBS}/{}", job_name(1)), Answer::Object(job(1, json!({}))))
}

/// A world whose Task has its first Job.
async fn started(change: Value) -> World {
    let world = World::new().await;
    let script = vec![call("POST", JOBS, Answer::Echo), status()];
    world.pass(&world.task(change), script).await.result.unwrap();
    world
}

/// A pod whose two containers have ended, the worker with this code.
fn ended(exit_code: i32) -> Value {
    let container = |name: &str, image_id: &str, code: i32| {
        json!({
            "name": name, "image": "registry.example/jct-worker:1", "imageID": image_id, "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "startedAt": "2026-03-01T12:00:05Z", "finishedAt": "2026-03-01T12:00:09Z"}},
        })
    };
    json!({
        "phase": if exit_code == 0 { "Succeeded" } else { "Failed" },
        "initContainerStatuses": [container("source", "", 0)],
        "containerStatuses": [container("worker", &format!("registry.example/jct-worker@{DIGEST}"), exit_code)],
    })
}

fn statement(folder: &Path) -> Statement {
    let envelope: Envelope = serde_json::from_slice(&fs::read(folder.join("provenance.dsse.json")).unwrap()).unwrap();
    serde_json::from_slice(&envelope.payload().unwrap()).unwrap()
}

fn checked(world: &World, attempt: u32) -> Checked {
    let ring = world.keys.current().unwrap();
    let mut found = Vec::new();
    verify(&world.trace_folder(attempt), Some(ring.public()), &mut |checked| found.push(checked)).unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

async fn finish(world: &World, change: Value, exit_code: i32, script: Vec<Call>) -> crate::fixture::Pass {
    world.pass_with(&world.task(change), script, |context| seen(context, 1, json!({}), ended(exit_code))).await
}

#[tokio::test]
async fn a_sealed_attempt_gets_a_statement_that_verifies() {
    let world = started(json!({})).await;
    world.leave_trace(1, None);
    finish(&world, json!({}), 0, vec![retired(), status()]).await.result.unwrap();
    let result = checked(&world, 1);
    assert_eq!((result.verdict, result.state), (Verdict::Good, State::Complete), "{:?}", result.problems);
    let statement = statement(&world.trace_folder(1));
    let subjects: Vec<_> = statement.subject.iter().map(|subject| subject.name.as_deref().unwrap()).collect();
    assert_eq!(subjects, ["manifest.json", "artifacts/report.md"]);
    let build = &statement.predicate.build_definition;
    let task: Value = serde_json::from_slice(&fs::read(world.trace_folder(1).join("task.json")).unwrap()).unwrap();
    assert_eq!(build.external_parameters, task);
    assert_eq!(build.internal_parameters.executor, "analysis");
    assert_eq!(build.internal_parameters.submitted_by.as_deref(), Some("ada@example.org"), "beside who is claimed");
    assert_eq!(task["requested_by"]["id"], "ada");
    let [repository, source, worker] = build.resolved_dependencies.as_slice() else { panic!("{build:?}") };
    assert_eq!(repository.uri.as_deref(), Some("git+u@main"));
    assert_eq!(repository.digest["gitCommit"], "c0ffee".repeat(6) + "c0ff");
    assert_eq!((source.name.as_deref(), source.digest.len()), (Some("source"), 0));
    assert_eq!(worker.uri.as_deref(), Some("registry.example/jct-worker:1"));
    assert_eq!(format!("sha256:{}", worker.digest["sha256"]), DIGEST);
    let metadata = &statement.predicate.run_details.metadata;
    assert_eq!(metadata.started_on.unwrap().to_string(), "2026-03-01T12:00:00Z");
    assert_eq!(metadata.finished_on.unwrap().to_string(), "2026-03-01T12:00:09Z");
    assert_eq!(statement.outcome(), Some("succeeded"));
}

#[tokio::test]
async fn a_failed_attempt_and_the_one_after_it_have_one_each() {
    let retrying = json!({"spec": {"maxAttempts": 2}});
    let world = started(retrying.clone()).await;
    world.leave_trace(1, Some(FailureReason::ExecutorFailed));
    // The end of the first was long ago: the second starts in the same pass.
    finish(&world, retrying, 1, vec![call("POST", JOBS, Answer::Echo), status()]).await.result.unwrap();
    assert_eq!((checked(&world, 1).verdict, checked(&world, 1).outcome.as_deref()), (Verdict::Good, Some("failed")));
    let outcome = statement(&world.trace_folder(1)).predicate.run_details.byproducts.pop().unwrap();
    assert_eq!(outcome.annotations["reason"], "ExecutorFailed");
    assert_eq!(outcome.annotations["message"], "because of ExecutorFailed");
    assert_eq!(world.row().await.attempt, 2);
    assert!(!world.trace_folder(2).join("provenance.dsse.json").exists());
}

#[tokio::test]
async fn an_attempt_without_a_trace_has_one_of_its_note() {
    let world = started(json!({})).await;
    // What an executor leaves where the operator's own files belong.
    fs::create_dir_all(world.trace_folder(1).join("provenance.dsse.json/squatting")).unwrap();
    fs::write(world.trace_folder(1).join("incomplete.json"), r#"{"reason": "it went well"}"#).unwrap();
    finish(&world, json!({}), 137, vec![retired(), status()]).await.result.unwrap();
    assert_eq!(world.row().await.phase, Phase::Failed);
    let result = checked(&world, 1);
    assert_eq!((result.verdict, result.state), (Verdict::Good, State::Incomplete), "{:?}", result.problems);
    let statement = statement(&world.trace_folder(1));
    assert_eq!(statement.subject.len(), 1);
    let outcome = &statement.predicate.run_details.byproducts[0];
    assert_eq!(
        (&outcome.annotations["reason"], &outcome.annotations["exitCode"]),
        (&json!("WorkerFailed"), &json!(137))
    );
}

#[tokio::test]
async fn what_a_worker_writes_as_its_provenance_is_not_taken_for_it() {
    let world = started(json!({})).await;
    world.leave_trace(1, None);
    fs::write(world.trace_folder(1).join("provenance.dsse.json"), "{}").unwrap();
    finish(&world, json!({}), 0, vec![retired(), status()]).await.result.unwrap();
    assert_eq!(checked(&world, 1).verdict, Verdict::Good);
}

#[tokio::test]
async fn what_came_too_late_for_a_sealed_trace_does_it_no_harm() {
    let world = started(json!({})).await;
    world.leave_trace(1, None);
    let folder = world.trace_folder(1);
    fs::write(folder.join("cancel.json"), "").unwrap();
    fs::write(folder.join(".claim.json.another-pod"), "{").unwrap();
    finish(&world, json!({}), 0, vec![retired(), status()]).await.result.unwrap();
    assert_eq!(world.row().await.phase, Phase::Completed);
    assert_eq!(checked(&world, 1).verdict, Verdict::Good);
}

#[tokio::test]
async fn a_file_that_the_manifest_does_not_name_makes_a_trace_invalid() {
    let world = started(json!({})).await;
    world.leave_trace(1, None);
    fs::write(world.trace_folder(1).join("artifacts/smuggled"), "x").unwrap();
    let pass = finish(&world, json!({}), 0, vec![retired(), status()]).await;
    assert_eq!(pass.status()["reason"], "TraceInvalid");
    assert_eq!(checked(&world, 1).state, State::Incomplete);
}

/// A crash after the outcome was recorded, and before it was signed.
#[tokio::test]
async fn what_a_crash_left_unsigned_is_signed_by_the_next_pass_and_to_the_byte() {
    let world = started(json!({})).await;
    world.leave_trace(1, None);
    finish(&world, json!({}), 0, vec![retired(), status()]).await.result.unwrap();
    let path = world.trace_folder(1).join("provenance.dsse.json");
    let first = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(world.trace_folder(1).join(".provenance.dsse.json.new"), "half of").unwrap();
    finish(&world, json!({}), 0, vec![retired(), status()]).await.result.unwrap();
    assert_eq!(fs::read(&path).unwrap(), first);
    assert_eq!(checked(&world, 1).verdict, Verdict::Good);
    // The pod is gone: its images are not known any more, all else is.
    fs::remove_file(&path).unwrap();
    world.pass(&world.task(json!({})), vec![status()]).await.result.unwrap();
    assert_eq!(checked(&world, 1).verdict, Verdict::Good);
    assert_eq!(statement(&world.trace_folder(1)).predicate.build_definition.resolved_dependencies.len(), 1);
}

#[tokio::test]
async fn a_missing_key_holds_up_no_outcome_and_is_made_up_for() {
    let mut world = started(json!({"spec": {"ttlSecondsAfterFinished": 0}})).await;
    world.leave_trace(1, None);
    let keys = std::mem::replace(&mut world.keys, Keys::fixed(None));
    let expiring = json!({"spec": {"ttlSecondsAfterFinished": 0}});
    let pass = finish(&world, expiring.clone(), 0, vec![retired(), status()]).await;
    assert_eq!(world.row().await.phase, Phase::Completed);
    assert_eq!(pass.context.metrics.provenance_failures.get(), 1);
    assert_ne!(pass.result.unwrap(), jct::reconcile::Action::await_change(), "it is tried again");
    assert!(!world.trace_folder(1).join("provenance.dsse.json").exists());
    world.keys = keys;
    // Only now does the Task expire.
    let expired = call("DELETE", "/tasks/look", Answer::Object(world.task(json!({}))));
    world.pass(&world.task(expiring), vec![status(), expired]).await.result.unwrap();
    assert_eq!(checked(&world, 1).verdict, Verdict::Good);
}

#[tokio::test]
async fn a_trace_that_was_changed_or_removed_after_it_was_recorded_is_not_signed() {
    let world = started(json!({})).await;
    world.leave_trace(1, None);
    finish(&world, json!({}), 0, vec![retired(), status()]).await.result.unwrap();
    let folder = world.trace_folder(1);
    fs::remove_file(folder.join("provenance.dsse.json")).unwrap();
    let manifest = fs::read_to_string(folder.join("manifest.json")).unwrap();
    fs::remove_file(folder.join("manifest.json")).unwrap();
    fs::write(folder.join("manifest.json"), manifest.replace("jct test", "jct best")).unwrap();
    let pass = world.pass(&world.task(json!({})), vec![status()]).await;
    assert_eq!(pass.context.metrics.provenance_failures.get(), 1);
    assert!(!folder.join("provenance.dsse.json").exists());
    fs::remove_dir_all(folder).unwrap();
    let pass = world.pass(&world.task(json!({})), vec![status()]).await;
    assert_eq!(pass.context.metrics.provenance_failures.get(), 0);
    assert_eq!(pass.result.unwrap(), jct::reconcile::Action::await_change());
}

#[tokio::test]
async fn a_new_key_leaves_old_signatures_alone() {
    let mut world = started(json!({})).await;
    world.leave_trace(1, None);
    finish(&world, json!({}), 0, vec![retired(), status()]).await.result.unwrap();
    let before = fs::read(world.trace_folder(1).join("provenance.dsse.json")).unwrap();
    let known = world.keys.current().unwrap().public().to_vec();
    let ring = KeyRing::new(SigningKey::from_seed(&[8; 32]).unwrap(), &known, jiff::Timestamp::now());
    world.keys = Keys::fixed(Some(ring));
    world.pass(&world.task(json!({})), vec![status()]).await.result.unwrap();
    assert_eq!(fs::read(world.trace_folder(1).join("provenance.dsse.json")).unwrap(), before);
    assert_eq!(checked(&world, 1).verdict, Verdict::Good);
}
