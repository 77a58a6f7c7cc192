//! Arguments and dispatch.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use jct::commands::{audit, check, db, forge, keys, release_finalizers, retention, run, tasks, trace};
use jct::domain::shown::plain_lines;
use jct::runtime::settings::LogFormat;
use jct::runtime::{Settings, operator, telemetry};
use jct::worker::WorkerCommand;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads that carry tasks, on however few processors. Reading a large object takes one for a while: with two of them the webhook's
/// connections would wait for that.
const LEAST_THREADS: usize = 4;

/// The control tower for AI-assisted development work on Kubernetes
#[derive(Parser)]
#[command(name = "jct", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the controller, the admission webhook and the HTTP API
    Operator(Box<Settings>),
    /// The steps of a worker Job; started by Kubernetes, not by people
    #[command(subcommand)]
    Worker(Box<WorkerCommand>),
    /// Run a Task on this machine, without a cluster
    Run(Box<run::RunArgs>),
    /// Ask the policy gate about manifests, offline
    Check(check::CheckArgs),
    /// Print the custom resource definitions
    Crds,
    /// Show or verify the audit log
    Audit(Box<audit::AuditArgs>),
    /// Migrate, check, export and import the database
    Db(db::DbArgs),
    /// Check traces offline
    #[command(subcommand)]
    Trace(trace::TraceCommand),
    /// Decide about Tasks whose record was lost
    #[command(subcommand)]
    Tasks(tasks::TasksCommand),
    /// Show what retention would remove
    #[command(subcommand)]
    Retention(retention::RetentionCommand),
    /// Test forges and their credentials
    #[command(subcommand)]
    Forge(forge::ForgeCommand),
    /// Show or rotate the keys that provenance is signed with
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Take JCT's finalizer off every Task and work object, as part of uninstalling
    ReleaseFinalizers(release_finalizers::ReleaseArgs),
}

fn main() -> ExitCode {
    // Reqwest-like clients choose a provider by themselves; rustls with ring alone has to be told.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = match Cli::parse().command {
        Command::Operator(settings) => operate(*settings),
        Command::Worker(command) => return command.run(),
        Command::Run(args) => {
            telemetry::start(LogFormat::Text, false);
            return run::run(&args);
        }
        Command::Check(args) => return check::run(&args),
        Command::Crds => print_crds(),
        Command::Audit(args) => block_on(audit::run(*args)),
        Command::Db(args) => block_on(db::run(args)),
        Command::Trace(command) => return trace::run(&command),
        Command::Tasks(command) => block_on(tasks::run(command)),
        Command::Retention(command) => block_on(retention::run(command)),
        Command::Forge(command) => block_on(forge::run(command)),
        Command::Keys(command) => {
            telemetry::start(LogFormat::Text, false);
            block_on(keys::run(command))
        }
        Command::ReleaseFinalizers(args) => {
            telemetry::start(LogFormat::Text, false);
            block_on(release_finalizers::run(args))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads it, such as `| head`, has enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jct: {}", plain_lines(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let of_io = |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<io::Error>().map(io::Error::kind);
    error.chain().any(|cause| of_io(cause) == Some(io::ErrorKind::BrokenPipe))
}

fn operate(settings: Settings) -> anyhow::Result<()> {
    settings.check()?;
    telemetry::start(settings.log_format, settings.debug);
    // Most of what a page of 2 MiB would hold is empty: without this the operator takes half as much again.
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages cannot be done without");
    }
    block_on(operator::run(settings))
}

fn print_crds() -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for crd in jct::crd::all() {
        write!(out, "---\n{}", serde_yaml::to_string(&crd)?)?;
    }
    Ok(())
}

fn block_on(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).max(LEAST_THREADS);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all().build().context("cannot start the runtime")?.block_on(future)
}
