//! Executors: what may do the work of Tasks, by the operator's configuration and never by a Task's (design decision 8).
//!
//! The configuration is a YAML file, [`Executors::read`]; docs/executors.md is its reference. A Task names at most an
//! executor that is allowed for its namespace.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::task::{Operation, is_label};

/// The greatest configuration that is read, in bytes: it must fit a ConfigMap.
pub const MAX_CONFIGURATION_BYTES: usize = 1024 * 1024;
/// The greatest size of one executor as JSON, in bytes: it travels in the environment of its pod.
const MAX_EXECUTOR_BYTES: usize = 64 * 1024;
/// The greatest length of a name: it stands in events and metrics.
const MAX_NAME_BYTES: usize = 63;

/// Work that needs no image but the worker's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Builtin {
    /// A report on a repository.
    Analysis,
    /// A report on its documentation.
    Docs,
    /// Applies `inputs.patch` and runs `inputs.verify`.
    CodeChange,
    /// Runs `inputs.commands`.
    Ops,
}

impl Builtin {
    /// Every one, in the order of the operations that they serve.
    pub const ALL: [Self; 4] = [Self::CodeChange, Self::Docs, Self::Analysis, Self::Ops];

    /// The name in the configuration and of the executor that is there without any.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Analysis => "analysis",
            Self::Docs => "docs",
            Self::CodeChange => "code-change",
            Self::Ops => "ops",
        }
    }

    /// The operation that it is made for.
    pub fn operation(self) -> Operation {
        match self {
            Self::Analysis => Operation::Analysis,
            Self::Docs => Operation::Docs,
            Self::CodeChange => Operation::CodeChange,
            Self::Ops => Operation::Ops,
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
            max_artifacts: 1000,
            max_artifact_bytes: 1 << 30,
            required: Vec::new(),
        }
    }
}

/// One executor.
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
}

fn everywhere() -> Vec<String> {
    vec!["*".into()]
}

impl Executor {
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
        }
    }

    /// Whether Tasks of `namespace` may use it.
    pub fn is_allowed_in(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(beginning) => namespace.starts_with(beginning),
            None => allowed == namespace,
        })
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
    #[error("spec.executor {named:?} does not do {operation} in namespace {namespace}; {}", allowed(.there))]
    Named {
        /// What `spec.executor` says.
        named: String,
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

fn allowed(names: &[String]) -> String {
    if names.is_empty() { "none does".into() } else { format!("allowed in spec.executor: {}", names.join(", ")) }
}

/// A configuration that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidExecutors {
    /// Such as `executors[0].command`.
    pub field: String,
    /// What is wrong and how to mend it.
    pub message: String,
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

/// The file, as people write it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Configuration {
    executors: Vec<Executor>,
    /// By operation; null for none.
    defaults: BTreeMap<Operation, Option<String>>,
    redact: Vec<String>,
    model_broker: ModelBroker,
}

/// The way of an executor to a language model. Always off: the gate of V1 lets no executor have the network.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ModelBroker {
    enabled: bool,
    url: Option<String>,
}

impl Executors {
    /// Reads a configuration. The built-in executors are there besides, unless an entry takes their name.
    ///
    /// # Errors
    /// [`InvalidExecutors`] names the first field that is wrong.
    pub fn read(yaml: &str) -> Result<Self, InvalidExecutors> {
        if yaml.len() > MAX_CONFIGURATION_BYTES {
            return Err(invalid("(file)", format!("must not be larger than {MAX_CONFIGURATION_BYTES} bytes")));
        }
        let configuration: Option<Configuration> =
            serde_yaml::from_str(yaml).map_err(|error| invalid("(file)", error.to_string()))?;
        let Configuration { mut executors, defaults, redact, model_broker } = configuration.unwrap_or_default();
        if model_broker.enabled {
            let message = "must be false: in this version the gate lets no executor have the network, so that there is \
                           no way to a broker";
            return Err(invalid("modelBroker.enabled", message.into()));
        }
        if let Some(url) = model_broker.url.filter(|url| !url.starts_with("https://")) {
            return Err(invalid("modelBroker.url", format!("must begin with https://, is {url:?}")));
        }
        check_patterns("redact", &redact)?;
        let mut names = BTreeSet::new();
        for (index, executor) in executors.iter_mut().enumerate() {
            let at = format!("executors[{index}]");
            check(&at, executor)?;
            if !names.insert(executor.name.clone()) {
                return Err(invalid(&format!("{at}.name"), format!("{:?} is the name of another one", executor.name)));
            }
            executor.redact.extend(redact.iter().cloned());
        }
        for builtin in Builtin::ALL.into_iter().filter(|builtin| !names.contains(builtin.as_str())) {
            executors.push(Executor { redact: redact.clone(), ..Executor::builtin(builtin) });
        }
        let mut table = Self { executors, ..Self::default() };
        for (operation, name) in defaults {
            let at = format!("defaults.{operation}");
            match name {
                None => drop(table.defaults.remove(&operation)),
                Some(name) => match table.executors.iter().find(|executor| executor.name == name) {
                    None => return Err(invalid(&at, format!("there is no executor {name:?}"))),
                    Some(executor) if !executor.operations.contains(&operation) => {
                        return Err(invalid(
                            &at,
                            format!("the executor {name:?} does not have it among its operations"),
                        ));
                    }
                    Some(_) => drop(table.defaults.insert(operation, name)),
                },
            }
        }
        Ok(table)
    }

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
                Some(named) => NoExecutor::Named { named: named.into(), operation, namespace, there },
                None => NoExecutor::Default { operation, namespace, there },
            }
        })
    }

    /// All of them, those of the configuration first.
    pub fn iter(&self) -> impl Iterator<Item = &Executor> {
        self.executors.iter()
    }
}

fn invalid(field: &str, message: String) -> InvalidExecutors {
    InvalidExecutors { field: field.into(), message }
}

fn check(at: &str, executor: &Executor) -> Result<(), InvalidExecutors> {
    let fail = |field: &str, message: String| Err(invalid(&format!("{at}.{field}"), message));
    if executor.name.len() > MAX_NAME_BYTES || !is_label(&executor.name) {
        let message =
            format!("must be lower-case letters, digits and inner dashes, at most 63; is {:?}", executor.name);
        return fail("name", message);
    }
    if executor.operations.is_empty() {
        return fail("operations", "must name at least one of code_change, docs, analysis, ops".into());
    }
    for (index, namespace) in executor.namespaces.iter().enumerate() {
        let name = namespace.strip_suffix('*').unwrap_or(namespace);
        let fits = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !fits || namespace.is_empty() {
            let message = format!("must be a namespace, a beginning and *, or *; is {namespace:?}");
            return fail(&format!("namespaces[{index}]"), message);
        }
    }
    match (executor.builtin, executor.command.first()) {
        (Some(_), Some(_)) => return fail("command", "must not be given with builtin".into()),
        (None, None) => return fail("command", "is required: program and arguments, or builtin in its place".into()),
        (None, Some(program)) if program.is_empty() => return fail("command[0]", "must name a program".into()),
        (None, Some(_)) if executor.image.as_deref().is_none_or(|image| image.trim().is_empty()) => {
            return fail("image", "is required where there is a command".into());
        }
        _ => {}
    }
    let policy = executor.image_pull_policy.as_deref();
    if policy.is_some_and(|policy| !["Always", "IfNotPresent", "Never"].contains(&policy)) {
        return fail("imagePullPolicy", "must be Always, IfNotPresent or Never".into());
    }
    for (name, value) in &executor.env {
        let plain = |(index, b): (usize, u8)| b.is_ascii_alphabetic() || b == b'_' || (index > 0 && b.is_ascii_digit());
        if name.is_empty() || !name.bytes().enumerate().all(plain) {
            return fail("env", format!("{name:?} is not the name of a variable"));
        }
        if name.starts_with("JCT_") {
            return fail("env", format!("{name}: names that begin with JCT_ are the executor's contract"));
        }
        if value.contains('\0') {
            return fail("env", format!("{name} holds a NUL"));
        }
    }
    if executor.command.iter().any(|argument| argument.contains('\0')) {
        return fail("command", "holds a NUL".into());
    }
    for (field, quantities) in executor
        .resources
        .iter()
        .flat_map(|resources| [("resources.requests", &resources.requests), ("resources.limits", &resources.limits)])
    {
        for (name, quantity) in quantities {
            if !is_quantity(quantity) {
                let message = format!("must be a quantity such as 500m, 1, 128Mi or 1Gi, is {quantity:?}");
                return fail(&format!("{field}.{name}"), message);
            }
        }
    }
    check_limits(at, executor)?;
    check_patterns(&format!("{at}.redact"), &executor.redact)?;
    let bytes = serde_json::to_vec(executor).map_or(usize::MAX, |json| json.len());
    if bytes > MAX_EXECUTOR_BYTES {
        return Err(invalid(at, format!("must not be larger than {MAX_EXECUTOR_BYTES} bytes, is {bytes}")));
    }
    Ok(())
}

fn check_limits(at: &str, executor: &Executor) -> Result<(), InvalidExecutors> {
    let Executor { time, limits, outputs, .. } = executor;
    for (field, value, least, most) in [
        ("time.maxSeconds", time.max_seconds.map_or(1, u64::from), 1, 86_400),
        ("time.killAfterSeconds", time.kill_after_seconds.into(), 0, 60),
        ("limits.maxProcesses", limits.max_processes.into(), 1, 100_000),
        ("limits.maxOpenFiles", limits.max_open_files.into(), 16, 1_048_576),
        ("limits.maxFileBytes", limits.max_file_bytes, 1 << 16, 1 << 44),
        ("limits.maxDiskBytes", limits.max_disk_bytes, 1 << 20, 1 << 44),
        ("limits.maxLogBytes", limits.max_log_bytes, 1 << 10, 1 << 30),
        ("outputs.maxChangedFiles", outputs.max_changed_files.into(), 0, 1_000_000),
        ("outputs.maxPatchBytes", outputs.max_patch_bytes, 0, 1 << 30),
        ("outputs.maxArtifacts", outputs.max_artifacts.into(), 0, 10_000),
        ("outputs.maxArtifactBytes", outputs.max_artifact_bytes, 0, 1 << 40),
    ] {
        if !(least..=most).contains(&value) {
            return Err(invalid(&format!("{at}.{field}"), format!("must be from {least} to {most}, is {value}")));
        }
    }
    for (index, name) in outputs.required.iter().enumerate() {
        if !super::trace::is_inside(name) {
            let field = format!("{at}.outputs.required[{index}]");
            return Err(invalid(&field, format!("must be the relative path of an artifact, is {name:?}")));
        }
    }
    Ok(())
}

fn check_patterns(at: &str, patterns: &[String]) -> Result<(), InvalidExecutors> {
    for (index, pattern) in patterns.iter().enumerate() {
        let field = format!("{at}[{index}]");
        match regex::bytes::RegexBuilder::new(pattern).size_limit(1 << 20).build() {
            Err(error) => return Err(invalid(&field, format!("is no regular expression: {error}"))),
            Ok(regex) if regex.is_match(b"") => {
                return Err(invalid(&field, "matches the empty text, and so everywhere".into()));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Whether `text` is a positive Kubernetes quantity in the plain forms that people write.
pub fn is_quantity(text: &str) -> bool {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = &text[digits.len()..];
    digits.parse::<f64>().is_ok_and(|number| number > 0.0 && number.is_finite())
        && ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"].contains(&suffix)
}

#[cfg(test)]
mod tests {
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
        assert!(refused.contains("\"agent\" does not do docs in namespace shopping"), "{refused}");
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
    #[case(
        "executors: [{name: a, operations: [docs], image: a, command: [a], redact: ['(']}]",
        "executors[0].redact[0]"
    )]
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
}
