use std::time::Duration;

use axum::body::Body;
use axum::http;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionReview};
use rstest::rstest;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::review::Endpoint;
use super::review_tests::{OPERATOR, now, reviewer};
use super::{Caller, router};
use crate::crd::names::{SUBMITTED_BY, TRACE_ID};
use crate::domain::denial::{self, Request};
use crate::domain::id::sha256_hex;
use crate::domain::{ActorKind, Code, Denial};
use crate::serve::Peer;
use crate::shared::{Announcer, DenialMetrics, Denials, LostTasks, NamespaceLimits, Urgency, Waiting};
use crate::store::{Store, StoreSettings};
use crate::webhook::metrics::WebhookMetrics;

fn object(change: Value) -> Value {
    let mut task = json!({
        "apiVersion": "jct.dev/v1", "kind": "Task", "metadata": {"name": "t", "namespace": "team"},
        "spec": {
            "requestedBy": {"kind": "agent", "id": "bot"}, "objective": "Look around", "operation": "analysis",
            "target": {"repo": "evil/x"}, "constraints": {"allowSecrets": true}, "inputs": {"password": "hunter2"},
        },
    });
    json_patch::merge(&mut task, &change);
    task
}

/// A review of a new Task by Ada, or what `change` makes of it.
fn review(object: &Value, change: Value) -> Value {
    let mut review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "7f9c2ba4-e88f-4a3c-9d52-0f1d6c1f2e11", "operation": "CREATE", "name": "t", "namespace": "team",
            "kind": {"group": "jct.dev", "version": "v1", "kind": "Task"},
            "resource": {"group": "jct.dev", "version": "v1", "resource": "tasks"},
            "userInfo": {"username": "ada", "groups": []}, "dryRun": false, "object": object,
        },
    });
    json_patch::merge(&mut review, &json!({"request": change}));
    review
}

fn denial_of(review: Value) -> Option<Denial> {
    let request: AdmissionRequest<DynamicObject> =
        serde_json::from_value::<AdmissionReview<DynamicObject>>(review).unwrap().try_into().unwrap();
    let findings = reviewer().review(Endpoint::Mutate, Caller::Authenticated, &request, [1; 16], now()).findings;
    reviewer().denial(&request, findings, Caller::Authenticated, [1; 16], now())
}

#[test]
fn a_denial_tells_who_what_and_why_and_nothing_of_the_spec() {
    let object = object(json!({}));
    let denial = denial_of(review(&object, json!({}))).unwrap();
    let codes: Vec<Code> = denial.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::RepoNotAllowed, Code::SecretsAccessDenied]);
    assert_eq!((denial.actor.id.as_str(), denial.actor.kind), ("ada", ActorKind::Human));
    assert_eq!((denial.interface, denial.request), (denial::Interface::Kubernetes, Request::Create));
    assert_eq!((denial.namespace.as_str(), denial.name.as_deref(), denial.kind.as_str()), ("team", Some("t"), "Task"));
    assert_eq!(
        (denial.uid.as_str(), denial.submitted_by.as_deref()),
        ("7f9c2ba4-e88f-4a3c-9d52-0f1d6c1f2e11", Some("ada"))
    );
    assert_eq!(denial.trace_id.as_str(), "01".repeat(16));
    assert_eq!(denial.spec_sha256, sha256_hex(object["spec"].to_string().as_bytes()));
    assert!(!format!("{denial:?}").contains("hunter2"));
}

#[test]
fn a_denied_change_is_of_the_objects_trace_and_by_who_makes_it() {
    let old = object(json!({"metadata": {"annotations": {SUBMITTED_BY: "ada", TRACE_ID: "trace-of-the-task"}}}));
    let new = object(json!({"spec": {"objective": "Something else"}}));
    let change = json!({"operation": "UPDATE", "oldObject": old, "userInfo": {"username": "eve"}});
    let denial = denial_of(review(&new, change)).unwrap();
    assert_eq!((denial.request, denial.trace_id.as_str()), (Request::Update, "trace-of-the-task"));
    assert_eq!((denial.actor.id.as_str(), denial.submitted_by.as_deref()), ("eve", Some("ada")));
}

#[test]
fn a_stamp_is_believed_of_the_operator_alone() {
    let object = object(json!({"metadata": {"annotations": {SUBMITTED_BY: "bob", TRACE_ID: "trace-of-a-client"}}}));
    let forged = denial_of(review(&object, json!({}))).unwrap();
    assert_eq!((forged.actor.id.as_str(), forged.trace_id.as_str()), ("ada", "01".repeat(16).as_str()));
    let change = json!({"userInfo": {"username": OPERATOR}});
    let for_bob = denial_of(review(&object, change)).unwrap();
    assert_eq!((for_bob.actor.id.as_str(), for_bob.trace_id.as_str()), ("bob", "trace-of-a-client"));
}

#[test]
fn an_object_without_a_name_is_told_by_what_it_would_begin_with() {
    let object = object(json!({"metadata": {"name": null, "generateName": "nightly-"}}));
    let denial = denial_of(review(&object, json!({"name": ""}))).unwrap();
    assert_eq!((denial.name, denial.generate_name.as_deref()), (None, Some("nightly-")));
}

#[rstest]
#[case::dry_run(json!({"dryRun": true}))]
#[case::admitted(json!({"object": {"spec": {"target": {"repo": "octo/x"}, "constraints": null}}}))]
#[case::deletion(json!({"operation": "DELETE", "object": null, "oldObject": object(json!({}))}))]
#[case::not_ours(json!({"kind": {"group": "other.dev"}}))]
fn what_is_no_denial_leaves_none(#[case] change: Value) {
    assert_eq!(denial_of(review(&object(json!({})), change)), None);
}

async fn post(path: &str, review: &Value, denials: Denials) -> Value {
    let request = http::Request::post(path).body(Body::from(review.to_string())).unwrap();
    let response = router(reviewer(), denials, WebhookMetrics::default(), NamespaceLimits::none(), false)
        .oneshot(request)
        .await
        .unwrap();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}

fn queue() -> (Denials, Waiting) {
    Denials::new(DenialMetrics::default())
}

#[rstest]
#[case("/mutate")]
#[case("/validate")]
#[tokio::test]
async fn each_webhook_hands_in_what_it_denies(#[case] path: &str) {
    let (denials, mut waiting) = queue();
    let answer = post(path, &review(&object(json!({})), json!({})), denials.clone()).await;
    assert_eq!(answer["response"]["allowed"], json!(false));
    let waits = waiting.take();
    assert_eq!((waits.len(), waits[0].findings[0].code), (1, Code::RepoNotAllowed));
    post(path, &review(&object(json!({})), json!({"dryRun": true})), denials).await;
    assert!(waiting.take().is_empty());
}

#[tokio::test]
async fn people_are_told_of_what_was_denied_once_and_never_of_a_dry_run() {
    let (denials, _waiting) = queue();
    let events = Announcer::default();
    let denials = denials.announced_by(events.clone());
    let reported = async |change: Value, object: &Value| {
        let answer = post("/mutate", &review(object, change), denials.clone()).await;
        assert_eq!(answer["response"]["allowed"], json!(false));
        events.next()
    };
    let denied = object(json!({}));
    assert_eq!(reported(json!({"dryRun": true}), &denied).await, None);
    let news = reported(json!({}), &denied).await.unwrap();
    assert_eq!((news.kind.as_str(), news.namespace.as_str(), news.name.as_str()), ("Task", "team", "t"));
    assert_eq!((news.uid, news.reason.as_str(), news.urgency), (None, "REPO_NOT_ALLOWED", Urgency::Denial));
    assert!(
        news.note.starts_with("it was denied, and is not there: REPO_NOT_ALLOWED: spec.target.repo: "),
        "{}",
        news.note
    );
    assert_eq!(reported(json!({}), &denied).await, None, "the same again is the same");
    // A change of what is there is told of that.
    let old = object(json!({"metadata": {"uid": "u"}, "spec": {"target": {"repo": "octo/x"}, "constraints": null}}));
    let change = json!({"operation": "UPDATE", "oldObject": old});
    let news = reported(change, &denied).await.unwrap();
    assert_eq!(news.uid.as_deref(), Some("u"));
    assert!(news.note.starts_with("a change of it was denied: INVALID_SPEC"), "{}", news.note);
    // One more than a user's ration: that they are many is told in the audit log.
    let mut count = 0;
    for n in 0..40 {
        let another = object(json!({"spec": {"objective": format!("Look around {n}")}}));
        count += usize::from(reported(json!({}), &another).await.is_some());
    }
    assert_eq!(count, 18);
}

#[tokio::test]
async fn an_answer_waits_for_no_record() {
    let (denials, waiting) = queue();
    let denied = review(&object(json!({})), json!({}));
    // Nobody takes them out: many more than there is room for.
    let answers = async {
        for _ in 0..2000 {
            assert_eq!(post("/mutate", &denied, denials.clone()).await["response"]["allowed"], json!(false));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), answers).await.unwrap();
    drop(waiting);
}

/// The webhook with these limits.
async fn limited(most_open: u32, most_recorded: u32) -> (axum::Router, Waiting, Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("jct.db").display()).parse().unwrap();
    let store = Store::open(&StoreSettings::new(url)).await.unwrap();
    let limits = NamespaceLimits::new(store.clone(), most_open, most_recorded, LostTasks::default());
    let (denials, waiting) = queue();
    (router(reviewer(), denials, WebhookMetrics::default(), limits, false), waiting, store, folder)
}

/// What `/validate` answers to an object that `/mutate` has let in.
async fn ask(router: &axum::Router, review: &Value) -> Value {
    let mut review = review.clone();
    let mutated = answer(router, "/mutate", &review).await;
    assert_eq!(mutated["allowed"], true, "it is asked at the last: {mutated}");
    let patch: Vec<u8> = serde_json::from_value(mutated["patch"].clone()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    json_patch::patch(&mut review["request"]["object"], &patch).unwrap();
    answer(router, "/validate", &review).await
}

async fn answer(router: &axum::Router, path: &str, review: &Value) -> Value {
    let certified = Peer { address: std::net::Ipv4Addr::LOCALHOST.into(), certified: true };
    let request = http::Request::post(path).extension(certified).body(Body::from(review.to_string())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    serde_json::from_slice::<Value>(&body).unwrap()["response"].clone()
}

fn good(kind: &str) -> Value {
    let mut object = object(json!({"kind": kind, "spec": {"target": {"repo": "octo/x"}, "constraints": null}}));
    if kind == "Repo" {
        object["spec"] = json!({"name": "x", "slug": "octo/x", "source": {"system": "github"}});
    }
    let plural = if kind == "Task" { "tasks" } else { "repos" };
    let of = json!({"kind": {"group": "jct.dev", "version": "v1", "kind": kind},
        "resource": {"group": "jct.dev", "version": "v1", "resource": plural}});
    review(&object, of)
}

fn refused_for(answer: &Value, what: &str) {
    assert_eq!((&answer["allowed"], &answer["status"]["code"]), (&json!(false), &json!(422)), "{answer}");
    assert_eq!(answer["status"]["reason"], "Invalid");
    let cause = &answer["status"]["details"]["causes"][0];
    assert_eq!((&cause["reason"], &cause["field"]), (&json!("TOO_MANY_TASKS"), &json!("metadata.namespace")));
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(message.contains("TOO_MANY_TASKS") && message.contains(what), "{message}");
}

#[tokio::test]
async fn one_more_open_task_than_may_be_is_a_422() {
    let (router, mut waiting, ..) = limited(1, 0).await;
    assert_eq!(ask(&router, &good("Task")).await["allowed"], true);
    refused_for(&ask(&router, &good("Task")).await, "policy.maxOpenTasks");
    let denials = waiting.take();
    assert_eq!((denials.len(), denials[0].findings[0].code), (1, Code::TooManyTasks));
    assert_eq!(ask(&router, &good("Repo")).await["allowed"], true, "that is no Task");
    let mut elsewhere = good("Task");
    elsewhere["request"]["namespace"] = "other".into();
    elsewhere["request"]["object"]["metadata"]["namespace"] = "other".into();
    assert_eq!(ask(&router, &elsewhere).await["allowed"], true);
}

#[rstest]
#[case("Task", "Repo")]
#[case("Repo", "Task")]
#[tokio::test]
async fn one_more_that_would_be_recorded_than_may_be_is_a_422(#[case] first: &str, #[case] second: &str) {
    let (router, mut waiting, ..) = limited(0, 1).await;
    let mut dry_run = good(first);
    dry_run["request"]["dryRun"] = true.into();
    assert_eq!(ask(&router, &dry_run).await["allowed"], true);
    assert_eq!(ask(&router, &good(first)).await["allowed"], true, "a dry run does not count");
    for kind in [first, second] {
        refused_for(&ask(&router, &good(kind)).await, "the next is let in at 2");
        let denials = waiting.take();
        assert_eq!((denials.len(), denials[0].kind.as_str()), (1, kind));
    }
}

#[tokio::test]
async fn while_the_record_is_away_nothing_is_too_many() {
    let (router, _waiting, store, _folder) = limited(1, 1).await;
    store.close().await;
    assert_eq!(ask(&router, &good("Task")).await["allowed"], true);
}
