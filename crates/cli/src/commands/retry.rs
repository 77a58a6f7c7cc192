//! `kubectl jct retry`.

use anyhow::bail;
use clap::Args;
use jct_domain::shown::plain;

use super::follow::to_the_end;
use crate::DONE;
use crate::cli::Output;
use crate::connect::Context;
use crate::rest;
use crate::show;
use crate::tasks::{self, text};

/// Arguments of `kubectl jct retry`.
#[derive(Args, Debug)]
pub struct RetryArgs {
    /// The Task: its name, or its id
    pub task: String,

    /// Do not follow the new Task
    #[arg(long)]
    pub no_follow: bool,

    /// Form of the new Task; it is followed on standard error then
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// Runs it.
///
/// # Errors
/// If there is no such Task, it has not ended, or no new one may be made.
pub async fn run(args: &RetryArgs, context: &Context) -> anyhow::Result<u8> {
    rest::with(context, async |rest| {
        let first = tasks::find(context, rest, &args.task).await?;
        let made = rest.post(&format!("/tasks/{}/retry", text(&first, "id"))).await?;
        let task = &made["task"];
        if text(task, "id").is_empty() {
            bail!("the API tells of no new Task");
        }
        eprintln!("Task {} is made, in place of {}.", plain(text(task, "name")), plain(text(&first, "name")));
        for warning in made["warnings"].as_array().into_iter().flatten() {
            eprintln!("Warning: {}", plain(warning.as_str().unwrap_or_default()));
        }
        if !args.no_follow {
            return to_the_end(context, rest, task, args.output).await;
        }
        match (args.output, show::document(task, args.output)?) {
            (_, Some(document)) => super::put(&document)?,
            (Some(Output::Name) | None, None) => super::put(&format!("task.jct.dev/{}\n", text(task, "name")))?,
            (_, None) => super::put(&show::task::detail(task, context.style))?,
        }
        Ok(DONE)
    })
    .await
}
