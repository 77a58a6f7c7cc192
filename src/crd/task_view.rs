//! Tasks as the controller watches them: what passes need of a spec, and not the spec.
//!
//! Thousands of Tasks are kept in memory, each of which may have hundreds of kilobytes of `inputs`: of a spec there remain its
//! digests and controls. Any object of the kind can be read as one of these, however little its spec fits, or one odd object
//! would stall all others.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::names::{CHANGES, CLIENT, FINALIZER, ID, is_of_rights, reserved};
use super::{Task, TaskStatus};
use crate::domain::principal::digested;
use crate::domain::task::{Controls, Naming, read};
use crate::domain::{FailureReason, spec_digest, submitted_digest, task_digest};

/// How long an annotation of ours may be and still be kept, in bytes: the lists of changes and of groups, and all others.
const MAX_LIST_BYTES: usize = 32 * 1024;
const MAX_ANNOTATION_BYTES: usize = 4 * 1024;

/// How long a spec may be and still be kept while its Task is at hand, in bytes: it spares recording it a read.
const MAX_SPEC_BYTES: usize = 4 * 1024;

/// A Task without its spec.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// What is ours of its metadata, and what every object has.
    pub metadata: ObjectMeta,
    /// What is kept of its spec.
    pub spec: SpecView,
    /// Its status; as far as its end and its attempt go, where the rest does not fit.
    pub status: Option<TaskStatus>,
}

/// What is kept of a spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecView {
    /// Its digest, as it was written; empty where there is none that can be read.
    pub sha256: String,
    /// The digest of what it commits its submitter to: [`submitted_digest`]; empty where there is none that can be read.
    pub submitted_sha256: String,
    /// Its digest, as it is understood: [`task_digest`]. None if it does not fit the schema.
    pub task_sha256: Option<String>,
    /// How the Task is to be handled.
    pub controls: Controls,
    pub idempotency_key: Option<String>,
    /// How long it is, in bytes.
    pub bytes: usize,
    /// All of it, as JSON, if it is short and the Task has no status yet, for then it is not recorded.
    pub text: Option<Arc<str>>,
}

/// A Task with its whole spec, to be read when it is recorded.
#[derive(Debug, Deserialize)]
pub struct WholeTask {
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Its spec, as JSON text.
    #[serde(default)]
    spec: Option<Box<RawValue>>,
}

impl WholeTask {
    /// The spec; in a sentence why not, if it cannot be read.
    ///
    /// # Errors
    /// If it is not there or nested too deep.
    pub fn spec(&self) -> Result<Value, String> {
        let spec = self.spec.as_deref().ok_or_else(|| "is not there".to_owned())?;
        spec_of(spec.get())
    }
}

/// The spec that is written so; in a sentence why not, if it cannot be read.
///
/// # Errors
/// If it is nested too deep.
pub fn spec_of(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

impl TaskView {
    /// Whether its status shows more than the record knows.
    pub fn is_lost(&self) -> bool {
        let reason = self.status.as_ref().and_then(|status| status.reason.as_deref());
        reason == Some(FailureReason::RecordLost.as_str())
    }

    /// Whether an administrator has decided what becomes of it, though its record was lost.
    pub fn is_decided(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.decision.is_some())
    }
}

impl SpecView {
    /// What is kept of `spec`.
    pub fn of(spec: &Value) -> Self {
        let (draft, findings) = read(spec, Naming::CustomResource);
        let controls = draft.controls.clone();
        let task = draft.into_task().filter(|_| findings.is_empty());
        let digest = |task: &crate::domain::Task| {
            task_digest(task, controls.asks(), controls.max_attempts, controls.create_cwom)
        };
        let key = spec.get("idempotencyKey").and_then(Value::as_str).filter(|key| key.chars().count() <= 256);
        Self {
            sha256: spec_digest(spec),
            submitted_sha256: submitted_digest("Task", spec),
            task_sha256: task.as_ref().map(digest),
            idempotency_key: key.map(str::to_owned),
            controls,
            bytes: 0,
            text: None,
        }
    }
}

impl<'de> Deserialize<'de> for TaskView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(default)]
            metadata: ObjectMeta,
            #[serde(default)]
            spec: Option<Box<RawValue>>,
            #[serde(default)]
            status: Option<Box<RawValue>>,
        }

        let Wire { metadata, spec, status } = Wire::deserialize(deserializer)?;
        let text = spec.as_deref().map(RawValue::get);
        let parsed = text.and_then(|text| spec_of(text).ok());
        Ok(Self {
            metadata: in_short(trimmed(metadata)),
            spec: SpecView {
                bytes: text.map_or(0, str::len),
                text: text.filter(|text| status.is_none() && text.len() <= MAX_SPEC_BYTES).map(Arc::from),
                ..parsed.as_ref().map(SpecView::of).unwrap_or_default()
            },
            status: status.and_then(|status| status_of(status.get())),
        })
    }
}

/// A status that does not fit still says that the Task has ended, and how far it was.
fn status_of(text: &str) -> Option<TaskStatus> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct PartialStatus {
        #[serde(default)]
        phase: Value,
        #[serde(default)]
        attempt: Value,
    }

    if let Ok(status) = serde_json::from_str(text) {
        return status;
    }
    let PartialStatus { phase, attempt } = serde_json::from_str(text).ok()?;
    Some(TaskStatus { phase: phase.as_str().map(str::to_owned), attempt: attempt.as_i64(), ..TaskStatus::default() })
}

/// What is ours, and what every object has. Anybody who may write the object may put much into the rest.
pub fn trimmed(metadata: ObjectMeta) -> ObjectMeta {
    let ours = |name: &String| name == ID || name == CLIENT || reserved().any(|reserved| reserved == name);
    let annotations = metadata.annotations.map(|annotations| {
        annotations
            .into_iter()
            .filter(|(name, value)| ours(name) && value.len() <= most(name))
            .map(|(name, value)| if name == ID { (name, short(value)) } else { (name, value) })
            .collect()
    });
    ObjectMeta {
        annotations,
        finalizers: metadata.finalizers.map(|names| names.into_iter().filter(|name| name == FINALIZER).collect()),
        owner_references: metadata
            .owner_references
            .map(|owners| owners.into_iter().filter(|owner| owner.kind == "Run").take(1).collect()),
        name: metadata.name,
        generate_name: metadata.generate_name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        generation: metadata.generation,
        creation_timestamp: metadata.creation_timestamp,
        deletion_timestamp: metadata.deletion_timestamp,
        ..ObjectMeta::default()
    }
}

fn most(name: &str) -> usize {
    if name == CHANGES || is_of_rights(name) { MAX_LIST_BYTES } else { MAX_ANNOTATION_BYTES }
}

/// For a cache: of the groups of users and the like the digest, which is what their seals are on. Who has to know what somebody
/// may do reads the object.
pub fn in_short(mut metadata: ObjectMeta) -> ObjectMeta {
    for (name, text) in metadata.annotations.iter_mut().flatten() {
        if is_of_rights(name) {
            *text = digested(text);
            text.shrink_to_fit();
        }
    }
    metadata
}

/// Of an id that is none, whatever its length.
fn short(id: String) -> String {
    if id.len() <= 64 { id } else { id.chars().take(64).collect() }
}

impl Resource for TaskView {
    type DynamicType = ();
    type Scope = k8s_openapi::NamespaceResourceScope;

    fn kind(type_: &()) -> Cow<'_, str> {
        Task::kind(type_)
    }

    fn group(type_: &()) -> Cow<'_, str> {
        Task::group(type_)
    }

    fn version(type_: &()) -> Cow<'_, str> {
        Task::version(type_)
    }

    fn plural(type_: &()) -> Cow<'_, str> {
        Task::plural(type_)
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
    use serde_json::json;

    use super::*;
    use crate::crd::names::{SUBMITTED_BY, TRACE_ID};

    fn view(object: &Value) -> TaskView {
        serde_json::from_str(&object.to_string()).unwrap()
    }

    fn object() -> Value {
        json!({
            "apiVersion": "jct.dev/v1", "kind": "Task",
            "metadata": {
                "name": "look", "namespace": "team", "uid": "u", "generation": 3, "resourceVersion": "7",
                "creationTimestamp": "2026-03-01T12:00:00Z", "deletionTimestamp": "2026-03-01T12:00:01Z",
                "finalizers": ["a/b", FINALIZER], "labels": {"a": "b"}, "managedFields": [{"manager": "kubectl"}],
                "annotations": {SUBMITTED_BY: "ada", TRACE_ID: "0af7651916cd43dd8448eb211c80319c", "a": "b",
                    "kubectl.kubernetes.io/last-applied-configuration": "{}", "jct.dev/other": "x"},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"},
                    {"apiVersion": "jct.dev/v1", "kind": "Run", "name": "run", "uid": "2"}],
            },
            "spec": {
                "requestedBy": {"kind": "agent", "id": "bot"}, "objective": "Look around", "operation": "ops",
                "target": {"repo": "octo/hello"}, "idempotencyKey": "k", "suspend": true, "ttlSecondsAfterFinished": 5,
                "inputs": {"a": "needle"},
            },
            "status": {"phase": "Completed", "attempt": 2},
        })
    }

    #[test]
    fn what_passes_need_is_kept_and_the_rest_is_not() {
        let object = object();
        let TaskView { metadata, spec, status } = view(&object);
        assert_eq!(metadata.annotations.unwrap().into_keys().collect::<Vec<_>>(), [SUBMITTED_BY, TRACE_ID]);
        assert_eq!(metadata.finalizers.unwrap(), [FINALIZER]);
        assert_eq!(metadata.owner_references.unwrap()[0].name, "run");
        assert_eq!((metadata.labels, metadata.managed_fields), (None, None));
        assert_eq!((metadata.generation, metadata.resource_version.as_deref()), (Some(3), Some("7")));
        assert!(metadata.deletion_timestamp.is_some() && metadata.creation_timestamp.is_some());
        assert_eq!(spec.sha256, spec_digest(&object["spec"]));
        assert!(spec.task_sha256.is_some());
        assert!(spec.controls.suspend && spec.controls.ttl_seconds_after_finished == Some(5));
        assert_eq!(spec.idempotency_key.as_deref(), Some("k"));
        assert_eq!(spec.submitted_sha256, submitted_digest("Task", &object["spec"]));
        assert_ne!(spec.submitted_sha256, spec.sha256, "it is suspended");
        assert_eq!(status.unwrap().attempt, Some(2));
    }

    #[test]
    fn a_large_object_leaves_a_small_view() {
        let mut large = object();
        let long = "x".repeat(250_000);
        large["spec"]["inputs"] = json!({"list": vec![0; 120_000]});
        large["spec"]["idempotencyKey"] = json!(long);
        large["metadata"]["annotations"] = json!({"jct.dev/id": long, "jct.dev/submitted-by": long, "a": long});
        for user in ["submitted", "changed", "cancelled"] {
            for what in ["groups", "extra"] {
                large["metadata"]["annotations"][format!("jct.dev/{user}-by-{what}")] = json!("x".repeat(16 * 1024));
            }
        }
        large["metadata"]["labels"] = json!({"a": long});
        let kept = format!("{:?}", view(&large));
        assert!(kept.len() < 3_000, "{}", kept.len());
        // The same measure sees what is large.
        assert!(format!("{:?}", serde_json::from_value::<Task>(large).unwrap()).len() > 1_000_000);
    }

    /// A spec is taken as text, which works only where nothing between has taken it apart.
    #[test]
    fn lists_and_events_bring_views() {
        let object = object();
        let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [object, object]}).to_string();
        let list: kube::core::ObjectList<TaskView> = serde_json::from_str(&list).unwrap();
        let event: kube::core::WatchEvent<TaskView> =
            serde_json::from_str(&format!(r#"{{"type":"ADDED","object":{object}}}"#)).unwrap();
        let kube::core::WatchEvent::Added(added) = event else { panic!() };
        for view in list.items.iter().chain([&added]) {
            assert_eq!(view.spec.sha256, spec_digest(&object["spec"]));
        }
    }

    #[test]
    fn every_object_can_be_read() {
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        let odd = [
            ("spec", "null".to_owned()),
            ("spec", "7".into()),
            ("spec", r#"{"objective":7,"target":[]}"#.into()),
            ("spec", deep.clone()),
            ("status", r#"{"phase":"Completed","attempt":2,"startedAt":"yesterday","conditions":{}}"#.into()),
            ("status", deep),
            ("status", "[]".into()),
        ];
        for (field, text) in odd {
            let mut object = object();
            object[field] = json!("PLACE");
            let view: TaskView = serde_json::from_str(&object.to_string().replace("\"PLACE\"", &text)).unwrap();
            if field == "spec" {
                assert_eq!(view.spec.task_sha256, None, "{text:.40}");
            } else if text.contains("Completed") {
                let status = view.status.unwrap();
                assert_eq!((status.phase.as_deref(), status.attempt), (Some("Completed"), Some(2)));
            }
        }
        let bare = json!({"apiVersion": "jct.dev/v1", "kind": "Task", "metadata": {"name": "look"}});
        assert_eq!(view(&bare).spec, SpecView::default());
    }
}
