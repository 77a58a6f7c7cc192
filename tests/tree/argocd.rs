//! The health check that `examples/argocd` has for Argo CD, under a Lua interpreter.

use std::fmt::Write as _;
use std::process::Command;

use jct::domain::Phase;
use rstest::rstest;
use serde_json::{Value, json};

const CONFIG_MAP: &str = include_str!("../../examples/argocd/argocd-cm.yaml");
/// What a health check may answer (Argo CD, gitops-engine `health.HealthStatusCode`).
const KNOWN: [&str; 5] = ["Healthy", "Progressing", "Degraded", "Suspended", "Missing"];

/// A value as Lua writes it.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".into(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => {
            text.bytes().fold("\"".to_owned(), |mut out, byte| {
                write!(out, "\\x{byte:02x}").unwrap();
                out
            }) + "\""
        }
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("[{}] = {}", lua(&json!(name)), lua(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Status and message that the check gives a Task of generation 2 with this status.
fn health(status: &Value) -> (String, String) {
    let config: Value = serde_yaml::from_str(CONFIG_MAP).unwrap();
    let check = config["data"]["resource.customizations.health.jct.dev_Task"].as_str().unwrap();
    let task = json!({"metadata": {"name": "look", "generation": 2}, "spec": {}, "status": status});
    let program = format!(
        "local obj = {}\nlocal function check()\n{check}\nend\nlocal health = check()\nio.write(health.status, \"\\n\", health.message)",
        lua(&task)
    );
    let ran = Command::new("lua5.4").args(["-e", &program]).output();
    let ran = ran.expect("there is no lua5.4: run tests/cluster/prerequisites.sh lua");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let said = String::from_utf8(ran.stdout).unwrap();
    let (status, message) = said.split_once('\n').unwrap();
    (status.into(), message.into())
}

#[rstest]
#[case::not_seen_yet(json!(null), "Progressing", "not looked at yet")]
#[case::without_a_phase(json!({"observedGeneration": 2}), "Progressing", "not looked at yet")]
#[case::waiting(
    json!({"phase": "Queued", "reason": "WaitingForTurn", "message": "its \"turn\"\ncomes ]]"}),
    "Progressing", "WaitingForTurn: its \"turn\"\ncomes ]]"
)]
#[case::running(json!({"phase": "Running", "reason": "Running"}), "Progressing", "Running")]
#[case::held_back(json!({"phase": "Pending", "reason": "Suspended", "message": ""}), "Suspended", "Suspended")]
#[case::held_back_in_line(json!({"phase": "Queued", "reason": "Suspended"}), "Suspended", "Suspended")]
#[case::done(json!({"phase": "Completed", "reason": "Completed", "message": "all"}), "Healthy", "Completed: all")]
#[case::failed(json!({"phase": "Failed", "reason": "OOMKilled", "message": "so"}), "Degraded", "OOMKilled: so")]
#[case::cancelled(json!({"phase": "Cancelled", "reason": "Cancelled"}), "Degraded", "Cancelled")]
#[case::of_this_generation(json!({"phase": "Completed", "reason": "x", "observedGeneration": 2}), "Healthy", "x")]
#[case::of_an_earlier_one(json!({"phase": "Completed", "observedGeneration": 1}), "Progressing", "not looked at yet")]
fn argo_cd_sees_how_a_task_is(#[case] status: Value, #[case] expected: &str, #[case] message: &str) {
    assert_eq!(health(&status), (expected.to_owned(), message.to_owned()));
}

#[test]
fn every_phase_has_an_answer_that_argo_cd_knows() {
    for phase in Phase::ALL {
        let (status, _) = health(&json!({"phase": phase.as_condition(), "reason": "Because"}));
        assert!(KNOWN.contains(&status.as_str()), "{phase}: {status}");
        assert_eq!(status == "Progressing", !phase.is_terminal(), "{phase}: {status}");
    }
}
