//! The work objects of a story.

use axum::body::Body;
use jct::domain::cwom::Kind;
use jct::domain::{Actor, Id, Naming};
use jct::policy::{Policy, Verdict, gate};
use jct::store::{AttemptEnd, Failure, NewTask, Next, Refusal, Shown, StartAttempt};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::work::{Known, ORDER, id, least, path};
use crate::world::{ADA, EVE, NOBODY, ROOT, World, request, task};

const TRACE: &str = "one-story-2";

/// Posts to `path` under the trace.
async fn send(world: &World, path: &str, body: &Value) -> Value {
    let sent = request("POST", ADA, path).header("x-trace-id", TRACE);
    let answer = world.send(sent.body(Body::from(body.to_string())).unwrap()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.body
}

/// One object of each kind under the trace.
async fn reported(world: &World) -> Known {
    let mut known = Known::new();
    for kind in ORDER {
        let body = send(world, path(kind), &least(kind, &known)).await;
        known.insert(kind, body[kind.snake_case()].clone());
    }
    known
}

/// A Task in `team` whose second attempt has failed, too.
async fn tried_twice(world: &World) {
    let body = task(json!({"target": {"repo": "octo/more"}}));
    let policy = Policy::default().allowing("octo/");
    let Verdict::Accepted(accepted) = gate(&body, Naming::Rest, &policy) else { panic!("{body}") };
    let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let task_id = Id::derive(at, "tried-twice");
    let new = NewTask {
        id: task_id,
        trace_id: TRACE.parse().unwrap(),
        namespace: "team".into(),
        name: "tried-twice".into(),
        uid: "tried-twice".into(),
        submitted_by: None,
        actor: Actor::unverified(),
        task: *accepted,
        executor: None,
        model: None,
        delivery: None,
        max_attempts: 2,
        create_cwom: true,
        for_run: None,
        client: None,
        suspended: false,
        shown: Shown::default(),
        created_at: at,
        recorded_at: at,
    };
    world.store.record_task(new).await.unwrap();
    for attempt in 1..=2 {
        let job_id = Id::derive_for(at, "tried-twice", &attempt.to_string());
        let start = StartAttempt { task_id, attempt, job_id, job_name: format!("t-{attempt}"), at };
        world.store.start_attempt(start).await.unwrap();
        let failure = Failure::new("ExecutorFailed", "it fell over");
        let end = AttemptEnd {
            task_id,
            attempt,
            next: if attempt == 1 { Next::Retry(failure) } else { Next::Failed(failure) },
            trace: None,
            exit_code: Some(1),
            worker_id: None,
            commit: None,
            started_at: None,
            evidence: None,
            ended_at: at,
        };
        world.store.finish_attempt(end).await.unwrap();
    }
}

fn kinds(story: &Value) -> Vec<&str> {
    story["objects"].as_array().unwrap().iter().map(|object| object["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_story_without_a_task_is_told() {
    let world = World::new().await;
    let known = reported(&world).await;
    let story = world.get(ADA, &format!("/trace/{TRACE}")).await;
    assert_eq!(story.status, 200, "{}", story.text);
    let expected = ["Repo", "Issue", "ConstraintSnapshot", "DoctrineRef", "ContextPacket", "Run", "Artifact"];
    assert_eq!(kinds(&story.body), expected);
    for object in story.body["objects"].as_array().unwrap() {
        assert_eq!(object["id"], known[&crate::work::kind(object)]["id"]);
    }
    let created: Vec<&str> = story.body["audit"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"] == "created")
        .map(|entry| entry["entity_kind"].as_str().unwrap())
        .collect();
    assert_eq!(created, ORDER.map(Kind::as_str), "as things happened");
}

#[tokio::test]
async fn each_attempt_is_told_with_its_run() {
    let world = World::new().await;
    let known = reported(&world).await;
    tried_twice(&world).await;
    let story = world.get(ADA, &format!("/trace/{TRACE}")).await.body;
    let work = ["Repo", "Repo", "Issue", "Issue", "ConstraintSnapshot", "ConstraintSnapshot", "DoctrineRef"];
    let then = ["ContextPacket", "ContextPacket", "Task", "Run", "Job", "Run", "Job", "Run", "Artifact"];
    assert_eq!(kinds(&story), [&work[..], &then[..]].concat());
    let objects = story["objects"].as_array().unwrap();
    for (at, attempt) in [(10, 1), (12, 2)] {
        assert_eq!(
            (&objects[at]["meta"]["task"]["attempt"], &objects[at + 1]["attempt"]),
            (&json!(attempt), &json!(attempt))
        );
    }
    assert_eq!((&objects[14]["id"], &objects[15]["id"]), (&known[&Kind::Run]["id"], &known[&Kind::Artifact]["id"]));
}

#[tokio::test]
async fn a_story_shows_the_kinds_and_namespaces_that_its_reader_may_get() {
    let mut world = World::new().await;
    reported(&world).await;
    let made = send(&world, "/tasks/enqueue", &task(json!({"target": {"repo": "octo/more"}}))).await;
    let path = format!("/trace/{TRACE}");
    let nothing = json!({"detail": "Trace not found"});
    for token in [EVE, NOBODY] {
        let refused = world.get(token, &path).await;
        assert_eq!((refused.status, &refused.body), (404, &nothing));
    }
    world.cluster.rights.lock().unwrap().insert("nobody", vec![("get", "issues", "team"), ("get", "runs", "other")]);
    world.restart();
    let seen = world.get(NOBODY, &path).await.body;
    assert_eq!(kinds(&seen), ["Issue", "Issue"]);
    let entries = seen["audit"].as_array().unwrap();
    assert!(!entries.is_empty() && entries.iter().all(|entry| entry["entity_kind"] == "Issue"), "{seen}");
    let tells_of_the_task = |entry: &&Value| entry["entity_id"] == made["task_id"];
    assert_eq!(entries.iter().filter(tells_of_the_task).count(), 0);
    let whole = world.get(ROOT, &path).await.body;
    assert!(whole["audit"].as_array().unwrap().len() > entries.len());
    assert_eq!(kinds(&whole).len(), 12);
    assert_eq!(world.get(ROOT, "/trace/no-such-trace").await.body, nothing);
}

#[tokio::test]
async fn a_refusal_of_another_namespace_is_not_told() {
    let world = World::new().await;
    world.allow("eve", &["create"], "other");
    // She may join the trace that Eve begins.
    world.allow("ada", &["get"], "other");
    let sent = request("POST", EVE, "/cwom/repos?namespace=other").header("x-trace-id", TRACE);
    let body = least(Kind::Repo, &Known::new());
    let made = world.send(sent.body(Body::from(body.to_string())).unwrap()).await;
    assert_eq!(made.status, 201);
    reported(&world).await;
    let refusal = Refusal {
        id: Id::derive(Timestamp::now(), "refused"),
        trace_id: TRACE.parse().unwrap(),
        namespace: "team".into(),
        name: "refused".into(),
        uid: "refused".into(),
        actor: Actor::controller(),
        findings: vec![],
        spec_sha256: String::new(),
        refused_at: Timestamp::now(),
    };
    world.store.record_refusal(refusal).await.unwrap();
    let seen = world.get(EVE, &format!("/trace/{TRACE}")).await.body;
    assert_eq!(kinds(&seen), ["Repo"]);
    let entries = seen["audit"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["entity_id"], json!(id(&made.body["repo"])));
}
