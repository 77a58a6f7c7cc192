//! MODEL_NOT_ALLOWED: a rule of the gate that needs more than the draft, namely where the Task is and who would do its work.

use serde_json::Value;

use crate::Finding;
use crate::executor::Executors;
use crate::model::{self, Models};
use crate::task::{Naming, Task, read};

/// What stands against a new Task of this `spec` in `namespace`. Nothing of a spec that does not fit: that is for the gate to say.
pub fn model_findings(
    spec: &Value,
    naming: Naming,
    namespace: &str,
    executors: &Executors,
    models: &Models,
) -> Vec<Finding> {
    let (draft, findings) = read(spec, naming);
    let named = draft.controls.executor.clone();
    let Some(task) = draft.into_task().filter(|_| findings.is_empty()) else { return Vec::new() };
    model_findings_on(&task, named.as_deref(), naming, namespace, executors, models)
}

/// The same, of a Task that was read already and may name an executor.
pub fn model_findings_on(
    task: &Task,
    named: Option<&str>,
    naming: Naming,
    namespace: &str,
    executors: &Executors,
    models: &Models,
) -> Vec<Finding> {
    model::findings(models, executors, (namespace, &task.target.repo, task.operation), named, naming)
}
