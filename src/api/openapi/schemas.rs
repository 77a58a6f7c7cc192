//! The schemas of bodies, each taken from the type that it describes.

use serde_json::{Map, Value, json};

use super::bodies::schema_of;
use super::work_objects::{self, each_field, nulls};
use crate::api::audit::AuditEntry;
use crate::api::cost::Cost;
use crate::api::diagnostics::Diagnostics;
use crate::api::error::ProblemBody;
use crate::api::results::events::EventBody;
use crate::api::results::listing::AttemptTrace;
use crate::api::session::Identity;
use crate::api::statistics::Statistics;
use crate::api::tasks::answer::{Duplicate, Enqueued, Recorded};
use crate::api::trace::Trace;
use crate::domain::table::schema::schema;
use crate::domain::task::SHAPES;
use crate::domain::{Naming, Task};

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
    schemas.extend(crate::api::reviews::schemas());
    Value::Object(schemas)
}

fn others() -> Map<String, Value> {
    let list_of = |name: &str| json!({"type": "array", "items": {"$ref": format!("#/components/schemas/{name}")}});
    let schemas = json!({
        "TaskSpec": task_spec(),
        "Task": task(),
        "Enqueued": schema_of::<Enqueued>(),
        "Duplicate": schema_of::<Duplicate>(),
        "Tasks": list_of("Task"),
        "Diagnostics": schema_of::<Diagnostics>(),
        "AuditEntry": schema_of::<AuditEntry>(),
        "AuditEntries": list_of("AuditEntry"),
        "Trace": schema_of::<Trace>(),
        "Cost": schema_of::<Cost>(),
        "Traces": {"type": "array", "items": schema_of::<AttemptTrace>()},
        "Events": {"type": "array", "items": schema_of::<EventBody>()},
        "Statistics": schema_of::<Statistics>(),
        "Identity": schema_of::<Identity>(),
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
        "Bytes": {"description": "Bytes, of any kind"},
        "Problem": schema_of::<ProblemBody>(),
    });
    schemas.as_object().cloned().unwrap_or_default()
}

/// A ULID.
pub fn id() -> Value {
    json!({"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"})
}

pub fn trace_id() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{8,128}$"})
}

/// `schema`, or null.
pub fn or_null(mut schema: Value) -> Value {
    let kind = schema["type"].take();
    schema["type"] = json!([kind, "null"]);
    schema
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
    let mut recorded = schema_of::<Recorded>();
    let mut required: Vec<String> = fields.keys().cloned().collect();
    required.extend(recorded["required"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    fields.extend(recorded["properties"].as_object_mut().map(std::mem::take).unwrap_or_default());
    required.sort_unstable();
    json!({"type": "object", "required": required, "properties": fields})
}
