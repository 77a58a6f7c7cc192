//! The `meta` that JCT's first implementation gave the objects of a Task, for clients that read it there.
//!
//! It is shown and not stored: all of it is in the objects already, once.

use serde_json::{Map, Value, json};

use super::{TASK_INPUTS, TASK_META};
use crate::cwom::Kind;

/// Adds it to the JSON of an object that JCT made for a Task. What is there is left as it is.
pub fn add_first_meta(object: &mut Value) {
    let kind = object["kind"].as_str().and_then(Kind::parse);
    let Some(task) = object["meta"].get(TASK_META).and_then(Value::as_object).cloned() else { return };
    let mut added = json!({"source": "jct"});
    match kind {
        Some(Kind::Issue) => {
            added["idempotency_key"] = take(&task, "idempotency_key");
            let repeated = task.get("criteria_from_objective") == Some(&Value::Bool(true));
            let criteria = if repeated { json!([]) } else { object["acceptance"]["criteria"].clone() };
            added["acceptance_criteria"] = criteria;
            added["evidence_requirements"] = take(&task, "evidence_requirements");
        }
        Some(Kind::ContextPacket) => {
            added["task_ref"] = take(&task, "ref");
            added["task_path"] = take(&task, "path");
            added["task_inputs"] = inputs(object);
        }
        Some(Kind::ConstraintSnapshot) => {
            for name in ["time_budget_seconds", "allow_network", "allow_secrets"] {
                added[name] = take(&task, name);
            }
        }
        _ => return,
    }
    let (Some(meta), Value::Object(added)) = (object["meta"].as_object_mut(), added) else { return };
    for (name, value) in added {
        meta.entry(name).or_insert(value);
    }
}

fn take(task: &Map<String, Value>, name: &str) -> Value {
    task.get(name).cloned().unwrap_or_default()
}

fn inputs(packet: &Value) -> Value {
    let blobs = packet["inputs"]["data_blobs"].as_array();
    let blob = blobs.into_iter().flatten().find(|blob| blob["name"] == TASK_INPUTS);
    let text = blob.and_then(|blob| blob["inline"].as_str()).unwrap_or("{}");
    serde_json::from_str(text).unwrap_or_else(|_| json!({}))
}
