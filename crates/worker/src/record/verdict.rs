//! How an attempt ended, by what the supervisor and the executor tell of it. Pure.

use std::sync::Arc;

use crate::link::{Account, End};
use jct_domain::FailureReason;
use jct_domain::trace::{EvidenceClaim, ExecutorResult};
use jct_untrusted::Failure;
use jct_untrusted::capture::Captured;
use jct_untrusted::names::shorten;
use jct_untrusted::redact::Rules;

/// Of a summary and of each entry of a decision log more is not kept, in characters.
const MAX_TEXT_CHARS: usize = 4000;
/// Of a decision log more entries are not kept.
const MAX_DECISIONS: usize = 200;
/// Of what it claims to have shown more is not kept: a Task has 50 criteria and 50 requirements at most.
const MAX_CLAIMS: usize = 200;

/// What is known of the end.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The supervisor's account; none if it was killed.
    pub account: Option<&'a Account>,
    /// Whether the executor is one of ours, whose exit code has a meaning.
    pub is_built_in: bool,
    /// The executor's standard error: for a message, and no more.
    pub stderr: &'a Captured,
    /// What the executor said: likewise.
    pub result: Option<&'a ExecutorResult>,
    /// Whether the worker was told to end.
    pub interrupted: bool,
    /// How long the executor was allowed to run.
    pub budget_seconds: u32,
}

/// Why the attempt failed, if it did, and the executor's exit code.
pub fn verdict(evidence: &Evidence) -> (Option<Failure>, Option<i32>) {
    let failed = |reason, message: String| Some(Failure::new(reason, message));
    let Some(account) = evidence.account else {
        let (reason, message) = if evidence.interrupted {
            (FailureReason::Evicted, "the worker was told to end, and its supervisor did not")
        } else {
            (
                FailureReason::WorkerFailed,
                "the supervisor ended without a word: it was killed, most likely for want of memory",
            )
        };
        return (failed(reason, message.into()), None);
    };
    let exit_code = if let End::Exited(code) = account.end { Some(code) } else { None };
    let failure = match account.end {
        End::Exited(0) => None,
        End::OverBudget => failed(
            FailureReason::TimeBudgetExceeded,
            format!("the executor was ended after its time budget of {} s", evidence.budget_seconds),
        ),
        End::OverModelBudget => failed(
            FailureReason::ModelBudgetExceeded,
            "the executor was ended because a budget of models is used up, and it went on".into(),
        ),
        End::Interrupted => failed(FailureReason::Evicted, "the worker was told to end while the executor ran".into()),
        End::TooManyProcesses => failed(
            FailureReason::LimitExceeded,
            "the executor was ended because it had more processes than it may (limits.maxProcesses)".into(),
        ),
        End::TooMuchDisk => failed(
            FailureReason::LimitExceeded,
            "the executor was ended because it took more disk than it may (limits.maxDiskBytes)".into(),
        ),
        End::Unwatched => failed(
            FailureReason::LimitExceeded,
            format!(
                "the executor was ended because what it used could not be seen, and no limit held: {}",
                account.message.as_deref().unwrap_or("the watch gave no reason")
            ),
        ),
        End::NotEnded => failed(
            FailureReason::WorkerFailed,
            "some of the executor's processes would not end; its outputs are left where they are".into(),
        ),
        End::Unconfined => {
            failed(FailureReason::SandboxUnavailable, account.message.clone().unwrap_or_else(|| "no sandbox".into()))
        }
        End::Exited(_) | End::Signalled(_) if account.out_of_memory => failed(
            FailureReason::OomKilled,
            "the executor was ended because it wanted more memory than the worker may have".into(),
        ),
        End::Signalled(signal) => {
            failed(FailureReason::ExecutorFailed, format!("the executor was ended by signal {signal}"))
        }
        End::Exited(code) => {
            let reason = evidence.is_built_in.then(|| jct_executors::failure(code)).flatten();
            let message = explain(code, evidence.result, &evidence.stderr.last_line);
            failed(reason.unwrap_or(FailureReason::ExecutorFailed), message)
        }
    };
    (failure, exit_code)
}

/// In the executor's words, if it has any.
fn explain(code: i32, result: Option<&ExecutorResult>, last_line: &str) -> String {
    let said = result.and_then(|result| result.summary.clone());
    said.unwrap_or_else(|| match last_line {
        "" => format!("the executor ended with exit code {code} and gave no reason"),
        line => format!("the executor ended with exit code {code}: {line}"),
    })
}

/// What an executor said, redacted and cut to what the record takes.
pub fn within_limits(result: ExecutorResult, rules: &Arc<Rules>) -> ExecutorResult {
    let text = |text: &str| shorten(&rules.redact(text), MAX_TEXT_CHARS);
    let claim = |claim: EvidenceClaim| EvidenceClaim {
        artifact: claim.artifact.as_deref().map(text),
        notes: claim.notes.as_deref().map(text),
        ..claim
    };
    ExecutorResult {
        summary: result.summary.as_deref().map(text).filter(|text| !text.trim().is_empty()),
        reason: result.reason.filter(|reason| FailureReason::parse(reason).is_some()),
        decision_log: result.decision_log.iter().take(MAX_DECISIONS).map(|entry| text(entry)).collect(),
        cost: result.cost.map(|mut cost| {
            cost.usd = cost.usd.filter(|usd| usd.is_finite() && *usd >= 0.0);
            cost
        }),
        evidence: result.evidence.into_iter().take(MAX_CLAIMS).map(claim).collect(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn said() -> Option<ExecutorResult> {
        Some(ExecutorResult { summary: Some("as said".into()), ..ExecutorResult::default() })
    }

    fn because(reason: &str) -> Option<ExecutorResult> {
        said().map(|result| ExecutorResult { reason: Some(reason.into()), ..result })
    }

    #[rstest]
    #[case(Some(End::Exited(0)), None, false, None)]
    #[case(Some(End::Exited(0)), None, true, None)]
    #[case(Some(End::Exited(1)), None, false, Some((FailureReason::ExecutorFailed, "the executor ended with exit code 1: oops")))]
    #[case(Some(End::Exited(1)), said(), false, Some((FailureReason::ExecutorFailed, "as said")))]
    #[case(Some(End::Exited(1)), because("ChangeNotAllowed"), false, Some((FailureReason::ExecutorFailed, "as said")))]
    #[case(Some(End::Exited(1)), because("REPO_NOT_ALLOWED"), false, Some((FailureReason::ExecutorFailed, "as said")))]
    #[case(Some(End::Exited(1)), None, true, Some((FailureReason::OomKilled, "memory")))]
    #[case(Some(End::Signalled(9)), None, true, Some((FailureReason::OomKilled, "memory")))]
    #[case(Some(End::Signalled(9)), None, false, Some((FailureReason::ExecutorFailed, "signal 9")))]
    #[case(Some(End::OverBudget), said(), true, Some((FailureReason::TimeBudgetExceeded, "60 s")))]
    #[case(Some(End::Interrupted), None, false, Some((FailureReason::Evicted, "told to end")))]
    #[case(Some(End::TooManyProcesses), None, false, Some((FailureReason::LimitExceeded, "maxProcesses")))]
    #[case(Some(End::TooMuchDisk), None, false, Some((FailureReason::LimitExceeded, "maxDiskBytes")))]
    #[case(Some(End::Unwatched), None, false, Some((FailureReason::LimitExceeded, "no limit held")))]
    #[case(Some(End::NotEnded), None, false, Some((FailureReason::WorkerFailed, "would not end")))]
    #[case(Some(End::Signalled(6)), None, false, Some((FailureReason::ExecutorFailed, "signal 6")))]
    #[case(Some(End::Exited(1)), because("OOMKilled"), false, Some((FailureReason::ExecutorFailed, "as said")))]
    #[case(Some(End::Exited(1)), because("Evicted"), false, Some((FailureReason::ExecutorFailed, "as said")))]
    #[case(Some(End::Unconfined), None, false, Some((FailureReason::SandboxUnavailable, "no sandbox")))]
    #[case(None, said(), false, Some((FailureReason::WorkerFailed, "killed")))]
    fn every_end_has_its_verdict(
        #[case] end: Option<End>,
        #[case] result: Option<ExecutorResult>,
        #[case] out_of_memory: bool,
        #[case] expected: Option<(FailureReason, &str)>,
    ) {
        let account =
            end.map(|end| Account { end, out_of_memory, message: None, wall_ms: 1, cpu_ms: 1, peak_memory_bytes: 1 });
        let last_line = if end == Some(End::Signalled(6)) { "memory allocation of 8 bytes failed" } else { "oops" };
        let stderr = Captured { last_line: last_line.into(), ..Captured::default() };
        let evidence = Evidence {
            account: account.as_ref(),
            is_built_in: false,
            stderr: &stderr,
            result: result.as_ref(),
            interrupted: false,
            budget_seconds: 60,
        };
        let (failure, _) = verdict(&evidence);
        assert_eq!(failure.as_ref().map(|failure| failure.reason), expected.map(|(reason, _)| reason));
        if let (Some(failure), Some((_, message))) = (failure, expected) {
            assert!(failure.message.contains(message), "{failure}");
        }
    }

    #[rstest]
    #[case(true, 3, FailureReason::ChangeNotAllowed)]
    #[case(true, 4, FailureReason::ExecutorNotConfigured)]
    #[case(true, 1, FailureReason::ExecutorFailed)]
    #[case(false, 3, FailureReason::ExecutorFailed)]
    fn only_our_own_executors_have_reasons(
        #[case] is_built_in: bool,
        #[case] code: i32,
        #[case] expected: FailureReason,
    ) {
        let end = End::Exited(code);
        let account = Account { end, out_of_memory: false, message: None, wall_ms: 1, cpu_ms: 1, peak_memory_bytes: 1 };
        let (stderr, said) = (Captured::default(), because("OOMKilled"));
        let result = said.as_ref();
        let evidence = Evidence {
            account: Some(&account),
            is_built_in,
            stderr: &stderr,
            result,
            interrupted: false,
            budget_seconds: 60,
        };
        assert_eq!(verdict(&evidence).0.map(|failure| failure.reason), Some(expected));
    }

    #[test]
    fn what_an_executor_says_is_cut_and_redacted() {
        let result = ExecutorResult {
            reason: Some("Whatever".into()),
            summary: Some(format!("token=abcdefgh {}", "x".repeat(10_000))),
            decision_log: vec!["password=hunter22".into(); 500],
            cost: Some(jct_domain::trace::ExecutorCost { usd: Some(-1.0), tokens: Some(7) }),
            ..ExecutorResult::default()
        };
        let kept = within_limits(result, &Rules::well_known());
        assert!(kept.summary.unwrap().starts_with("token=[redacted] x"));
        assert_eq!((kept.decision_log.len(), kept.decision_log[0].as_str()), (200, "password=[redacted]"));
        assert_eq!(kept.cost.map(|cost| (cost.usd, cost.tokens)), Some((None, Some(7))));
    }
}
