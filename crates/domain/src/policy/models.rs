//! MODEL_NOT_ALLOWED and BUDGET_TOO_HIGH: rules of the gate that need more than the draft, namely where the Task is and who would do its work.

use serde_json::Value;

use crate::Finding;
use crate::executor::Executors;
use crate::model::{self, Models};
use crate::task::{Naming, Task, TaskModel, read};

/// What stands against a new Task of this `spec` in `namespace`. Nothing of a spec that does not fit: that is for the gate to say.
pub fn model_findings(
    spec: &Value,
    naming: Naming,
    namespace: &str,
    executors: &Executors,
    models: &Models,
) -> Vec<Finding> {
    let (draft, findings) = read(spec, naming);
    let (executor, model) = (draft.controls.executor.clone(), draft.controls.model.clone());
    let Some(task) = draft.into_task().filter(|_| findings.is_empty()) else { return Vec::new() };
    model_findings_on(&task, (executor.as_deref(), model.as_ref()), naming, namespace, executors, models)
}

/// The same, of a Task that was read already and may name an executor and a model.
pub fn model_findings_on(
    task: &Task,
    by: (Option<&str>, Option<&TaskModel>),
    naming: Naming,
    namespace: &str,
    executors: &Executors,
    models: &Models,
) -> Vec<Finding> {
    model::findings(models, executors, (namespace, &task.target.repo, task.operation), by, naming)
}
