//! Manifests: JSON, so that they can be wrong.

use serde_json::{Value, json};

/// A repository with history, tags, branches and several languages.
pub const NORMAL: &str = "demo/normal";

/// An analysis of [`NORMAL`], with `change` merged into its spec (null removes a field).
pub fn task(name: &str, change: Value) -> Value {
    let mut task = json!({
        "apiVersion": "jct.dev/v1",
        "kind": "Task",
        "metadata": {"name": name},
        "spec": {
            "requestedBy": {"kind": "human", "id": "ada"},
            "objective": "Tell what is there",
            "operation": "analysis",
            "target": {"repo": NORMAL},
        },
    });
    json_patch::merge(&mut task["spec"], &change);
    task
}

/// An analysis of `repo`.
pub fn task_on(name: &str, repo: &str) -> Value {
    task(name, json!({"target": {"repo": repo}}))
}
