//! The steps that write to the trace, from end to end: load, do, seal, say how it ended.

use std::future::Future;
use std::process::ExitCode;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempt, Refused, read_source};
use super::seal::{Ending, Trace};
use super::{AttemptArgs, RecordArgs, RunArgs, SourceArgs, record, source, supervise, termination};
use jct_domain::FailureReason;
use jct_domain::trace::{Outcome, Source, Termination};
use jct_untrusted::Failure;
use jct_untrusted::process;
use jct_untrusted::redact::redact;

/// `jct worker source`. Seals the trace on failure; leaves it open for [`record()`] on success.
pub fn source(args: &SourceArgs) -> ExitCode {
    step(&args.attempt, async |attempt, trace, interrupted| {
        let target = &attempt.task.target;
        let lost = |error: std::io::Error| Failure::worker("write the trace", &error);
        let fields =
            json!({"repo": target.repo, "ref": target.git_ref, "path": target.path, "pod": attempt.args.pod_name});
        trace.event("source_started", fields).map_err(lost)?;
        let fetched = source::fetch(args, attempt, interrupted).await.map_err(|failure| match failure.reason {
            FailureReason::Evicted => record::interruption(attempt, "while it fetched the source"),
            _ => failure,
        })?;
        attempt.write_source(&fetched.source)?;
        let lacks = fetched.lacks();
        let source::Fetched { source: Source { url, commit, .. }, files, bytes, symlinks, tags, .. } = fetched;
        let fields = json!({"url": url, "commit": commit, "files": files, "bytes": bytes, "tags": tags, "symlinks": symlinks,
            "submodules_not_fetched": fetched.submodules.count(), "lfs_files_not_fetched": fetched.lfs_pointers.count()});
        trace.event("source_fetched", fields).map_err(lost)?;
        if let Some(lacks) = lacks {
            trace.event("source_incomplete", json!({"message": lacks})).map_err(lost)?;
        }
        Ok(None)
    })
}

/// `jct worker record`. Always seals the trace.
pub fn record(args: &RecordArgs) -> ExitCode {
    step(&args.attempt, async |attempt, trace, interrupted| {
        let source = read_source(&attempt.work())?;
        let ending = record::record(attempt, &source, trace, &interrupted).await;
        let ending = ending.unwrap_or_else(|failure| Ending { failure: Some(failure), ..Ending::default() });
        Ok(Some(Ending { source: Some(source), ..ending }))
    })
}

/// `jct worker run`. Has no trace: the recorder is told.
pub fn run(args: &RunArgs) -> ExitCode {
    if let Err(error) = supervise::forget_environment() {
        eprintln!("jct worker run: cannot start anew without the image's environment: {error}");
        return ExitCode::FAILURE;
    }
    let done = block_on(async { Ok(supervise::run(args).await) });
    done.unwrap_or_else(|failure: Failure| {
        tracing::error!(%failure, "supervisor failed");
        ExitCode::FAILURE
    })
}

/// Runs `work`, which gives the ending to seal the trace with, or none if another step goes on.
fn step(
    args: &AttemptArgs,
    work: impl AsyncFnOnce(&Attempt, &mut Trace, CancellationToken) -> Result<Option<Ending>, Failure>,
) -> ExitCode {
    let done = block_on(async {
        let interrupted = process::on_termination().map_err(|error| Failure::worker("listen for signals", &error))?;
        process::end_with(args.of.parent);
        let attempt = match Attempt::load(args) {
            Ok(attempt) => attempt,
            Err(Refused { failure, claimed_by }) => return Ok(Termination { claimed_by, ..failed(&failure) }),
        };
        let mut trace = Trace::open(&attempt).map_err(|error| Failure::worker("open the trace", &error))?;
        let ending = match work(&attempt, &mut trace, interrupted).await {
            Ok(None) => return Ok(succeeded()),
            Ok(Some(ending)) => ending,
            Err(failure) => Ending { failure: Some(failure), ..Ending::default() },
        };
        seal(trace, ending)
    });
    let termination = done.unwrap_or_else(|failure| failed(&failure));
    let code = if termination.outcome == Outcome::Succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if let Some(reason) = termination.reason {
        tracing::error!(%reason, message = termination.message, trace_id = %args.of.trace_id, "attempt failed");
    }
    termination::write(&args.termination_log, termination);
    code
}

/// Seals the trace; if that fails, the failure of the work itself is still told.
fn seal(trace: Trace, ending: Ending) -> Result<Termination, Failure> {
    let earlier = ending.failure.clone();
    match trace.seal(ending) {
        Ok(sealed) => {
            let manifest = sealed.manifest;
            Ok(Termination {
                outcome: manifest.outcome,
                reason: manifest.reason,
                message: manifest.message,
                manifest_sha256: Some(sealed.manifest_sha256),
                claimed_by: None,
            })
        }
        Err(error) => {
            let mut failure = Failure::worker("seal the trace", &error);
            if let Some(earlier) = earlier {
                failure.message = format!("{} (after {earlier})", failure.message);
            }
            Err(failure)
        }
    }
}

fn succeeded() -> Termination {
    Termination { outcome: Outcome::Succeeded, reason: None, message: None, manifest_sha256: None, claimed_by: None }
}

fn failed(failure: &Failure) -> Termination {
    Termination {
        outcome: Outcome::Failed,
        reason: Some(failure.reason),
        message: Some(redact(&failure.message)),
        manifest_sha256: None,
        claimed_by: None,
    }
}

/// One thread is enough: the work is done by child processes.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::worker("start", &error))?
        .block_on(work)
}
