//! `kubectl jct get`.

use clap::Args;
use jiff::Timestamp;

use crate::DONE;
use crate::cli::Output;
use crate::connect::Context;
use crate::rest;
use crate::show;
use crate::tasks::{self, text};

/// Arguments of `kubectl jct get`.
#[derive(Args, Debug)]
pub struct GetArgs {
    /// The Task: its name, or its id
    pub task: String,

    /// Form of the Task
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// Runs it.
///
/// # Errors
/// If there is no such Task.
pub async fn run(args: &GetArgs, context: &Context) -> anyhow::Result<u8> {
    let (task, page) = rest::with(context, async |rest| {
        let task = tasks::find(context, rest, &args.task).await?;
        let page = tasks::page(rest, &task).await;
        anyhow::Ok((task, page))
    })
    .await?;
    let shown = match args.output {
        Some(Output::Name) => format!("task.jct.dev/{}\n", text(&task, "name")),
        Some(Output::Wide) => show::task::table(&[task], true, true, Timestamp::now(), context.style),
        output => match show::document(&task, output)? {
            Some(document) => document,
            None => format!("{}{}", show::task::detail(&task, context.style), show::task::page(page.as_deref())),
        },
    };
    super::put(&shown)?;
    Ok(DONE)
}
