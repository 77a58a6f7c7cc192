use axum::body::Body;
use jct::domain::id::sha256_hex;
use jct::domain::trace::{FileEntry, FileKind};
use jct::domain::{Actor, Id};
use jct::store::{AttemptEnd, MarkRunning, NewTask, Next, StartAttempt, TraceRecord};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::{ADA, EVE, ROOT, World, request, steady, task};

const TRACE: &str = "one-story-1";

/// What a Task with one attempt and one file is told of in.
const KINDS: [&str; 9] =
    ["Repo", "Issue", "ConstraintSnapshot", "ContextPacket", "Task", "Run", "Job", "TraceFile", "Artifact"];

/// A Task of this trace in `namespace`, completed by its one attempt.
async fn lived(world: &World, namespace: &str) -> Id {
    world.cluster.rights.lock().unwrap().get_mut("ada").unwrap().push(("create", "tasks", "other"));
    let sent = request("POST", ADA, &format!("/tasks/enqueue?namespace={namespace}")).header("x-trace-id", TRACE);
    let made = world.send(sent.body(Body::from(task(json!({})).to_string())).unwrap()).await;
    let task_id: Id = made.body["task_id"].as_str().unwrap().parse().unwrap();
    let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let attempt = 1;
    let job_id = Id::derive_for(at, &task_id.to_string(), &attempt.to_string());
    let start = StartAttempt { task_id, attempt, job_id, job_name: format!("t-{attempt}"), at };
    world.store.start_attempt(start).await.unwrap();
    let running = MarkRunning { task_id, attempt, worker_id: "pod".into(), commit: Some("c0ffee".into()), at };
    world.store.mark_running(running).await.unwrap();
    let next = Next::Completed { result: json!({"summary": "done"}) };
    let file = FileEntry {
        path: "artifacts/report.md".into(),
        kind: FileKind::Report,
        media_type: "text/markdown".into(),
        size_bytes: 12,
        sha256: sha256_hex(b"report"),
    };
    let trace = TraceRecord {
        path: format!("{namespace}/{task_id}/{attempt}"),
        manifest_sha256: Some(sha256_hex(b"manifest")),
        files: vec![file],
        complete: true,
        announced: true,
        report: None,
    };
    let end = AttemptEnd {
        task_id,
        attempt,
        next,
        trace: Some(trace),
        exit_code: Some(0),
        worker_id: None,
        commit: None,
        started_at: None,
        evidence: None,
        ended_at: at,
    };
    world.store.finish_attempt(end).await.unwrap();
    task_id
}

fn kinds(story: &Value) -> Vec<&str> {
    story["objects"].as_array().unwrap().iter().map(|object| object["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_story_is_told_from_its_beginning() {
    let world = World::new().await;
    let id = lived(&world, "team").await;
    let answer = world.get(ADA, &format!("/trace/{TRACE}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(kinds(&answer.body), KINDS);
    let mut story = steady(answer.body);
    // The work objects are shown where they are made.
    story["objects"]
        .as_array_mut()
        .unwrap()
        .retain(|object| ["Task", "Job", "TraceFile"].contains(&object["kind"].as_str().unwrap()));
    for entry in story["audit"].as_array_mut().unwrap() {
        *entry = json!(format!("{} {} {}", entry["actor_id"], entry["action"], entry["entity_kind"]));
    }
    for object in story["objects"].as_array_mut().unwrap() {
        let text = object.to_string().replace(&id.to_string(), "[id]");
        *object = serde_json::from_str(&text).unwrap();
        if object["kind"] == "TraceFile" {
            object["created_at"] = json!("[now]");
        }
    }
    insta::assert_json_snapshot!("story", story);
}

#[tokio::test]
async fn a_story_is_for_those_who_may_get_its_tasks() {
    let world = World::new().await;
    lived(&world, "team").await;
    let path = format!("/trace/{TRACE}");
    let refused = world.get(EVE, &path).await;
    assert_eq!((refused.status, &refused.body), (404, &json!({"detail": "Trace not found"})));
    // Somebody else uses the same trace id, and shows nobody's Tasks but their own by that.
    let theirs = lived(&world, "other").await;
    let seen = world.get(EVE, &path).await;
    assert_eq!(seen.status, 200);
    assert_eq!(kinds(&seen.body), KINDS);
    assert!(!seen.text.contains("team"), "{}", seen.text);
    let entries = seen.body["audit"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["entity_id"] == json!(theirs)));
    let all = world.get(ROOT, &path).await;
    assert_eq!(kinds(&all.body).len(), 2 * KINDS.len());
    assert_eq!(all.body["audit"].as_array().unwrap().len(), 2 * entries.len());
}

#[tokio::test]
async fn a_long_story_has_pages() {
    let world = World::new().await;
    lived(&world, "team").await;
    let mut count = 0;
    let mut path = Some(format!("/trace/{TRACE}?limit=3"));
    let whole = world.get(ADA, &format!("/trace/{TRACE}")).await.body["audit"].as_array().unwrap().len();
    while let Some(next) = path {
        let page = world.get(ADA, &next).await;
        assert_eq!((page.status, kinds(&page.body).len()), (200, KINDS.len()));
        count += page.body["audit"].as_array().unwrap().len();
        path = page.next();
    }
    assert_eq!(count, whole);
}

#[tokio::test]
async fn a_trace_of_nothing_is_not_found() {
    let world = World::new().await;
    for (token, trace) in [(ADA, "no-such-trace"), (ROOT, "no-such-trace"), (ADA, "short"), (ADA, "%27%20OR%201=1--")] {
        let answer = world.get(token, &format!("/trace/{trace}")).await;
        assert_eq!((answer.status, &answer.body), (404, &json!({"detail": "Trace not found"})), "{trace}");
    }
}

#[tokio::test]
async fn a_denial_is_seen_by_those_who_may_see_the_tasks_of_its_namespace() {
    let mut world = World::new().await;
    lived(&world, "team").await;
    for namespace in ["team", "other"] {
        let sent = request("POST", ADA, &format!("/tasks/enqueue?namespace={namespace}")).header("x-trace-id", TRACE);
        let bad = task(json!({"target": {"repo": "evil/x"}}));
        assert_eq!(world.send(sent.body(Body::from(bad.to_string())).unwrap()).await.status, 422);
    }
    let denials = world.denials.take();
    assert_eq!(denials.len(), 2);
    world.store.record_denials(denials).await.unwrap();
    for (token, expected) in [(ADA, vec!["team"]), (EVE, vec!["other"]), (ROOT, vec!["team", "other"])] {
        let story = world.get(token, &format!("/trace/{TRACE}")).await.body;
        let denials =
            story["audit"].as_array().unwrap().iter().filter(|entry| entry["entity_kind"] == "AdmissionDenial");
        let seen: Vec<&str> = denials.map(|entry| entry["after"]["namespace"].as_str().unwrap()).collect();
        assert_eq!(seen, expected);
    }
    let listed = world.get(ROOT, "/audit?entity_kind=AdmissionDenial&actor_id=ada").await;
    assert_eq!(listed.body.as_array().unwrap().len(), 2);
    assert_eq!(world.get(ADA, "/audit?entity_kind=AdmissionDenial").await.status, 403);
}

/// Enqueues a Task in `namespace` under this trace id, if it may be had.
async fn enqueue_under(world: &World, token: &str, namespace: &str, trace: &str) -> crate::world::Answer {
    let sent = request("POST", token, &format!("/tasks/enqueue?namespace={namespace}")).header("x-trace-id", trace);
    world.send(sent.body(Body::from(task(json!({})).to_string())).unwrap()).await
}

#[tokio::test]
async fn nobody_joins_a_trace_of_which_they_may_get_nothing() {
    let world = World::new().await;
    lived(&world, "team").await;
    world.allow("eve", &["create"], "other");
    let theirs = enqueue_under(&world, EVE, "other", TRACE).await;
    assert_eq!(theirs.status, 201, "{}", theirs.text);
    assert_ne!(theirs.body["trace_id"], TRACE);
    assert_eq!(theirs.header("x-trace-id"), theirs.body["trace_id"]);
    assert_eq!((&theirs.body["parent_trace_id"], theirs.header("x-parent-trace-id")), (&json!(TRACE), TRACE));
    let objects = world.cluster.objects.lock().unwrap().clone();
    let object = objects.iter().find(|((namespace, _), _)| namespace == "other").unwrap().1;
    assert!(object.to_string().contains(&format!("\"jct.dev/parent-trace-id\":\"{TRACE}\"")), "{object}");
    let repo = json!({"name": "hello", "slug": "octo/other", "source": {"system": "github"}});
    let sent = request("POST", EVE, "/cwom/repos?namespace=other").header("x-trace-id", TRACE);
    let made = world.send(sent.body(Body::from(repo.to_string())).unwrap()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_ne!(made.body["repo"]["trace_id"], TRACE);
    assert_eq!(kinds(&world.get(ROOT, &format!("/trace/{TRACE}")).await.body), KINDS, "the trace is as it was");
    // The controls: who may get a Task of it, and whoever is the first.
    let ours = enqueue_under(&world, ADA, "team", TRACE).await;
    assert_eq!((&ours.body["trace_id"], &ours.body["parent_trace_id"]), (&json!(TRACE), &Value::Null));
    let first = enqueue_under(&world, EVE, "other", "another-story").await;
    assert_eq!(first.body["trace_id"], "another-story");
}

#[tokio::test]
async fn a_denied_request_does_not_get_into_a_foreign_trace_either() {
    let mut world = World::new().await;
    lived(&world, "team").await;
    world.allow("eve", &["create"], "other");
    let sent = request("POST", EVE, "/tasks/enqueue?namespace=other").header("x-trace-id", TRACE);
    let bad = task(json!({"target": {"repo": "evil/x"}}));
    let answer = world.send(sent.body(Body::from(bad.to_string())).unwrap()).await;
    assert_eq!(answer.status, 422);
    let denials = world.denials.take();
    assert_ne!(denials[0].trace_id.as_str(), TRACE);
    assert_eq!(answer.header("x-trace-id"), denials[0].trace_id.as_str());
}

#[tokio::test]
async fn a_flood_of_others_tasks_hides_nothing() {
    let world = World::new().await;
    let mine = lived(&world, "team").await;
    let row = world.store.task(mine).await.unwrap().unwrap();
    // As if made before joining was asked about.
    for n in 0..1100 {
        let at = row.created_at + jiff::Span::new().hours(1);
        let new = NewTask {
            id: Id::derive(at, &format!("flood-{n}")),
            trace_id: row.trace_id.clone(),
            namespace: "other".into(),
            name: format!("flood-{n}"),
            uid: format!("flood-{n}"),
            submitted_by: Some("mallory".into()),
            actor: Actor::controller(),
            task: row.task.clone(),
            executor: None,
            model: None,
            delivery: None,
            max_attempts: 1,
            create_cwom: false,
            for_run: None,
            client: None,
            suspended: false,
            shown: jct::store::Shown::default(),
            created_at: at,
            recorded_at: at,
        };
        world.store.record_task(new).await.unwrap();
    }
    let path = format!("/trace/{TRACE}");
    let mut seen = world.get(ADA, &path).await;
    assert_eq!(kinds(&seen.body), KINDS);
    let mut entries = seen.body["audit"].as_array().unwrap().len();
    assert!(entries > 0 && seen.next().is_none(), "what she may not see takes no place: {entries}");
    // Whoever sees all of it sees the first ones first, and all in pages.
    let mut ids = std::collections::BTreeSet::new();
    let mut next = Some(path.clone());
    while let Some(path) = next {
        seen = world.get(ROOT, &path).await;
        assert_eq!(seen.status, 200);
        for object in seen.body["objects"].as_array().unwrap().iter().filter(|object| object["kind"] == "Task") {
            ids.insert(object["id"].as_str().unwrap().to_owned());
        }
        if entries > 0 {
            assert!(ids.contains(&mine.to_string()), "the first page has the oldest");
            entries = 0;
        }
        let link = seen.header("link").to_owned();
        next = link.split(", ").find(|link| link.ends_with("rel=\"next-tasks\"")).map(|link| {
            assert!(!link.contains(&mine.to_string()));
            link[1..link.find('>').unwrap()].to_owned()
        });
    }
    assert_eq!(ids.len(), 1101);
}

#[tokio::test]
async fn a_cursor_names_no_entry() {
    let world = World::new().await;
    lived(&world, "team").await;
    let first = world.get(ADA, &format!("/trace/{TRACE}?limit=1")).await;
    let next = first.next().unwrap();
    let whole = world.get(ROOT, &format!("/trace/{TRACE}")).await;
    for entry in whole.body["audit"].as_array().unwrap() {
        let id = entry["id"].as_str().unwrap();
        assert!(!next.to_uppercase().contains(id), "{next}");
        // A ULID begins with its time.
        assert!(!next.to_uppercase().contains(&id[..10]), "{next}");
    }
    assert_eq!(world.get(ADA, &next).await.status, 200);
}
