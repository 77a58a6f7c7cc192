//! A work object as the controller's cache holds it: what decides whether a pass has to look closer, and no spec.
//!
//! What an author writes can have hundreds of kilobytes, and many times that as parsed JSON; the cache holds every object
//! of the cluster. So the spec becomes its digest while it is read, and who needs it reads the object itself. JSON that is
//! not needed is not parsed either: however deep it nests, it can't stall the watch of its kind.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::crd::cwom::WorkObjectStatus;
use crate::crd::{in_short, trimmed};
use crate::domain::id::sha256_hex;

/// A status that says more is not ours.
const MAX_STATUS_BYTES: usize = 1 << 20;

/// A work object without its spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkObject {
    /// What is ours of its metadata, and what every object has.
    pub metadata: ObjectMeta,
    /// The digest of the spec, as the API server writes it.
    pub spec_sha256: String,
    /// The length of that text, in bytes.
    pub spec_bytes: usize,
    /// In short: see [`WorkObjectStatus::in_short`].
    pub status: Option<WorkObjectStatus>,
}

/// A work object as it was read for its spec.
#[derive(Clone, Debug)]
pub struct FullObject {
    /// What the cache would hold of it, and the groups of its users.
    pub view: WorkObject,
    /// The spec, as the API server writes it.
    pub spec: Box<RawValue>,
}

impl<'de> Deserialize<'de> for WorkObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The spec goes here, before the next object is read.
        let view = FullObject::deserialize(deserializer)?.view;
        Ok(Self { metadata: in_short(view.metadata), ..view })
    }
}

impl<'de> Deserialize<'de> for FullObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            metadata: ObjectMeta,
            #[serde(default)]
            spec: Box<RawValue>,
            status: Option<Box<RawValue>>,
        }
        let Wire { metadata, spec, status } = Wire::deserialize(deserializer)?;
        let status = status.filter(|status| status.get().len() <= MAX_STATUS_BYTES);
        let status = status.and_then(|status| serde_json::from_str::<WorkObjectStatus>(status.get()).ok());
        let view = WorkObject {
            metadata: trimmed(metadata),
            spec_sha256: sha256_hex(spec.get().as_bytes()),
            spec_bytes: spec.get().len(),
            status: status.map(WorkObjectStatus::in_short),
        };
        Ok(Self { view, spec })
    }
}

impl Resource for WorkObject {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use kube::api::{ObjectList, WatchEvent};
    use serde_json::{Value, json};

    use super::*;

    fn text(spec: &str) -> String {
        format!(
            r#"{{"apiVersion":"jct.dev/v1","kind":"Issue","metadata":{{"name":"a","namespace":"n","uid":"u","generation":2}},"spec":{spec}}}"#
        )
    }

    #[test]
    fn of_the_spec_there_is_its_digest() {
        let spec = format!(r#"{{"meta":{{"x":[{}0]}}}}"#, "0,".repeat(100_000));
        let object: WorkObject = serde_json::from_str(&text(&spec)).unwrap();
        assert_eq!((object.spec_sha256, object.spec_bytes), (sha256_hex(spec.as_bytes()), spec.len()));
        assert_eq!(object.metadata.generation, Some(2));
        let without: WorkObject = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
        assert_eq!((without.spec_sha256, without.spec_bytes), (sha256_hex(b"null"), 4));
    }

    #[test]
    fn the_cache_has_of_groups_their_digest_and_who_reads_the_object_has_them() {
        let groups = serde_json::to_string(&vec!["group"; 1000]).unwrap();
        let object =
            json!({"metadata": {"name": "a", "annotations": {"jct.dev/submitted-by-groups": groups}}, "spec": {}});
        let kept =
            |metadata: &ObjectMeta| metadata.annotations.as_ref().unwrap()["jct.dev/submitted-by-groups"].clone();
        let cached: WorkObject = serde_json::from_str(&object.to_string()).unwrap();
        assert_eq!(kept(&cached.metadata), format!("sha256:{}", sha256_hex(groups.as_bytes())));
        let whole: FullObject = serde_json::from_str(&object.to_string()).unwrap();
        assert_eq!(kept(&whole.view.metadata), groups);
    }

    #[test]
    fn neither_depth_nor_an_odd_status_stalls_a_list_or_a_watch() {
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        assert!(serde_json::from_str::<Value>(&deep).is_err(), "the control: as JSON it is not read");
        let item = text(&format!(r#"{{"meta":{{"x":{deep}}}}},"status":{{"id":7,"x":{deep}}}"#));
        let list =
            format!(r#"{{"kind":"IssueList","apiVersion":"jct.dev/v1","metadata":{{}},"items":[{item},{item}]}}"#);
        let list: ObjectList<WorkObject> = serde_json::from_str(&list).unwrap();
        assert_eq!(list.items.len(), 2);
        assert_eq!(list.items[0].status, None);
        let event: WatchEvent<WorkObject> =
            serde_json::from_str(&format!(r#"{{"type":"ADDED","object":{item}}}"#)).unwrap();
        let WatchEvent::Added(object) = event else { panic!("{event:?}") };
        assert_eq!(object.metadata.name.as_deref(), Some("a"));
    }

    #[test]
    fn a_status_that_names_many_objects_takes_no_room() {
        let reference = |n: usize| json!({"field": format!("constraints[{n}]"), "kind": "Repo", "name": "n".repeat(253), "id": "i"});
        let refs = |most: usize| json!({"id": "x", "refs": (0..most).map(reference).collect::<Vec<_>>()});
        let read = |status: Value| {
            let object: WorkObject = serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap();
            object.status.unwrap()
        };
        let (all, fewer) = (read(refs(600)), read(refs(599)));
        assert!(serde_json::to_string(&all).unwrap().len() < 200);
        assert_ne!(all, fewer, "what changed still shows");
        let whole: WorkObjectStatus = serde_json::from_value(refs(600)).unwrap();
        assert_eq!(whole.in_short(), all);
    }
}
