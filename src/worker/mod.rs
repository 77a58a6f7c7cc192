//! The worker: what runs inside a Job (contract section 6, design decisions 7 to 11).
//!
//! | step | container | image | network | has the trace | does |
//! |---|---|---|---|---|---|
//! | `jct worker source` | `source` (init) | ours | yes | yes | fetches the repository, counts its tree, checks it out |
//! | `jct worker run` | `executor` | the executor's | no | no | confines the executor, supervises it, tells the recorder |
//! | `jct worker record` | `worker` | ours | no | yes | writes down what happens, takes the outputs, seals the trace |
//!
//! `jct worker launch` is what the supervisor starts: it takes its own rights away and becomes the executor. `jct worker
//! execute` is such an executor, of those that are built in.
//!
//! Whatever happens, a step that got as far as reading `task.json` leaves a sealed trace or hands it to the next step, and
//! says how it ended in its termination message. Nothing is written outside the trace folder and the work folder.

mod attempt;
pub mod change;
mod descriptors;
mod executors;
mod git;
mod launch;
mod link;
mod memory;
mod namespaces;
mod privileges;
mod process;
mod record;
mod redact;
mod sandbox;
mod source;
mod steps;
mod supervise;
mod termination;
mod trace;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::domain::{Id, TraceId};

/// The steps of a worker, as subcommands of `jct worker`.
#[derive(Clone, Debug, Subcommand)]
pub enum WorkerCommand {
    /// Fetch the source that the Task names and check it out (init container, with network)
    Source(SourceArgs),
    /// Supervise the executor, whatever its image is (without network, without the trace)
    Run(RunArgs),
    /// Record the attempt and seal its trace (without network)
    Record(RecordArgs),
    /// Give up rights and become a program: started by `run`, not by people
    #[command(hide = true)]
    Launch(LaunchArgs),
    /// Be an executor that is built in: started by `run`, not by people
    #[command(hide = true)]
    Execute(ExecuteArgs),
}

/// Which attempt this is, by what, and where: common to all steps.
#[derive(Clone, Debug, Args)]
pub struct TaskArgs {
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
    /// The executor's configuration
    #[arg(long, env = "JCT_EXECUTOR_SPEC", value_name = "JSON")]
    pub executor: String,
    /// Scratch folder that the containers share
    #[arg(long, env = "JCT_WORK_DIR", value_name = "DIR", default_value = "/work")]
    pub work_dir: PathBuf,
    /// The process that started this step, where that is not Kubernetes: the step is told to end when that one ends
    #[arg(long, env = "JCT_PARENT", value_name = "PID", hide = true)]
    pub parent: Option<i32>,
}

/// Where the attempt's trace is, and whose: common to `source` and `record`.
#[derive(Clone, Debug, Args)]
pub struct AttemptArgs {
    /// See [`TaskArgs`].
    #[command(flatten)]
    pub of: TaskArgs,
    /// SHA-256 of the task.json in the trace folder, 64 lower-case hex digits
    #[arg(long, env = "JCT_TASK_SHA256", value_name = "HEX")]
    pub task_sha256: String,
    /// Uid of the pod: the first one to come has the attempt
    #[arg(long, env = "JCT_POD_UID", value_name = "UID", default_value = "")]
    pub pod_uid: String,
    /// Name of the pod
    #[arg(long, env = "JCT_POD_NAME", value_name = "NAME", default_value = "")]
    pub pod_name: String,
    /// The attempt's folder of the trace volume; holds task.json already
    #[arg(long, env = "JCT_TRACE_DIR", value_name = "DIR", default_value = "/trace")]
    pub trace_dir: PathBuf,
    /// Where the termination message goes
    #[arg(long, env = "JCT_TERMINATION_LOG", value_name = "FILE", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
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
    /// Where to put this program for the container of the executor, whose image knows nothing of it
    #[arg(long, env = "JCT_TOOLS_DIR", value_name = "DIR")]
    pub tools_dir: Option<PathBuf>,
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

/// Arguments of `jct worker run`. The time budget comes from the Task.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// See [`TaskArgs`].
    #[command(flatten)]
    pub of: TaskArgs,
    /// The executor's scratch; `tmp` in the work folder when absent
    #[arg(long, env = "JCT_TMP_DIR", value_name = "DIR")]
    pub tmp_dir: Option<PathBuf>,
    /// What the executor may read and run besides; the whole image, but what is ours, when absent
    #[arg(long = "read", env = "JCT_SANDBOX_READS", value_name = "PATH", value_delimiter = ',')]
    pub reads: Vec<PathBuf>,
    /// Leave the executor no Unix sockets: where it shares a machine with others, their servers listen on such
    #[arg(long, env = "JCT_SANDBOX_NO_UNIX_SOCKETS", hide = true)]
    pub no_unix_sockets: bool,
    /// Give the executor namespaces of its own: where no pod is around it
    #[arg(long, hide = true)]
    pub namespaces: bool,
    /// Let the executor be root where this runs as root and there are no namespaces
    #[arg(long, hide = true)]
    pub as_root: bool,
    /// How long the recorder may take to appear, in seconds
    #[arg(long, env = "JCT_RECORDER_PATIENCE_SECONDS", value_name = "SECONDS", default_value_t = 300)]
    pub patience_seconds: u32,
}

/// Arguments of `jct worker record`.
#[derive(Clone, Debug, Args)]
pub struct RecordArgs {
    /// See [`AttemptArgs`].
    #[command(flatten)]
    pub attempt: AttemptArgs,
}

/// Arguments of `jct worker launch`.
#[derive(Clone, Debug, Args)]
pub struct LaunchArgs {
    /// What to give up
    #[arg(long, value_name = "JSON")]
    pub how: String,
    /// Program and arguments; none to print what can be enforced
    #[arg(last = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// Arguments of `jct worker execute`.
#[derive(Clone, Debug, Args)]
pub struct ExecuteArgs {
    /// Name of the executor
    #[arg(long, value_name = "NAME")]
    pub executor: String,
    /// The Task that runs
    #[arg(long, env = "JCT_TASK_FILE", value_name = "FILE")]
    pub task: PathBuf,
    /// The checkout
    #[arg(long, env = "JCT_WORKSPACE", value_name = "DIR")]
    pub source: PathBuf,
    /// The commit that is checked out
    #[arg(long, env = "JCT_COMMIT", value_name = "HEX")]
    pub commit: String,
    /// Where outputs go
    #[arg(long, env = "JCT_OUT", value_name = "DIR")]
    pub artifacts: PathBuf,
    /// Where the executor says how it ended
    #[arg(long, env = "JCT_RESULT_FILE", value_name = "FILE")]
    pub result: PathBuf,
}

impl WorkerCommand {
    /// Runs the step to its end. Exit code 0 is success; 1 a failure, told in the trace and the termination message.
    ///
    /// Starts a tokio runtime of its own where it needs one: not to be called from within another.
    pub fn run(self) -> ExitCode {
        // Nobody has anything open for a step. What is to be launched closes it itself.
        if let Err(error) = descriptors::close_inherited() {
            eprintln!("jct worker: what was left open cannot be closed: {error}");
            return ExitCode::FAILURE;
        }
        match self {
            Self::Source(args) => steps::source(&args),
            Self::Run(args) => steps::run(&args),
            Self::Record(args) => steps::record(&args),
            Self::Launch(args) => launch::launch(&args),
            Self::Execute(args) => executors::execute(&args),
        }
    }
}
