use axum::body::Body;
use rstest::rstest;
use serde_json::json;

use crate::world::{ADA, CI, EVE, ROOT, World, request, task};

#[rstest]
#[case("Bearer expired")]
#[case("Bearer token-for-another-audience")]
#[case("Bearer token-of-a-naive-authenticator")]
#[case("Basic YWRhOmFkYQ==")]
#[case("Bearer ")]
#[case("Bearer a b")]
#[case("token-of-ada")]
#[tokio::test]
async fn a_token_that_is_not_for_us_is_none(#[case] authorization: &str) {
    let world = World::new().await;
    {
        let mut tokens = world.cluster.tokens.lock().unwrap();
        tokens.insert("token-for-another-audience".into(), ("ada", vec!["https://kubernetes.default.svc"]));
        // It says who, and nothing of an audience.
        tokens.insert("token-of-a-naive-authenticator".into(), ("ada", vec![]));
    }
    let sent = request("GET", "", "/tasks?namespace=team").header("authorization", authorization);
    let answer = world.send(sent.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"jct\", error=\"invalid_token\"");
    insta::allow_duplicates! { insta::assert_json_snapshot!("invalid_token", answer.body); }
}

#[tokio::test]
async fn a_token_without_rights_is_told_which_one_it_lacks() {
    let world = World::new().await;
    let id = world.enqueue(json!({})).await.body["task_id"].as_str().unwrap().to_owned();
    let get = format!("/tasks/{id}");
    for (path, verb, resource) in
        [("/tasks", "list", "tasks"), ("/tasks?namespace=team", "list", "tasks"), ("/audit", "list", "auditentries")]
    {
        let answer = world.get(EVE, path).await;
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(answer.body["detail"]["error"], "forbidden");
        assert_eq!(answer.body["detail"]["verb"], verb);
        assert_eq!(answer.body["detail"]["resource"], format!("{resource}.jct.dev"));
    }
    assert_eq!(world.get(EVE, "/metrics").await.body["detail"]["message"], "user \"eve\" may not get /metrics");
    let enqueue = world.post(EVE, "/tasks/enqueue?namespace=team", &task(json!({"target": {"repo": "evil/x"}}))).await;
    assert_eq!((enqueue.status, &enqueue.body["detail"]["namespace"]), (403, &json!("team")));
    // What one may not get is not there; what one may get and not change is.
    let cancel = format!("{get}/cancel");
    for answer in [world.get(EVE, &get).await, world.post(EVE, &cancel, &json!({})).await] {
        assert_eq!((answer.status, &answer.body), (404, &json!({"detail": "Task not found"})));
    }
    let seen = world.post(ROOT, &cancel, &json!({})).await;
    assert_eq!((seen.status, &seen.body["detail"]["verb"]), (403, &json!("patch")));
    assert_eq!(world.cluster.objects.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_listing_shows_only_namespaces_that_the_caller_may_list() {
    let world = World::new().await;
    world.cluster.rights.lock().unwrap().get_mut("ada").unwrap().push(("create", "tasks", "other"));
    for namespace in ["team", "other"] {
        let made = world.post(ADA, &format!("/tasks/enqueue?namespace={namespace}"), &task(json!({}))).await;
        assert_eq!(made.status, 201);
    }
    let shown = |answer: crate::world::Answer| {
        let tasks = answer.body.as_array().cloned().unwrap_or_default();
        let namespaces: Vec<String> = tasks.iter().map(|task| task["namespace"].as_str().unwrap().to_owned()).collect();
        (answer.status, namespaces)
    };
    assert_eq!(shown(world.get(ADA, "/tasks?namespace=team").await), (200, vec!["team".into()]));
    assert_eq!(shown(world.get(ADA, "/tasks?namespace=other").await).0, 403);
    assert_eq!(shown(world.get(EVE, "/tasks?namespace=other").await), (200, vec!["other".into()]));
    assert_eq!(shown(world.get(ROOT, "/tasks").await).1.len(), 2);
    let everywhere = world.get(ADA, "/tasks").await;
    assert_eq!(everywhere.status, 403);
    insta::assert_json_snapshot!("name_a_namespace", everywhere.body);
}

#[tokio::test]
async fn decisions_are_kept_and_the_api_server_is_spared() {
    let world = World::new().await;
    for _ in 0..20 {
        assert_eq!(world.get(ADA, "/tasks?namespace=team").await.status, 200);
        assert_eq!(world.get("junk", "/tasks?namespace=team").await.status, 401);
    }
    assert_eq!((world.cluster.called("tokenreviews"), world.cluster.called("subjectaccessreviews")), (2, 1));
}

#[tokio::test]
async fn a_token_is_not_believed_beyond_its_end() {
    use base64::Engine as _;
    let world = World::new().await;
    let ended = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp": 1000}"#);
    let token = format!("head.{ended}.signature");
    world.cluster.tokens.lock().unwrap().insert(token.clone(), ("ada", vec!["jct"]));
    assert_eq!(world.get(&token, "/tasks?namespace=team").await.status, 200, "the API server's word counts");
    world.cluster.tokens.lock().unwrap().remove(&token);
    assert_eq!(world.get(&token, "/tasks?namespace=team").await.status, 401, "but no longer than the token");
}

#[tokio::test]
async fn an_api_server_that_does_not_decide_lets_nobody_in() {
    let world = World::new().await;
    *world.cluster.failure.lock().unwrap() = Some((500, "InternalError"));
    let answer = world.get(ADA, "/tasks?namespace=team").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    insta::assert_json_snapshot!("authority_away", answer.body);
    *world.cluster.failure.lock().unwrap() = None;
    assert_eq!(world.get(ADA, "/tasks?namespace=team").await.status, 200, "a failure is not kept");
}

#[tokio::test]
async fn metrics_are_for_those_who_may_get_them() {
    let world = World::new().await;
    let page = world.get(ROOT, "/metrics").await;
    assert!(page.status == 200 && page.text.contains("# EOF"), "{}", page.text);
    assert_eq!(world.get(CI, "/metrics").await.status, 403);
    for path in ["/tasks/01KJMMA2G027CE4HT1RZKZBW4A", "/no/such/path", "/healthz"] {
        world.get(ADA, path).await;
    }
    let page = world.get(ROOT, "/metrics").await.text;
    for (route, status) in [("/metrics", 200), ("/metrics", 403), ("/tasks/{id}", 404), ("none", 404)] {
        let line = format!("jct_api_requests_total{{route=\"{route}\",status=\"{status}\"}} 1");
        assert!(page.contains(&line), "{line} is missing: {page}");
    }
    assert!(!page.contains("healthz"));
}

#[tokio::test]
async fn public_keys_are_for_everybody() {
    let world = World::new().await;
    let answer = world.get("", "/keys").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    insta::assert_json_snapshot!("keys", answer.body);
}
