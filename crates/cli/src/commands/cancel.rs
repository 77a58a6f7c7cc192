//! `kubectl jct cancel`.

use clap::Args;
use jct_domain::shown::plain;

use super::follow::{Following, follow};
use crate::DONE;
use crate::connect::Context;
use crate::rest;
use crate::tasks::{self, text};

/// Arguments of `kubectl jct cancel`.
#[derive(Args, Debug)]
pub struct CancelArgs {
    /// The Task: its name, or its id
    pub task: String,

    /// Wait until it has ended
    #[arg(long)]
    pub wait: bool,
}

/// Runs it.
///
/// # Errors
/// If there is no such Task, it has ended, or it may not be ended.
pub async fn run(args: &CancelArgs, context: &Context) -> anyhow::Result<u8> {
    rest::with(context, async |rest| {
        let task = tasks::find(context, rest, &args.task).await?;
        rest.post(&format!("/tasks/{}/cancel", text(&task, "id"))).await?;
        super::put(&format!("Task {} is being cancelled.\n", plain(text(&task, "name"))))?;
        if !args.wait {
            return Ok(DONE);
        }
        let ended = follow(context, rest, &task, Following::Quiet).await?;
        super::put(&format!("Task {} is {}.\n", plain(text(&ended, "name")), plain(text(&ended, "status"))))?;
        // That it was cancelled is what was asked for.
        Ok(if text(&ended, "status") == "cancelled" { DONE } else { tasks::exit_code(&ended) })
    })
    .await
}
