//! What an attempt yields: artifacts, those that it must have, and the change of the workspace.

use tokio::time::Instant;

use crate::domain::FailureReason;
use crate::domain::executor::Executor;
use crate::worker::RecordArgs;
use crate::worker::attempt::{Attempt, Failure};
use crate::worker::trace::{Ending, Limits, Trace};

/// Takes the outputs into the trace. A success becomes a failure if they break a rule; what is within the rules is kept in any
/// case.
///
/// # Errors
/// When the trace can't be written.
pub async fn take(
    _args: &RecordArgs,
    attempt: &Attempt,
    trace: &mut Trace,
    executor: &Executor,
    mut ending: Ending,
    deadline: Option<Instant>,
) -> Result<Ending, Failure> {
    let lost = |error: std::io::Error| Failure::worker("take the outputs", &error);
    let limits = Limits { max_files: executor.outputs.max_artifacts, max_bytes: executor.outputs.max_artifact_bytes };
    let taken =
        trace.take_outputs(&attempt.work().out(), limits, &[], deadline.map(Instant::into_std)).map_err(lost)?;
    let broken = taken.err().or_else(|| missing(executor, trace));
    if let Some(failure) = broken {
        ending.failure.get_or_insert(failure);
    }
    Ok(ending)
}

/// The failure for want of an artifact that must be there.
fn missing(executor: &Executor, trace: &Trace) -> Option<Failure> {
    let is_there = |name: &&String| trace.artifacts().any(|artifact| artifact == name.as_str());
    let name = executor.outputs.required.iter().find(|name| !is_there(name))?;
    let message =
        format!("the executor left no {name:?} in JCT_OUT, which its configuration requires (outputs.required)");
    Some(Failure::new(FailureReason::ExecutorFailed, message))
}
