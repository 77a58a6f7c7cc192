use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::Code;

fn policy() -> Policy {
    Policy::default().allowing("myorg/, octo/hello ,,")
}

fn spec(change: Value) -> Value {
    let mut spec = json!({
        "requestedBy": {"kind": "human", "id": "ada"},
        "objective": "Look around",
        "operation": "analysis",
        "target": {"repo": "myorg/api"},
    });
    json_patch::merge(&mut spec, &change);
    spec
}

fn codes(spec: &Value, policy: &Policy) -> Vec<Code> {
    gate(spec, Naming::CustomResource, policy).findings().iter().map(|finding| finding.code).collect()
}

#[rstest]
#[case(json!({}), vec![])]
#[case(json!({"operation": "deploy"}), vec![Code::InvalidOperation])]
#[case(json!({"operation": ""}), vec![Code::InvalidOperation])]
#[case(json!({"operation": "Analysis"}), vec![Code::InvalidOperation])]
#[case(json!({"target": {"repo": "MyOrg/API.git"}}), vec![])]
#[case(json!({"target": {"repo": "myorg-evil/x"}}), vec![Code::RepoNotAllowed])]
#[case(json!({"target": {"repo": "other/x"}}), vec![Code::RepoNotAllowed])]
#[case(json!({"target": {"repo": "octo/hello-world"}}), vec![])]
#[case(json!({"constraints": {"timeBudgetSeconds": 29}}), vec![Code::TimeBudgetTooLow])]
#[case(json!({"constraints": {"timeBudgetSeconds": 30}}), vec![])]
#[case(json!({"constraints": {"timeBudgetSeconds": 86400}}), vec![])]
#[case(json!({"constraints": {"timeBudgetSeconds": 86401}}), vec![Code::TimeBudgetTooHigh])]
#[case(json!({"constraints": {"timeBudgetSeconds": -1}}), vec![Code::TimeBudgetTooLow])]
#[case(json!({"constraints": {"timeBudgetSeconds": 9_223_372_036_854_775_808_u64}}), vec![Code::TimeBudgetTooHigh])]
#[case(json!({"constraints": {"allowNetwork": true}}), vec![Code::NetworkAccessDenied])]
#[case(json!({"constraints": {"allowSecrets": true}}), vec![Code::SecretsAccessDenied])]
#[case(json!({"objective": "x", "operation": "x"}), vec![Code::InvalidSpec, Code::InvalidOperation])]
fn decides(#[case] change: Value, #[case] expected: Vec<Code>) {
    assert_eq!(codes(&spec(change), &policy()), expected);
}

#[test]
fn all_findings_come_in_the_order_of_the_contract() {
    let worst = spec(json!({
        "operation": "deploy", "target": {"repo": "evil/x"},
        "constraints": {"timeBudgetSeconds": 1, "allowNetwork": true, "allowSecrets": true},
    }));
    let expected = [
        Code::InvalidOperation,
        Code::RepoNotAllowed,
        Code::TimeBudgetTooLow,
        Code::NetworkAccessDenied,
        Code::SecretsAccessDenied,
    ];
    assert_eq!(codes(&worst, &policy()), expected);
}

#[test]
fn no_prefixes_deny_all() {
    for prefixes in ["", " , ,"] {
        assert_eq!(codes(&spec(json!({})), &Policy::default().allowing(prefixes)), [Code::RepoNotAllowed]);
    }
}

#[test]
fn a_tighter_policy_has_the_same_codes() {
    let tight = Policy { max_time_budget_seconds: 600, ..policy() };
    assert_eq!(codes(&spec(json!({})), &tight), [Code::TimeBudgetTooHigh]);
}

#[test]
fn findings_name_the_field_as_the_door_writes_it() {
    let body = json!({
        "requested_by": {"kind": "human", "id": "ada"}, "objective": "Look around", "operation": "ops",
        "target": {"repo": "myorg/api"}, "constraints": {"time_budget_seconds": 1},
    });
    assert_eq!(gate(&body, Naming::Rest, &policy()).findings()[0].field, "constraints.time_budget_seconds");
    let resource = spec(json!({"constraints": {"timeBudgetSeconds": 1}}));
    assert_eq!(
        gate(&resource, Naming::CustomResource, &policy()).findings()[0].field,
        "spec.constraints.timeBudgetSeconds"
    );
}

/// Any JSON, with the names of our fields among the keys.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop_oneof![Just("human"), Just("analysis"), Just("1.0"), Just("myorg/api"), Just("Look around")]
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 8, |inner| {
        let key = prop_oneof![
            4 => prop::sample::select(vec![
                "version", "requestedBy", "kind", "id", "label", "objective", "operation", "type", "target", "repo",
                "repository", "ref", "path", "constraints", "timeBudgetSeconds", "allowNetwork", "allowSecrets",
                "inputs", "payload", "metadata", "acceptanceCriteria", "maxAttempts", "executor", "suspend",
            ]).prop_map(String::from),
            1 => ".{0,8}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..8).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Specs that are mostly right, so that many pass.
fn likely_spec() -> impl Strategy<Value = Value> {
    let repo = prop_oneof![
        3 => "[mM]yorg/[a-zA-Z0-9._-]{1,8}(\\.git)?",
        1 => "( |\u{200b}|/|\\.\\./|https://)?(myorg|m\u{443}org|MYORG|myorg-evil|myorg%2f)(/|\\\\|//)[a-z.]{0,6}( |\\.git|\\?x|#y|/z)?",
    ];
    let operation = prop::sample::select(vec!["code_change", "docs", "analysis", "ops", "deploy"]);
    let budget = prop_oneof![3 => 30i64..=86400, 1 => any::<i64>()];
    (repo, operation, budget, prop::bool::weighted(0.1), ".{0,3}[a-z ]{4,12}.{0,3}", any_json()).prop_map(
        |(repo, operation, budget, network, objective, inputs)| {
            spec(json!({
                "operation": operation, "objective": objective, "target": {"repo": repo},
                "constraints": {"timeBudgetSeconds": budget, "allowNetwork": network},
                "inputs": {"x": inputs},
            }))
        },
    )
}

proptest! {
    #[test]
    fn never_panics(json in any_json(), rest: bool) {
        let naming = if rest { Naming::Rest } else { Naming::CustomResource };
        let verdict = gate(&json, naming, &policy());
        if let Verdict::Refused(findings) = verdict {
            prop_assert!(!findings.is_empty());
        }
    }

    #[test]
    fn an_accepted_task_violates_no_rule(spec in likely_spec()) {
        if let Verdict::Accepted(task) = gate(&spec, Naming::CustomResource, &policy()) {
            let repo = task.target.repo.as_str();
            prop_assert!(repo.starts_with("myorg/") || repo.starts_with("octo/hello"));
            prop_assert_eq!(repo.matches('/').count(), 1);
            prop_assert!(repo.is_ascii() && !repo.contains(".."));
            prop_assert!((30..=86400).contains(&task.constraints.time_budget_seconds));
            prop_assert!(!task.constraints.allow_network && !task.constraints.allow_secrets);
            prop_assert!(task.objective.chars().count() >= 5);
        }
    }

    #[test]
    fn normalization_is_idempotent(spec in likely_spec()) {
        if let Verdict::Accepted(task) = gate(&spec, Naming::CustomResource, &policy()) {
            // What was stored, read again as a REST body, is the same Task.
            let body = serde_json::to_value(&task).unwrap();
            let Verdict::Accepted(again) = gate(&body, Naming::Rest, &policy()) else {
                return Err(TestCaseError::fail(format!("refused: {body}")));
            };
            prop_assert_eq!(task, again);
        }
    }
}
