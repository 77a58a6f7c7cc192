//! What people are told of a Task by a Kubernetes Event: what waits, is tried again or fails at once, and the end of an ordinary
//! one where there is room for it. All of it is in statuses too.

use crate::crd::TaskStatus;
use crate::crd::status::Reason;
use crate::domain::{FailureReason, Phase};
use crate::shared::{Announcement, Urgency};

/// What is new in a status, if people are to know it at once.
///
/// An ordinary Task that goes its way is told of at its end alone.
pub fn announcement_of(of: (&str, &str, &str), before: Option<&TaskStatus>, now: &TaskStatus) -> Option<Announcement> {
    let of_status = |status: &TaskStatus| (status.phase.clone(), status.reason.clone(), status.attempt);
    if before.is_some_and(|before| of_status(before) == of_status(now)) {
        return None;
    }
    let reason = now.reason.as_deref()?;
    let phase = Phase::ALL.into_iter().find(|phase| Some(phase.as_condition()) == now.phase.as_deref())?;
    let is_copy = reason == Reason::Duplicate.as_str();
    let urgency = match phase {
        Phase::Completed | Phase::Cancelled => Urgency::Ordinary,
        Phase::Failed if is_copy => Urgency::Ordinary,
        Phase::Failed => Urgency::Trouble,
        Phase::Pending | Phase::Queued | Phase::Running => {
            let worth_it = Reason::ANNOUNCED.iter().any(|announced| announced.as_str() == reason)
                || reason == FailureReason::RecordLost.as_str();
            if !worth_it {
                return None;
            }
            Urgency::Trouble
        }
    };
    let (namespace, name, uid) = of;
    Some(Announcement {
        kind: "Task".into(),
        namespace: namespace.into(),
        name: name.into(),
        uid: Some(uid.into()),
        reason: reason.into(),
        note: now.message.clone().unwrap_or_else(|| format!("the Task is {}", phase.as_condition())),
        urgency,
        attempt: now.attempt.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn status(phase: &str, reason: &str) -> TaskStatus {
        TaskStatus {
            phase: Some(phase.into()),
            reason: Some(reason.into()),
            message: Some(format!("because of {reason}")),
            ..TaskStatus::default()
        }
    }

    fn is_trouble(before: Option<&TaskStatus>, now: &TaskStatus) -> Option<bool> {
        announcement_of(("team", "look", "u"), before, now).map(|announcement| announcement.urgency == Urgency::Trouble)
    }

    #[rstest]
    #[case("Queued", "JobCreated", None)]
    #[case("Queued", "WaitingForTurn", None)]
    #[case("Pending", "Suspended", None)]
    #[case("Running", "Running", None)]
    #[case("Queued", "WaitingForQuota", Some(true))]
    #[case("Queued", "WaitingForScheduling", Some(true))]
    #[case("Queued", "Retrying", Some(true))]
    #[case("Running", "RecordLost", Some(true))]
    #[case("Failed", "REPO_NOT_ALLOWED", Some(true))]
    #[case("Failed", "ExecutorFailed", Some(true))]
    #[case("Failed", "Duplicate", Some(false))]
    #[case("Cancelled", "Cancelled", Some(false))]
    #[case("Completed", "Completed", Some(false))]
    fn an_ordinary_task_is_told_of_at_its_end_and_trouble_at_once(
        #[case] phase: &str,
        #[case] reason: &str,
        #[case] expected: Option<bool>,
    ) {
        assert_eq!(is_trouble(Some(&status("Queued", "Recorded")), &status(phase, reason)), expected);
        assert_eq!(is_trouble(Some(&status(phase, reason)), &status(phase, reason)), None, "it is no news");
    }
}
