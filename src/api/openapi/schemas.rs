//! The schemas of bodies, each taken from the type that it describes.

use serde_json::{Map, Value, json};

use super::parameters::namespace;
use super::work_objects::{self, each_field, nulls};
use crate::domain::audit::{Action, EntityKind};
use crate::domain::table::schema::schema;
use crate::domain::task::SHAPES;
use crate::domain::trace::FileKind;
use crate::domain::{ActorKind, Code, Naming, Phase, Task};
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
                "status": {"type": "string", "enum": ["success"]},
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
        "Statistics": statistics(),
        "Identity": {
            "type": "object",
            "required": ["user"],
            "properties": {"user": {"type": "string", "description": "As the API server knows them"}},
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

/// The body of `POST /tasks/enqueue`. What is left out has its default; that null is as good is told nowhere.
fn task_spec() -> Value {
    without("nullable", schema(&SHAPES, Naming::Rest))
}

/// `schema` without this keyword, at every level.
fn without(keyword: &str, schema: Value) -> Value {
    let mut schema = each_field(schema, &|field| without(keyword, field));
    if let Some(keywords) = schema.as_object_mut() {
        keywords.remove(keyword);
    }
    schema
}

/// Of a record as it is answered: the canonical fields alone.
fn canonical(schema: Value) -> Value {
    let mut schema = each_field(schema, &canonical);
    if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        fields.retain(|_, field| field.get("deprecated").is_none());
    }
    schema
}

/// A recorded Task: the canonical fields of the spec, all present, and what the record adds.
fn task() -> Value {
    let mut spec = nulls(canonical(schema(&[&Task::SHAPE], Naming::Rest)));
    let mut fields = spec["properties"].as_object_mut().map(std::mem::take).unwrap_or_default();
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

/// How Tasks go.
fn statistics() -> Value {
    json!({
        "type": "object",
        "required": ["namespace", "since", "until", "part_seconds", "open", "parts", "failures", "executors"],
        "properties": {
            "namespace": {"type": ["string", "null"]},
            "since": {"type": "string", "format": "date-time"},
            "until": {"type": "string", "format": "date-time"},
            "part_seconds": {"type": "integer", "minimum": 1, "description": "How long each part is"},
            "open": {
                "type": "object",
                "description": "Tasks that have not ended",
                "required": ["pending", "queued", "running"],
                "properties": {"pending": {"type": "integer", "minimum": 0}, "queued": {"type": "integer", "minimum": 0}, "running": {"type": "integer", "minimum": 0}},
            },
            "parts": {"type": "array", "description": "Those in which a Task ended", "items": {
                "type": "object",
                "required": ["at", "completed", "failed", "cancelled", "mean_seconds", "max_seconds"],
                "properties": {
                    "at": {"type": "string", "format": "date-time"},
                    "completed": {"type": "integer", "minimum": 0},
                    "failed": {"type": "integer", "minimum": 0},
                    "cancelled": {"type": "integer", "minimum": 0},
                    "mean_seconds": {"type": ["number", "null"], "description": "From the first worker's begin to the end"},
                    "max_seconds": {"type": ["number", "null"]},
                },
            }},
            "failures": {"type": "array", "description": "Of the last 2,000 that failed", "items": {
                "type": "object",
                "required": ["reason", "count"],
                "properties": {"reason": {"type": "string"}, "count": {"type": "integer", "minimum": 0}},
            }},
            "executors": {"type": "array", "description": "Those of the namespace, and others that did something", "items": {
                "type": "object",
                "required": ["name", "configured", "operations", "completed", "failed", "cancelled", "mean_seconds", "last_ended_at"],
                "properties": {
                    "name": {"type": "string"},
                    "configured": {"type": "boolean"},
                    "kind": {"type": ["string", "null"], "description": "`built in` or `command`"},
                    "operations": {"type": "array", "items": {"type": "string"}},
                    "image": {"type": ["string", "null"], "description": "Null for the worker's own"},
                    "asks_models": {"type": "boolean"},
                    "completed": {"type": "integer", "minimum": 0},
                    "failed": {"type": "integer", "minimum": 0},
                    "cancelled": {"type": "integer", "minimum": 0},
                    "mean_seconds": {"type": ["number", "null"]},
                    "last_ended_at": {"type": ["string", "null"], "format": "date-time"},
                },
            }},
        },
    })
}
