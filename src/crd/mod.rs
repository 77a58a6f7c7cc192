//! The custom resources of `jct.dev/v1`: thin shells whose fields and limits are those of [`crate::domain`].

pub mod cwom;
pub mod names;
pub mod review;
pub mod session;
pub mod stamps;
pub mod status;
pub mod task;
mod task_view;
pub mod trust;

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;
use serde_json::Value;

use crate::domain::cwom::Kind;
use crate::domain::{Code, Finding, Id};

pub use review::Review;
pub use session::Session;
pub use stamps::Stamps;
pub use status::TaskStatus;
pub use task::{Task, TaskSpec};
pub use task_view::{SpecView, TaskView, WholeTask, in_short, spec_of, trimmed};
pub use trust::Trust;

/// Every custom resource definition that is installed, as `jct crds` prints them.
pub fn all() -> Vec<CustomResourceDefinition> {
    let of_objects = Kind::ALL.iter().map(|kind| cwom::definition(*kind));
    [task()].into_iter().chain(of_objects).chain([Session::crd(), Review::crd()]).collect()
}

/// That of Tasks. A status that nobody has written yet says so: tools that hold it against the generation of the object, such as
/// kstatus, would take a new Task for one that is done.
fn task() -> CustomResourceDefinition {
    let mut definition = Task::crd();
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let status = schema.and_then(|schema| schema.properties.as_mut()?.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
        }
    }
    definition
}

/// The fields of `status` that the definition of this kind doesn't have, by their paths: the API server refuses the object for
/// them, though it takes no status over.
pub fn unknown_status_fields(kind: &str, status: &Value) -> Vec<String> {
    let definition = all().into_iter().find(|definition| definition.spec.names.kind == kind);
    let schema =
        definition.and_then(|definition| definition.spec.versions.into_iter().next()?.schema?.open_api_v3_schema);
    let schema = schema.and_then(|mut schema| schema.properties.as_mut()?.remove("status"));
    let mut found = Vec::new();
    if let Some(schema) = &schema {
        unknown(schema, status, "status", &mut found);
    }
    found
}

fn unknown(schema: &JSONSchemaProps, value: &Value, path: &str, found: &mut Vec<String>) {
    if schema.x_kubernetes_preserve_unknown_fields == Some(true) {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                let of_field = schema.properties.as_ref().and_then(|properties| properties.get(name));
                match (of_field, &schema.additional_properties) {
                    (Some(schema), _) => unknown(schema, value, &path, found),
                    (None, Some(JSONSchemaPropsOrBool::Schema(schema))) => unknown(schema, value, &path, found),
                    (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
                    (None, _) => found.push(path),
                }
            }
        }
        Value::Array(entries) => {
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                let entries = entries.iter().enumerate();
                entries.for_each(|(index, entry)| unknown(schema, entry, &format!("{path}[{index}]"), found));
            }
        }
        _ => {}
    }
}

/// The id that `jct.dev/id` pins, if it does.
///
/// # Errors
/// A finding if the annotation holds no id.
pub fn pinned_id(annotations: Option<&BTreeMap<String, String>>) -> Result<Option<Id>, Finding> {
    let Some(text) = annotations.and_then(|annotations| annotations.get(names::ID)) else { return Ok(None) };
    text.parse().map(Some).map_err(|problem| {
        Finding::new(Code::InvalidSpec, format!("metadata.annotations[{}]", names::ID), format!("is {problem}"))
    })
}
