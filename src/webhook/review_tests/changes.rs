//! Refusals, and what an update or a deletion may change and notes.

use super::work_objects::{causes, example};
use super::*;

#[test]
fn a_refusal_has_the_form_of_the_contract() {
    let object = task(json!({
        "spec": {"target": {"repo": "evil/x"}, "constraints": {"allowNetwork": true, "timeBudgetSeconds": 5}}
    }));
    for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
        let response = review(endpoint, &request("CREATE", "ada", &object, None));
        assert!(!response.allowed && response.patch.is_none());
        insta::assert_json_snapshot!("refusal", response.result);
    }
}

#[test]
fn a_bad_pinned_id_is_refused() {
    let object = task(json!({"metadata": {"annotations": {"jct.dev/id": "01kjmma2g027ce4ht1rzkzbw4a"}}}));
    let response = review(Endpoint::Mutate, &request("CREATE", "ada", &object, None));
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
    let response = review(Endpoint::Mutate, &request("UPDATE", "ada", &new, Some(&old)));
    assert!(!response.allowed);
    assert_eq!(response.result.details.unwrap().causes[0].field, field);
}

#[test]
fn suspend_may_change_though_the_policy_became_tighter() {
    let old = stamped(&task(json!({})), "ada");
    let mut new = old.clone();
    new["spec"]["suspend"] = json!(true);
    let tight = Reviewer { policy: Policy::default(), ..reviewer() };
    let of = |endpoint, object: &Value| {
        tight
            .review(endpoint, Caller::Anonymous, &request("UPDATE", "bob", object, Some(&old)), [1; 16], now())
            .response
    };
    let suspended = patched(&new, &of(Endpoint::Mutate, &new));
    assert!(of(Endpoint::Validate, &suspended).allowed);
    assert!(!of(Endpoint::Validate, &new).allowed, "nobody noted who did it");
}

/// What `user` makes of `old` by an update, in the controller's eyes the next generation.
pub(super) fn updated(old: &Value, user: &str, change: Value) -> Value {
    let mut new = old.clone();
    json_patch::merge(&mut new, &change);
    let mut object = patched(&new, &review(Endpoint::Mutate, &request("UPDATE", user, &new, Some(old))));
    let response = review(Endpoint::Validate, &request("UPDATE", user, &object, Some(old)));
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
    let seen: Vec<_> = believed(&object)
        .changes
        .into_iter()
        .map(|change| (change.generation, change.by.unwrap(), change.suspend, change.cancel))
        .collect();
    assert_eq!(seen, [(2, "bob".into(), Some(false), None), (3, "carl".into(), Some(true), Some(true))]);
    // Past the webhooks: nobody is blamed for it.
    let mut unseen = object.clone();
    unseen["spec"]["suspend"] = json!(false);
    unseen["metadata"]["generation"] = json!(4);
    let seen: Vec<_> = believed(&unseen).changes.into_iter().map(|change| (change.generation, change.by)).collect();
    assert_eq!(seen, [(2, Some("bob".into())), (3, Some("carl".into())), (4, None)]);
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
        for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
            let causes = causes(&review(endpoint, &request("UPDATE", "ada", &new, Some(&old))));
            assert_eq!(causes.len(), 1);
            assert!(causes[0].starts_with("metadata.annotations[jct.dev/id]: INVALID_SPEC: "), "{causes:?}");
        }
        assert!(review(Endpoint::Mutate, &request("UPDATE", "ada", &old, Some(&old))).allowed, "as it was");
    }
}

#[rstest]
#[case(json!({"metadata": {"annotations": null}}))]
#[case(json!({"metadata": {"annotations": {SUBMITTED_BY: "eve", TRACE_ID: null, STAMP: "ff", CANCELLED_BY: "eve"}}}))]
fn reserved_annotations_are_put_back(#[case] change: Value) {
    let old = stamped(&task(json!({})), "ada");
    let mut new = old.clone();
    json_patch::merge(&mut new, &change);
    let response = review(Endpoint::Mutate, &request("UPDATE", "eve", &new, Some(&old)));
    assert!(response.warnings.is_some());
    assert_eq!(patched(&new, &response)["metadata"]["annotations"], old["metadata"]["annotations"]);
}

#[test]
fn a_task_from_before_the_webhook_gets_no_stamp_by_an_update() {
    let old = task(json!({}));
    let new =
        task(json!({"metadata": {"annotations": {SUBMITTED_BY: "root", TRACE_ID: TraceId::derive("x").as_str()}}}));
    let object = patched(&new, &review(Endpoint::Mutate, &request("UPDATE", "eve", &new, Some(&old))));
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
    let answer = reviewer.review(Endpoint::Deletion, Caller::Anonymous, &request, [1; 16], now()).response;
    assert!(answer.allowed && answer.patch.is_none());
    let noted = reviewer.deletions.of("uid-of-t");
    assert_eq!(crate::shared::Deleter::of(&noted, &trust()).actor.id, deleter);
}

#[test]
fn deletions_and_subresources_pass() {
    let object = task(json!({}));
    assert!(review(Endpoint::Validate, &request("DELETE", "ada", &Value::Null, Some(&object))).allowed);
    let mut status = request("UPDATE", "ada", &task(json!({"spec": null})), Some(&object));
    status.sub_resource = Some("status".into());
    assert!(review(Endpoint::Validate, &status).allowed);
}
