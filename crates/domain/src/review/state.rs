//! How the review of a subject stands, by the decisions on record. Pure.

use serde::Serialize;

use super::{Decision, EXPIRY, Required, ReviewDecision};
use crate::ActorKind;

/// How a review stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Outcome {
    /// None is required: nobody need be waited for.
    NotRequired,
    /// So many people have still to approve.
    Missing {
        /// At least one.
        approvals: u32,
    },
    /// It may be delivered.
    Approved,
    /// It may not.
    Rejected {
        /// By whom.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// It may not as it is.
    NeedsChanges {
        /// By whom.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// Nobody decided in time.
    Expired,
}

/// How the review of a subject stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReviewState {
    /// How.
    pub outcome: Outcome,
    /// The people who approved, each once, in the order in which they did.
    pub approved_by: Vec<String>,
    /// Of those, who has a part in the Task.
    pub self_approved: Vec<String>,
}

impl ReviewState {
    /// By the decisions about a subject, in the order in which they were made. The first that is no approval ends it.
    pub fn of(subject_sha256: &str, required: Option<&Required>, decisions: &[ReviewDecision]) -> Self {
        let (mut approved_by, mut self_approved) = (Vec::new(), Vec::new());
        let mut end = None;
        let about = decisions.iter().filter(|decision| decision.subject_sha256 == subject_sha256);
        for decision in about {
            let by = &decision.reviewer.actor_id;
            let reason = decision.decision_reason.clone();
            match decision.decision {
                Decision::Approved if !approved_by.contains(by) => {
                    approved_by.push(by.clone());
                    self_approved.extend(decision.self_approved.then(|| by.clone()));
                }
                Decision::Approved => {}
                Decision::Rejected if by == EXPIRY && decision.reviewer.actor_kind == ActorKind::System => {
                    end = end.or(Some(Outcome::Expired));
                }
                Decision::Rejected => end = end.or(Some(Outcome::Rejected { by: by.clone(), reason })),
                Decision::NeedsChanges => end = end.or(Some(Outcome::NeedsChanges { by: by.clone(), reason })),
            }
        }
        let outcome = end.unwrap_or_else(|| match required {
            None => Outcome::NotRequired,
            Some(required) => {
                let approvals =
                    required.approvals.max(1).saturating_sub(u32::try_from(approved_by.len()).unwrap_or(u32::MAX));
                if approvals == 0 { Outcome::Approved } else { Outcome::Missing { approvals } }
            }
        });
        Self { outcome, approved_by, self_approved }
    }

    /// Whether what was reviewed may be delivered.
    pub fn may_be_delivered(&self) -> bool {
        matches!(self.outcome, Outcome::NotRequired | Outcome::Approved)
    }

    /// Whether somebody is waited for.
    pub fn is_open(&self) -> bool {
        matches!(self.outcome, Outcome::Missing { .. })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::super::PackRef;
    use super::*;
    use crate::cwom::Actor;
    use crate::{Id, TraceId};

    fn decision(by: &str, decision: Decision, subject: &str) -> ReviewDecision {
        let id = Id::derive(Timestamp::UNIX_EPOCH, by);
        let kind = if by == EXPIRY { ActorKind::System } else { ActorKind::Human };
        ReviewDecision {
            id,
            trace_id: TraceId::derive("t"),
            namespace: "team".into(),
            task_id: id,
            for_evidence_pack: PackRef::to(id),
            for_run: None,
            for_issue: None,
            subject_sha256: subject.into(),
            reviewer: Actor { actor_kind: kind, actor_id: by.into(), display: None },
            decision,
            decision_reason: None,
            criteria_overrides: Vec::new(),
            created_at: Timestamp::UNIX_EPOCH,
            self_approved: false,
        }
    }

    fn required(approvals: u32) -> Required {
        Required { approvals, ..Required::default() }
    }

    fn outcome(approvals: u32, decisions: &[ReviewDecision]) -> Outcome {
        ReviewState::of("s", Some(&required(approvals)), decisions).outcome
    }

    #[test]
    fn different_people_are_counted() {
        let (ada, bob) = (decision("ada", Decision::Approved, "s"), decision("bob", Decision::Approved, "s"));
        assert_eq!(outcome(2, &[]), Outcome::Missing { approvals: 2 });
        assert_eq!(outcome(2, &[ada.clone(), ada.clone()]), Outcome::Missing { approvals: 1 });
        assert_eq!(outcome(2, &[ada, bob]), Outcome::Approved);
    }

    #[test]
    fn one_no_ends_it_and_what_follows_changes_nothing() {
        let no = decision("eve", Decision::NeedsChanges, "s");
        let yes = decision("ada", Decision::Approved, "s");
        let ended = Outcome::NeedsChanges { by: "eve".into(), reason: None };
        assert_eq!(outcome(1, &[no.clone(), yes.clone()]), ended);
        assert_eq!(outcome(2, &[yes, no]), ended);
        assert_eq!(outcome(1, &[decision(EXPIRY, Decision::Rejected, "s")]), Outcome::Expired);
        // Somebody of that name is no clock.
        let mut person = decision(EXPIRY, Decision::Rejected, "s");
        person.reviewer.actor_kind = ActorKind::Human;
        assert!(matches!(outcome(1, &[person]), Outcome::Rejected { .. }));
    }

    #[test]
    fn another_subject_is_another_review() {
        assert_eq!(outcome(1, &[decision("ada", Decision::Approved, "other")]), Outcome::Missing { approvals: 1 });
        assert_eq!(ReviewState::of("s", None, &[]).outcome, Outcome::NotRequired);
        let rejected = ReviewState::of("s", None, &[decision("ada", Decision::Rejected, "s")]);
        assert!(!rejected.may_be_delivered());
    }

    proptest! {
        /// It is never approved by fewer people than are required, nor with one decision that is no approval.
        #[test]
        fn nothing_else_approves(decisions in proptest::collection::vec((0_usize..4, 0_usize..3, any::<bool>()), 0..10), approvals in 0_u32..4) {
            let decisions: Vec<_> = decisions.into_iter().map(|(who, what, same)|
                decision(["ada", "bob", "eve", "joe"][who], Decision::ALL[what], if same { "s" } else { "o" })).collect();
            let state = ReviewState::of("s", Some(&required(approvals)), &decisions);
            let about = || decisions.iter().filter(|decision| decision.subject_sha256 == "s");
            let people: std::collections::BTreeSet<_> = about().map(|decision| &decision.reviewer.actor_id).collect();
            let all_approve = about().all(|decision| decision.decision == Decision::Approved);
            prop_assert_eq!(state.may_be_delivered(), all_approve && people.len() >= approvals.max(1) as usize);
        }
    }
}
