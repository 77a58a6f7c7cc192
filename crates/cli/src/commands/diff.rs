//! `kubectl jct diff`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use clap::Args;

use super::report::artifact;
use crate::connect::Context;
use crate::rest;
use crate::show::diff;
use crate::tasks;
use crate::{DONE, FAILED};

/// Arguments of `kubectl jct diff`.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// The Task: its name, or its id
    pub task: String,

    /// Of this attempt; of the newest without
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,

    /// Apply it to the files of the repository that you stand in, by git apply: all of it, or nothing
    #[arg(long)]
    pub apply: bool,
}

/// Runs it.
///
/// # Errors
/// If there is no change, or git can't be asked.
pub async fn run(args: &DiffArgs, context: &Context) -> anyhow::Result<u8> {
    let patch = rest::with(context, async |rest| {
        let task = tasks::find(context, rest, &args.task).await?;
        artifact(rest, &task, args.attempt, "change.patch").await
    })
    .await?;
    if !args.apply {
        match context.style.is_terminal || context.style.colour {
            true => super::put(&diff::shown(&patch, context.style))?,
            false => super::put_bytes(&patch)?,
        }
        return Ok(DONE);
    }
    apply(&patch)
}

/// Has git apply the patch, below the top of the repository that we are in. It follows no links and leaves nothing half done.
fn apply(patch: &[u8]) -> anyhow::Result<u8> {
    let top = Command::new("git").args(["rev-parse", "--show-toplevel"]).output().context("cannot run git")?;
    if !top.status.success() {
        bail!("this is no checkout of a repository: change into one, and try again");
    }
    let top = String::from_utf8_lossy(&top.stdout).trim_end_matches('\n').to_owned();
    let mut git = Command::new("git")
        .args(["apply", "--binary", "--whitespace=nowarn", "-"])
        .current_dir(&top)
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run git")?;
    if let Some(mut input) = git.stdin.take() {
        // What git says of a patch that it does not read to its end is told by its exit.
        let _ = input.write_all(patch);
    }
    if !git.wait()?.success() {
        eprintln!(
            "The change does not fit what stands here: check out the commit that the Task ran on, or use git apply --3way."
        );
        return Ok(FAILED);
    }
    eprintln!("Applied to {top}: look at it with git diff.");
    Ok(DONE)
}
