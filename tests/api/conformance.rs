//! Every answer that any test of the API gets is held against the OpenAPI document: that its status is there, and that its body
//! is what the document says.

use std::sync::OnceLock;

use jiff::Timestamp;
use regex::Regex;
use serde_json::{Value, json};

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(jct::api::document)
}

/// Says what of an answer is not as the document has it. What is no operation of the document is nobody's.
pub fn problems(method: &str, path: &str, status: u16, content_type: &str, body: &str) -> Vec<String> {
    let Some(operation) = operation(method, path) else { return Vec::new() };
    let document = document();
    let Some(response) = operation["responses"].get(status.to_string()) else {
        return vec![format!("{method} {path} answers {status}, which is not in the document: {body:.300}")];
    };
    let response = resolved(document, response);
    let Some(content) = response["content"].as_object().filter(|content| !content.is_empty()) else {
        return Vec::new();
    };
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let Some(of_kind) = content.get(kind).or(content.get("*/*")) else {
        return vec![format!("{method} {path} answers {status} with {content_type}, which is not in the document")];
    };
    if kind != "application/json" || !content.contains_key(kind) {
        return Vec::new();
    }
    let Ok(value) = serde_json::from_str(body) else {
        return vec![format!("{method} {path} answers {status} with what is no JSON: {body:.300}")];
    };
    let mut found = Vec::new();
    fits(document, &of_kind["schema"], &value, "", &mut found);
    found.into_iter().map(|problem| format!("{method} {path} {status}: {problem}")).collect()
}

fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let parts: Vec<&str> = path.split('?').next()?.split('/').collect();
    let fits = |template: &str| {
        let of_template: Vec<&str> = template.split('/').collect();
        // A path within a trace has slashes.
        let is_long_enough = match template.ends_with("/{path}") {
            true => parts.len() >= of_template.len(),
            false => parts.len() == of_template.len(),
        };
        is_long_enough && of_template.iter().zip(&parts).all(|(one, other)| one.starts_with('{') || one == other)
    };
    let paths = document()["paths"].as_object().unwrap();
    // What is written out comes before what is a parameter.
    let mut fitting: Vec<_> = paths.iter().filter(|(template, _)| fits(template)).collect();
    fitting.sort_by_key(|(template, _)| template.matches('{').count());
    fitting.first()?.1.get(method.to_lowercase())
}

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

/// What of `value` does not fit `schema`: as much of JSON Schema as the document uses, and nothing of it passed over.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let schema = resolved(document, schema);
    let Some(keywords) = schema.as_object() else { return };
    for (keyword, wants) in keywords {
        let ok = match keyword.as_str() {
            "type" => {
                let is = |name: &str| match name {
                    "null" => value.is_null(),
                    "boolean" => value.is_boolean(),
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "number" => value.is_number(),
                    other => panic!("type {other}"),
                };
                match wants {
                    Value::String(name) => is(name),
                    names => names.as_array().unwrap().iter().any(|name| is(name.as_str().unwrap())),
                }
            }
            "enum" => wants.as_array().unwrap().contains(value),
            "pattern" => value.as_str().is_none_or(|text| Regex::new(wants.as_str().unwrap()).unwrap().is_match(text)),
            "format" => match (wants.as_str().unwrap(), value.as_str()) {
                ("date-time", Some(text)) => text.parse::<Timestamp>().is_ok(),
                ("date-time" | "int32" | "int64" | "double", _) => true,
                (other, _) => panic!("format {other}"),
            },
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= wants.as_u64().unwrap()),
            "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= wants.as_u64().unwrap()),
            "minimum" => value.as_f64().is_none_or(|number| number >= wants.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= wants.as_f64().unwrap()),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= wants.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= wants.as_u64().unwrap()),
            "maxProperties" => value.as_object().is_none_or(|fields| fields.len() as u64 <= wants.as_u64().unwrap()),
            "required" => value.as_object().is_none_or(|fields| {
                wants.as_array().unwrap().iter().all(|name| fields.contains_key(name.as_str().unwrap()))
            }),
            "properties" => {
                for (name, field) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = wants.get(name) {
                        fits(document, schema, field, &format!("{at}/{name}"), found);
                    }
                }
                true
            }
            "additionalProperties" => value.as_object().is_none_or(|fields| {
                let known = |name: &String| keywords.get("properties").is_some_and(|known| known.get(name).is_some());
                for (name, field) in fields.iter().filter(|(name, _)| wants.is_object() && !known(name)) {
                    fits(document, wants, field, &format!("{at}/{name}"), found);
                }
                *wants != json!(false) || fields.keys().all(known)
            }),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    fits(document, wants, item, &format!("{at}/{index}"), found);
                }
                true
            }
            "anyOf" | "oneOf" => {
                let count = wants.as_array().unwrap().iter().filter(|schema| {
                    let mut wrong = Vec::new();
                    fits(document, schema, value, at, &mut wrong);
                    wrong.is_empty()
                });
                let count = count.count();
                if keyword == "oneOf" { count == 1 } else { count > 0 }
            }
            "description" | "default" | "deprecated" | "readOnly" | "example" | "title" => true,
            other => panic!("the document uses {other}, which this test does not know"),
        };
        if !ok {
            found.push(format!("{at}: {keyword} {wants} is not kept by {value:.200}"));
        }
    }
}

/// The check sees what is wrong.
#[test]
fn what_does_not_fit_is_seen() {
    let id = "01KJMMA2G027CE4HT1RZKZBW4A";
    let path = format!("/cwom/repos/{id}");
    let json = "application/json";
    let seen =
        |status, content_type: &str, body: Value| problems("GET", &path, status, content_type, &body.to_string());
    assert_eq!(seen(404, json, json!({"detail": "Repo not found"})), Vec::<String>::new());
    assert_eq!(problems("GET", "/nothing", 404, json, "{}"), Vec::<String>::new());
    assert_eq!(seen(404, json, json!({})).len(), 1);
    assert!(seen(404, "text/plain", json!("x"))[0].contains("text/plain"));
    assert!(seen(418, json, json!({}))[0].contains("418"));
    let wrong = seen(200, json, json!({"id": "x", "kind": "Issue", "created_at": "yesterday"}));
    for problem in ["/id: pattern", "/kind: enum", "/created_at: format", ": required"] {
        assert!(wrong.iter().any(|wrong| wrong.contains(problem)), "{problem}: {wrong:?}");
    }
    assert!(operation("GET", &format!("/tasks/{id}?x=1")).is_some() && operation("DELETE", "/tasks").is_none());
}
