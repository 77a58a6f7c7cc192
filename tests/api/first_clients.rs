//! What clients of JCT's first implementation rely on.

use axum::body::Body;
use jct::domain::cwom::Kind;
use serde_json::{Value, json};

use crate::work::{id, least, path};
use crate::world::{ADA, Answer, ROOT, World, request};

async fn accepting(world: &World, path: &str, accept: Option<&str>) -> Answer {
    let request = accept.into_iter().fold(request("GET", "", path), |request, accept| request.header("accept", accept));
    world.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn health_is_json_for_who_accepts_it_and_tells_of_the_record() {
    let world = World::new().await;
    let well = json!({"status": "healthy", "database": "connected", "version": env!("CARGO_PKG_VERSION")});
    for path in ["/healthz", "/health"] {
        for accept in [None, Some("*/*"), Some("application/json"), Some("text/html, application/*;q=0.8")] {
            let answer = accepting(&world, path, accept).await;
            assert_eq!((answer.status, &answer.body), (200, &well), "{path} {accept:?}");
        }
        let answer = accepting(&world, path, Some("text/plain")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; charset=utf-8"), "{path}");
    }
}

#[tokio::test]
async fn health_is_there_while_the_record_is_not() {
    let world = World::new().await;
    let _lock = world.lock_record().await;
    let answer = accepting(&world, "/health", None).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("degraded")), "{:?}", answer.body);
}

#[tokio::test]
async fn what_is_enqueued_is_queued() {
    let world = World::new().await;
    let made = world.enqueue(json!({})).await.body["task"].clone();
    assert_eq!(made["status"], "queued");
    assert!(made["queued_at"].is_string() && made["started_at"].is_null(), "{made}");
    let id = made["task_id"].as_str().unwrap();
    assert_eq!(world.get(ADA, &format!("/tasks/{id}")).await.body, made, "the next look agrees");
    assert_eq!(world.get(ADA, "/tasks?namespace=team&status=queued").await.body[0]["task_id"], made["task_id"]);
    assert_eq!(world.get(ADA, "/tasks?namespace=team&status=pending").await.body, json!([]));
}

#[tokio::test]
async fn lists_are_narrowed_as_they_were() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let ids = |answer: Answer| -> Vec<String> {
        answer.body.as_array().unwrap_or_else(|| panic!("{:?}", answer.body)).iter().map(|one| id(one).into()).collect()
    };
    let (repo, run) = (id(&known[&Kind::Repo]), id(&known[&Kind::Run]));
    assert_eq!(ids(world.get(ROOT, &format!("/cwom/runs?repo_id={repo}")).await), [run]);
    assert!(ids(world.get(ROOT, &format!("/cwom/runs?repo_id={run}")).await).is_empty(), "a control");

    let mut others = least(Kind::ConstraintSnapshot, &known);
    others["owner"]["actor_id"] = json!("bo' or 'ada");
    let others = world.post(ADA, path(Kind::ConstraintSnapshot), &others).await.body["constraint_snapshot"].clone();
    let by = |owner: &str| format!("/cwom/constraint-snapshots?owner_id={owner}");
    assert_eq!(ids(world.get(ROOT, &by("ada")).await), [id(&known[&Kind::ConstraintSnapshot])]);
    assert_eq!(ids(world.get(ROOT, &by("bo%27%20or%20%27ada")).await), [id(&others)]);
    assert!(ids(world.get(ROOT, &by("human")).await).is_empty());

    let artifact = &known[&Kind::Artifact];
    let of_run = |kind: &str| format!("/cwom/runs/{run}/artifacts?type={kind}");
    assert_eq!(ids(world.get(ROOT, &of_run(artifact["type"].as_str().unwrap())).await), [id(artifact)]);
    assert!(ids(world.get(ROOT, &of_run("dataset")).await).is_empty());
    assert_eq!(world.get(ROOT, &of_run("novel")).await.status, 422);
}

#[tokio::test]
async fn an_id_of_another_system_refers_to_nothing() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let foreign = "3f0c8a52-7a0e-4f5c-9b1e-2d6f0a9c1b77";
    let mut body = least(Kind::Issue, &known);
    body["repo"] = json!({"kind": "Repo", "id": foreign});
    let answer = world.post(ADA, path(Kind::Issue), &body).await;
    let detail = format!("Referenced Repo '{foreign}' does not exist");
    assert_eq!((answer.status, &answer.body), (422, &json!({"detail": detail})));
    body["title"] = json!("");
    let answer = world.post(ADA, path(Kind::Issue), &body).await;
    assert_eq!(answer.body["detail"]["violations"].as_array().map(Vec::len), Some(2), "beside what else is wrong");
}

#[tokio::test]
async fn the_objects_of_a_task_have_what_their_meta_had() {
    let world = World::new().await;
    let change = json!({
        "idempotency_key": "key-1",
        "target": {"repo": "octo/hello", "ref": "v1", "path": "docs"},
        "inputs": {"a": [1, "two"]},
        "acceptance_criteria": ["It works"],
        "evidence_requirements": ["a report"],
        "constraints": {"time_budget_seconds": 90},
    });
    let made = world.enqueue(change).await.body;
    let meta = async |collection: &str, id: &str| -> Value {
        let path = format!("/cwom/{collection}/{}", made["cwom"][id].as_str().unwrap());
        world.get(ROOT, &path).await.body["meta"].clone()
    };
    let issue = meta("issues", "issue_id").await;
    assert_eq!(
        (&issue["source"], &issue["idempotency_key"], &issue["acceptance_criteria"], &issue["evidence_requirements"]),
        (&json!("jct"), &json!("key-1"), &json!(["It works"]), &json!(["a report"]))
    );
    let packet = meta("context-packets", "context_packet_id").await;
    assert_eq!(
        (&packet["task_ref"], &packet["task_path"], &packet["task_inputs"]),
        (&json!("v1"), &json!("docs"), &json!({"a": [1, "two"]}))
    );
    let snapshot = meta("constraint-snapshots", "constraint_snapshot_id").await;
    assert_eq!(
        (&snapshot["time_budget_seconds"], &snapshot["allow_network"], &snapshot["allow_secrets"]),
        (&json!(90), &json!(false), &json!(false))
    );
}

#[tokio::test]
async fn meta_of_others_is_as_they_wrote_it() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let mut body = least(Kind::Issue, &known);
    body["meta"] = json!({"task": {"idempotency_key": "not of a Task"}});
    let made = world.post(ADA, path(Kind::Issue), &body).await.body["issue"].clone();
    assert_eq!(made["meta"], body["meta"]);
}

#[test]
fn the_version_of_a_task_has_its_one_value_and_its_default() {
    let version = &jct::api::document()["components"]["schemas"]["TaskSpec"]["properties"]["version"];
    assert_eq!((&version["enum"], &version["default"]), (&json!(["1.0"]), &json!("1.0")));
}
