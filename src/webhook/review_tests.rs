use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use rstest::rstest;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::review::{Door, Reviewer};
use crate::crd::names::{CANCELLED_BY, CHANGED_BY, FINALIZER, RUN, STAMP, SUBMITTED_BY, TRACE_ID};
use crate::domain::cwom::Kind;
use crate::domain::{StampKey, TraceId};
use crate::policy::Policy;

const A_RUN: &str = "01KJMMA2G027CE4HT1RZKZBW4A";
pub const OPERATOR: &str = "system:serviceaccount:jct-system:jct";

pub fn reviewer() -> Reviewer {
    Reviewer {
        policy: Policy::default().allowing("octo/"),
        key: StampKey::from_slice(&[7; 32]).unwrap(),
        trusted_user: OPERATOR.into(),
    }
}

fn task(change: Value) -> Value {
    let mut task = json!({
        "apiVersion": "jct.dev/v1", "kind": "Task", "metadata": {"name": "t", "namespace": "team"},
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
            "userInfo": {"username": user, "groups": []},
            "object": object, "oldObject": old,
        },
    });
    serde_json::from_value::<AdmissionReview<DynamicObject>>(review).unwrap().try_into().unwrap()
}

fn review(door: Door, request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
    reviewer().review(door, request, [1; 16]).response
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
    let seal = annotation(&object, STAMP).unwrap();
    assert!(reviewer().key.verify("team", "ada@example.org", &trace_id.parse().unwrap(), None, seal));
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
fn the_operator_alone_may_say_for_whom_it_creates() {
    let object = task(json!({"metadata": {"annotations": {SUBMITTED_BY: "ada", TRACE_ID: "from-the-client"}}}));
    let created = stamped(&object, OPERATOR);
    assert_eq!(annotation(&created, SUBMITTED_BY), Some("ada"));
    assert_eq!(annotation(&created, TRACE_ID), Some("from-the-client"));
    assert!(review(Door::Validate, &request("CREATE", OPERATOR, &created, None)).allowed);
}

#[test]
fn the_operator_alone_may_say_for_which_run_a_task_is() {
    let object = task(json!({"metadata": {"annotations": {SUBMITTED_BY: "ada", RUN: A_RUN}}}));
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
    assert!(tight.review(Door::Validate, &request("UPDATE", "ada", &new, Some(&old)), [1; 16]).response.allowed);
}

#[test]
fn who_cancels_is_noted_once() {
    let old = stamped(&task(json!({})), "ada");
    let mut new = old.clone();
    new["spec"]["cancel"] = json!(true);
    let cancelled = patched(&new, &review(Door::Mutate, &request("UPDATE", "bob", &new, Some(&old))));
    assert_eq!(annotation(&cancelled, CANCELLED_BY), Some("bob"));
    let touched = patched(&cancelled, &review(Door::Mutate, &request("UPDATE", "eve", &cancelled, Some(&cancelled))));
    assert_eq!(annotation(&touched, CANCELLED_BY), Some("bob"));
}

#[test]
fn the_operator_alone_may_say_for_whom_it_cancels() {
    let old = stamped(&task(json!({})), "ada");
    let mut new = old.clone();
    json_patch::merge(&mut new, &json!({"metadata": {"annotations": {CANCELLED_BY: "bob"}}, "spec": {"cancel": true}}));
    let by = |user: &str| {
        let cancelled = patched(&new, &review(Door::Mutate, &request("UPDATE", user, &new, Some(&old))));
        annotation(&cancelled, CANCELLED_BY).map(str::to_owned)
    };
    assert_eq!(by(OPERATOR).as_deref(), Some("bob"));
    assert_eq!(by("eve").as_deref(), Some("eve"));
}

#[test]
fn a_second_one_who_cancels_is_not_noted() {
    let mut old = stamped(&task(json!({})), "ada");
    json_patch::merge(&mut old, &json!({"metadata": {"annotations": {CANCELLED_BY: "bob"}}, "spec": {"cancel": true}}));
    let mut new = old.clone();
    new["metadata"]["annotations"][CANCELLED_BY] = json!("eve");
    let cancelled = patched(&new, &review(Door::Mutate, &request("UPDATE", OPERATOR, &new, Some(&old))));
    assert_eq!(annotation(&cancelled, CANCELLED_BY), Some("bob"));
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
    assert_eq!(annotation(&object, SUBMITTED_BY), None);
    assert_eq!(annotation(&object, TRACE_ID), None);
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
    let old = stamped(&example(Kind::Issue), "ada");
    let mut new = old.clone();
    new["spec"]["title"] = json!("Greet");
    new["metadata"]["annotations"][CHANGED_BY] = json!("root");
    let by_bob = patched(&new, &review(Door::Mutate, &request("UPDATE", "bob", &new, Some(&old))));
    assert_eq!(annotation(&by_bob, CHANGED_BY), Some("bob"));
    let mut labelled = by_bob.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    let by_eve = patched(&labelled, &review(Door::Mutate, &request("UPDATE", "eve", &labelled, Some(&by_bob))));
    assert_eq!(annotation(&by_eve, CHANGED_BY), Some("bob"), "the spec is as it was");
    let mut again = by_bob.clone();
    again["spec"]["title"] = json!("Greet all");
    let response = review(Door::Mutate, &request("UPDATE", "eve", &again, Some(&by_bob)));
    assert_eq!(response.warnings, None);
    assert_eq!(annotation(&patched(&again, &response), CHANGED_BY), Some("eve"));
}

fn causes(response: &AdmissionResponse) -> Vec<String> {
    assert!(!response.allowed);
    let causes = response.result.details.as_ref().unwrap().causes.iter();
    causes.map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

#[test]
fn every_work_object_is_stamped_as_a_task_is() {
    for kind in Kind::ALL {
        let given = example(*kind);
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
        assert_eq!(review(Door::Validate, &request("UPDATE", "ada", &good, Some(&bad))).allowed, may_be_mended);
    }
}
