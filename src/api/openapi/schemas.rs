//! The schemas of bodies, each taken from the type that it describes.

use kube::CustomResourceExt as _;
use serde_json::{Map, Value, json};

use super::parameters::namespace;
use super::work_objects;
use crate::crd;
use crate::domain::audit::{Action, EntityKind};
use crate::domain::task::{MAX_TIME_BUDGET_SECONDS, MIN_TIME_BUDGET_SECONDS, Operation, VERSION};
use crate::domain::trace::FileKind;
use crate::domain::{ActorKind, Code, Phase};
use crate::store::CostBy;

/// What every guarded operation may answer besides its own, and what it means.
pub const GUARDED: [(&str, &str); 7] = [
    ("401", "No token, or one that is not valid here; see WWW-Authenticate"),
    ("403", "The caller lacks the right that the message names"),
    ("422", "The parameters or the body do not fit; `violations` names all that is wrong"),
    (
        "429",
        "Too many requests of this caller are being served, or too much of the namespace was recorded within an hour (`too_many_tasks`); see Retry-After",
    ),
    ("500", "An internal error"),
    ("503", "Overloaded, or the API server or the record do not answer; see Retry-After"),
    ("504", "The request took too long"),
];

/// The responses of [`GUARDED`], to be referred to.
pub fn responses() -> Value {
    let problem = json!({"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
    let of = |(status, description): (&str, &str)| {
        (status.to_owned(), json!({"description": description, "content": problem}))
    };
    Value::Object(GUARDED.into_iter().map(of).collect())
}

/// Every schema that operations refer to.
pub fn all() -> Value {
    let mut schemas = work_objects::all();
    schemas.extend(others());
    Value::Object(schemas)
}

fn others() -> Map<String, Value> {
    let schemas = json!({
        "TaskSpec": task_spec(),
        "Task": task(),
        "Enqueued": {
            "type": "object",
            "required": ["status", "task_id", "trace_id", "message", "task"],
            "properties": {
                "status": {"type": "string", "enum": ["success"]},
                "task_id": id(),
                "trace_id": trace_id(),
                "message": {"type": "string"},
                "warnings": {
                    "type": "array", "items": {"type": "string"},
                    "description": "Only there if there are some: what the Task will fail of, as things are configured now",
                },
                "task": {"$ref": "#/components/schemas/Task"},
                "cwom": {
                    "type": "object",
                    "required": ["repo_id", "issue_id", "context_packet_id", "constraint_snapshot_id"],
                    "properties": {
                        "repo_id": id(), "issue_id": id(), "context_packet_id": id(), "constraint_snapshot_id": id(),
                    },
                    "description": "The work objects made for the Task; absent if none were",
                },
            },
        },
        "Diagnostics": {
            "type": "object",
            "required": ["version", "replica", "leads", "time", "checks"],
            "properties": {
                "version": {"type": "string"},
                "replica": {"type": "string", "description": "The pod that answers"},
                "leads": {"type": "boolean", "description": "Whether it runs the controller"},
                "time": {"type": "string", "format": "date-time", "description": "By the API server's clock"},
                "checks": {"type": "array", "items": {
                    "type": "object",
                    "required": ["name", "status", "message"],
                    "properties": {
                        "name": {"type": "string"},
                        "status": {"type": "string", "enum": ["ok", "warning", "failed"]},
                        "message": {"type": "string"},
                        "advice": {"type": "string", "description": "What to do; only where something is not as it should be"},
                    },
                }},
            },
        },
        "Duplicate": {
            "type": "object",
            "required": ["status", "error", "task_id", "trace_id", "message", "task"],
            "properties": {
                "status": {"type": "string", "enum": ["conflict"]},
                "error": {"type": "string", "enum": ["DUPLICATE", "IDEMPOTENCY_KEY_REUSED"],
                          "description": "Whether the Task with the key asks for the same"},
                "task_id": or_null(id()),
                "trace_id": or_null(trace_id()),
                "message": {"type": "string"},
                "task": {"anyOf": [{"$ref": "#/components/schemas/Task"}, {"type": "null"}],
                         "description": "The first Task with the key; this and its ids are null if it asks for something \
                                         else, or the caller may not get it"},
            },
        },
        "Tasks": {"type": "array", "items": {"$ref": "#/components/schemas/Task"}},
        "AuditEntry": audit_entry(),
        "AuditEntries": {"type": "array", "items": {"$ref": "#/components/schemas/AuditEntry"}},
        "Trace": {
            "type": "object",
            "required": ["trace_id", "objects", "audit"],
            "properties": {
                "trace_id": trace_id(),
                "objects": {"type": "array", "items": {"type": "object", "required": ["kind", "id"],
                            "properties": {"kind": {"type": "string"}, "id": id()}},
                            "description": "Causes before effects; each has its kind beside its own fields"},
                "audit": {"type": "array", "items": {"$ref": "#/components/schemas/AuditEntry"},
                          "description": "As things happened"},
            },
        },
        "BudgetDecision": {
            "type": "object",
            "required": ["decision"],
            "additionalProperties": false,
            "properties": {
                "decision": {"type": "string", "enum": ["raise", "end"]},
                "max_usd": {"type": "number", "minimum": 0, "description": "What all attempts at the Task may use up together, what is spent included"},
                "max_tokens": {"type": "integer", "minimum": 0, "description": "Likewise"},
                "max_requests": {"type": "integer", "minimum": 0, "description": "Likewise"},
            },
        },
        "BudgetDecided": {
            "type": "object",
            "required": ["status", "task_id", "trace_id", "message", "limits", "spent"],
            "properties": {
                "status": {"type": "string", "const": "success"},
                "task_id": {"type": "string"},
                "trace_id": {"type": "string"},
                "message": {"type": "string"},
                "limits": {"type": "object", "description": "What it may use up now: max_usd, max_tokens, max_requests; what is not there is not limited"},
                "spent": {
                    "type": "object",
                    "required": ["usd", "tokens", "requests"],
                    "properties": {
                        "usd": {"type": "number", "minimum": 0},
                        "tokens": {"type": "integer", "minimum": 0},
                        "requests": {"type": "integer", "minimum": 0},
                    },
                },
            },
        },
        "Cost": {
            "type": "object",
            "required": ["by", "costs"],
            "properties": {
                "by": {"type": "string", "enum": CostBy::ALL.map(CostBy::as_str)},
                "costs": {"type": "array", "maxItems": 1000, "items": {
                    "type": "object",
                    "required": ["name", "usd", "tokens", "requests"],
                    "properties": {
                        "name": {"type": "string", "description": "Of what; empty where a Task names no executor"},
                        "usd": {"type": "number", "minimum": 0, "description": "At list price"},
                        "tokens": {"type": "integer", "minimum": 0},
                        "requests": {"type": "integer", "minimum": 0, "description": "Also those that were refused"},
                    },
                }},
            },
        },
        "Traces": {"type": "array", "items": trace_of_attempt()},
        "Events": {"type": "array", "items": event()},
        "Bytes": {"description": "Bytes, of any kind"},
        "Problem": problem(),
    });
    schemas.as_object().cloned().unwrap_or_default()
}

/// A ULID.
pub fn id() -> Value {
    json!({"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"})
}

/// A trace id.
pub fn trace_id() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{8,128}$"})
}

/// `schema`, or null.
pub fn or_null(mut schema: Value) -> Value {
    let kind = schema["type"].take();
    schema["type"] = json!([kind, "null"]);
    schema
}

fn trace_of_attempt() -> Value {
    let sha256 = || json!({"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"});
    let file = json!({
        "type": "object",
        "required": ["path", "size_bytes", "sha256", "media_type", "kind"],
        "properties": {
            "path": {"type": "string", "description": "Relative to the trace; made by an executor"},
            "size_bytes": {"type": "integer", "minimum": 0},
            "sha256": sha256(),
            "media_type": {"type": "string", "description": "By its name; it may be served as another one"},
            "kind": {"type": "string", "enum": FileKind::ALL},
        },
    });
    json!({
        "type": "object",
        "required": ["attempt", "outcome", "sealed", "manifest_sha256", "verified", "removed_at", "files"],
        "properties": {
            "attempt": {"type": "integer", "minimum": 1},
            "outcome": {"type": ["string", "null"], "enum": ["succeeded", "failed", null],
                        "description": "Null while it runs"},
            "sealed": {"type": "boolean", "description": "Whether the record has the digest of every file"},
            "manifest_sha256": sha256(),
            "verified": {"type": ["boolean", "null"],
                         "description": "Of a sealed one: whether the worker itself announced the manifest's digest"},
            "removed_at": {"type": ["string", "null"], "format": "date-time",
                           "description": "When retention removed the files"},
            "files": {"type": "array", "items": file},
        },
    })
}

fn event() -> Value {
    json!({
        "type": "object",
        "required": ["ts", "seq", "event", "trace_id", "fields"],
        "properties": {
            "ts": {"type": "string", "format": "date-time"},
            "seq": {"type": "integer", "minimum": 0},
            "event": {"type": "string"},
            "trace_id": trace_id(),
            "fields": {"type": "object"},
        },
    })
}

fn problem() -> Value {
    let violation = json!({
        "type": "object",
        "required": ["code", "field", "message"],
        "properties": {
            "code": {"type": "string", "enum": Code::ALL},
            "field": {"type": "string"},
            "message": {"type": "string"},
        },
    });
    json!({
        "type": "object",
        "required": ["detail"],
        "properties": {"detail": {"anyOf": [
            {"type": "string"},
            {"type": "object", "required": ["error", "message"], "properties": {
                "error": {"type": "string"},
                "message": {"type": "string"},
                "code": {"type": "string"},
                "violations": {"type": "array", "items": violation},
                "task_id": id(),
                "trace_id": trace_id(),
                "object_id": {"type": "string", "description": "The object that never changes, as the path names it"},
            }},
        ]}},
    })
}

fn audit_entry() -> Value {
    json!({
        "type": "object",
        "required": ["id", "ts", "actor_kind", "actor_id", "action", "entity_kind", "entity_id", "before", "after",
                     "note", "trace_id"],
        "properties": {
            "id": id(),
            "ts": {"type": "string", "format": "date-time"},
            "actor_kind": {"type": "string", "enum": ActorKind::ALL},
            "actor_id": {"type": "string"},
            "action": {"type": "string", "enum": Action::ALL},
            "entity_kind": {"type": "string", "enum": EntityKind::ALL},
            "entity_id": {"type": "string"},
            "before": {},
            "after": {},
            "note": {"type": ["string", "null"]},
            "trace_id": trace_id(),
        },
    })
}

/// The fields of the custom resource that a REST body does not have.
const NOT_IN_BODY: [&str; 2] = ["cancel", "createCwom"];
/// The fields of a REST body that say how the Task is handled: no part of what is shown of it.
const CONTROLS: [&str; 4] = ["suspend", "executor", "max_attempts", "ttl_seconds_after_finished"];

/// The body of `POST /tasks/enqueue`: the spec of the custom resource, its fields in snake_case.
fn task_spec() -> Value {
    let crd = serde_json::to_value(crd::Task::crd()).unwrap_or_default();
    let mut spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
    if let Some(fields) = spec["properties"].as_object_mut() {
        fields.retain(|name, _| !NOT_IN_BODY.contains(&name.as_str()));
    }
    let mut spec = in_snake_case(spec);
    // What the custom resource leaves to its CEL rules and the gate.
    for name in ["operation", "type"] {
        spec["properties"][name]["enum"] = json!(Operation::ALL);
    }
    spec["properties"]["requested_by"]["properties"]["kind"]["enum"] = json!(ActorKind::ALL);
    spec["properties"]["version"]["enum"] = json!([VERSION]);
    spec["properties"]["version"]["default"] = json!(VERSION);
    let budget = &mut spec["properties"]["constraints"]["properties"]["time_budget_seconds"];
    budget["minimum"] = json!(MIN_TIME_BUDGET_SECONDS);
    budget["maximum"] = json!(MAX_TIME_BUDGET_SECONDS);
    for (alias, canonical) in [("type", "operation"), ("payload", "inputs")] {
        spec["properties"][alias]["deprecated"] = json!(true);
        spec["properties"][alias]["description"] = json!(format!("Alias of {canonical}."));
    }
    spec["properties"]["target"]["properties"]["repository"]["deprecated"] = json!(true);
    spec
}

/// A schema of the custom resource as one of a REST body: names of fields, and no extensions of Kubernetes.
fn in_snake_case(schema: Value) -> Value {
    let Value::Object(keywords) = schema else { return schema };
    let keywords = keywords.into_iter().filter(|(name, _)| !name.starts_with("x-") && name != "nullable");
    let translated = keywords.map(|(name, value)| {
        let value = match (name.as_str(), value) {
            ("properties", Value::Object(fields)) => {
                let fields = fields.into_iter().map(|(name, field)| (snake_case(&name), in_snake_case(field)));
                Value::Object(fields.collect())
            }
            ("required", Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).map(|name| Value::from(snake_case(name))).collect()
            }
            ("items", items) => in_snake_case(items),
            (_, value) => value,
        };
        (name, value)
    });
    let mut schema: Map<String, Value> = translated.collect();
    if schema.contains_key("properties") {
        schema.insert("additionalProperties".into(), json!(false));
    }
    Value::Object(schema)
}

fn snake_case(camel_case: &str) -> String {
    camel_case.chars().fold(String::new(), |mut name, letter| {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
        name
    })
}

/// A recorded Task: the canonical fields of the spec, all present, and what the record adds.
fn task() -> Value {
    let spec = task_spec();
    let mut fields = spec["properties"].as_object().cloned().unwrap_or_default();
    fields.retain(|name, field| !CONTROLS.contains(&name.as_str()) && field.get("deprecated").is_none());
    if let Some(target) = fields.get_mut("target").and_then(|target| target["properties"].as_object_mut()) {
        target.retain(|_, field| field.get("deprecated").is_none());
    }
    if let Some(key) = fields.get_mut("idempotency_key") {
        *key = or_null(key.take());
    }
    if let Some(requester) = fields.get_mut("requested_by") {
        requester["properties"]["label"] = or_null(requester["properties"]["label"].take());
    }
    let time = || json!({"type": ["string", "null"], "format": "date-time"});
    let text = || json!({"type": ["string", "null"]});
    let recorded = [
        ("id", id()),
        ("task_id", id()),
        ("trace_id", trace_id()),
        ("namespace", namespace()),
        ("name", json!({"type": "string", "maxLength": 253})),
        ("submitted_by", text()),
        ("status", json!({"type": "string", "enum": Phase::ALL})),
        ("created_at", json!({"type": "string", "format": "date-time"})),
        ("queued_at", time()),
        ("started_at", time()),
        ("completed_at", time()),
        ("assigned_to", text()),
        ("result", json!({"description": "What came out of it"})),
        (
            "error",
            json!({"type": ["object", "null"], "required": ["reason", "message"],
                         "properties": {"reason": {"type": "string"}, "message": {"type": "string"}}}),
        ),
        ("trace_path", text()),
        (
            "trace_removed_at",
            json!({"type": ["string", "null"], "format": "date-time",
                   "description": "When retention removed the files of trace_path from the volume"}),
        ),
        ("cwom_issue_id", or_null(id())),
    ];
    fields.extend(recorded.map(|(name, schema)| (name.to_owned(), schema)));
    let required: Vec<&String> = fields.keys().collect();
    let required = json!(required);
    json!({"type": "object", "required": required, "properties": fields})
}
