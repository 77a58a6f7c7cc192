//! What an attempt yields: artifacts, those that it must have, and the change of the workspace.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::attempt::Attempt;
use crate::change::{
    Asked, BUNDLE_FILE, COMMIT_FILE, DIFFSTAT_FILE, Harvest, Harvested, Identity, PATCH_FILE, harvest,
};
use crate::memory;
use crate::seal::{Ending, Limits, Trace};
use jct_domain::FailureReason;
use jct_domain::executor::{Builtin, Executor, IgnoredFiles};
use jct_domain::trace::Source;
use jct_executors::code_change;
use jct_untrusted::Failure;
use jct_untrusted::git::listing::ChangeRules;
use jct_untrusted::git::repository::Bounds;

/// What is made of a change: no executor's file takes such a name.
const OF_A_CHANGE: [&str; 4] = [BUNDLE_FILE, COMMIT_FILE, DIFFSTAT_FILE, PATCH_FILE];
/// How long taking a change may last.
const HARVEST: Duration = Duration::from_secs(300);

/// Takes the outputs into the trace. A success becomes a failure if they break a rule; what is within the rules is kept in any
/// case.
///
/// # Errors
/// When the trace can't be written.
pub async fn take(
    attempt: &Attempt,
    source: &Source,
    trace: &mut Trace,
    executor: &Executor,
    mut ending: Ending,
    deadline: Option<Instant>,
    interrupted: &CancellationToken,
) -> Result<Ending, Failure> {
    let lost = |error: std::io::Error| Failure::worker("take the outputs", &error);
    let takes_change = executor.takes_change(attempt.task.operation);
    let reserved: &[&str] = if takes_change { &OF_A_CHANGE } else { &[] };
    let limits = Limits { max_files: executor.outputs.max_artifacts, max_bytes: executor.outputs.max_artifact_bytes };
    let taken =
        trace.take_outputs(&attempt.work().out(), limits, reserved, deadline.map(Instant::into_std)).map_err(lost)?;
    let mut broken = taken.err();
    if takes_change {
        let until = deadline.unwrap_or_else(|| Instant::now() + HARVEST);
        let has_failed = ending.failure.is_some();
        match change(attempt, source, trace, executor, (until, interrupted), has_failed).await {
            Ok(()) => {}
            Err(failure) => {
                let fields = json!({"reason": failure.reason, "message": failure.message});
                trace.event("change_not_taken", fields).map_err(lost)?;
                broken.get_or_insert(failure);
            }
        }
        ending.change = trace.change();
    }
    if let Some(failure) = broken.or_else(|| missing(executor, trace)) {
        ending.failure.get_or_insert(failure);
    }
    Ok(ending)
}

/// Takes what the workspace has become.
async fn change(
    attempt: &Attempt,
    source: &Source,
    trace: &mut Trace,
    executor: &Executor,
    (until, interrupted): (Instant, &CancellationToken),
    has_failed: bool,
) -> Result<(), Failure> {
    let lost = |error: std::io::Error| Failure::worker("take the change", &error);
    let (work, task) = (attempt.work(), &attempt.task);
    let into = trace.artifacts_dir().map_err(lost)?;
    let asked = ["maxChangedFiles", "max_changed_files"].iter().find_map(|name| task.inputs.get(*name));
    let asked = asked.and_then(Value::as_u64).map_or(u32::MAX, |most| u32::try_from(most).unwrap_or(u32::MAX));
    // A pod that ends is told so once: that it is ending is no news here, the time that is left is.
    let interrupted = if interrupted.is_cancelled() { CancellationToken::new() } else { interrupted.clone() };
    let asked_for = (executor.builtin == Some(Builtin::CodeChange)).then(|| code_change::asked(&task.inputs)).flatten();
    let asked_for = asked_for.as_ref().map(|(patch, strip)| Asked { patch, strip: *strip, none_will_do: has_failed });
    let ignored_files = if asked_for.is_some() { IgnoredFiles::Deliver } else { executor.outputs.ignored_files };
    let harvested = harvest(&Harvest {
        git_dir: &work.repository(),
        work_tree: &work.source(),
        base_commit: &source.commit,
        target_path: &task.target.path,
        rules: ChangeRules {
            max_changed_files: executor.outputs.max_changed_files.min(asked),
            max_patch_bytes: executor.outputs.max_patch_bytes,
            ignored_files,
        },
        asked: asked_for,
        identity: Identity {
            objective: &task.objective,
            requested_by: &task.requested_by,
            task_id: attempt.args.of.task_id,
            trace_id: &attempt.args.of.trace_id,
            executor: &executor.name,
            agent: (attempt.args.agent_trailer, attempt.args.agent.as_deref()),
            at: trace.started_at(),
        },
        scratch: &work.private().join("change"),
        into: &into,
        bounds: Bounds { git: memory::limited_git, deadline: until, interrupted },
    })
    .await?;
    let Harvested { change, ignored } = harvested;
    if ignored_files == IgnoredFiles::LeaveOut && !ignored.is_empty() {
        let fields = json!({"files": ignored.count(), "named_by_gitignore": ignored.summary()});
        trace.event("change_left_out", fields).map_err(lost)?;
    }
    let Some(change) = change else {
        return trace.event("change_none", json!({})).map_err(lost);
    };
    let fields = json!({"commit": change.commit, "files": change.files_changed,
        "insertions": change.insertions, "deletions": change.deletions, "ignored_files": ignored.count()});
    trace.add_change(change, &OF_A_CHANGE);
    trace.event("change_taken", fields).map_err(lost)
}

/// The failure for want of an artifact that must be there.
fn missing(executor: &Executor, trace: &Trace) -> Option<Failure> {
    let is_there = |name: &&String| trace.artifacts().any(|artifact| artifact == name.as_str());
    let name = executor.outputs.required.iter().find(|name| !is_there(name))?;
    let message =
        format!("the executor left no {name:?} in JCT_OUT, which its configuration requires (outputs.required)");
    Some(Failure::new(FailureReason::ExecutorFailed, message))
}
