//! What to do next with a recorded Task. Pure: the whole controller's judgement in one function.

use std::time::Duration;

use jiff::Timestamp;

use super::observe::Observation;
use crate::crd::status::Reason;
use crate::domain::{FailureReason, Finding};
use crate::outcome::Ended;
use crate::reconcile::status::seconds;

/// How often it is looked whether there is an executor by now.
const LOOK: Duration = Duration::from_secs(5);

/// What is known of a recorded Task that has not ended.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// `spec.suspend`.
    pub suspend: bool,
    /// `spec.cancel`, or the object is being deleted.
    pub end: Option<End>,
    /// The current or last attempt; 0 before the first.
    pub attempt: u32,
    /// Whether that attempt's outcome is not recorded yet.
    pub attempt_is_open: bool,
    /// When the last attempt's outcome was recorded.
    pub attempt_ended_at: Option<Timestamp>,
    /// Whether the current attempt's worker is known to have begun: by the record or by its trace folder.
    pub has_begun: bool,
    /// What Kubernetes says of the current attempt.
    pub observation: Observation,
    /// What the gate finds wrong with the recorded Task, now.
    pub findings: &'a [Finding],
    /// Why no executor does it, if none does.
    pub no_executor: Option<NoExecutor>,
    /// Whether it is its turn to have its first worker.
    pub has_turn: bool,
    /// Before the second attempt; doubled for each further one.
    pub retry_delay: Duration,
    /// How long the Task was seen to wait since the last attempt, whatever clock tells of its end.
    pub waited: Duration,
    pub now: Timestamp,
}

/// No executor does the Task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoExecutor {
    pub why: String,
    /// How long one may still come: a configuration that is being rolled out takes its time.
    pub patience: Duration,
}

impl NoExecutor {
    fn waited_for(&self) -> Option<Step> {
        let wait = self.patience.min(LOOK);
        (!wait.is_zero()).then(|| Step::WaitFor(wait, Reason::WaitingForExecutor, self.why.clone()))
    }
}

/// Why a Task is to end before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// `spec.cancel` asks for it.
    Cancelled,
    /// The object is being deleted.
    Deleted,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Start the attempt with this number: trace folder, row, Job.
    Start(u32),
    /// The open attempt's Job is missing, and nothing of it has run: make it again.
    Resume,
    /// Note that the worker runs.
    NoteRunning { pod: String, since: Timestamp },
    /// Nothing; wait for a change, and say what for.
    Wait(Reason, String),
    /// Nothing until a moment; then look again.
    WaitFor(Duration, Reason, String),
    /// End the Job, then look again.
    EndJob,
    /// The open attempt has ended: read its trace and record the outcome.
    Finish(Ended),
    /// End the Job without waiting for it, and record that the attempt failed so.
    Abandon(Ended),
    /// End the Task, with no attempt running.
    EndTask(FailureReason, String),
    /// End the Task because somebody asked for it, with no attempt running.
    Cancel(End),
}

/// The next step.
pub fn decide(situation: &Situation) -> Step {
    if situation.attempt_is_open { open_attempt(situation) } else { between_attempts(situation) }
}

fn open_attempt(situation: &Situation) -> Step {
    match &situation.observation {
        Observation::Ended(ended) => Step::Finish(ended.clone()),
        Observation::Ending => Step::Wait(Reason::Running, "the worker is ending".into()),
        Observation::Missing if situation.has_begun => Step::Finish(vanished()),
        // The crash came between the row and the Job, or somebody removed the Job before anything ran.
        Observation::Missing => match (situation.end, &situation.no_executor) {
            (Some(_), _) => Step::Finish(vanished()),
            // Taken away by an edit of the configuration in between.
            (None, Some(none)) => none
                .waited_for()
                .unwrap_or_else(|| Step::Finish(Ended::unseen(FailureReason::ExecutorNotConfigured, none.why.clone()))),
            (None, None) => Step::Resume,
        },
        Observation::Waiting(..) | Observation::Running { .. } if situation.end.is_some() => Step::EndJob,
        Observation::Stuck(reason, message) => Step::Abandon(Ended::unseen(*reason, message.clone())),
        Observation::Waiting(reason, message) => Step::Wait(*reason, message.clone()),
        Observation::Running { pod, since } => Step::NoteRunning { pod: pod.clone(), since: *since },
    }
}

fn between_attempts(situation: &Situation) -> Step {
    if let Some(end) = situation.end {
        return Step::Cancel(end);
    }
    if let Some(finding) = situation.findings.first() {
        return Step::EndTask(finding.code.into(), finding.to_string());
    }
    if situation.suspend {
        return Step::Wait(Reason::Suspended, "held back by spec.suspend".into());
    }
    if let Some(none) = &situation.no_executor {
        let end = || Step::EndTask(FailureReason::ExecutorNotConfigured, none.why.clone());
        return none.waited_for().unwrap_or_else(end);
    }
    if situation.attempt == 0 && !situation.has_turn {
        return Step::Wait(Reason::WaitingForTurn, TURN.into());
    }
    if let Some(ended_at) = situation.attempt_ended_at
        && situation.attempt > 0
    {
        let delay = situation.retry_delay.saturating_mul(1 << (situation.attempt - 1).min(10));
        let passed =
            Duration::try_from(situation.now.duration_since(ended_at)).unwrap_or_default().max(situation.waited);
        if passed < delay {
            let at = ended_at.checked_add(delay).map_or_else(|_| "later".into(), |at| format!("at {}", seconds(at).0));
            let message = format!("attempt {} follows {at}", situation.attempt + 1);
            return Step::WaitFor(delay - passed, Reason::Retrying, message);
        }
    }
    Step::Start(situation.attempt + 1)
}

/// Said of who waits for a first worker.
const TURN: &str =
    "its Job is made when it is its turn: first come, first served in its namespace, and namespaces take turns";

/// The end of an attempt whose Job is gone.
fn vanished() -> Ended {
    Ended::unseen(FailureReason::JobDeleted, "the Job disappeared before its outcome was known".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Code;

    fn situation() -> Situation<'static> {
        Situation {
            suspend: false,
            end: None,
            attempt: 0,
            attempt_is_open: false,
            attempt_ended_at: None,
            has_begun: false,
            observation: Observation::Missing,
            findings: &[],
            no_executor: None,
            has_turn: true,
            retry_delay: Duration::from_secs(10),
            waited: Duration::ZERO,
            now: now(),
        }
    }

    fn homeless(patience: u64) -> Option<NoExecutor> {
        Some(NoExecutor { why: "none does docs".into(), patience: Duration::from_secs(patience) })
    }

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn open(observation: Observation) -> Situation<'static> {
        Situation { attempt: 1, attempt_is_open: true, observation, ..situation() }
    }

    #[test]
    fn a_new_task_starts_unless_something_holds_it_back() {
        assert_eq!(decide(&situation()), Step::Start(1));
        let suspended = Situation { suspend: true, ..situation() };
        assert!(matches!(decide(&suspended), Step::Wait(Reason::Suspended, _)));
        let cancelled = Situation { suspend: true, end: Some(End::Cancelled), ..situation() };
        assert_eq!(decide(&cancelled), Step::Cancel(End::Cancelled));
        let homeless = Situation { no_executor: homeless(0), ..situation() };
        assert!(matches!(decide(&homeless), Step::EndTask(FailureReason::ExecutorNotConfigured, _)));
        let held = Situation { suspend: true, ..homeless };
        assert!(matches!(decide(&held), Step::Wait(Reason::Suspended, _)), "it may have one when it is let go");
    }

    #[test]
    fn an_executor_that_is_being_configured_is_waited_for() {
        let is_waited_for = |situation: &Situation| match decide(situation) {
            Step::WaitFor(wait, Reason::WaitingForExecutor, message) => {
                assert!(wait <= LOOK && message.contains("none does docs"), "{wait:?} {message}");
                true
            }
            _ => false,
        };
        assert!(is_waited_for(&Situation { no_executor: homeless(90), ..situation() }));
        assert!(is_waited_for(&Situation { no_executor: homeless(1), ..open(Observation::Missing) }));
        assert!(!is_waited_for(&Situation { no_executor: homeless(0), ..open(Observation::Missing) }));
        let cancelled = Situation { no_executor: homeless(90), end: Some(End::Cancelled), ..situation() };
        assert_eq!(decide(&cancelled), Step::Cancel(End::Cancelled));
    }

    #[test]
    fn a_new_task_waits_for_its_turn_and_nothing_else_does() {
        let waits = |situation: Situation| {
            matches!(decide(&Situation { has_turn: false, ..situation }), Step::Wait(Reason::WaitingForTurn, _))
        };
        assert!(waits(situation()));
        assert!(!waits(Situation { end: Some(End::Cancelled), ..situation() }));
        assert!(!waits(Situation { suspend: true, ..situation() }), "that has another reason");
        assert!(!waits(Situation { attempt: 1, attempt_ended_at: Some(now()), ..situation() }));
        assert!(!waits(open(Observation::Missing)));
    }

    #[test]
    fn a_task_that_the_policy_no_longer_allows_does_not_start() {
        let findings = [Finding::new(Code::RepoNotAllowed, "spec.target.repo", "no")];
        let refused = Situation { findings: &findings, ..situation() };
        assert!(matches!(decide(&refused), Step::EndTask(FailureReason::RepoNotAllowed, _)));
    }

    #[test]
    fn a_missing_job_is_made_again_only_if_nothing_ran() {
        assert_eq!(decide(&open(Observation::Missing)), Step::Resume);
        let begun = Situation { has_begun: true, ..open(Observation::Missing) };
        let Step::Finish(ended) = decide(&begun) else { panic!() };
        assert_eq!(ended.failure.unwrap().0, FailureReason::JobDeleted);
        let homeless = Situation { no_executor: homeless(0), ..open(Observation::Missing) };
        let Step::Finish(ended) = decide(&homeless) else { panic!() };
        assert_eq!(ended.failure.unwrap().0, FailureReason::ExecutorNotConfigured);
    }

    #[test]
    fn an_outcome_stands_though_the_cancel_came_with_it() {
        let ended =
            Ended { failure: None, exit_code: Some(0), ..Ended::unseen(FailureReason::Interrupted, String::new()) };
        let both = Situation { end: Some(End::Cancelled), ..open(Observation::Ended(ended.clone())) };
        assert_eq!(decide(&both), Step::Finish(ended));
        let running = Observation::Running { pod: "p".into(), since: now() };
        assert_eq!(decide(&Situation { end: Some(End::Deleted), ..open(running) }), Step::EndJob);
    }

    #[test]
    fn suspending_leaves_a_running_attempt_alone() {
        let running = Observation::Running { pod: "p".into(), since: now() };
        let step = decide(&Situation { suspend: true, ..open(running) });
        assert!(matches!(step, Step::NoteRunning { .. }));
    }

    #[test]
    fn attempts_are_spaced() {
        let retrying = |attempt, seconds: i64| Situation {
            attempt,
            attempt_ended_at: Some(now() - jiff::SignedDuration::from_secs(seconds)),
            ..situation()
        };
        assert!(matches!(decide(&retrying(1, 4)), Step::WaitFor(wait, Reason::Retrying, _) if wait.as_secs() == 6));
        assert!(matches!(decide(&retrying(3, 4)), Step::WaitFor(wait, Reason::Retrying, _) if wait.as_secs() == 36));
        assert_eq!(decide(&retrying(1, 10)), Step::Start(2));
    }
}
