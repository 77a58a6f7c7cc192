//! For tests: documents of every kind, made from the tables.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::Kind;
use crate::Naming;
use crate::table::{Field, Holds, Need, Shape};

/// Text of so many characters, some of them odd; never NUL.
pub fn text(least: usize, most: usize) -> BoxedStrategy<String> {
    let odd =
        prop::sample::select(vec!['\u{1}', '\n', '"', '\\', ' ', '\u{a0}', 'ß', 'İ', '\u{200d}', '\u{feff}', '🦀']);
    let any = prop_oneof![4 => prop::char::range('a', 'z'), 1 => odd, 1 => any::<char>()];
    let any = any.prop_map(|c| if c == '\0' { '0' } else { c });
    prop::collection::vec(any, least..=most.min(least + 12)).prop_map(String::from_iter).boxed()
}

/// Any JSON, numbers with fractions among it.
pub fn any_json(keys: BoxedStrategy<String>) -> BoxedStrategy<Value> {
    let number = prop_oneof![any::<i64>().prop_map(Value::from), any::<u64>().prop_map(Value::from)];
    let fraction = any::<f64>().prop_map(Value::from);
    let words = prop::sample::select(vec!["planned", "Issue", "human", "feature", "2026-03-01T12:00:00Z", "P0"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        fraction,
        words.prop_map(Value::from),
        text(0, 12).prop_map(Value::from),
    ];
    let nested = leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    nested.boxed()
}

/// Any JSON object.
pub fn any_object() -> BoxedStrategy<Map<String, Value>> {
    prop::collection::btree_map(text(0, 8), any_json(text(0, 8)), 0..3)
        .prop_map(|map| map.into_iter().collect())
        .boxed()
}

/// The names of all fields of a kind, at every level.
pub fn names(shape: &Shape, naming: Naming) -> Vec<String> {
    fn nested(holds: &Holds, naming: Naming) -> Vec<String> {
        match holds {
            Holds::Object(shape) => names(shape, naming),
            Holds::List(_, holds) => nested(holds, naming),
            Holds::Ref(_) => ["kind", "id", "name", "role"].map(String::from).to_vec(),
            _ => Vec::new(),
        }
    }
    let own = |field: &Field| [vec![naming.name(field.name)], nested(&field.holds, naming)].concat();
    shape.fields.iter().flat_map(own).collect()
}

/// Documents that are valid for `kind`.
pub fn document(kind: Kind, naming: Naming) -> BoxedStrategy<Value> {
    record(kind.shape(), naming)
}

fn record(shape: &'static Shape, naming: Naming) -> BoxedStrategy<Value> {
    let written = shape.fields.iter().filter(|field| field.need != Need::Derived);
    let fields: Vec<BoxedStrategy<(String, Option<Value>)>> = written
        .map(|field| {
            let name = naming.name(field.name);
            let value = value(&field.holds, naming);
            let value = match field.need {
                Need::Required => value.prop_map(Some).boxed(),
                _ => prop::option::weighted(0.6, value).boxed(),
            };
            value.prop_map(move |value| (name.clone(), value)).boxed()
        })
        .collect();
    fields
        .prop_map(|fields| Value::Object(fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()))
        .boxed()
}

fn value(holds: &'static Holds, naming: Naming) -> BoxedStrategy<Value> {
    match holds {
        Holds::Text(least, most) => text(*least, *most).prop_map(Value::from).boxed(),
        Holds::Bytes(_) => text(0, 12).prop_map(Value::from).boxed(),
        Holds::Choice(names) => prop::sample::select(*names).prop_map(Value::from).boxed(),
        Holds::Number(least, most) => (*least..=*most).prop_map(Value::from).boxed(),
        Holds::Integer(least, most) => (*least..=*most).prop_map(Value::from).boxed(),
        Holds::Time => {
            (0..4_000_000_000_000_000_i64).prop_map(|us| json!(jiff::Timestamp::from_microsecond(us).unwrap())).boxed()
        }
        Holds::Free(_) => any_object().prop_map(Value::from).boxed(),
        Holds::Form(_) | Holds::Texts(..) | Holds::Flag | Holds::Clamped(..) | Holds::Count(..) => {
            panic!("no work object holds {holds:?}")
        }
        Holds::Ref(kinds) => reference(kinds, naming),
        Holds::Object(shape) => record(shape, naming),
        Holds::List(most, holds) => {
            // The same object twice is a finding.
            let unique = |entries: Vec<Value>| {
                let target = |entry: &Value| (entry.get("id").cloned(), entry.get("name").cloned());
                let mut seen = Vec::new();
                let is_new = |entry: &Value| {
                    !seen.contains(&target(entry)) && {
                        seen.push(target(entry));
                        true
                    }
                };
                entries.into_iter().filter(is_new).collect()
            };
            prop::collection::vec(value(holds, naming), 0..=(*most).min(3))
                .prop_map(move |entries| {
                    Value::Array(if matches!(holds, Holds::Ref(_)) { unique(entries) } else { entries })
                })
                .boxed()
        }
    }
}

fn reference(kinds: &'static [Kind], naming: Naming) -> BoxedStrategy<Value> {
    let kind = prop::sample::select(kinds).prop_map(Kind::as_str);
    let id = any::<u128>().prop_map(|bits| ("id", ulid::Ulid(bits).to_string()));
    let name = "[a-z]([a-z0-9-]{0,8}[a-z0-9])?".prop_map(|name| ("name", name));
    let target = match naming {
        Naming::CustomResource => prop_oneof![id, name].boxed(),
        Naming::Rest => id.boxed(),
    };
    (kind, target, prop::option::of(text(1, 64)))
        .prop_map(|(kind, (key, target), role)| match role {
            None => json!({"kind": kind, key: target}),
            Some(role) => json!({"kind": kind, key: target, "role": role}),
        })
        .boxed()
}
