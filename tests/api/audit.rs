use rstest::rstest;
use serde_json::{Value, json};

use crate::world::{ADA, Answer, ROOT, World, steady, task};

/// Enqueues a Task that makes no work objects.
async fn alone(world: &World, change: Value) -> Answer {
    world.post(ADA, "/tasks/enqueue?create_cwom=false", &task(change)).await
}

async fn some() -> World {
    let world = World::new().await;
    for number in 0..5 {
        let change = json!({"objective": format!("Number {number}"), "requested_by": {"kind": "agent"}});
        assert_eq!(alone(&world, change).await.status, 201);
    }
    world
}

#[tokio::test]
async fn an_entry_tells_who_did_what() {
    let world = World::new().await;
    alone(&world, json!({})).await;
    let answer = world.get(ROOT, "/audit").await;
    assert_eq!(answer.status, 200);
    let mut entries = steady(answer.body);
    entries[0]["after"] = json!("[the task]");
    insta::assert_json_snapshot!("audit", entries);
}

#[rstest]
#[case("", 5)]
#[case("entity_kind=Task", 5)]
#[case("entity_kind=Job", 0)]
#[case("actor_kind=agent", 0)]
#[case("actor_kind=human", 5)]
#[case("actor_id=ada", 5)]
#[case("actor_id=eve'%20OR%20'1'='1", 0)]
#[case("action=created", 5)]
#[case("action=deleted", 0)]
#[case("entity_id='%3B%20DROP%20TABLE%20audit_log", 0)]
#[case("trace_id=no-such-trace", 0)]
#[case("since=2026-01-01T00:00:00Z&until=2999-01-01T00:00:00Z", 5)]
#[case("since=2999-01-01T00:00:00Z", 0)]
#[case("until=2020-01-01T00:00:00Z", 0)]
#[case("limit=2&offset=4", 1)]
#[tokio::test]
async fn filters_narrow_the_log(#[case] query: &str, #[case] count: usize) {
    let world = some().await;
    let answer = world.get(ROOT, &format!("/audit?{query}")).await;
    assert_eq!((answer.status, answer.body.as_array().unwrap().len()), (200, count), "{}", answer.text);
}

#[rstest]
#[case("entity_kind=task")]
#[case("actor_kind=x")]
#[case("action=create")]
#[case("since=yesterday")]
#[case("until=2026-13-01T00:00:00Z")]
#[case("limit=0")]
#[case("limit=1000000000")]
#[case("cursor=x")]
#[tokio::test]
async fn a_query_that_does_not_fit_is_refused(#[case] query: &str) {
    let world = World::new().await;
    assert_eq!(world.get(ROOT, &format!("/audit?{query}")).await.status, 422);
}

#[tokio::test]
async fn pages_stay_as_they_are_while_the_log_grows() {
    let world = some().await;
    let first = world.get(ROOT, "/audit?action=created&limit=2").await;
    alone(&world, json!({})).await;
    let second = world.get(ROOT, &first.next().unwrap()).await;
    let third = world.get(ROOT, &second.next().unwrap()).await;
    assert_eq!(third.next(), None);
    let ids: Vec<&str> = [&first, &second, &third]
        .into_iter()
        .flat_map(|page| page.body.as_array().unwrap())
        .map(|entry| entry["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted_by(|a, b| a > b));
}

#[tokio::test]
async fn the_log_is_for_those_who_may_read_all_of_it() {
    let world = some().await;
    let answer = world.get(ADA, "/audit?actor_id=ada").await;
    assert_eq!(answer.status, 403);
    insta::assert_json_snapshot!("audit_forbidden", answer.body);
}
