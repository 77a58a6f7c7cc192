//! The sender against receivers that do as they are told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine as _;
use jct_notify::signature;
use serde_json::Value;
use support::{Answer, FakeReceiver, KEY, World, receiver, until};

#[tokio::test]
async fn a_receiver_is_told_once_with_a_signature_and_a_link() {
    let (world, site) = (World::new().await, FakeReceiver::new([]).await);
    world.configure(&[receiver("ci", &site.url())]);
    let task = world.ends("one").await;
    let _sending = world.send(Some("https://jct.example.org"));
    let received = site.request(0).await;
    assert_eq!(received.head("content-type"), "application/cloudevents+json; charset=UTF-8");
    let event: Value = serde_json::from_slice(&received.body).unwrap();
    assert_eq!((&event["specversion"], &event["type"]), (&"1.0".into(), &"dev.jct.task.failed".into()));
    assert_eq!((&event["data"]["task_id"], &event["data"]["reason"]), (&task.as_str().into(), &"Timeout".into()));
    assert_eq!(event["data"]["url"], format!("https://jct.example.org/console/tasks/{task}"));
    assert_eq!(event["id"], received.head("webhook-id"));
    let key = base64::engine::general_purpose::STANDARD.decode(KEY.trim_start_matches("whsec_")).unwrap();
    let timestamp: i64 = received.head("webhook-timestamp").parse().unwrap();
    let expected = signature(&key, received.head("webhook-id"), timestamp, &received.body);
    assert_eq!(received.head("webhook-signature"), format!("v1,{expected}"));
    world.all_told("ci").await;
    // Nothing is told twice to who has taken it.
    world.ends("two").await;
    let second = site.request(1).await;
    assert_ne!(second.head("webhook-id"), received.head("webhook-id"));
    world.all_told("ci").await;
    assert_eq!((world.counted.sent("ci"), world.counted.failed("ci")), (2, 0));
}

#[tokio::test]
async fn without_a_public_url_there_is_no_link() {
    let (world, site) = (World::new().await, FakeReceiver::new([]).await);
    world.configure(&[receiver("ci", &site.url())]);
    world.ends("one").await;
    let _sending = world.send(None);
    let event: Value = serde_json::from_slice(&site.request(0).await.body).unwrap();
    assert!(event["data"].get("url").is_none(), "{event}");
}

/// The receiver has the event; the sender dies before it knows.
#[tokio::test]
async fn after_a_crash_between_sending_and_marking_it_is_told_again_with_the_same_id() {
    let (world, site) = (World::new().await, FakeReceiver::new([Answer::Hang]).await);
    world.configure(&[receiver("ci", &site.url())]);
    world.ends("one").await;
    let sending = world.send(None);
    let first = site.request(0).await;
    sending.abort();
    assert_eq!(world.waiting("ci").await, 1);
    let _again = world.send(None);
    let second = site.request(1).await;
    assert_eq!(second.head("webhook-id"), first.head("webhook-id"));
    world.all_told("ci").await;
}

#[tokio::test]
async fn what_fails_is_told_again_and_the_rest_after_it() {
    let answers = [Answer::Status(500), Answer::Hang, Answer::Status(429)];
    let (world, site) = (World::new().await, FakeReceiver::new(answers).await);
    world.configure(&[receiver("ci", &site.url())]);
    world.ends("one").await;
    world.ends("two").await;
    let _sending = world.send(None);
    world.all_told("ci").await;
    let mut ids: Vec<String> = Vec::new();
    for index in 0..5 {
        ids.push(site.request(index).await.head("webhook-id").to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2, "both were told, and each with its id");
    assert_eq!((world.counted.sent("ci"), world.counted.failed("ci"), world.counted.given_up("ci")), (2, 3, 0));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (world, elsewhere) = (World::new().await, FakeReceiver::new([]).await);
    let site = FakeReceiver::new([Answer::Redirect(elsewhere.url())]).await;
    world.configure(&[receiver("ci", &site.url())]);
    world.ends("one").await;
    let _sending = world.send(None);
    // It is told again where it is configured, and nowhere else.
    site.request(1).await;
    world.all_told("ci").await;
    assert_eq!(elsewhere.requests(), 0);
    // The control: that place would have been told.
    world.configure(&[receiver("ci", &elsewhere.url())]);
    world.ends("two").await;
    elsewhere.request(0).await;
}

/// By a clock that the test sets.
#[tokio::test]
async fn a_dead_receiver_is_given_up_after_a_day_and_not_before() {
    let (mut world, site) = (World::new().await, FakeReceiver::always(Answer::Status(503)).await);
    let ahead = Arc::new(AtomicI64::new(0));
    world.clock = ahead.clone();
    world.configure(&[receiver("ci", &site.url())]);
    world.ends("one").await;
    ahead.store(23 * 3600, Ordering::SeqCst);
    let _sending = world.send(None);
    site.request(8).await;
    assert_eq!((world.waiting("ci").await, world.counted.given_up("ci")), (1, 0));
    assert!(world.counted.oldest("ci") >= 23 * 3600, "it is seen for how long it waits");
    ahead.store(24 * 3600, Ordering::SeqCst);
    until("it is given up", async || world.waiting("ci").await == 0).await;
    assert_eq!(world.counted.given_up("ci"), 1);
}

#[tokio::test]
async fn a_slow_receiver_delays_no_other() {
    let (world, slow, quick) =
        (World::new().await, FakeReceiver::always(Answer::Hang).await, FakeReceiver::new([]).await);
    world.configure(&[receiver("a-slow", &slow.url()), receiver("quick", &quick.url())]);
    for name in ["one", "two", "three"] {
        world.ends(name).await;
    }
    let _sending = world.send(None);
    slow.request(0).await;
    world.all_told("quick").await;
    assert_eq!((quick.requests(), world.waiting("a-slow").await), (3, 3));
}

#[tokio::test]
async fn an_event_that_is_refused_keeps_no_other_back() {
    let answers = [Answer::Status(400)];
    let (world, site) = (World::new().await, FakeReceiver::new(answers).await);
    world.configure(&[receiver("ci", &site.url())]);
    world.ends("one").await;
    world.ends("two").await;
    let _sending = world.send(None);
    let ids = [site.request(0).await, site.request(1).await].map(|request| request.head("webhook-id").to_owned());
    assert_ne!(ids[0], ids[1], "the next one comes at once");
    assert_eq!(site.request(2).await.head("webhook-id"), ids[0], "and then the first one again");
}

#[tokio::test]
async fn who_is_no_receiver_any_more_is_told_nothing_and_forgotten() {
    let (world, site) = (World::new().await, FakeReceiver::always(Answer::Status(500)).await);
    world.configure(&[receiver("gone", &site.url()), receiver("stays", &site.url())]);
    world.ends("one").await;
    let _sending = world.send(None);
    site.request(0).await;
    world.configure(&[receiver("stays", &site.url())]);
    until("it is forgotten", async || world.waiting("gone").await == 0).await;
    assert_eq!(world.waiting("stays").await, 1);
}

#[tokio::test]
async fn a_chat_is_told_in_its_own_form_at_an_address_from_a_secret() {
    let (world, site) = (World::new().await, FakeReceiver::new([]).await);
    world.secret("chat", &site.url());
    let chat = "{name: chat, urlFrom: {secret: notify, key: chat}, format: slack}".to_owned();
    world.configure(&[chat]);
    world.ends("one").await;
    let _sending = world.send(None);
    let received = site.request(0).await;
    assert_eq!(received.head("content-type"), "application/json");
    let message: Value = serde_json::from_slice(&received.body).unwrap();
    assert!(message["text"].as_str().unwrap().starts_with("Task team/one failed"), "{message}");
    assert!(!received.heads.contains_key("webhook-signature"));
}

#[tokio::test]
async fn a_key_or_an_address_that_is_none_is_a_failure_that_tells_no_secret() {
    let (world, site) = (World::new().await, FakeReceiver::new([]).await);
    world.secret("key", "too short");
    world.secret("chat", "http://plain.example/T000/B000");
    let chat = "{name: chat, urlFrom: {secret: notify, key: chat}, format: slack}".to_owned();
    world.configure(&[receiver("ci", &site.url()), chat]);
    world.ends("one").await;
    let _sending = world.send(None);
    until("both fail", async || world.counted.failed("ci") > 0 && world.counted.failed("chat") > 0).await;
    assert_eq!((site.requests(), world.counted.reason("ci")), (0, "configuration"));
    // A Secret that is mended is read without a new start.
    world.secret("key", KEY);
    world.all_told("ci").await;
}

#[tokio::test]
async fn receivers_of_another_authority_are_told_nothing() {
    let (world, site) = (World::new().await, FakeReceiver::new([]).await);
    // No TLS at that port: whoever answers there is not who was meant.
    let url = site.url().replace("http://", "https://");
    world.configure(&[receiver("ci", &url)]);
    world.ends("one").await;
    let _sending = world.send(None);
    until("it fails", async || world.counted.failed("ci") > 0).await;
    assert_eq!((site.requests(), world.counted.reason("ci")), (0, "unreachable"));
}
