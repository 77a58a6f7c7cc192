//! Executors: what may do the work of Tasks, by the operator's configuration and never by a Task's (design decision 8).
//!
//! The configuration is a YAML file, [`Executors::read`]; docs/executors.md is its reference. A Task names at most an
//! executor that is allowed for its namespace.

mod read;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use read::{MAX_CONFIGURATION_BYTES, is_quantity};

use super::model::ExecutorModel;
use super::task::Operation;
use crate::choices;
use crate::name::names_namespace;

/// Folders of the work folder that an executor's container has for reading alone: the Task, the repository as it was fetched,
/// and what is between source, supervisor and recorder.
pub const READ_ONLY_FOLDERS: [&str; 3] = ["in", "repo.git", "private"];

choices! {
    /// Work that needs no image but the worker's own.
    pub enum Builtin {
        /// Applies `inputs.patch` and runs `inputs.verify`.
        CodeChange = "code-change",
        /// A report on its documentation.
        Docs = "docs",
        /// A report on a repository.
        Analysis = "analysis",
        /// Runs `inputs.commands`.
        Ops = "ops",
    }
}

impl Builtin {
    /// The operation that it is made for.
    pub fn operation(self) -> Operation {
        match self {
            Self::Analysis => Operation::Analysis,
            Self::Docs => Operation::Docs,
            Self::CodeChange => Operation::CodeChange,
            Self::Ops => Operation::Ops,
        }
    }

    /// The input that it can't do without, and what it does with it.
    pub fn required_input(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::CodeChange => Some(("patch", "applies the patch that is given there")),
            Self::Ops => Some(("commands", "runs the commands that are listed there")),
            Self::Analysis | Self::Docs => None,
        }
    }
}

/// What to do where the kernel cannot confine a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxMode {
    /// The Task fails with `SandboxUnavailable`.
    #[default]
    Required,
    /// It runs with what the kernel has; the trace says what is missing.
    BestEffort,
}

/// CPU and memory of the executor's container, as in a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// `cpu`, `memory` and the like.
    pub requests: BTreeMap<String, String>,
    /// The same.
    pub limits: BTreeMap<String, String>,
}

/// How long an executor may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TimeLimits {
    /// At most so long, in seconds, whatever the Task's budget.
    pub max_seconds: Option<u32>,
    /// From SIGTERM to SIGKILL, in seconds.
    pub kill_after_seconds: u32,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self { max_seconds: None, kill_after_seconds: 5 }
    }
}

/// What the processes of an executor may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Processes and threads at one time.
    pub max_processes: u32,
    /// Open files of one process.
    pub max_open_files: u32,
    /// Greatest size of one file, in bytes.
    pub max_file_bytes: u64,
    /// Disk that workspace, outputs and scratch may take together, in bytes.
    pub max_disk_bytes: u64,
    /// Greatest size of stdout.log and of stderr.log, in bytes.
    pub max_log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_processes: 512,
            max_open_files: 4096,
            max_file_bytes: 2 << 30,
            max_disk_bytes: 6 << 30,
            max_log_bytes: 8 << 20,
        }
    }
}

/// What becomes of new files in the workspace that a `.gitignore` names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IgnoredFiles {
    /// They are a part of the change, as all that the executor made.
    #[default]
    Deliver,
    /// They are not, as with `git add`; the trace says how many there were.
    LeaveOut,
}

impl IgnoredFiles {
    /// Whether it is what there is without a word about it.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What is taken of an executor's outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Outputs {
    /// Take what the workspace has become as a change: patch, commit, diffstat. By operation when absent: of `code_change`
    /// and `docs`.
    pub change: Option<bool>,
    /// A change of more files fails the Task.
    pub max_changed_files: u32,
    /// A larger patch fails the Task, in bytes.
    pub max_patch_bytes: u64,
    /// What becomes of new files that a `.gitignore` names.
    #[serde(skip_serializing_if = "IgnoredFiles::is_default")]
    pub ignored_files: IgnoredFiles,
    /// Greatest number of artifacts.
    pub max_artifacts: u32,
    /// Greatest size of all artifacts together, in bytes.
    pub max_artifact_bytes: u64,
    /// Artifacts without which the Task fails, such as `report.md`.
    pub required: Vec<String>,
}

impl Default for Outputs {
    fn default() -> Self {
        Self {
            change: None,
            max_changed_files: 1000,
            max_patch_bytes: 64 << 20,
            ignored_files: IgnoredFiles::default(),
            max_artifacts: 1000,
            max_artifact_bytes: 1 << 30,
            required: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Executor {
    /// As Tasks, events and metrics name it.
    pub name: String,
    /// The operations that it serves.
    pub operations: Vec<Operation>,
    /// Namespaces whose Tasks may use it: names, or beginnings that end in `*`.
    #[serde(default = "everywhere")]
    pub namespaces: Vec<String>,
    /// Work that is built in, in place of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<Builtin>,
    /// The image; the worker's own for what is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Always, IfNotPresent or Never; as for worker pods when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// Program and arguments, within the image. No shell unless it is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The environment, beside what the executor's contract has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// As for worker pods when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// RuntimeClass of its pods; as for worker pods when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class: Option<String>,
    /// How long it may run.
    #[serde(default)]
    pub time: TimeLimits,
    /// What it may use up.
    #[serde(default)]
    pub limits: Limits,
    /// What is taken of what it leaves.
    #[serde(default)]
    pub outputs: Outputs,
    /// Whether it runs unconfined where the kernel cannot confine it.
    #[serde(default)]
    pub sandbox: SandboxMode,
    /// Regular expressions; what they match is redacted in all that it prints, besides well-known secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
    /// The models that it may ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ExecutorModel>,
}

fn everywhere() -> Vec<String> {
    vec!["*".into()]
}

impl Executor {
    /// A command that does `operation`, with the defaults of a configured one.
    pub fn of_command(name: &str, operation: Operation, command: Vec<String>) -> Self {
        let builtin = Self::builtin(Builtin::Ops);
        Self { name: name.into(), operations: vec![operation], builtin: None, command, ..builtin }
    }

    /// What is there without any configuration.
    pub fn builtin(builtin: Builtin) -> Self {
        Self {
            name: builtin.as_str().into(),
            operations: vec![builtin.operation()],
            namespaces: everywhere(),
            builtin: Some(builtin),
            image: None,
            image_pull_policy: None,
            command: Vec::new(),
            env: BTreeMap::new(),
            resources: None,
            runtime_class: None,
            time: TimeLimits::default(),
            limits: Limits::default(),
            outputs: Outputs::default(),
            sandbox: SandboxMode::default(),
            redact: Vec::new(),
            model: None,
        }
    }

    /// Whether Tasks of `namespace` may use it.
    pub fn is_allowed_in(&self, namespace: &str) -> bool {
        names_namespace(&self.namespaces, namespace)
    }

    /// Whether what the workspace has become is taken as a change.
    pub fn takes_change(&self, operation: Operation) -> bool {
        self.outputs.change.unwrap_or(matches!(operation, Operation::CodeChange | Operation::Docs))
    }

    /// How long a Task with this budget may run, in seconds.
    pub fn budget_seconds(&self, task_seconds: u32) -> u32 {
        self.time.max_seconds.map_or(task_seconds, |most| most.min(task_seconds))
    }
}

/// Why no executor does the work of a Task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoExecutor {
    /// The named one is not there, or not for this namespace or operation.
    #[error("spec.executor {named:?} {}; {}", why(*.unfit, *.operation, .namespace), allowed(.there))]
    Named {
        /// What `spec.executor` says.
        named: String,
        /// In what it does not fit.
        unfit: Unfit,
        /// The Task's operation.
        operation: Operation,
        /// The Task's namespace.
        namespace: String,
        /// Those that do.
        there: Vec<String>,
    },
    /// The operation has none that is allowed for the namespace.
    #[error("no executor does {operation} in namespace {namespace} by itself; {}", allowed(.there))]
    Default {
        /// The Task's operation.
        operation: Operation,
        /// The Task's namespace.
        namespace: String,
        /// Those that would if they were named.
        there: Vec<String>,
    },
}

/// In what a named executor does not fit a Task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// There is none of this name.
    Unknown,
    /// It is for other operations.
    Operation,
    /// It is for other namespaces; whose is nobody else's business.
    Namespace,
}

fn why(unfit: Unfit, operation: Operation, namespace: &str) -> String {
    match unfit {
        Unfit::Unknown => "is not configured".into(),
        Unfit::Operation => format!("does not do {operation}"),
        Unfit::Namespace => format!("is not for namespace {namespace}"),
    }
}

fn allowed(names: &[String]) -> String {
    if names.is_empty() { "none does".into() } else { format!("allowed in spec.executor: {}", names.join(", ")) }
}

/// Every executor of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executors {
    executors: Vec<Executor>,
    defaults: BTreeMap<Operation, String>,
}

impl Default for Executors {
    /// The built-in ones, each for its operation.
    fn default() -> Self {
        Self {
            executors: Builtin::ALL.map(Executor::builtin).into(),
            defaults: Builtin::ALL.map(|builtin| (builtin.operation(), builtin.as_str().to_owned())).into(),
        }
    }
}

impl Executors {
    /// The executor for a Task: the one that it names, or that of its operation.
    ///
    /// # Errors
    /// [`NoExecutor`] says which ones would do.
    pub fn resolve(&self, namespace: &str, operation: Operation, named: Option<&str>) -> Result<&Executor, NoExecutor> {
        let does = |executor: &&Executor| executor.operations.contains(&operation) && executor.is_allowed_in(namespace);
        let name = named.or(self.defaults.get(&operation).map(String::as_str));
        let found = self.executors.iter().filter(does).find(|executor| Some(executor.name.as_str()) == name);
        found.ok_or_else(|| {
            let there = self.executors.iter().filter(does).map(|executor| executor.name.clone()).collect();
            let namespace = namespace.to_owned();
            match named {
                Some(named) => {
                    let unfit = match self.executors.iter().find(|executor| executor.name == named) {
                        None => Unfit::Unknown,
                        Some(found) if !found.operations.contains(&operation) => Unfit::Operation,
                        Some(_) => Unfit::Namespace,
                    };
                    NoExecutor::Named { named: named.into(), unfit, operation, namespace, there }
                }
                None => NoExecutor::Default { operation, namespace, there },
            }
        })
    }

    /// All of them, those of the configuration first.
    pub fn iter(&self) -> impl Iterator<Item = &Executor> {
        self.executors.iter()
    }
}

#[cfg(test)]
mod tests;
