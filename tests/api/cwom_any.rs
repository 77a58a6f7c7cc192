//! Any document that the OpenAPI document calls valid is accepted, and comes back as it was sent.

use std::sync::atomic::{AtomicUsize, Ordering};

use jct::domain::cwom::Kind;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rstest::rstest;
use serde_json::{Map, Value, json};

use crate::work::{Known, one, path, to};
use crate::world::{ADA, World};

/// Text of so many characters, some of them odd; never NUL.
fn text(least: usize, most: usize) -> BoxedStrategy<String> {
    let odd = prop::sample::select(vec!['\u{1}', '\n', '"', '\'', '\\', ' ', 'ß', 'İ', '\u{200d}', '\u{feff}', '🦀']);
    let any = prop_oneof![4 => prop::char::range('a', 'z'), 1 => odd, 1 => any::<char>()];
    let any = any.prop_map(|c| if c == '\0' { '0' } else { c });
    prop::collection::vec(any, least..=most.min(least + 12)).prop_map(String::from_iter).boxed()
}

fn any_object() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text(0, 12).prop_map(Value::from),
    ];
    let object = |inner: BoxedStrategy<Value>| {
        prop::collection::btree_map(text(0, 8), inner, 0..4)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()))
            .boxed()
    };
    let nested = leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from), object(inner.boxed())]
    });
    object(nested.boxed())
}

/// Anything that fits `schema`. References are to `known` objects.
fn fitting(schema: &Value, known: &Known) -> BoxedStrategy<Value> {
    if let Some(types) = schema["type"].as_array() {
        let mut schema = schema.clone();
        schema["type"] = types[0].clone();
        if let Some(names) = schema["enum"].as_array_mut() {
            names.retain(|name| !name.is_null());
        }
        return prop_oneof![1 => Just(Value::Null), 3 => fitting(&schema, known)].boxed();
    }
    let number = |name: &str| schema[name].as_f64();
    let size = |name: &str, otherwise: u64| schema[name].as_u64().unwrap_or(otherwise) as usize;
    if let Some(names) = schema["enum"].as_array() {
        return prop::sample::select(names.clone()).boxed();
    }
    match schema["type"].as_str().unwrap() {
        "string" if schema["format"] == "date-time" => (-60_000_000_000_000_000_i64..250_000_000_000_000_000)
            .prop_map(|at| json!(Timestamp::from_microsecond(at).unwrap()))
            .boxed(),
        "string" => text(size("minLength", 0), size("maxLength", 12)).prop_map(Value::from).boxed(),
        "integer" => (0..=i64::MAX).prop_map(Value::from).boxed(),
        "number" => (number("minimum").unwrap()..=number("maximum").unwrap()).prop_map(Value::from).boxed(),
        "array" => prop::collection::vec(fitting(&schema["items"], known), 0..=size("maxItems", 3).min(3))
            .prop_map(|entries| Value::Array(once_each(entries)))
            .boxed(),
        "object" if schema["additionalProperties"] == true => any_object(),
        "object" if schema["properties"]["role"].is_object() => {
            let kind = Kind::parse(schema["properties"]["kind"]["enum"][0].as_str().unwrap()).unwrap();
            let reference = to(&known[&kind]);
            prop::option::of(text(1, 64)).prop_map(move |role| with_role(&reference, role)).boxed()
        }
        "object" => fields(schema, known),
        other => panic!("{other}"),
    }
}

fn with_role(reference: &Value, role: Option<String>) -> Value {
    let mut reference = reference.clone();
    if let Some(role) = role {
        reference["role"] = json!(role);
    }
    reference
}

/// The same object twice is a finding.
fn once_each(entries: Vec<Value>) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    for entry in entries {
        if entry["id"].is_null() || !kept.iter().any(|other| other["id"] == entry["id"]) {
            kept.push(entry);
        }
    }
    kept
}

fn fields(schema: &Value, known: &Known) -> BoxedStrategy<Value> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = schema["properties"].as_object().unwrap().iter().map(|(name, field)| {
        let value = fitting(field, known);
        let value = if required.contains(&name.as_str()) {
            value.prop_map(Some).boxed()
        } else {
            prop::option::of(value).boxed()
        };
        let name = name.clone();
        value.prop_map(move |value| value.map(|value| (name.clone(), value)))
    });
    fields
        .collect::<Vec<_>>()
        .prop_map(|fields| Value::Object(fields.into_iter().flatten().collect::<Map<_, _>>()))
        .boxed()
}

/// What of `sent` is not in `got`; null stands for a default, but not within `meta`.
fn lost(at: &str, sent: &Value, got: &Value) -> Vec<String> {
    match (sent, got) {
        (sent, got) if sent == got => Vec::new(),
        (Value::Null, _) => Vec::new(),
        (Value::Object(sent), Value::Object(got)) if !at.ends_with(".meta") => {
            let lost = |(name, sent): (&String, &Value)| {
                lost(&format!("{at}.{name}"), sent, got.get(name).unwrap_or(&Value::Null))
            };
            sent.iter().flat_map(lost).collect()
        }
        (Value::Array(sent), Value::Array(got)) if sent.len() == got.len() => {
            sent.iter().zip(got).flat_map(|(sent, got)| lost(&format!("{at}[]"), sent, got)).collect()
        }
        (sent, got) => vec![format!("{at}: sent {sent}, got {got}")],
    }
}

/// What the document calls valid and the model does not: what must be unique is, and no Issue comes before itself.
fn sensible(kind: Kind, mut document: Value, number: usize) -> Value {
    match kind {
        Kind::Repo => document["slug"] = json!(format!("{number}/{}", document["slug"].as_str().unwrap())),
        Kind::DoctrineRef => document["version"] = json!(format!("{number}")),
        Kind::Issue if document["relationships"]["blocks"].as_array().is_some_and(|list| !list.is_empty()) => {
            document["relationships"].as_object_mut().unwrap().remove("blocked_by");
        }
        _ => {}
    }
    document
}

#[rstest]
fn any_valid_document_comes_back_the_same(
    #[values(
        Kind::Repo,
        Kind::Issue,
        Kind::ContextPacket,
        Kind::ConstraintSnapshot,
        Kind::DoctrineRef,
        Kind::Run,
        Kind::Artifact
    )]
    kind: Kind,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let known = runtime.block_on(world.one_of_each());
    let schema = jct::api::document()["components"]["schemas"][format!("{kind}Spec")].clone();
    let count = AtomicUsize::new(0);
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&fitting(&schema, &known), |document| {
        let document = sensible(kind, document, count.fetch_add(1, Ordering::SeqCst));
        let posted = runtime.block_on(world.post(ADA, path(kind), &document));
        prop_assert_eq!(posted.status, 201, "{} {}", posted.text, document);
        let object = &posted.body[kind.snake_case()];
        let got = runtime.block_on(world.get(ADA, &one(object))).body;
        prop_assert_eq!(&got, object);
        prop_assert_eq!(lost(kind.as_str(), &document, &got), Vec::<String>::new());
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
