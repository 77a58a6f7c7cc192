//! What parameters take, by their names: forms of ids, namespaces, cursors and times, and the words of enumerations. The handlers
//! read them by the same names (`query.rs`).

use serde_json::{Value, json};

use super::schemas::{id, trace_id};
use crate::domain::ActorKind;
use crate::domain::Phase;
use crate::domain::audit::{Action, EntityKind};
use crate::domain::task::Operation;
use crate::store::CostBy;

/// Says of a parameter of the operations on `path` what it takes, where the document does not say so yet.
pub fn refine(path: &str, parameter: &mut Value) {
    let (Some(name), Some(place)) = (parameter["name"].as_str(), parameter["in"].as_str()) else { return };
    let Some(takes) = takes(path, name, place) else { return };
    let schema = &mut parameter["schema"];
    // An optional parameter is not there, or has a value; it is never null.
    if schema["type"].is_array() {
        schema["type"] = json!("string");
    }
    if schema["type"] != "string" || schema.get("enum").is_some() || schema.get("pattern").is_some() {
        return;
    }
    *schema = takes;
}

fn takes(path: &str, name: &str, place: &str) -> Option<Value> {
    let words = |names: Value| json!({"type": "string", "enum": names});
    let is_doctrine = path == "/cwom/doctrine-refs";
    Some(match (name, place) {
        ("id", "path") => id(),
        ("trace_id", _) | ("X-Trace-Id", "header") => trace_id(),
        (_, "path") => return None,
        ("cursor" | "tasks_cursor", _) => cursor(),
        ("namespace", _) if is_doctrine => text(),
        ("namespace" | "kubernetes_namespace", _) => namespace(),
        ("status", _) if path == "/tasks" => words(json!(Phase::ALL)),
        ("operation", _) => words(json!(Operation::ALL)),
        ("stream", _) if path == "/tasks/{id}/log" => words(json!(["stdout", "stderr", "trace"])),
        ("requester_kind" | "actor_kind", _) => words(json!(ActorKind::ALL)),
        ("action", _) => words(json!(Action::ALL)),
        ("entity_kind", _) => words(json!(EntityKind::ALL)),
        ("target_repo", _) => repo(),
        ("by", _) => words(json!(CostBy::ALL.map(CostBy::as_str))),
        ("since" | "until", _) => json!({"type": "string", "format": "date-time"}),
        (_, "query") => text(),
        _ => return None,
    })
}

/// The name of a namespace.
pub fn namespace() -> Value {
    json!({"type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"})
}

/// A cursor: it opens only for the query that it was made for.
fn cursor() -> Value {
    json!({"type": "string", "pattern": "^[0-9A-F]{64}$"})
}

/// The name of a repository; letters of either case are the same, and so is one `.git` at the end.
fn repo() -> Value {
    json!({
        "type": "string", "maxLength": 256,
        "pattern": "^(?!.*\\.\\.)(?!\\.?/)[A-Za-z0-9._][A-Za-z0-9._-]*/(?!\\.(git)?$)(?!.*\\.git\\.git$)[A-Za-z0-9._][A-Za-z0-9._-]*$",
    })
}

/// Any text that a query takes.
fn text() -> Value {
    json!({"type": "string", "maxLength": 256, "pattern": "^[^\\u0000]*$"})
}
