//! The worker: what runs inside a Job (contract section 6, design decisions 7 to 11).
//!
//! | step | container | network | does |
//! |---|---|---|---|
//! | `jct worker source` | init | yes | fetches the repository, counts its tree, checks it out |
//! | `jct worker run` | main | no | runs the executor as a child within its budget, seals the trace |
//! | `jct worker execute` | child of `run` | no | applies its own restrictions, then is the executor |
//!
//! Whatever happens, a step that got as far as reading `task.json` leaves a sealed trace or hands it to the next step, and
//! says how it ended in its termination message. Nothing is written outside the trace folder and the work folder.

mod attempt;
pub mod change;
mod executors;
mod git;
mod memory;
mod process;
mod redact;
mod run;
mod source;
mod steps;
mod termination;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::domain::{Id, TraceId};

/// The steps of a worker, as subcommands of `jct worker`.
#[derive(Clone, Debug, Subcommand)]
pub enum WorkerCommand {
    /// Fetch the source that the Task names and check it out (init container, with network)
    Source(SourceArgs),
    /// Run the executor within its time budget and seal the trace (main container, without network)
    Run(RunArgs),
    /// Be the executor: started by `run`, not by people
    #[command(hide = true)]
    Execute(ExecuteArgs),
}

/// Which attempt this is, and where its files are: common to `source` and `run`.
#[derive(Clone, Debug, Args)]
pub struct AttemptArgs {
    /// Id of the Task
    #[arg(long, env = "JCT_TASK_ID", value_name = "ULID")]
    pub task_id: Id,
    /// Trace id of the Task
    #[arg(long, env = "JCT_TRACE_ID", value_name = "ID")]
    pub trace_id: TraceId,
    /// Namespace of the Task (not that of the pod)
    #[arg(long, env = "JCT_TASK_NAMESPACE", value_name = "NAME")]
    pub namespace: String,
    /// Number of the attempt, from 1
    #[arg(long, env = "JCT_ATTEMPT", value_name = "N")]
    pub attempt: u32,
    /// SHA-256 of the task.json in the trace folder, 64 lower-case hex digits
    #[arg(long, env = "JCT_TASK_SHA256", value_name = "HEX")]
    pub task_sha256: String,
    /// Name of the executor
    #[arg(long, env = "JCT_EXECUTOR", value_name = "NAME")]
    pub executor: String,
    /// The attempt's folder of the trace volume; holds task.json already
    #[arg(long, env = "JCT_TRACE_DIR", value_name = "DIR", default_value = "/trace")]
    pub trace_dir: PathBuf,
    /// Scratch folder that `source` and `run` share; the checkout is its folder `source`
    #[arg(long, env = "JCT_WORK_DIR", value_name = "DIR", default_value = "/work")]
    pub work_dir: PathBuf,
    /// Where the termination message goes
    #[arg(long, env = "JCT_TERMINATION_LOG", value_name = "FILE", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
    /// Greatest number of artifacts
    #[arg(long, env = "JCT_MAX_ARTIFACTS", value_name = "N", default_value_t = 1000)]
    pub max_artifacts: u32,
    /// Greatest size of all artifacts together, in bytes
    #[arg(long, env = "JCT_MAX_ARTIFACT_BYTES", value_name = "BYTES", default_value_t = 1 << 30)]
    pub max_artifact_bytes: u64,
}

/// Arguments of `jct worker source`. The ref and the path come from task.json.
#[derive(Clone, Debug, Args)]
pub struct SourceArgs {
    /// See [`AttemptArgs`].
    #[command(flatten)]
    pub attempt: AttemptArgs,
    /// URL of the repository
    #[arg(long, env = "JCT_SOURCE_URL", value_name = "URL", hide_env_values = true)]
    pub url: String,
    /// Where the checkout goes; `source` in the work folder when absent
    #[arg(long, env = "JCT_SOURCE_DIR", value_name = "DIR")]
    pub into: Option<PathBuf>,
    /// Schemes that a URL may have: of https, http, git, file
    #[arg(
        long,
        env = "JCT_SOURCE_PROTOCOLS",
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "https,http,git"
    )]
    pub protocols: Vec<String>,
    /// Greatest number of files in the tree
    #[arg(long, env = "JCT_SOURCE_MAX_FILES", value_name = "N", default_value_t = 200_000)]
    pub max_files: u64,
    /// Greatest size of the tree's files, and of what is fetched, in bytes
    #[arg(long, env = "JCT_SOURCE_MAX_BYTES", value_name = "BYTES", default_value_t = 4 << 30)]
    pub max_bytes: u64,
    /// How long all of this may take, in seconds
    #[arg(long, env = "JCT_SOURCE_TIMEOUT_SECONDS", value_name = "SECONDS", default_value_t = 600)]
    pub timeout_seconds: u32,
}

/// Arguments of `jct worker run`. The time budget comes from task.json.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// See [`AttemptArgs`].
    #[command(flatten)]
    pub attempt: AttemptArgs,
    /// Where the checkout is; `source` in the work folder when absent
    #[arg(long, env = "JCT_SOURCE_DIR", value_name = "DIR")]
    pub source: Option<PathBuf>,
    /// Greatest size of stdout.log and of stderr.log, in bytes
    #[arg(long, env = "JCT_MAX_LOG_BYTES", value_name = "BYTES", default_value_t = 8 << 20)]
    pub max_log_bytes: u64,
    /// How long the executor has between SIGTERM and SIGKILL, in seconds
    #[arg(long, env = "JCT_KILL_AFTER_SECONDS", value_name = "SECONDS", default_value_t = 5)]
    pub kill_after_seconds: u32,
}

/// Arguments of `jct worker execute`.
#[derive(Clone, Debug, Args)]
pub struct ExecuteArgs {
    /// Name of the executor
    #[arg(long, value_name = "NAME")]
    pub executor: String,
    /// The Task that runs
    #[arg(long, value_name = "FILE")]
    pub task: PathBuf,
    /// The checkout
    #[arg(long, value_name = "DIR")]
    pub source: PathBuf,
    /// The commit that is checked out
    #[arg(long, value_name = "HEX")]
    pub commit: String,
    /// Where outputs go
    #[arg(long, value_name = "DIR")]
    pub artifacts: PathBuf,
    /// Where the executor says how it ended
    #[arg(long, value_name = "FILE")]
    pub result: PathBuf,
}

impl WorkerCommand {
    /// Runs the step to its end. Exit code 0 is success; 1 a failure, told in the trace and the termination message.
    ///
    /// Starts a tokio runtime of its own where it needs one: not to be called from within another.
    pub fn run(self) -> ExitCode {
        match self {
            Self::Source(args) => steps::source(&args),
            Self::Run(args) => steps::run(&args),
            Self::Execute(args) => executors::execute(&args),
        }
    }
}
