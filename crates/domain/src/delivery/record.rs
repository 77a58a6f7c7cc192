//! A delivery as the record has it, and where its steps lead. Pure.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{DeliveryPhase, DeliveryReason};
use crate::evidence::EvidencePack;
use crate::forge::Mode;
use crate::review::Outcome;
use crate::task::{Task, TaskDelivery};
use crate::{Id, TraceId, choices};

/// How often what passes by itself is tried before somebody is told: over an hour in all.
const MAX_TRIES: u32 = 12;
/// The longest wait between two tries.
const LONGEST: SignedDuration = SignedDuration::from_mins(15);
/// How often an open pull request is looked at.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// For how long after its delivery.
const LOOK_FOR: SignedDuration = SignedDuration::from_hours(24 * 30);

choices! {
    /// How the pull request of a delivery was seen last.
    pub enum PullSeen {
        /// It can be merged, or will be.
        Open = "open",
        /// One of its checks has failed.
        ChecksFailing = "checks_failing",
        /// It is part of its base.
        Merged = "merged",
        /// Somebody closed it without that.
        Closed = "closed",
    }
}

/// A pull request on its forge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveredPull {
    /// By which people call it.
    pub number: u64,
    /// Its page.
    pub url: String,
    /// How it was seen last.
    pub seen: PullSeen,
    /// Who merged it, where the forge says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_by: Option<String>,
}

/// The delivery of what an attempt came to. There is one for each attempt that made a change which is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Derived from the Task and the attempt.
    pub id: Id,
    /// Of the Task.
    pub trace_id: TraceId,
    /// Of the Task.
    pub namespace: String,
    /// The Task.
    pub task_id: Id,
    /// Its attempt.
    pub attempt: u32,
    /// The evidence pack whose subject is delivered, and nothing else.
    pub evidence_pack: Id,
    /// That subject's digest.
    pub subject_sha256: String,
    /// Of the manifest that binds it.
    pub manifest_sha256: String,
    /// `owner/name`.
    pub repo: String,
    /// A branch, or a pull request too.
    pub mode: Mode,
    /// The branch that it should go into, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The branch that it is put on.
    pub branch: String,
    /// The commit that was sealed.
    pub commit: String,
    /// The commit that is on the branch: the same, or with the operator's signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_commit: Option<String>,
    /// How far it is.
    pub phase: DeliveryPhase,
    /// Why it is no further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeliveryReason>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How often it was tried in vain since it last got on; each try has a Job of its own.
    #[serde(default)]
    pub tries: u32,
    /// What asks for it to be merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<DeliveredPull>,
    /// When its attempt ended.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it is looked at again; never by itself where there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
}

impl Delivery {
    /// The id of an attempt's delivery.
    pub fn id_of(task_id: Id, created_at: Timestamp, attempt: u32) -> Id {
        Id::derive_for(created_at, &task_id.to_string(), &format!("delivery/{attempt}"))
    }

    /// What begins when an attempt ends with this evidence; nothing, if nothing of it is to be delivered.
    pub fn of(task: &Task, wanted: Option<&TaskDelivery>, pack: &EvidencePack, created_at: Timestamp) -> Option<Self> {
        let wanted = wanted.filter(|wanted| wanted.mode != Mode::None)?;
        let subject = &pack.subject;
        let waits = pack.review_required.is_some();
        Some(Self {
            id: Self::id_of(pack.task_id, created_at, subject.attempt),
            trace_id: pack.trace_id.clone(),
            namespace: pack.namespace.clone(),
            task_id: pack.task_id,
            attempt: subject.attempt,
            evidence_pack: pack.id,
            subject_sha256: pack.subject_sha256.clone(),
            manifest_sha256: subject.manifest_sha256.clone(),
            repo: subject.repo.clone(),
            mode: wanted.mode,
            base: wanted.base(&task.target.git_ref).map(str::to_owned),
            branch: subject.branch.clone()?,
            commit: subject.commit.clone()?,
            delivered_commit: None,
            phase: if waits { DeliveryPhase::AwaitingReview } else { DeliveryPhase::Pending },
            reason: None,
            message: None,
            tries: 0,
            pull: None,
            created_at: pack.evaluated_at,
            updated_at: pack.evaluated_at,
            due_at: (!waits).then_some(pack.evaluated_at),
        })
    }

    /// It after what became of its review; none while that is waited for.
    pub fn reviewed(&self, outcome: &Outcome, now: Timestamp) -> Option<Self> {
        let said = |by: &str, reason: &Option<String>, what: &str| match reason {
            Some(reason) => format!("{by} {what}: {reason}"),
            None => format!("{by} {what}"),
        };
        let (phase, message) = match outcome {
            Outcome::NotRequired | Outcome::Approved => (DeliveryPhase::Pending, None),
            Outcome::Missing { .. } => return None,
            Outcome::Rejected { by, reason } => (DeliveryPhase::Rejected, Some(said(by, reason, "rejected it"))),
            Outcome::NeedsChanges { by, reason } => {
                (DeliveryPhase::Rejected, Some(said(by, reason, "wants it changed")))
            }
            Outcome::Expired => (DeliveryPhase::Expired, Some("nobody decided in time".into())),
        };
        let due_at = (!phase.is_final()).then_some(now);
        Some(Self { phase, reason: None, message, due_at, updated_at: now, ..self.clone() })
    }

    /// It with its Job at work.
    #[must_use]
    pub fn begun(&self, now: Timestamp, look_after: SignedDuration) -> Self {
        Self {
            phase: DeliveryPhase::Delivering,
            updated_at: now,
            due_at: now.checked_add(look_after).ok(),
            ..self.clone()
        }
    }

    /// It after its branch is on the forge: done, if no pull request is wanted.
    #[must_use]
    pub fn pushed(&self, commit: &str, now: Timestamp) -> Self {
        let is_done = self.mode != Mode::PullRequest;
        Self {
            phase: if is_done { DeliveryPhase::Delivered } else { DeliveryPhase::Delivering },
            delivered_commit: Some(commit.to_owned()),
            reason: None,
            message: None,
            tries: 0,
            due_at: (!is_done).then_some(now),
            updated_at: now,
            ..self.clone()
        }
    }

    /// It after its pull request was seen, which is looked at again while it is open.
    #[must_use]
    pub fn seen(&self, pull: DeliveredPull, note: Option<String>, now: Timestamp) -> Self {
        let is_open = matches!(pull.seen, PullSeen::Open | PullSeen::ChecksFailing);
        let is_news = self.pull.as_ref() != Some(&pull);
        let until = self.created_at.checked_add(LOOK_FOR).unwrap_or(Timestamp::MAX);
        Self {
            phase: DeliveryPhase::Delivered,
            reason: None,
            message: note.or_else(|| self.message.clone().filter(|_| self.reason.is_none())),
            tries: 0,
            due_at: now.checked_add(LOOK_AGAIN).ok().filter(|_| is_open && now < until),
            updated_at: if is_news { now } else { self.updated_at },
            pull: Some(pull),
            ..self.clone()
        }
    }

    /// It after something went wrong: again later if that may help, and not for ever.
    #[must_use]
    pub fn failed(
        &self,
        reason: DeliveryReason,
        message: String,
        after: Option<SignedDuration>,
        now: Timestamp,
    ) -> Self {
        let tries = self.tries.saturating_add(1);
        // What is on the forge stays delivered, whatever becomes of the looks at it.
        let goes_on = reason.passes() && (tries < MAX_TRIES || self.phase == DeliveryPhase::Delivered);
        let phase = match self.phase {
            DeliveryPhase::Delivered => DeliveryPhase::Delivered,
            _ if !goes_on => DeliveryPhase::Failed,
            // Without a Job of its own any more.
            _ if self.delivered_commit.is_none() => DeliveryPhase::Pending,
            phase => phase,
        };
        let wait = after.unwrap_or_default().max(wait(tries));
        Self {
            phase,
            reason: Some(reason),
            message: Some(message),
            tries,
            due_at: now.checked_add(wait).ok().filter(|_| goes_on),
            updated_at: now,
            ..self.clone()
        }
    }
}

/// How long is waited after so many tries in vain: 5 s, 10 s, … 15 min.
fn wait(tries: u32) -> SignedDuration {
    SignedDuration::from_secs(5_i64.saturating_mul(1 << tries.clamp(1, 20).saturating_sub(1))).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delivery() -> Delivery {
        let at: Timestamp = "2026-12-01T05:00:00Z".parse().unwrap();
        let id = Id::derive(at, "task");
        Delivery {
            id,
            trace_id: TraceId::derive("x"),
            namespace: "team".into(),
            task_id: id,
            attempt: 1,
            evidence_pack: id,
            subject_sha256: "a".repeat(64),
            manifest_sha256: "b".repeat(64),
            repo: "octo/hello".into(),
            mode: Mode::PullRequest,
            base: Some("main".into()),
            branch: "jct/x".into(),
            commit: "c".repeat(40),
            delivered_commit: None,
            phase: DeliveryPhase::AwaitingReview,
            reason: None,
            message: None,
            tries: 0,
            pull: None,
            created_at: at,
            updated_at: at,
            due_at: None,
        }
    }

    fn pull(seen: PullSeen) -> DeliveredPull {
        DeliveredPull { number: 1, url: "https://x/1".into(), seen, merged_by: None }
    }

    #[test]
    fn only_an_approval_lets_it_go_on() {
        let (waits, now) = (delivery(), "2026-12-01T06:00:00Z".parse().unwrap());
        let by = || "eve".to_owned();
        for (outcome, phase) in [
            (Outcome::Missing { approvals: 1 }, None),
            (Outcome::Approved, Some(DeliveryPhase::Pending)),
            (Outcome::Rejected { by: by(), reason: None }, Some(DeliveryPhase::Rejected)),
            (Outcome::NeedsChanges { by: by(), reason: Some("no".into()) }, Some(DeliveryPhase::Rejected)),
            (Outcome::Expired, Some(DeliveryPhase::Expired)),
        ] {
            let after = waits.reviewed(&outcome, now);
            assert_eq!(after.as_ref().map(|after| after.phase), phase, "{outcome:?}");
            assert_eq!(after.and_then(|after| after.due_at).is_some(), outcome == Outcome::Approved, "{outcome:?}");
        }
    }

    #[test]
    fn what_passes_is_tried_for_an_hour_and_then_told() {
        let now: Timestamp = "2026-12-01T06:00:00Z".parse().unwrap();
        let mut at = now;
        let mut tried = Delivery { phase: DeliveryPhase::Pending, ..delivery() };
        for _ in 1..MAX_TRIES {
            tried = tried.failed(DeliveryReason::ForgeUnavailable, "away".into(), None, at);
            assert_eq!(tried.phase, DeliveryPhase::Pending);
            assert!(tried.due_at.unwrap() > at);
            at = tried.due_at.unwrap();
        }
        assert!(at.duration_since(now) > SignedDuration::from_hours(1), "{at}");
        let given_up = tried.failed(DeliveryReason::ForgeUnavailable, "away".into(), None, at);
        assert_eq!((given_up.phase, given_up.due_at), (DeliveryPhase::Failed, None));
        let refused = delivery().failed(DeliveryReason::BranchExists, "is there".into(), None, at);
        assert_eq!((refused.phase, refused.due_at), (DeliveryPhase::Failed, None), "at once");
        let asked = delivery().failed(
            DeliveryReason::ForgeUnavailable,
            "later".into(),
            Some(SignedDuration::from_mins(50)),
            at,
        );
        assert_eq!(asked.due_at.unwrap(), at + SignedDuration::from_mins(50), "not before the forge wants");
    }

    #[test]
    fn what_is_delivered_stays_so() {
        let now: Timestamp = "2026-12-01T06:00:00Z".parse().unwrap();
        let pushed = Delivery { phase: DeliveryPhase::Delivering, ..delivery() }.pushed("d", now);
        assert_eq!((pushed.phase, pushed.due_at), (DeliveryPhase::Delivering, Some(now)), "its pull request follows");
        let branch = Delivery { mode: Mode::Branch, phase: DeliveryPhase::Delivering, ..delivery() }.pushed("d", now);
        assert_eq!((branch.phase, branch.due_at), (DeliveryPhase::Delivered, None));
        let away = pushed.failed(DeliveryReason::ForgeUnavailable, "away".into(), None, now);
        assert_eq!(away.phase, DeliveryPhase::Delivering, "the branch is not pushed again");
        let opened = away.seen(pull(PullSeen::Open), None, now);
        assert_eq!((opened.phase, opened.reason, opened.message.as_deref()), (DeliveryPhase::Delivered, None, None));
        assert!(opened.due_at.is_some());
        let lost = (0..30)
            .fold(opened.clone(), |seen, _| seen.failed(DeliveryReason::ForgeUnavailable, "away".into(), None, now));
        assert_eq!(lost.phase, DeliveryPhase::Delivered);
        assert!(lost.due_at.is_some(), "and is looked at again");
        let merged = opened.seen(pull(PullSeen::Merged), None, now);
        assert_eq!(merged.due_at, None, "nothing follows");
        let old = Delivery { created_at: now - SignedDuration::from_hours(24 * 31), ..opened };
        assert_eq!(old.seen(pull(PullSeen::Open), None, now).due_at, None);
    }

    proptest! {
        #[test]
        fn a_wait_grows_and_is_bounded(tries in 0..1000_u32) {
            prop_assert!(wait(tries) <= wait(tries + 1) && wait(tries) <= LONGEST && wait(tries) >= SignedDuration::from_secs(5));
        }
    }
}
