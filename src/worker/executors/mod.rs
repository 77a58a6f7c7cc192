//! Executors: what does the work of a Task, as a child of `jct worker run`.
//!
//! An executor reads the checkout and writes artifacts. A new one implements [`Executor`] and joins [`TABLE`].

pub mod analysis;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::ExecuteArgs;
use super::attempt::read_regular;
use crate::domain::{FailureReason, Task};

/// What an executor is given.
#[derive(Debug)]
pub struct Assignment {
    /// What is to be done.
    pub task: Task,
    /// The checkout, to be read only.
    pub source: PathBuf,
    /// The commit that is checked out.
    pub commit: String,
    /// Where outputs go.
    pub artifacts: PathBuf,
}

/// Something that does the work of a Task.
pub trait Executor: Sync {
    /// As Tasks and settings name it.
    fn name(&self) -> &'static str;

    /// Does the work; gives what was achieved, in a sentence.
    ///
    /// # Errors
    /// In a sentence, what went wrong.
    fn execute(&self, assignment: &Assignment) -> anyhow::Result<String>;
}

/// Every executor of this binary.
pub const TABLE: &[&dyn Executor] = &[&analysis::Analysis];

/// What the child leaves in its result file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Why it failed, if it did.
    pub reason: Option<FailureReason>,
    /// In a sentence: what was achieved, or what went wrong.
    pub message: Option<String>,
}

/// Is the executor that `args` names. Exit code 0 is success; the result file tells more.
///
/// The place for the process to restrict itself, before the executor has seen a byte of the source.
pub fn execute(args: &ExecuteArgs) -> ExitCode {
    let (report, code) = match find_and_run(args) {
        Ok(message) => (Report { reason: None, message: Some(message) }, ExitCode::SUCCESS),
        Err((reason, message)) => (Report { reason: Some(reason), message: Some(message) }, ExitCode::FAILURE),
    };
    if let (Some(message), Some(_)) = (&report.message, report.reason) {
        eprintln!("{message}");
    }
    match write_report(&args.result, &report) {
        Ok(()) => code,
        Err(error) => {
            eprintln!("cannot leave a result: {error}");
            ExitCode::FAILURE
        }
    }
}

fn find_and_run(args: &ExecuteArgs) -> Result<String, (FailureReason, String)> {
    let Some(executor) = TABLE.iter().find(|executor| executor.name() == args.executor) else {
        let known: Vec<&str> = TABLE.iter().map(|executor| executor.name()).collect();
        let message = format!("there is no executor {:?}; this worker has: {}", args.executor, known.join(", "));
        return Err((FailureReason::ExecutorNotConfigured, message));
    };
    let assignment = assignment(args).map_err(|error| (FailureReason::ExecutorFailed, format!("{error:#}")))?;
    executor.execute(&assignment).map_err(|error| (FailureReason::ExecutorFailed, format!("{error:#}")))
}

fn assignment(args: &ExecuteArgs) -> anyhow::Result<Assignment> {
    Ok(Assignment {
        task: serde_json::from_slice(&read_regular(&args.task, 4 * 1024 * 1024)?)?,
        source: args.source.clone(),
        commit: args.commit.clone(),
        artifacts: args.artifacts.clone(),
    })
}

fn write_report(path: &Path, report: &Report) -> std::io::Result<()> {
    fs::write(path, serde_json::to_vec(report)?)
}
