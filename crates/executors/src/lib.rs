//! The built-in executors: what does the work of a Task, as a child of `jct worker run`.
//!
//! An executor works on the checkout and leaves artifacts. A new one implements [`Executor`] and joins `TABLE`; its name and
//! defaults are in [`Builtin`](jct_domain::executor::Builtin).

mod analysis;
pub mod code_change;
mod docs;
mod git;
mod markup;
mod ops;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;
use tokio::process::Command;

use jct_domain::trace::ExecutorResult;
use jct_domain::{FailureReason, Task};
use jct_untrusted::Failure;
use jct_untrusted::capture::STEP;
use jct_untrusted::files::read_regular;
use jct_untrusted::names::shorten;
use jct_untrusted::redact::redact;

/// The greatest length of such a line, in characters.
const MAX_STEP_CHARS: usize = 500;
/// How many entries of a decision log are kept.
const MAX_DECISIONS: usize = 100;
/// The greatest length of one, in characters.
const MAX_DECISION_CHARS: usize = 300;

/// Which executor is to run, on what.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub executor: String,
    /// The file of the Task that runs.
    pub task_file: PathBuf,
    pub source: PathBuf,
    /// The commit that is checked out.
    pub commit: String,
    pub artifacts: PathBuf,
    /// Where the executor says how it ended.
    pub result_file: PathBuf,
    /// See [`Assignment::git`].
    pub git: fn() -> Command,
}

/// What an executor is given.
#[derive(Debug)]
pub struct Assignment {
    /// What is to be done.
    pub task: Task,
    /// The checkout. What changes in it is harvested by the worker, if the operation is to change something.
    pub source: PathBuf,
    /// The commit that is checked out.
    pub commit: String,
    pub artifacts: PathBuf,
    /// A scratch folder; what is in it is lost afterwards.
    pub tmp: PathBuf,
    /// Git as a command without arguments, started so that it takes no more memory than it may.
    pub git: fn() -> Command,
}

/// What an executor achieved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Achieved {
    pub summary: String,
    /// What was decided on the way and why, a sentence each.
    pub decision_log: Vec<String>,
}

impl From<String> for Achieved {
    fn from(summary: String) -> Self {
        Self { summary, decision_log: Vec::new() }
    }
}

/// Something that does the work of a Task.
pub trait Executor: Sync {
    /// As Tasks and settings name it.
    fn name(&self) -> &'static str;

    /// Does the work; gives what was achieved.
    ///
    /// # Errors
    /// In a sentence, what went wrong; a [`Failure`] has its own reason.
    fn execute(&self, assignment: &Assignment) -> anyhow::Result<Achieved>;
}

/// Exit codes of failures that are more than [`FailureReason::ExecutorFailed`].
const CODES: [(FailureReason, u8); 2] =
    [(FailureReason::ChangeNotAllowed, 3), (FailureReason::ExecutorNotConfigured, 4)];

/// Every executor that is built in.
const TABLE: &[&dyn Executor] = &[&analysis::Analysis, &code_change::CodeChange, &docs::Docs, &ops::Ops];

/// Tells what is being done, as an event in the trace. `text` is cut to one line.
fn step(text: &str) {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    println!("{STEP}{}", shorten(&redact(&line), MAX_STEP_CHARS));
}

/// Leaves `report.json` and `report.md` in `artifacts`.
fn write_report(artifacts: &Path, report: &impl Serialize, markdown: &str) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(report)?;
    fs::write(artifacts.join("report.json"), json).context("cannot write report.json")?;
    fs::write(artifacts.join("report.md"), markdown).context("cannot write report.md")
}

/// What the exit code of a built-in executor says; nothing for one that others have too. Commands that it runs can write into
/// its result, but not end it with a code.
pub fn failure(exit_code: i32) -> Option<FailureReason> {
    CODES.iter().find(|(_, code)| i32::from(*code) == exit_code).map(|(reason, _)| *reason)
}

fn exit_code(reason: FailureReason) -> u8 {
    CODES.iter().find(|(of, _)| *of == reason).map_or(1, |(_, code)| *code)
}

/// Runs the built-in executor that `invocation` names. Exit code 0 is success; the result file tells more, in words.
pub fn execute(invocation: &Invocation) -> ExitCode {
    let (result, code) = match find_and_run(invocation) {
        Ok(Achieved { summary, decision_log }) => {
            let decision_log = bounded(decision_log);
            (ExecutorResult { summary: Some(summary), decision_log, ..ExecutorResult::default() }, ExitCode::SUCCESS)
        }
        Err((reason, message)) => {
            eprintln!("{message}");
            let code = exit_code(reason);
            let reason = Some(reason.as_str().to_owned());
            (ExecutorResult { summary: Some(message), reason, ..ExecutorResult::default() }, ExitCode::from(code))
        }
    };
    match write_result(&invocation.result_file, &result) {
        Ok(()) => code,
        Err(error) => {
            eprintln!("cannot leave a result: {error}");
            ExitCode::FAILURE
        }
    }
}

fn find_and_run(invocation: &Invocation) -> Result<Achieved, (FailureReason, String)> {
    let Some(executor) = TABLE.iter().find(|executor| executor.name() == invocation.executor) else {
        let known: Vec<&str> = TABLE.iter().map(|executor| executor.name()).collect();
        let message = format!("there is no executor {:?}; this worker has: {}", invocation.executor, known.join(", "));
        return Err((FailureReason::ExecutorNotConfigured, message));
    };
    let assignment = assignment(invocation).map_err(|error| (FailureReason::ExecutorFailed, format!("{error:#}")))?;
    executor.execute(&assignment).map_err(|error| {
        let reason = error.downcast_ref::<Failure>().map(|failure| failure.reason);
        (reason.unwrap_or(FailureReason::ExecutorFailed), message(&error))
    })
}

/// The error in words. The reason of a [`Failure`] stands elsewhere already.
fn message(error: &anyhow::Error) -> String {
    error.downcast_ref::<Failure>().map_or_else(|| format!("{error:#}"), |failure| failure.message.clone())
}

fn assignment(invocation: &Invocation) -> anyhow::Result<Assignment> {
    let Invocation { executor: _, task_file, source, commit, artifacts, result_file: _, git } = invocation.clone();
    Ok(Assignment {
        task: serde_json::from_slice(&read_regular(&task_file, 4 * 1024 * 1024)?)?,
        source,
        commit,
        artifacts,
        tmp: std::env::temp_dir(),
        git,
    })
}

/// Few and short enough that the result file stays one that is read.
fn bounded(decision_log: Vec<String>) -> Vec<String> {
    decision_log.iter().take(MAX_DECISIONS).map(|entry| shorten(entry, MAX_DECISION_CHARS)).collect()
}

fn write_result(path: &Path, result: &ExecutorResult) -> std::io::Result<()> {
    fs::write(path, serde_json::to_vec(result)?)
}
