//! Work objects without what is so by default, as the record stores them: most fields of most objects are.

use serde_json::{Map, Value};

use super::Kind;
use crate::table::{Holds, Shape};

/// Takes out what [`restore`] puts back.
pub fn shorten(kind: Kind, spec: &mut Value) {
    if let Value::Object(fields) = spec {
        if fields.get("title").is_some_and(|title| *title == usual_title(kind, fields)) {
            fields.remove("title");
        }
        shorten_record(kind.shape(), fields);
    }
}

/// The title that Tasks give: the first line of an Issue's description, the name of an Artifact's file. Null for other kinds.
fn usual_title(kind: Kind, fields: &Map<String, Value>) -> Value {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    match kind {
        Kind::Issue => {
            text("description").lines().next().unwrap_or_default().chars().take(200).collect::<String>().into()
        }
        Kind::Artifact => text("uri").rsplit('/').next().unwrap_or_default().into(),
        _ => Value::Null,
    }
}

/// Puts in what is not there, as it is by default.
pub fn restore(kind: Kind, spec: &mut Value) {
    if let Value::Object(fields) = spec {
        restore_record(kind.shape(), fields);
        if matches!(kind, Kind::Issue | Kind::Artifact) && !fields.contains_key("title") {
            let title = usual_title(kind, fields);
            fields.insert("title".into(), title);
        }
    }
}

fn shorten_record(shape: &Shape, fields: &mut Map<String, Value>) {
    for field in shape.fields {
        let Some(value) = fields.get_mut(field.name) else { continue };
        inner(&field.holds, value, &shorten_record, &|reference: &mut Map<String, Value>| {
            if reference.get("role").is_some_and(Value::is_null) {
                reference.remove("role");
            }
        });
        if field.default().as_ref() == Some(value) {
            fields.remove(field.name);
        }
    }
}

fn restore_record(shape: &Shape, fields: &mut Map<String, Value>) {
    for field in shape.fields {
        if !fields.contains_key(field.name)
            && let Some(default) = field.default()
        {
            fields.insert(field.name.into(), default);
        }
        if let Some(value) = fields.get_mut(field.name) {
            inner(&field.holds, value, &restore_record, &|reference: &mut Map<String, Value>| {
                reference.entry("role").or_insert(Value::Null);
            });
        }
    }
}

/// Does the same with the records within a value, and something with its references.
fn inner(
    holds: &Holds,
    value: &mut Value,
    with: &dyn Fn(&Shape, &mut Map<String, Value>),
    of_reference: &dyn Fn(&mut Map<String, Value>),
) {
    match (holds, value) {
        (Holds::Object(shape), Value::Object(fields)) => with(shape, fields),
        (Holds::Ref(_), Value::Object(fields)) => of_reference(fields),
        (Holds::List(_, holds), Value::Array(entries)) => {
            entries.iter_mut().for_each(|entry| inner(holds, entry, with, of_reference));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Naming;
    use crate::cwom::{Spec, read, strategy};

    fn specs() -> impl Strategy<Value = Spec> {
        let kinds: Vec<Kind> = Kind::ALL.to_vec();
        let documents = prop::sample::select(kinds).prop_flat_map(|kind| {
            strategy::document(kind, Naming::Rest).prop_map(move |document| read(kind, &document, Naming::Rest).0)
        });
        documents.prop_filter_map("not valid", |spec| spec)
    }

    proptest! {
        #[test]
        fn what_is_taken_out_comes_back(spec in specs()) {
            let kind = spec.kind();
            let whole = spec.to_json();
            let mut short = whole.clone();
            shorten(kind, &mut short);
            prop_assert!(short.to_string().len() <= whole.to_string().len());
            restore(kind, &mut short);
            prop_assert_eq!(&short, &whole);
            // What earlier versions stored is whole already.
            restore(kind, &mut short);
            prop_assert_eq!(Spec::from_json(kind, short).unwrap(), spec);
        }
    }

    #[test]
    fn most_of_an_object_is_by_default() {
        let document = serde_json::json!({"scope": "run", "owner": {"actor_kind": "human", "actor_id": "ada"},
            "captured_at": "2026-03-01T12:00:00Z", "constraints": {"time": {"available_minutes": 15.0}}});
        let mut json = read(Kind::ConstraintSnapshot, &document, Naming::Rest).0.unwrap().to_json();
        shorten(Kind::ConstraintSnapshot, &mut json);
        assert_eq!(json, document);
    }
}
