use std::time::Duration;

use jct::domain::denial::{Interface, Request};
use jct::domain::id::sha256_hex;
use jct::domain::{Actor, ActorKind, Code};
use jct::store::{AuditQuery, RecordDeleted};
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::cluster::Controller;
use crate::world::{ADA, CI, World, steady, task, trust};

#[tokio::test]
async fn a_task_is_answered_once_it_is_recorded() {
    let world = World::new().await;
    let answer = world.enqueue(json!({"idempotency_key": "k", "inputs": {"a_b": 1}})).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    insta::assert_json_snapshot!("created", steady(answer.body.clone()));
    let id = answer.body["task_id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/tasks/{id}"));
    let row = world.store.task(id.parse().unwrap()).await.unwrap().expect("recorded before it was answered");
    assert_eq!((row.namespace.as_str(), row.submitted_by.as_deref()), ("team", Some("ada")));
    let entry = world.store.audit(&AuditQuery::default()).await.unwrap().remove(0);
    assert_eq!(entry.actor.id, "ada", "the audit log names the caller, not the operator");
}

#[tokio::test]
async fn whoever_asks_for_what_nothing_can_do_is_warned() {
    let world = World::new().await;
    let warned = async |change: Value| {
        let answer = world.enqueue(change).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.body["warnings"].clone()
    };
    let reported = warned(json!({"operation": "code_change"})).await;
    assert!(reported[0].as_str().unwrap().starts_with("inputs.patch is missing"), "{reported}");
    assert_eq!(warned(json!({"operation": "code_change", "inputs": {"patch": "--- a/x"}})).await, Value::Null);
}

#[tokio::test]
async fn the_object_is_what_kubectl_would_have_made() {
    let world = World::new().await;
    let spec = json!({
        "type": "docs", "payload": {"snake_case": {"in_side": 1}}, "objective": "  Look around  ",
        "operation": null, "target": {"repo": "Octo/Hello.git", "path": "src"}, "idempotency_key": "k",
        "constraints": {"time_budget_seconds": 60}, "acceptance_criteria": ["done"],
    });
    let answer = world.post(ADA, "/tasks/enqueue?create_cwom=false", &task(spec)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let objects = world.cluster.objects.lock().unwrap();
    let mut object = objects.values().next().unwrap().clone();
    let annotations = object["metadata"]["annotations"].as_object().unwrap();
    assert!(annotations["jct.dev/stamp"].as_str().unwrap().starts_with("v2.operator."));
    let (metadata, spec) = (serde_json::from_value(object["metadata"].clone()).unwrap(), object["spec"].clone());
    let believed = trust().read("Task", &metadata, Some(&jct::domain::SpecDigests::of("Task", &spec)));
    let submitter = believed.submitted.unwrap().submitter;
    assert_eq!((submitter.user.as_str(), submitter.groups()), ("ada", Some(vec!["g".to_owned()])));
    object["metadata"]["creationTimestamp"] = json!("2026-03-01T12:00:00Z");
    let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.remove("jct.dev/stamp");
    annotations.remove("jct.dev/trace-id");
    insta::assert_json_snapshot!("object", object);
}

#[tokio::test]
async fn a_body_says_how_the_task_is_to_be_handled() {
    let world = World::new().await;
    let asked = json!({
        "idempotency_key": "k", "executor": "agent", "max_attempts": 3, "ttl_seconds_after_finished": 60, "suspend": true,
    });
    let answer = world.enqueue(asked.clone()).await;
    assert_eq!((answer.status, &answer.body["task"]["status"]), (201, &json!("pending")), "{}", answer.text);
    assert_eq!(answer.body["task"]["queued_at"], Value::Null);
    let warned = answer.body["warnings"][0].as_str().unwrap();
    assert!(warned.contains("\"agent\" is not configured"), "{warned}");
    let spec = world.cluster.objects.lock().unwrap().values().next().unwrap()["spec"].clone();
    assert_eq!(
        (&spec["executor"], &spec["maxAttempts"], &spec["ttlSecondsAfterFinished"], &spec["suspend"]),
        (&json!("agent"), &json!(3), &json!(60), &json!(true))
    );
    let row = world.store.task(answer.body["task_id"].as_str().unwrap().parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((row.executor.as_deref(), row.max_attempts), (Some("agent"), 3));
    // What is asked for is part of what a key stands for; when the object goes is not.
    let again = async |change: Value| {
        let mut asked = asked.clone();
        json_patch::merge(&mut asked, &change);
        world.enqueue(asked).await.body["error"].clone()
    };
    assert_eq!(again(json!({"ttl_seconds_after_finished": null, "suspend": null})).await, "DUPLICATE");
    for other in [json!({"executor": null}), json!({"max_attempts": 2})] {
        assert_eq!(again(other.clone()).await, "IDEMPOTENCY_KEY_REUSED", "{other}");
    }
}

#[rstest]
#[case(json!({"executor": "No"}), "executor")]
#[case(json!({"max_attempts": 11}), "max_attempts")]
#[case(json!({"ttl_seconds_after_finished": -1}), "ttl_seconds_after_finished")]
#[case(json!({"suspend": "yes"}), "suspend")]
#[case(json!({"maxAttempts": 2}), "maxAttempts")]
#[case(json!({"create_cwom": false}), "create_cwom")]
#[tokio::test]
async fn how_a_task_is_handled_is_held_against_its_limits(#[case] change: Value, #[case] field: &str) {
    let answer = World::new().await.enqueue(change).await;
    assert_eq!((answer.status, &answer.body["detail"]["violations"][0]["field"]), (422, &json!(field)));
}

#[rstest]
#[case("policy", json!({"target": {"repo": "evil/x"}, "constraints": {"allow_network": true, "allow_secrets": true, "time_budget_seconds": 5}}))]
#[case("schema", json!({"objective": null, "requested_by": {"kind": "robot"}, "surprise": 1}))]
#[case("both", json!({"objective": "no", "operation": "dance", "constraints": {"time_budget_seconds": 1e30}}))]
#[case("controls", json!({"cancel": true, "max_attempts": 30, "target": {"repo": "https://octo.example/x"}}))]
#[tokio::test]
async fn what_the_gate_refuses_is_told(#[case] name: &str, #[case] change: Value) {
    let world = World::new().await;
    let answer = world.enqueue(change).await;
    assert_eq!(answer.status, 422);
    insta::assert_json_snapshot!(format!("refused_{name}"), answer.body);
    assert!(world.cluster.objects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn sql_and_worse_is_only_text() {
    let world = World::new().await;
    let nasty = "'; DROP TABLE tasks; -- \" \\ \u{202e} $1 ? %s {{7*7}} ${jndi:x} <script>é";
    let texts = json!({
        "idempotency_key": nasty, "objective": nasty, "requested_by": {"id": nasty, "label": nasty},
        "target": {"path": nasty}, "inputs": {nasty: nasty}, "metadata": {nasty: [nasty]},
        "acceptance_criteria": [nasty], "evidence_requirements": [nasty],
    });
    let answer = world.enqueue(texts.clone()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let id = answer.body["task_id"].as_str().unwrap();
    let read = world.get(ADA, &format!("/tasks/{id}")).await.body;
    let mut expected = read.clone();
    json_patch::merge(&mut expected, &texts);
    assert_eq!(read, expected, "stored as it was sent");
    assert_eq!(world.enqueue(texts).await.status, 409);
}

#[rstest]
#[case("namespace=Team", "namespace")]
#[case("namespace=../x", "namespace")]
#[case("namespace=", "namespace")]
#[case("create_cwom=maybe", "create_cwom")]
#[case("dry_run=true", "dry_run")]
#[tokio::test]
async fn a_bad_query_is_told(#[case] query: &str, #[case] field: &str) {
    let world = World::new().await;
    let answer = world.post(ADA, &format!("/tasks/enqueue?{query}"), &task(json!({}))).await;
    assert_eq!((answer.status, &answer.body["detail"]["violations"][0]["field"]), (422, &json!(field)));
}

#[tokio::test]
async fn a_request_that_is_repeated_is_the_same_task() {
    let mut world = World::new().await;
    let first = world.enqueue(json!({"idempotency_key": "k", "inputs": {"depth": 1.0}})).await;
    // In other words.
    let second = world
        .enqueue(json!({"idempotency_key": "k", "inputs": {"depth": 1}, "objective": " Look around ", "metadata": {}}))
        .await;
    assert_eq!(second.status, 409);
    insta::assert_json_snapshot!("duplicate", steady(second.body.clone()));
    assert_eq!(second.body["task"], first.body["task"]);
    world.restart();
    let third = world.enqueue(json!({"idempotency_key": "k", "inputs": {"depth": 1}})).await;
    assert_eq!((third.status, &third.body["task_id"]), (409, &first.body["task_id"]), "after a restart too");
    assert_eq!(world.cluster.objects.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_of_another_task_is_an_error_that_tells_nothing_of_it() {
    let world = World::new().await;
    let first = world.enqueue(json!({"idempotency_key": "k"})).await;
    let others = [
        world.enqueue(json!({"idempotency_key": "k", "objective": "Something else"})).await,
        world.post(ADA, "/tasks/enqueue?create_cwom=false", &task(json!({"idempotency_key": "k"}))).await,
    ];
    for other in others {
        assert_eq!((other.status, &other.body["error"]), (409, &json!("IDEMPOTENCY_KEY_REUSED")));
        for nothing in ["task_id", "trace_id", "task"] {
            assert!(other.body.get(nothing).is_some_and(serde_json::Value::is_null), "{nothing}: {}", other.text);
        }
        assert!(!other.text.contains(first.body["task_id"].as_str().unwrap()));
    }
    assert_eq!(world.cluster.objects.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn who_may_not_get_tasks_learns_of_a_duplicate_and_nothing_more() {
    let world = World::new().await;
    let first = world.enqueue(json!({"idempotency_key": "k"})).await;
    world.cluster.rights.lock().unwrap().insert("ada", vec![("create", "tasks", "team")]);
    let mut world = world;
    world.restart();
    let second = world.enqueue(json!({"idempotency_key": "k"})).await;
    assert_eq!((second.status, &second.body["error"]), (409, &json!("DUPLICATE")));
    for nothing in ["task_id", "trace_id", "task"] {
        assert!(second.body.get(nothing).is_some_and(serde_json::Value::is_null), "{nothing}: {}", second.text);
    }
    assert!(!second.text.contains(first.body["task_id"].as_str().unwrap()));
}

#[tokio::test]
async fn a_key_stays_taken_when_its_object_is_gone() {
    let world = World::new().await;
    let first = world.enqueue(json!({"idempotency_key": "k"})).await;
    let id = first.body["task_id"].as_str().unwrap().parse().unwrap();
    let gone = RecordDeleted { id, uid: "uid-0".into(), actor: Actor::controller(), note: None, at: Timestamp::now() };
    world.store.record_deleted(gone).await.unwrap();
    world.cluster.objects.lock().unwrap().clear();
    let second = world.enqueue(json!({"idempotency_key": "k"})).await;
    assert_eq!((second.status, &second.body["task_id"]), (409, &first.body["task_id"]));
    assert!(world.cluster.objects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn keys_are_of_a_namespace() {
    let world = World::new().await;
    world.cluster.rights.lock().unwrap().get_mut("ada").unwrap().push(("create", "tasks", "other"));
    for namespace in ["team", "other"] {
        let path = format!("/tasks/enqueue?namespace={namespace}");
        assert_eq!(world.post(ADA, &path, &task(json!({"idempotency_key": "k"}))).await.status, 201);
    }
}

#[tokio::test]
async fn fifty_at_once_make_one_task() {
    let world = World::new().await;
    let answers = futures::future::join_all((0..50).map(|_| world.enqueue(json!({"idempotency_key": "k"})))).await;
    let created: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    let conflicts: Vec<_> = answers.iter().filter(|answer| answer.status == 409).collect();
    assert_eq!((created.len(), conflicts.len()), (1, 49));
    for answer in conflicts {
        assert_eq!(answer.body["task_id"], created[0].body["task_id"]);
        assert_eq!(answer.body["trace_id"], created[0].body["trace_id"]);
    }
    assert_eq!(world.cluster.objects.lock().unwrap().len(), 1, "one object, so one Job");
    assert_eq!(world.store.tasks(&Default::default(), Default::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn fifty_at_once_without_a_key_are_fifty_tasks() {
    let world = World::new().await;
    let answers = futures::future::join_all((0..50).map(|_| world.enqueue(json!({})))).await;
    assert!(answers.iter().all(|answer| answer.status == 201));
    assert_eq!(world.cluster.objects.lock().unwrap().len(), 50);
}

#[tokio::test]
async fn a_name_that_another_task_has_is_no_obstacle() {
    let world = World::new().await;
    let first = world.enqueue(json!({"idempotency_key": "a"})).await;
    let name = first.body["task"]["name"].as_str().unwrap().to_owned();
    let mut stranger = world.cluster.objects.lock().unwrap().remove(&("team".into(), name)).unwrap();
    let second = world.enqueue(json!({"idempotency_key": "b"})).await;
    let taken = second.body["task"]["name"].as_str().unwrap().to_owned();
    // Somebody gives the name that a key makes to a Task without that key.
    stranger["spec"]["idempotencyKey"] = json!("c");
    let world = World::new().await;
    world.cluster.objects.lock().unwrap().insert(("team".into(), taken.clone()), stranger);
    let third = world.enqueue(json!({"idempotency_key": "b"})).await;
    assert_eq!(third.status, 201, "{}", third.text);
    assert_ne!(third.body["task"]["name"], json!(taken));
}

#[tokio::test]
async fn a_caller_who_may_create_and_not_get_sees_no_task_of_others() {
    let world = World::new().await;
    world.enqueue(json!({"idempotency_key": "k", "inputs": {"secret": "plan"}})).await;
    let answer = world.post(CI, "/tasks/enqueue", &task(json!({"idempotency_key": "k"}))).await;
    assert_eq!((answer.status, &answer.body["task"]), (409, &Value::Null));
    assert!(!answer.text.contains("plan"));
}

#[tokio::test]
async fn a_record_that_is_late_is_told_with_the_id_to_ask_for() {
    let world = World::with(|settings| settings.timeout = Duration::from_millis(600)).await;
    *world.cluster.controller.lock().unwrap() = Controller::Sleeps;
    let answer = world.enqueue(json!({"idempotency_key": "k"})).await;
    assert_eq!(answer.status, 504, "{}", answer.text);
    insta::assert_json_snapshot!("not_recorded_yet", steady(answer.body));
    let again = world.enqueue(json!({"idempotency_key": "k"})).await;
    assert_eq!((again.status, &again.body["detail"]["error"]), (504, &json!("not_recorded_yet")));
    assert_eq!(world.cluster.objects.lock().unwrap().len(), 1, "a repetition makes no second object");
}

#[tokio::test]
async fn what_the_controller_refuses_is_told() {
    let world = World::new().await;
    *world.cluster.controller.lock().unwrap() = Controller::Refuses;
    let answer = world.enqueue(json!({})).await;
    assert_eq!((answer.status, &answer.body["detail"]["code"]), (422, &json!("REPO_NOT_ALLOWED")));
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_told() {
    let world = World::new().await;
    world.cluster.rights.lock().unwrap().get_mut("ada").unwrap().push(("create", "tasks", "nowhere"));
    let answer = world.post(ADA, "/tasks/enqueue?namespace=nowhere", &task(json!({}))).await;
    assert_eq!((answer.status, &answer.body), (404, &json!({"detail": "Namespace 'nowhere' not found"})));
}

#[rstest]
#[case(403, "Forbidden", 403)]
#[case(422, "Invalid", 422)]
#[case(429, "TooManyRequests", 503)]
#[case(500, "InternalError", 503)]
#[case(504, "Timeout", 503)]
#[tokio::test]
async fn what_the_api_server_answers_is_passed_on(
    #[case] code: u16,
    #[case] reason: &'static str,
    #[case] status: u16,
) {
    let world = World::new().await;
    assert_eq!(world.enqueue(json!({})).await.status, 201, "rights are known");
    *world.cluster.failure.lock().unwrap() = Some((code, reason));
    let answer = world.enqueue(json!({})).await;
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.headers.contains_key("retry-after"), status == 503);
}

#[tokio::test]
async fn a_record_that_is_away_is_told() {
    let world = World::new().await;
    world.store.close().await;
    let answer = world.enqueue(json!({"idempotency_key": "k"})).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    insta::assert_json_snapshot!("record_away", answer.body);
    let keyless = world.enqueue(json!({})).await;
    assert_eq!((keyless.status, keyless.header("retry-after"), &keyless.body), (503, "5", &answer.body));
    assert!(world.cluster.objects.lock().unwrap().is_empty());
    let readyz = world.get("", "/readyz").await;
    assert_eq!((readyz.status, readyz.text.as_str()), (503, "database: the store is closed\n"));
}

#[tokio::test]
async fn a_record_that_can_only_be_read_takes_no_tasks_but_knows_those_it_has() {
    let world = World::new().await;
    let keyed = json!({"idempotency_key": "k"});
    assert_eq!(world.enqueue(keyed.clone()).await.status, 201);
    let lock = world.lock_record().await;
    world.store.ping().await.unwrap_err();
    assert_eq!(world.enqueue(keyed).await.status, 409);
    let refused = world.enqueue(json!({})).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"));
    assert_eq!(world.cluster.objects.lock().unwrap().len(), 1, "nothing is made that cannot be recorded");
    lock.close().await.unwrap();
    assert_eq!(world.enqueue(json!({})).await.status, 201);
}

#[tokio::test]
async fn a_denied_request_is_handed_to_the_audit_log() {
    let mut world = World::new().await;
    let body =
        task(json!({"target": {"repo": "evil/x"}, "requested_by": {"kind": "agent"}, "inputs": {"a": "hunter2"}}));
    let sent = crate::world::request("POST", ADA, "/tasks/enqueue").header("x-trace-id", "trace-of-ada-1");
    let sent = sent.header("x-request-id", "chosen-by-ada");
    assert_eq!(world.send(sent.body(axum::body::Body::from(body.to_string())).unwrap()).await.status, 422);
    let denials = world.denials.take();
    let [denial] = denials.as_slice() else { panic!("{denials:?}") };
    assert_eq!((denial.interface, denial.request), (Interface::Rest, Request::Create));
    assert_eq!((denial.actor.id.as_str(), denial.actor.kind), ("ada", ActorKind::Human));
    assert_eq!((denial.namespace.as_str(), denial.trace_id.as_str()), ("team", "trace-of-ada-1"));
    assert_eq!(denial.findings[0].code, Code::RepoNotAllowed);
    assert_eq!(denial.spec_sha256, sha256_hex(body.to_string().as_bytes()));
    assert_ne!(denial.uid, "chosen-by-ada", "a client cannot make its denial pass for another one");
    assert!(!format!("{denial:?}").contains("hunter2"));
    // As of one at the other door, people of the namespace are told.
    let committed = world.events.next().unwrap();
    assert_eq!(
        (committed.kind.as_str(), committed.namespace.as_str(), committed.reason.as_str()),
        ("Task", "team", "REPO_NOT_ALLOWED")
    );
    assert!(committed.note.starts_with("it was denied, and is not there: REPO_NOT_ALLOWED"), "{}", committed.note);

    assert_eq!(world.enqueue(json!({})).await.status, 201);
    assert_eq!(world.post(CI, "/tasks/enqueue?namespace=other", &body).await.status, 403);
    assert!(world.denials.take().is_empty(), "neither what is accepted nor what no right allows");
    assert_eq!(world.events.next(), None);
}
