//! The only program in the containers of a Job: the steps of a worker, and no command for people.

use std::process::ExitCode;

use clap::Parser;
use jct_worker::WorkerCommand;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The worker of JCT; started by Kubernetes, not by people
#[derive(Parser)]
#[command(name = "jct-worker", version, propagate_version = true)]
enum Program {
    // As in `jct`, which is its own worker where there is no cluster: both start themselves again in the same words.
    /// The steps of a worker Job
    #[command(subcommand)]
    Worker(Box<WorkerCommand>),
}

fn main() -> ExitCode {
    let Program::Worker(command) = Program::parse();
    command.run()
}
