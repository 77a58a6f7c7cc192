//! `jct worker record`: in the container that has the trace. Lets the executor begin, writes down what it prints and does as it
//! happens, judges its end, takes its outputs, and seals. Nothing that the executor runs can reach it.

mod bodies;
mod model;
mod outputs;
mod verdict;

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use self::verdict::{Evidence, verdict};
use super::attempt::Attempt;
use super::link::{Account, End, Frame, Receiver, RecorderSocket, Stop};
use super::seal::{Ending, Trace};
use jct_domain::FailureReason;
use jct_domain::trace::{CANCEL_FILE, ExecutorResult, STDERR_FILE, STDOUT_FILE, Source, Usage};
use jct_untrusted::Failure;
use jct_untrusted::capture::{Capture, Captured, CapturedPiece};
use jct_untrusted::files::{create_anew, read_regular, remove};

/// Beyond budget and grace, before the supervisor is taken for lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the supervisor has to end the executor when the pod has to end. All of that is within ten seconds.
const LAST_ACCOUNT: Duration = Duration::from_secs(6);
/// How long outputs may then be taken.
const LAST_OUTPUTS: Duration = Duration::from_secs(2);
/// After the supervisor died: what it left is dead with it, a moment later.
const AFTERMATH: Duration = Duration::from_secs(1);
/// The greatest result of an executor that is read, in bytes.
const MAX_RESULT_BYTES: u64 = 256 * 1024;

/// Records the attempt on `source` until its end; what is left is to seal it.
///
/// # Errors
/// When the executor can't begin, or the trace can't be written.
pub async fn record(
    attempt: &Attempt,
    source: &Source,
    trace: &mut Trace,
    interrupted: &CancellationToken,
) -> Result<Ending, Failure> {
    let lost = |error: std::io::Error| Failure::worker("write the trace", &error);
    let executor = trace.executor()?.clone();
    let work = attempt.work();
    let open = |error: std::io::Error| Failure::worker("open the door for the supervisor", &error);
    remove(&work.recorder_socket()).map_err(open)?;
    let socket = RecorderSocket::open(&work.recorder_socket()).map_err(open)?;
    let begun = async {
        let supervisor = socket.accept().await?;
        supervisor.begin().await
    };
    let Some(link) = interrupted.run_until_cancelled(begun).await else {
        return Err(interruption(attempt, "before the executor began"));
    };
    let (link, stop) = link.map_err(open)?;
    let budget = executor.budget_seconds(attempt.task.constraints.time_budget_seconds);
    let fields = json!({"executor": executor.name, "image": executor.image, "command": executor.command, "time_budget_seconds": budget});
    trace.event("executor_started", fields).map_err(lost)?;

    let log = |name| {
        let file = create_anew(&attempt.args.trace_dir.join(name)).map_err(lost)?;
        Ok::<_, Failure>(Capture::new(file, executor.limits.max_log_bytes, trace.rules()))
    };
    let streams = [log(STDOUT_FILE)?, log(STDERR_FILE)?];
    let run = Duration::from_secs(u64::from(budget) + u64::from(executor.time.kill_after_seconds)) + PATIENCE;
    let recording = Recording { trace, streams, link, stop, account: None, is_gone: false };
    let Recorded { account, streams: [stdout, stderr], is_gone } =
        recording.until(Instant::now() + run, interrupted).await.map_err(lost)?;
    if account.is_none() {
        tokio::time::sleep(AFTERMATH).await;
    }
    let result = result(attempt, trace).map_err(lost)?;
    let evidence = Evidence {
        account: account.as_ref(),
        is_built_in: executor.builtin.is_some(),
        stderr: &stderr,
        result: result.as_ref(),
        interrupted: interrupted.is_cancelled(),
        budget_seconds: budget,
    };
    let (mut failure, exit_code) = verdict(&evidence);
    if let Some(found) = failure.as_mut().filter(|failure| failure.reason == FailureReason::Evicted) {
        *found = interruption(attempt, "while the executor ran");
    }
    trace.event("executor_ended", ended(account.as_ref(), &stdout, &stderr)).map_err(lost)?;
    let mut result = result;
    if executor.model.is_some()
        && let Some(used) = model::take(attempt, trace, deadline(interrupted)).await.map_err(lost)?
    {
        failure = used.explain(failure);
        result = Some(used.cost(result));
    }
    let usage = account.as_ref().map(|account| Usage {
        wall_ms: account.wall_ms,
        cpu_ms: account.cpu_ms,
        peak_memory_bytes: account.peak_memory_bytes,
    });
    let ending = Ending { failure, exit_code, result, usage, ..Ending::default() };
    let has_ended = account.map_or(is_gone, |account| account.end != End::NotEnded);
    if !has_ended {
        // What is still worked at says nothing, and would be read while it changes.
        trace.event("outputs_not_taken", json!({"reason": "the executor was not seen to end"})).map_err(lost)?;
        return Ok(ending);
    }
    outputs::take(attempt, source, trace, &executor, ending, deadline(interrupted), interrupted).await
}

/// When outputs have to be taken at the latest; never, unless the pod ends.
fn deadline(interrupted: &CancellationToken) -> Option<Instant> {
    interrupted.is_cancelled().then(|| Instant::now() + LAST_OUTPUTS)
}

/// The worker was told to end: by somebody who cancelled the Task, or by Kubernetes.
pub fn interruption(attempt: &Attempt, when: &str) -> Failure {
    if attempt.args.trace_dir.join(CANCEL_FILE).symlink_metadata().is_ok() {
        return Failure::new(FailureReason::Cancelled, format!("the Task was cancelled {when}"));
    }
    let message = format!("the worker was told to end {when}: its pod was evicted or deleted, or its node drained");
    Failure::new(FailureReason::Evicted, message)
}

/// An executor that runs, as it is written down.
struct Recording<'a> {
    trace: &'a mut Trace,
    streams: [Capture; 2],
    link: Receiver,
    stop: Stop,
    account: Option<Account>,
    is_gone: bool,
}

/// What came of it.
struct Recorded {
    account: Option<Account>,
    streams: [Captured; 2],
    /// Whether the supervisor has ended, with or without its account.
    is_gone: bool,
}

impl Recording<'_> {
    /// Writes down what comes until the supervisor's account, or its death, or until it should have been here.
    async fn until(mut self, mut deadline: Instant, interrupted: &CancellationToken) -> std::io::Result<Recorded> {
        let mut is_told = false;
        while self.account.is_none() {
            let frame = {
                // Half a frame must not be lost when the word to end comes.
                let mut next = std::pin::pin!(self.link.next());
                loop {
                    tokio::select! {
                        biased;
                        frame = timeout_at(deadline, &mut next) => break frame,
                        () = interrupted.cancelled(), if !is_told => {
                            is_told = true;
                            self.stop.send().await;
                            deadline = deadline.min(Instant::now() + LAST_ACCOUNT);
                        }
                    }
                }
            };
            match frame {
                Ok(Ok(Some(frame))) => self.take(frame)?,
                Ok(Ok(None)) => {
                    self.is_gone = true;
                    break;
                }
                Err(_) => break,
                Ok(Err(error)) => {
                    self.trace.event("supervisor_not_understood", json!({"error": error.to_string()}))?;
                    break;
                }
            }
        }
        let [stdout, stderr] = self.streams;
        let ((last_out, stdout), (last_err, stderr)) = (stdout.finish()?, stderr.finish()?);
        for (gained, name) in [(last_out, STDOUT_FILE), (last_err, STDERR_FILE)] {
            show(self.trace, name, gained)?;
        }
        Ok(Recorded { account: self.account, streams: [stdout, stderr], is_gone: self.is_gone })
    }

    fn take(&mut self, frame: Frame) -> std::io::Result<()> {
        let [stdout, stderr] = &mut self.streams;
        match frame {
            Frame::Stdout(bytes) => show(self.trace, STDOUT_FILE, stdout.push(&bytes)?),
            Frame::Stderr(bytes) => show(self.trace, STDERR_FILE, stderr.push(&bytes)?),
            Frame::Note(note) => self.trace.event(&note.event, note.fields),
            Frame::Ended(account) => {
                self.account = Some(account);
                Ok(())
            }
        }
    }
}

/// Notes the steps, and shows what was written to whoever follows the container's log.
fn show(trace: &mut Trace, log: &str, gained: CapturedPiece) -> std::io::Result<()> {
    trace.show(log, &gained.written);
    // Steps are those of standard output; standard error is for trouble.
    for step in gained.steps.into_iter().filter(|_| log == STDOUT_FILE) {
        trace.event("executor_step", json!({"message": step}))?;
    }
    Ok(())
}

/// What the executor said of its work; none if it said nothing that can be read.
fn result(attempt: &Attempt, trace: &mut Trace) -> std::io::Result<Option<ExecutorResult>> {
    let path = attempt.work().result_file();
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let read = read_regular(&path, MAX_RESULT_BYTES)
        .map_err(|error| error.to_string())
        .and_then(|bytes| serde_json::from_slice::<ExecutorResult>(&bytes).map_err(|error| error.to_string()));
    match read {
        Ok(result) => Ok(Some(verdict::within_limits(result, &trace.rules()))),
        Err(error) => {
            trace.event("executor_result_unreadable", json!({"error": error}))?;
            Ok(None)
        }
    }
}

fn ended(account: Option<&Account>, stdout: &Captured, stderr: &Captured) -> serde_json::Value {
    json!({
        "end": account.map(|account| account.end),
        "out_of_memory": account.map(|account| account.out_of_memory),
        "wall_ms": account.map(|account| account.wall_ms),
        "cpu_ms": account.map(|account| account.cpu_ms),
        "peak_memory_bytes": account.map(|account| account.peak_memory_bytes),
        "stdout_bytes": stdout.printed_bytes,
        "stdout_truncated": stdout.truncated,
        "steps_left_out": stdout.steps_left_out,
        "stderr_bytes": stderr.printed_bytes,
        "stderr_truncated": stderr.truncated,
    })
}
