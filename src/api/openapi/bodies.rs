//! The schemas of bodies, made from the types that handlers answer with.
//!
//! `#[derive(JsonSchema)]` gives fields, their types and whether they must be there; what a type of the domain takes is named by
//! `#[schemars(schema_with = "…")]`, with one of the functions here.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::schemas;
use crate::domain::audit::{Action, EntityKind};
use crate::domain::trace::FileKind;
use crate::domain::{ActorKind, Code, Phase};
use crate::store::CostBy;

/// The schema of a body: fields and what they mean, without what only Rust knows.
pub fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    unnamed(SchemaGenerator::new(settings).into_root_schema_for::<T>().to_value())
}

/// `schema` without what it says of the type: fields say what they are.
fn unnamed(schema: Value) -> Value {
    let mut schema = plain(schema);
    if let Some(keywords) = schema.as_object_mut() {
        keywords.remove("description");
    }
    schema
}

/// `schema` without titles and the sizes of integers; what it says of fields are notes, and no sentences.
fn plain(schema: Value) -> Value {
    let Value::Object(keywords) = schema else { return schema };
    let keywords = keywords.into_iter().filter_map(|(name, value)| {
        let value = match (name.as_str(), value) {
            ("title", _) => return None,
            ("format", Value::String(format)) if format != "date-time" => return None,
            ("description", Value::String(text)) => text.trim_end_matches('.').replace('\n', " ").into(),
            ("properties", Value::Object(fields)) => {
                Value::Object(fields.into_iter().map(|(name, field)| (name, plain(field))).collect())
            }
            ("items", items) => unnamed(items),
            ("anyOf", Value::Array(ways)) => ways.into_iter().map(unnamed).collect(),
            (_, value) => value,
        };
        Some((name, value))
    });
    Value::Object(keywords.collect())
}

fn schema(value: Value) -> Schema {
    // What is passed here is an object.
    Schema::try_from(value).unwrap_or_default()
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $schema:expr;)+) => {$(
        $(#[$doc])*
        pub fn $name(_: &mut SchemaGenerator) -> Schema {
            schema($schema)
        }
    )+};
}

fields! {
    /// A ULID.
    id = schemas::id();
    /// A ULID, or null.
    id_or_null = schemas::or_null(schemas::id());
    /// A trace id.
    trace_id = schemas::trace_id();
    /// A trace id, or null.
    trace_id_or_null = schemas::or_null(schemas::trace_id());
    /// A namespace.
    namespace = super::parameters::namespace();
    /// The name of an object.
    object_name = json!({"type": "string", "maxLength": 253});
    /// A moment.
    time = json!({"type": "string", "format": "date-time"});
    /// A moment, or null.
    time_or_null = json!({"type": ["string", "null"], "format": "date-time"});
    /// Lower-case hex digits of a SHA-256, or null.
    sha256_or_null = json!({"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"});
    /// How many.
    count = json!({"type": "integer", "minimum": 0});
    /// Any JSON.
    any = json!({});
    /// An object of any form.
    object = json!({"type": "object"});
    /// A recorded Task.
    task = json!({"$ref": "#/components/schemas/Task"});
    /// A recorded Task, or null.
    task_or_null = json!({"anyOf": [{"$ref": "#/components/schemas/Task"}, {"type": "null"}]});
    /// Entries of the audit log.
    audit_entries = json!({"type": "array", "items": {"$ref": "#/components/schemas/AuditEntry"}});
    /// `success`.
    success = json!({"type": "string", "enum": ["success"]});
    /// `conflict`.
    conflict = json!({"type": "string", "enum": ["conflict"]});
    /// A phase of a Task.
    phase = json!({"type": "string", "enum": Phase::NAMES});
    /// A code of a finding.
    code = json!({"type": "string", "enum": Code::NAMES});
    /// What a file of a trace is.
    file_kind = json!({"type": "string", "enum": FileKind::NAMES});
    /// Whose sums.
    cost_by = json!({"type": "string", "enum": CostBy::NAMES});
    /// What an actor is.
    actor_kind = json!({"type": "string", "enum": ActorKind::NAMES});
    /// What was done.
    action = json!({"type": "string", "enum": Action::NAMES});
    /// What it was done to.
    entity_kind = json!({"type": "string", "enum": EntityKind::NAMES});
    /// How an attempt ended, or null.
    outcome_or_null = json!({"type": ["string", "null"], "enum": ["succeeded", "failed", null]});
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::audit::AuditEntry;
    use crate::api::error::Violation;
    use crate::api::results::events::EventBody;
    use crate::domain::audit::Entry;
    use crate::domain::trace::Event;
    use crate::domain::{Actor, Finding, Id, TraceId};

    fn names(object: &Value) -> BTreeSet<String> {
        object.as_object().unwrap().keys().cloned().collect()
    }

    /// The bodies that are serialized by types of the domain, which knows no schemas.
    #[test]
    fn a_schema_has_the_fields_that_are_serialized() {
        let time: jiff::Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let (id, trace_id) = (Id::derive(time, "x"), TraceId::derive("x"));
        let entry = Entry {
            id,
            ts: time,
            actor: Actor::controller(),
            action: Action::Created,
            entity_kind: EntityKind::Task,
            entity_id: "x".into(),
            before: None,
            after: None,
            note: None,
            trace_id: trace_id.clone(),
        };
        let event = Event { ts: time, seq: 1, event: "x".into(), trace_id, fields: serde_json::Map::new() };
        let finding = Finding::new(Code::InvalidSpec, "x", "y");
        for (serialized, schema) in [
            (json!(entry), schema_of::<AuditEntry>()),
            (json!(event), schema_of::<EventBody>()),
            (json!(finding), schema_of::<Violation>()),
        ] {
            assert_eq!(names(&serialized), names(&schema["properties"]));
            let required: BTreeSet<String> = serde_json::from_value(schema["required"].clone()).unwrap();
            assert_eq!(names(&serialized), required);
        }
    }
}
