//! What is shown for an attempt that succeeded: what JCT checked itself, and what the executor claims, never mixed up.
//!
//! An [`EvidencePack`] is made by JCT alone, once for each such attempt, and never changes. A review is of its subject, by digest.

mod evaluate;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use evaluate::{Facts, NO_CLAIM, evaluate};

use crate::cwom::{Actor, Ref};
use crate::id::sha256_hex;
use crate::review::Required;
use crate::{Id, TraceId, choices};

choices! {
    /// What the checks come to.
    pub enum Verdict {
        /// Every check passed, and no criterion is known not to hold.
        Pass = "pass",
        /// Every check passed that was made, and some could not be.
        Partial = "partial",
        /// A check failed.
        Fail = "fail",
        /// Nothing was checked.
        Pending = "pending",
    }
}

choices! {
    /// How a criterion stands.
    pub enum CriterionStatus {
        /// A check that JCT ran shows it.
        Satisfied = "satisfied",
        /// A check that JCT ran shows that it does not hold.
        NotSatisfied = "not_satisfied",
        /// Nobody but the executor says anything of it, if anybody does.
        Unverified = "unverified",
        /// It was not looked at.
        Skipped = "skipped",
    }
}

/// What an attempt came to, by digests: what is reviewed, and what is delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// 1 for the first.
    pub attempt: u32,
    /// Of the manifest, which binds every file of the trace.
    pub manifest_sha256: String,
    /// The commit that the change is; none where nothing changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commit: Option<String>,
    /// Its tree.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tree: Option<String>,
    /// The commit that it is made on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base_commit: Option<String>,
    /// The branch that it is to be delivered to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub branch: Option<String>,
    /// `owner/name`.
    pub repo: String,
}

impl Subject {
    /// The digest of a Task's subject, as JSON `[task_id, subject]`: two Tasks never have the same.
    pub fn sha256(&self, task_id: Id) -> String {
        sha256_hex(&serde_json::to_vec(&(task_id, self)).unwrap_or_default())
    }
}

/// How a criterion of the Task stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CriterionResult {
    /// In the requester's words.
    pub criterion: String,
    /// Its place among them, from 0.
    pub index: u32,
    /// How it stands.
    pub status: CriterionStatus,
    /// Why.
    pub reason: String,
    /// Files of the trace that the executor names for it.
    pub evidence_refs: Vec<String>,
}

/// What there is for a requirement of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// In the requester's words.
    pub requirement: String,
    /// Its place among them, from 0.
    pub index: u32,
    /// Whether the executor names a file for it that is in the trace.
    pub found: bool,
    /// Where that is, in the trace.
    pub artifact_uri: Option<String>,
    /// Its media type.
    pub artifact_type: Option<String>,
    /// Who says so.
    pub notes: String,
}

/// What is shown for an attempt that succeeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvidencePack {
    /// Derived from the Task and the attempt.
    pub id: Id,
    /// Of the Task.
    pub trace_id: TraceId,
    /// Of the Task.
    pub namespace: String,
    /// The Task.
    pub task_id: Id,
    /// The attempt's Run, where work objects are made.
    pub for_run: Option<Ref>,
    /// The Run's Issue, likewise.
    pub for_issue: Option<Ref>,
    /// What was evaluated.
    pub subject: Subject,
    /// Its digest: a review names it.
    pub subject_sha256: String,
    /// What the checks come to.
    pub verdict: Verdict,
    /// Why.
    pub verdict_reason: String,
    /// When.
    pub evaluated_at: Timestamp,
    /// By whom.
    pub evaluated_by: Actor,
    /// Each criterion.
    pub criteria_results: Vec<CriterionResult>,
    /// Each requirement.
    pub evidence_collected: Vec<Evidence>,
    /// Requirements for which there is nothing.
    pub evidence_missing: Vec<String>,
    /// Checks that JCT made and that passed.
    pub checks_passed: Vec<String>,
    /// Checks that failed, each with why.
    pub checks_failed: Vec<String>,
    /// Checks that were not made, each with why.
    pub checks_skipped: Vec<String>,
    /// Where the trace is, below the root of the volume.
    pub evidence_uri: Option<String>,
    /// The review that is required before anything is delivered; none where none is.
    #[serde(default)]
    pub review_required: Option<Required>,
}

impl EvidencePack {
    /// The id of an attempt's pack.
    pub fn id_of(task_id: Id, created_at: Timestamp, attempt: u32) -> Id {
        Id::derive_for(created_at, &task_id.to_string(), &format!("evidence-pack/{attempt}"))
    }
}
