use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use rstest::rstest;
use serde::Deserialize as _;
use serde_json::{Value, json};

use jiff::Timestamp;
use kube::api::ObjectMeta;

use super::Caller;
use super::review::{Door, Reviewer};
use crate::crd::Trust;
use crate::crd::names::{CANCELLED_BY, CHANGED_BY, FINALIZER, RUN, STAMP, SUBMITTED_BY, TRACE_ID, reserved};
use crate::crd::stamps::{Annotations, Issuer, Seal, Sealed, Stamps, cancellation};
use crate::crd::trust::Believed;
use crate::domain::applied::LAST_APPLIED;
use crate::domain::cwom::Kind;
use crate::domain::{Principal, SpecDigests, StampKey, StampKeys, TraceId, submitted_digest};
use crate::policy::Policy;

const A_RUN: &str = "01KJMMA2G027CE4HT1RZKZBW4A";
pub const OPERATOR: &str = "system:serviceaccount:jct-system:jct";

pub fn reviewer() -> Reviewer {
    Reviewer {
        executors: tokio::sync::watch::Sender::new(std::sync::Arc::default()).subscribe(),
        policy: Policy::default().allowing("octo/"),
        trust: tokio::sync::watch::Sender::new(std::sync::Arc::new(trust())).subscribe(),
        trusted_user: OPERATOR.into(),
        deletions: crate::runtime::Deletions::default(),
        clock: crate::runtime::Clock::default(),
    }
}

pub fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn trust() -> Trust {
    let key = StampKey::from_slice(&[7; 32]).unwrap();
    Trust::in_keys(StampKeys::new(key, Vec::new(), None), "jct-system")
}

/// What the controller believes of an object, created now.
fn believed(object: &Value) -> Believed {
    believed_in(object, "team", &trust())
}

fn believed_in(object: &Value, namespace: &str, trust: &Trust) -> Believed {
    let mut metadata: ObjectMeta = serde_json::from_value(object["metadata"].clone()).unwrap();
    metadata.namespace = Some(namespace.into());
    metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    let kind = object["kind"].as_str().unwrap();
    trust.read(kind, &metadata, Some(&SpecDigests::of(kind, &object["spec"])))
}

fn submitter(object: &Value) -> Option<String> {
    believed(object).submitted.map(|stamps| stamps.submitter.user)
}

/// An object as the operator creates it for somebody.
fn by_operator(object: &Value, user: &str, run: Option<&str>) -> Value {
    let metadata: ObjectMeta = serde_json::from_value(object["metadata"].clone()).unwrap();
    let run = run.map(|run| run.parse().unwrap());
    let stamps = Stamps { submitter: Principal::named(user), trace_id: "from-the-client".parse().unwrap(), run };
    let kind = object["kind"].as_str().unwrap();
    let (sealed, sha256) = (Sealed::of(kind, "team", &metadata), submitted_digest(kind, &object["spec"]));
    let seal = Seal { issuer: Issuer::Operator, at: now() };
    let annotations = stamps.annotations(&sealed, &sha256, &seal, &trust().keys);
    let mut object = object.clone();
    json_patch::merge(&mut object, &json!({"metadata": {"annotations": annotations}}));
    object
}

fn with(object: &Value, annotations: &Annotations) -> Value {
    let mut object = object.clone();
    json_patch::merge(&mut object, &json!({"metadata": {"annotations": annotations}}));
    object
}

fn task(change: Value) -> Value {
    let mut task = json!({
        "apiVersion": "jct.dev/v1", "kind": "Task", "metadata": {"name": "t", "namespace": "team", "uid": "uid-of-t", "generation": 1},
        "spec": {
            "requestedBy": {"kind": "human", "id": "ada"}, "objective": "Look around",
            "operation": "analysis", "target": {"repo": "octo/hello"},
        },
    });
    json_patch::merge(&mut task, &change);
    task
}

fn request(operation: &str, user: &str, object: &Value, old: Option<&Value>) -> AdmissionRequest<DynamicObject> {
    let kind = object["kind"].as_str().or(old.and_then(|old| old["kind"].as_str())).unwrap();
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "r", "operation": operation, "name": "t", "namespace": "team", "dryRun": false,
            "kind": {"group": "jct.dev", "version": "v1", "kind": kind},
            "resource": {"group": "jct.dev", "version": "v1", "resource": format!("{}s", kind.to_lowercase())},
            "userInfo": {"username": user, "groups": ["makers"], "uid": format!("uid-of-{user}")},
            "object": object, "oldObject": old,
        },
    });
    serde_json::from_value::<AdmissionReview<DynamicObject>>(review).unwrap().try_into().unwrap()
}

fn review(door: Door, request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
    reviewer().review(door, Caller::Anonymous, request, [1; 16], now()).response
}

/// The object as it is after the response's patch.
fn patched(object: &Value, response: &AdmissionResponse) -> Value {
    assert!(response.allowed, "{:?}", response.result);
    let mut object = object.clone();
    if let Some(patch) = &response.patch {
        let patch: json_patch::Patch = serde_json::from_slice(patch).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
    }
    object
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][name].as_str()
}

/// A Task as the mutating webhook leaves it.
fn stamped(object: &Value, user: &str) -> Value {
    patched(object, &review(Door::Mutate, &request("CREATE", user, object, None)))
}

#[rstest]
#[case(json!({}))]
#[case(json!({"metadata": {"annotations": {"a": "b"}, "finalizers": ["other/one"]}}))]
#[case(json!({"metadata": {"annotations": {
    SUBMITTED_BY: "root", TRACE_ID: "forged-trace", STAMP: "00", CANCELLED_BY: "x", CHANGED_BY: "x", RUN: A_RUN,
}}}))]
fn a_new_task_is_stamped_whatever_it_claims(#[case] change: Value) {
    let given = task(change);
    let object = stamped(&given, "ada@example.org");
    let trace_id = "01010101010101010101010101010101";
    assert_eq!(annotation(&object, SUBMITTED_BY), Some("ada@example.org"));
    assert_eq!(annotation(&object, TRACE_ID), Some(trace_id));
    assert!([CANCELLED_BY, CHANGED_BY, RUN].iter().all(|name| annotation(&object, name).is_none()), "{object}");
    let stamps = believed(&object).submitted.unwrap();
    assert_eq!((stamps.trace_id.as_str(), stamps.run), (trace_id, None));
    let ada = stamps.submitter;
    assert_eq!((ada.user.as_str(), ada.uid.as_deref()), ("ada@example.org", Some("uid-of-ada@example.org")));
    assert_eq!(ada.groups(), Some(vec!["makers".to_owned()]));
    assert!(object["metadata"]["finalizers"].as_array().unwrap().contains(&json!(FINALIZER)));
    assert_eq!(object["spec"], given["spec"], "the spec is never touched");
    assert!(review(Door::Validate, &request("CREATE", "ada@example.org", &object, None)).allowed);
}

#[test]
fn ignored_stamps_are_told() {
    let object = task(json!({"metadata": {"annotations": {SUBMITTED_BY: "root"}}}));
    let response = review(Door::Mutate, &request("CREATE", "ada", &object, None));
    assert!(response.warnings.unwrap()[0].contains(SUBMITTED_BY));
}

#[test]
fn the_operator_may_say_for_whom_it_creates_if_it_has_sealed_that() {
    let object = by_operator(&task(json!({})), "ada", None);
    let response = review(Door::Mutate, &request("CREATE", OPERATOR, &object, None));
    assert_eq!(response.warnings, None);
    let created = patched(&object, &response);
    assert_eq!(created["metadata"]["annotations"], object["metadata"]["annotations"], "nothing is sealed again");
    assert_eq!(submitter(&created).as_deref(), Some("ada"));
    assert!(review(Door::Validate, &request("CREATE", OPERATOR, &created, None)).allowed);
    // Somebody else with the operator's word: it is not theirs to give.
    let stolen = stamped(&object, "eve");
    assert_eq!(submitter(&stolen).as_deref(), Some("eve"));
    assert!(!review(Door::Validate, &request("CREATE", "eve", &object, None)).allowed);
}

#[test]
fn the_operators_name_alone_buys_nobody_a_stamp_of_another_user_trace_or_run() {
    let forged =
        json!({"metadata": {"annotations": {SUBMITTED_BY: "ceo", TRACE_ID: "chosen-trace", RUN: A_RUN, STAMP: "00"}}});
    let created = stamped(&task(forged), OPERATOR);
    let stamps = believed(&created).submitted.unwrap();
    assert_eq!((stamps.submitter.user.as_str(), stamps.run), (OPERATOR, None));
    assert_ne!(stamps.trace_id.as_str(), "chosen-trace");
}

#[test]
fn what_another_webhook_changes_in_between_is_sealed_again() {
    for (user, given) in
        [(OPERATOR, by_operator(&task(json!({})), "ada", Some(A_RUN))), ("ada", stamped(&task(json!({})), "ada"))]
    {
        let mut changed = given.clone();
        changed["spec"]["maxAttempts"] = json!(2);
        assert_eq!(believed(&changed).submitted, None, "that is not what was sealed");
        assert!(!review(Door::Validate, &request("CREATE", user, &changed, None)).allowed);
        let response = review(Door::Mutate, &request("CREATE", user, &changed, None));
        assert_eq!(response.warnings, None, "nobody gave these but JCT");
        let again = patched(&changed, &response);
        let (before, after) = (believed(&given).submitted.unwrap(), believed(&again).submitted.unwrap());
        assert_eq!(after, before);
        assert!(review(Door::Validate, &request("CREATE", user, &again, None)).allowed);
    }
}

#[test]
fn a_seal_had_from_the_port_is_worth_nothing_where_no_webhook_was_called() {
    // Whoever reaches the port can have a seal in any name.
    let bought = stamped(&task(json!({})), "ceo@example.org");
    assert_eq!(
        submitter(&bought).as_deref(),
        Some("ceo@example.org"),
        "the control: under webhooks it is that of a request"
    );
    assert_eq!(believed_in(&bought, "jct-system", &trust()).submitted, None);
    for covered_since in [None, Some(now() + jiff::SignedDuration::from_secs(1))] {
        assert_eq!(believed_in(&bought, "team", &Trust { covered_since, ..trust() }).submitted, None);
    }
    let request = request("CREATE", "ada", &task(json!({})), None);
    let response = reviewer().review(Door::Mutate, Caller::Authenticated, &request, [1; 16], now()).response;
    let genuine = patched(&task(json!({})), &response);
    let gone = Trust { covered_since: None, ..trust() };
    assert!(believed_in(&genuine, "team", &gone).submitted.is_some(), "of an API server that showed its certificate");
    assert_eq!(believed_in(&genuine, "jct-system", &gone).submitted, None, "which never asks about that namespace");
}

#[rstest]
#[case::another_name(json!({"metadata": {"name": "u"}}))]
#[case::another_spec(json!({"spec": {"objective": "Look elsewhere"}}))]
#[case::another_kind(json!({"kind": "Issue"}))]
#[case::other_groups(json!({"metadata": {"annotations": {"jct.dev/submitted-by-groups": "[\"admins\"]"}}}))]
#[case::another_uid(json!({"metadata": {"annotations": {"jct.dev/submitted-by-uid": "x"}}}))]
#[case::another_user(json!({"metadata": {"annotations": {SUBMITTED_BY: "eve"}}}))]
#[case::another_trace(json!({"metadata": {"annotations": {TRACE_ID: "another-trace"}}}))]
#[case::a_run(json!({"metadata": {"annotations": {RUN: A_RUN}}}))]
fn stamps_of_one_object_are_worth_nothing_on_another(#[case] change: Value) {
    let object = stamped(&task(json!({})), "ada");
    assert_eq!(submitter(&object).as_deref(), Some("ada"));
    let mut other = object;
    json_patch::merge(&mut other, &change);
    assert_eq!(believed(&other).submitted, None);
}

#[test]
fn a_seal_can_not_be_kept_for_another_day() {
    let object = stamped(&task(json!({})), "ada");
    let mut metadata: ObjectMeta = serde_json::from_value(object["metadata"].clone()).unwrap();
    metadata.namespace = Some("team".into());
    let mut made = |seconds| {
        let at = now() + jiff::SignedDuration::from_secs(seconds);
        metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
        trust().read("Task", &metadata, Some(&SpecDigests::of("Task", &object["spec"]))).submitted.is_some()
    };
    assert_eq!([made(1), made(-60), made(301), made(-301)], [true, true, false, false]);
}

#[test]
fn an_object_whose_name_the_api_server_makes_is_sealed_by_how_it_begins() {
    let given = task(json!({"metadata": {"name": null, "generateName": "nightly-"}}));
    let mut object = stamped(&given, "ada");
    object["metadata"]["name"] = json!("nightly-x7k2p");
    assert_eq!(submitter(&object).as_deref(), Some("ada"));
    assert!(review(Door::Validate, &request("CREATE", "ada", &object, None)).allowed);
    object["metadata"]["name"] = json!("daily-x7k2p");
    assert_eq!(submitter(&object), None);
}

#[test]
fn stamps_of_the_version_before_hold_on_objects_from_then_and_on_no_others() {
    let key = StampKey::from_slice(&[7; 32]).unwrap();
    let trace = TraceId::derive("uid");
    let seal = key.seal_v1("team", "ada", &trace, None);
    let old = task(json!({"metadata": {"annotations": {SUBMITTED_BY: "ada", TRACE_ID: trace.as_str(), STAMP: seal}}}));
    let trust_since = |seconds| Trust {
        keys: StampKeys::new(key.clone(), Vec::new(), Some(now() + jiff::SignedDuration::from_secs(seconds))),
        ..trust()
    };
    let before = believed_in(&old, "team", &trust_since(1));
    assert_eq!((before.is_v1, before.submitted.map(|stamps| stamps.submitter.user).as_deref()), (true, Some("ada")));
    assert_eq!(believed_in(&old, "team", &trust_since(-1)).submitted, None, "copied onto a younger object");
    assert_eq!(believed_in(&old, "team", &trust()).submitted, None);
    assert_eq!(believed_in(&old, "jct-system", &trust_since(1)).submitted, None);
}

/// Replicas of both versions answer, one webhook each.
#[rstest]
#[case::in_time("ada", "ada", 1, true)]
#[case::too_late("ada", "ada", -1, false)]
#[case::of_another_user("ada", "eve", 1, false)]
#[case::made_for_somebody("ada", OPERATOR, 1, true)]
#[case::with_the_operators_own_name(OPERATOR, OPERATOR, 1, false)]
fn stamps_of_the_version_before_are_accepted_while_an_update_rolls_out(
    #[case] stamped: &str,
    #[case] user: &str,
    #[case] since: i64,
    #[case] is_accepted: bool,
) {
    let key = StampKey::from_slice(&[7; 32]).unwrap();
    let trace = TraceId::derive("uid");
    let seal = key.seal_v1("team", stamped, &trace, None);
    let annotations = json!({SUBMITTED_BY: stamped, TRACE_ID: trace.as_str(), STAMP: seal});
    let object = task(json!({"metadata": {"annotations": annotations}}));
    let since = Some(now() + jiff::SignedDuration::from_secs(since));
    let trust = Trust { keys: StampKeys::new(key, Vec::new(), since), ..trust() };
    let reviewer = Reviewer {
        trust: tokio::sync::watch::Sender::new(std::sync::Arc::new(trust.clone())).subscribe(),
        ..reviewer()
    };
    let asked = request("CREATE", user, &object, None);
    let answer = reviewer.review(Door::Validate, Caller::Anonymous, &asked, [1; 16], now()).response;
    assert_eq!(answer.allowed, is_accepted, "{}", answer.result.message);
    // Nobody is the operator, whatever an old replica says.
    let believed = believed_in(&object, "team", &trust).submitted;
    assert_eq!(believed.is_some(), stamped == "ada" && since > Some(now()));
}

#[test]
fn the_operator_alone_may_say_for_which_run_a_task_is() {
    let object = by_operator(&task(json!({})), "ada", Some(A_RUN));
    let created = stamped(&object, OPERATOR);
    assert_eq!(annotation(&created, RUN), Some(A_RUN));
    assert!(review(Door::Validate, &request("CREATE", OPERATOR, &created, None)).allowed);
    assert!(!review(Door::Validate, &request("CREATE", "ada", &created, None)).allowed);

    let claimed = review(Door::Mutate, &request("CREATE", "ada", &object, None));
    assert!(claimed.warnings.as_ref().unwrap().iter().any(|warning| warning.contains(RUN)));
    assert_eq!(annotation(&patched(&object, &claimed), RUN), None);
    let mut moved = created.clone();
    moved["metadata"]["annotations"][RUN] = json!("01KJMMA2G027CE4HT1RZKZBW4B");
    let kept = patched(&moved, &review(Door::Mutate, &request("UPDATE", "eve", &moved, Some(&created))));
    assert_eq!(annotation(&kept, RUN), Some(A_RUN));
}

#[rstest]
#[case(RUN, A_RUN)]
#[case(SUBMITTED_BY, "root")]
#[case(TRACE_ID, "another-trace")]
#[case(STAMP, "00")]
fn a_stamp_changed_between_the_webhooks_is_refused(#[case] name: &str, #[case] value: &str) {
    let mut object = stamped(&task(json!({})), "ada");
    object["metadata"]["annotations"][name] = json!(value);
    let response = review(Door::Validate, &request("CREATE", "ada", &object, None));
    assert!(!response.allowed);
    assert!(response.result.message.contains(SUBMITTED_BY), "{}", response.result.message);
}

#[test]
fn a_refusal_has_the_form_of_the_contract() {
    let object = task(json!({
        "spec": {"target": {"repo": "evil/x"}, "constraints": {"allowNetwork": true, "timeBudgetSeconds": 5}}
    }));
    for door in [Door::Mutate, Door::Validate] {
        let response = review(door, &request("CREATE", "ada", &object, None));
        assert!(!response.allowed && response.patch.is_none());
        insta::assert_json_snapshot!("refusal", response.result);
    }
}

#[test]
fn a_bad_pinned_id_is_refused() {
    let object = task(json!({"metadata": {"annotations": {"jct.dev/id": "01kjmma2g027ce4ht1rzkzbw4a"}}}));
    let response = review(Door::Mutate, &request("CREATE", "ada", &object, None));
    assert!(response.result.message.contains("metadata.annotations[jct.dev/id]: is not a ULID"));
}

#[rstest]
#[case(json!({"spec": {"objective": "Something else"}}), "spec.objective")]
#[case(json!({"spec": {"target": {"repo": "octo/other"}}}), "spec.target")]
#[case(json!({"spec": {"inputs": {"deep": {"er": 1}}}}), "spec.inputs")]
#[case(json!({"spec": {"maxAttempts": 3}}), "spec.maxAttempts")]
#[case(json!({"spec": {"requestedBy": null}}), "spec.requestedBy")]
fn the_spec_cannot_change(#[case] change: Value, #[case] field: &str) {
    let old = stamped(&task(json!({})), "ada");
    let mut new = old.clone();
    json_patch::merge(&mut new, &change);
    let response = review(Door::Mutate, &request("UPDATE", "ada", &new, Some(&old)));
    assert!(!response.allowed);
    assert_eq!(response.result.details.unwrap().causes[0].field, field);
}

#[test]
fn suspend_may_change_though_the_policy_became_tighter() {
    let old = stamped(&task(json!({})), "ada");
    let mut new = old.clone();
    new["spec"]["suspend"] = json!(true);
    let tight = Reviewer { policy: Policy::default(), ..reviewer() };
    let of = |door, object: &Value| {
        tight.review(door, Caller::Anonymous, &request("UPDATE", "bob", object, Some(&old)), [1; 16], now()).response
    };
    let suspended = patched(&new, &of(Door::Mutate, &new));
    assert!(of(Door::Validate, &suspended).allowed);
    assert!(!of(Door::Validate, &new).allowed, "nobody noted who did it");
}

/// What `user` makes of `old` by an update, in the controller's eyes the next generation.
fn updated(old: &Value, user: &str, change: Value) -> Value {
    let mut new = old.clone();
    json_patch::merge(&mut new, &change);
    let mut object = patched(&new, &review(Door::Mutate, &request("UPDATE", user, &new, Some(old))));
    let response = review(Door::Validate, &request("UPDATE", user, &object, Some(old)));
    assert!(response.allowed && response.patch.is_none(), "{:?}", response.result);
    if object["spec"] != old["spec"] {
        object["metadata"]["generation"] = json!(old["metadata"]["generation"].as_i64().unwrap() + 1);
    }
    object
}

fn canceller(object: &Value) -> Option<String> {
    believed(object).canceller.map(|who| who.user)
}

#[test]
fn who_cancels_is_noted_once() {
    let old = stamped(&task(json!({})), "ada");
    let cancelled = updated(&old, "bob", json!({"spec": {"cancel": true}}));
    assert_eq!((annotation(&cancelled, CANCELLED_BY), canceller(&cancelled).as_deref()), (Some("bob"), Some("bob")));
    let touched =
        updated(&cancelled, "eve", json!({"metadata": {"labels": {"a": "b"}, "annotations": {CANCELLED_BY: "eve"}}}));
    assert_eq!(canceller(&touched).as_deref(), Some("bob"));
    let released = updated(&touched, "eve", json!({"spec": {"suspend": true}}));
    assert_eq!(canceller(&released).as_deref(), Some("bob"), "another change is not a cancellation");
    assert_eq!(submitter(&released).as_deref(), Some("ada"));
    let born_cancelled = stamped(&task(json!({"spec": {"cancel": true}})), "ada");
    assert_eq!(canceller(&born_cancelled).as_deref(), Some("ada"));
}

#[test]
fn every_change_of_a_task_is_noted_with_who_made_it() {
    let object = stamped(&task(json!({"spec": {"suspend": true}})), "ada");
    assert!(believed(&object).changes.is_empty());
    let object = updated(&object, "bob", json!({"spec": {"suspend": false}}));
    let object = updated(&object, "eve", json!({"metadata": {"labels": {"a": "b"}}}));
    let object = updated(&object, "carl", json!({"spec": {"suspend": true, "cancel": true}}));
    let told: Vec<_> = believed(&object)
        .changes
        .into_iter()
        .map(|change| (change.generation, change.by.unwrap(), change.suspend, change.cancel))
        .collect();
    assert_eq!(told, [(2, "bob".into(), Some(false), None), (3, "carl".into(), Some(true), Some(true))]);
    // Past the webhooks: nobody is blamed for it.
    let mut unseen = object.clone();
    unseen["spec"]["suspend"] = json!(false);
    unseen["metadata"]["generation"] = json!(4);
    let told: Vec<_> = believed(&unseen).changes.into_iter().map(|change| (change.generation, change.by)).collect();
    assert_eq!(told, [(2, Some("bob".into())), (3, Some("carl".into())), (4, None)]);
    // A seal on another spec than there is: that change has not happened so.
    unseen["metadata"]["generation"] = json!(3);
    assert_eq!(believed(&unseen).changes, [crate::domain::SpecChange::unseen(3)]);
    let many = (0..40).fold(object, |object, n| updated(&object, "bob", json!({"spec": {"suspend": n % 2 == 0}})));
    assert_eq!(believed(&many).changes.len(), 16);
}

#[test]
fn the_operator_may_say_for_whom_it_cancels_if_it_has_sealed_that() {
    let old = stamped(&task(json!({})), "ada");
    let metadata: ObjectMeta = serde_json::from_value(old["metadata"].clone()).unwrap();
    let (sealed, seal) = (Sealed::of("Task", "team", &metadata), Seal { issuer: Issuer::Operator, at: now() });
    let of_bob = cancellation(&Principal::named("bob"), &sealed, "uid-of-t", &seal, &trust().keys);
    let change = json!({"metadata": {"annotations": of_bob}, "spec": {"cancel": true}});
    let cancelled = updated(&old, OPERATOR, change.clone());
    assert_eq!(canceller(&cancelled).as_deref(), Some("bob"));
    assert_eq!(believed(&cancelled).changes[0].by.as_deref(), Some("bob"));
    assert_eq!(canceller(&updated(&old, "eve", change)).as_deref(), Some("eve"));
    let unsealed = json!({"metadata": {"annotations": {CANCELLED_BY: "bob"}}, "spec": {"cancel": true}});
    assert_eq!(canceller(&updated(&old, OPERATOR, unsealed)).as_deref(), Some(OPERATOR), "a name alone says nothing");
    // On another object it is nobody's word.
    let other =
        with(&task(json!({"metadata": {"uid": "another", "generation": 2}, "spec": {"cancel": true}})), &of_bob);
    assert_eq!(canceller(&other), None);
}

#[rstest]
#[case::added(None, Some(A_RUN))]
#[case::changed(Some(A_RUN), Some("01KJMMA2G027CE4HT1RZKZBW4B"))]
#[case::removed(Some(A_RUN), None)]
fn an_id_is_pinned_when_the_object_is_made_or_never(#[case] before: Option<&str>, #[case] after: Option<&str>) {
    let pinned = |id: Option<&str>| json!({"metadata": {"annotations": {"jct.dev/id": id, "a": "b"}}});
    for given in [task(json!({})), example(Kind::Issue)] {
        let mut given = given;
        json_patch::merge(&mut given, &pinned(before));
        let old = stamped(&given, "ada");
        let mut new = old.clone();
        json_patch::merge(&mut new, &pinned(after));
        for door in [Door::Mutate, Door::Validate] {
            let causes = causes(&review(door, &request("UPDATE", "ada", &new, Some(&old))));
            assert_eq!(causes.len(), 1);
            assert!(causes[0].starts_with("metadata.annotations[jct.dev/id]: INVALID_SPEC: "), "{causes:?}");
        }
        assert!(review(Door::Mutate, &request("UPDATE", "ada", &old, Some(&old))).allowed, "as it was");
    }
}

#[rstest]
#[case(json!({"metadata": {"annotations": null}}))]
#[case(json!({"metadata": {"annotations": {SUBMITTED_BY: "eve", TRACE_ID: null, STAMP: "ff", CANCELLED_BY: "eve"}}}))]
fn reserved_annotations_are_put_back(#[case] change: Value) {
    let old = stamped(&task(json!({})), "ada");
    let mut new = old.clone();
    json_patch::merge(&mut new, &change);
    let response = review(Door::Mutate, &request("UPDATE", "eve", &new, Some(&old)));
    assert!(response.warnings.is_some());
    assert_eq!(patched(&new, &response)["metadata"]["annotations"], old["metadata"]["annotations"]);
}

#[test]
fn a_task_from_before_the_webhook_gets_no_stamp_by_an_update() {
    let old = task(json!({}));
    let new =
        task(json!({"metadata": {"annotations": {SUBMITTED_BY: "root", TRACE_ID: TraceId::derive("x").as_str()}}}));
    let object = patched(&new, &review(Door::Mutate, &request("UPDATE", "eve", &new, Some(&old))));
    assert!(reserved().all(|name| annotation(&object, name).is_none()));
    assert_eq!(annotation(&object, SUBMITTED_BY), None);
    assert_eq!(annotation(&object, TRACE_ID), None);
}

#[rstest]
#[case::a_deletion(json!({}), "mallory")]
#[case::a_dry_run(json!({"dryRun": true}), "unknown")]
#[case::no_deletion(json!({"operation": "UPDATE"}), "unknown")]
#[case::of_what_is_being_deleted(json!({"again": true}), "unknown")]
fn who_deletes_is_noted_and_never_refused(#[case] change: Value, #[case] deleter: &str) {
    let mut old = stamped(&task(json!({})), "ada");
    if change["again"] == json!(true) {
        old["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:00:00Z");
    }
    let mut request = request("DELETE", "mallory", &Value::Null, Some(&old));
    request.dry_run = change["dryRun"] == json!(true);
    if change["operation"] == json!("UPDATE") {
        request.operation = kube::core::admission::Operation::Update;
    }
    let reviewer = reviewer();
    let answer = reviewer.review(Door::Deletion, Caller::Anonymous, &request, [1; 16], now()).response;
    assert!(answer.allowed && answer.patch.is_none());
    let noted = reviewer.deletions.of("uid-of-t");
    assert_eq!(crate::runtime::Deleter::of(&noted, &trust()).actor.id, deleter);
}

#[test]
fn deletions_and_subresources_pass() {
    let object = task(json!({}));
    assert!(review(Door::Validate, &request("DELETE", "ada", &Value::Null, Some(&object))).allowed);
    let mut status = request("UPDATE", "ada", &task(json!({"spec": null})), Some(&object));
    status.sub_resource = Some("status".into());
    assert!(review(Door::Validate, &status).allowed);
}

fn example(kind: Kind) -> Value {
    let examples = include_str!("../../examples/cwom.yaml");
    serde_yaml::Deserializer::from_str(examples)
        .map(|document| Value::deserialize(document).unwrap())
        .find(|object| object["kind"] == kind.as_str())
        .unwrap()
}

#[test]
fn who_changes_a_work_object_is_noted() {
    let mut given = example(Kind::Issue);
    json_patch::merge(&mut given, &json!({"metadata": {"uid": "u", "generation": 1}}));
    let old = stamped(&given, "ada");
    let author = |object: &Value| believed(object).author.map(|who| who.user);
    assert_eq!(author(&old).as_deref(), Some("ada"));
    let by_bob =
        updated(&old, "bob", json!({"spec": {"title": "Greet"}, "metadata": {"annotations": {CHANGED_BY: "root"}}}));
    assert_eq!((author(&by_bob).as_deref(), submitter(&by_bob).as_deref()), (Some("bob"), Some("ada")));
    let labelled = updated(&by_bob, "eve", json!({"metadata": {"labels": {"a": "b"}}}));
    assert_eq!(author(&labelled).as_deref(), Some("bob"), "the spec is as it was");
    let again = updated(&by_bob, "eve", json!({"spec": {"title": "Greet all"}}));
    assert_eq!(author(&again).as_deref(), Some("eve"));
    // Past the webhooks: neither the last one nor the first is blamed.
    let mut unseen = again.clone();
    unseen["spec"]["title"] = json!("Greet none");
    assert_eq!(author(&unseen), None);
    unseen["spec"]["title"] = again["spec"]["title"].clone();
    unseen["metadata"]["generation"] = json!(5);
    assert_eq!(author(&unseen), None, "a seal is on one change, not on what it led to");
}

fn causes(response: &AdmissionResponse) -> Vec<String> {
    assert!(!response.allowed);
    let causes = response.result.details.as_ref().unwrap().causes.iter();
    causes.map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

#[test]
fn every_work_object_is_stamped_as_a_task_is() {
    for kind in Kind::ALL {
        let given = example(kind);
        let object = stamped(&given, "ada");
        assert_eq!(annotation(&object, SUBMITTED_BY), Some("ada"), "{kind}");
        assert!(object["metadata"]["finalizers"].as_array().unwrap().contains(&json!(FINALIZER)), "{kind}");
        assert_eq!(object["spec"], given["spec"], "the spec is never touched");
        assert!(review(Door::Validate, &request("CREATE", "ada", &object, None)).allowed, "{kind}");
        assert!(!review(Door::Validate, &request("CREATE", "eve", &object, None)).allowed, "{kind}");

        let mut labelled = object.clone();
        labelled["metadata"]["labels"] = json!({"a": "b"});
        labelled["metadata"]["annotations"][SUBMITTED_BY] = json!("eve");
        let kept = patched(&labelled, &review(Door::Mutate, &request("UPDATE", "eve", &labelled, Some(&object))));
        assert_eq!(annotation(&kept, SUBMITTED_BY), Some("ada"), "{kind}");
    }
}

#[test]
fn a_bad_work_object_is_refused_with_all_findings() {
    let mut issue = example(Kind::Issue);
    json_patch::merge(
        &mut issue,
        &json!({
            "metadata": {"annotations": {"jct.dev/id": "x"}},
            "spec": {"repo": {"kind": "Run"}, "priority": "P9", "runs": [{}], "cancel": true},
        }),
    );
    for door in [Door::Mutate, Door::Validate] {
        let response = review(door, &request("CREATE", "ada", &issue, None));
        assert_eq!((response.result.code, response.result.reason.as_str()), (422, "Invalid"));
        let fields =
            ["spec.repo.kind", "spec.priority", "spec.runs", "spec.cancel", "metadata.annotations[jct.dev/id]"];
        let causes = causes(&response);
        assert_eq!(causes.len(), fields.len(), "{causes:?}");
        for (cause, field) in causes.iter().zip(fields) {
            assert!(cause.starts_with(&format!("{field}: INVALID_SPEC: ")), "{cause}");
        }
    }
}

#[rstest]
#[case(Kind::Repo, json!({"slug": "octo/other"}), "spec.slug: INVALID_SPEC: of a Repo cannot change")]
#[case(Kind::Repo, json!({"visibility": "secret"}), "spec.visibility: INVALID_SPEC: must be one of")]
#[case(Kind::Issue, json!({"status": "todo"}), "spec.status: INVALID_SPEC: must be one of")]
#[case(Kind::ContextPacket, json!({"summary": "Other"}), "spec.summary: INVALID_SPEC: cannot change")]
#[case(Kind::ConstraintSnapshot, json!({"scope": "org"}), "spec.scope: INVALID_SPEC: cannot change")]
#[case(Kind::DoctrineRef, json!({"version": "2"}), "spec.version: INVALID_SPEC: of a DoctrineRef cannot change")]
#[case(Kind::Run, json!({"status": "running"}), "spec.status: INVALID_SPEC: cannot become running: done is the end")]
#[case(Kind::Run, json!({"outputs": {"artifacts": []}}), "spec.outputs.artifacts: INVALID_SPEC: is append-only")]
#[case(Kind::Artifact, json!({"forIssue": {"name": "other"}}), "spec.forIssue: INVALID_SPEC: of an Artifact cannot change")]
fn what_must_not_change_does_not(#[case] kind: Kind, #[case] change: Value, #[case] expected: &str) {
    let old = stamped(&example(kind), "ada");
    let mut new = old.clone();
    json_patch::merge(&mut new, &json!({"spec": change}));
    for door in [Door::Mutate, Door::Validate] {
        let causes = causes(&review(door, &request("UPDATE", "ada", &new, Some(&old))));
        assert!(causes.len() == 1 && causes[0].starts_with(expected), "{causes:?}");
    }
}

#[rstest]
#[case(Kind::Repo, json!({"visibility": "public"}))]
#[case(Kind::Issue, json!({"status": "running", "title": "Greet"}))]
#[case(Kind::ContextPacket, json!({"tags": []}))]
#[case(Kind::Run, json!({"cost": {"tokens": 5}}))]
fn what_may_change_does(#[case] kind: Kind, #[case] change: Value) {
    let old = stamped(&example(kind), "ada");
    let mut new = old.clone();
    json_patch::merge(&mut new, &json!({"spec": change}));
    let new = patched(&new, &review(Door::Mutate, &request("UPDATE", "ada", &new, Some(&old))));
    assert!(review(Door::Validate, &request("UPDATE", "ada", &new, Some(&old))).allowed);
}

#[test]
fn a_spec_that_is_no_longer_understood_can_be_let_go_and_mended_but_an_immutable_one_not_changed() {
    for (kind, may_be_mended) in [(Kind::Issue, true), (Kind::ContextPacket, false)] {
        let good = stamped(&example(kind), "ada");
        let mut bad = good.clone();
        bad["spec"]["fromTheFuture"] = json!(1);
        let mut released = bad.clone();
        released["metadata"]["finalizers"] = json!([]);
        assert!(review(Door::Validate, &request("UPDATE", "ada", &released, Some(&bad))).allowed);
        assert_eq!(review(Door::Mutate, &request("UPDATE", "ada", &good, Some(&bad))).allowed, may_be_mended);
    }
}

#[test]
fn whoever_makes_a_task_that_nothing_can_do_is_warned() {
    let warned = |spec: Value| {
        let object = task(json!({"spec": spec}));
        let response = review(Door::Mutate, &request("CREATE", "ada", &object, None));
        assert!(response.allowed);
        response.warnings.unwrap_or_default()
    };
    assert_eq!(warned(json!({})), Vec::<String>::new());
    let patch = warned(json!({"operation": "code_change"}));
    assert!(patch[0].contains("spec.inputs.patch is missing"), "{patch:?}");
    let unknown = warned(json!({"executor": "nobody"}));
    assert!(unknown[0].contains("\"nobody\" is not configured"), "{unknown:?}");
}

#[test]
fn whoever_applies_an_object_whose_copy_comes_near_the_limit_is_told_the_way_out() {
    let warned = |operation: &str, bytes: usize| {
        let copy = json!({"metadata": {"annotations": {LAST_APPLIED: "x".repeat(bytes)}}});
        let object = stamped(&task(copy), "ada");
        let old = (operation == "UPDATE").then_some(&object);
        let response = review(Door::Mutate, &request(operation, "ada", &object, old));
        assert!(response.allowed);
        let warnings = response.warnings.unwrap_or_default();
        warnings.iter().any(|warning| warning.contains("--server-side"))
    };
    for operation in ["CREATE", "UPDATE"] {
        assert!(warned(operation, 201 * 1024), "{operation}");
        assert!(!warned(operation, 200 * 1024), "{operation}");
    }
}

fn session(change: Value) -> Value {
    let mut session = json!({
        "apiVersion": "jct.dev/v1", "kind": "Session", "metadata": {"name": "t", "namespace": "team", "uid": "uid-of-s", "generation": 1},
        "spec": {"publicKey": "A".repeat(43) + "="},
    });
    json_patch::merge(&mut session, &change);
    session
}

#[test]
fn a_session_is_stamped_with_who_makes_it_and_held_by_nothing() {
    let forged = json!({"metadata": {"annotations": {SUBMITTED_BY: "root", "jct.dev/submitted-by-groups": "[\"system:masters\"]"}}});
    let made = stamped(&session(forged), "ada");
    let owner = believed(&made).submitted.unwrap().submitter;
    assert_eq!((owner.user.as_str(), owner.groups()), ("ada", Some(vec!["makers".to_owned()])));
    assert_eq!(owner.uid.as_deref(), Some("uid-of-ada"));
    assert_eq!(made["metadata"]["finalizers"], Value::Null, "nothing is recorded of it");
    assert!(review(Door::Validate, &request("CREATE", "ada", &made, None)).allowed);
    assert!(!review(Door::Validate, &request("CREATE", "eve", &made, None)).allowed, "the stamps are of another");
    let mut renewed = made.clone();
    renewed["spec"]["publicKey"] = json!("B".repeat(43) + "=");
    assert!(!review(Door::Mutate, &request("UPDATE", "ada", &renewed, Some(&made))).allowed, "it never changes");
    let bad = request("CREATE", "ada", &session(json!({"spec": {"publicKey": "hello"}})), None);
    assert!(!review(Door::Mutate, &bad).allowed);
    let findings = reviewer().review(Door::Mutate, Caller::Authenticated, &bad, [1; 16], now()).findings;
    assert!(!findings.is_empty());
    assert_eq!(reviewer().denial(&bad, findings, Caller::Authenticated, [1; 16], now()), None, "it asks for no work");
}
