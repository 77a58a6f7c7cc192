//! A normalized Task as the spec of a custom resource: `snake_case` becomes `camelCase`, names within `inputs` and
//! `metadata` stay as they are.

use super::TaskSpec;
use super::task::{Constraints as ConstraintsSpec, RequestedBy as RequestedBySpec, Target as TargetSpec};
use crate::domain::Task;
use crate::domain::task::{Constraints, Controls, RequestedBy, Target};

impl TaskSpec {
    /// The spec that [`crate::domain::task::read()`] reads as `task` with these `controls`.
    pub fn of(task: Task, controls: &Controls) -> Self {
        let Controls { suspend, cancel, create_cwom, executor, max_attempts, ttl_seconds_after_finished } = controls;
        let Task {
            version,
            idempotency_key,
            requested_by: RequestedBy { kind, id, label },
            objective,
            operation,
            target: Target { repo, git_ref, path },
            constraints: Constraints { time_budget_seconds, allow_network, allow_secrets },
            inputs,
            metadata,
            acceptance_criteria,
            evidence_requirements,
        } = task;
        Self {
            version: Some(version),
            idempotency_key,
            requested_by: RequestedBySpec { kind: kind.as_str().into(), id, label },
            objective,
            operation: Some(operation.as_str().into()),
            type_: None,
            target: TargetSpec {
                repo: Some(repo.as_str().into()),
                repository: None,
                git_ref: Some(git_ref),
                path: Some(path).filter(|path| !path.is_empty()),
            },
            constraints: Some(ConstraintsSpec {
                time_budget_seconds: Some(time_budget_seconds.into()),
                allow_network: Some(allow_network),
                allow_secrets: Some(allow_secrets),
            }),
            inputs: Some(inputs).filter(|inputs| !inputs.is_empty()),
            payload: None,
            metadata: Some(metadata).filter(|metadata| !metadata.is_empty()),
            acceptance_criteria: Some(acceptance_criteria).filter(|list| !list.is_empty()),
            evidence_requirements: Some(evidence_requirements).filter(|list| !list.is_empty()),
            suspend: Some(*suspend).filter(|suspend| *suspend),
            cancel: Some(*cancel).filter(|cancel| *cancel),
            create_cwom: Some(*create_cwom).filter(|create| !create),
            executor: executor.clone(),
            max_attempts: Some(*max_attempts).filter(|most| *most != Controls::default().max_attempts).map(Into::into),
            ttl_seconds_after_finished: ttl_seconds_after_finished.map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::task::Naming;
    use crate::policy::{Policy, Verdict, judge};

    /// What one door accepts, the other one reads as the same Task.
    fn round_trip(body: &Value, create_cwom: bool) {
        let policy = Policy::default().allowing("octo/");
        let (Verdict::Accepted(task), asked) = judge(body, Naming::Rest, &policy) else { panic!("{body}") };
        for cancel in [false, true] {
            let asked = Controls { create_cwom, cancel, ..asked.clone() };
            let spec = TaskSpec::of((*task).clone(), &asked).to_json();
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

    proptest! {
        #[test]
        fn any_task_comes_through(
            objective in "[a-zA-Zé][^\u{0}]{3,60}[a-z]", key in proptest::option::of("\\PC{1,30}"),
            id in "[^\u{0}]{1,40}", path in "([a-z_]{1,8}/){0,3}[a-z]{1,5}", budget in 30..=86_400u32,
            names in proptest::collection::vec("[a-zA-Z_]{1,12}", 0..4),
            criteria in proptest::collection::vec("[^\u{0}]{0,40}", 0..4),
        ) {
            let inputs: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), json!({name: [name]}))).collect();
            round_trip(&json!({
                "requested_by": {"kind": "system", "id": id}, "objective": objective, "operation": "analysis",
                "idempotency_key": key, "target": {"repo": "octo/hello", "path": path},
                "constraints": {"time_budget_seconds": budget}, "inputs": inputs, "acceptance_criteria": criteria,
            }), true);
        }
    }
}
