//! The Review custom resource (docs/reviews.md): somebody decides about what a Task made, as the person that the API server knows
//! them as.
//!
//! The webhook stamps who it is; the controller records the decision, or says in the status why it counts for nothing.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::choices;

/// A decision about what a Task made, by the person that makes it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "jct.dev",
    version = "v1",
    kind = "Review",
    plural = "reviews",
    shortname = "jreview",
    namespaced,
    status = "ReviewStatus",
    doc = "A decision about what a Task made, by the person that makes this object. It never changes; another decision is another Review.",
    printcolumn = r#"{"name":"Task","type":"string","jsonPath":".spec.task.name"}"#,
    printcolumn = r#"{"name":"Decision","type":"string","jsonPath":".spec.decision"}"#,
    printcolumn = r#"{"name":"By","type":"string","jsonPath":".status.reviewer"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("INVALID_SPEC: spec: cannot change: make a new Review instead"))]
pub struct ReviewSpec {
    /// The Task whose change is reviewed.
    pub task: ReviewedTask,
    /// The id of the evidence pack that was looked at.
    #[schemars(length(max = 26), regex(pattern = r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$"))]
    pub evidence_pack: String,
    /// The digest of its subject: what is decided about.
    #[schemars(length(max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub subject_sha256: String,
    /// approved, rejected or needs_changes.
    #[schemars(length(max = 16), regex(pattern = r"^(approved|rejected|needs_changes)$"))]
    pub decision: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4000))]
    pub reason: Option<String>,
}

/// The Task whose change is reviewed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
pub struct ReviewedTask {
    /// Its name, in this namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid: it is this one, and none of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<String>,
}

/// What became of it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReviewStatus {
    /// Recorded or Failed: it counts, or it counts for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The id of the decision on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Who decided, as the API server knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewer: Option<String>,
}

choices! {
    /// Why a Review counts, or counts for nothing.
    pub enum ReviewReason {
        /// The decision is on record.
        Recorded = "Recorded",
        /// It is about another digest than that of what is to be reviewed.
        Stale = "REVIEW_STALE",
        /// Who made it has a part in the Task, is a program, is not named, or nobody vouches for them.
        NotAllowed = "REVIEW_NOT_ALLOWED",
        /// There is no such evidence pack of this Task in the namespace.
        EvidenceNotFound = "EvidenceNotFound",
        /// Nobody is waited for: no review is required, or it has ended.
        NotUnderReview = "NotUnderReview",
    }
}
