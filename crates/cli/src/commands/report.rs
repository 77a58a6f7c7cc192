//! `kubectl jct report`.

use anyhow::bail;
use bytes::BytesMut;
use clap::Args;
use serde_json::Value;

use crate::DONE;
use crate::connect::Context;
use crate::rest::{self, Rest};
use crate::show::markdown;
use crate::tasks::{self, encoded, text};

/// The longest report that is shown, in bytes.
const MOST: usize = 16 << 20;

/// Arguments of `kubectl jct report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The Task: its name, or its id
    pub task: String,

    /// Of this attempt; of the newest without
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,

    /// As it was written, not for the terminal
    #[arg(long)]
    pub raw: bool,
}

/// Runs it.
///
/// # Errors
/// If there is no report.
pub async fn run(args: &ReportArgs, context: &Context) -> anyhow::Result<u8> {
    rest::with(context, async |rest| {
        let task = tasks::find(context, rest, &args.task).await?;
        let report = artifact(rest, &task, args.attempt, "report.md").await?;
        if args.raw {
            super::put_bytes(&report)?;
        } else {
            super::put(&markdown::shown(&report, context.style))?;
        }
        Ok(DONE)
    })
    .await
}

/// An artifact of an attempt, whole.
///
/// # Errors
/// If the attempt made none of this name.
pub async fn artifact(rest: &Rest, task: &Value, number: Option<u32>, name: &str) -> anyhow::Result<Vec<u8>> {
    let id = text(task, "id");
    let attempts = tasks::attempts(rest, id).await?;
    let attempt = tasks::attempt(&attempts, number)?;
    let path = format!("artifacts/{name}");
    let files = attempt["files"].as_array().into_iter().flatten();
    if !files.into_iter().any(|file| text(file, "path") == path) {
        let of = &attempt["attempt"];
        match attempt["sealed"] == true {
            true => {
                bail!("attempt {of} made no {name}; kubectl jct trace ls {} lists what it made", text(task, "name"))
            }
            false => bail!("attempt {of} has not ended with a sealed trace: what it is making is not to be read yet"),
        }
    }
    let path = format!("/tasks/{id}/trace/{}/{}", attempt["attempt"], encoded(&path));
    let mut answer = rest.open(&path, &[]).await?;
    let mut bytes = BytesMut::new();
    while let Some(piece) = answer.next().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MOST {
            bail!(
                "{name} has more than {} MiB: kubectl jct trace cat {} artifacts/{name}",
                MOST >> 20,
                text(task, "name")
            );
        }
    }
    Ok(bytes.to_vec())
}
