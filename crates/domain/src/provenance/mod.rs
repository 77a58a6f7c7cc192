//! Provenance of an attempt: an [in-toto Statement v1](https://in-toto.io/Statement/v1) with the predicate
//! [SLSA Provenance v1](https://slsa.dev/provenance/v1), in a DSSE envelope. What is said and how it is encoded; signing is
//! elsewhere.
//!
//! `docs/provenance.md` tells users what each field means: the two change together.

mod envelope;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::envelope::{Envelope, PAYLOAD_TYPE, Signature, pre_authentication_encoding};
use super::checkpoint::Checkpoint;
use super::trace::{
    ARTIFACTS_DIR, EVENTS_FILE, FileEntry, INCOMPLETE_FILE, LOG_FILE, MANIFEST_FILE, MODEL_FILE, Manifest, Outcome,
    STDERR_FILE, STDOUT_FILE,
};
use super::url::percent_encoded;
use super::{Id, TraceId};

/// `_type` of a statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of a statement.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// `buildType`: how parameters and dependencies are to be read. Another meaning needs another version.
pub const BUILD_TYPE: &str = "https://jct.dev/task/v1";
/// `builder.id` of an operator that was given none.
pub const DEFAULT_BUILDER_ID: &str = "https://jct.dev/operator/v1";
/// The `uri` of the byproduct that has the attempt's outcome.
pub const OUTCOME_URI: &str = "https://jct.dev/task/v1#outcome";
/// The greatest envelope that is read, in bytes: one for the greatest manifest fits.
pub const MAX_PROVENANCE_BYTES: u64 = 32 * 1024 * 1024;

/// The container that an executor runs in.
const EXECUTOR: &str = "executor";

/// Algorithm and lower-case hex digits.
pub type DigestSet = BTreeMap<String, String>;

/// A statement: `predicate` holds for every one of `subject`. Fields that are not known are passed over, as in-toto asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub type_: String,
    /// The trace: `manifest.json` and what is under `artifacts/`, or `incomplete.json`.
    pub subject: Vec<ResourceDescriptor>,
    /// [`PREDICATE_TYPE`].
    pub predicate_type: String,
    /// How they came about.
    pub predicate: Predicate,
}

/// SLSA Provenance v1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Predicate {
    /// What went in.
    pub build_definition: BuildDefinition,
    /// What happened.
    pub run_details: RunDetails,
}

/// What an attempt started from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// [`BUILD_TYPE`].
    pub build_type: String,
    /// The normalized Task: the JSON of `task.json`.
    pub external_parameters: Value,
    /// What JCT decided.
    #[serde(default)]
    pub internal_parameters: InternalParameters,
    /// The repository's commit and the images, where known.
    #[serde(default)]
    pub resolved_dependencies: Vec<ResourceDescriptor>,
}

/// What JCT decided about an attempt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InternalParameters {
    /// The executor's name.
    pub executor: String,
    /// 1 for the first.
    pub attempt: u32,
    /// The Task's namespace.
    pub namespace: String,
    /// The user whom the API server authenticated as the Task's submitter; none where nobody vouched for one. What the Task
    /// says of its requester is a claim, in [`BuildDefinition::external_parameters`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submitted_by: Option<String>,
    /// The Task.
    pub task_id: String,
    /// Its trace.
    pub trace_id: String,
    /// The newest checkpoint of the audit log when this was signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_checkpoint: Option<Checkpoint>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// Who ran it, and says so.
    pub builder: Builder,
    /// Of this one attempt.
    #[serde(default)]
    pub metadata: Metadata,
    /// Logs, and the outcome.
    #[serde(default)]
    pub byproducts: Vec<ResourceDescriptor>,
}

/// Who ran the attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Builder {
    /// A URI: [`DEFAULT_BUILDER_ID`], or what the operator was told.
    pub id: String,
    /// Versions, by component.
    #[serde(default)]
    pub version: BTreeMap<String, String>,
}

/// Of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// `<trace id>/<attempt>`.
    pub invocation_id: String,
    /// When the worker began; none if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_on: Option<Timestamp>,
    /// When the attempt ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_on: Option<Timestamp>,
}

/// A file, a repository, an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceDescriptor {
    /// What it is called in this statement: for a file of the trace its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is called everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Its digests.
    #[serde(skip_serializing_if = "DigestSet::is_empty")]
    pub digest: DigestSet,
    /// IANA media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// More about it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub annotations: Map<String, Value>,
}

/// An image that a container of the attempt ran, as the node tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerImage {
    /// The container's name.
    pub container: String,
    /// The image as it was named.
    pub image: String,
    /// The image as it was found: a name with a digest, or a digest alone. May be empty.
    pub image_id: String,
}

/// What binds the files of the trace.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound<'a> {
    /// A manifest that is believed.
    Manifest {
        /// It.
        manifest: &'a Manifest,
        /// Its SHA-256.
        sha256: &'a str,
    },
    /// There is none; this is the SHA-256 of `incomplete.json`.
    Incomplete {
        /// Of `incomplete.json`.
        sha256: &'a str,
    },
}

/// All that a statement is made from. The same facts make the same statement, to the byte.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts<'a> {
    /// The Task.
    pub task_id: Id,
    /// Its trace.
    pub trace_id: &'a TraceId,
    /// Its namespace.
    pub namespace: &'a str,
    /// The authenticated submitter, where one was vouched for.
    pub submitted_by: Option<&'a str>,
    /// 1 for the first.
    pub attempt: u32,
    /// The executor's name.
    pub executor: &'a str,
    /// The normalized Task, as `task.json` has it.
    pub task: Value,
    /// Where the source is fetched from, if the manifest does not tell.
    pub source_url: &'a str,
    /// The ref that was asked for.
    pub git_ref: &'a str,
    /// The commit that the ref was, where known.
    pub commit: Option<&'a str>,
    /// The images, where known.
    pub images: &'a [ContainerImage],
    /// The trace.
    pub bound: Bound<'a>,
    /// Whether the worker itself announced the manifest that is bound, where that is known.
    pub announced: Option<bool>,
    /// How the attempt ended, by the record.
    pub outcome: Outcome,
    /// Why it failed, by the record.
    pub failure: Option<(&'a str, &'a str)>,
    /// Of the executor.
    pub exit_code: Option<i32>,
    /// When the worker began.
    pub started_at: Option<Timestamp>,
    /// When the attempt ended.
    pub ended_at: Option<Timestamp>,
    /// The builder's URI.
    pub builder_id: &'a str,
    /// The operator's version.
    pub version: &'a str,
    /// The newest checkpoint of the audit log, where there is one.
    pub checkpoint: Option<&'a Checkpoint>,
}

impl Statement {
    /// The statement about an attempt.
    pub fn of(facts: &Facts) -> Self {
        Self {
            type_: STATEMENT_TYPE.into(),
            subject: subjects(&facts.bound),
            predicate_type: PREDICATE_TYPE.into(),
            predicate: Predicate {
                build_definition: BuildDefinition {
                    build_type: BUILD_TYPE.into(),
                    external_parameters: facts.task.clone(),
                    internal_parameters: InternalParameters {
                        executor: facts.executor.into(),
                        attempt: facts.attempt,
                        namespace: facts.namespace.into(),
                        submitted_by: facts.submitted_by.map(str::to_owned),
                        task_id: facts.task_id.to_string(),
                        trace_id: facts.trace_id.to_string(),
                        audit_checkpoint: facts.checkpoint.cloned(),
                    },
                    resolved_dependencies: dependencies(facts),
                },
                run_details: RunDetails {
                    builder: Builder {
                        id: facts.builder_id.into(),
                        version: BTreeMap::from([("jct".to_owned(), facts.version.to_owned())]),
                    },
                    metadata: Metadata {
                        invocation_id: invocation_id(facts.trace_id.as_str(), facts.attempt),
                        started_on: facts.started_at,
                        finished_on: facts.ended_at,
                    },
                    byproducts: byproducts(facts),
                },
            },
        }
    }

    /// The bytes that are signed.
    pub fn to_payload(&self) -> Vec<u8> {
        // Strings, numbers and maps with text keys always serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The outcome, as the byproduct with [`OUTCOME_URI`] has it: `succeeded` or `failed`.
    pub fn outcome(&self) -> Option<&str> {
        let byproducts = &self.predicate.run_details.byproducts;
        let found = byproducts.iter().find(|byproduct| byproduct.uri.as_deref() == Some(OUTCOME_URI))?;
        found.annotations.get("outcome")?.as_str()
    }
}

/// `invocationId` of an attempt.
pub fn invocation_id(trace_id: &str, attempt: u32) -> String {
    format!("{trace_id}/{attempt}")
}

/// The subjects of a statement about these files.
pub fn subjects(bound: &Bound) -> Vec<ResourceDescriptor> {
    match bound {
        Bound::Manifest { manifest, sha256 } => {
            let outputs = manifest.files.iter().filter(|file| is_output(file)).map(file_descriptor);
            std::iter::once(file(MANIFEST_FILE, sha256)).chain(outputs).collect()
        }
        Bound::Incomplete { sha256 } => vec![file(INCOMPLETE_FILE, sha256)],
    }
}

fn is_output(file: &FileEntry) -> bool {
    file.path.strip_prefix(ARTIFACTS_DIR).is_some_and(|rest| rest.starts_with('/'))
}

fn file(name: &str, sha256: &str) -> ResourceDescriptor {
    ResourceDescriptor {
        name: Some(name.into()),
        digest: sha256_of(sha256),
        media_type: Some("application/json".into()),
        ..ResourceDescriptor::default()
    }
}

fn file_descriptor(file: &FileEntry) -> ResourceDescriptor {
    ResourceDescriptor {
        name: Some(file.path.clone()),
        digest: sha256_of(&file.sha256),
        media_type: Some(file.media_type.clone()),
        ..ResourceDescriptor::default()
    }
}

fn sha256_of(digits: &str) -> DigestSet {
    DigestSet::from([("sha256".to_owned(), digits.to_owned())])
}

fn dependencies(facts: &Facts) -> Vec<ResourceDescriptor> {
    let source = match &facts.bound {
        Bound::Manifest { manifest, .. } => manifest.source.as_ref(),
        Bound::Incomplete { .. } => None,
    };
    let repository = match source {
        Some(source) => Some((source.url.as_str(), source.git_ref.as_str(), source.commit.as_str())),
        None => facts.commit.map(|commit| (facts.source_url, facts.git_ref, commit)),
    };
    let repository = repository.map(|(url, git_ref, commit)| ResourceDescriptor {
        uri: Some(format!("git+{url}@{}", escaped(git_ref))),
        digest: DigestSet::from([("gitCommit".to_owned(), commit.to_owned())]),
        ..ResourceDescriptor::default()
    });
    let images = facts.images.iter().map(|image| ResourceDescriptor {
        name: Some(image.container.clone()),
        uri: Some(image.image.clone()),
        digest: image_sha256(&image.image_id).map(sha256_of).unwrap_or_default(),
        ..ResourceDescriptor::default()
    });
    // Where the pod tells nothing any more, the manifest knows at least what was configured.
    let configured = match &facts.bound {
        Bound::Manifest { manifest, .. } if facts.images.is_empty() => manifest.image.as_ref(),
        _ => None,
    };
    let configured = configured.map(|image| ResourceDescriptor {
        name: Some(EXECUTOR.into()),
        uri: Some(image.clone()),
        ..ResourceDescriptor::default()
    });
    repository.into_iter().chain(images).chain(configured).collect()
}

/// The digits of an image id such as `registry/name@sha256:…`, `docker-pullable://…` or `sha256:…`.
fn image_sha256(image_id: &str) -> Option<&str> {
    let (_, digits) = image_id.rsplit_once("sha256:")?;
    let is_digest = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    is_digest.then_some(digits)
}

/// A git ref within a URI: what would end it or be taken for something else is percent-encoded.
fn escaped(git_ref: &str) -> String {
    percent_encoded(git_ref.as_bytes(), b"-._/+=,!")
}

fn byproducts(facts: &Facts) -> Vec<ResourceDescriptor> {
    const LOGS: [&str; 4] = [EVENTS_FILE, LOG_FILE, STDOUT_FILE, STDERR_FILE];
    let files = match &facts.bound {
        Bound::Manifest { manifest, .. } => manifest.files.as_slice(),
        Bound::Incomplete { .. } => &[],
    };
    let logs = LOGS.iter().filter_map(|name| files.iter().find(|file| file.path == *name)).map(file_descriptor);
    let mut annotations = Map::new();
    annotations.insert("outcome".into(), json!(facts.outcome));
    if let Some((reason, message)) = facts.failure {
        annotations.insert("reason".into(), json!(reason));
        annotations.insert("message".into(), json!(message));
    }
    if let Some(exit_code) = facts.exit_code {
        annotations.insert("exitCode".into(), json!(exit_code));
    }
    if let Some(announced) = facts.announced {
        annotations.insert("manifestAnnounced".into(), json!(announced));
    }
    let outcome = ResourceDescriptor {
        name: Some("outcome".into()),
        uri: Some(OUTCOME_URI.into()),
        annotations,
        ..ResourceDescriptor::default()
    };
    logs.chain(models(facts)).chain([outcome]).collect()
}

/// What models were asked, with the sums of that: by the broker's account, which the recorder put in the place of the executor's.
fn models(facts: &Facts) -> Option<ResourceDescriptor> {
    let Bound::Manifest { manifest, .. } = &facts.bound else { return None };
    let file = manifest.files.iter().find(|file| file.path == MODEL_FILE)?;
    let cost = manifest.result.as_ref().and_then(|result| result.cost).unwrap_or_default();
    let usd = cost.usd.map(|usd| ("usd".to_owned(), json!(usd)));
    let tokens = cost.tokens.map(|tokens| ("tokens".to_owned(), json!(tokens)));
    Some(ResourceDescriptor { annotations: usd.into_iter().chain(tokens).collect(), ..file_descriptor(file) })
}

#[cfg(test)]
mod tests;
