use std::collections::BTreeSet;

use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use super::*;
use crate::domain::Naming;
use crate::domain::cwom::schema;
use crate::domain::table::Holds;

fn spec_of(kind: Kind) -> Value {
    let definition = serde_json::to_value(definition(kind)).unwrap();
    definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap().clone()
}

/// Every rule, with the place that it stands at.
fn rules(schema: &Value, path: &str, found: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let (rule, message) = (rule["rule"].as_str().unwrap(), rule["message"].as_str().unwrap());
        found.push(format!("{path}: {rule}\n    {message}"));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        rules(property, &format!("{path}.{name}"), found);
    }
    if schema["items"].is_object() {
        rules(&schema["items"], &format!("{path}[]"), found);
    }
}

#[test]
fn names_are_frozen() {
    let names: Vec<Value> = crate::crd::all()
        .into_iter()
        .map(|definition| {
            let names = &definition.spec.names;
            let columns = definition.spec.versions[0].additional_printer_columns.iter().flatten();
            json!({
                "name": definition.metadata.name, "kind": names.kind, "short": names.short_names,
                "categories": names.categories, "scope": definition.spec.scope,
                "columns": columns.map(|column| format!("{} {}", column.name, column.json_path)).collect::<Vec<_>>(),
            })
        })
        .collect();
    insta::assert_yaml_snapshot!(names);
}

#[test]
fn the_rules_are_frozen() {
    for kind in Kind::ALL {
        let mut found = Vec::new();
        rules(&spec_of(kind), "spec", &mut found);
        assert!(found.iter().all(|rule| rule.contains("\n    INVALID_SPEC: spec")), "{found:?}");
        insta::assert_snapshot!(format!("rules_{kind}"), found.join("\n"));
    }
}

#[test]
fn kinds_and_definitions_agree() {
    let mut short = BTreeSet::new();
    for kind in Kind::ALL {
        let (definition, resource) = (definition(kind), api_resource(kind));
        assert_eq!(
            (definition.spec.names.kind.as_str(), definition.spec.names.plural.as_str()),
            (kind.as_str(), kind.plural())
        );
        assert_eq!(
            (resource.kind.as_str(), resource.plural.as_str(), resource.group.as_str()),
            (kind.as_str(), kind.plural(), "jct.dev")
        );
        assert!(definition.spec.names.short_names.unwrap().into_iter().all(|name| short.insert(name)));
    }
}

/// A schema without a bound is a rule whose cost the API server cannot estimate.
#[test]
fn everything_is_bounded() {
    fn look(schema: &Value, path: &str) {
        match schema["type"].as_str() {
            Some("string") => assert!(schema["maxLength"].is_u64(), "{path}"),
            Some("array") => {
                assert!(schema["maxItems"].is_u64(), "{path}");
                look(&schema["items"], &format!("{path}[]"));
            }
            Some("object") => {
                let free = schema["x-kubernetes-preserve-unknown-fields"] == true;
                assert!(free || schema["properties"].is_object(), "{path}");
                for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                    look(property, &format!("{path}.{name}"));
                }
            }
            Some("number" | "integer") => assert!(schema["minimum"].is_number(), "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    for kind in Kind::ALL {
        look(&spec_of(kind), "spec");
    }
}

#[test]
fn the_schema_has_every_field_that_is_written() {
    for kind in Kind::ALL {
        let written = |naming| {
            let schema = schema(kind, naming);
            schema["properties"].as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>()
        };
        let names = kind.shape().fields.iter().map(|field| field.name.to_owned());
        assert_eq!(written(Naming::Rest), names.collect());
        let derived = usize::from(kind == Kind::Issue);
        assert_eq!(written(Naming::CustomResource).len() + derived, kind.shape().fields.len());
        assert!(kind.shape().fields.iter().any(|field| field.name == "meta" && matches!(field.holds, Holds::Free(_))));
    }
    insta::assert_json_snapshot!("openapi_issue", schema(Kind::Issue, Naming::Rest));
}

#[test]
fn any_object_is_kept_as_it_is() {
    let object = json!({
        "apiVersion": "jct.dev/v1", "kind": "Issue", "metadata": {"name": "x"},
        "spec": {"title": 5, "fromTheFuture": {"a": [1, null]}},
    });
    let issue: Issue = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(&issue).unwrap(), object);
    assert_eq!(Issue::crd_name(), "issues.jct.dev");
}
