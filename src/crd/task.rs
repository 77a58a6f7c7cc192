//! The Task custom resource.
//!
//! Its spec is kept as JSON and read by [`crate::domain::task::read()`]; its schema and CEL rules come from the table of a Task's
//! fields. They repeat what is static of the gate, with the same codes in their messages, for when the webhooks are gone. They
//! accept no less than the gate does: the gate speaks first, and names every finding.

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::TaskStatus;
use crate::domain::table::schema::schema;
use crate::domain::table::{Field, Holds, Need, Rule, Shape};
use crate::domain::task::{Controls, Naming, SHAPES, resource};
use crate::domain::{Code, Task as AskedTask};

/// As the author wrote it.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "jct.dev",
    version = "v1",
    kind = "Task",
    plural = "tasks",
    shortname = "jtask",
    category = "jct",
    namespaced,
    status = "TaskStatus",
    doc = "A durable, governed unit of work: gated, recorded, run by a worker Job, traced.",
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Operation","type":"string","jsonPath":".status.operation"}"#,
    printcolumn = r#"{"name":"Repo","type":"string","jsonPath":".status.repo"}"#,
    printcolumn = r#"{"name":"Executor","type":"string","jsonPath":".status.executor","priority":1}"#,
    printcolumn = r#"{"name":"Duration","type":"string","jsonPath":".status.duration","priority":1}"#,
    printcolumn = r#"{"name":"Requester","type":"string","jsonPath":".spec.requestedBy.id","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(transparent)]
pub struct TaskSpec(pub Map<String, Value>);

impl TaskSpec {
    /// The spec that [`crate::domain::task::read()`] reads as `task` with these `controls`.
    pub fn of(task: &AskedTask, controls: &Controls) -> Self {
        Self(resource(task, controls))
    }

    /// The spec as JSON, as [`crate::policy::gate`] reads it.
    pub fn to_json(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

impl JsonSchema for TaskSpec {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TaskSpec".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut spec = schema(&SHAPES, Naming::CustomResource);
        add_rules(&mut spec, &SHAPES, "spec");
        may_be_null(&mut spec);
        if let Some(rules) = spec["x-kubernetes-validations"].as_array_mut() {
            rules.extend(unchanged());
        }
        // An object schema is one, whatever the conversion thinks.
        Schema::try_from(spec).unwrap_or_default()
    }
}

/// Gives each field the rules of its table. Those of an aliased one are its record's: only there both names are seen.
fn add_rules(schema: &mut Value, shapes: &[&Shape], path: &str) {
    let mut of_record = Vec::new();
    for field in shapes.iter().flat_map(|shape| shape.fields) {
        let name = Naming::CustomResource.name(field.name);
        let path = format!("{path}.{name}");
        let mut rules = Vec::new();
        if let Some(alias) = field.alias {
            let has_one = format!("has(self.{name}) || has(self.{alias})");
            rules.extend((field.need == Need::Required).then(|| Rule::new(Code::InvalidSpec, has_one, "is required")));
        }
        rules.extend((field.rules)(&|missing| match field.alias {
            Some(alias) => format!("(has(self.{name}) ? self.{name} : has(self.{alias}) ? self.{alias} : '{missing}')"),
            None => "self".into(),
        }));
        let rules: Vec<Value> = rules.iter().map(|rule| validation(&path, rule)).collect();
        if field.alias.is_some() {
            of_record.extend(rules);
        } else if !rules.is_empty() {
            schema["properties"][&name]["x-kubernetes-validations"] = rules.into();
        }
        if let Holds::Object(inner) = field.holds {
            add_rules(&mut schema["properties"][&name], &[inner], &path);
        }
    }
    if !of_record.is_empty() {
        schema["x-kubernetes-validations"] = of_record.into();
    }
}

fn validation(path: &str, Rule { code, holds, message }: &Rule) -> Value {
    json!({"rule": holds, "message": format!("{code}: {path}: {message}")})
}

/// Null is as good as missing, at every level; in objects of any form it would be a value.
fn may_be_null(schema: &mut Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, field) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        if !required.contains(&json!(name)) && field.get("x-kubernetes-preserve-unknown-fields").is_none() {
            field["nullable"] = json!(true);
        }
        may_be_null(field);
    }
}

/// Which fields one rule says of that they cannot change: the API server bounds the cost of each. Further ones have the last.
const UNCHANGED: [&[&str]; 4] = [
    &["version", "idempotency_key", "requested_by", "objective", "operation", "target"],
    &["constraints", "metadata", "acceptance_criteria", "evidence_requirements"],
    &["inputs"],
    &["create_cwom", "executor", "model", "delivery", "max_attempts", "ttl_seconds_after_finished"],
];

/// The rules that fields are neither added, removed nor changed.
fn unchanged() -> Vec<Value> {
    let fixed = || SHAPES.iter().flat_map(|shape| shape.fields).filter(|field| !field.may_change);
    let of = |names: &[&str]| fixed().filter(|field| names.contains(&field.name)).collect::<Vec<_>>();
    let others = fixed().filter(|field| !UNCHANGED.concat().contains(&field.name)).collect();
    let groups = UNCHANGED.into_iter().map(of).chain([others]).filter(|fields: &Vec<&Field>| !fields.is_empty());
    let message = "only suspend and cancel may change; make a new Task instead";
    groups
        .map(|fields| {
            let names = fields.iter().flat_map(|field| [Some(field.name), field.alias]).flatten();
            let rules: Vec<String> = names
                .map(|name| Naming::CustomResource.name(name))
                .map(|name| {
                    format!("has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})")
                })
                .collect();
            validation("spec", &Rule::new(Code::InvalidSpec, rules.join(" && "), message))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::{Policy, Verdict, judge};

    /// What one door accepts, the other one reads as the same Task.
    fn round_trip(body: &Value, create_cwom: bool) {
        let policy = Policy::default().allowing("octo/");
        let (Verdict::Accepted(task), asked) = judge(body, Naming::Rest, &policy) else { panic!("{body}") };
        for cancel in [false, true] {
            let asked = Controls { create_cwom, cancel, ..asked.clone() };
            let spec = TaskSpec::of(&task, &asked).to_json();
            let (verdict, controls) = judge(&spec, Naming::CustomResource, &policy);
            assert_eq!(verdict, Verdict::Accepted(task.clone()), "{spec}");
            assert_eq!(controls, asked);
        }
    }

    #[test]
    fn the_least_and_the_most_come_through() {
        let least = json!({
            "requested_by": {"kind": "human", "id": "ada"}, "objective": "Look around", "operation": "docs",
            "target": {"repo": "octo/hello"},
        });
        let mut most = json!({
            "version": "1.0", "idempotency_key": "k", "target": {"ref": "v1", "path": "src/a_b"},
            "requested_by": {"label": "Ada"}, "inputs": {"snake_case": {"camelCase": [1.5, null, "\u{0}"]}},
            "metadata": {"time_budget_seconds": 1}, "acceptance_criteria": ["a", ""], "evidence_requirements": ["b"],
            "constraints": {"time_budget_seconds": 31, "allow_network": false, "allow_secrets": false},
            "executor": "agent-1", "max_attempts": 3, "ttl_seconds_after_finished": 0, "suspend": true,
        });
        round_trip(&least, true);
        let both = least.clone();
        json_patch::merge(&mut most, &both);
        round_trip(&most, false);
    }

    #[test]
    fn aliases_come_through_as_what_they_stand_for() {
        let body = json!({
            "requested_by": {"kind": "agent", "id": "bot"}, "objective": "  Look around ", "type": "ops",
            "target": {"repository": "Octo/Hello.git", "ref": ""}, "payload": {"a": 1},
        });
        round_trip(&body, true);
    }

    /// Operators of other versions hold such objects against what they would write.
    #[test]
    fn what_is_written_is_frozen() {
        let body = json!({
            "requested_by": {"kind": "agent", "id": "bot"}, "objective": "Look around", "type": "ops",
            "target": {"repo": "octo/hello"},
        });
        let (Verdict::Accepted(task), controls) = judge(&body, Naming::Rest, &Policy::default().allowing("octo/"))
        else {
            panic!()
        };
        let written = json!({
            "version": "1.0", "requestedBy": {"kind": "agent", "id": "bot"}, "objective": "Look around",
            "operation": "ops", "target": {"repo": "octo/hello", "ref": "main"},
            "constraints": {"timeBudgetSeconds": 900, "allowNetwork": false, "allowSecrets": false},
        });
        assert_eq!(TaskSpec::of(&task, &controls).to_json(), written);
    }

    /// A field that no rule says of that it cannot change could be changed without the webhooks.
    #[test]
    fn every_field_is_fixed_once_unless_it_may_change() {
        let rules: Vec<String> = unchanged().iter().map(|rule| rule["rule"].as_str().unwrap().to_owned()).collect();
        let mut seen = 0;
        for field in SHAPES.iter().flat_map(|shape| shape.fields) {
            for name in [Some(field.name), field.alias].into_iter().flatten() {
                let name = Naming::CustomResource.name(name);
                let of = rules.iter().filter(|rule| rule.contains(&format!("has(oldSelf.{name}) "))).count();
                assert_eq!(of, usize::from(!["suspend", "cancel"].contains(&&*name)), "{name}");
                seen += of;
            }
        }
        assert!(seen >= 17, "{seen}");
    }

    proptest! {
        #[test]
        fn any_task_comes_through(
            objective in "[a-zA-Zé][^\u{0}]{3,60}[a-z]", key in proptest::option::of("\\PC{1,30}"),
            id in "[^\u{0}]{1,40}", path in "([a-z_]{1,8}/){0,3}[a-z]{1,5}", budget in 30..=86_400u32,
            names in proptest::collection::vec("[a-zA-Z_]{1,12}", 0..4),
            criteria in proptest::collection::vec("[^\u{0}]{0,40}", 0..4),
        ) {
            let inputs: Map<_, _> = names.iter().map(|name| (name.clone(), json!({name: [name]}))).collect();
            round_trip(&json!({
                "requested_by": {"kind": "system", "id": id}, "objective": objective, "operation": "analysis",
                "idempotency_key": key, "target": {"repo": "octo/hello", "path": path},
                "constraints": {"time_budget_seconds": budget}, "inputs": inputs, "acceptance_criteria": criteria,
            }), true);
        }
    }
}
