//! The trace of one attempt: where its files lie and what its manifest says (contract section 6).
//!
//! The worker writes it, the operator checks and seals it; both use the names and types of this file.

use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FailureReason, Id, Task, TraceId};
use crate::choices;

/// The normalized Task that ran; written by the operator before the Job.
pub const TASK_FILE: &str = "task.json";
/// What happened, one JSON object a line.
pub const EVENTS_FILE: &str = "events.jsonl";
/// The same for people.
pub const LOG_FILE: &str = "trace.log";
/// The executor's standard output, capped and redacted.
pub const STDOUT_FILE: &str = "stdout.log";
/// The executor's standard error, capped and redacted.
pub const STDERR_FILE: &str = "stderr.log";
/// What models were asked, one JSON object for each exchange.
pub const MODEL_FILE: &str = "model.jsonl";
/// The bodies of that, where they are recorded.
pub const MODEL_BODIES_FILE: &str = "model-bodies.jsonl";
/// The folder of outputs.
pub const ARTIFACTS_DIR: &str = "artifacts";
/// Written last, by rename.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Written by the operator instead of a manifest when the worker ended without one.
pub const INCOMPLETE_FILE: &str = "incomplete.json";
/// Signed by the operator when the attempt's outcome is recorded: what the trace is and how it came about.
pub const PROVENANCE_FILE: &str = "provenance.dsse.json";
/// Which pod works at the attempt; written by its first container.
pub const CLAIM_FILE: &str = "claim.json";
/// Written by the operator before it ends a worker because somebody asked for that; gone from a sealed trace.
pub const CANCEL_FILE: &str = "cancel.json";
/// The version of the manifest's form.
pub const MANIFEST_VERSION: &str = "1.0";
/// The greatest manifest that is read, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

/// Where the trace of an attempt lies, below the root of the volume: `<namespace>/<task id>/<attempt>`.
pub fn folder(namespace: &str, task_id: Id, attempt: u32) -> String {
    format!("{namespace}/{task_id}/{attempt}")
}

/// The bytes of `task.json`: the same whenever they are made.
pub fn task_json(task: &Task) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(task).unwrap_or_default();
    json.push(b'\n');
    json
}

/// `claim.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The pod's uid: no other has it, ever.
    pub pod_uid: String,
    pub pod: String,
    pub claimed_at: Timestamp,
}

/// What an executor says of its work, in the file that `JCT_RESULT_FILE` names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecutorResult {
    /// What was achieved, or what went wrong, in a sentence.
    #[serde(alias = "message", skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Why it failed, where it is one of the reasons that an executor may give: `ExecutorFailed`, `ExecutorNotConfigured`,
    /// `ChangeNotAllowed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it went the way it went, step by step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decision_log: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<ExecutorCost>,
    /// Which file of its artifacts shows what, by its own account.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<EvidenceClaim>,
}

/// What an executor claims to have shown: nobody vouches for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvidenceClaim {
    /// A requirement of evidence, by its place among the Task's, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requirement: Option<u32>,
    /// A criterion, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criterion: Option<u32>,
    /// The file, below `artifacts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// In its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

/// What the work of an executor cost, by its own account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecutorCost {
    /// In US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    /// Tokens of a language model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

/// What an executor made of the workspace: change.patch, change.bundle and diffstat.txt among the artifacts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The commit that it is made on.
    pub base_commit: String,
    /// The commit that it is, in the bundle.
    pub commit: String,
    /// The ref of that commit in the bundle.
    pub git_ref: String,
    /// Changed files, a renamed one counted twice.
    pub files_changed: u64,
    /// Lines that are new.
    pub insertions: u64,
    /// Lines that are gone.
    pub deletions: u64,
    /// The digest of the patch, lower-case hex digits.
    pub patch_sha256: String,
    /// The size of the patch, in bytes.
    pub patch_bytes: u64,
    /// The digest of the bundle, lower-case hex digits.
    pub bundle_sha256: String,
    /// The size of the bundle, in bytes.
    pub bundle_bytes: u64,
    /// The commit's tree; none in what an earlier version recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// The files that it touches, both names of a renamed one: at most [`MAX_PATHS`], and of an earlier version none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

/// Of the files that a change touches, more are not named.
pub const MAX_PATHS: usize = 10_000;
/// Nor more bytes of names.
pub const MAX_PATHS_BYTES: usize = 1024 * 1024;

impl Change {
    /// The files that it touches, if all of them are named.
    pub fn all_paths(&self) -> Option<&[String]> {
        (self.paths.len() as u64 == self.files_changed).then_some(self.paths.as_slice())
    }
}

/// What an executor used up, by the supervisor's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// From its start to its end, in milliseconds.
    pub wall_ms: u64,
    /// What it and its children computed, in milliseconds.
    pub cpu_ms: u64,
    /// The largest of its processes at its peak, in bytes.
    pub peak_memory_bytes: u64,
}

/// How an attempt ended, by the worker's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Succeeded,
    /// It is not.
    Failed,
}

choices! {
    /// What a file of the trace is (contract section 5, `artifacts.kind`).
    pub enum FileKind {
        /// What happened or was printed.
        Log = "log",
        /// A change to the source.
        Diff = "diff",
        /// A report.
        Report = "report",
        /// Anything else.
        File = "file",
        /// Numbers.
        Metric = "metric",
        /// What went wrong.
        Error = "error",
    }
}

/// One file of the trace, as the manifest binds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Relative to the attempt's folder, with `/`, of UTF-8.
    pub path: String,
    pub kind: FileKind,
    /// IANA media type.
    pub media_type: String,
    /// In bytes.
    pub size_bytes: u64,
    /// Lower-case hex digits.
    pub sha256: String,
}

/// The source that the attempt ran on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Where it was fetched from, without credentials.
    pub url: String,
    /// As asked for.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// The commit that the ref was, 40 or 64 hex digits.
    pub commit: String,
}

/// `manifest.json`: the worker's account of an attempt, and the digests that bind its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: String,
    pub task_id: Id,
    pub trace_id: TraceId,
    pub namespace: String,
    /// 1 for the first.
    pub attempt: u32,
    pub executor: String,
    /// The executor's image, as configured; none for what is built into the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The digest of the executor's configuration, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_sha256: Option<String>,
    /// Name and version of the worker.
    pub worker: String,
    /// The digest of the `task.json` that ran.
    pub task_sha256: String,
    /// What it ran on; none if it could not be fetched.
    pub source: Option<Source>,
    pub outcome: Outcome,
    pub reason: Option<FailureReason>,
    pub message: Option<String>,
    /// The executor's exit code; none if it did not run or was ended by a signal.
    pub exit_code: Option<i32>,
    /// What the executor said of its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ExecutorResult>,
    /// What it made of the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// What the executor used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// When the attempt's first step began.
    pub started_at: Timestamp,
    /// When the manifest was written.
    pub ended_at: Timestamp,
    /// Every file but the manifest itself, sorted by path.
    pub files: Vec<FileEntry>,
}

/// What the operator knows about an attempt, to hold a manifest against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected<'a> {
    pub task_id: Id,
    pub trace_id: &'a TraceId,
    pub namespace: &'a str,
    /// 1 for the first.
    pub attempt: u32,
    /// The digest of the `task.json` that the operator wrote.
    pub task_sha256: &'a str,
}

/// Why a manifest is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidManifest {
    /// Of a form that this version does not know.
    #[error("manifest version {0:?} is not known")]
    Version(String),
    /// Of another Task, trace, attempt or task.json.
    #[error("manifest is of another attempt: {0} differs")]
    OtherAttempt(&'static str),
    /// Names a file outside the folder, or one twice.
    #[error("manifest names the file {0:?}, which is outside the folder or named twice")]
    Path(String),
    /// Success with a reason, or failure without one.
    #[error("manifest's outcome and reason contradict each other")]
    Contradiction,
    /// Leaves out task.json.
    #[error("manifest does not cover task.json with its digest")]
    TaskNotCovered,
}

impl Manifest {
    /// Holds the manifest against what the operator knows. The digests of the files are the caller's to check.
    ///
    /// # Errors
    /// [`InvalidManifest`] with the first thing that is wrong.
    pub fn check(&self, expected: &Expected) -> Result<(), InvalidManifest> {
        if self.version != MANIFEST_VERSION {
            return Err(InvalidManifest::Version(self.version.chars().take(32).collect()));
        }
        let others = [
            (self.task_id != expected.task_id, "task_id"),
            (&self.trace_id != expected.trace_id, "trace_id"),
            (self.namespace != expected.namespace, "namespace"),
            (self.attempt != expected.attempt, "attempt"),
            (self.task_sha256 != expected.task_sha256, "task_sha256"),
        ];
        if let Some((_, field)) = others.into_iter().find(|(differs, _)| *differs) {
            return Err(InvalidManifest::OtherAttempt(field));
        }
        if (self.outcome == Outcome::Succeeded) != self.reason.is_none() {
            return Err(InvalidManifest::Contradiction);
        }
        let mut seen = std::collections::BTreeSet::new();
        for file in &self.files {
            if !is_inside(&file.path) || file.path == MANIFEST_FILE || !seen.insert(file.path.as_str()) {
                return Err(InvalidManifest::Path(file.path.chars().take(200).collect()));
            }
        }
        let task_covered = self.files.iter().any(|file| file.path == TASK_FILE && file.sha256 == expected.task_sha256);
        if task_covered { Ok(()) } else { Err(InvalidManifest::TaskNotCovered) }
    }
}

/// Whether `path` is relative, plain and inside the folder it is relative to.
pub fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\0', '\\'])
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
        && Path::new(path).components().collect::<PathBuf>().to_str() == Some(path)
}

/// `incomplete.json`: why there is no manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incomplete {
    pub task_id: Id,
    pub trace_id: TraceId,
    /// 1 for the first.
    pub attempt: u32,
    pub reason: String,
    /// When the operator wrote this down.
    pub marked_at: Timestamp,
}

impl Incomplete {
    /// Whether both are of one attempt.
    pub fn is_of_the_attempt_of(&self, other: &Self) -> bool {
        (self.task_id, &self.trace_id, self.attempt) == (other.task_id, &other.trace_id, other.attempt)
    }
}

/// What a container of the worker says as it ends, in its termination message: lets the operator tell what happened
/// without the volume, and binds the manifest's digest from outside of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Termination {
    pub outcome: Outcome,
    pub reason: Option<FailureReason>,
    /// In a sentence, at most 1000 characters.
    pub message: Option<String>,
    /// The SHA-256 of manifest.json, if one was written.
    pub manifest_sha256: Option<String>,
    /// The pod that works at this attempt, where this one found another before it: then it has done nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_by: Option<String>,
}

/// One line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub ts: Timestamp,
    /// Counts from 1 within the attempt.
    pub seq: u64,
    /// What happened, such as `source_fetched`.
    pub event: String,
    pub trace_id: TraceId,
    pub fields: serde_json::Map<String, serde_json::Value>,
}

#[cfg(test)]
mod tests;
