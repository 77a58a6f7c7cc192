//! The arguments.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::commands::{
    audit, cancel, completion, console, diff, doctor, get, list, logs, policy, report, retry, review, run, trace, why,
};

const EXIT_CODES: &str = "\
Exit codes:
  0    everything as asked; the Task completed
  1    the Task failed, or what was looked at is not as it should be
  2    nothing could be done: wrong arguments, no right, no answer
  3    the gate denies the Task
  4    the Task has not ended; it goes on
  130  the Task was cancelled";

/// Ask for Tasks, follow them, and read what they made, as the person of your kubeconfig
#[derive(Parser, Debug)]
#[command(name = "kubectl-jct", bin_name = "kubectl jct", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// Where to, and as whom.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// The kubeconfig; KUBECONFIG, else ~/.kube/config without
    #[arg(long, value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig; the current one without
    #[arg(long, value_name = "NAME", global = true)]
    pub context: Option<String>,

    /// The namespace of the Task; that of the context without
    #[arg(short, long, value_name = "NAME", global = true)]
    pub namespace: Option<String>,

    /// Act as this user, where you may impersonate them
    #[arg(long = "as", value_name = "USER", global = true)]
    pub as_user: Option<String>,

    /// Act as a member of this group, with --as; can be repeated
    #[arg(long = "as-group", value_name = "GROUP", requires = "as_user", global = true)]
    pub as_groups: Vec<String>,

    /// The namespace that JCT is installed in
    #[arg(long, env = "JCT_NAMESPACE", default_value = "jct-system", value_name = "NAME", global = true)]
    pub operator_namespace: String,

    /// The Service of its API
    #[arg(long, env = "JCT_API_SERVICE", default_value = "jct-api", value_name = "NAME", global = true)]
    pub service: String,

    /// Colours: on terminals, unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", global = true)]
    pub color: Colour,
}

/// When there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On terminals.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// More columns.
    Wide,
    /// JSON, as the API has it.
    Json,
    /// The same as YAML.
    Yaml,
    /// Names alone, as kubectl takes them.
    Name,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Ask for a Task, and follow it to its end
    Run(Box<run::RunArgs>),
    /// List Tasks, the newest first
    List(list::ListArgs),
    /// Show one Task
    Get(get::GetArgs),
    /// Show what happened in a Task, or what its executor wrote
    Logs(logs::LogsArgs),
    /// Read and check the traces of a Task
    #[command(subcommand)]
    Trace(trace::TraceCommand),
    /// Show the report of a Task
    Report(report::ReportArgs),
    /// Show the change that a Task made, or apply it to the repository that you stand in
    Diff(diff::DiffArgs),
    /// Tell the story of a Task: who asked, what was decided, what ran, what came out
    Why(why::WhyArgs),
    /// Search the audit log
    Audit(audit::AuditArgs),
    /// End a Task
    Cancel(cancel::CancelArgs),
    /// Ask for the work of an ended Task again
    Retry(retry::RetryArgs),
    /// Show what a Task has to show for its change, and approve it, reject it or send it back
    Review(review::ReviewArgs),
    /// Ask the gate
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Open the console in a browser, signed in
    Console(console::ConsoleArgs),
    /// Look whether everything is as it should be, and tell what to do
    Doctor(doctor::DoctorArgs),
    /// Serve agents that start this program by the Model Context Protocol, on standard input and output, as the person of the kubeconfig
    Mcp,
    /// Print what a shell needs to complete this command
    Completion(completion::CompletionArgs),
}

/// All of it, for what is generated.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_arguments_fit_together() {
        super::command().debug_assert();
    }
}
