//! The Task specification 1.0 (contract section 1).
//!
//! [`read()`] is the one function that turns what somebody wrote, at either door, into a [`Draft`]; a policy gate that
//! finds nothing wrong turns the draft into a [`Task`]. Only a [`Task`] is recorded and run.

mod fields;
mod forms;
mod git_ref;
mod read;
mod repo;

#[cfg(test)]
mod read_tests;

use serde_json::{Map, Value, json};

pub use super::Naming;
use crate::choices;
use crate::table::Field;
pub use fields::{Asks, Constraints, Controls, RequestedBy, SHAPES, Target, Task, TaskDelivery, TaskModel};
pub use git_ref::problem as git_ref_problem;
pub use read::read;
pub use repo::{InvalidRepo, Repo};

/// The one version of the specification.
pub const VERSION: &str = "1.0";
/// The least time budget, in seconds.
pub const MIN_TIME_BUDGET_SECONDS: u32 = 30;
/// The greatest time budget, in seconds.
pub const MAX_TIME_BUDGET_SECONDS: u32 = 86_400;
/// The time budget of a Task that names none, in seconds.
pub const DEFAULT_TIME_BUDGET_SECONDS: u32 = 900;
/// The greatest size of `inputs`, in bytes of compact JSON.
pub const MAX_INPUTS_BYTES: usize = 256 * 1024;
/// The greatest size of `metadata`, in bytes of compact JSON.
pub const MAX_METADATA_BYTES: usize = 64 * 1024;
/// The greatest number of attempts.
pub const MAX_ATTEMPTS: u32 = 10;
/// The greatest length of a ref, in characters.
pub const MAX_REF_CHARS: usize = 256;

choices! {
    /// The four kinds of work.
    pub enum Operation {
        /// Change code.
        CodeChange = "code_change",
        /// Write documentation.
        Docs = "docs",
        /// Read and report; change nothing.
        Analysis = "analysis",
        /// Operational work.
        Ops = "ops",
    }
}

/// What [`read()`] understood: typed where the schema is strict, loose where the policy decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// `operation` as written; `None` when missing or of the wrong type.
    pub operation: Option<String>,
    /// The normalized repository; `None` when missing or malformed.
    pub repo: Option<Repo>,
    /// The time budget in seconds, clamped to what fits.
    pub time_budget_seconds: i64,
    /// `constraints.allow_network`.
    pub allow_network: bool,
    /// `constraints.allow_secrets`.
    pub allow_secrets: bool,
    /// See [`Controls`].
    pub controls: Controls,
    /// The fields of a Task, in snake_case; null where one is missing or wrong that must be there.
    fields: Map<String, Value>,
}

impl Draft {
    /// The Task of this draft; `None` if the schema or a V1 policy is violated.
    ///
    /// Callers have evaluated the policy and know of no finding; the checks here make a mistake in that harmless.
    pub fn into_task(self) -> Option<Task> {
        let mut fields = self.fields;
        // These may be large: moved as they are, and not read again.
        let mut free_form = |name: &str| match fields.insert(name.to_owned(), json!({})) {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        let (inputs, metadata) = (free_form("inputs"), free_form("metadata"));
        let task: Task = serde_json::from_value(Value::Object(fields)).ok()?;
        let task = Task { inputs, metadata, ..task };
        let Constraints { time_budget_seconds, allow_network, allow_secrets } = task.constraints;
        let within = (MIN_TIME_BUDGET_SECONDS..=MAX_TIME_BUDGET_SECONDS).contains(&time_budget_seconds);
        (within && !allow_network && !allow_secrets).then_some(task)
    }
}

/// The fields of the custom resource that [`read()`] reads as `task` with these `controls`. What is as if it were missing is left
/// out, save that of a Task texts, numbers and truth values are written down whatever they are by default.
pub fn resource(task: &Task, controls: &Controls) -> Map<String, Value> {
    let fields = |record: Value| match record {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let naming = Naming::CustomResource;
    let empty = |_: &Field, value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    let usual = |field: &Field, value: &Value| field.default().as_ref() == Some(value);
    let mut spec = Task::SHAPE.written(fields(json!(task)), naming, &empty);
    spec.append(&mut Controls::SHAPE.written(fields(json!(controls)), naming, &usual));
    spec
}

/// Whether the field with this name, as custom resources have it, may change once a Task is created.
pub fn may_change(name: &str) -> bool {
    let fields = Controls::SHAPE.fields.iter();
    fields.filter(|field| field.may_change).any(|field| Naming::CustomResource.name(field.name) == name)
}
