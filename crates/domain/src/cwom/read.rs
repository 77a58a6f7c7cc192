//! The one function that reads a work object, whoever wrote it.
//!
//! Total: any JSON gives all findings. It walks the table of the kind, resolves the defaults, and hands the canonical
//! JSON to the Rust type.

use serde_json::{Map, Value, json};

use super::{Kind, Spec};
use crate::table::Need;
use crate::table::read::Reader;
use crate::{Code, Finding, Naming};

/// More findings than these are not told: a body of nothing but mistakes must not make a longer answer.
const MAX_FINDINGS: usize = 100;

/// Reads a `spec` of `kind`, or a REST body that makes one. A spec comes only with no findings, and without a spec there
/// is a finding.
///
/// A reference in a manifest may have a `name` instead of an `id`. A REST body may name its own `kind`.
pub fn read(kind: Kind, document: &Value, naming: Naming) -> (Option<Spec>, Vec<Finding>) {
    let mut reader = Reader::new(naming).with_at_most(MAX_FINDINGS);
    // What is listed there is not looked at one by one.
    if reader.is_crowded(document) || reader.is_deep(document) {
        return (None, reader.findings);
    }
    let without_kind = without_kind(&mut reader, kind, document);
    let canonical = reader.record(&[kind.shape()], without_kind.as_ref().unwrap_or(document));
    if !reader.findings.is_empty() {
        return (None, reader.findings);
    }
    match Spec::from_json(kind, Value::Object(canonical)) {
        Ok(spec) => (Some(spec), Vec::new()),
        // A safety net that no input is known to reach.
        Err(error) => {
            reader.invalid("", format!("is not a {kind}: {error}"));
            (None, reader.findings)
        }
    }
}

/// Reads `old` with the fields of a REST body put over it (RFC 7396: null restores a default). Which changes are allowed
/// is for [`super::check_update()`] to say.
pub fn patch(old: &Spec, change: &Value) -> (Option<Spec>, Vec<Finding>) {
    let Some(fields) = change.as_object() else {
        return (None, vec![Finding::new(Code::InvalidSpec, Naming::Rest.path(""), "must be an object")]);
    };
    let derived =
        |name: &str| old.kind().shape().fields.iter().any(|field| field.name == name && field.need == Need::Derived);
    let mut merged = old.to_json();
    let mut kept = Map::new();
    if let Some(map) = merged.as_object_mut() {
        let names: Vec<String> = map.keys().filter(|name| derived(name)).cloned().collect();
        kept.extend(names.iter().filter_map(|name| map.remove_entry(name)));
    }
    merge(&mut merged, fields);
    let (spec, findings) = read(old.kind(), &merged, Naming::Rest);
    let spec = spec.and_then(|spec| {
        let mut json = spec.to_json();
        json.as_object_mut()?.extend(kept);
        Spec::from_json(old.kind(), json).ok()
    });
    (spec, findings)
}

fn merge(target: &mut Value, change: &Map<String, Value>) {
    if !target.is_object() {
        *target = json!({});
    }
    let Some(target) = target.as_object_mut() else { return };
    for (name, value) in change {
        match value {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(fields) => merge(target.entry(name.clone()).or_insert(Value::Null), fields),
            value => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
}

/// The document without its `kind`, where it names one.
fn without_kind(reader: &mut Reader, kind: Kind, document: &Value) -> Option<Value> {
    let map = document.as_object().filter(|map| reader.naming == Naming::Rest && map.contains_key("kind"))?;
    if map.get("kind") != Some(&kind.as_str().into()) {
        reader.invalid("kind", format!("must be {kind}"));
    }
    let mut map = map.clone();
    map.remove("kind");
    Some(Value::Object(map))
}
