//! What models cost, over REST.

use serde_json::json;

use crate::world::{CI, ROOT, World};

#[tokio::test]
async fn costs_are_for_who_may_list_tasks_there() {
    let world = World::new().await;
    let all = world.get(ROOT, "/cost").await;
    assert_eq!((all.status, all.body), (200, json!({"by": "namespace", "costs": []})));
    assert_eq!(world.get(CI, "/cost").await.status, 403, "who may create may not list");
    let wrong = world.get(ROOT, "/cost?by=day&since=yesterday").await;
    assert_eq!(wrong.status, 422);
    let fields: Vec<_> = wrong.body["detail"]["violations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|found| found["field"].clone())
        .collect();
    assert_eq!(fields, ["by", "since"], "{}", wrong.body);
}
