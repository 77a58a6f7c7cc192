//! Which executor does what.

use rstest::rstest;

use super::*;

const AGENT: &str = r#"
executors:
  - name: agent
    operations: [code_change, docs]
    namespaces: ["team-*", shop]
    image: registry.example/agent@sha256:0
    command: [agent, --print]
    env: { AGENT_MODE: quiet }
    time: { maxSeconds: 600 }
defaults: { code_change: agent, ops: null }
redact: ["corp-[0-9a-f]{8}"]
"#;

#[test]
fn without_configuration_each_operation_has_what_is_built_in() {
    assert_eq!(Executors::read("").unwrap(), Executors::default());
    for builtin in Builtin::ALL {
        let found = Executors::default();
        let found = found.resolve("team", builtin.operation(), None).unwrap();
        assert_eq!(found, &Executor::builtin(builtin));
    }
}

#[test]
fn a_task_gets_what_its_operation_and_namespace_allow() {
    let executors = Executors::read(AGENT).unwrap();
    let name = |namespace, operation, named| {
        executors.resolve(namespace, operation, named).map(|executor| executor.name.clone())
    };
    assert_eq!(name("team-a", Operation::CodeChange, None).unwrap(), "agent");
    assert_eq!(name("shop", Operation::Docs, None).unwrap(), "docs");
    assert_eq!(name("shop", Operation::Docs, Some("agent")).unwrap(), "agent");
    assert_eq!(name("shop", Operation::CodeChange, Some("code-change")).unwrap(), "code-change");
    let refused = name("shopping", Operation::CodeChange, None).unwrap_err().to_string();
    assert!(refused.contains("allowed in spec.executor: code-change"), "{refused}");
    let refused = name("shopping", Operation::Docs, Some("agent")).unwrap_err().to_string();
    assert!(refused.contains("\"agent\" is not for namespace shopping; allowed in spec.executor: docs"), "{refused}");
    let refused = name("shop", Operation::Ops, Some("agent")).unwrap_err().to_string();
    assert!(refused.contains("\"agent\" does not do ops; allowed"), "{refused}");
    let refused = name("shop", Operation::Ops, Some("agnet")).unwrap_err().to_string();
    assert!(refused.contains("\"agnet\" is not configured; allowed"), "{refused}");
    assert!(name("shop", Operation::Ops, None).is_err(), "its default was taken away");
    assert!(executors.iter().all(|executor| executor.redact == ["corp-[0-9a-f]{8}"]));
}

#[rstest]
#[case("executors: [{name: Agent, operations: [docs], image: a, command: [a]}]", "executors[0].name")]
#[case("executors: [{name: a, operations: [], image: a, command: [a]}]", "executors[0].operations")]
#[case("executors: [{name: a, operations: [deploy], image: a, command: [a]}]", "deploy")]
#[case("executors: [{name: a, operations: [docs], command: [a]}]", "executors[0].image")]
#[case("executors: [{name: a, operations: [docs], image: a}]", "executors[0].command")]
#[case("executors: [{name: a, operations: [docs], builtin: docs, command: [a]}]", "executors[0].command")]
#[case("executors: [{name: a, operations: [docs], image: a, commnd: [a]}]", "commnd")]
#[case("executors: [{name: a, operations: [docs], image: a, command: [a], env: {JCT_OUT: x}}]", "JCT_OUT")]
#[case("executors: [{name: a, operations: [docs], image: a, command: [a], redact: ['(']}]", "executors[0].redact[0]")]
#[case("executors: [{name: a, operations: [docs], image: a, command: [a], redact: ['x*']}]", "empty text")]
#[case(
    "executors: [{name: a, operations: [docs], image: a, command: [a], limits: {maxProcesses: 0}}]",
    "executors[0].limits.maxProcesses"
)]
#[case(
    "executors: [{name: a, operations: [docs], image: a, command: [a], outputs: {required: [../x]}}]",
    "executors[0].outputs.required[0]"
)]
#[case(
    "executors: [{name: a, operations: [docs], image: a, command: [a], resources: {limits: {memory: lots}}}]",
    "executors[0].resources.limits.memory"
)]
#[case(
    "executors: [{name: a, operations: [docs], builtin: docs}, {name: a, operations: [docs], builtin: docs}]",
    "executors[1].name"
)]
#[case(
    "executors: [{name: a, operations: [docs], namespaces: [team, -x], image: a, command: [a]}]",
    "executors[0].namespaces[1]"
)]
#[case(
    "executors: [{name: a, operations: [docs], namespaces: [-x*], image: a, command: [a]}]",
    "executors[0].namespaces[0]"
)]
#[case("defaults: {docs: nobody}", "defaults.docs")]
#[case("defaults: {docs: analysis}", "defaults.docs")]
#[case("modelBroker: {enabled: true, url: https://broker.example}", "modelBroker.enabled")]
#[case("redact: ['[']", "redact[0]")]
fn a_bad_configuration_names_the_field(#[case] yaml: &str, #[case] named: &str) {
    let error = Executors::read(yaml).unwrap_err().to_string();
    assert!(error.contains(named), "{error}");
}

#[test]
fn an_executor_travels_as_json() {
    for executor in Executors::read(AGENT).unwrap().iter() {
        let json = serde_json::to_string(executor).unwrap();
        assert_eq!(&serde_json::from_str::<Executor>(&json).unwrap(), executor);
    }
}

/// A second one for an operation would take the first one's place where no configuration says otherwise.
#[test]
fn each_operation_has_one_built_in_executor() {
    let mut operations = Builtin::ALL.map(Builtin::operation);
    operations.sort_unstable();
    assert!(operations.is_sorted_by(|a, b| a < b), "{operations:?}");
}
