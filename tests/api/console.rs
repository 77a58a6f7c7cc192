//! The console: who is let in, what they are shown, and what their browser may do.

use axum::body::Body;
use futures::StreamExt as _;
use http::Request;
use jct::domain::trace::Outcome;
use rstest::rstest;
use serde_json::json;
use std::time::Duration;

use crate::console_browser::{Browser, HOST, ORIGIN, as_form, form, from_near};
use crate::world::{ADA, EVE, NOBODY, ROOT, World};

const MARKDOWN: &[(&str, &str)] =
    &[("report.md", "text/markdown; charset=utf-8"), (".patch", "text/x-diff; charset=utf-8")];

#[tokio::test]
async fn nobody_passes_who_is_not_signed_in() {
    let world = World::new().await;
    let made = world.enqueue(json!({})).await;
    let id = made.body["task_id"].as_str().unwrap();
    let browser = Browser::new(&world);
    for path in [
        "/console/tasks",
        &format!("/console/tasks/{id}"),
        &format!("/console/tasks/{id}/log/stream"),
        "/console/audit",
    ] {
        let page = browser.get(path).await;
        let there = page.header("location").to_owned();
        assert_eq!(
            (
                page.status,
                there.starts_with("/console/sign-in?then=%2Fconsole")
                    || there.starts_with("/console/sign-in?then=/console")
            ),
            (303, true),
            "{path}: {there}"
        );
        assert!(!page.text.contains("Look around"));
    }
    let part = browser
        .send(Request::get("/console/tasks").header("host", HOST).header("hx-request", "true"), String::new())
        .await;
    assert_eq!(part.header("hx-redirect"), "/console/sign-in", "the whole page goes there, not a part of it");
    let signed_in = Browser::signed_in(&world, ADA).await;
    assert!(signed_in.get(&format!("/console/tasks/{id}")).await.text.contains("Look around"), "the control");
}

#[tokio::test]
async fn the_cookie_is_opaque_and_out_of_reach() {
    let world = World::new().await;
    let browser = Browser::new(&world);
    let answer = browser.post("/console/sign-in", &[("token", ADA)]).await;
    let set = answer.header("set-cookie").to_owned();
    assert!(
        set.starts_with("__Host-jct=") && set.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=28800"),
        "{set}"
    );
    assert!(!set.contains(ADA) && !set.contains("Domain"));
    let page = browser.get("/console/tasks?namespace=team").await;
    assert_eq!(page.status, 200);
    assert!(!page.text.contains(ADA), "no page has the token");
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("script-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!((page.header("referrer-policy"), page.header("x-frame-options")), ("same-origin", "DENY"));
    assert_eq!((page.header("cache-control"), page.header("x-content-type-options")), ("no-store", "nosniff"));
}

#[tokio::test]
async fn who_may_not_see_all_namespaces_is_asked_for_one() {
    let world = World::new().await;
    let browser = Browser::signed_in(&world, ADA).await;
    let page = browser.get("/console/tasks").await;
    assert_eq!(page.status, 403);
    assert!(page.text.contains("<input name=\"namespace\""), "{}", page.text);
    let page = browser.get("/console/tasks?namespace=team").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("href=\"/console/audit?namespace=team\""), "links stay in it");
}

#[tokio::test]
async fn a_token_that_is_none_signs_nobody_in() {
    let world = World::new().await;
    let browser = Browser::new(&world);
    for token in ["", "made-up", "a b", "x\r\ny"] {
        let page = browser.post("/console/sign-in", &[("token", token)]).await;
        assert_eq!(page.status, 401, "{token:?}");
        assert!(page.header("set-cookie").is_empty() && page.text.contains("role=\"alert\""));
    }
    let long = "x".repeat(100_000);
    assert_eq!(browser.post("/console/sign-in", &[("token", &long)]).await.status, 400);
    *browser.cookie.lock().unwrap() = format!("__Host-jct={}", "A".repeat(43));
    assert_eq!(browser.get("/console/tasks").await.status, 303, "nor does a made-up cookie");
}

#[rstest]
#[case::of_another_page(&[("host", HOST), ("origin", "https://evil.example")])]
#[case::of_no_page(&[("host", HOST)])]
#[case::of_a_sandbox(&[("host", HOST), ("origin", "null")])]
#[case::of_another_port(&[("host", HOST), ("origin", "http://127.0.0.1:80")])]
#[case::by_a_rebound_name(&[("host", "evil.example"), ("origin", "http://evil.example")])]
#[case::of_a_frame(&[("host", HOST), ("origin", ORIGIN), ("sec-fetch-site", "cross-site")])]
#[tokio::test]
async fn a_change_comes_from_our_own_page_alone(#[case] headers: &[(&str, &str)]) {
    let world = World::new().await;
    let made = world.enqueue(json!({})).await;
    let browser = Browser::signed_in(&world, ADA).await;
    let task = format!("/console/tasks/{}", made.body["task_id"].as_str().unwrap());
    let csrf = browser.get(&task).await.csrf().to_owned();
    let cancel = format!("{task}/cancel");
    let request =
        headers.iter().fold(as_form(Request::post(&cancel)), |request, (name, value)| request.header(*name, *value));
    let refused = browser.send(request, form(&[("csrf", &csrf)])).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    for wrong in [&[][..], &[("csrf", "")], &[("csrf", "guessed")]] {
        assert_eq!(browser.post(&cancel, wrong).await.status, 403, "{wrong:?}");
    }
    let others = Browser::signed_in(&world, ADA).await.get(&task).await.csrf().to_owned();
    assert_eq!(browser.post(&cancel, &[("csrf", &others)]).await.status, 403, "of another session of the same user");
    assert_eq!(world.cluster.called("PATCH"), 0, "nothing was done");
    assert_eq!(browser.post(&cancel, &[("csrf", &csrf)]).await.status, 303, "the control");
    assert_eq!(world.cluster.called("PATCH"), 1);
}

#[tokio::test]
async fn what_others_have_is_not_there() {
    let world = World::new().await;
    let mut ran = world.runs().await;
    ran.write("artifacts/report.md", "# A secret of the team");
    ran.ends(Outcome::Succeeded, MARKDOWN).await;
    let id = ran.task.id.to_string();
    let paths = [
        "",
        "/log",
        "/report",
        "/changes",
        "/files",
        "/why",
        "/record",
        "/provenance",
        "/log/stream",
        "/files/1/artifacts/report.md",
        "/archive/1",
    ];
    for token in [EVE, NOBODY] {
        let stranger = Browser::signed_in(&world, token).await;
        for path in paths {
            let page = stranger.get(&format!("/console/tasks/{id}{path}")).await;
            assert_eq!(page.status, 404, "{token}{path}");
            assert!(!page.text.contains("secret") && !page.text.contains("Look around"));
        }
        let page = stranger.get("/console/tasks?namespace=team").await;
        assert_eq!(page.status, 403);
        assert!(!page.text.contains(&id));
        for path in
            ["/console?namespace=team", "/console/executors?namespace=team", "/console/objects/issues?namespace=team"]
        {
            assert_eq!(stranger.get(path).await.status, 403, "{token} {path}");
        }
        let csrf = stranger.get("/console/objects").await.csrf().to_owned();
        for action in ["cancel", "retry"] {
            assert_eq!(stranger.post(&format!("/console/tasks/{id}/{action}"), &[("csrf", &csrf)]).await.status, 404);
        }
        assert!(stranger.get("/console/audit").await.text.contains("may not list auditentries"));
    }
    let ada = Browser::signed_in(&world, ADA).await;
    for path in paths {
        assert_eq!(ada.get(&format!("/console/tasks/{id}{path}")).await.status, 200, "the control: {path}");
    }
    assert!(ada.get("/console/tasks?namespace=team").await.text.contains(&id));
    for path in
        ["/console?namespace=team", "/console/executors?namespace=team", "/console/objects/issues?namespace=team"]
    {
        assert_eq!(ada.get(path).await.status, 200, "the control: {path}");
    }
    assert!(ada.get("/console/audit").await.text.contains("may not list auditentries"), "a right that she has not");
    assert!(Browser::signed_in(&world, ROOT).await.get("/console/audit").await.text.contains(&id));
}

#[tokio::test]
async fn signing_out_ends_it_at_once_and_everywhere() {
    let mut world = World::new().await;
    let cookie = {
        let browser = Browser::signed_in(&world, ADA).await;
        browser.cookie.lock().unwrap().clone()
    };
    world.restart();
    let browser = Browser::new(&world);
    *browser.cookie.lock().unwrap() = cookie.clone();
    let page = browser.get("/console/objects").await;
    assert_eq!(page.status, 200, "whoever restarts, and every replica, knows it");
    let out = browser.post("/console/sign-out", &[("csrf", page.csrf())]).await;
    assert_eq!((out.status, out.header("location")), (303, "/console/sign-in"));
    *browser.cookie.lock().unwrap() = cookie;
    assert_eq!(browser.get("/console/objects").await.status, 303);
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let mut world = World::with(|settings| settings.keep_decisions = Duration::ZERO).await;
    let browser = Browser::signed_in(&world, ADA).await;
    assert_eq!(browser.get("/console/tasks?namespace=team").await.status, 200);
    let cookie = browser.cookie.lock().unwrap().clone();
    world.cluster.tokens.lock().unwrap().remove(ADA);
    world.restart();
    let browser = Browser::new(&world);
    *browser.cookie.lock().unwrap() = cookie.clone();
    assert_eq!(browser.get("/console/tasks?namespace=team").await.header("location"), "/console/sign-in");
    // The token is back, the session is not.
    world.cluster.tokens.lock().unwrap().insert(ADA.into(), ("ada", vec!["jct"]));
    world.restart();
    let browser = Browser::new(&world);
    *browser.cookie.lock().unwrap() = cookie;
    assert_eq!(browser.get("/console/objects").await.status, 303);
}

#[tokio::test]
async fn who_follows_a_log_stops_when_they_sign_out() {
    let world = World::new().await;
    let ran = world.runs().await;
    ran.write("trace.log", "the first line\n");
    let browser = Browser::signed_in(&world, ADA).await;
    let path = format!("/console/tasks/{}/log/stream?tail=100", ran.task.id);
    let response = browser.unread(Request::get(&path).header("host", HOST), String::new()).await;
    assert_eq!(
        (response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()),
        (200, "text/plain; charset=utf-8")
    );
    let mut body = response.into_body().into_data_stream();
    let first = tokio::time::timeout(Duration::from_secs(10), body.next()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("the first line"));
    let csrf = browser.get("/console/objects").await.csrf().to_owned();
    browser.post("/console/sign-out", &[("csrf", &csrf)]).await;
    ran.write("trace.log", "the first line\nthe second line\n");
    let rest = async {
        let mut rest = String::new();
        while let Some(Ok(piece)) = body.next().await {
            rest.push_str(&String::from_utf8_lossy(&piece));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), rest).await.expect("it ends, though the Task runs");
}

#[tokio::test]
async fn a_code_signs_in_once_and_within_a_minute() {
    let world = World::new().await;
    let ask = |token: &'static str| {
        let request = as_form(Request::post("/console/codes")).header("host", HOST).header("x-jct-token", token);
        from_near(request.body(Body::from("namespace=team")).unwrap())
    };
    assert_eq!(world.browse(ask("made-up")).await.status(), 401);
    let made = world.browse(ask(ADA)).await;
    assert_eq!(made.status(), 201);
    let made: serde_json::Value =
        serde_json::from_slice(&axum::body::to_bytes(made.into_body(), 9999).await.unwrap()).unwrap();
    let code = made["code"].as_str().unwrap();
    let browser = Browser::new(&world);
    // Neither is what one is for the other.
    *browser.cookie.lock().unwrap() = format!("__Host-jct={code}");
    assert_eq!(browser.get("/console/objects").await.status, 303);
    browser.cookie.lock().unwrap().clear();
    let answer = browser.post("/console/sign-in/code", &[("code", code), ("then", "//evil.example")]).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, r#"{"then":"/console"}"#));
    let page = browser.get("/console/tasks").await;
    assert_eq!(page.status, 200, "in the namespace that came with the code: {}", page.text);
    let again = Browser::new(&world);
    assert_eq!(again.post("/console/sign-in/code", &[("code", code)]).await.status, 403);
    let cookie = browser.cookie.lock().unwrap().replace("__Host-jct=", "");
    assert_eq!(again.post("/console/sign-in/code", &[("code", &cookie)]).await.status, 403);
    let ends: jiff::Timestamp = made["ends_at"].as_str().unwrap().parse().unwrap();
    assert!((55..=60).contains(&ends.duration_since(jiff::Timestamp::now()).as_secs()));
}

#[tokio::test]
async fn the_console_is_reached_by_https_or_from_the_same_machine() {
    let world = World::new().await;
    let status = async |host: &str, peer: Option<&str>| {
        let mut request = Request::get("/console/sign-in").header("host", host).body(Body::empty()).unwrap();
        if let Some(peer) = peer {
            request.extensions_mut().insert(jct::serve::Peer { address: peer.parse().unwrap(), certified: false });
        }
        world.browse(request).await.status().as_u16()
    };
    assert_eq!(status(HOST, Some("127.0.0.1")).await, 200);
    assert_eq!(status("jct.example.org", Some("10.0.0.7")).await, 200);
    assert_eq!(status(HOST, Some("10.0.0.7")).await, 403, "plain HTTP of another machine");
    assert_eq!(status("10.0.0.7:8000", Some("10.0.0.9")).await, 403);
    assert_eq!(status("evil.example", Some("127.0.0.1")).await, 403);
    assert_eq!(status(HOST, None).await, 403);
}

#[tokio::test]
async fn cancelling_and_running_again_are_the_users_own() {
    let world = World::new().await;
    let mut ran = world.runs().await;
    let browser = Browser::signed_in(&world, ADA).await;
    let task = format!("/console/tasks/{}", ran.task.id);
    let page = browser.get(&task).await;
    assert!(page.text.contains("/cancel\"") && !page.text.contains("/retry\""));
    ran.ends(Outcome::Succeeded, &[]).await;
    let page = browser.get(&task).await;
    assert!(!page.text.contains("/cancel\"") && page.text.contains("/retry\""));
    let again = browser.post(&format!("{task}/retry"), &[("csrf", page.csrf())]).await;
    assert_eq!(again.status, 303, "{}", again.text);
    let new = again.header("location").rsplit('/').next().unwrap().parse().unwrap();
    let row = world.store.task(new).await.unwrap().unwrap();
    assert_eq!(row.submitted_by.as_deref(), Some("ada"));
    let twice = browser.post(&format!("{task}/cancel"), &[("csrf", page.csrf())]).await;
    assert_eq!(twice.status, 409, "what has ended is not cancelled");
}

#[tokio::test]
async fn a_hostile_task_is_text() {
    const EVIL: &str = "\"><script src=//evil.example></script><img src=x onerror=alert(1)>'{{7*7}}";
    let world = World::new().await;
    let made = world.enqueue(json!({"objective": EVIL, "requested_by": {"kind": "human", "id": EVIL}, "acceptance_criteria": [EVIL], "inputs": {"a": EVIL}})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.body["task_id"].as_str().unwrap();
    let browser = Browser::signed_in(&world, ADA).await;
    for path in ["", "/log", "/report", "/changes", "/files", "/why", "/record", "/provenance"] {
        let page = browser.get(&format!("/console/tasks/{id}{path}")).await;
        assert_eq!(page.status, 200);
        assert!(!page.text.contains("<script src=//") && !page.text.contains("<img src=x"), "{path}: {}", page.text);
    }
    let page = browser.get("/console/tasks?namespace=team&target_repo=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert!(!page.text.contains("<script>alert"), "{}", page.text);
    let page = browser.get("/console/tasks?namespace=team").await;
    assert!(page.text.contains("&#60;script") || page.text.contains("&lt;script"), "the control: it is there, as text");
}

#[tokio::test]
async fn provenance_is_verified_as_the_page_is_made() {
    let world = World::new().await;
    let mut ran = world.runs().await;
    ran.write("artifacts/report.md", "# Good");
    ran.ends(Outcome::Succeeded, MARKDOWN).await;
    let browser = Browser::signed_in(&world, ADA).await;
    let path = format!("/console/tasks/{}/provenance", ran.task.id);
    let page = browser.get(&path).await;
    assert!(page.text.contains("its SHA-256 is the one in the record"), "{}", page.text);
    assert!(page.text.contains("are what was sealed") && page.text.contains(">Sealed, not signed<"), "{}", page.text);
    ran.signed(&ran.task.manifest_sha256.clone().unwrap());
    let page = browser.get(&path).await;
    assert!(page.text.contains(">Verified<"), "{}", page.text);
    ran.signed(&"0".repeat(64));
    let page = browser.get(&path).await;
    assert!(
        page.text.contains("is about another manifest") && page.text.contains(">Not what was sealed"),
        "{}",
        page.text
    );
    ran.signed(&ran.task.manifest_sha256.clone().unwrap());
    ran.tamper("artifacts/report.md", b"# Evil");
    let page = browser.get(&path).await;
    assert!(
        page.text.contains("Not what was sealed")
            && page.text.contains("artifacts/report.md</span>: the file is not what was sealed"),
        "{}",
        page.text
    );
    let report = browser.get(&format!("/console/tasks/{}/report", ran.task.id)).await;
    assert!(!report.text.contains("Evil") && report.text.contains("is not what was sealed"));
}
