//! A review, wherever it came in: who decides is looked at, then it is recorded.

use jiff::Timestamp;

use crate::domain::review::{CriteriaOverride, Decision, NotAReviewer, Outcome, ReviewDecision, Reviewer, may_review};
use crate::domain::{Actor, Code, Finding, Id};
use crate::store::{DecideReview, Reviewed, Store, StoreError};

/// Somebody's decision.
#[derive(Clone, Debug, PartialEq)]
pub struct AskedReview {
    /// New, or derived from its Review object.
    pub id: Id,
    /// What was looked at.
    pub evidence_pack: Id,
    /// The namespace that it is made in: only what is of that can be reviewed.
    pub namespace: String,
    /// What is decided about.
    pub subject_sha256: String,
    /// Who decides.
    pub reviewer: Reviewer,
    /// What.
    pub decision: Decision,
    /// Why.
    pub reason: Option<String>,
    /// What is said of criteria.
    pub criteria_overrides: Vec<CriteriaOverride>,
    /// Now.
    pub at: Timestamp,
}

/// Why nothing was decided.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotReviewed {
    /// Nothing of that id, in that namespace.
    #[error("there is no such evidence pack in the namespace")]
    UnknownPack,
    /// Who decides may not.
    #[error(transparent)]
    NotAReviewer(#[from] NotAReviewer),
    /// Something else was looked at.
    #[error("what is to be reviewed has the digest {0}: look at it again, and review that")]
    Stale(String),
    /// Nobody is waited for.
    #[error("it is not under review: {}", told(.0))]
    NotOpen(Outcome),
}

/// How a review stands, in words.
fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::NotRequired => "no review is required".into(),
        Outcome::Missing { approvals } => format!("{approvals} approvals are missing"),
        Outcome::Approved => "it is approved".into(),
        Outcome::Rejected { by, .. } => format!("{by} rejected it"),
        Outcome::NeedsChanges { by, .. } => format!("{by} asked for changes"),
        Outcome::Expired => "nobody reviewed it in time".into(),
    }
}

impl NotReviewed {
    /// The finding that goes into the audit log: of what is an attempt at something that is not allowed.
    pub fn finding(&self) -> Option<Finding> {
        match self {
            Self::NotAReviewer(_) => Some(Finding::new(Code::ReviewNotAllowed, "reviewer", self.to_string())),
            Self::Stale(_) => Some(Finding::new(Code::ReviewStale, "subject_sha256", self.to_string())),
            Self::UnknownPack | Self::NotOpen(_) => None,
        }
    }
}

/// Records the decision, if whoever makes it may.
///
/// # Errors
/// The outer one if the record does not answer: nothing is known then, and the same can be asked again.
pub async fn review(
    store: &Store,
    asked: AskedReview,
) -> Result<Result<(Box<ReviewDecision>, Outcome), NotReviewed>, StoreError> {
    let pack = store.evidence_pack(asked.evidence_pack).await?.filter(|pack| pack.namespace == asked.namespace);
    let Some(pack) = pack else { return Ok(Err(NotReviewed::UnknownPack)) };
    let chain = store.chain_of(pack.task_id).await?;
    let required = pack.review_required.as_ref();
    let may = may_review(&asked.reviewer, asked.decision, &pack.namespace, required, &chain);
    let self_approved = match may {
        Ok(of_the_chain) => of_the_chain && asked.decision == Decision::Approved,
        Err(problem) => return Ok(Err(problem.into())),
    };
    let decide = DecideReview {
        id: asked.id,
        subject_sha256: asked.subject_sha256,
        reviewer: Actor::authenticated(asked.reviewer.user.as_deref().unwrap_or_default()),
        decision: asked.decision,
        reason: asked.reason,
        criteria_overrides: asked.criteria_overrides,
        self_approved,
        at: asked.at,
        pack,
    };
    Ok(match store.decide_review(decide).await? {
        Reviewed::Recorded(decision, outcome) => Ok((decision, outcome)),
        Reviewed::Stale { subject_sha256 } => Err(NotReviewed::Stale(subject_sha256)),
        Reviewed::NotOpen(outcome) => Err(NotReviewed::NotOpen(outcome)),
        Reviewed::UnknownPack => Err(NotReviewed::UnknownPack),
    })
}
