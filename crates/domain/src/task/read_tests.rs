use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::Code;

fn minimal() -> Value {
    json!({
        "requestedBy": {"kind": "human", "id": "ada"},
        "objective": "Look around",
        "operation": "analysis",
        "target": {"repo": "octo/hello"},
    })
}

/// The minimal spec with `change` merged into it (RFC 7396: null removes).
fn with(change: Value) -> Value {
    let mut spec = minimal();
    json_patch::merge(&mut spec, &change);
    spec
}

fn findings(spec: &Value) -> Vec<String> {
    read(spec, Naming::CustomResource).1.iter().map(ToString::to_string).collect()
}

fn task(spec: &Value) -> (Task, Controls) {
    let (draft, findings) = read(spec, Naming::CustomResource);
    assert_eq!(findings, []);
    let controls = draft.controls.clone();
    (draft.into_task().unwrap(), controls)
}

#[test]
fn defaults_are_resolved() {
    let (task, controls) = task(&minimal());
    assert_eq!(
        serde_json::to_value(&task).unwrap(),
        json!({
            "version": "1.0",
            "idempotency_key": null,
            "requested_by": {"kind": "human", "id": "ada", "label": null},
            "objective": "Look around",
            "operation": "analysis",
            "target": {"repo": "octo/hello", "ref": "main", "path": ""},
            "constraints": {"time_budget_seconds": 900, "allow_network": false, "allow_secrets": false},
            "inputs": {},
            "metadata": {},
            "acceptance_criteria": [],
            "evidence_requirements": [],
        })
    );
    assert_eq!(controls, Controls::default());
}

#[test]
fn aliases_are_resolved_and_the_canonical_field_wins() {
    let aliased = with(json!({
        "operation": null, "type": "docs",
        "payload": {"a": 1},
        "target": {"repo": null, "repository": "octo/old"},
    }));
    let (resolved, _) = task(&aliased);
    assert_eq!(resolved.operation, Operation::Docs);
    assert_eq!(resolved.target.repo.as_str(), "octo/old");
    assert_eq!(resolved.inputs["a"], 1);

    let both =
        with(json!({"type": "nonsense", "payload": {"a": 1}, "inputs": {"b": 2}, "target": {"repository": "../x"}}));
    let (resolved, _) = task(&both);
    assert_eq!(resolved.operation, Operation::Analysis);
    assert_eq!(resolved.target.repo.as_str(), "octo/hello");
    assert_eq!(Value::Object(resolved.inputs), json!({"b": 2}));
}

#[test]
fn both_doors_read_the_same_task() {
    let rest = json!({
        "idempotency_key": "k", "requested_by": {"kind": "agent", "id": "bot"}, "objective": "Look around",
        "operation": "ops", "target": {"repo": "octo/hello", "ref": ""}, "constraints": {"time_budget_seconds": 60},
    });
    let resource = json!({
        "idempotencyKey": "k", "requestedBy": {"kind": "agent", "id": "bot"}, "objective": " Look around ",
        "operation": "ops", "target": {"repo": "Octo/hello.git"}, "constraints": {"timeBudgetSeconds": 60},
    });
    let (draft, findings) = read(&rest, Naming::Rest);
    assert_eq!(findings, []);
    assert_eq!(draft.into_task().unwrap(), task(&resource).0);
}

#[rstest]
#[case(json!({"objective": null}), "INVALID_SPEC: spec.objective: is required")]
#[case(json!({"objective": "     "}), "INVALID_SPEC: spec.objective: must be 5 to 4000")]
#[case(json!({"objective": " abcd "}), "INVALID_SPEC: spec.objective: must be 5 to 4000")]
#[case(json!({"objective": "x".repeat(4001)}), "INVALID_SPEC: spec.objective: must be 5 to 4000")]
#[case(json!({"objective": 5}), "INVALID_SPEC: spec.objective: must be a string")]
#[case(json!({"version": "2.0"}), "INVALID_SPEC: spec.version: must be \"1.0\"")]
#[case(json!({"version": 1.0}), "INVALID_SPEC: spec.version: must be a string")]
#[case(json!({"operation": null}), "INVALID_SPEC: spec.operation: is required")]
#[case(json!({"operation": ["docs"]}), "INVALID_SPEC: spec.operation: must be a string")]
#[case(json!({"requestedBy": null}), "INVALID_SPEC: spec.requestedBy: is required")]
#[case(json!({"requestedBy": {"kind": "robot"}}), "INVALID_SPEC: spec.requestedBy.kind: must be one of")]
#[case(json!({"requestedBy": {"id": ""}}), "INVALID_SPEC: spec.requestedBy.id: must be 1 to 128")]
#[case(json!({"requestedBy": {"id": "x".repeat(129)}}), "INVALID_SPEC: spec.requestedBy.id: must be 1 to 128")]
#[case(json!({"requestedBy": {"id": null}}), "INVALID_SPEC: spec.requestedBy.id: is required")]
#[case(json!({"target": "octo/hello"}), "INVALID_SPEC: spec.target: must be an object")]
#[case(json!({"target": {"repo": null}}), "INVALID_SPEC: spec.target.repo: is required")]
#[case(json!({"target": {"repo": "a/b/c"}}), "INVALID_SPEC: spec.target.repo: must be owner/name")]
#[case(json!({"target": {"ref": "-x"}}), "INVALID_SPEC: spec.target.ref: must not begin with '-'")]
#[case(json!({"target": {"ref": "x".repeat(257)}}), "INVALID_SPEC: spec.target.ref: must be 0 to 256")]
#[case(json!({"target": {"path": "../../etc"}}), "INVALID_SPEC: spec.target.path: must be relative")]
#[case(json!({"target": {"path": "/etc"}}), "INVALID_SPEC: spec.target.path: must be relative")]
#[case(json!({"constraints": {"timeBudgetSeconds": 30.5}}), "INVALID_SPEC: spec.constraints.timeBudgetSeconds: must be a whole")]
#[case(json!({"constraints": {"timeBudgetSeconds": "60"}}), "INVALID_SPEC: spec.constraints.timeBudgetSeconds: must be a whole")]
#[case(json!({"constraints": {"allowNetwork": "true"}}), "INVALID_SPEC: spec.constraints.allowNetwork: must be true or false")]
#[case(json!({"inputs": []}), "INVALID_SPEC: spec.inputs: must be an object")]
#[case(json!({"inputs": {"x": "y".repeat(1 << 20)}}), "INVALID_SPEC: spec.inputs: must be at most 256 KiB of JSON, is 1025 KiB")]
#[case(json!({"payload": {"x": "y".repeat(1 << 20)}}), "INVALID_SPEC: spec.payload: must be at most 256 KiB")]
#[case(json!({"metadata": {"x": "y".repeat(1 << 16)}}), "INVALID_SPEC: spec.metadata: must be at most 64 KiB")]
#[case(json!({"acceptanceCriteria": vec!["x"; 51]}), "INVALID_SPEC: spec.acceptanceCriteria: must have at most 50")]
#[case(json!({"acceptanceCriteria": ["x".repeat(1001)]}), "INVALID_SPEC: spec.acceptanceCriteria[0]: must be at most 1000")]
#[case(json!({"evidenceRequirements": [1]}), "INVALID_SPEC: spec.evidenceRequirements[0]: must be a string")]
#[case(json!({"idempotencyKey": ""}), "INVALID_SPEC: spec.idempotencyKey: must be 1 to 256")]
#[case(json!({"idempotencyKey": "a\u{0}b"}), "INVALID_SPEC: spec.idempotencyKey: must not contain the character NUL")]
#[case(json!({"maxAttempts": 0}), "INVALID_SPEC: spec.maxAttempts: must be 1 to 10")]
#[case(json!({"maxAttempts": 11}), "INVALID_SPEC: spec.maxAttempts: must be 1 to 10")]
#[case(json!({"ttlSecondsAfterFinished": -1}), "INVALID_SPEC: spec.ttlSecondsAfterFinished: must be 0 to")]
#[case(json!({"executor": "Bad_Name"}), "INVALID_SPEC: spec.executor: must be lower-case")]
#[case(json!({"priority": "high"}), "INVALID_SPEC: spec.priority: is not a field; the fields here are acceptanceCriteria")]
#[case(json!({"target": {"branch": "x"}}), "INVALID_SPEC: spec.target.branch: is not a field; the fields here are path, ref, repo, repository")]
fn schema_errors_name_the_field_and_the_fix(#[case] change: Value, #[case] expected: &str) {
    let found = findings(&with(change));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(expected), "{found:?}");
}

#[rstest]
#[case(json!(-1), -1)]
#[case(json!(86401), 86401)]
#[case(json!(9_223_372_036_854_775_808_u64), i64::MAX)]
#[case(json!(1e300), i64::MAX)]
#[case(json!(-1e300), i64::MIN)]
fn budgets_of_any_size_reach_the_policy(#[case] budget: Value, #[case] expected: i64) {
    let (draft, findings) = read(&with(json!({"constraints": {"timeBudgetSeconds": budget}})), Naming::CustomResource);
    assert_eq!(findings, []);
    assert_eq!(draft.time_budget_seconds, expected);
}

#[test]
fn every_finding_is_reported() {
    let (_, found) = read(&json!({"objective": "x", "nonsense": 1}), Naming::CustomResource);
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found.iter().all(|finding| finding.code == Code::InvalidSpec));
}

#[test]
fn a_body_that_is_no_object_is_refused() {
    assert_eq!(findings(&json!([])), ["INVALID_SPEC: spec: must be an object"]);
    assert!(!findings(&json!(null)).is_empty());
}

#[test]
fn a_spec_of_countless_values_is_refused_by_the_field_that_has_most() {
    let spec = |inputs: usize, metadata: usize| {
        with(json!({"inputs": {"x": vec![0; inputs]}, "metadata": {"x": vec![0; metadata]}}))
    };
    assert_eq!(findings(&spec(19_000, 900)), [""; 0]);
    let found = findings(&spec(15_000, 6_000));
    assert!(found[0].starts_with("INVALID_SPEC: spec.inputs: the spec has more than 20000 JSON values"), "{found:?}");
    assert!(findings(&spec(6_000, 15_000))[0].starts_with("INVALID_SPEC: spec.metadata: "));
    // The same bytes as one text are one value.
    assert_eq!(findings(&with(json!({"inputs": {"x": "0,".repeat(100_000)}}))), [""; 0]);
}
