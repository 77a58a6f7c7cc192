//! The gate before each attempt: asked about what will run, which is the recorded Task, and not about what the object shows.

use super::validate::Validated;
use crate::crd::TaskSpec;
use crate::domain::task::{Controls, Naming};
use crate::domain::{Code, Finding, task_digest};
use crate::policy::{Configured, Policy, Verdict, configured_findings_on, judge};
use crate::store::TaskRow;

/// What stands against the next attempt of `row`: what the policy, as it is now, finds wrong with the recorded Task; or that the
/// object shows another one, so that whoever lets it go on would decide about something else. Pure.
pub fn findings(policy: &Policy, configured: Configured, task: &Validated, row: &TaskRow) -> Vec<Finding> {
    let spec = TaskSpec::of(&row.task, &Controls::default()).to_json();
    match judge(&spec, Naming::CustomResource, policy).0 {
        Verdict::Refused(findings) => findings,
        // Read anew, so that a row that another version has normalized is held against what this one makes of it.
        Verdict::Accepted(recorded) => {
            let recorded = task_digest(&recorded, row.asks(), row.max_attempts, row.create_cwom);
            let is_shown = !task.has_object || task.spec.task_sha256.as_ref() == Some(&recorded);
            if !is_shown {
                return vec![shows_another()];
            }
            configured_findings_on(&row.task, row.asks(), Naming::CustomResource, &row.namespace, configured)
        }
    }
}

fn shows_another() -> Finding {
    let message =
        "is not what is recorded under the Task's id, and what is recorded is what would run: make a new Task";
    Finding::new(Code::InvalidSpec, "spec", message)
}
