//! The custom resources of `jct.dev/v1`: thin shells whose fields and limits are those of [`crate::domain`].

pub mod names;
pub mod status;
pub mod task;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

pub use status::TaskStatus;
pub use task::{Task, TaskSpec};

/// Every custom resource definition, as `jct crds` prints them.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![Task::crd()]
}
