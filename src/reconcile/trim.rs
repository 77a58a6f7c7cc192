//! What of an object's metadata the controllers read. A cache holds every object, and metadata can have megabytes: whoever
//! may write an object may put them there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::crd::names::{FINALIZER, ID, RESERVED};
use crate::domain::cwom::Kind;

/// An annotation of ours is no longer than this: it holds an id, a user's name, a seal.
const MAX_ANNOTATION_BYTES: usize = 4096;

/// Takes off what no pass over a Task or a work object reads. What stays: names, uid, versions and times; our annotations;
/// our finalizer; the Run that owns a Task.
pub fn metadata(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.labels = None;
    metadata.generate_name = None;
    metadata.self_link = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, value| (name == ID || RESERVED.contains(&name.as_str())) && fits(value));
    }
    metadata.annotations.take_if(|annotations| annotations.is_empty());
    if let Some(finalizers) = &mut metadata.finalizers {
        finalizers.retain(|name| name == FINALIZER);
        finalizers.shrink_to_fit();
    }
    metadata.finalizers.take_if(|finalizers| finalizers.is_empty());
    if let Some(owners) = &mut metadata.owner_references {
        owners.retain(|owner| owner.kind == Kind::Run.as_str() && fits(&owner.name) && fits(&owner.api_version));
        owners.truncate(1);
        owners.shrink_to_fit();
    }
    metadata.owner_references.take_if(|owners| owners.is_empty());
}

fn fits(text: &str) -> bool {
    text.len() <= MAX_ANNOTATION_BYTES
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_read_stays_and_nothing_else() {
        let kept = json!({
            "name": "a", "namespace": "n", "uid": "u", "generation": 3, "resourceVersion": "7",
            "creationTimestamp": "2026-03-01T12:00:00Z", "deletionTimestamp": "2026-03-01T12:00:00Z",
            "annotations": {"jct.dev/id": "x", "jct.dev/stamp": "y"}, "finalizers": [FINALIZER],
            "ownerReferences": [{"apiVersion": "jct.dev/v1", "kind": "Run", "name": "r", "uid": "u"}],
        });
        let mut given = kept.clone();
        json_patch::merge(
            &mut given,
            &json!({
                "labels": {"a": "b"}, "managedFields": [{}], "generateName": "a-", "selfLink": "/a",
                "annotations": {"jct.dev/trace-id": "x".repeat(5000), "jct.dev/other": "y", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
                "finalizers": ["other/one", FINALIZER],
            }),
        );
        given["ownerReferences"].as_array_mut().unwrap().insert(
            0,
            json!(
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "v"}),
        );
        let mut trimmed: ObjectMeta = serde_json::from_value(given).unwrap();
        metadata(&mut trimmed);
        assert_eq!(serde_json::to_value(&trimmed).unwrap(), kept);
        let mut bare: ObjectMeta =
            serde_json::from_value(json!({"annotations": {"a": "b"}, "finalizers": ["x"]})).unwrap();
        metadata(&mut bare);
        assert_eq!(bare, ObjectMeta::default());
    }
}
