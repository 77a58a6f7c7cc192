//! `kubectl jct list`.

use clap::Args;
use jiff::Timestamp;

use crate::DONE;
use crate::cli::Output;
use crate::connect::Context;
use crate::rest;
use crate::show;
use crate::tasks::{encoded, text};

/// Arguments of `kubectl jct list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Of all namespaces, where you may list Tasks in all of them
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,

    /// Those that are so: pending, queued, running, completed, failed or cancelled
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,

    /// Those that do so: code_change, docs, analysis or ops
    #[arg(long, value_name = "OPERATION")]
    pub operation: Option<String>,

    /// Those on this repository, OWNER/NAME
    #[arg(long, value_name = "REPO")]
    pub repo: Option<String>,

    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,

    /// Form of the list
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// Runs it.
///
/// # Errors
/// If they may not be listed.
pub async fn run(args: &ListArgs, context: &Context) -> anyhow::Result<u8> {
    let most = args.limit as usize;
    let mut path = format!("/tasks?limit={}", most.min(1000));
    let namespace = (!args.all_namespaces).then_some(&context.namespace);
    for (name, value) in [
        ("namespace", namespace),
        ("status", args.status.as_ref()),
        ("operation", args.operation.as_ref()),
        ("target_repo", args.repo.as_ref()),
    ] {
        path.extend(value.map(|value| format!("&{name}={}", encoded(value))));
    }
    let tasks = rest::with(context, async |rest| rest.list(&path, most).await).await?;
    if args.output == Some(Output::Name) {
        tasks.iter().try_for_each(|task| super::put(&format!("task.jct.dev/{}\n", text(task, "name"))))?;
        return Ok(DONE);
    }
    if let Some(document) = show::document(&tasks.clone().into(), args.output)? {
        super::put(&document)?;
        return Ok(DONE);
    }
    if tasks.is_empty() {
        let place = namespace.map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
        eprintln!("No Tasks found{place}.");
        return Ok(DONE);
    }
    let wide = args.output == Some(Output::Wide);
    super::put(&show::task::table(&tasks, wide, args.all_namespaces, Timestamp::now(), context.style))?;
    Ok(DONE)
}
