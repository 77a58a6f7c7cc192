//! `kubectl jct policy`.

use clap::{Args, Subcommand};

use super::run::{Gate, ask, read_tasks};
use crate::connect::Context;
use crate::{DENIED, DONE};

/// What to ask the gate.
#[derive(Subcommand, Debug)]
pub enum PolicyCommand {
    /// Ask the cluster's gate about Tasks, without making any
    Test(TestArgs),
}

/// Arguments of `kubectl jct policy test`.
#[derive(Args, Debug)]
#[command(
    after_help = "It asks the API server for a dry run: quota and other webhooks count too. jct check asks a gate offline."
)]
pub struct TestArgs {
    /// Files with Tasks; - reads standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// If a file can't be read, or the API server does not answer.
pub async fn run(command: &PolicyCommand, context: &Context) -> anyhow::Result<u8> {
    let PolicyCommand::Test(args) = command;
    let mut code = DONE;
    for file in &args.files {
        for task in read_tasks(file)? {
            let name = task.called();
            match ask(context, &task, true).await? {
                Gate::LetIn { warnings, .. } => {
                    super::put(&format!("{file}: {name}: {}\n", context.style.green("let in")))?;
                    warnings.iter().try_for_each(|warning| super::put(&format!("  warning: {warning}\n")))?;
                }
                Gate::Denied(findings) => {
                    super::put(&format!("{file}: {name}: {}\n", context.style.red("denied")))?;
                    findings.iter().try_for_each(|finding| super::put(&format!("  {finding}\n")))?;
                    code = DENIED;
                }
            }
        }
    }
    Ok(code)
}
