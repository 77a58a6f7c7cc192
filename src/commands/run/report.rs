//! What people and scripts are told. Whoever reads it may be gone, as after `| head`: that changes nothing about the Task.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{CANCELLED, NOT_RUN};
use crate::commands::output::{self, Output};
use crate::domain::shown::{plain, plain_lines};
use crate::domain::trace::Manifest as TraceManifest;
use crate::domain::{Finding, Phase};
use crate::local::{self, State};
use crate::signing::public_keys_file;
use crate::store::TaskRow;

/// Says something besides the outcome, on standard error.
pub fn say(what: impl Display) {
    let _ = writeln!(io::stderr(), "jct run: {}", plain_lines(&what.to_string()));
}

/// Says why nothing was run: every cause once, also where one quotes the next.
pub fn complain(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    say(text);
}

/// What is about to be told of a Task that was not run now.
pub fn state_note(row: &TaskRow) -> &'static str {
    if row.phase.is_terminal() { "this is how it ended" } else { "another process is at it" }
}

/// Tells why the gate refuses a Task.
///
/// # Errors
/// As [`outcome`].
pub fn refusal(form: Output, name: &str, findings: &[Finding]) -> anyhow::Result<()> {
    let mut text = Vec::new();
    match form {
        Output::Human => {
            writeln!(text, "Task {} is refused:", plain(name))?;
            findings.iter().try_for_each(|finding| writeln!(text, "  {}", plain(&finding.to_string())))?;
        }
        Output::Json => output::json(&mut text, &json!({"allowed": false, "violations": findings}))?,
    }
    print(&text).context("the Task is refused, but that cannot be printed")
}

/// Tells the outcome; gives the exit code.
///
/// # Errors
/// If standard output takes it not, for another reason than that nobody reads it any more.
pub fn outcome(form: Output, state: &State, row: &TaskRow) -> anyhow::Result<u8> {
    let trace = local::trace_folder(state, row);
    let mut text = Vec::new();
    match form {
        Output::Human => human(&mut text, state, row, trace.as_deref())?,
        Output::Json => {
            let mut shown = row.to_json();
            if let Value::Object(shown) = &mut shown {
                shown.insert("trace_folder".into(), json!(trace));
                shown.insert("record".into(), json!(format!("sqlite://{}", state.record().display())));
            }
            output::json(&mut text, &shown)?;
        }
    }
    print(&text).context("the Task is as recorded, but its outcome cannot be printed")?;
    Ok(match row.phase {
        Phase::Completed => 0,
        Phase::Cancelled => CANCELLED,
        Phase::Failed => 1,
        // Another process is at it.
        _ => NOT_RUN,
    })
}

fn human(out: &mut impl Write, state: &State, row: &TaskRow, trace: Option<&Path>) -> io::Result<()> {
    let manifest = trace.and_then(|trace| std::fs::read(trace.join("manifest.json")).ok());
    let manifest = manifest.and_then(|bytes| serde_json::from_slice::<TraceManifest>(&bytes).ok());
    let summary = manifest.as_ref().and_then(|manifest| manifest.result.as_ref()?.summary.as_deref());
    writeln!(out, "\nTask {} ({} of {}) is {}", row.id, row.task.operation, row.task.target.repo, row.phase)?;
    if let Some(error) = &row.error {
        writeln!(out, "  reason     {}: {}", error.reason, plain(&error.message))?;
    }
    if let Some(summary) = summary.filter(|_| row.error.is_none()) {
        writeln!(out, "  summary    {}", plain(summary))?;
    }
    if let Some(source) = manifest.as_ref().and_then(|manifest| manifest.source.as_ref()) {
        writeln!(out, "  commit     {}", source.commit)?;
    }
    let artifacts = manifest.iter().flat_map(|manifest| &manifest.files);
    let artifacts: BTreeMap<_, _> =
        artifacts.filter_map(|file| Some((file.path.strip_prefix("artifacts/")?, file.size_bytes))).collect();
    for (index, (name, bytes)) in artifacts.iter().take(10).enumerate() {
        writeln!(out, "  {:<10} {} ({bytes} bytes)", if index == 0 { "artifacts" } else { "" }, plain(name))?;
    }
    if artifacts.len() > 10 {
        writeln!(out, "  {:<10} and {} more", "", artifacts.len() - 10)?;
    }
    if let Some(trace) = trace {
        writeln!(out, "  trace      {}", trace.display())?;
    }
    writeln!(out, "  record     sqlite://{}", state.record().display())?;
    if let Some(trace) = trace {
        let keys = public_keys_file(state.root());
        writeln!(out, "Check it: jct trace verify --keys {} {}", keys.display(), trace.display())?;
    }
    Ok(())
}

fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}
