//! `kubectl jct why`.

use clap::Args;
use serde_json::json;

use crate::DONE;
use crate::cli::Output;
use crate::connect::Context;
use crate::rest;
use crate::show;
use crate::tasks::{self, encoded, text};

/// Arguments of `kubectl jct why`.
#[derive(Args, Debug)]
pub struct WhyArgs {
    /// The Task: its name, or its id
    pub task: String,

    /// json or yaml: the story as the API has it
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// Runs it.
///
/// # Errors
/// If there is no such Task.
pub async fn run(args: &WhyArgs, context: &Context) -> anyhow::Result<u8> {
    let (task, story) = rest::with(context, async |rest| {
        let task = tasks::find(context, rest, &args.task).await?;
        let story = rest.get(&format!("/trace/{}", encoded(text(&task, "trace_id")))).await?;
        Ok((task, story))
    })
    .await?;
    let shown = match show::document(&json!({"task": task, "story": story}), args.output)? {
        Some(document) => document,
        None => show::why::shown(&task, &story, context.style),
    };
    super::put(&shown)?;
    Ok(DONE)
}
