//! Following a Task.

use std::time::Duration;

use jct::domain::trace::Outcome;
use rstest::rstest;
use serde_json::json;

use crate::ran::Follower;
use crate::world::{ADA, World};

#[tokio::test]
async fn events_are_read_in_parts() {
    let world = World::new().await;
    let made = world.enqueue(json!({})).await.body["task_id"].as_str().unwrap().to_owned();
    assert_eq!(world.get(ADA, &format!("/tasks/{made}/events")).await.body, json!([]), "nothing has begun");
    assert_eq!(world.get(ADA, &format!("/tasks/{made}/log")).await.text, "");
    let mut ran = world.runs().await;
    (0..5).for_each(|n| ran.event(&format!("step-{n}")));
    ran.write("half", "");
    for sealed in [false, true] {
        if sealed {
            ran.ends(Outcome::Succeeded, &[]).await;
        }
        let seqs = async |query: &str| -> Vec<u64> {
            let answer = ran.get(&format!("events{query}")).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            answer.body.as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
        };
        assert_eq!(seqs("").await, [1, 2, 3, 4, 5]);
        assert_eq!(seqs("?after=3").await, [4, 5]);
        assert_eq!(seqs("?after=1&limit=2").await, [2, 3]);
        assert_eq!(seqs("?attempt=1&after=9").await, [] as [u64; 0]);
    }
    for (query, status) in
        [("?attempt=2", 404), ("?attempt=0", 422), ("?limit=0", 422), ("?after=x", 422), ("?x=1", 422)]
    {
        assert_eq!(ran.get(&format!("events{query}")).await.status, status, "{query}");
    }
}

#[rstest]
#[case("events?follow=true", &[])]
#[case("events", &[("accept", "text/event-stream")])]
#[tokio::test]
async fn events_are_followed_over_attempts_until_the_task_ends(#[case] rest: &str, #[case] headers: &[(&str, &str)]) {
    let world = World::new().await;
    let mut ran = world.runs().await;
    ran.event("attempt_started");
    let response = world.unread_with(ADA, &ran.path(rest), headers).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut follower = Follower::of(response);
    assert_eq!(follower.next().await.unwrap().0, "1.1");
    ran.event("executor_started");
    let (id, event) = follower.next().await.unwrap();
    assert_eq!((id.as_str(), &event["event"]), ("1.2", &json!("executor_started")));
    ran.event("attempt_ended");
    ran.ends(Outcome::Failed, &[]).await;
    let mut ran = ran.again().await;
    ran.event("attempt_started");
    assert_eq!(follower.next().await.unwrap().0, "1.3");
    assert_eq!(follower.next().await.unwrap().0, "2.1");
    ran.event("attempt_ended");
    ran.ends(Outcome::Succeeded, &[]).await;
    assert_eq!(follower.rest().await, (vec!["2.2".into()], json!({"reason": "ended", "status": "completed"})));
}

#[tokio::test]
async fn who_comes_back_loses_nothing_and_hears_nothing_twice() {
    let world = World::new().await;
    let mut ran = world.runs().await;
    (0..3).for_each(|n| ran.event(&format!("step-{n}")));
    ran.ends(Outcome::Failed, &[]).await;
    let mut ran = ran.again().await;
    (0..3).for_each(|n| ran.event(&format!("step-{n}")));
    ran.ends(Outcome::Succeeded, &[]).await;
    let all = ["1.1", "1.2", "1.3", "2.1", "2.2", "2.3"];
    let path = ran.path("events?follow=true");
    for heard in 1..all.len() {
        let last = all[heard - 1];
        let mut follower = Follower::of(world.unread_with(ADA, &path, &[("last-event-id", last)]).await);
        assert_eq!(follower.rest().await.0, all[heard..], "after {last}");
    }
    let mut newest = Follower::of(world.unread(ADA, &path).await);
    assert_eq!(newest.rest().await.0, &all[3..], "who comes late begins with the newest attempt");
    let mut one = Follower::of(world.unread(ADA, &ran.path("events?follow=true&attempt=1&after=1")).await);
    assert_eq!(one.rest().await.0, ["1.2", "1.3"]);
    assert_eq!(world.unread_with(ADA, &path, &[("last-event-id", "x")]).await.status(), 422);
}

#[tokio::test]
async fn a_follower_who_loses_the_right_is_told_so() {
    let world = World::with(|settings| settings.keep_decisions = Duration::from_millis(100)).await;
    let mut ran = world.runs().await;
    ran.event("attempt_started");
    let mut follower = Follower::of(world.unread(ADA, &ran.path("events?follow=true")).await);
    let mut log = Follower::of(world.unread(ADA, &ran.path("log?follow=true")).await);
    assert_eq!(follower.next().await.unwrap().0, "1.1");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    ran.event("still_heard");
    assert_eq!(follower.next().await.unwrap().0, "1.2", "the control: it has been asked about, and goes on");
    world.cluster.rights.lock().unwrap().insert("ada", vec![("get", "tasks", "team")]);
    assert_eq!(follower.rest().await, (vec![], json!({"reason": "forbidden", "status": null})));
    assert_eq!(log.more().await.unwrap(), "\n[jct: the log ends here: forbidden]\n");
}

#[tokio::test]
async fn a_follower_whose_token_is_nobodys_any_more_is_told_so() {
    let world = World::with(|settings| settings.keep_decisions = Duration::from_millis(100)).await;
    let ran = world.runs().await;
    let mut follower = Follower::of(world.unread(ADA, &ran.path("events?follow=true")).await);
    world.cluster.tokens.lock().unwrap().remove(ADA);
    assert_eq!(follower.rest().await.1["reason"], "forbidden");
}

#[tokio::test]
async fn followers_do_not_keep_an_operator_from_ending() {
    let world = World::new().await;
    let ran = world.runs().await;
    let mut follower = Follower::of(world.unread(ADA, &ran.path("events?follow=true")).await);
    world.stop.cancel();
    assert_eq!(follower.rest().await.1["reason"], "shutdown");
}

#[tokio::test]
async fn a_log_is_read_and_followed_as_harmless_text() {
    let world = World::new().await;
    let mut ran = world.runs().await;
    ran.write("trace.log", "one\ntwo\nthree\n");
    ran.write("stdout.log", "\u{1b}[2J\u{1b}]0;owned\u{7}gone\r\n\u{202e}evil\n");
    let log = ran.get("log").await;
    assert_eq!((log.status, log.text.as_str()), (200, "one\ntwo\nthree\n"));
    assert!(
        log.header("content-type") == "text/plain; charset=utf-8" && log.header("x-content-type-options") == "nosniff"
    );
    assert_eq!(ran.get("log?tail=2").await.text, "two\nthree\n");
    assert_eq!(ran.get("log?tail=0").await.text, "");
    assert_eq!(ran.get("log?stream=stdout").await.text, "\\u{1b}[2J\\u{1b}]0;owned\\u{7}gone\n\\u{202e}evil\n");
    assert_eq!(ran.get("log?stream=stderr").await.text, "");
    let mut follower = Follower::of(world.unread(ADA, &ran.path("log?follow=true&tail=1")).await);
    assert_eq!(follower.more().await.unwrap(), "three\n");
    ran.write("trace.log", "one\ntwo\nthree\nfour\nfive");
    assert_eq!(follower.more().await.unwrap(), "four\nfive");
    ran.ends(Outcome::Succeeded, &[]).await;
    assert_eq!(follower.more().await, None, "the Task has ended");
    assert_eq!(ran.get("log?follow=true").await.text, "one\ntwo\nthree\nfour\nfive");
    for query in ["?stream=other", "?tail=-1", "?tail=100001", "?follow=maybe", "?attempt=x"] {
        assert_eq!(ran.get(&format!("log{query}")).await.status, 422, "{query}");
    }
}
