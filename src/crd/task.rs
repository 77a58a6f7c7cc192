//! The Task custom resource.
//!
//! The schema and its CEL rules repeat what is static of the gate, with the same codes in their messages, for when the
//! webhooks are gone. They accept no less than the gate does: the gate speaks first, and names every finding.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::TaskStatus;

/// A durable, governed unit of work.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "jct.dev",
    version = "v1",
    kind = "Task",
    plural = "tasks",
    shortname = "jtask",
    category = "jct",
    namespaced,
    status = "TaskStatus",
    doc = "A durable, governed unit of work: gated, recorded, run by a worker Job, traced.",
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Operation","type":"string","jsonPath":".status.operation"}"#,
    printcolumn = r#"{"name":"Repo","type":"string","jsonPath":".status.repo"}"#,
    printcolumn = r#"{"name":"Executor","type":"string","jsonPath":".status.executor","priority":1}"#,
    printcolumn = r#"{"name":"Duration","type":"string","jsonPath":".status.duration","priority":1}"#,
    printcolumn = r#"{"name":"Requester","type":"string","jsonPath":".spec.requestedBy.id","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.operation) || has(self.type)")
    .message("INVALID_SPEC: spec.operation: is required"))]
#[x_kube(validation = Rule::new("(has(self.operation) ? self.operation : has(self.type) ? self.type : 'docs') in ['code_change', 'docs', 'analysis', 'ops']")
    .message("INVALID_OPERATION: spec.operation: must be one of code_change, docs, analysis, ops"))]
#[x_kube(validation = Rule::new(unchanged(&["version", "idempotencyKey", "requestedBy", "objective", "operation", "type", "target"]))
    .message(IMMUTABLE))]
#[x_kube(validation = Rule::new(unchanged(&["constraints", "metadata", "acceptanceCriteria", "evidenceRequirements"]))
    .message(IMMUTABLE))]
#[x_kube(validation = Rule::new(unchanged(&["inputs", "payload"])).message(IMMUTABLE))]
#[x_kube(validation = Rule::new(unchanged(&["createCwom", "executor", "maxAttempts", "ttlSecondsAfterFinished"]))
    .message(IMMUTABLE))]
pub struct TaskSpec {
    /// Version of the specification; only "1.0".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == '1.0'").message("INVALID_SPEC: spec.version: must be \"1.0\", the only version there is"))]
    #[schemars(length(max = 16))]
    pub version: Option<String>,

    /// Same key in the same namespace, same Task: a second object with it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub idempotency_key: Option<String>,

    /// Who asks for the work, by their own account. The authenticated user is recorded besides.
    pub requested_by: RequestedBy,

    /// What is to be done: 5 to 4000 characters, leading and trailing blanks not counted.
    #[x_kube(validation = Rule::new("self.trim().size() >= 5 && self.trim().size() <= 4000")
        .message("INVALID_SPEC: spec.objective: must be 5 to 4000 characters, leading and trailing blanks not counted"))]
    #[schemars(length(max = 8000))]
    pub objective: String,

    /// One of code_change, docs, analysis, ops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub operation: Option<String>,

    /// Deprecated alias of operation.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub type_: Option<String>,

    /// What the work is about.
    pub target: Target,

    /// What the work may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Constraints>,

    /// Free-form parameters of the executor, at most 256 KiB of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_form")]
    pub inputs: Option<Map<String, Value>>,

    /// Deprecated alias of inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_form")]
    pub payload: Option<Map<String, Value>>,

    /// Free-form notes of the requester, at most 64 KiB of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_form")]
    pub metadata: Option<Map<String, Value>>,

    /// When the work counts as done: at most 50 of at most 1000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), inner(length(max = 1000)))]
    pub acceptance_criteria: Option<Vec<String>>,

    /// What must be shown for it: at most 50 of at most 1000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), inner(length(max = 1000)))]
    pub evidence_requirements: Option<Vec<String>>,

    /// Hold the Task back: no further attempt starts while this is true. A running attempt goes on. May change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,

    /// End the Task. May change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<bool>,

    /// Make the CWOM objects that tell the Task's causality; true by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_cwom: Option<bool>,

    /// Name of a configured executor; by operation when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub executor: Option<String>,

    /// How often the work is tried, 1 to 10; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: Option<i64>,

    /// Delete this object so many seconds after its end; never when absent. The record stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2147483647))]
    pub ttl_seconds_after_finished: Option<i64>,
}

const IMMUTABLE: &str = "INVALID_SPEC: spec: only suspend and cancel may change; make a new Task instead";

/// A CEL rule that the fields are neither added, removed nor changed.
fn unchanged(fields: &[&str]) -> String {
    let rules: Vec<String> = fields
        .iter()
        .map(|field| {
            format!(
                "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
            )
        })
        .collect();
    rules.join(" && ")
}

/// Who asks for the work, by their own account.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RequestedBy {
    /// human, agent or system.
    #[x_kube(validation = Rule::new("self in ['human', 'agent', 'system']")
        .message("INVALID_SPEC: spec.requestedBy.kind: must be one of human, agent, system"))]
    #[schemars(length(max = 16))]
    pub kind: String,
    /// Identifier, 1 to 128 characters.
    #[schemars(length(min = 1, max = 128))]
    pub id: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub label: Option<String>,
}

/// What the work is about.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.repo) || has(self.repository)")
    .message("INVALID_SPEC: spec.target.repo: is required"))]
#[x_kube(validation = Rule::new("(has(self.repo) ? self.repo : has(self.repository) ? self.repository : 'a/b').trim().matches('^[A-Za-z0-9._][A-Za-z0-9._-]*/[A-Za-z0-9._][A-Za-z0-9._-]*$') && !(has(self.repo) ? self.repo : has(self.repository) ? self.repository : '').contains('..')")
    .message("INVALID_SPEC: spec.target.repo: must be owner/name: without scheme, credentials, '..', '?' or '#'"))]
pub struct Target {
    /// Repository as owner/name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub repo: Option<String>,
    /// Deprecated alias of repo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub repository: Option<String>,
    /// Branch, tag or commit; "main" by default.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!self.startsWith('-') && !self.contains('..')")
        .message("INVALID_SPEC: spec.target.ref: must be a branch, a tag or a commit id"))]
    #[schemars(length(max = 256))]
    pub git_ref: Option<String>,
    /// Path inside the repository; all of it by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.matches('(^|/)\\\\.\\\\.(/|$)')")
        .message("INVALID_SPEC: spec.target.path: must be relative to the repository's root, without '..'"))]
    #[schemars(length(max = 512))]
    pub path: Option<String>,
}

/// What the work may use.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Constraints {
    /// How long the executor may run, 30 to 86400 seconds; 900 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 30").message("TIME_BUDGET_TOO_LOW: spec.constraints.timeBudgetSeconds: must be 30 to 86400 seconds"))]
    #[x_kube(validation = Rule::new("self <= 86400").message("TIME_BUDGET_TOO_HIGH: spec.constraints.timeBudgetSeconds: must be 30 to 86400 seconds"))]
    pub time_budget_seconds: Option<i64>,
    /// Must be false in version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!self").message("NETWORK_ACCESS_DENIED: spec.constraints.allowNetwork: must be false"))]
    pub allow_network: Option<bool>,
    /// Must be false in version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!self").message("SECRETS_ACCESS_DENIED: spec.constraints.allowSecrets: must be false"))]
    pub allow_secrets: Option<bool>,
}

fn free_form(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

impl TaskSpec {
    /// The spec as JSON, as [`crate::policy::gate`] reads it.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}
