//! The schemas of the seven kinds, made from their tables.

use serde_json::{Map, Value, json};

use super::schemas::{id, or_null, trace_id};
use crate::api::cwom::{COLLECTIONS, Changes, Collection};
use crate::domain::Naming;
use crate::domain::cwom::{Kind, schema};
use crate::domain::table::Need;

/// For each kind: what is posted, an object, a list of them, what answers a change, and what changes it.
pub fn all() -> Map<String, Value> {
    let mut schemas = Map::new();
    for of in &COLLECTIONS {
        let kind = of.kind;
        let mut add = |name: String, schema: Value| schemas.insert(name, schema);
        add(format!("{kind}Spec"), spec(kind));
        add(kind.to_string(), object(kind));
        add(format!("{kind}s"), json!({"type": "array", "items": reference(kind)}));
        add(format!("{kind}Answer"), answer(kind));
        if let Some(change) = change(of) {
            add(format!("{kind}Change"), change);
        }
    }
    schemas
}

fn reference(kind: Kind) -> Value {
    json!({"$ref": format!("#/components/schemas/{kind}")})
}

fn answer(kind: Kind) -> Value {
    json!({
        "type": "object",
        "required": ["status", kind.snake_case()],
        "properties": {
            "status": {"type": "string", "enum": ["success"]},
            kind.snake_case(): reference(kind),
        },
    })
}

/// What makes an object. What is left out has its default.
fn spec(kind: Kind) -> Value {
    let mut schema = nulls(schema(kind, Naming::Rest));
    let derived = kind.shape().fields.iter().filter(|field| field.need == Need::Derived);
    if let Some(properties) = schema["properties"].as_object_mut() {
        derived.for_each(|field| {
            properties.remove(field.name);
        });
        properties.insert("kind".into(), json!({"type": "string", "enum": [kind.as_str()]}));
    }
    schema
}

/// An object: the head, and every field.
fn object(kind: Kind) -> Value {
    let mut schema = named(whole(nulls(schema(kind, Naming::Rest))));
    let time = || json!({"type": "string", "format": "date-time"});
    let head = [
        ("kind", json!({"type": "string", "enum": [kind.as_str()]})),
        ("id", id()),
        ("created_at", time()),
        ("updated_at", time()),
        ("trace_id", trace_id()),
    ];
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.extend(head.map(|(name, schema)| (name.to_owned(), schema)));
        let names: Vec<String> = properties.keys().cloned().collect();
        schema["required"] = json!(names);
    }
    schema
}

/// With references as they are answered: one of a custom resource, which is not there yet, has a name instead of an id.
fn named(schema: Value) -> Value {
    let is_reference = schema["properties"].as_object().is_some_and(|fields| fields.keys().eq(["id", "kind", "role"]));
    if !is_reference {
        return each_field(schema, &named);
    }
    let mut schema = schema;
    schema["properties"]["name"] = json!({
        "type": "string", "minLength": 1, "maxLength": 253,
        "description": "Its name, instead of the id, as long as there is no such object: a custom resource of the same namespace.",
    });
    schema["required"] = json!(["kind", "role"]);
    let mut ways = vec![json!({"type": "object", "required": ["id"]}), json!({"type": "object", "required": ["name"]})];
    if schema["type"].is_array() {
        ways.push(json!({"type": "null"}));
    }
    schema["oneOf"] = json!(ways);
    schema
}

/// The fields that PATCH takes: some of them, each possibly null.
fn change(of: &Collection) -> Option<Value> {
    let fields: &dyn Fn(&str) -> bool = match of.changes {
        Changes::None | Changes::Never => return None,
        Changes::All => &|_| true,
        Changes::Only(fields) => &move |name| fields.contains(&name),
    };
    let mut schema = partly(spec(of.kind));
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|name, _| fields(name));
    }
    Some(schema)
}

/// `nullable` of OpenAPI 3.0 in the words of 3.1.
pub fn nulls(schema: Value) -> Value {
    each_field(schema, &|field| {
        let mut field = nulls(field);
        if field.as_object_mut().and_then(|field| field.remove("nullable")) != Some(json!(true)) {
            return field;
        }
        if let Some(names) = field.get_mut("enum").and_then(Value::as_array_mut) {
            names.push(Value::Null);
        }
        or_null(field)
    })
}

/// With every field required, at all levels: what was left out is answered as its default.
fn whole(schema: Value) -> Value {
    let mut schema = each_field(schema, &whole);
    if let Some(names) = schema["properties"].as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>()) {
        schema["required"] = json!(names);
    }
    schema
}

/// With no field required; null restores a default.
fn partly(schema: Value) -> Value {
    let Value::Object(mut keywords) = schema else { return schema };
    keywords.remove("required");
    // Entries of a list are not merged: they are whole.
    let items = keywords.remove("items");
    let mut schema = each_field(Value::Object(keywords), &|field| {
        let mut field = partly(field);
        if field["type"].is_string() {
            if let Some(names) = field.get_mut("enum").and_then(Value::as_array_mut) {
                names.push(Value::Null);
            }
            field = or_null(field);
        }
        field
    });
    if let Some(items) = items {
        schema["items"] = items;
    }
    schema
}

/// `schema` with `change` made to each field, and to the entries of a list.
pub fn each_field(schema: Value, change: &dyn Fn(Value) -> Value) -> Value {
    let Value::Object(keywords) = schema else { return schema };
    let keywords = keywords.into_iter().map(|(name, value)| {
        let value = match (name.as_str(), value) {
            ("properties", Value::Object(fields)) => {
                Value::Object(fields.into_iter().map(|(name, field)| (name, change(field))).collect())
            }
            ("items", items) => change(items),
            (_, value) => value,
        };
        (name, value)
    });
    Value::Object(keywords.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_missing_may_be_null_and_says_so_in_the_words_of_3_1() {
        let schemas = Value::Object(all());
        let text = schemas.to_string();
        assert!(!text.contains("nullable") && !text.contains("\"enum\":null"));
        let device = &schemas["ConstraintSnapshotSpec"]["properties"]["constraints"]["properties"]["environment"];
        let connectivity = &device["properties"]["connectivity"];
        assert_eq!(connectivity["type"], json!(["string", "null"]));
        assert_eq!(connectivity["enum"], json!(["offline", "limited", "ok", null]));
    }

    #[test]
    fn an_object_has_every_field_and_a_change_needs_none() {
        let schemas = Value::Object(all());
        let required = schemas["Run"]["required"].as_array().unwrap();
        assert!(["kind", "id", "failure", "outputs"].iter().all(|name| required.contains(&json!(name))));
        assert_eq!(schemas["Run"]["properties"]["outputs"]["required"].as_array().unwrap().len(), 3);
        let change = &schemas["RunChange"];
        assert_eq!(change["properties"].as_object().unwrap().len(), 5);
        assert_eq!(change["properties"]["failure"]["required"], Value::Null);
        assert_eq!(
            change["properties"]["outputs"]["properties"]["artifacts"]["items"]["required"],
            json!(["kind", "id"])
        );
        assert!(schemas.get("RepoChange").is_none() && schemas.get("ContextPacketChange").is_none());
    }

    #[test]
    fn a_reference_is_answered_by_id_or_by_name_and_posted_by_id() {
        let schemas = Value::Object(all());
        let refs =
            |schema: &str| schemas[schema]["properties"]["applicability"]["properties"]["repo_refs"]["items"].clone();
        let answered = refs("DoctrineRef");
        assert_eq!(answered["required"], json!(["kind", "role"]));
        let ways = json!([{"type": "object", "required": ["id"]}, {"type": "object", "required": ["name"]}]);
        assert_eq!(answered["oneOf"], ways);
        let parent = &schemas["Issue"]["properties"]["relationships"]["properties"]["parent"];
        assert_eq!((&parent["type"], &parent["oneOf"][2]), (&json!(["object", "null"]), &json!({"type": "null"})));
        assert!(answered["properties"]["name"].is_object());
        let posted = refs("DoctrineRefSpec");
        assert_eq!((&posted["required"], &posted["properties"]["name"]), (&json!(["kind", "id"]), &Value::Null));
    }

    #[test]
    fn what_is_derived_is_answered_and_not_posted() {
        let schemas = Value::Object(all());
        assert!(schemas["Issue"]["properties"].get("runs").is_some());
        assert!(schemas["IssueSpec"]["properties"].get("runs").is_none());
    }
}
