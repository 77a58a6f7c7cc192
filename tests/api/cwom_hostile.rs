//! What nobody should send to the collections of work objects.

use axum::body::Body;
use jct::domain::cwom::Kind;
use rstest::rstest;
use serde_json::{Value, json};

use crate::work::{Known, ORDER, id, least, one, path};
use crate::world::{ADA, ROOT, World, request};

#[rstest]
#[case(b"".to_vec(), 422, "body: must be JSON: EOF")]
#[case(b"{\"name\": ".to_vec(), 422, "body: must be JSON: EOF")]
#[case(b"{\"name\": \"\xff\xfe\"}".to_vec(), 422, "body: must be UTF-8")]
#[case("[".repeat(10_000).into_bytes(), 422, "body: must be JSON: recursion limit")]
#[case(format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes(), 422, "body: must be JSON: recursion limit")]
#[case(format!("{{\"meta\": {{\"a\": {}{}}}}}", "[".repeat(110), "]".repeat(110)).into_bytes(), 422, "body: must not be nested deeper")]
#[case(b"null".to_vec(), 422, "body: must be an object")]
#[case(b"[]".to_vec(), 422, "body: must be an object")]
#[case(vec![b' '; 2 << 20], 413, "the body is larger")]
#[tokio::test]
async fn a_bad_body_is_told_in_our_form(#[case] body: Vec<u8>, #[case] status: u16, #[case] message: &str) {
    let world = World::new().await;
    for kind in ORDER {
        let answer = world.send(request("POST", ADA, path(kind)).body(Body::from(body.clone())).unwrap()).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let reported = answer.body["detail"]["message"].as_str().unwrap();
        assert!(reported.starts_with(message), "{kind}: {reported}");
    }
    let form = request("POST", ADA, "/cwom/repos").header("content-type", "text/plain");
    assert_eq!(world.send(form.body(Body::from("{}")).unwrap()).await.status, 415);
}

#[tokio::test]
async fn unknown_and_missing_fields_are_all_told() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    for kind in ORDER {
        let mut body = least(kind, &known);
        json_patch::merge(&mut body, &json!({"surprise": 1, "id": "x", "kind": "Task", "tags": [7]}));
        let answer = world.post(ADA, path(kind), &body).await;
        assert_eq!((answer.status, &answer.body["detail"]["error"]), (422, &json!("validation_error")));
        let mut fields: Vec<&str> = answer.body["detail"]["violations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| finding["field"].as_str().unwrap())
            .collect();
        fields.sort_unstable();
        assert_eq!(fields, ["id", "kind", "surprise", "tags[0]"], "{kind}");
        let empty = world.post(ADA, path(kind), &json!({})).await;
        assert_eq!(empty.status, 422, "{kind}");
    }
}

/// `value` with `text` in the place of every string that may be any.
fn with_text(value: &mut Value, name: &str, text: &str) {
    const FIXED: [&str; 9] = ["kind", "id", "type", "mode", "scope", "actor_kind", "priority", "visibility", "status"];
    match value {
        Value::String(string) if !FIXED.contains(&name) => *string = text.into(),
        Value::Array(items) => items.iter_mut().for_each(|item| with_text(item, name, text)),
        Value::Object(fields) => fields.iter_mut().for_each(|(name, field)| with_text(field, name, text)),
        _ => {}
    }
}

#[tokio::test]
async fn sql_and_worse_is_only_text() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let nasty = "'; DROP TABLE cwom_repos; -- \" \\ \u{202e} $1 ? %s {{7*7}} ${jndi:x} é";
    for kind in ORDER {
        let mut body = least(kind, &known);
        json_patch::merge(&mut body, &json!({"tags": ["x"], "meta": {"a": ["x"], nasty: {nasty: "x"}}}));
        with_text(&mut body, "", nasty);
        let object = world.made(kind, &body).await;
        let mut expected = object.clone();
        json_patch::merge(&mut expected, &body);
        // References are completed: the role, which they lack.
        for field in ["repo", "for_issue", "produced_by"] {
            if expected[field].is_object() {
                expected[field] = object[field].clone();
            }
        }
        if kind == Kind::Issue || kind == Kind::Run {
            assert_eq!(expected["repo"]["id"], body["repo"]["id"]);
        }
        assert_eq!(world.get(ADA, &one(&object)).await.body, expected, "stored as it was sent");
    }
    let filter = nasty.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let found = world.get(ROOT, &format!("/cwom/doctrine-refs?namespace={filter}")).await;
    assert_eq!((found.status, found.body.as_array().unwrap().len()), (200, 1));
    assert_eq!(world.get(ROOT, "/cwom/repos").await.body.as_array().unwrap().len(), 2);
}

#[rstest]
#[case("01KJMMA2G027CE4HT1RZKZBW4A")]
#[case("01kjmma2g027ce4ht1rzkzbw4a")]
#[case("01KJMMA2G027CE4HT1RZKZBW4")]
#[case("01KJMMA2G027CE4HT1RZKZBW4AA")]
#[case("81KJMMA2G027CE4HT1RZKZBW4A")]
#[case("'%20OR%201=1")]
#[case("%C3%A9")]
#[case("%00")]
#[case("%ff%fe")]
#[case("..%2f..%2fx")]
#[tokio::test]
async fn an_id_of_nothing_is_not_found(#[case] id: &str) {
    let world = World::new().await;
    for kind in ORDER {
        let path = format!("{}/{id}", path(kind));
        let mut answers = vec![world.get(ROOT, &path).await];
        if [Kind::Issue, Kind::Run].contains(&kind) {
            answers.push(world.call("PATCH", ADA, &path, &json!({"status": "done"})).await);
            answers.push(world.get(ROOT, &format!("{path}/artifacts")).await);
        }
        if kind == Kind::Issue {
            answers.push(world.call("PATCH", ADA, &format!("{path}/status?status=done"), &Value::Null).await);
            answers.push(world.get(ROOT, &format!("{path}/context-packets")).await);
        }
        for answer in answers {
            assert_eq!(answer.status, 404, "{path}: {}", answer.text);
            let reported = answer.body["detail"].as_str().unwrap();
            assert!(reported.starts_with(&format!("{kind} not found")), "{reported}");
        }
    }
}

#[tokio::test]
async fn an_id_in_another_form_or_of_another_kind_is_not_found() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    for kind in ORDER {
        let id = id(&known[&kind]);
        let others = ORDER.into_iter().filter(|other| *other != kind).map(|other| format!("{}/{id}", path(other)));
        let forms = [id.to_lowercase(), id[..25].to_owned(), format!("{id}0")].map(|id| format!("{}/{id}", path(kind)));
        for path in others.chain(forms) {
            assert_eq!(world.get(ROOT, &path).await.status, 404, "{path}");
        }
    }
    let task = world.enqueue(json!({})).await.body["task_id"].as_str().unwrap().to_owned();
    assert_eq!(world.get(ROOT, &format!("/cwom/issues/{task}")).await.status, 404);
}

#[rstest]
#[case("limit=0", "limit")]
#[case("limit=-1", "limit")]
#[case("limit=1000000000", "limit")]
#[case("limit=1001", "limit")]
#[case("limit=1'%20OR%20'1'='1", "limit")]
#[case("offset=-1", "offset")]
#[case("cursor=made-up", "cursor")]
#[case("unknown=1", "unknown")]
#[tokio::test]
async fn a_page_that_does_not_fit_is_refused(#[case] query: &str, #[case] field: &str) {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let lists = ORDER.into_iter().filter(|kind| *kind != Kind::ContextPacket).map(|kind| path(kind).to_owned());
    let issue = one(&known[&Kind::Issue]);
    let parts = [format!("{issue}/context-packets"), format!("{issue}/artifacts")];
    for path in lists.chain(parts).chain([format!("{}/artifacts", one(&known[&Kind::Run]))]) {
        let answer = world.get(ROOT, &format!("{path}?{query}")).await;
        assert_eq!((answer.status, &answer.body["detail"]["violations"][0]["field"]), (422, &json!(field)), "{path}");
    }
}

#[rstest]
#[case("/cwom/repos?visibility=secret")]
#[case("/cwom/repos?namespace=Team")]
#[case("/cwom/issues?repo_id=octo/hello")]
#[case("/cwom/issues?repo_id=01kjmma2g027ce4ht1rzkzbw4a")]
#[case("/cwom/issues?status=finished")]
#[case("/cwom/issues?type=epic")]
#[case("/cwom/issues?priority=p0")]
#[case("/cwom/issues?mode=human")]
#[case("/cwom/runs?issue_id='")]
#[case("/cwom/runs?mode=robot")]
#[case("/cwom/constraint-snapshots?scope=world")]
#[case("/cwom/doctrine-refs?priority=P0")]
#[case("/cwom/doctrine-refs?namespace=%00")]
#[case("/cwom/doctrine-refs?kubernetes_namespace=Team")]
#[case("/cwom/artifacts?type=report")]
#[tokio::test]
async fn a_filter_that_does_not_fit_is_refused(#[case] path: &str) {
    let world = World::new().await;
    let answer = world.get(ROOT, path).await;
    assert_eq!((answer.status, &answer.body["detail"]["error"]), (422, &json!("validation_error")), "{}", answer.text);
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    for (method, path) in [
        ("GET", "/cwom/context-packets".to_owned()),
        ("DELETE", one(&known[&Kind::Repo])),
        ("PATCH", one(&known[&Kind::Repo])),
        ("PATCH", one(&known[&Kind::Artifact])),
        ("PATCH", one(&known[&Kind::DoctrineRef])),
        ("PUT", one(&known[&Kind::Issue])),
        ("DELETE", one(&known[&Kind::ContextPacket])),
        ("PATCH", format!("{}/status?status=done", one(&known[&Kind::Issue])).replace("/status", "/context-packets")),
    ] {
        let answer = world.call(method, ROOT, &path, &json!({})).await;
        assert_eq!((answer.status, &answer.body), (405, &json!({"detail": "Method Not Allowed"})), "{method} {path}");
    }
    let nothing = Known::new();
    assert_eq!(world.post(ADA, "/cwom/agents", &least(Kind::Repo, &nothing)).await.status, 404);
}
