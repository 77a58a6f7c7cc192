//! A Task as a client of the API server has it: what it reads of the status, and the spec as it stands there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The spec of a Task, whatever is in it.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(group = "jct.dev", version = "v1", kind = "Task", namespaced, schema = "disabled", status = "TaskStatus")]
pub struct TaskSpec {
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    pub observed_generation: Option<i64>,
    pub phase: Option<String>,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub id: Option<String>,
    pub trace_id: Option<String>,
    pub submitted_by: Option<String>,
    pub attempt: Option<i64>,
    pub job_name: Option<String>,
    pub commit: Option<String>,
    pub trace: Option<TraceStatus>,
    pub cwom: Option<CwomStatus>,
    pub queued_at: Option<Time>,
    pub started_at: Option<Time>,
    pub completed_at: Option<Time>,
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// Where the trace of an attempt lies.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TraceStatus {
    pub path: String,
    pub manifest_sha256: Option<String>,
    pub files: Option<i64>,
}

/// The ids of the work objects of a Task.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CwomStatus {
    pub repo_id: Option<String>,
    pub issue_id: Option<String>,
    pub context_packet_id: Option<String>,
    pub constraint_snapshot_id: Option<String>,
    pub run_id: Option<String>,
}
