//! Manifests in files, for commands that look at them without a cluster.

use std::io::{self, Read as _};
use std::path::Path;

use clap::Args;
use serde::Deserialize as _;
use serde_json::Value;

use crate::crd::{names, pinned_id};
use crate::domain::cwom::{Kind, is_object_name};
use crate::domain::task::{MAX_TIME_BUDGET_SECONDS, MIN_TIME_BUDGET_SECONDS};
use crate::domain::{Code, Finding};
use crate::policy::{Policy, Subject};

/// The policy, as the operator is told of it.
#[derive(Args, Clone, Debug)]
pub struct PolicyArgs {
    /// Comma-separated prefixes of owner/name; a Task's repository must start with one. Without, `check` allows none and
    /// `run` the Task's own
    #[arg(long, env = "JCT_ALLOWED_REPO_PREFIXES", value_name = "LIST")]
    pub allowed_repo_prefixes: Option<String>,

    /// The least time budget of a Task, in seconds
    #[arg(long, env = "JCT_MIN_TIME_BUDGET_SECONDS", value_name = "SECONDS", default_value_t = MIN_TIME_BUDGET_SECONDS)]
    pub min_time_budget_seconds: u32,

    /// The greatest time budget of a Task, in seconds
    #[arg(long, env = "JCT_MAX_TIME_BUDGET_SECONDS", value_name = "SECONDS", default_value_t = MAX_TIME_BUDGET_SECONDS)]
    pub max_time_budget_seconds: u32,
}

impl PolicyArgs {
    /// The policy; `otherwise` are the prefixes where none are given.
    pub fn policy(&self, otherwise: &str) -> Policy {
        Policy {
            min_time_budget_seconds: self.min_time_budget_seconds,
            max_time_budget_seconds: self.max_time_budget_seconds,
            ..Policy::default()
        }
        .allowing(self.allowed_repo_prefixes.as_deref().unwrap_or(otherwise))
    }
}

/// An object of a file.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The document that it is in, counted from 1.
    pub document: usize,
    /// As it is written.
    pub object: Value,
}

/// The text of `file`; `-` is standard input.
///
/// # Errors
/// If it cannot be read, or is no UTF-8.
pub fn read(file: &Path) -> io::Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

/// The objects of YAML or JSON of one or many documents: those of a List, none of an empty one.
///
/// # Errors
/// In words, with the number of the document.
pub fn manifests(text: &str) -> Result<Vec<Manifest>, String> {
    let mut all = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let number = index + 1;
        let document = Value::deserialize(document).map_err(|error| format!("document {number}: {error}"))?;
        all.extend(objects(document).into_iter().map(|object| Manifest { document: number, object }));
    }
    Ok(all)
}

fn objects(document: Value) -> Vec<Value> {
    match document {
        Value::Null => Vec::new(),
        Value::Object(mut map) if map.get("kind").is_some_and(|kind| kind == "List") => match map.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        document => vec![document],
    }
}

impl Manifest {
    /// The text at a JSON pointer; none if there is something else or nothing.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.object.pointer(pointer).and_then(Value::as_str)
    }

    /// Its kind; empty if it says none.
    pub fn kind(&self) -> &str {
        self.text("/kind").unwrap_or_default()
    }

    /// Whether it belongs to our group.
    pub fn is_ours(&self) -> bool {
        self.text("/apiVersion").is_some_and(|version| version.starts_with(&format!("{}/", names::GROUP)))
    }

    /// Its name, or what one is to be generated from.
    pub fn name(&self) -> Option<&str> {
        let given = |pointer| self.text(pointer).filter(|name| !name.is_empty());
        given("/metadata/name").or_else(|| given("/metadata/generateName"))
    }

    /// Its spec; null if there is none.
    pub fn spec(&self) -> &Value {
        self.object.get("spec").unwrap_or(&Value::Null)
    }

    /// The id that it pins, if it does.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn pinned_id(&self) -> Result<Option<crate::domain::Id>, Finding> {
        let annotations = self.object.pointer("/metadata/annotations").cloned().unwrap_or(Value::Null);
        let annotations = serde_json::from_value(annotations).ok().flatten();
        pinned_id(annotations.as_ref())
    }

    /// What Kubernetes would find wrong with its name.
    fn check_name(&self) -> Option<Finding> {
        let (field, name) = match (self.text("/metadata/name"), self.name()) {
            (_, None) => return Some(Finding::new(Code::InvalidSpec, "metadata.name", "is required")),
            (Some(name), _) if !name.is_empty() => ("metadata.name", name.to_owned()),
            // Kubernetes adds five characters of its own.
            (_, Some(prefix)) => ("metadata.generateName", format!("{prefix}00000")),
        };
        let message = "must be lower-case letters, digits, inner dashes and dots, at most 253";
        (!is_object_name(&name)).then(|| Finding::new(Code::InvalidSpec, field, message))
    }

    /// All that admission would find wrong with it.
    pub fn findings(&self, policy: &Policy) -> Vec<Finding> {
        let Some(subject) = Subject::parse(self.kind()) else {
            let kinds: Vec<&str> = ["Task"].iter().chain(Kind::NAMES).copied().collect();
            return vec![Finding::new(Code::InvalidSpec, "kind", format!("must be one of {}", kinds.join(", ")))];
        };
        let mut findings = Vec::new();
        if self.object.get("apiVersion") != Some(&Value::from(format!("{}/v1", names::GROUP))) {
            let message = format!("must be {}/v1, the only version there is", names::GROUP);
            findings.push(Finding::new(Code::InvalidSpec, "apiVersion", message));
        }
        findings.extend(self.check_name());
        findings.extend(subject.check_new(self.spec(), policy));
        findings.extend(self.pinned_id().err());
        findings
    }
}
