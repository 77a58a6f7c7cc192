//! What is decided about reviews.

use jiff::Timestamp;
use serde_json::json;

use super::rows::ReviewChanges;
use super::{DecideReview, Reviewed};
use crate::audit::Change;
use crate::cwom::review_objects;
use crate::operation::{Changes, Needs, Operation, View};
use crate::rows::{stored, to_json};
use crate::{Result, TaskRow};
use jct_domain::Id;
use jct_domain::audit::{Action, EntityKind};
use jct_domain::cwom::{self, Kind, Ref};
use jct_domain::evidence::EvidencePack;
use jct_domain::id::sha256_hex;
use jct_domain::review::{Outcome, PackRef, ReviewDecision, ReviewState};

/// The pack of an attempt with what the record knows of it, and the entry about it.
pub(crate) fn pack_of(task: &TaskRow, evidence: &EvidencePack) -> Result<(EvidencePack, Change)> {
    let for_run = task.run_id(evidence.subject.attempt).map(|id| Ref::to(Kind::Run, id));
    let for_issue = task.cwom_issue_id.map(|id| Ref::to(Kind::Issue, id));
    let pack = EvidencePack { for_run, for_issue, evaluated_at: stored(evidence.evaluated_at), ..evidence.clone() };
    let entry = Change {
        actor: jct_domain::Actor::controller(),
        action: Action::Created,
        entity_kind: EntityKind::EvidencePack,
        entity_id: pack.id.to_string(),
        before: None,
        after: Some(json!({
            "task_id": pack.task_id,
            "attempt": pack.subject.attempt,
            "subject_sha256": pack.subject_sha256,
            "verdict": pack.verdict,
            "review_required": pack.review_required,
            "pack_sha256": sha256_hex(to_json(&pack)?.as_bytes()),
        })),
        note: None,
        trace_id: pack.trace_id.clone(),
    };
    Ok((pack, entry))
}

/// Whether Issue and Run wait for a review.
pub(crate) fn objects_under_review(evidence: Option<&EvidencePack>) -> bool {
    evidence.is_some_and(|pack| pack.review_required.is_some())
}

impl Operation for DecideReview {
    type Output = Reviewed;

    fn needs(&self, needs: &mut Needs) {
        needs.reviews.packs.insert(self.pack.id);
        let of = |reference: &Option<Ref>| reference.as_ref().and_then(Ref::id);
        of(&self.pack.for_issue).into_iter().for_each(|id| needs.objects.row(Kind::Issue, id));
        of(&self.pack.for_run).into_iter().for_each(|id| needs.objects.row(Kind::Run, id));
    }

    fn decide(&self, view: &View) -> Result<(Reviewed, Changes)> {
        let pack = &self.pack;
        let unchanged = |reviewed| Ok((reviewed, Changes::default()));
        if !view.reviews.has(pack.id) {
            return unchanged(Reviewed::UnknownPack);
        }
        let mut decisions = view.reviews.decisions(pack.id).to_vec();
        let state = |decisions: &[ReviewDecision]| {
            ReviewState::of(&pack.subject_sha256, pack.review_required.as_ref(), decisions).outcome
        };
        let before = state(&decisions);
        if let Some(known) = decisions.iter().find(|decision| decision.id == self.id) {
            return unchanged(Reviewed::Recorded(Box::new(known.clone()), before));
        }
        if self.subject_sha256 != pack.subject_sha256 {
            return unchanged(Reviewed::Stale { subject_sha256: pack.subject_sha256.clone() });
        }
        if !matches!(before, Outcome::Missing { .. }) {
            return unchanged(Reviewed::NotOpen(before));
        }
        let decision = self.decision();
        decisions.push(decision.clone());
        let outcome = state(&decisions);
        let mut changes = review_objects(&view.objects, pack, &outcome, self.at)?;
        changes.entries.insert(0, created(&decision, self.reviewer.clone()));
        changes.reviews = ReviewChanges {
            closed: (!matches!(outcome, Outcome::Missing { .. })).then_some(pack.id),
            decision: Some(Box::new(decision.clone())),
            ..ReviewChanges::default()
        };
        Ok((Reviewed::Recorded(Box::new(decision), outcome), changes))
    }
}

impl DecideReview {
    fn decision(&self) -> ReviewDecision {
        let Self { id, pack, subject_sha256, reviewer, decision, reason, criteria_overrides, self_approved, at } = self;
        ReviewDecision {
            id: *id,
            trace_id: pack.trace_id.clone(),
            namespace: pack.namespace.clone(),
            task_id: pack.task_id,
            for_evidence_pack: PackRef::to(pack.id),
            for_run: pack.for_run.clone(),
            for_issue: pack.for_issue.clone(),
            subject_sha256: subject_sha256.clone(),
            reviewer: cwom::Actor { actor_kind: reviewer.kind, actor_id: reviewer.id.clone(), display: None },
            decision: *decision,
            decision_reason: reason.clone(),
            criteria_overrides: criteria_overrides.clone(),
            created_at: stored(*at),
            self_approved: *self_approved,
        }
    }
}

fn created(decision: &ReviewDecision, actor: jct_domain::Actor) -> Change {
    Change {
        actor,
        action: Action::Created,
        entity_kind: EntityKind::ReviewDecision,
        entity_id: decision.id.to_string(),
        before: None,
        after: Some(json!(decision)),
        note: decision
            .self_approved
            .then(|| "by somebody who has a part in the Task: the forge's policy allows it".into()),
        trace_id: decision.trace_id.clone(),
    }
}

/// Somebody asks for a Task that is there.
pub(super) struct NoteAsker {
    pub(super) task_id: Id,
    pub(super) user: String,
    pub(super) at: Timestamp,
}

impl Operation for NoteAsker {
    type Output = ();

    fn needs(&self, needs: &mut Needs) {
        needs.tasks.insert(self.task_id);
    }

    fn decide(&self, view: &View) -> Result<((), Changes)> {
        let task = view.known_task(self.task_id)?;
        let is_known = task.submitted_by.as_ref() == Some(&self.user);
        let asker = (!is_known).then(|| (self.task_id, self.user.clone(), self.at));
        Ok(((), Changes { reviews: ReviewChanges { asker, ..ReviewChanges::default() }, ..Changes::default() }))
    }
}
