//! The review of what an attempt came to, by a second person.
//!
//! A decision is about a subject, by its digest ([`EvidencePack`](crate::evidence::EvidencePack)), and never changes. Whether something
//! may be delivered follows from the decisions on record alone: [`ReviewState::of`]. Who may decide: [`may_review`].

mod person;
mod policy;
mod state;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use person::{Chain, NotAReviewer, Part, Reviewer, may_review};
pub use policy::required;
pub use state::{Outcome, ReviewState};

use crate::cwom::{Actor, Ref};
use crate::table::Holds::{Choice, Integer, List, Text};
use crate::table::Need::{Empty, Optional, Required as Needed};
use crate::table::record;
use crate::{Id, TraceId, choices};

/// The actor of a decision that nobody made in time.
pub const EXPIRY: &str = "jct-review-expiry";
/// The longest reason, in characters.
pub const MAX_REASON: usize = 4000;

choices! {
    /// What a reviewer decides.
    pub enum Decision {
        /// It may be delivered.
        Approved = "approved",
        /// It may not, ever.
        Rejected = "rejected",
        /// It may not as it is.
        NeedsChanges = "needs_changes",
    }
}

/// The review that something needs before it is delivered, as it was when its attempt ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Required {
    /// The forge whose policy it is.
    pub forge: String,
    /// How many different people have to approve.
    pub approvals: u32,
    /// Until when; for ever where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Users who alone may decide; whoever may review where there are no users and no groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Groups who alone may decide.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Whether who has a part in the Task may approve it.
    pub self_approval: bool,
    /// Why it is required.
    pub because: String,
}

record! {
    /// What a reviewer says of a criterion.
    #[derive(Eq)]
    pub struct CriteriaOverride {
        /// Its place among the Task's criteria, from 0.
        criterion_index: u32 = Needed, Integer(0, 49);
        /// What the evidence pack says of it.
        original_status: Option<String> = Optional, Choice(crate::evidence::CriterionStatus::NAMES);
        /// What the reviewer says of it.
        override_status: String = Needed, Choice(crate::evidence::CriterionStatus::NAMES);
        /// Why.
        reason: Option<String> = Optional, Text(0, MAX_REASON);
    }
}

record! {
    /// The decision of a reviewer, as somebody writes it.
    #[derive(Eq)]
    pub struct ReviewRequest {
        /// The evidence pack that was looked at, by its id.
        evidence_pack: String = Needed, Text(26, 26);
        /// The digest of its subject, 64 hexadecimal digits: what is decided about.
        subject_sha256: String = Needed, Text(64, 64);
        /// approved, rejected or needs_changes.
        decision: Decision = Needed, Choice(Decision::NAMES);
        /// Why.
        reason: Option<String> = Optional, Text(0, MAX_REASON);
        /// What the reviewer says of criteria.
        criteria_overrides: Vec<CriteriaOverride> = Empty, List(50, &crate::table::Holds::Object(&CriteriaOverride::SHAPE));
    }
}

/// A decision on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReviewDecision {
    /// New, or derived from its Review object.
    pub id: Id,
    /// Of the Task.
    pub trace_id: TraceId,
    /// Of the Task.
    pub namespace: String,
    /// The Task.
    pub task_id: Id,
    /// The evidence pack that was looked at.
    pub for_evidence_pack: PackRef,
    /// Its Run, where work objects are made.
    pub for_run: Option<Ref>,
    /// Its Issue, likewise.
    pub for_issue: Option<Ref>,
    /// What is decided about.
    pub subject_sha256: String,
    /// Who decides: the authenticated user.
    pub reviewer: Actor,
    /// What is decided.
    pub decision: Decision,
    /// Why.
    pub decision_reason: Option<String>,
    /// What the reviewer says of criteria.
    pub criteria_overrides: Vec<CriteriaOverride>,
    /// When.
    pub created_at: Timestamp,
    /// Whether the reviewer has a part in the Task, which the forge's policy allows.
    #[serde(default)]
    pub self_approved: bool,
}

/// A reference to an evidence pack, which is no kind that others refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackRef {
    kind: PackKind,
    /// Which.
    pub id: Id,
}

impl PackRef {
    /// A reference to this one.
    pub fn to(id: Id) -> Self {
        Self { kind: PackKind::EvidencePack, id }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum PackKind {
    EvidencePack,
}
