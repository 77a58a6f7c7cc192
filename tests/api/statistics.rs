//! How Tasks go.

use jct::domain::trace::Outcome;
use serde_json::json;

use crate::world::{ADA, EVE, ROOT, World};

#[tokio::test]
async fn it_is_told_how_tasks_go() {
    let world = World::new().await;
    let mut done = world.runs().await;
    done.ends(Outcome::Succeeded, &[]).await;
    let _running = world.runs().await;
    world.enqueue(json!({})).await;
    let told = world.get(ADA, "/statistics?namespace=team").await.body;
    assert_eq!(told["open"], json!({"pending": 0, "queued": 1, "running": 1}));
    let parts = told["parts"].as_array().unwrap();
    assert_eq!((parts.len(), &parts[0]["completed"], &parts[0]["failed"]), (1, &json!(1), &json!(0)));
    assert!(parts[0]["mean_seconds"].is_number());
    let executors = told["executors"].as_array().unwrap();
    let analysis = executors.iter().find(|one| one["name"] == "analysis").unwrap();
    assert_eq!((&analysis["completed"], &analysis["configured"]), (&json!(1), &json!(true)));
    let before = world.get(ADA, "/statistics?namespace=team&until=2026-01-01T00:00:00Z").await.body;
    assert_eq!((&before["parts"], &before["open"]["running"]), (&json!([]), &json!(1)), "what is open is open now");
    let elsewhere = world.get(ROOT, "/statistics?namespace=other").await.body;
    assert_eq!((&elsewhere["open"]["running"], &elsewhere["parts"]), (&json!(0), &json!([])));
    assert_eq!(world.get(ROOT, "/statistics").await.body["open"]["running"], 1);
}

#[tokio::test]
async fn it_is_told_to_who_may_list_tasks() {
    let world = World::new().await;
    for (token, path, status) in [
        (ADA, "/statistics?namespace=team", 200),
        (ADA, "/statistics", 403),
        (EVE, "/statistics?namespace=team", 403),
        (ROOT, "/statistics", 200),
        (ROOT, "/statistics?since=yesterday", 422),
    ] {
        assert_eq!(world.get(token, path).await.status, status, "{path}");
    }
}
