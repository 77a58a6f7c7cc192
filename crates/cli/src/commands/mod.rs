//! One file for each command.

pub mod audit;
pub mod cancel;
pub mod completion;
pub mod console;
pub mod diff;
pub mod doctor;
mod follow;
pub mod get;
pub mod list;
pub mod logs;
pub mod mcp;
pub mod policy;
pub mod report;
pub mod retry;
pub mod review;
pub mod run;
pub mod trace;
pub mod why;

use std::io::{self, Write as _};

use crate::cli::{Cli, Command};
use crate::connect::Context;
use crate::rest::Answer;
use crate::show::Style;
use crate::show::lines::Lines;

/// Runs what was asked for; its exit code.
///
/// # Errors
/// If nothing could be done.
pub async fn run(Cli { global, command }: Cli) -> anyhow::Result<u8> {
    // Needs no cluster.
    if let Command::Completion(args) = &command {
        return completion::run(args);
    }
    let context = &Context::of(&global).await?;
    match command {
        Command::Run(args) => run::run(&args, context).await,
        Command::List(args) => list::run(&args, context).await,
        Command::Get(args) => get::run(&args, context).await,
        Command::Logs(args) => logs::run(&args, context).await,
        Command::Trace(command) => trace::run(&command, context).await,
        Command::Report(args) => report::run(&args, context).await,
        Command::Diff(args) => diff::run(&args, context).await,
        Command::Why(args) => why::run(&args, context).await,
        Command::Audit(args) => audit::run(&args, context).await,
        Command::Cancel(args) => cancel::run(&args, context).await,
        Command::Retry(args) => retry::run(&args, context).await,
        Command::Review(args) => review::run(&args, context).await,
        Command::Policy(command) => policy::run(&command, context).await,
        Command::Console(args) => console::run(&args, context).await,
        Command::Doctor(args) => doctor::run(&args, context).await,
        Command::Mcp => mcp::run(context).await,
        Command::Completion(args) => completion::run(&args),
    }
}

/// Writes to standard output, at once.
///
/// # Errors
/// If nobody reads it any more, or it is full.
fn put(text: &str) -> io::Result<()> {
    put_bytes(text.as_bytes())
}

/// Writes what the API answers, as it comes. The API has made logs harmless already; a terminal is not ruled whoever answers.
///
/// # Errors
/// If the answer breaks off, or nobody reads it any more.
async fn pass_on(mut answer: Answer, style: Style) -> anyhow::Result<()> {
    let mut lines = Lines::default();
    while let Some(piece) = answer.next().await? {
        match style.is_terminal {
            true => put(&lines.push(&piece))?,
            false => put_bytes(&piece)?,
        }
    }
    Ok(put(&lines.rest())?)
}

fn put_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
