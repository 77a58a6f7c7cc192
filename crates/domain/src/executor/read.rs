//! The configuration of executors: read and checked as a whole, each error with the field that it is about.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Builtin, Executor, Executors, SandboxMode};
use crate::configuration::{InvalidConfiguration, invalid, parse};
use crate::name::{begins_label, is_label};
use crate::task::Operation;
use crate::trace::is_inside;

/// The greatest configuration that is read, in bytes: it must fit a ConfigMap.
pub const MAX_CONFIGURATION_BYTES: usize = 1024 * 1024;
/// The greatest size of one executor as JSON, in bytes: it travels in the environment of its pod.
const MAX_EXECUTOR_BYTES: usize = 64 * 1024;

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

/// What earlier versions reserved for the way to a language model. Always off.
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
    /// [`InvalidConfiguration`] names the first field that is wrong.
    pub fn read(yaml: &str) -> Result<Self, InvalidConfiguration> {
        let Configuration { mut executors, defaults, redact, model_broker } = parse(yaml, MAX_CONFIGURATION_BYTES)?;
        if model_broker.enabled {
            let message = "must be false: which models there are is a configuration of its own, and which an executor asks its \
                           own setting model";
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
}

fn check(at: &str, executor: &Executor) -> Result<(), InvalidConfiguration> {
    let fail = |field: &str, message: String| Err(invalid(&format!("{at}.{field}"), message));
    if !is_label(&executor.name) {
        let message =
            format!("must be lower-case letters, digits and inner dashes, at most 63; is {:?}", executor.name);
        return fail("name", message);
    }
    if executor.operations.is_empty() {
        return fail("operations", "must name at least one of code_change, docs, analysis, ops".into());
    }
    for (index, namespace) in executor.namespaces.iter().enumerate() {
        if !namespace.strip_suffix('*').map_or_else(|| is_label(namespace), begins_label) {
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
    check_model(at, executor)?;
    check_patterns(&format!("{at}.redact"), &executor.redact)?;
    let bytes = serde_json::to_vec(executor).map_or(usize::MAX, |json| json.len());
    if bytes > MAX_EXECUTOR_BYTES {
        return Err(invalid(at, format!("must not be larger than {MAX_EXECUTOR_BYTES} bytes, is {bytes}")));
    }
    Ok(())
}

fn check_limits(at: &str, executor: &Executor) -> Result<(), InvalidConfiguration> {
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
        if !is_inside(name) {
            let field = format!("{at}.outputs.required[{index}]");
            return Err(invalid(&field, format!("must be the relative path of an artifact, is {name:?}")));
        }
    }
    Ok(())
}

fn check_model(at: &str, executor: &Executor) -> Result<(), InvalidConfiguration> {
    let Some(model) = &executor.model else { return Ok(()) };
    let fail = |field: &str, message: &str| Err(invalid(&format!("{at}.{field}"), message.into()));
    if executor.builtin.is_some() {
        return fail("model", "must not be given with builtin: what is built in asks no model");
    }
    if executor.sandbox == SandboxMode::BestEffort {
        return fail("sandbox", "must be required where there is a model: the sandbox is the only way to it");
    }
    if model.aliases.is_empty() || model.aliases.iter().any(|alias| alias.is_empty() || alias.contains(['\0', '\n'])) {
        return fail("model.aliases", "must name at least one model of the configuration of models");
    }
    if model.max_in_flight.is_some_and(|most| !(1..=64).contains(&most)) {
        return fail("model.maxInFlight", "must be from 1 to 64");
    }
    Ok(())
}

fn check_patterns(at: &str, patterns: &[String]) -> Result<(), InvalidConfiguration> {
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
