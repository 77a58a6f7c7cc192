//! The contract with users, frozen: red means that something they depend on has changed. Additions are fine after a look
//! (`cargo insta review`); a renamed or removed field, code or reason needs a new API version.

use jct::crd::cwom::{WorkCondition, WorkReason};
use jct::crd::status::ConditionType;
use jct::domain::task::{Naming, Operation, read};
use jct::domain::trace;
use jct::domain::{ActorKind, Code, FailureReason, Phase};
use jct::policy::{Policy, Verdict, gate};
use serde_json::{Value, json};

/// Every field of the specification, at the REST door, with a value that is not its default.
fn full() -> Value {
    json!({
        "version": "1.0",
        "idempotency_key": "key-1",
        "requested_by": {"kind": "agent", "id": "bot-7", "label": "The bot"},
        "objective": "Look around",
        "operation": "analysis",
        "target": {"repo": "octo/hello", "ref": "v1", "path": "src"},
        "constraints": {"time_budget_seconds": 60, "allow_network": false, "allow_secrets": false},
        "inputs": {"depth": 3},
        "metadata": {"ticket": "A-1"},
        "acceptance_criteria": ["It is looked at"],
        "evidence_requirements": ["A report"],
    })
}

#[test]
fn the_canonical_task_is_frozen() {
    let Verdict::Accepted(task) = gate(&full(), Naming::Rest, &Policy::default().allowing("octo/")) else { panic!() };
    assert_eq!(serde_json::to_value(&*task).unwrap(), full(), "what is stored is what was asked for, field by field");
    insta::assert_json_snapshot!("task", task);
}

#[test]
fn the_deprecated_aliases_are_accepted() {
    let mut aliased = full();
    let body = aliased.as_object_mut().unwrap();
    for (canonical, alias) in [("operation", "type"), ("inputs", "payload")] {
        let value = body.remove(canonical).unwrap();
        body.insert(alias.into(), value);
    }
    let repo = body["target"].as_object_mut().unwrap().remove("repo").unwrap();
    body["target"]["repository"] = repo;
    let (draft, findings) = read(&aliased, Naming::Rest);
    assert_eq!(findings, []);
    assert_eq!(serde_json::to_value(draft.into_task().unwrap()).unwrap(), full());
}

#[test]
fn the_names_are_frozen() {
    insta::assert_yaml_snapshot!(
        "names",
        json!({
            "codes": Code::ALL.map(Code::as_str),
            "operations": Operation::ALL.map(Operation::as_str),
            "actor_kinds": ActorKind::ALL.map(ActorKind::as_str),
            "statuses": Phase::ALL.map(Phase::as_str),
            "conditions": ConditionType::ALL.map(ConditionType::as_str),
            "work_conditions": WorkCondition::ALL.map(WorkCondition::as_str),
            "work_reasons": WorkReason::ALL.map(WorkReason::as_str),
            "failure_reasons": FailureReason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>(),
            "trace_files": [
                trace::TASK_FILE, trace::EVENTS_FILE, trace::LOG_FILE, trace::STDOUT_FILE, trace::STDERR_FILE,
                trace::ARTIFACTS_DIR, trace::MANIFEST_FILE, trace::INCOMPLETE_FILE,
            ],
            "file_kinds": trace::FileKind::ALL.map(trace::FileKind::as_str),
        })
    );
}

/// Path, type and limits of every field of a schema.
fn fields(path: &str, schema: &Value, out: &mut Vec<String>) {
    let limits: Vec<String> = ["type", "minLength", "maxLength", "minimum", "maximum", "maxItems", "pattern"]
        .iter()
        .filter_map(|name| schema.get(name).map(|value| format!("{name}={value}")))
        .collect();
    out.push(format!("{path} {}", limits.join(" ")));
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        fields(&format!("{path}.{name}"), field, out);
    }
    if schema["items"].is_object() {
        fields(&format!("{path}[]"), &schema["items"], out);
    }
}

#[test]
fn the_fields_of_the_custom_resources_are_frozen() {
    let mut lines = Vec::new();
    for crd in jct::crd::all() {
        let crd = serde_json::to_value(&crd).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        fields(&format!("{kind}.spec"), &schema["properties"]["spec"], &mut lines);
        fields(&format!("{kind}.status"), &schema["properties"]["status"], &mut lines);
    }
    insta::assert_snapshot!("custom_resources", lines.join("\n"));
}
