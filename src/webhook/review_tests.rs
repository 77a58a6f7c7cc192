use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use rstest::rstest;
use serde::Deserialize as _;
use serde_json::{Value, json};

use jiff::Timestamp;
use kube::api::ObjectMeta;

use super::Caller;
use super::review::{Endpoint, Reviewer};
use crate::crd::Trust;
use crate::crd::names::{CANCELLED_BY, CHANGED_BY, FINALIZER, RUN, STAMP, SUBMITTED_BY, TRACE_ID, reserved};
use crate::crd::stamps::{Annotations, Issuer, Seal, Sealed, Stamps, cancellation};
use crate::crd::trust::Believed;
use crate::domain::applied::LAST_APPLIED;
use crate::domain::cwom::Kind;
use crate::domain::{Principal, SpecDigests, StampKey, StampKeys, TraceId, submitted_digest};
use crate::policy::Policy;

mod changes;
mod sessions;
mod stamps;
mod warnings;
mod work_objects;

const A_RUN: &str = "01KJMMA2G027CE4HT1RZKZBW4A";
pub const OPERATOR: &str = "system:serviceaccount:jct-system:jct";

pub fn reviewer() -> Reviewer {
    Reviewer {
        executors: tokio::sync::watch::Sender::new(std::sync::Arc::default()).subscribe(),
        models: tokio::sync::watch::Sender::new(std::sync::Arc::default()).subscribe(),
        forges: tokio::sync::watch::Sender::new(std::sync::Arc::default()).subscribe(),
        policy: Policy::default().allowing("octo/"),
        trust: tokio::sync::watch::Sender::new(std::sync::Arc::new(trust())).subscribe(),
        trusted_user: OPERATOR.into(),
        deletions: crate::shared::Deletions::default(),
        clock: crate::shared::Clock::default(),
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

fn review(endpoint: Endpoint, request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
    reviewer().review(endpoint, Caller::Anonymous, request, [1; 16], now()).response
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
    patched(object, &review(Endpoint::Mutate, &request("CREATE", user, object, None)))
}
