use jct::domain::Actor;
use jct::store::{Ending, Failure, FinishTask};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::{ADA, CI, EVE, World};

impl World {
    async fn end(&self, task_id: &str) {
        let (task_id, failure) = (task_id.parse().unwrap(), Failure::new("Cancelled", "no longer wanted"));
        let (ending, actor) = (Ending::Cancelled, Actor::controller());
        let end = FinishTask { task_id, ending, failure, actor, at: Timestamp::now() };
        self.store.finish_task(end).await.unwrap();
    }
}

#[tokio::test]
async fn the_work_of_an_ended_task_is_asked_for_again() {
    let mut world = World::new().await;
    let asked = json!({"idempotency_key": "once", "executor": "mine", "max_attempts": 3, "ttl_seconds_after_finished": 600, "inputs": {"depth": 2}});
    let first = world.post(ADA, "/tasks/enqueue?create_cwom=false", &crate::world::task(asked)).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let id = first.body["task_id"].as_str().unwrap();
    let retry = format!("/tasks/{id}/retry");
    let early = world.post(ADA, &retry, &Value::Null).await;
    assert_eq!(early.status, 409, "it has not ended: {}", early.text);
    world.end(id).await;
    assert_eq!(world.post(EVE, &retry, &Value::Null).await.status, 404, "who may not get it is told of nothing");
    assert_eq!(world.post(CI, &retry, &Value::Null).await.status, 404);
    world.allow("eve", &["get"], "team");
    world.restart();
    let answer = world.post(EVE, &retry, &Value::Null).await;
    assert_eq!((answer.status, &answer.body["detail"]["verb"]), (403, &json!("create")));
    world.allow("eve", &["create"], "team");
    world.restart();
    let again = world.post(EVE, &retry, &Value::Null).await;
    assert_eq!(again.status, 201, "{}", again.text);
    let (before, after) = (&first.body["task"], &again.body["task"]);
    assert_ne!(after["id"], before["id"]);
    assert_eq!((&after["submitted_by"], &after["idempotency_key"]), (&json!("eve"), &Value::Null));
    for same in
        ["objective", "operation", "target", "inputs", "executor", "max_attempts", "requested_by", "constraints"]
    {
        assert_eq!(after[same], before[same], "{same}");
    }
    assert!(again.body.get("cwom").is_none(), "as the first one was asked for");
    let name = after["name"].as_str().unwrap().to_owned();
    let object = world.cluster.objects.lock().unwrap()[&("team".to_owned(), name)].clone();
    assert_eq!(object["metadata"]["annotations"]["jct.dev/retry-of"], json!(id));
    assert_eq!(object["spec"]["ttlSecondsAfterFinished"], 600, "it goes as long after its end");
    assert_eq!(world.post(EVE, &retry, &Value::Null).await.status, 201, "and once more");
}
