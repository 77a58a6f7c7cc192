//! The worker: what runs inside a Job (contract section 6, design decisions 7 to 11).
//!
//! | step | container | image | network | has the trace | does |
//! |---|---|---|---|---|---|
//! | `jct worker source` | `source` (init) | ours | yes | yes | fetches the repository, counts its tree, checks it out |
//! | `jct worker run` | `executor` | the executor's | no | no | confines the executor, supervises it, tells the recorder |
//! | `jct worker record` | `worker` | ours | no | yes | writes down what happens, takes the outputs, seals the trace |
//! | `jct-relay`, a program of its own | `model` | ours | to the broker | no | passes on what the executor asks models |
//!
//! `jct worker launch` is what the supervisor starts: it takes its own rights away and becomes the executor. `jct worker
//! execute` is such an executor, of those that are built in.
//!
//! Whatever happens, a step that got as far as reading `task.json` leaves a sealed trace or hands it to the next step, and
//! says how it ended in its termination message. Nothing is written outside the trace folder and the work folder.

mod attempt;
mod change;
mod deliver;
mod descriptors;
mod launch;
mod link;
mod memory;
mod namespaces;
mod privileges;
mod record;
mod sandbox;
mod seal;
mod source;
mod steps;
mod supervise;
mod termination;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use jct_domain::forge::AgentTrailer;
use jct_domain::url::SOURCE_URL;
use jct_domain::{Id, TraceId};

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
    /// Answer git, which asks for a credential: started by `source`, not by people
    #[command(hide = true)]
    Credential(CredentialArgs),
    /// Fetch the commit that a change is made on, from the forge that it is delivered to
    DeliverBase(deliver::RemoteArgs),
    /// Hold a sealed change against its digests, and make a commit of it on its base
    DeliverCheck(deliver::CheckArgs),
    /// Push the checked commit to its branch
    DeliverPush(deliver::PushArgs),
    /// Be an executor that is built in: started by `run`, not by people
    #[command(hide = true)]
    Execute(ExecuteArgs),
}

/// What an argument says, or what the file says that it names after an `@`.
fn text_or_file(argument: &str) -> std::io::Result<String> {
    argument.strip_prefix('@').map_or_else(|| Ok(argument.to_owned()), std::fs::read_to_string)
}

/// Which attempt this is, by what, and where: common to all steps.
#[derive(Clone, Debug, Args)]
pub struct TaskArgs {
    /// Id of the Task
    #[arg(long, value_name = "ULID")]
    pub task_id: Id,
    /// Trace id of the Task
    #[arg(long, value_name = "ID")]
    pub trace_id: TraceId,
    /// Namespace of the Task (not that of the pod)
    #[arg(long, value_name = "NAME")]
    pub namespace: String,
    /// Number of the attempt, from 1
    #[arg(long, value_name = "N")]
    pub attempt: u32,
    /// The executor's configuration; with an @ before it, the file that holds it: command lines are for everybody to see
    #[arg(long, value_name = "JSON", value_parser = text_or_file)]
    pub executor: String,
    /// Scratch folder that the containers share
    #[arg(long, value_name = "DIR", default_value = "/work")]
    pub work_dir: PathBuf,
    /// The process that started this step, where that is not Kubernetes: the step is told to end when that one ends
    #[arg(long, value_name = "PID", hide = true)]
    pub parent: Option<i32>,
}

/// Where the attempt's trace is, and whose: common to `source` and `record`.
#[derive(Clone, Debug, Args)]
pub struct AttemptArgs {
    /// See [`TaskArgs`].
    #[command(flatten)]
    pub of: TaskArgs,
    /// SHA-256 of the task.json in the trace folder, 64 lower-case hex digits
    #[arg(long, value_name = "HEX")]
    pub task_sha256: String,
    /// Uid of the pod: the first one to come has the attempt
    #[arg(long, value_name = "UID", default_value = "")]
    pub pod_uid: String,
    /// Name of the pod
    #[arg(long, value_name = "NAME", default_value = "")]
    pub pod_name: String,
    /// The attempt's folder of the trace volume; holds task.json already
    #[arg(long, value_name = "DIR", default_value = "/trace")]
    pub trace_dir: PathBuf,
    /// Where the termination message goes
    #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
    /// How the message of a change's commit names the agent: none, Co-authored-by, Assisted-by or Generated-by
    #[arg(long, value_name = "WORD", default_value = "none", value_parser = agent_trailer)]
    pub agent_trailer: AgentTrailer,
    /// The agent's name and address there; the executor's name when absent
    #[arg(long, value_name = "NAME <ADDRESS>")]
    pub agent: Option<String>,
}

fn agent_trailer(word: &str) -> Result<AgentTrailer, String> {
    AgentTrailer::parse(word).ok_or_else(|| format!("must be one of {}", AgentTrailer::NAMES.join(", ")))
}

/// Arguments of `jct worker source`. The ref and the path come from task.json.
#[derive(Clone, Debug, Args)]
pub struct SourceArgs {
    /// See [`AttemptArgs`].
    #[command(flatten)]
    pub attempt: AttemptArgs,
    /// URL of the repository. In the environment, where it may hold a password: arguments can be read by everybody on a node
    #[arg(long, env = SOURCE_URL, value_name = "URL", hide_env_values = true)]
    pub url: String,
    /// Where to put this program for the container of the executor, whose image knows nothing of it
    #[arg(long, value_name = "DIR")]
    pub tools_dir: Option<PathBuf>,
    /// Schemes that a URL may have: of https, and where that is wanted http, git, file
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "https")]
    pub protocols: Vec<String>,
    /// The forge that has the repository, where one is configured: for messages
    #[arg(long, value_name = "NAME")]
    pub forge: Option<String>,
    /// Where the Secret with its credential is mounted
    #[arg(long, value_name = "DIR", requires = "forge")]
    pub credential: Option<PathBuf>,
    /// Who alone vouches for its host: certificates in PEM
    #[arg(long, value_name = "PEM")]
    pub authorities: Option<String>,
    /// Greatest number of files in the tree
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub max_files: u64,
    /// Greatest size of the tree's files, and of what is fetched, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 30)]
    pub max_bytes: u64,
    /// How long all of this may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout_seconds: u32,
}

/// Arguments of `jct worker credential`.
#[derive(Clone, Debug, Args)]
pub struct CredentialArgs {
    /// Where the Secret is mounted
    #[arg(long, value_name = "DIR")]
    pub folder: PathBuf,
    /// The scheme and host that alone may be told
    #[arg(long, value_name = "URL")]
    pub origin: String,
    /// What git asks for: get, store or erase
    pub operation: String,
}

/// Arguments of `jct worker run`. The time budget comes from the Task.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// See [`TaskArgs`].
    #[command(flatten)]
    pub of: TaskArgs,
    /// The executor's scratch; `tmp` in the work folder when absent
    #[arg(long, value_name = "DIR")]
    pub tmp_dir: Option<PathBuf>,
    /// What the executor may read and run besides; the whole image, but what is ours, when absent
    #[arg(long = "read", value_name = "PATH", value_delimiter = ',')]
    pub reads: Vec<PathBuf>,
    /// Leave the executor no Unix sockets: where it shares a machine with others, their servers listen on such
    #[arg(long, hide = true)]
    pub no_unix_sockets: bool,
    /// Where the executor finds programs: what its image says
    #[arg(long, value_name = "LIST", hide = true)]
    pub path: Option<std::ffi::OsString>,
    /// Give the executor namespaces of its own: where no pod is around it
    #[arg(long, hide = true)]
    pub namespaces: bool,
    /// Let the executor be root where this runs as root and there are no namespaces
    #[arg(long, hide = true)]
    pub as_root: bool,
    /// How long the recorder may take to appear, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
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

impl From<ExecuteArgs> for jct_executors::Invocation {
    fn from(args: ExecuteArgs) -> Self {
        let ExecuteArgs { executor, task, source, commit, artifacts, result } = args;
        Self { executor, task_file: task, source, commit, artifacts, result_file: result, git: memory::limited_git }
    }
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
            Self::Credential(args) => source::credential::answer(&args),
            Self::DeliverBase(args) => deliver::base(&args),
            Self::DeliverCheck(args) => deliver::check(&args),
            Self::DeliverPush(args) => deliver::push(&args),
            Self::Execute(args) => jct_executors::execute(&args.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(subcommand)]
        _command: WorkerCommand,
    }

    /// An executor's image may set any variable: what a step does is not to depend on it.
    #[test]
    fn settings_are_arguments_and_never_of_the_environment() {
        let cli = Cli::command();
        let mut seen = 0;
        let mut from_environment = Vec::new();
        for step in cli.get_subcommands() {
            for argument in step.get_arguments() {
                seen += 1;
                let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
                from_environment.extend(variable.map(|name| format!("{} {name}", step.get_name())));
            }
        }
        assert_eq!(from_environment, ["source JCT_SOURCE_URL"], "the source runs in our image, before the executor");
        assert!(seen > 30, "all of them were seen: {seen}");
    }
}
