//! `jct worker run`: the executor as a child within its budget, and the verdict on how it ended.

pub mod capture;
mod supervise;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use self::supervise::{End, Limits, Supervised, supervise};
use super::RunArgs;
use super::attempt::{Attempt, Failure, read_regular};
use super::executors::Report;
use super::memory;
use super::trace::{self, Ending, Trace};
use crate::domain::FailureReason;
use crate::domain::trace::{STDERR_FILE, STDOUT_FILE, Source, TASK_FILE};

/// The greatest report of an executor that is read, in bytes.
const MAX_REPORT_BYTES: u64 = 64 * 1024;
/// What an executor may say of itself; all else that it could claim is for others to find.
const EXECUTORS_REASONS: [FailureReason; 3] =
    [FailureReason::ExecutorFailed, FailureReason::ExecutorNotConfigured, FailureReason::ChangeNotAllowed];

/// The child that is the executor: this very binary again, with nothing of our environment but where programs are.
///
/// # Errors
/// When the folders that it needs can't be made.
pub fn executor(args: &RunArgs, attempt: &Attempt, source: &Source, trace: &Trace) -> Result<Command, Failure> {
    let home = attempt.home_dir();
    std::fs::create_dir_all(&home).map_err(|error| Failure::worker("make a home for the executor", &error))?;
    let artifacts = trace.artifacts_dir().map_err(|error| Failure::worker("make the folder of artifacts", &error))?;
    let checkout = attempt.source_dir(args.source.as_deref());
    let task = attempt.args.trace_dir.join(TASK_FILE);
    let result = attempt.result_file();
    let own = std::env::current_exe().map_err(|error| Failure::worker("find its own program", &error))?;
    let mut command = memory::limited(own);
    command.args(["worker", "execute", "--executor", &attempt.args.executor, "--commit", &source.commit]);
    let folders = [("--task", &task), ("--source", &checkout), ("--artifacts", &artifacts), ("--result", &result)];
    for (option, path) in folders {
        command.arg(option).arg(path);
    }
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin")));
    command.env("HOME", &home).env("TMPDIR", &home).env("LC_ALL", "C.UTF-8").current_dir(&home);
    Ok(command)
}

/// Runs `command` within the Task's budget, its output in the trace.
///
/// # Errors
/// When it can't be started or its output can't be kept; [`Ending::failure`] tells of its own failures.
pub async fn run(
    args: &RunArgs,
    attempt: &Attempt,
    mut command: Command,
    trace: &mut Trace,
    interrupted: &CancellationToken,
    owns_all_children: bool,
) -> Result<Ending, Failure> {
    let lost = |error: std::io::Error| Failure::worker("write the trace", &error);
    let budget_seconds = attempt.task.constraints.time_budget_seconds;
    let limits = Limits {
        budget: Duration::from_secs(budget_seconds.into()),
        kill_after: Duration::from_secs(args.kill_after_seconds.into()),
        max_log_bytes: args.max_log_bytes,
        end_all_children: owns_all_children,
    };
    let result_file = attempt.result_file();
    trace::remove(&result_file).map_err(|error| Failure::worker("prepare the work folder", &error))?;
    let log = |name| trace::create_anew(&attempt.args.trace_dir.join(name)).map_err(lost);
    let logs = [log(STDOUT_FILE)?, log(STDERR_FILE)?];
    let fields = json!({"executor": attempt.args.executor, "time_budget_seconds": budget_seconds});
    trace.event("executor_started", fields).map_err(lost)?;

    let kills_before = memory::oom_kills();
    let supervised = supervise(&mut command, limits, logs, interrupted)
        .await
        .map_err(|error| Failure::worker("run the executor", &error))?;
    let out_of_memory = memory::oom_kills() > kills_before || says_out_of_memory(&supervised);
    let report = read_report(&result_file);
    let ending = judge(&supervised, report, out_of_memory, budget_seconds);
    let Supervised { end, stdout, stderr } = supervised;
    let fields = json!({
        "end": format!("{end:?}"),
        "stdout_bytes": stdout.printed_bytes,
        "stdout_truncated": stdout.truncated,
        "stderr_bytes": stderr.printed_bytes,
        "stderr_truncated": stderr.truncated,
        "out_of_memory": out_of_memory,
    });
    trace.event("executor_ended", fields).map_err(lost)?;
    Ok(ending)
}

/// Whether an allocation was refused, see [`memory::limited`]: Rust aborts with these words.
fn says_out_of_memory(supervised: &Supervised) -> bool {
    supervised.end == End::Signalled(Signal::SIGABRT as i32)
        && supervised.stderr.last_line.starts_with("memory allocation of ")
}

/// What the executor said of its end; nothing if it said nothing that can be read.
fn read_report(path: &Path) -> Option<Report> {
    serde_json::from_slice(&read_regular(path, MAX_REPORT_BYTES).ok()?).ok()
}

/// The verdict. Pure.
fn judge(supervised: &Supervised, report: Option<Report>, out_of_memory: bool, budget_seconds: u32) -> Ending {
    let failed = |reason, message: String| Some(Failure::new(reason, message));
    let exit_code = if let End::Exited(code) = supervised.end { Some(code) } else { None };
    let failure = match supervised.end {
        End::Exited(0) => None,
        End::OverBudget => failed(
            FailureReason::TimeBudgetExceeded,
            format!("the executor was ended after its time budget of {budget_seconds} s"),
        ),
        End::Interrupted => failed(
            FailureReason::Interrupted,
            "the worker was told to end while the executor ran: its pod was deleted or evicted".into(),
        ),
        End::Exited(_) | End::Signalled(_) if out_of_memory => failed(
            FailureReason::OomKilled,
            "the executor was ended because it wanted more memory than the worker may have".into(),
        ),
        End::Signalled(signal) => {
            failed(FailureReason::ExecutorFailed, format!("the executor was ended by signal {signal}"))
        }
        End::Exited(code) => Some(explain(code, report.as_ref(), &supervised.stderr.last_line)),
    };
    let summary = report.and_then(|report| report.message).filter(|_| failure.is_none());
    Ending { source: None, failure, summary, exit_code }
}

fn explain(code: i32, report: Option<&Report>, last_line: &str) -> Failure {
    let reason = report.and_then(|report| report.reason).filter(|reason| EXECUTORS_REASONS.contains(reason));
    let message = report.and_then(|report| report.message.clone()).unwrap_or_else(|| match last_line {
        "" => format!("the executor ended with exit code {code} and gave no reason"),
        line => format!("the executor ended with exit code {code}: {line}"),
    });
    Failure::new(reason.unwrap_or(FailureReason::ExecutorFailed), message)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::capture::Captured;
    use super::*;

    fn report(reason: Option<FailureReason>) -> Option<Report> {
        Some(Report { reason, message: Some("as said".into()), decision_log: Vec::new() })
    }

    #[rstest]
    #[case(End::Exited(0), None, false, None)]
    #[case(End::Exited(0), None, true, None)]
    #[case(End::Exited(1), None, false, Some((FailureReason::ExecutorFailed, "the executor ended with exit code 1: oops")))]
    #[case(End::Exited(1), report(None), false, Some((FailureReason::ExecutorFailed, "as said")))]
    #[case(
        End::Exited(1),
        report(Some(FailureReason::ExecutorNotConfigured)),
        false,
        Some((FailureReason::ExecutorNotConfigured, "as said"))
    )]
    #[case(End::Exited(1), report(Some(FailureReason::RepoNotAllowed)), false, Some((FailureReason::ExecutorFailed, "as said")))]
    #[case(End::Exited(1), None, true, Some((FailureReason::OomKilled, "memory")))]
    #[case(End::Signalled(9), None, true, Some((FailureReason::OomKilled, "memory")))]
    #[case(End::Signalled(9), None, false, Some((FailureReason::ExecutorFailed, "signal 9")))]
    #[case(End::OverBudget, report(None), true, Some((FailureReason::TimeBudgetExceeded, "60 s")))]
    #[case(End::Interrupted, None, false, Some((FailureReason::Interrupted, "told to end")))]
    fn every_end_has_its_verdict(
        #[case] end: End,
        #[case] report: Option<Report>,
        #[case] out_of_memory: bool,
        #[case] expected: Option<(FailureReason, &str)>,
    ) {
        let stderr = Captured { last_line: "oops".into(), ..Captured::default() };
        let supervised = Supervised { end, stdout: Captured::default(), stderr };
        let failure = judge(&supervised, report, out_of_memory, 60).failure;
        assert_eq!(failure.as_ref().map(|failure| failure.reason), expected.map(|(reason, _)| reason));
        if let (Some(failure), Some((_, message))) = (failure, expected) {
            assert!(failure.message.contains(message), "{failure}");
        }
    }
}
