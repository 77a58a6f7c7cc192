//! The schema of a work object's spec, with CEL rules that carry our codes for when the webhooks are gone.
//!
//! They refuse no more than the webhook does, save that an immutable spec cannot even be written in other words. Whether
//! entries of an append-only list keep their order is for the webhook alone. The API server estimates the cost of each rule
//! from the limits of the schema: everything is bounded, for a rule on something unbounded would be refused.

use schemars::Schema;
use serde_json::{Value, json};

use crate::domain::Naming;
use crate::domain::cwom::{Change, Kind, Status, change, schema};
use crate::domain::table::{Holds, Need, Shape};

/// The schema of the spec of `kind`.
pub fn spec_schema(kind: Kind) -> Schema {
    let mut spec = schema(kind, Naming::CustomResource);
    carry_codes(&mut spec, "spec");
    let rules = if kind.is_immutable() { vec![immutable(kind)] } else { changes(kind) };
    if !rules.is_empty() {
        spec["x-kubernetes-validations"] = rules.into();
    }
    // An object schema is one, whatever the conversion thinks.
    Schema::try_from(spec).unwrap_or_default()
}

fn rule(rule: impl Into<String>, path: &str, message: &str) -> Value {
    json!({"rule": rule.into(), "message": format!("INVALID_SPEC: {path}: {message}")})
}

/// Turns each enumeration into a rule with our code, and lets each reference have exactly one of id and name.
fn carry_codes(schema: &mut Value, path: &str) {
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(Value::Array(names)) = map.remove("enum") {
        let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        let message = format!("must be one of {}", names.join(", "));
        map.insert("maxLength".into(), json!(32));
        map.insert("x-kubernetes-validations".into(), json!([rule(among("self", &names), path, &message)]));
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        let is_ref = properties.contains_key("kind") && properties.contains_key("role");
        for (name, property) in properties {
            carry_codes(property, &format!("{path}.{name}"));
        }
        if is_ref {
            let one = rule("has(self.id) != has(self.name)", path, "must have either an id or a name");
            map.insert("x-kubernetes-validations".into(), json!([one]));
        }
    }
    if let Some(items) = map.get_mut("items") {
        carry_codes(items, &format!("{path}[]"));
    }
}

fn among(what: &str, names: &[&str]) -> String {
    format!("{what} in ['{}']", names.join("', '"))
}

fn immutable(kind: Kind) -> Value {
    rule("self == oldSelf", "spec", &format!("a {kind} is immutable; make a new {kind} instead"))
}

/// A rule for each field whose changes are limited.
fn changes(kind: Kind) -> Vec<Value> {
    let mut rules = Vec::new();
    for field in kind.shape().fields {
        let name = Naming::CustomResource.name(field.name);
        let path = format!("spec.{name}");
        match change(kind, field.name) {
            Change::Free => {}
            Change::Never => {
                let property = escaped(&name);
                let same = format!("self.{property} == oldSelf.{property}");
                rules.push(rule(same, &path, "cannot change; make a new object instead"));
            }
            Change::Once => rules.push(rule(kept(&[&name]), &path, "cannot change once it is set")),
            Change::Lifecycle => rules.push(lifecycle(kind, &name, field.need)),
            Change::Append => {
                if let Holds::Object(shape) = &field.holds {
                    rules.extend(appended(shape, &name));
                }
            }
        }
    }
    rules
}

/// Whatever was there is there still.
fn kept(path: &[&str]) -> String {
    let (was, is, there_was, there_is) = places(path);
    format!("!({there_was}) || ({there_is} && {is} == {was})")
}

/// Every list keeps its entries, everything else its value. That entries keep their order is for the webhook to say.
fn appended(shape: &Shape, name: &str) -> Vec<Value> {
    let fields = shape.fields.iter().map(|field| {
        let inner = Naming::CustomResource.name(field.name);
        let path = format!("spec.{name}.{inner}");
        let (was, is, there_was, there_is) = places(&[name, &inner]);
        match field.holds {
            Holds::List(..) => rule(
                format!("!({there_was}) || size({was}) == 0 || ({there_is} && {was}.all(entry, entry in {is}))"),
                &path,
                "is append-only: the entries that are there must stay",
            ),
            _ => rule(kept(&[name, &inner]), &path, "is append-only: it cannot change once it is set"),
        }
    });
    fields.collect()
}

/// A field's old and new value, and whether there is one.
fn places(path: &[&str]) -> (String, String, String, String) {
    let value = |of: &str| format!("{of}.{}", path.join("."));
    let there = |of: &str| {
        let steps: Vec<String> = (1..=path.len()).map(|end| format!("has({of}.{})", path[..end].join("."))).collect();
        steps.join(" && ")
    };
    (value("oldSelf"), value("self"), there("oldSelf"), there("self"))
}

/// A property's name in CEL, where `namespace` is a reserved word.
fn escaped(name: &str) -> String {
    if name == "namespace" { format!("__{name}__") } else { name.into() }
}

fn lifecycle(kind: Kind, name: &str, need: Need) -> Value {
    let default = if let Need::Or(default) = need { default } else { "" };
    let value = |of: &str| format!("(has({of}.{name}) ? {of}.{name} : '{default}')");
    let (is, was) = (value("self"), value("oldSelf"));
    let ways: Vec<String> = Status::ALL
        .iter()
        .filter(|from| !from.is_terminal(kind))
        .map(|from| {
            let next: Vec<&str> = from.next(kind).iter().map(|status| status.as_str()).collect();
            format!("({was} == '{from}' && {})", among(&is, &next))
        })
        .collect();
    let message = "cannot go from its old value to this one";
    rule(format!("{is} == {was} || {}", ways.join(" || ")), &format!("spec.{name}"), message)
}
