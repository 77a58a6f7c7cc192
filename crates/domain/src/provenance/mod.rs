//! Provenance of an attempt: an [in-toto Statement v1](https://in-toto.io/Statement/v1) with the predicate
//! [SLSA Provenance v1](https://slsa.dev/provenance/v1), in a DSSE envelope. What is said and how it is encoded; signing is
//! elsewhere.
//!
//! `docs/provenance.md` tells users what each field means: the two change together.

mod descriptors;
mod envelope;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::descriptors::subjects;
use self::descriptors::{byproducts, dependencies};
pub use self::envelope::{Envelope, PAYLOAD_TYPE, Signature, pre_authentication_encoding};
use super::checkpoint::Checkpoint;
use super::trace::{Manifest, Outcome};
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
    pub predicate: Predicate,
}

/// SLSA Provenance v1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Predicate {
    pub build_definition: BuildDefinition,
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
    pub executor: String,
    /// 1 for the first.
    pub attempt: u32,
    pub namespace: String,
    /// The user whom the API server authenticated as the Task's submitter; none where nobody vouched for one. What the Task
    /// says of its requester is a claim, in [`BuildDefinition::external_parameters`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submitted_by: Option<String>,
    pub task_id: String,
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
    #[serde(skip_serializing_if = "DigestSet::is_empty")]
    pub digest: DigestSet,
    /// IANA media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub annotations: Map<String, Value>,
}

/// An image that a container of the attempt ran, as the node tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerImage {
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
    Manifest { manifest: &'a Manifest, sha256: &'a str },
    /// There is none; this is the SHA-256 of `incomplete.json`.
    Incomplete {
        /// Of `incomplete.json`.
        sha256: &'a str,
    },
}

/// All that a statement is made from. The same facts make the same statement, to the byte.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts<'a> {
    pub task_id: Id,
    pub trace_id: &'a TraceId,
    pub namespace: &'a str,
    /// The authenticated submitter, where one was vouched for.
    pub submitted_by: Option<&'a str>,
    /// 1 for the first.
    pub attempt: u32,
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
    pub bound: Bound<'a>,
    /// Whether the worker itself announced the manifest that is bound, where that is known.
    pub announced: Option<bool>,
    /// How the attempt ended, by the record.
    pub outcome: Outcome,
    /// Why it failed, by the record.
    pub failure: Option<(&'a str, &'a str)>,
    /// Of the executor.
    pub exit_code: Option<i32>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub builder_id: &'a str,
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

#[cfg(test)]
mod tests;
