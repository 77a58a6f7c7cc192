//! What is looked at before anything is read, asked or written.

use std::time::Duration;

use axum::body::{Body, Bytes};
use jct::domain::{Actor, Code};
use jct::store::{Ending, Failure, FinishTask};
use jiff::Timestamp;
use rstest::rstest;
use serde_json::json;

use crate::world::{ADA, CI, EVE, MAX_OPEN_TASKS, NOBODY, World, request, task};

/// A body that never comes: whoever reads it waits for ever.
fn never() -> Body {
    Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>())
}

#[rstest]
#[case("POST", "/tasks/enqueue")]
#[case("POST", "/tasks/enqueue?namespace=other")]
#[case("POST", "/cwom/issues")]
#[case("POST", "/cwom/repos?namespace=team")]
#[tokio::test]
async fn who_may_not_is_told_before_a_byte_is_read(#[case] method: &str, #[case] path: &str) {
    let world = World::new().await;
    let sent = request(method, NOBODY, path).header("content-length", "1000");
    let answer = tokio::time::timeout(Duration::from_secs(5), world.send(sent.body(never()).unwrap())).await;
    assert_eq!(answer.expect("it waits for the body").status, 403);
}

#[tokio::test]
async fn who_may_not_change_an_object_is_told_before_a_byte_is_read() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let issue = crate::work::one(&known[&jct::domain::cwom::Kind::Issue]);
    let sent = request("PATCH", EVE, &issue).header("content-length", "1000");
    let answer = tokio::time::timeout(Duration::from_secs(5), world.send(sent.body(never()).unwrap())).await;
    assert_eq!(answer.expect("it waits for the body").status, 404);
}

#[tokio::test]
async fn a_body_of_too_many_values_is_refused() {
    let world = World::new().await;
    let answer = world.enqueue(json!({"inputs": {"list": vec![0; 60_000]}})).await;
    assert_eq!((answer.status, &answer.body["detail"]["error"]), (422, &json!("validation_error")));
    let reported = answer.body["detail"]["message"].as_str().unwrap();
    assert_eq!(reported, "body: must have at most 50000 values and names");
}

#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    let world = World::new().await;
    // A gzip of much: it is no JSON, and is no more than it is.
    let packed = [0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 3, 0xed, 0xc1];
    let sent = request("POST", ADA, "/tasks/enqueue").header("content-encoding", "gzip");
    let answer = world.send(sent.body(Body::from(packed.to_vec())).unwrap()).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
}

#[tokio::test]
async fn readiness_is_looked_for_once_in_a_while() {
    let world = World::new().await;
    let before = world.store.stats().commits;
    let answers = futures::future::join_all((0..100).map(|_| world.get("", "/readyz"))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(world.store.stats().commits - before, 1, "each write of a stranger's costs a sync of the disk");
}

#[rstest]
#[case("nowhere", 404, json!("Namespace 'nowhere' not found"))]
#[case("going", 409, json!({
    "error": "namespace_terminating", "message": "namespace 'going' is being deleted: nothing can be made in it",
}))]
#[tokio::test]
async fn a_row_needs_a_namespace_that_is_there(
    #[case] namespace: &'static str,
    #[case] status: u16,
    #[case] detail: serde_json::Value,
) {
    let world = World::new().await;
    world.allow("ada", &["create"], namespace);
    let repo = json!({"name": "hello", "slug": "octo/hello", "source": {"system": "github"}});
    let answer = world.post(ADA, &format!("/cwom/repos?namespace={namespace}"), &repo).await;
    assert_eq!((answer.status, &answer.body["detail"]), (status, &detail));
    let there = world.post(ADA, "/cwom/repos?namespace=team", &repo).await;
    assert_eq!(there.status, 201, "the control: {}", there.text);
    for n in 0..20 {
        let repo = json!({"name": "hello", "slug": format!("octo/{n}"), "source": {"system": "github"}});
        assert_eq!(world.post(ADA, "/cwom/repos?namespace=team", &repo).await.status, 201);
    }
    assert_eq!(world.cluster.called("/api/v1/namespaces/team"), 1, "the answer is kept for a while");
    let denied = world.post(CI, "/cwom/repos?namespace=nowhere", &task(json!({}))).await;
    assert_eq!(denied.status, 403, "who may not create is not told what is there");
}

#[tokio::test]
async fn there_is_an_end_to_the_open_tasks_of_a_namespace() {
    let mut world = World::new().await;
    world.allow("ada", &["create", "get"], "other");
    let made = futures::future::join_all(
        (0..MAX_OPEN_TASKS).map(|n| world.enqueue(json!({"idempotency_key": n.to_string()}))),
    )
    .await;
    assert!(made.iter().all(|answer| answer.status == 201));
    world.restart();
    let refused = world.enqueue(json!({})).await;
    assert_eq!((refused.status, &refused.body["detail"]["code"]), (429, &json!("TOO_MANY_TASKS")), "{}", refused.text);
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(world.cluster.objects.lock().unwrap().len(), MAX_OPEN_TASKS as usize, "nothing is made");
    let denials = world.denials.take();
    assert_eq!((denials.len(), denials[0].findings[0].code), (1, Code::TooManyTasks));
    assert_eq!(world.enqueue(json!({"idempotency_key": "0"})).await.status, 409, "a repetition makes none");
    let other = world.post(ADA, "/tasks/enqueue?namespace=other", &task(json!({}))).await;
    assert_eq!(other.status, 201, "{}", other.text);
    // One ends, and there is room.
    let task_id = made[0].body["task_id"].as_str().unwrap().parse().unwrap();
    let failure = Failure::new("Cancelled", "no longer wanted");
    let end =
        FinishTask { task_id, ending: Ending::Cancelled, failure, actor: Actor::controller(), at: Timestamp::now() };
    world.store.finish_task(end).await.unwrap();
    world.restart();
    assert_eq!(world.enqueue(json!({})).await.status, 201);
}

#[tokio::test]
async fn there_is_an_end_to_what_is_recorded_of_a_namespace_within_an_hour() {
    let mut world = World::new().await;
    world.allow("ada", &["create", "get"], "other");
    world.max_recorded = 5;
    world.restart();
    let repo = |n: usize| json!({"name": "hello", "slug": format!("octo/{n}"), "source": {"system": "github"}});
    let made = world.enqueue(json!({})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    // Ended is recorded all the same.
    let task_id = made.body["task_id"].as_str().unwrap().parse().unwrap();
    let failure = Failure::new("Cancelled", "no longer wanted");
    let end =
        FinishTask { task_id, ending: Ending::Cancelled, failure, actor: Actor::controller(), at: Timestamp::now() };
    world.store.finish_task(end).await.unwrap();
    for n in 0..4 {
        assert_eq!(
            world.post(ADA, "/cwom/repos?namespace=team", &repo(n)).await.status,
            201,
            "what Tasks make counts with them"
        );
    }
    world.restart();
    let refused = world.post(ADA, "/cwom/repos?namespace=team", &repo(9)).await;
    assert_eq!((refused.status, &refused.body["detail"]["code"]), (429, &json!("TOO_MANY_TASKS")), "{}", refused.text);
    let after = refused.header("retry-after").parse::<u32>().unwrap();
    assert!((3_480..=3_600).contains(&after), "{after}");
    let message = refused.body["detail"]["message"].as_str().unwrap();
    assert!(message.contains("maxRecordedPerHour") && message.contains("the next is let in at 2"), "{message}");
    assert_eq!(world.enqueue(json!({})).await.status, 429);
    let denials = world.denials.take();
    let kinds: Vec<&str> = denials.iter().map(|denial| denial.kind.as_str()).collect();
    assert_eq!((kinds, denials[0].findings[0].code), (vec!["Repo", "Task"], Code::TooManyTasks));
    // What was let in counts before it is counted in the record.
    for n in 0..5 {
        assert_eq!(world.post(ADA, "/cwom/repos?namespace=other", &repo(n)).await.status, 201);
    }
    assert_eq!(world.post(ADA, "/tasks/enqueue?namespace=other", &task(json!({}))).await.status, 429);
    world.max_recorded = 0;
    world.restart();
    assert_eq!(world.post(ADA, "/cwom/repos?namespace=team", &repo(9)).await.status, 201, "no limit");
}
