use rstest::rstest;
use serde_json::{Value, json};

use super::Caller;
use super::read::{MAX_NODES, read};
use super::review::Endpoint;
use super::review_tests::{now, reviewer};
use crate::crd::names::FINALIZER;
use crate::domain::Code;

fn object(inputs: Value) -> Value {
    json!({
        "apiVersion": "jct.dev/v1", "kind": "Task",
        "metadata": {
            "name": "t", "namespace": "team", "finalizers": [FINALIZER], "annotations": {"a": "b"},
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {
            "requestedBy": {"kind": "human", "id": "ada"}, "objective": "Look around", "operation": "analysis",
            "target": {"repo": "octo/hello"}, "inputs": inputs,
        },
        "status": {"phase": "Queued"},
    })
}

fn review(operation: &str, object: &Value, old: &Value) -> String {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "r", "operation": operation, "name": "t", "namespace": "team", "dryRun": false,
            "kind": {"group": "jct.dev", "version": "v1", "kind": "Task"},
            "resource": {"group": "jct.dev", "version": "v1", "resource": "tasks"},
            "userInfo": {"username": "ada", "groups": ["g"], "extra": {"k": ["v"]}},
            "object": object, "oldObject": old, "options": {"kind": "CreateOptions"},
        },
    })
    .to_string()
}

fn many() -> Value {
    json!({ "list": vec![0; MAX_NODES] })
}

fn deep(levels: usize) -> Value {
    (0..levels).fold(json!(0), |inner, _| json!([inner]))
}

#[test]
fn what_is_looked_at_is_read_and_nothing_else() {
    let read = read(review("CREATE", &object(json!({"a": 1})), &Value::Null).as_bytes()).unwrap();
    let request = read.request;
    assert_eq!((request.uid.as_str(), request.name.as_str(), request.dry_run), ("r", "t", false));
    assert_eq!(request.user_info.groups, Some(vec!["g".into()]));
    let object = request.object.unwrap();
    assert_eq!(object.data, json!({"spec": self::object(json!({"a": 1}))["spec"]}));
    assert_eq!(object.metadata.finalizers, Some(vec![FINALIZER.into()]));
    assert_eq!(object.metadata.annotations.unwrap()["a"], "b");
    assert!(object.metadata.managed_fields.is_none() && request.old_object.is_none());
}

#[rstest]
#[case::many(many(), "must have at most 50000 values and names")]
#[case::deep(deep(125), "must not be nested deeper than 120")]
fn a_new_object_that_is_too_much_is_refused_as_any_other(#[case] inputs: Value, #[case] message: &str) {
    let read = read(review("CREATE", &object(inputs), &Value::Null).as_bytes()).unwrap();
    let [finding] = read.findings.as_slice() else { panic!("{:?}", read.findings) };
    assert_eq!((finding.code, finding.field.as_str()), (Code::InvalidSpec, "spec"));
    assert!(finding.message.contains(message), "{}", finding.message);
    assert!(read.request.object.unwrap().data.get("spec").is_none());
}

#[rstest]
#[case::many(many())]
#[case::deep(deep(1000))]
fn one_that_is_stored_can_be_cancelled_and_labelled_but_not_changed(#[case] inputs: Value) {
    let old = object(inputs.clone());
    let answer = |change: Value| {
        let mut new = old.clone();
        json_patch::merge(&mut new, &change);
        let read = read(review("UPDATE", &new, &old).as_bytes()).unwrap();
        assert!(read.findings.is_empty());
        reviewer().review(Endpoint::Mutate, Caller::Anonymous, &read.request, [1; 16], now()).findings
    };
    assert!(answer(json!({"metadata": {"labels": {"a": "b"}, "finalizers": []}})).is_empty());
    assert!(answer(json!({"spec": {"cancel": true}})).is_empty());
    for (change, field) in [
        (json!({"spec": {"inputs": {"more": 1}}}), "spec.inputs"),
        (json!({"spec": {"objective": "Something else"}}), "spec.objective"),
    ] {
        let findings = answer(change);
        assert_eq!(findings.iter().map(|finding| finding.field.as_str()).collect::<Vec<_>>(), [field]);
    }
}

#[test]
fn a_spec_of_nothing_but_fields_is_told_apart_as_a_whole() {
    let fields =
        |value: i32| json!((0..60_000).map(|n| (format!("f{n}"), json!(value))).collect::<serde_json::Map<_, _>>());
    let of = |spec: Value| {
        let mut object = object(json!({}));
        object["spec"] = spec;
        object
    };
    let findings = |new: Value, old: Value| {
        let read = read(review("UPDATE", &of(new), &of(old)).as_bytes()).unwrap();
        let (new, old) = (read.request.object.unwrap(), read.request.old_object.unwrap());
        assert!(new.data["spec"].is_string() && old.data["spec"].is_string());
        assert!(super::read::is_digested(&new), "what is sealed of it is told apart");
        new.data != old.data
    };
    assert!(!findings(fields(1), fields(1)));
    assert!(findings(fields(1), fields(2)));
}

#[rstest]
#[case("", "EOF")]
#[case("{}", "no request")]
#[case("[]", "")]
#[case("\u{0}", "")]
#[case(r#"{"request": null}"#, "no request")]
#[case(r#"{"request": {"uid": 1}}"#, "expected a string")]
#[case(r#"{"request": {"uid": "r"}}"#, "kind")]
fn what_is_no_review_is_told(#[case] body: &str, #[case] message: &str) {
    let error = read(body.as_bytes()).unwrap_err();
    assert!(error.contains(message), "{error}");
}

#[test]
fn a_user_and_metadata_have_bounds_too() {
    let review = |change: Value| {
        let mut review: Value = serde_json::from_str(&review("CREATE", &object(json!({})), &Value::Null)).unwrap();
        json_patch::merge(&mut review, &json!({ "request": change }));
        read(review.to_string().as_bytes())
    };
    let error = review(json!({"userInfo": {"groups": vec![""; 30_000]}})).unwrap_err();
    assert!(error.contains("userInfo"), "{error}");
    let annotations: serde_json::Map<_, _> = (0..30_000).map(|n| (n.to_string(), json!(""))).collect();
    let error = review(json!({"object": {"metadata": {"annotations": annotations}}})).unwrap_err();
    assert!(error.contains("metadata"), "{error}");
    let managed = json!([{"manager": "m", "fieldsV1": many()}]);
    assert!(review(json!({"object": {"metadata": {"managedFields": managed}}})).is_ok(), "it is not looked at");
}
