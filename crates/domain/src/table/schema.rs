//! Records as OpenAPI 3.0 schemas, made from their tables.

use serde_json::{Map, Value, json};

use super::{Field, Form, Holds, Need, Shape};
use crate::Naming;
use crate::cwom::Kind;

/// One record with the fields of all `shapes` and the description of the first: what the author of an object writes, as the door
/// in question names it.
///
/// For a custom resource it is structural, keeps free-form objects from being pruned, lets references have names, and
/// has no derived fields and no defaults: objects are stored as they were written.
pub fn schema(shapes: &[&Shape], naming: Naming) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in shapes.iter().flat_map(|shape| shape.fields).filter(|field| field.is_of(naming)) {
        let name = naming.name(field.name);
        if let Some(alias) = field.alias {
            properties.insert(naming.name(alias), deprecated(field, &name, naming));
        } else if field.need == Need::Required {
            required.push(name.clone());
        }
        properties.insert(name, described(field, naming));
    }
    let description = shapes.first().map(|shape| text(shape.doc));
    let mut schema = json!({"type": "object", "description": description, "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if naming == Naming::Rest {
        schema["additionalProperties"] = json!(false);
    }
    schema
}

fn described(field: &Field, naming: Naming) -> Value {
    let mut schema = value(&field.holds, naming);
    schema["description"] = text(field.doc).into();
    if naming == Naming::Rest {
        match field.need {
            Need::Optional => schema["nullable"] = json!(true),
            Need::Or(text) => schema["default"] = json!(text),
            Need::Derived => schema["readOnly"] = json!(true),
            Need::Required | Need::Else(_) | Need::Empty => {}
        }
    }
    schema
}

/// The alias of a field.
fn deprecated(field: &Field, name: &str, naming: Naming) -> Value {
    let mut schema = value(&field.holds, naming);
    match naming {
        Naming::CustomResource => schema["description"] = format!("Deprecated alias of {name}.").into(),
        Naming::Rest => {
            schema["description"] = format!("Alias of {name}.").into();
            schema["deprecated"] = json!(true);
        }
    }
    schema
}

/// Any text but the character NUL, which no database takes.
const NO_NUL: &str = "^[^\\u0000]*$";

fn value(holds: &Holds, naming: Naming) -> Value {
    let mut schema = any(holds, naming);
    if naming == Naming::Rest && matches!(holds, Holds::Text(..) | Holds::Bytes(_)) {
        schema["pattern"] = json!(NO_NUL);
    }
    schema
}

fn any(holds: &Holds, naming: Naming) -> Value {
    match holds {
        Holds::Text(least, most) => sized(json!({"type": "string", "maxLength": most}), "minLength", *least),
        Holds::Bytes(most) => json!({"type": "string", "maxLength": most}),
        Holds::Form(form) => formed(form, naming),
        Holds::Texts(most, chars) => {
            json!({"type": "array", "maxItems": most, "items": {"type": "string", "maxLength": chars}})
        }
        Holds::Flag => json!({"type": "boolean"}),
        Holds::Choice(names) => json!({"type": "string", "enum": names}),
        Holds::Number(least, most) => json!({"type": "number", "minimum": least, "maximum": most}),
        Holds::Integer(least, i64::MAX) => json!({"type": "integer", "format": "int64", "minimum": least}),
        // Those of a custom resource are rules, with codes of their own.
        Holds::Clamped(..) if naming == Naming::CustomResource => json!({"type": "integer", "format": "int64"}),
        Holds::Integer(least, most) | Holds::Clamped(least, most) | Holds::Count(least, most) => {
            json!({"type": "integer", "format": "int64", "minimum": least, "maximum": most})
        }
        Holds::Time => json!({"type": "string", "format": "date-time", "maxLength": 64}),
        Holds::Free(_) if naming == Naming::CustomResource => {
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
        }
        Holds::Free(_) => json!({"type": "object", "additionalProperties": true}),
        Holds::Ref(kinds) => reference(kinds, naming),
        Holds::Object(shape) => schema(&[*shape], naming),
        Holds::List(most, holds) => json!({"type": "array", "maxItems": most, "items": value(holds, naming)}),
    }
}

fn formed(form: &Form, naming: Naming) -> Value {
    let (least, most) = form.chars;
    let mut schema = sized(json!({"type": "string", "maxLength": most}), "minLength", least);
    if let Some(pattern) = form.pattern {
        schema["pattern"] = json!(pattern);
    }
    // A custom resource leaves its words to rules, which have codes.
    if naming == Naming::Rest && !form.words.is_empty() {
        schema["enum"] = json!(form.words);
    }
    schema
}

fn reference(kinds: &[Kind], naming: Naming) -> Value {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let mut schema = json!({
        "type": "object",
        "properties": {
            "kind": {"type": "string", "enum": kinds, "description": "The kind of the object."},
            "id": {
                "type": "string", "minLength": 26, "maxLength": 26,
                "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$", "description": "Its id, a ULID.",
            },
            "role": {
                "type": "string", "minLength": 1, "maxLength": 64, "description": "What it is here, in a word.",
            },
        },
    });
    match naming {
        Naming::CustomResource => {
            schema["required"] = json!(["kind"]);
            schema["properties"]["name"] = json!({
                "type": "string", "minLength": 1, "maxLength": 253,
                "description": "Its name, instead of the id: a custom resource of this namespace.",
            });
        }
        Naming::Rest => {
            schema["required"] = json!(["kind", "id"]);
            schema["additionalProperties"] = json!(false);
            schema["properties"]["role"]["nullable"] = json!(true);
        }
    }
    schema
}

fn sized(mut schema: Value, name: &str, least: usize) -> Value {
    if least > 0 {
        schema[name] = json!(least);
    }
    schema
}

/// The words of a doc comment, which come with a blank before each line.
fn text(doc: &str) -> String {
    doc.trim().to_owned()
}
