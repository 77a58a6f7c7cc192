//! What a status says of a Task's progress to tools and people who know no phases. Pure.

use jiff::Timestamp;

use super::lost;
use crate::crd::TaskStatus;
use crate::crd::status::ConditionType;
use crate::domain::Phase;
use crate::reconcile::status::Fact;
use crate::store::TaskRow;

/// The conditions that follow from the phase: `Finished`, and those that kstatus reads.
///
/// An end without success is `Stalled`: nothing more comes of it by itself.
pub fn facts(status: &TaskStatus) -> Vec<Fact> {
    let reason = status.reason.as_deref().unwrap_or_default();
    let message = status.message.as_deref().unwrap_or_default();
    let [finished, ready, reconciling, stalled] =
        [ConditionType::Finished, ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled]
            .map(ConditionType::as_str);
    match lost::end(status) {
        Some(Phase::Completed) => vec![Fact::yes(finished, reason, ""), Fact::yes(ready, reason, message)],
        Some(_) => {
            vec![Fact::yes(finished, reason, ""), Fact::no(ready, reason, message), Fact::yes(stalled, reason, message)]
        }
        None => {
            vec![Fact::no(finished, reason, ""), Fact::no(ready, reason, message), Fact::yes(reconciling, reason, "")]
        }
    }
}

/// From the first worker's beginning to the end, as kubectl writes ages.
pub fn duration(row: &TaskRow) -> Option<String> {
    Some(between(row.started_at?, row.completed_at?))
}

fn between(start: Timestamp, end: Timestamp) -> String {
    let seconds = end.duration_since(start).as_secs().max(0);
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m"),
    }
}

/// The executor that is shown: of an attempt the one that it began with, whatever is configured by now.
pub fn executor(current: Option<&TaskStatus>, row: &TaskRow, configured: Option<String>) -> Option<String> {
    if let Some(name) = row.result.as_ref().and_then(|result| result.get("executor")?.as_str()) {
        return Some(name.to_owned());
    }
    let Some(current) = current else { return configured };
    let same_attempt = row.attempt > 0 && current.attempt == Some(row.attempt.into());
    if (same_attempt && current.executor.is_some()) || lost::end(current).is_some() {
        return current.executor.clone();
    }
    configured
}

/// What came out, in a sentence.
pub fn summary(row: &TaskRow) -> Option<&str> {
    row.result.as_ref()?.get("summary")?.as_str()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn status(phase: &str) -> TaskStatus {
        TaskStatus {
            phase: Some(phase.into()),
            reason: Some("Because".into()),
            message: Some("of it".into()),
            ..TaskStatus::default()
        }
    }

    /// As kstatus computes it (sigs.k8s.io/cli-utils, pkg/kstatus/status, `checkGenericProperties`).
    fn kstatus(facts: &[Fact]) -> &'static str {
        let is = |type_: &str, status: &str| facts.iter().any(|fact| (fact.type_, fact.status) == (type_, status));
        match () {
            () if is("Reconciling", "True") => "InProgress",
            () if is("Stalled", "True") => "Failed",
            () if is("Ready", "False") || is("Ready", "Unknown") => "InProgress",
            () => "Current",
        }
    }

    #[rstest]
    #[case("Pending", "InProgress", "False")]
    #[case("Queued", "InProgress", "False")]
    #[case("Running", "InProgress", "False")]
    #[case("Completed", "Current", "True")]
    #[case("Failed", "Failed", "True")]
    #[case("Cancelled", "Failed", "True")]
    fn tools_that_know_no_phases_see_how_it_is(#[case] phase: &str, #[case] seen: &str, #[case] finished: &str) {
        let facts = facts(&status(phase));
        assert_eq!(kstatus(&facts), seen);
        assert_eq!(facts.iter().find(|fact| fact.type_ == "Finished").unwrap().status, finished);
        assert!(facts.iter().all(|fact| fact.reason == "Because"));
    }

    #[rstest]
    #[case(3, "3s")]
    #[case(59, "59s")]
    #[case(125, "2m5s")]
    #[case(3 * 3600 + 125, "3h2m")]
    fn durations_are_short(#[case] seconds: i64, #[case] expected: &str) {
        let start: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        assert_eq!(between(start, start + jiff::SignedDuration::from_secs(seconds)), expected);
    }
}
