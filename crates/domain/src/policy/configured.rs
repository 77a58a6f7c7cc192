//! Rules of the gate that need more than the draft, namely where the Task is and what is configured: MODEL_NOT_ALLOWED,
//! BUDGET_TOO_HIGH and DELIVERY_NOT_ALLOWED.

use serde_json::Value;

use crate::executor::Executors;
use crate::forge::{self, Forges};
use crate::model::{self, Models};
use crate::task::{Asks, Naming, read};
use crate::{Finding, Task};

/// What is configured. Of what is not known here nothing is found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Configured<'a> {
    /// Who does the work, and which models who may ask.
    pub models: Option<(&'a Executors, &'a Models)>,
    /// Who may deliver where.
    pub forges: Option<&'a Forges>,
}

/// What stands against a new Task of this `spec` in `namespace`. Nothing of a spec that does not fit: that is for the gate to say.
pub fn configured_findings(spec: &Value, naming: Naming, namespace: &str, configured: Configured) -> Vec<Finding> {
    let (draft, findings) = read(spec, naming);
    let controls = draft.controls.clone();
    let Some(task) = draft.into_task().filter(|_| findings.is_empty()) else { return Vec::new() };
    configured_findings_on(&task, controls.asks(), naming, namespace, configured)
}

/// The same, of a Task that was read already, and what it asks for.
pub fn configured_findings_on(
    task: &Task,
    asks: Asks,
    naming: Naming,
    namespace: &str,
    configured: Configured,
) -> Vec<Finding> {
    let Asks { executor, model, delivery } = asks;
    let mut found = Vec::new();
    if let Some((executors, models)) = configured.models {
        let of = (namespace, &task.target.repo, task.operation);
        found.extend(model::findings(models, executors, of, (executor, model), naming));
    }
    if let Some(forges) = configured.forges {
        found.extend(forge::findings(forges, namespace, task, delivery, naming));
    }
    found
}
