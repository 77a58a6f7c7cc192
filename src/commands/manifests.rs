//! Manifests in files, for commands that look at them without a cluster.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use crate::crd::{names, pinned_id, unknown_status_fields};
use crate::domain::cwom::Kind;
use crate::domain::executor::Executors;
use crate::domain::forge::Forges;
use crate::domain::model::Models;
use crate::domain::task::{MAX_TIME_BUDGET_SECONDS, MIN_TIME_BUDGET_SECONDS};
use crate::domain::{Code, Finding, Id};
use crate::manifest::{Manifest, Unreadable, metadata_findings, objects};
use crate::policy::{Policy, Subject};

/// The greatest object that etcd takes as it is set up by default, in bytes of JSON.
const MAX_OBJECT_BYTES: usize = 1536 * 1024;
/// What is read of a folder.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];
/// The fields of an object of ours.
const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

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

/// The files that `path` names as kubectl's `-f` does: itself, standard input (-), the manifests of a folder, or what a pattern
/// fits. In the order of their names.
///
/// # Errors
/// If there is none.
pub fn files(path: &Path, recursive: bool) -> anyhow::Result<Vec<PathBuf>> {
    if path.as_os_str() == "-" {
        return Ok(vec![path.to_owned()]);
    }
    let paths = if path.exists() { vec![path.to_owned()] } else { matching(path)? };
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() { in_folder(&path, recursive, &mut files)? } else { files.push(path) }
    }
    if files.is_empty() {
        bail!("there is no manifest in it: {} are looked at", EXTENSIONS.map(|end| format!("*.{end}")).join(", "));
    }
    Ok(files)
}

fn matching(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let found = path.to_str().and_then(|pattern| glob::glob(pattern).ok());
    let found: Vec<PathBuf> = found.into_iter().flatten().filter_map(Result::ok).collect();
    if found.is_empty() {
        // So that it says why.
        std::fs::metadata(path)?;
    }
    Ok(found)
}

fn in_folder(folder: &Path, recursive: bool, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let is_manifest = || path.extension().is_some_and(|end| EXTENSIONS.iter().any(|known| end == *known));
        // A link to a folder is not followed: it could lead round in circles.
        if entry.file_type()?.is_dir() {
            if recursive {
                in_folder(&path, recursive, files)?;
            }
        } else if is_manifest() && !path.is_dir() {
            files.push(path);
        }
    }
    Ok(())
}

/// The executors of a configuration in a file.
///
/// # Errors
/// If it cannot be read, or is none.
pub fn executors_of(file: &Path) -> anyhow::Result<Executors> {
    let at = || format!("--executors {}", file.display());
    let text = std::fs::read_to_string(file).with_context(at)?;
    Executors::read(&text).with_context(at)
}

/// The models of a configuration in a file.
///
/// # Errors
/// If it cannot be read, or is none.
pub fn models_of(file: &Path) -> anyhow::Result<Models> {
    let at = || format!("--models {}", file.display());
    let text = std::fs::read_to_string(file).with_context(at)?;
    Models::read(&text).with_context(at)
}

/// The forges of a configuration in a file.
///
/// # Errors
/// If it cannot be read, or is none.
pub fn forges_of(file: &Path) -> anyhow::Result<Forges> {
    let at = || format!("--forges {}", file.display());
    let text = std::fs::read_to_string(file).with_context(at)?;
    Forges::read(&text).with_context(at)
}

/// The bytes of `file`; `-` is standard input.
///
/// # Errors
/// If it cannot be read.
pub fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(file)
}

/// The objects in `bytes`, and what can't be read of them. Not to be called while others are at work: what a panic of the parser says is
/// kept quiet meanwhile, for it is told in the error.
pub fn objects_in(bytes: &[u8]) -> (Vec<Manifest>, Option<Unreadable>) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = objects(bytes);
    std::panic::set_hook(hook);
    found
}

/// Whether an object belongs to our group, or is to.
pub fn is_ours(manifest: &Manifest) -> bool {
    let group = manifest.api_version().split('/').next().unwrap_or_default();
    let says_no_version = manifest.object.get("apiVersion").is_none_or(Value::is_null);
    group.eq_ignore_ascii_case(names::GROUP) || (says_no_version && Subject::parse(manifest.kind()).is_some())
}

/// The id that an object pins, if it does.
///
/// # Errors
/// What is wrong with it.
pub fn id_of(manifest: &Manifest) -> Result<Option<Id>, Finding> {
    let annotations = manifest.object.pointer("/metadata/annotations").cloned().unwrap_or(Value::Null);
    let annotations = serde_json::from_value(annotations).ok().flatten();
    pinned_id(annotations.as_ref())
}

/// All that a cluster would find wrong with an object of ours: kubectl, the API server and the webhook.
pub fn findings(manifest: &Manifest, policy: &Policy) -> Vec<Finding> {
    let repeated = manifest.repeated.iter().map(|path| {
        let message =
            "is given more than once: kubectl takes the last without a word. Is `---` missing between two documents?";
        Finding::new(Code::InvalidSpec, path.clone(), message)
    });
    let mut findings: Vec<Finding> = repeated.collect();
    let Some(subject) = Subject::parse(manifest.kind()) else {
        let kinds: Vec<&str> = ["Task"].iter().chain(Kind::NAMES).chain(&["Session", "Review"]).copied().collect();
        findings.push(Finding::new(Code::InvalidSpec, "kind", format!("must be one of {}", kinds.join(", "))));
        return findings;
    };
    if manifest.api_version() != format!("{}/v1", names::GROUP) {
        let message = format!("must be {}/v1, the only version there is", names::GROUP);
        findings.push(Finding::new(Code::InvalidSpec, "apiVersion", message));
    }
    for name in manifest.object.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !FIELDS.contains(&name.as_str()) {
            let message = format!("is not a field of the object; the fields here are {}", FIELDS.join(", "));
            findings.push(Finding::new(Code::InvalidSpec, name.chars().take(64).collect::<String>(), message));
        }
    }
    findings.extend(metadata_findings(manifest.object.get("metadata").unwrap_or(&Value::Null)));
    findings.extend(subject.check_new(manifest.spec(), policy));
    findings.extend(id_of(manifest).err());
    if let Some(status) = manifest.object.get("status") {
        let unknown = unknown_status_fields(manifest.kind(), status).into_iter();
        findings.extend(unknown.map(|path| Finding::new(Code::InvalidSpec, path, "is not a field")));
    }
    let bytes = manifest.object.to_string().len();
    if bytes > MAX_OBJECT_BYTES {
        let message = format!("must be at most 1536 KiB of JSON, is {} KiB: etcd takes no more", bytes.div_ceil(1024));
        findings.push(Finding::new(Code::InvalidSpec, "", message));
    }
    findings
}
