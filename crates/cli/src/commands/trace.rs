//! `kubectl jct trace`.

mod unpack;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jct_domain::shown::plain;
use jct_domain::trace::folder;
use jct_trace::{Checked, Verdict, verify};
use serde_json::Value;

use crate::cli::Output;
use crate::connect::Context;
use crate::rest::{self, Rest};
use crate::show::table::Table;
use crate::show::{self, Style};
use crate::tasks::{self, encoded, text};
use crate::{DONE, FAILED};

/// What to do with the traces of a Task.
#[derive(Subcommand, Debug)]
pub enum TraceCommand {
    /// List the attempts and their files
    Ls(LsArgs),
    /// Write a file of a trace to standard output
    Cat(CatArgs),
    /// Save a trace, unpacked
    Download(DownloadArgs),
    /// Check that a trace is what was sealed and signed, on this machine
    Verify(OfTask),
}

/// Which trace.
#[derive(Args, Debug)]
pub struct OfTask {
    /// The Task: its name, or its id
    pub task: String,

    /// Of this attempt; of the newest without
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,
}

/// Arguments of `kubectl jct trace ls`.
#[derive(Args, Debug)]
pub struct LsArgs {
    /// The Task: its name, or its id
    pub task: String,

    /// Form of the list
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// Arguments of `kubectl jct trace cat`.
#[derive(Args, Debug)]
pub struct CatArgs {
    /// Which trace.
    #[command(flatten)]
    pub of: OfTask,

    /// The file, as kubectl jct trace ls names it
    pub path: String,
}

/// Arguments of `kubectl jct trace download`.
#[derive(Args, Debug)]
pub struct DownloadArgs {
    /// Which trace.
    #[command(flatten)]
    pub of: OfTask,

    /// The folder that the trace is put into, as TASK-ATTEMPT
    #[arg(short, long, value_name = "FOLDER", default_value = ".")]
    pub directory: PathBuf,

    /// Save the archive as it comes, TASK-ATTEMPT.tar.gz
    #[arg(long)]
    pub archive: bool,
}

/// Runs it.
///
/// # Errors
/// If there is no such trace.
pub async fn run(command: &TraceCommand, context: &Context) -> anyhow::Result<u8> {
    rest::with(context, async |rest| match command {
        TraceCommand::Ls(args) => ls(args, context, rest).await,
        TraceCommand::Cat(args) => cat(args, context, rest).await,
        TraceCommand::Download(args) => download(args, context, rest).await,
        TraceCommand::Verify(args) => check(args, context, rest).await,
    })
    .await
}

async fn ls(args: &LsArgs, context: &Context, rest: &Rest) -> anyhow::Result<u8> {
    let task = tasks::find(context, rest, &args.task).await?;
    let attempts = tasks::attempts(rest, text(&task, "id")).await?;
    let shown = match show::document(&attempts.clone().into(), args.output)? {
        Some(document) => document,
        None => listing(&attempts, args.output, context.style),
    };
    super::put(&shown)?;
    Ok(DONE)
}

fn listing(attempts: &[Value], output: Option<Output>, style: Style) -> String {
    let files = |attempt: &Value| attempt["files"].as_array().cloned().unwrap_or_default();
    if output == Some(Output::Name) {
        let paths = attempts.iter().flat_map(files).map(|file| format!("{}\n", plain(text(&file, "path"))));
        return paths.collect();
    }
    let mut shown = String::new();
    for attempt in attempts {
        let state = match (attempt["sealed"] == true, attempt["removed_at"].is_null()) {
            (_, false) => "removed by retention",
            (true, _) => "sealed",
            (false, _) => "not sealed",
        };
        let outcome = attempt["outcome"].as_str().map_or_else(|| "running".to_owned(), plain);
        shown.push_str(&format!("attempt {}: {}, {state}\n", attempt["attempt"], style.status(&outcome)));
        let mut table = Table::new(if output == Some(Output::Wide) {
            &["PATH", "SIZE", "KIND", "SHA256", "MEDIA TYPE"]
        } else {
            &["PATH", "SIZE", "KIND"]
        });
        for file in files(attempt) {
            let field = |field: &str| plain(file[field].as_str().unwrap_or("-"));
            let mut row = vec![
                field("path").into(),
                show::bytes(file["size_bytes"].as_u64().unwrap_or_default()).into(),
                field("kind").into(),
            ];
            if output == Some(Output::Wide) {
                row.extend([field("sha256").into(), field("media_type").into()]);
            }
            table.row(row);
        }
        shown.push_str(&table.text());
    }
    shown
}

async fn cat(args: &CatArgs, context: &Context, rest: &Rest) -> anyhow::Result<u8> {
    let task = tasks::find(context, rest, &args.of.task).await?;
    let attempts = tasks::attempts(rest, text(&task, "id")).await?;
    let attempt = tasks::attempt(&attempts, args.of.attempt)?;
    let path = format!("/tasks/{}/trace/{}/{}", text(&task, "id"), attempt["attempt"], encoded(&args.path));
    super::pass_on(rest.open(&path, &[]).await?, context.style).await?;
    Ok(DONE)
}

async fn download(args: &DownloadArgs, context: &Context, rest: &Rest) -> anyhow::Result<u8> {
    let (task, attempt) = of(&args.of, context, rest).await?;
    let name = format!("{}-{attempt}", text(&task, "name"));
    if args.archive {
        let target = args.directory.join(format!("{name}.tar.gz"));
        let mut file = File::create_new(&target).with_context(|| format!("cannot make {}", target.display()))?;
        save(rest, &task, attempt, &mut file).await?;
        super::put(&format!("{}\n", target.display()))?;
        return Ok(DONE);
    }
    let target = args.directory.join(&name);
    if target.exists() {
        bail!("{} is there already", target.display());
    }
    // Beside where it goes, so that it is there as a whole or not at all.
    let aside = tempfile::tempdir_in(&args.directory)
        .with_context(|| format!("cannot make a folder in {}", args.directory.display()))?;
    let found = unpacked(rest, &task, attempt, aside.path()).await?;
    fs::rename(&found, &target).with_context(|| format!("cannot make {}", target.display()))?;
    super::put(&format!("{}\n", target.display()))?;
    Ok(DONE)
}

async fn check(args: &OfTask, context: &Context, rest: &Rest) -> anyhow::Result<u8> {
    let (task, attempt) = of(args, context, rest).await?;
    let aside = tempfile::tempdir().context("cannot make a folder to check it in")?;
    let found = unpacked(rest, &task, attempt, aside.path()).await?;
    let keys = rest.get("/keys").await.context("cannot have the installation's public keys")?;
    let keys =
        jct_signing::public_keys(&serde_json::to_vec(&keys)?).context("the installation's public keys are none")?;
    let recorded = tasks::attempts(rest, text(&task, "id")).await?;
    let recorded = text(tasks::attempt(&recorded, Some(attempt))?, "manifest_sha256").to_owned();
    let manifest = fs::read(found.join("manifest.json")).unwrap_or_default();
    let is_recorded = jct_domain::id::sha256_hex(&manifest) == recorded;
    let mut all: Vec<Checked> = Vec::new();
    verify(&found, Some(&keys), &mut |checked| all.push(checked))?;
    let mut good = !all.is_empty() && is_recorded;
    for checked in &all {
        good &= checked.verdict == Verdict::Good;
        let signed = checked.keyid.as_ref().map(|key| format!(", signed by {}", plain(key))).unwrap_or_default();
        super::put(&format!("attempt {attempt}: {} files{signed}\n", checked.files))?;
        for line in checked.problems.iter().chain(&checked.notes) {
            super::put(&format!("  {}\n", plain(line)))?;
        }
    }
    if !is_recorded {
        super::put("  the manifest is not the one that the record knows\n")?;
    }
    let verdict = if good { context.style.green("good") } else { context.style.red("NOT what was sealed and signed") };
    super::put(&format!("{verdict}\n"))?;
    Ok(if good { DONE } else { FAILED })
}

async fn of(args: &OfTask, context: &Context, rest: &Rest) -> anyhow::Result<(Value, u32)> {
    let task = tasks::find(context, rest, &args.task).await?;
    let attempts = tasks::attempts(rest, text(&task, "id")).await?;
    let number = tasks::attempt(&attempts, args.attempt)?["attempt"].as_u64();
    let number = number.and_then(|number| u32::try_from(number).ok()).context("the attempt has no number")?;
    Ok((task, number))
}

async fn save(rest: &Rest, task: &Value, attempt: u32, file: &mut File) -> anyhow::Result<()> {
    let mut answer = rest.open(&format!("/tasks/{}/trace/{attempt}.tar.gz", text(task, "id")), &[]).await?;
    while let Some(piece) = answer.next().await? {
        file.write_all(&piece)?;
    }
    Ok(())
}

/// The folder of an attempt, below `into` as on the trace volume.
async fn unpacked(rest: &Rest, task: &Value, attempt: u32, into: &Path) -> anyhow::Result<PathBuf> {
    let id = text(task, "id").parse().ok().context("the Task has no id")?;
    let below = folder(text(task, "namespace"), id, attempt);
    let mut archive = tempfile::tempfile_in(into)?;
    save(rest, task, attempt, &mut archive).await?;
    let target = into.join("trace");
    let found = target.join(below);
    let unpacked = tokio::task::spawn_blocking(move || unpack::unpack(archive, &target)).await?;
    unpacked.context("the archive is broken")?;
    Ok(found)
}
