//! The REST door: tokens and rights of the real API server, and Tasks that become what applied ones become.

use serde_json::{Value, json};

use crate::support::{NORMAL, Rest, World, audit, phase, reason, token};

fn body(change: Value) -> Value {
    let mut body = json!({
        "requested_by": {"kind": "system", "id": "ci"}, "objective": "Look around", "operation": "analysis",
        "target": {"repo": NORMAL},
    });
    json_patch::merge(&mut body, &change);
    body
}

/// A token of a service account with the role `edit` in the namespace, and its user name.
async fn editor(world: &World) -> (String, String) {
    let user = format!("system:serviceaccount:{}:ci", world.namespace);
    world.allow(&user).await;
    (token(&world.namespace, "ci", "jct").await, user)
}

#[tokio::test]
async fn a_task_that_was_asked_for_is_run_and_told_of() {
    let world = World::shared("rest").await;
    let (token, user) = editor(&world).await;
    let rest = Rest::open().await;
    let enqueue = format!("/tasks/enqueue?namespace={}", world.namespace);
    let keyed = body(json!({"idempotency_key": "once"}));
    let (status, made) = rest.json("POST", &enqueue, &token, &keyed).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(made["task"]["submitted_by"], json!(user));
    let (status, again) = rest.json("POST", &enqueue, &token, &keyed).await;
    assert_eq!((status, &again["task_id"]), (409, &made["task_id"]));

    let name = made["task"]["name"].as_str().unwrap();
    let task = world.wait_for(name, "Completed").await;
    let annotations = task.metadata.annotations.unwrap();
    assert_eq!(annotations["jct.dev/submitted-by"], user, "the webhook took the operator's word");
    assert_eq!(annotations["jct.dev/trace-id"], made["trace_id"].as_str().unwrap());

    let (status, story) =
        rest.json("GET", &format!("/trace/{}", annotations["jct.dev/trace-id"]), &token, &json!({})).await;
    assert_eq!(status, 200, "{story}");
    let kinds: Vec<&Value> = story["objects"].as_array().unwrap().iter().map(|object| &object["kind"]).collect();
    let task = kinds.iter().position(|kind| **kind == "Task").unwrap();
    let expected = ["Task", "Run", "Job", "TraceFile"].map(Value::from);
    assert!(kinds[task..].iter().copied().cloned().collect::<Vec<_>>().starts_with(&expected), "{kinds:?}");
    assert_eq!(story["audit"][0]["actor_id"], json!(user));
    let issue = format!("/cwom/issues/{}", made["cwom"]["issue_id"].as_str().unwrap());
    let (status, issue) = rest.json("GET", &issue, &token, &json!({})).await;
    assert_eq!((status, &issue["status"]), (200, &json!("done")), "{issue}");
}

/// Followed from before it begins to its end, and read afterwards, by its people alone.
#[tokio::test]
async fn what_a_task_makes_is_followed_and_read() {
    let world = World::shared("rest").await;
    let (token, _) = editor(&world).await;
    let rest = Rest::open().await;
    let enqueue = format!("/tasks/enqueue?namespace={}", world.namespace);
    let (status, made) = rest.json("POST", &enqueue, &token, &body(json!({}))).await;
    assert_eq!(status, 201, "{made}");
    let task = format!("/tasks/{}", made["task_id"].as_str().unwrap());
    let (events, log) = (format!("{task}/events?follow=true"), format!("{task}/log?follow=true"));
    let (events, log) = tokio::join!(rest.call("GET", &events, &token, ""), rest.call("GET", &log, &token, ""));
    assert!(events.0 == 200 && events.1.contains("id: 1.1\ndata: {"), "{}", events.1);
    assert!(events.1.contains(r#"{"reason":"ended","status":"completed"}"#), "{}", events.1);
    assert!(log.0 == 200 && log.1.contains("executor_ended") && log.1.contains("attempt_ended"), "{}", log.1);

    let (_, traces) = rest.json("GET", &format!("{task}/trace"), &token, &json!({})).await;
    assert_eq!((&traces[0]["sealed"], &traces[0]["verified"]), (&json!(true), &json!(true)), "{traces}");
    let report = format!("{task}/trace/1/artifacts/report.md");
    let (status, head, text) = rest.answer("GET", &report, &token, "").await;
    assert!(status == 200 && text.contains("# ") && head.to_lowercase().contains("content-disposition: attachment"));
    let stranger = crate::support::token(&world.namespace, "nobody", "jct").await;
    assert_eq!(rest.call("GET", &report, &stranger, "").await.0, 404);

    let archive = rest.bytes(&format!("{task}/trace/1.tar.gz"), &token).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("archive"), archive).unwrap();
    let path = folder.path().to_str().unwrap();
    let unpacked = std::process::Command::new("tar").args(["-xzf", "archive"]).current_dir(path).output().unwrap();
    assert!(unpacked.status.success(), "{unpacked:?}");
    let mut checked = Vec::new();
    jct_trace::verify(folder.path(), None, &mut |one| checked.push(one)).unwrap();
    assert!(checked.len() == 1 && checked[0].problems.is_empty(), "{checked:?}");
}

#[tokio::test]
async fn work_objects_are_for_those_who_may_have_them() {
    let world = World::shared("rest").await;
    let (token, _) = editor(&world).await;
    let rest = Rest::open().await;
    let repos = format!("/cwom/repos?namespace={}", world.namespace);
    let repo = json!({"name": "by-rest", "slug": "by/rest", "source": {"system": "e2e"}});
    let (status, made) = rest.json("POST", &repos, &token, &repo).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(rest.json("POST", &repos, &token, &repo).await.0, 409);
    let (status, listed) = rest.json("GET", &repos, &token, &json!({})).await;
    assert!(status == 200 && listed.as_array().unwrap().contains(&made["repo"]), "{listed}");
    let elsewhere = rest.json("POST", "/cwom/repos?namespace=kube-system", &token, &repo).await;
    assert_eq!((elsewhere.0, &elsewhere.1["detail"]["resource"]), (403, &json!("repos.jct.dev")));
    let stranger = crate::support::token(&world.namespace, "nobody", "jct").await;
    let path = format!("/cwom/repos/{}", made["repo"]["id"].as_str().unwrap());
    assert_eq!(rest.json("GET", &path, &stranger, &json!({})).await.0, 404);
    assert_eq!(rest.json("GET", &path, &token, &json!({})).await, (200, made["repo"].clone()));
}

#[tokio::test]
async fn who_cancels_is_the_caller() {
    let world = World::shared("rest").await;
    let (token, user) = editor(&world).await;
    let rest = Rest::open().await;
    let enqueue = format!("/tasks/enqueue?namespace={}", world.namespace);
    // One that does not end before.
    let (_, made) = rest.json("POST", &enqueue, &token, &body(json!({"executor": "endless"}))).await;
    let id = made["task_id"].as_str().unwrap();
    let (status, answer) = rest.json("POST", &format!("/tasks/{id}/cancel"), &token, &json!({})).await;
    assert_eq!(status, 202, "{answer}");
    let name = made["task"]["name"].as_str().unwrap();
    let task = world.wait_for(name, "Cancelled").await;
    assert_eq!(task.metadata.annotations.as_ref().unwrap()["jct.dev/cancelled-by"], user);
    assert_eq!((phase(&task), reason(&task)), ("Cancelled", "Cancelled"));
    let entries = audit(&["--trace", made["trace_id"].as_str().unwrap()]).await;
    assert!(entries.iter().any(|entry| entry["after"]["status"] == "cancelled" && entry["actor_id"] == json!(user)));
}

#[tokio::test]
async fn tokens_and_rights_are_those_of_the_cluster() {
    let world = World::shared("rest").await;
    let (ours, _) = editor(&world).await;
    let for_the_api_server = token(&world.namespace, "ci", "").await;
    let without_rights = token(&world.namespace, "nobody", "jct").await;
    let rest = Rest::open().await;
    let enqueue = format!("/tasks/enqueue?namespace={}", world.namespace);
    for (token, expected) in [("", 401), (for_the_api_server.as_str(), 401), (without_rights.as_str(), 403)] {
        let (status, answer) = rest.json("POST", &enqueue, token, &body(json!({}))).await;
        assert_eq!(status, expected, "{answer}");
    }
    let elsewhere = rest.json("POST", "/tasks/enqueue?namespace=kube-system", &ours, &body(json!({}))).await;
    assert_eq!(elsewhere.0, 403);
    for (path, expected) in [("/tasks", 403), ("/audit", 403), ("/metrics", 403)] {
        assert_eq!(rest.json("GET", path, &ours, &json!({})).await.0, expected, "{path}");
    }
    let listed = rest.json("GET", &format!("/tasks?namespace={}", world.namespace), &ours, &json!({})).await;
    assert_eq!(listed, (200, json!([])));
}
