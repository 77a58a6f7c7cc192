//! One object, one id, one record: whatever its annotations claim.

use jct::domain::{Id, Phase};
use jct::policy::Policy;
use serde_json::{Value, json};

use crate::api::{Answer, call};
use crate::fixture::{World, seen, task_id};
use crate::fixture::{job_name, running};

const JOBS: &str = "/apis/batch/v1/namespaces/workers/jobs";
const STATUS: &str = "/apis/jct.dev/v1/namespaces/team/tasks/look/status";
const OTHER_ID: &str = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ";
const OTHER_UID: &str = "00000000-0000-0000-0000-000000000002";

fn condition<'s>(status: &'s Value, type_: &str) -> &'s Value {
    status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == type_).unwrap()
}

/// Records the Task and holds it back, as it is with `change`.
async fn held_back(world: &World, change: Value) -> Value {
    let mut task = world.task(json!({"spec": {"suspend": true}}));
    json_patch::merge(&mut task, &change);
    let status = format!("/tasks/{}/status", task["metadata"]["name"].as_str().unwrap());
    world.pass(&task, vec![call("PATCH", status, Answer::Echo)]).await.result.unwrap();
    task
}

#[tokio::test]
async fn an_id_that_changes_on_a_living_task_makes_no_second_row_and_no_second_job() {
    let world = World::new().await;
    let task = world.task(json!({}));
    let start = vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)];
    world.pass(&task, start).await.result.unwrap();
    let entries = world.audit().await.len();
    for pin in [OTHER_ID, "no id", "7ZZZZZZZZZZZZZZZZZZZZZZZZY"] {
        let pinned = world.task(json!({"metadata": {"annotations": {"jct.dev/id": pin}}}));
        let pass = world
            .pass_with(&pinned, vec![call("PATCH", STATUS, Answer::Echo)], |context| {
                seen(context, 1, json!({}), json!({"phase": "Pending"}));
            })
            .await;
        pass.result.as_ref().unwrap();
        assert_eq!(pass.status()["id"], json!(task_id()));
        let recorded = condition(pass.status(), "Recorded");
        assert_eq!((&recorded["status"], &recorded["reason"]), (&json!("True"), &json!("PinIgnored")), "{pin}");
        assert!(recorded["message"].as_str().unwrap().contains(&task_id().to_string()));
    }
    assert_eq!(world.audit().await.len(), entries);
    assert_eq!(world.store.task(OTHER_ID.parse::<Id>().unwrap()).await.unwrap(), None);
    // Cancelling ends the one Job that there is.
    let cancelled =
        world.task(json!({"spec": {"cancel": true}, "metadata": {"annotations": {"jct.dev/id": OTHER_ID}}}));
    let script = vec![
        call("DELETE", format!("{JOBS}/{}", job_name(1)), Answer::Object(crate::fixture::job(1, json!({})))),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let pass = world.pass_with(&cancelled, script, |context| seen(context, 1, json!({}), running())).await;
    pass.result.unwrap();
}

#[tokio::test]
async fn an_ended_task_does_not_run_again_under_another_id() {
    let world = World::new().await;
    let cancelled = world.task(json!({"spec": {"cancel": true}}));
    world.pass(&cancelled, vec![call("PATCH", STATUS, Answer::Echo)]).await.result.unwrap();
    let pinned = world.task(json!({"metadata": {"annotations": {"jct.dev/id": OTHER_ID}}}));
    let pass = world.pass(&pinned, vec![call("PATCH", STATUS, Answer::Echo)]).await;
    assert_eq!(pass.status()["phase"], "Cancelled");
    assert_eq!(world.store.task(OTHER_ID.parse().unwrap()).await.unwrap(), None);
}

/// The object is made again under the name and the id of the first, and shows something harmless.
#[tokio::test]
async fn a_pin_brings_no_other_task_to_a_record() {
    let world = World::new().await;
    held_back(&world, json!({"spec": {"inputs": {"commands": [["evil"]]}}})).await;
    let changes = [
        json!({"spec": {"inputs": {"commands": [["true"]]}}}),
        json!({"spec": {"inputs": {"commands": [["evil"]]}, "executor": "ops"}}),
        json!({"spec": {"inputs": {"commands": [["evil"]]}, "maxAttempts": 9}}),
    ];
    for change in changes {
        let mut again =
            world.task(json!({"metadata": {"uid": OTHER_UID, "annotations": {"jct.dev/id": task_id().to_string()}}}));
        json_patch::merge(&mut again, &change);
        let pass = world.pass(&again, vec![call("PATCH", STATUS, Answer::Echo)]).await;
        assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Failed"), &json!("IdConflict")));
    }
    assert_eq!(world.row().await.attempt, 0);
    let same = world.task(json!({
        "metadata": {"uid": OTHER_UID, "annotations": {"jct.dev/id": task_id().to_string()}},
        "spec": {"inputs": {"commands": [["evil"]]}},
    }));
    let start = vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)];
    world.pass(&same, start).await.result.unwrap();
    assert_eq!((world.row().await.uid.as_str(), world.row().await.phase), (OTHER_UID, Phase::Queued));
}

#[tokio::test]
async fn a_restored_task_shows_who_made_its_object() {
    let world = World::new().await;
    held_back(&world, json!({})).await;
    let mut by_nobody = world.task(json!({"metadata": {"uid": OTHER_UID}, "spec": {"suspend": true}}));
    by_nobody["metadata"]["annotations"] = json!({"jct.dev/id": task_id().to_string()});
    let pass = world.pass(&by_nobody, vec![call("PATCH", STATUS, Answer::Echo)]).await;
    assert_eq!(pass.status()["submittedBy"], "ada@example.org");
    let message = condition(pass.status(), "Recorded")["message"].as_str().unwrap();
    assert!(message.contains("created by unverified"), "{message}");
}

#[tokio::test]
async fn a_taken_id_tells_a_stranger_nothing_of_its_task() {
    let world = World::new().await;
    held_back(&world, json!({"metadata": {"name": "secret-plan"}})).await;
    let namespace = json!("elsewhere");
    let mut thief = world.task(json!({"metadata": {
        "name": "thief", "uid": OTHER_UID, "annotations": {"jct.dev/id": task_id().to_string()},
    }}));
    thief["metadata"]["namespace"] = namespace;
    let pass = world.pass(&thief, vec![call("PATCH", "/tasks/thief/status", Answer::Echo)]).await;
    assert_eq!(pass.status()["reason"], "IdConflict");
    let reported = pass.status().to_string();
    assert!(!reported.contains("secret-plan") && !reported.contains("team/"), "{reported}");
}

#[tokio::test]
async fn a_refused_task_with_the_id_of_another_is_a_conflict_and_no_failing_pass() {
    let world = World::new().await;
    held_back(&world, json!({})).await;
    let thief = world.task(json!({
        "metadata": {"name": "thief", "uid": OTHER_UID, "annotations": {"jct.dev/id": task_id().to_string()}},
        "spec": {"target": {"repo": "evil/x"}},
    }));
    let pass = world.pass(&thief, vec![call("PATCH", "/tasks/thief/status", Answer::Echo)]).await;
    pass.result.as_ref().unwrap();
    assert_eq!(pass.status()["reason"], "IdConflict");
}

#[tokio::test]
async fn a_key_of_another_task_is_an_error_and_no_success() {
    let world = World::new().await;
    let first = held_back(&world, json!({"spec": {"idempotencyKey": "k"}})).await;
    let mut squatted = first.clone();
    json_patch::merge(
        &mut squatted,
        &json!({"metadata": {"name": "real", "uid": OTHER_UID}, "spec": {"objective": "Something else"}}),
    );
    let pass = world.pass(&squatted, vec![call("PATCH", "/tasks/real/status", Answer::Echo)]).await;
    let status = pass.status();
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("IdempotencyKeyReused")));
    assert_eq!(condition(status, "Succeeded")["status"], "False");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("stays used") && !message.contains("look"), "{message}");
    // The same Task is a copy of the first.
    json_patch::merge(&mut squatted, &json!({"spec": first["spec"]}));
    let pass = world.pass(&squatted, vec![call("PATCH", "/tasks/real/status", Answer::Echo)]).await;
    assert_eq!(pass.status()["reason"], "Duplicate");
}

/// What is read is held against what was watched: an object that changed in between is left to the next pass.
#[tokio::test]
async fn a_task_that_changed_while_it_was_read_is_not_recorded() {
    let world = World::new().await;
    // A short spec comes with the watch.
    let task = world.task(json!({"spec": {"inputs": {"note": "n".repeat(5000)}}}));
    let watched: jct::reconcile::task::Object = serde_json::from_value(task.clone()).unwrap();
    let others = [
        json!({"spec": {"objective": "Something else"}}),
        json!({"metadata": {"uid": OTHER_UID}}),
        json!({"metadata": {"name": "elsewhere"}}),
    ];
    for change in others {
        let mut other = task.clone();
        json_patch::merge(&mut other, &change);
        // An object that is gone is not found by the script either.
        let script = if change["metadata"]["name"].is_null() {
            vec![]
        } else {
            vec![call("GET", "/tasks/look", Answer::Failure(404))]
        };
        let watched = watched.clone();
        let pass = world
            .passes_over(Some(&other), script, async |context| {
                jct::reconcile::task::reconcile(std::sync::Arc::new(watched), context).await
            })
            .await;
        pass.result.unwrap();
        assert_eq!(world.store.task(task_id()).await.unwrap(), None, "{change}");
    }
}

/// Policy and pins are looked at once more where an object is recorded for the first time.
#[tokio::test]
async fn an_unfit_pin_keeps_a_new_task_out() {
    let mut world = World::new().await;
    world.policy = Policy::default().allowing("octo/");
    let pinned = world.task(json!({"metadata": {"annotations": {"jct.dev/id": "no id"}}}));
    let pass = world.pass(&pinned, vec![call("PATCH", STATUS, Answer::Echo)]).await;
    assert_eq!(pass.status()["reason"], "INVALID_SPEC");
}
