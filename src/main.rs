//! Arguments and dispatch.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "jct", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the custom resource definitions
    Crds,
    /// Run a step of a worker; used inside a Job
    #[command(subcommand)]
    Worker(Box<jct::worker::WorkerCommand>),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Crds => {
            for crd in jct::crd::all() {
                print!("---\n{}", serde_yaml::to_string(&crd).unwrap_or_default());
            }
            ExitCode::SUCCESS
        }
        Command::Worker(command) => command.run(),
    }
}
