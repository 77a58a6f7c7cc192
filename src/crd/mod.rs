//! The custom resources of `jct.dev/v1`: thin shells whose fields and limits are those of [`crate::domain`].

pub mod cwom;
pub mod names;
pub mod stamps;
pub mod status;
pub mod task;
mod task_of;
mod task_view;
pub mod trust;

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

use crate::domain::cwom::Kind;
use crate::domain::{Code, Finding, Id};

pub use stamps::Stamps;
pub use status::TaskStatus;
pub use task::{Task, TaskSpec};
pub use task_view::{SpecView, TaskView, WholeTask, in_short, trimmed};
pub use trust::Trust;

/// Every custom resource definition that is installed, as `jct crds` prints them.
pub fn all() -> Vec<CustomResourceDefinition> {
    let of_objects = Kind::ALL.iter().map(|kind| cwom::definition(*kind));
    [Task::crd()].into_iter().chain(of_objects).collect()
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
