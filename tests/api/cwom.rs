//! The collections of work objects: what is recorded, read, listed and changed.

use jct::domain::cwom::{Kind, read};
use jct::domain::{Actor, Id, Naming};
use jct::store::{AuditQuery, ObjectOrigin, PutObject};
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};

use crate::work::{Known, ORDER, id, least, one, path, settled, to};
use crate::world::{ADA, Answer, ROOT, World, request, task};

fn ids(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body.as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn an_object_of_each_kind_is_recorded_and_read() {
    let world = World::new().await;
    let mut known = Known::new();
    for kind in ORDER {
        let answer = world.post(ADA, path(kind), &least(kind, &known)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let object = answer.body[kind.snake_case()].clone();
        assert_eq!(answer.header("location"), one(&object));
        assert_eq!(object["trace_id"], answer.header("x-trace-id"));
        insta::assert_json_snapshot!(format!("cwom_{kind}"), settled(answer.body));
        let got = world.get(ADA, &one(&object)).await;
        assert_eq!((got.status, &got.body), (200, &object), "the bare object");
        known.insert(kind, object);
    }
}

#[tokio::test]
async fn an_entry_tells_who_recorded_it_and_the_trace_id_is_the_callers() {
    let world = World::new().await;
    world.cluster.tokens.lock().unwrap().insert("of-ci".into(), ("system:serviceaccount:team:ci", vec!["jct"]));
    world.allow("system:serviceaccount:team:ci", &["create"], "team");
    let sent = request("POST", "of-ci", "/cwom/repos").header("x-trace-id", "my-trace-1");
    let body = least(Kind::Repo, &Known::new());
    let made = world.send(sent.body(body.to_string().into()).unwrap()).await;
    assert_eq!((made.status, &made.body["repo"]["trace_id"]), (201, &json!("my-trace-1")), "{}", made.text);
    let row = world.store.object(Kind::Repo, id(&made.body["repo"]).parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(row.submitted_by.as_deref(), Some("system:serviceaccount:team:ci"));
    assert_eq!((row.namespace.as_str(), row.origin), ("team", None));
    let entries = world.store.audit(&AuditQuery::default()).await.unwrap();
    let reported: Vec<String> =
        entries.iter().map(|entry| format!("{} {} {}", entry.actor.kind, entry.action, entry.entity_kind)).collect();
    assert_eq!(reported, ["system created Repo"]);
    assert_eq!(
        (entries[0].actor.id.as_str(), entries[0].trace_id.as_str()),
        ("system:serviceaccount:team:ci", "my-trace-1")
    );
}

/// Two of each kind that differ in what they can be listed by.
async fn two_of_each() -> (World, Known, Known) {
    let world = World::new().await;
    let first = world.one_of_each().await;
    let mut second = Known::new();
    for kind in ORDER {
        let mut body = least(kind, &second);
        let change = match kind {
            Kind::Repo => json!({"slug": "octo/other", "visibility": "public"}),
            Kind::Issue => json!({"type": "bug", "status": "blocked", "priority": "P0"}),
            Kind::ConstraintSnapshot => json!({"scope": "org"}),
            Kind::DoctrineRef => json!({"namespace": "acme", "type": "pattern", "priority": "must"}),
            Kind::Run => json!({"status": "running", "mode": "human"}),
            Kind::ContextPacket | Kind::Artifact => json!({}),
        };
        json_patch::merge(&mut body, &change);
        let object = world.made(kind, &body).await;
        second.insert(kind, object);
    }
    (world, first, second)
}

#[tokio::test]
async fn filters_narrow_a_list() {
    let (world, first, second) = two_of_each().await;
    let repo_id = id(&second[&Kind::Repo]);
    let issue_id = id(&second[&Kind::Issue]);
    for (kind, filter) in [
        (Kind::Repo, "visibility=public"),
        (Kind::Issue, &format!("repo_id={repo_id}")),
        (Kind::Issue, "status=blocked"),
        (Kind::Issue, "type=bug"),
        (Kind::Issue, "priority=P0"),
        (Kind::Issue, &format!("repo_id={repo_id}&status=blocked&type=bug&priority=P0")),
        (Kind::Run, &format!("issue_id={issue_id}")),
        (Kind::Run, "status=running"),
        (Kind::Run, "mode=human"),
        (Kind::ConstraintSnapshot, "scope=org"),
        (Kind::DoctrineRef, "namespace=acme"),
        (Kind::DoctrineRef, "type=pattern"),
        (Kind::DoctrineRef, "priority=must"),
    ] {
        let answer = world.get(ROOT, &format!("{}?{filter}", path(kind))).await;
        assert_eq!(ids(&answer), [id(&second[&kind])], "{kind} {filter}");
        assert_eq!(answer.body[0], world.get(ROOT, &one(&second[&kind])).await.body, "as it is by itself");
    }
    for kind in ORDER.into_iter().filter(|kind| *kind != Kind::ContextPacket) {
        let all = world.get(ROOT, path(kind)).await;
        assert_eq!(ids(&all), [id(&second[&kind]), id(&first[&kind])], "{kind}: the newest first");
    }
    let none = world.get(ROOT, "/cwom/issues?status=blocked&type=feature").await;
    assert_eq!((none.status, none.body), (200, json!([])));
}

#[tokio::test]
async fn what_belongs_to_an_object_is_listed() {
    let (world, first, second) = two_of_each().await;
    let issue = one(&first[&Kind::Issue]);
    let run = one(&first[&Kind::Run]);
    let packet = id(&first[&Kind::ContextPacket]).to_owned();
    assert_eq!(ids(&world.get(ADA, &format!("{issue}/context-packets")).await), [packet.as_str()]);
    assert_eq!(ids(&world.get(ADA, &format!("{issue}/artifacts")).await), [id(&first[&Kind::Artifact])]);
    assert_eq!(ids(&world.get(ADA, &format!("{run}/artifacts")).await), [id(&first[&Kind::Artifact])]);
    // A packet that was made for another Issue, and that this one lists.
    let other = to(&second[&Kind::ContextPacket]);
    let listed = world.call("PATCH", ADA, &issue, &json!({"context_packets": [other]})).await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    let both = world.get(ADA, &format!("{issue}/context-packets")).await;
    assert_eq!(ids(&both), [id(&second[&Kind::ContextPacket]), &packet]);
    let paged = world.get(ADA, &format!("{issue}/context-packets?limit=1")).await;
    assert_eq!(ids(&world.get(ADA, &paged.next().unwrap()).await), [packet.as_str()]);
}

#[tokio::test]
async fn a_new_packet_and_a_new_run_are_linked_to_their_issue_by_themselves() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let issue = world.get(ADA, &one(&known[&Kind::Issue])).await.body;
    let linked =
        |field: &str| issue[field].as_array().unwrap().iter().map(|entry| entry["id"].clone()).collect::<Vec<_>>();
    assert_eq!(linked("context_packets"), [known[&Kind::ContextPacket]["id"].clone()]);
    assert_eq!(linked("runs"), [known[&Kind::Run]["id"].clone()]);
}

#[tokio::test]
async fn an_issue_is_changed_field_by_field() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let issue = one(&known[&Kind::Issue]);
    let change = json!({"title": "Greet well", "priority": "P0", "acceptance": {"criteria": ["Somebody smiled"]}});
    let answer = world.call("PATCH", ADA, &issue, &change).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("success")), "{}", answer.text);
    let now = &answer.body["issue"];
    assert_eq!((&now["title"], &now["priority"]), (&json!("Greet well"), &json!("P0")));
    assert_eq!((&now["type"], &now["acceptance"]["tests_expected"]), (&json!("feature"), &json!(null)));
    let time = |name: &str| now[name].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(time("updated_at") > time("created_at"));
    assert_eq!(world.get(ADA, &issue).await.body, *now);
    let back = world.call("PATCH", ADA, &issue, &json!({"priority": null})).await;
    assert_eq!(back.body["issue"]["priority"], "P2", "null restores the default");
}

#[rstest]
#[case(json!({"title": ""}), "title")]
#[case(json!({"title": null}), "title")]
#[case(json!({"surprise": 1}), "surprise")]
#[case(json!({"id": "01KJMMA2G027CE4HT1RZKZBW4A"}), "id")]
#[case(json!({"trace_id": "my-trace-1"}), "trace_id")]
#[case(json!({"created_at": "2026-03-01T12:00:00Z"}), "created_at")]
#[case(json!({"kind": "Run"}), "kind")]
#[case(json!({"runs": [{"kind": "Run", "id": "01KJMMA2G027CE4HT1RZKZBW4A"}]}), "runs")]
#[case(json!({"status": "finished"}), "status")]
#[case(json!({"repo": {"kind": "Issue", "id": "01KJMMA2G027CE4HT1RZKZBW4A"}}), "repo.kind")]
#[case(json!({"acceptance": {"criteria": "all"}}), "acceptance.criteria")]
#[case(json!(null), "body")]
#[case(json!([]), "body")]
#[case(json!("x"), "body")]
#[tokio::test]
async fn a_change_of_an_issue_that_does_not_fit_is_refused(#[case] change: Value, #[case] field: &str) {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let issue = one(&known[&Kind::Issue]);
    let before = world.get(ADA, &issue).await.body;
    let answer = world.call("PATCH", ADA, &issue, &change).await;
    assert_eq!((answer.status, &answer.body["detail"]["error"]), (422, &json!("validation_error")), "{}", answer.text);
    assert_eq!(answer.body["detail"]["violations"][0]["field"], field, "{}", answer.text);
    assert_eq!(world.get(ADA, &issue).await.body, before);
}

#[tokio::test]
async fn a_status_goes_the_ways_that_there_are() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let status = format!("{}/status", one(&known[&Kind::Issue]));
    for next in ["running", "running", "under_review", "done"] {
        let answer = world.call("PATCH", ADA, &format!("{status}?status={next}"), &Value::Null).await;
        assert_eq!((answer.status, &answer.body["issue"]["status"]), (200, &json!(next)), "{}", answer.text);
    }
    for (query, message) in [
        ("?status=running", "status: cannot become running: done is the end of an Issue"),
        ("?status=finished", "status: must be one of planned"),
        ("", "status: is required"),
        ("?status=", "status: must be one of"),
        ("?status=done&status=done", "status: is given twice"),
        ("?status=done&x=1", "x: is not a parameter"),
    ] {
        let answer = world.call("PATCH", ADA, &format!("{status}{query}"), &Value::Null).await;
        assert_eq!(answer.status, 422, "{query}: {}", answer.text);
        let reported = answer.body["detail"]["message"].as_str().unwrap();
        assert!(reported.starts_with(message), "{query}: {reported}");
    }
    let entries = world.store.audit(&AuditQuery::default()).await.unwrap();
    let changes = entries.iter().filter(|entry| entry.action.as_str() == "status_changed");
    assert_eq!(changes.count(), 3, "a repetition changes nothing");
}

#[tokio::test]
async fn of_a_run_changes_what_its_way_is() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let run = one(&known[&Kind::Run]);
    let change = json!({
        "status": "failed", "telemetry": {"started_at": "2026-03-01T12:00:00Z", "duration_s": 1.5},
        "cost": {"usd": 0.25, "tokens": 12}, "failure": {"category": "test", "message": "One is red"},
        "outputs": {"artifacts": [to(&known[&Kind::Artifact])], "decision_log": ["Try it"]},
    });
    let answer = world.call("PATCH", ADA, &run, &change).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("success")), "{}", answer.text);
    insta::assert_json_snapshot!("cwom_run_patched", settled(answer.body));
    let taken_back = world.call("PATCH", ADA, &run, &json!({"outputs": {"decision_log": []}})).await;
    assert_eq!(
        (taken_back.status, &taken_back.body["detail"]["violations"][0]["field"]),
        (422, &json!("outputs.decision_log"))
    );
    let revived = world.call("PATCH", ADA, &run, &json!({"status": "running"})).await;
    assert_eq!(revived.status, 422);
    let others = json!({"mode": "human", "status": "failed", "plan": {}, "x": 1});
    let answer = world.call("PATCH", ADA, &run, &others).await;
    assert_eq!(answer.status, 422);
    insta::assert_json_snapshot!("cwom_run_not_patched", answer.body);
}

#[rstest]
#[case(Kind::ContextPacket)]
#[case(Kind::ConstraintSnapshot)]
#[tokio::test]
async fn what_is_immutable_says_so(#[case] kind: Kind) {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let object = world.get(ADA, &one(&known[&kind])).await.body;
    for there in [id(&object), "01KJMMA2G027CE4HT1RZKZBW4A", "no-id"] {
        for method in ["PUT", "PATCH"] {
            let answer = world.call(method, ADA, &format!("{}/{there}", path(kind)), &json!({"tags": ["x"]})).await;
            assert_eq!((answer.status, answer.header("allow")), (405, "GET,HEAD"), "{}", answer.text);
            let detail = &answer.body["detail"];
            assert_eq!((&detail["error"], &detail["object_id"]), (&json!("IMMUTABILITY_VIOLATION"), &json!(there)));
            assert!(detail["message"].as_str().unwrap().contains(path(kind)));
        }
    }
    assert_eq!(world.get(ADA, &one(&object)).await.body, object);
}

#[tokio::test]
async fn what_must_be_unique_is() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    for (kind, detail) in [
        (Kind::Repo, "Repo with slug 'octo/hello' already exists"),
        (Kind::DoctrineRef, "DoctrineRef 'octo/tests' with version '1' already exists"),
    ] {
        let again = world.post(ADA, path(kind), &least(kind, &known)).await;
        assert_eq!((again.status, &again.body), (409, &json!({"detail": detail})));
        assert_eq!(world.get(ROOT, path(kind)).await.body.as_array().unwrap().len(), 1);
    }
    let mut next = least(Kind::DoctrineRef, &known);
    next["version"] = json!("2");
    world.made(Kind::DoctrineRef, &next).await;
    // Another namespace has its own.
    world.allow("ada", &["create"], "other");
    world.one_of_each_in("other").await;
}

#[tokio::test]
async fn of_many_at_once_one_has_the_slug() {
    let world = World::new().await;
    let body = least(Kind::Repo, &Known::new());
    let answers = futures::future::join_all((0..20).map(|_| world.post(ADA, "/cwom/repos", &body))).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(201), count(409)), (1, 19));
    assert_eq!(world.store.audit(&AuditQuery::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_custom_resource_says_is_changed_there() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let at = Timestamp::now();
    for kind in [Kind::Issue, Kind::Run] {
        let put = PutObject {
            id: Id::derive(at, kind.as_str()),
            trace_id: "of-kubectl".parse().unwrap(),
            namespace: "team".into(),
            origin: Some(ObjectOrigin { name: "greet".into(), uid: kind.as_str().into() }),
            submitted_by: None,
            actor: Actor::unverified(),
            pin: None,
            spec: read(kind, &least(kind, &known), Naming::Rest).0.unwrap(),
            spec_sha256: None,
            created_at: at,
            at,
        };
        let path = format!("{}/{}", path(kind), put.id);
        world.store.put_object(put).await.unwrap();
        assert_eq!(world.get(ADA, &path).await.status, 200);
        let answer = world.call("PATCH", ADA, &path, &json!({"status": "running"})).await;
        assert_eq!(answer.status, 409, "{}", answer.text);
        let reported = answer.body["detail"].as_str().unwrap();
        assert!(
            reported.contains(&format!("kubectl --namespace team edit {}.jct.dev greet", kind.plural())),
            "{reported}"
        );
    }
}

#[tokio::test]
async fn a_task_tells_what_it_made_and_stays_its_master() {
    let world = World::new().await;
    let made = world.enqueue(json!({})).await;
    assert_eq!(made.status, 201);
    let cwom = &made.body["cwom"];
    for (key, kind) in [
        ("repo_id", Kind::Repo),
        ("issue_id", Kind::Issue),
        ("context_packet_id", Kind::ContextPacket),
        ("constraint_snapshot_id", Kind::ConstraintSnapshot),
    ] {
        let object = world.get(ADA, &format!("{}/{}", path(kind), cwom[key].as_str().unwrap())).await;
        assert_eq!((object.status, &object.body["kind"]), (200, &json!(kind)), "{}", object.text);
        assert_eq!(object.body["trace_id"], made.body["trace_id"]);
    }
    assert_eq!(cwom.as_object().unwrap().len(), 4);
    assert_eq!(made.body["task"]["cwom_issue_id"], cwom["issue_id"]);
    let issue = format!("/cwom/issues/{}", cwom["issue_id"].as_str().unwrap());
    for (path, body) in
        [(issue.clone(), json!({"status": "done"})), (format!("{issue}/status?status=done"), Value::Null)]
    {
        let answer = world.call("PATCH", ADA, &path, &body).await;
        assert_eq!(answer.status, 409, "{}", answer.text);
        let cancel = format!("/tasks/{}/cancel", made.body["task_id"].as_str().unwrap());
        assert!(answer.body["detail"].as_str().unwrap().contains(&cancel), "{}", answer.text);
    }
    let without = world.post(ADA, "/tasks/enqueue?create_cwom=false", &task(json!({}))).await;
    assert_eq!((without.status, without.body.get("cwom")), (201, None));
    assert_eq!(without.body["task"]["cwom_issue_id"], Value::Null);
    assert_eq!(ids(&world.get(ROOT, "/cwom/issues").await).len(), 1);
}

#[tokio::test]
async fn pages_follow_each_other_and_lose_nothing() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    for number in 0..6 {
        let mut body = least(Kind::Issue, &known);
        body["title"] = json!(format!("Number {number}"));
        world.made(Kind::Issue, &body).await;
    }
    let mut seen: Vec<String> = Vec::new();
    let mut next = Some("/cwom/issues?namespace=team&type=feature&limit=3".to_owned());
    while let Some(path) = next {
        let page = world.get(ADA, &path).await;
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        next = page.next();
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted_by(|a, b| a > b), "the newest first, none twice");
    let offset = world.get(ADA, "/cwom/issues?namespace=team&offset=2&limit=2").await;
    assert_eq!(ids(&offset), [seen[2].as_str(), &seen[3]]);
}

#[tokio::test]
async fn a_cursor_is_of_its_query() {
    let (world, _, second) = two_of_each().await;
    let next = world.get(ADA, "/cwom/issues?namespace=team&limit=1").await.next().unwrap();
    assert_eq!(world.get(ADA, &next).await.status, 200);
    let cursor = next.split("cursor=").nth(1).unwrap();
    let issue = one(&second[&Kind::Issue]);
    for other in [
        format!("/cwom/issues?cursor={cursor}"),
        format!("/cwom/issues?namespace=team&status=done&cursor={cursor}"),
        format!("/cwom/runs?namespace=team&cursor={cursor}"),
        format!("/tasks?namespace=team&cursor={cursor}"),
        format!("/cwom/issues?namespace=team&offset=1&cursor={cursor}"),
        format!("{issue}/artifacts?cursor={cursor}"),
        format!("/cwom/issues?namespace=team&cursor={}", cursor.to_lowercase()),
        "/cwom/issues?namespace=team&cursor=made-up".into(),
        format!("/cwom/issues?namespace=team&cursor={}{}", id(&second[&Kind::Issue]), "0".repeat(32)),
    ] {
        let answer = world.get(ROOT, &other).await;
        assert_eq!((answer.status, &answer.body["detail"]["error"]), (422, &json!("validation_error")), "{other}");
    }
}
