//! Work objects: stamped and checked as Tasks are.

use super::changes::updated;
use super::*;

pub(super) fn example(kind: Kind) -> Value {
    let examples = include_str!("../../../examples/cwom.yaml");
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

pub(super) fn causes(response: &AdmissionResponse) -> Vec<String> {
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
        assert!(review(Endpoint::Validate, &request("CREATE", "ada", &object, None)).allowed, "{kind}");
        assert!(!review(Endpoint::Validate, &request("CREATE", "eve", &object, None)).allowed, "{kind}");

        let mut labelled = object.clone();
        labelled["metadata"]["labels"] = json!({"a": "b"});
        labelled["metadata"]["annotations"][SUBMITTED_BY] = json!("eve");
        let kept = patched(&labelled, &review(Endpoint::Mutate, &request("UPDATE", "eve", &labelled, Some(&object))));
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
    for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
        let response = review(endpoint, &request("CREATE", "ada", &issue, None));
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
    for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
        let causes = causes(&review(endpoint, &request("UPDATE", "ada", &new, Some(&old))));
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
    let new = patched(&new, &review(Endpoint::Mutate, &request("UPDATE", "ada", &new, Some(&old))));
    assert!(review(Endpoint::Validate, &request("UPDATE", "ada", &new, Some(&old))).allowed);
}

#[test]
fn a_spec_that_is_no_longer_understood_can_be_let_go_and_mended_but_an_immutable_one_not_changed() {
    for (kind, may_be_mended) in [(Kind::Issue, true), (Kind::ContextPacket, false)] {
        let good = stamped(&example(kind), "ada");
        let mut bad = good.clone();
        bad["spec"]["fromTheFuture"] = json!(1);
        let mut released = bad.clone();
        released["metadata"]["finalizers"] = json!([]);
        assert!(review(Endpoint::Validate, &request("UPDATE", "ada", &released, Some(&bad))).allowed);
        assert_eq!(review(Endpoint::Mutate, &request("UPDATE", "ada", &good, Some(&bad))).allowed, may_be_mended);
    }
}
