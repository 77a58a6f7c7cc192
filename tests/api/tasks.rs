use jct::domain::Actor;
use jct::store::{Ending, Failure, FinishTask};
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::{ADA, Answer, ROOT, World, steady, task};

async fn three() -> World {
    let world = World::new().await;
    for change in [
        json!({"objective": "First one", "operation": "docs"}),
        json!({"objective": "Second one", "requested_by": {"kind": "agent"}}),
        json!({"objective": "Third one", "target": {"repo": "octo/other"}}),
    ] {
        assert_eq!(world.enqueue(change).await.status, 201);
    }
    world
}

fn objectives(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let mut found: Vec<&str> =
        answer.body.as_array().unwrap().iter().map(|task| task["objective"].as_str().unwrap()).collect();
    found.sort_unstable();
    found
}

#[rstest]
#[case("", &["First one", "Second one", "Third one"])]
#[case("&operation=docs", &["First one"])]
#[case("&requester_kind=agent", &["Second one"])]
#[case("&target_repo=Octo/Other", &["Third one"])]
#[case("&status=queued", &["First one", "Second one", "Third one"])]
#[case("&status=pending", &[])]
#[case("&status=failed", &[])]
#[case("&status=queued&operation=docs&requester_kind=human&target_repo=octo/hello", &["First one"])]
#[case("&trace_id=no-such-trace", &[])]
#[case("&offset=2147483647", &[])]
#[tokio::test]
async fn filters_narrow_a_listing(#[case] filters: &str, #[case] expected: &[&str]) {
    let world = three().await;
    assert_eq!(objectives(&world.get(ADA, &format!("/tasks?namespace=team{filters}")).await), expected);
}

#[rstest]
#[case("limit=0")]
#[case("limit=-1")]
#[case("limit=1000000000")]
#[case("offset=-1")]
#[case("offset=99999999999")]
#[case("limit=1'%20OR%20'1'='1")]
#[case("status=done")]
#[case("status=pending'%20OR%201=1--")]
#[case("operation=%27")]
#[case("requester_kind=robot")]
#[case("target_repo=octo/hello'--")]
#[case("target_repo=octo%00")]
#[case("trace_id='%20OR%201=1")]
#[case("namespace=team'")]
#[case("cursor=made-up")]
#[case("cursor=01KJMMA2G027CE4HT1RZKZBW4A00000000000000000000000000000000")]
#[case("unknown=1")]
#[tokio::test]
async fn a_query_that_does_not_fit_is_refused(#[case] query: &str) {
    let world = World::new().await;
    let answer = world.get(ROOT, &format!("/tasks?{query}")).await;
    assert_eq!((answer.status, &answer.body["detail"]["error"]), (422, &json!("validation_error")), "{}", answer.text);
}

#[tokio::test]
async fn pages_follow_each_other_and_lose_nothing() {
    let world = World::new().await;
    for number in 0..7 {
        assert_eq!(world.enqueue(json!({"objective": format!("Number {number}")})).await.status, 201);
    }
    let mut seen: Vec<String> = Vec::new();
    let mut path = Some("/tasks?namespace=team&status=queued&limit=3".to_owned());
    while let Some(next) = path {
        let page = world.get(ADA, &next).await;
        assert_eq!(page.status, 200);
        let ids = page.body.as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_owned());
        seen.extend(ids);
        path = page.next();
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted_by(|a, b| a > b), "the newest first, none twice");
    let whole = world.get(ADA, "/tasks?namespace=team&offset=2&limit=2").await;
    assert_eq!(whole.body[0]["id"], json!(seen[2]));
}

#[tokio::test]
async fn a_cursor_is_of_its_query() {
    let world = three().await;
    let next = world.get(ADA, "/tasks?namespace=team&limit=1").await.next().unwrap();
    assert_eq!(world.get(ADA, &next).await.status, 200);
    assert_eq!(world.get(ADA, &next.replace("limit=1", "limit=2")).await.status, 200, "the size of pages may change");
    let cursor = next.split("cursor=").nth(1).unwrap();
    for other in [
        format!("/tasks?cursor={cursor}"),
        format!("/tasks?namespace=team&status=failed&cursor={cursor}"),
        format!("/tasks?namespace=team&offset=1&cursor={cursor}"),
        format!("/tasks?namespace=team&cursor={}", cursor.to_lowercase()),
        format!("/audit?namespace=team&cursor={cursor}"),
    ] {
        assert_eq!(world.get(ROOT, &other).await.status, 422, "{other}");
    }
}

#[rstest]
#[case("01KJMMA2G027CE4HT1RZKZBW4A")]
#[case("01kjmma2g027ce4ht1rzkzbw4a")]
#[case("01KJMMA2G027CE4HT1RZKZBW4")]
#[case("01KJMMA2G027CE4HT1RZKZBW4AA")]
#[case("'%20OR%201=1")]
#[case("é")]
#[tokio::test]
async fn an_id_of_no_task_is_not_found(#[case] id: &str) {
    let world = three().await;
    let id = id.replace('é', "%C3%A9");
    let get = world.get(ROOT, &format!("/tasks/{id}")).await;
    let cancel = world.post(ROOT, &format!("/tasks/{id}/cancel"), &Value::Null).await;
    for answer in [get, cancel] {
        assert_eq!(answer.status, 404);
        assert!(answer.body["detail"].as_str().unwrap().starts_with("Task not found"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_task_is_shown_whole() {
    let world = World::new().await;
    let made = world.enqueue(json!({"idempotency_key": "k", "metadata": {"a": [1]}})).await;
    let id = made.body["task_id"].as_str().unwrap();
    let answer = world.get(ADA, &format!("/tasks/{id}")).await;
    assert_eq!(answer.status, 200);
    insta::assert_json_snapshot!("task", steady(answer.body));
}

#[tokio::test]
async fn cancelling_is_asked_of_the_object_in_the_callers_name() {
    let world = World::new().await;
    let made = world.enqueue(json!({})).await;
    let path = format!("/tasks/{}/cancel", made.body["task_id"].as_str().unwrap());
    for _ in 0..2 {
        let answer = world.post(ADA, &path, &Value::Null).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        insta::allow_duplicates! { insta::assert_json_snapshot!("cancelling", steady(answer.body)); }
    }
    let objects = world.cluster.objects.lock().unwrap();
    let object = objects.values().next().unwrap();
    assert_eq!(object["spec"]["cancel"], true);
    let metadata = serde_json::from_value(object["metadata"].clone()).unwrap();
    let believed =
        crate::world::trust().read("Task", &metadata, Some(&jct::domain::SpecDigests::of("Task", &object["spec"])));
    assert_eq!(believed.canceller.map(|who| who.user).as_deref(), Some("ada"), "sealed by the operator itself");
}

#[tokio::test]
async fn what_has_ended_is_not_cancelled() {
    let world = World::new().await;
    let made = world.enqueue(json!({})).await;
    let id = made.body["task_id"].as_str().unwrap();
    let failure = Failure::new("NoExecutor", "none");
    let end = FinishTask {
        task_id: id.parse().unwrap(),
        ending: Ending::Failed,
        failure,
        actor: Actor::controller(),
        at: Timestamp::now(),
    };
    world.store.finish_task(end).await.unwrap();
    let answer = world.post(ADA, &format!("/tasks/{id}/cancel"), &Value::Null).await;
    assert_eq!((answer.status, &answer.body["detail"]), (409, &json!(format!("Task '{id}' has ended as failed"))));
    assert_eq!(world.cluster.called("PATCH"), 0);
}

#[tokio::test]
async fn an_object_that_is_gone_or_another_one_is_not_cancelled() {
    let world = World::new().await;
    let made = world.enqueue(json!({})).await;
    let path = format!("/tasks/{}/cancel", made.body["task_id"].as_str().unwrap());
    for object in world.cluster.objects.lock().unwrap().values_mut() {
        object["metadata"]["uid"] = json!("another");
    }
    assert_eq!(world.post(ADA, &path, &Value::Null).await.status, 409);
    world.cluster.objects.lock().unwrap().clear();
    assert_eq!(world.post(ADA, &path, &Value::Null).await.status, 409);
    *world.cluster.failure.lock().unwrap() = Some((500, "InternalError"));
    assert_eq!(world.post(ADA, &path, &Value::Null).await.status, 503);
}

#[tokio::test]
async fn the_right_to_create_is_asked_before_the_policy_tells_itself() {
    let world = World::new().await;
    let answer = world.post(ROOT, "/tasks/enqueue", &task(json!({"target": {"repo": "evil/x"}}))).await;
    assert_eq!(answer.status, 403);
    assert!(!answer.text.contains("octo/"));
}
