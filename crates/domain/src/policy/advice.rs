//! What a Task will fail of though the gate lets it through: it depends on the configuration, which may change before it runs. Pure.

use serde_json::{Map, Value};

use crate::executor::{Builtin, Executor, Executors};
use crate::forge::Mode;
use crate::task::{Controls, Naming, Operation, Task, read};

/// What whoever makes the Task of this `spec` in `namespace` is to be told, a sentence each. Nothing of a spec that does not fit:
/// that is for the gate to say.
pub fn advice(spec: &Value, naming: Naming, namespace: &str, executors: &Executors) -> Vec<String> {
    let (draft, findings) = read(spec, naming);
    let controls = draft.controls.clone();
    let Some(task) = draft.into_task().filter(|_| findings.is_empty()) else { return Vec::new() };
    advice_on(&task, &controls, naming, namespace, executors)
}

/// As [`advice`], of a Task that was read already.
pub fn advice_on(
    task: &Task,
    controls: &Controls,
    naming: Naming,
    namespace: &str,
    executors: &Executors,
) -> Vec<String> {
    let of_executor = match executors.resolve(namespace, task.operation, controls.executor.as_deref()) {
        Ok(executor) => lacking(executor, task, naming),
        Err(none) => Some(format!("{none}. The Task waits for one for a while, and fails then")),
    };
    of_executor.into_iter().chain(stays_in_the_trace(controls, naming)).collect()
}

/// Nothing brings a change to a forge yet.
fn stays_in_the_trace(controls: &Controls, naming: Naming) -> Option<String> {
    controls.delivery.as_ref().filter(|delivery| delivery.mode != Mode::None)?;
    let spec = if naming == Naming::Rest { "" } else { "spec." };
    Some(format!(
        "{spec}delivery.mode: in this version the change is evaluated and reviewed, and nothing brings it to the forge: it stays in the trace"
    ))
}

/// As [`advice`], where nothing is known of the configuration: what the built-in executors can't do without.
pub fn advice_without_configuration(spec: &Value, naming: Naming) -> Vec<String> {
    let (draft, findings) = read(spec, naming);
    let controls = draft.controls.clone();
    let Some(task) = draft.into_task().filter(|_| findings.is_empty()) else { return Vec::new() };
    let builtin = Executors::default();
    let executor = builtin.resolve("", task.operation, controls.executor.as_deref()).ok();
    let of_executor = executor.and_then(|executor| lacking(executor, &task, naming));
    of_executor.into_iter().chain(stays_in_the_trace(&controls, naming)).collect()
}

fn lacking(executor: &Executor, task: &Task, naming: Naming) -> Option<String> {
    let (input, does) = lacks(executor.builtin?, task.operation, &task.inputs)?;
    let spec = if naming == Naming::Rest { "" } else { "spec." };
    Some(format!(
        "{spec}inputs.{input} is missing: the built-in executor {} {does}, and does nothing by {spec}objective. The Task will fail",
        executor.name
    ))
}

/// The input that a built-in executor can't do without, if it is not there, and what it does with it.
fn lacks(builtin: Builtin, operation: Operation, inputs: &Map<String, Value>) -> Option<(&'static str, &'static str)> {
    let (input, does) = builtin.required_input()?;
    let is_there = match inputs.get(input) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(_) => true,
    };
    (builtin.operation() == operation && !is_there).then_some((input, does))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn spec(change: &Value) -> Value {
        let mut spec = json!({
            "requestedBy": {"kind": "human", "id": "ada"}, "objective": "Look around",
            "operation": "analysis", "target": {"repo": "octo/hello"},
        });
        json_patch::merge(&mut spec, change);
        spec
    }

    fn warnings(change: &Value) -> Vec<String> {
        let yaml =
            "executors: [{name: agent, operations: [code_change, ops], namespaces: [team], image: a, command: [a]}]";
        advice(&spec(change), Naming::CustomResource, "team", &Executors::read(yaml).unwrap())
    }

    #[rstest]
    #[case(json!({}))]
    #[case(json!({"operation": "docs"}))]
    #[case(json!({"operation": "code_change", "inputs": {"patch": "--- a/x"}}))]
    #[case(json!({"type": "code_change", "operation": null, "payload": {"patch": "--- a/x"}}))]
    #[case(json!({"operation": "ops", "inputs": {"commands": [["true"]]}}))]
    #[case(json!({"operation": "code_change", "inputs": {"patch": "--- a/x"}, "delivery": {"mode": "none"}}))]
    // An agent acts on the objective.
    #[case(json!({"operation": "code_change", "executor": "agent"}))]
    // The gate's to say.
    #[case(json!({"operation": "deploy", "executor": "nobody"}))]
    fn nothing_is_said_of_what_can_be_done(#[case] change: Value) {
        assert_eq!(warnings(&change), Vec::<String>::new());
    }

    #[rstest]
    #[case(json!({"operation": "code_change"}), "spec.inputs.patch is missing")]
    #[case(json!({"operation": "code_change", "inputs": {"patch": " "}}), "spec.inputs.patch is missing")]
    #[case(json!({"operation": "code_change", "inputs": {"patch": "--- a/x"}, "delivery": {"mode": "branch"}}), "spec.delivery.mode: in this version")]
    #[case(json!({"operation": "ops"}), "spec.inputs.commands is missing")]
    #[case(json!({"operation": "ops", "inputs": {"commands": []}}), "spec.inputs.commands is missing")]
    #[case(json!({"executor": "nobody"}), "spec.executor \"nobody\" is not configured; allowed in spec.executor: analysis")]
    #[case(json!({"executor": "agent"}), "spec.executor \"agent\" does not do analysis")]
    fn what_will_fail_is_told_with_its_field(#[case] change: Value, #[case] expected: &str) {
        let found = warnings(&change);
        let is_of_names = change.get("executor").is_some();
        let unconfigured = advice_without_configuration(&spec(&change), Naming::CustomResource);
        assert_eq!(unconfigured, if is_of_names { Vec::new() } else { found.clone() });
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
        assert!(found[0].len() < 256, "longer warnings are cut: {}", found[0].len());
    }
}
