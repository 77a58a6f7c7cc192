//! `kubectl jct logs`.

use clap::{Args, ValueEnum};

use crate::DONE;
use crate::connect::Context;
use crate::rest;
use crate::show::lines::Lines;
use crate::tasks::{self, text};

/// Arguments of `kubectl jct logs`.
#[derive(Args, Debug)]
pub struct LogsArgs {
    /// The Task: its name, or its id
    pub task: String,

    /// Until the Task ends
    #[arg(short, long)]
    pub follow: bool,

    /// What: what happened, or what the executor wrote
    #[arg(long, value_enum, default_value_t = Which::Trace)]
    pub stream: Which,

    /// Of this attempt; of the newest without
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,

    /// Begin with so many lines from the end
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub tail: Option<u32>,
}

/// A log of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// What happened.
    Trace,
    /// What the executor wrote to standard output.
    Stdout,
    /// What the executor wrote to standard error.
    Stderr,
}

/// Runs it.
///
/// # Errors
/// If there is no such log.
pub async fn run(args: &LogsArgs, context: &Context) -> anyhow::Result<u8> {
    rest::with(context, async |rest| {
        let task = tasks::find(context, rest, &args.task).await?;
        let stream = match args.stream {
            Which::Trace => "trace",
            Which::Stdout => "stdout",
            Which::Stderr => "stderr",
        };
        let mut path = format!("/tasks/{}/log?stream={stream}", text(&task, "id"));
        path.extend(args.attempt.map(|attempt| format!("&attempt={attempt}")));
        path.extend(args.tail.map(|lines| format!("&tail={lines}")));
        if args.follow {
            path.push_str("&follow=true");
        }
        let mut answer = rest.open(&path, &[]).await?;
        let mut lines = Lines::default();
        while let Some(piece) = answer.next().await? {
            // The API has made it harmless already; a terminal is not ruled whoever answers.
            match context.style.is_terminal {
                true => super::put(&lines.push(&piece))?,
                false => super::put_bytes(&piece)?,
            }
        }
        super::put(&lines.rest())?;
        Ok(DONE)
    })
    .await
}
