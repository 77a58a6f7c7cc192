//! What is shown for attempts, and what reviewers decided about it.
//!
//! Rows that never change: what may be delivered follows from the decisions alone, by [`Store::review_of`].

mod chain;
mod ops;
mod rows;

use jiff::Timestamp;

use jct_domain::Id;
use jct_domain::evidence::{EvidencePack, Verdict};
use jct_domain::review::{Chain, CriteriaOverride, Decision, Outcome, ReviewDecision, ReviewState};

pub(crate) use ops::{objects_under_review, pack_of};
pub(crate) use rows::{
    OpenColumns, PackColumns, PeopleColumns, ReviewChanges, ReviewColumns, ReviewNeeds, ReviewView, decision_parses,
    load, pack_parses, remove, save,
};

use crate::{Page, Result, Store};
use jct_domain::Actor;

/// Which evidence packs to list: those that fit every given filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackFilter {
    pub namespace: Option<String>,
    pub task_id: Option<Id>,
    pub run_id: Option<Id>,
    pub issue_id: Option<Id>,
    pub verdict: Option<Verdict>,
}

/// Which decisions to list: those that fit every given filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReviewFilter {
    pub namespace: Option<String>,
    pub task_id: Option<Id>,
    pub evidence_pack_id: Option<Id>,
    pub issue_id: Option<Id>,
    pub decision: Option<Decision>,
}

/// A decision of somebody who may decide: the caller has looked.
#[derive(Clone, Debug, PartialEq)]
pub struct DecideReview {
    /// New, or derived from its Review object: once for each.
    pub id: Id,
    /// What was looked at.
    pub pack: EvidencePack,
    /// The subject, as the reviewer says it.
    pub subject_sha256: String,
    /// Who decides.
    pub reviewer: Actor,
    /// What.
    pub decision: Decision,
    /// Why.
    pub reason: Option<String>,
    /// What is said of criteria.
    pub criteria_overrides: Vec<CriteriaOverride>,
    /// Whether the reviewer has a part in the Task, which the policy allows.
    pub self_approved: bool,
    /// Now.
    pub at: Timestamp,
}

/// What became of a [`DecideReview`].
#[derive(Clone, Debug, PartialEq)]
pub enum Reviewed {
    /// It is on record, and what the review comes to with it. Repeated, it is the same, and nothing is written.
    Recorded(Box<ReviewDecision>, Outcome),
    /// It is about another subject than the pack's. Nothing was written.
    Stale {
        /// The pack's.
        subject_sha256: String,
    },
    /// Nobody is waited for. Nothing was written.
    NotOpen(Outcome),
    /// There is no such pack, or no more. Nothing was written.
    UnknownPack,
}

impl Store {
    /// How the review of a subject stands, by the decisions about it alone; none if there is no evidence of it.
    ///
    /// # Errors
    /// If the record can't be read: then nobody knows, and nothing may be delivered.
    pub async fn review_of(&self, subject_sha256: &str) -> Result<Option<ReviewState>> {
        let mut conn = self.inner.readers.acquire().await?;
        let Some(pack) = rows::pack_of_subject(&mut conn.borrow(), subject_sha256).await? else { return Ok(None) };
        let decisions = rows::decisions_about(&mut conn.borrow(), subject_sha256).await?;
        Ok(Some(ReviewState::of(subject_sha256, pack.review_required.as_ref(), &decisions)))
    }

    /// The evidence of an attempt, which has one if it succeeded.
    pub async fn evidence_of_attempt(&self, task_id: Id, attempt: u32) -> Result<Option<EvidencePack>> {
        rows::pack_of_attempt(&mut self.inner.readers.acquire().await?.borrow(), task_id, attempt).await
    }

    /// The evidence pack with this id.
    pub async fn evidence_pack(&self, id: Id) -> Result<Option<EvidencePack>> {
        rows::pack_by_id(&mut self.inner.readers.acquire().await?.borrow(), id).await
    }

    /// Evidence packs, the newest first.
    pub async fn evidence_packs(&self, filter: &PackFilter, page: Page) -> Result<Vec<EvidencePack>> {
        rows::packs(&mut self.inner.readers.acquire().await?.borrow(), filter, page).await
    }

    /// The decision with this id.
    pub async fn review(&self, id: Id) -> Result<Option<ReviewDecision>> {
        rows::decision_by_id(&mut self.inner.readers.acquire().await?.borrow(), id).await
    }

    /// Decisions, the newest first.
    pub async fn reviews(&self, filter: &ReviewFilter, page: Page) -> Result<Vec<ReviewDecision>> {
        rows::decisions(&mut self.inner.readers.acquire().await?.borrow(), filter, page).await
    }

    /// Evidence packs whose review is waited for no longer, the first ones; at most 100.
    pub async fn expired_reviews(&self, now: Timestamp) -> Result<Vec<EvidencePack>> {
        rows::expired(&mut self.inner.readers.acquire().await?.borrow(), now).await
    }

    /// Records a decision, and what follows from it for Issue and Run. Who may decide is for the caller to say.
    pub async fn decide_review(&self, decide: DecideReview) -> Result<Reviewed> {
        self.inner.writer.write(decide).await
    }

    /// Notes that somebody asked for a Task that was there already, by its idempotency key: they are no second person.
    pub async fn note_asker(&self, task_id: Id, user: String, at: Timestamp) -> Result<()> {
        self.inner.writer.write(ops::NoteAsker { task_id, user, at }).await
    }

    /// Everybody who has a part in how a Task came about; nobody if no such Task is recorded.
    pub async fn chain_of(&self, task_id: Id) -> Result<Chain> {
        chain::of(self, task_id).await
    }
}
