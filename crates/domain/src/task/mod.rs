//! The Task specification 1.0 (contract section 1).
//!
//! [`read()`] is the one function that turns what somebody wrote, at either door, into a [`Draft`]; a policy gate that
//! finds nothing wrong turns the draft into a [`Task`]. Only a [`Task`] is recorded and run.

mod git_ref;
mod read;
mod repo;

#[cfg(test)]
mod read_tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ActorKind;
pub use super::Naming;
pub use git_ref::problem as git_ref_problem;
pub use read::{is_label, read};
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

/// The four kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Change code.
    CodeChange,
    /// Write documentation.
    Docs,
    /// Read and report; change nothing.
    Analysis,
    /// Operational work.
    Ops,
}

impl Operation {
    /// Every operation, in the contract's order.
    pub const ALL: [Self; 4] = [Self::CodeChange, Self::Docs, Self::Analysis, Self::Ops];

    /// The name in manifests, REST bodies and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CodeChange => "code_change",
            Self::Docs => "docs",
            Self::Analysis => "analysis",
            Self::Ops => "ops",
        }
    }

    /// The operation with this name, if it is one of the four.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == name)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who asks for the work, by their own account. Who really asked is the authenticated user beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedBy {
    /// What kind of actor.
    pub kind: ActorKind,
    /// 1 to 128 characters.
    pub id: String,
    /// A name for people, 1 to 256 characters.
    pub label: Option<String>,
}

/// What the work is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `owner/name`, normalized.
    pub repo: Repo,
    /// Branch, tag or commit.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// Path inside the repository; empty for all of it.
    pub path: String,
}

/// What the work may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraints {
    /// How long the executor may run, in seconds.
    pub time_budget_seconds: u32,
    /// Whether the executor may use the network. Always false in V1.
    pub allow_network: bool,
    /// Whether the executor may use secrets. Always false in V1.
    pub allow_secrets: bool,
}

/// A normalized Task that passed the gate: what is recorded, and what the worker reads as `task.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The version of the specification, [`VERSION`].
    pub version: String,
    /// Same key, same Task.
    pub idempotency_key: Option<String>,
    /// Who asks, by their own account.
    pub requested_by: RequestedBy,
    /// What is to be done, 5 to 4000 characters.
    pub objective: String,
    /// Which kind of work.
    pub operation: Operation,
    /// What it is about.
    pub target: Target,
    /// What it may use.
    pub constraints: Constraints,
    /// Free-form parameters of the executor.
    pub inputs: Map<String, Value>,
    /// Free-form notes of the requester.
    pub metadata: Map<String, Value>,
    /// When the work counts as done.
    pub acceptance_criteria: Vec<String>,
    /// What must be shown for it.
    pub evidence_requirements: Vec<String>,
}

/// The fields that say how a Task is handled, not what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controls {
    /// Hold the Task back: no further attempt starts.
    pub suspend: bool,
    /// End the Task.
    pub cancel: bool,
    /// Make the CWOM objects that tell the Task's causality.
    pub create_cwom: bool,
    /// The executor to use; by operation when absent.
    pub executor: Option<String>,
    /// How often the work is tried, 1 to 10.
    pub max_attempts: u32,
    /// Delete the custom resource this long after its end, in seconds; never when absent. The record stays.
    pub ttl_seconds_after_finished: Option<u32>,
}

impl Default for Controls {
    fn default() -> Self {
        Self {
            suspend: false,
            cancel: false,
            create_cwom: true,
            executor: None,
            max_attempts: 1,
            ttl_seconds_after_finished: None,
        }
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
    rest: Rest,
}

/// What no policy looks at.
#[derive(Clone, Debug, PartialEq)]
struct Rest {
    idempotency_key: Option<String>,
    requested_by: Option<RequestedBy>,
    objective: String,
    git_ref: String,
    path: String,
    inputs: Map<String, Value>,
    metadata: Map<String, Value>,
    acceptance_criteria: Vec<String>,
    evidence_requirements: Vec<String>,
}

impl Draft {
    /// The Task of this draft; `None` if the schema or a V1 policy is violated.
    ///
    /// Callers have evaluated the policy and know of no finding; the checks here make a mistake in that harmless.
    pub fn into_task(self) -> Option<Task> {
        let Rest {
            idempotency_key,
            requested_by,
            objective,
            git_ref,
            path,
            inputs,
            metadata,
            acceptance_criteria,
            evidence_requirements,
        } = self.rest;
        let time_budget_seconds = u32::try_from(self.time_budget_seconds).ok()?;
        let within = (MIN_TIME_BUDGET_SECONDS..=MAX_TIME_BUDGET_SECONDS).contains(&time_budget_seconds);
        if !within || self.allow_network || self.allow_secrets {
            return None;
        }
        Some(Task {
            version: VERSION.into(),
            idempotency_key,
            requested_by: requested_by?,
            objective,
            operation: Operation::parse(self.operation.as_deref()?)?,
            target: Target { repo: self.repo?, git_ref, path },
            constraints: Constraints { time_budget_seconds, allow_network: false, allow_secrets: false },
            inputs,
            metadata,
            acceptance_criteria,
            evidence_requirements,
        })
    }
}
