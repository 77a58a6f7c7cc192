//! `jct trace verify`: checks traces offline, with nothing but their folders and public keys.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{Output, json};
use super::trust::keys_in_file;
use crate::domain::shown::{plain, plain_lines};
use crate::trace::{Checked, State, Verdict, verify};

/// What to do with traces.
#[derive(Subcommand, Clone, Debug)]
pub enum TraceCommand {
    /// Check that traces are what was sealed and signed
    Verify(VerifyArgs),
}

/// Arguments of `jct trace verify`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Exit codes: 0 all is good; 1 something is wrong; 2 something cannot be read; 3 nothing is wrong \
                        with the files, but without --keys no signature was checked"
)]
pub struct VerifyArgs {
    /// The folder of an attempt, or one above: then every attempt below it is checked
    #[arg(value_name = "PATH")]
    pub path: PathBuf,

    /// The public keys to trust, as a JSON Web Key Set (`jct keys show`, GET /keys); - reads standard input
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,

    /// Form of the result
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    pub output: Output,
}

/// How many attempts were judged how.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Total {
    checked: usize,
    good: usize,
    unchecked: usize,
    bad: usize,
    unreadable: usize,
    /// Set aside to be removed: not among those that were checked.
    removed: usize,
    /// Of all, those that the operator marked as incomplete.
    incomplete: usize,
}

/// Runs a command on traces. [`VerifyArgs`] tells the exit codes.
pub fn run(command: &TraceCommand) -> ExitCode {
    let TraceCommand::Verify(args) = command;
    match run_verify(args) {
        Ok(total) => ExitCode::from(exit_code(total)),
        Err(error) => {
            eprintln!("jct trace verify: {}", plain_lines(&error));
            ExitCode::from(2)
        }
    }
}

fn exit_code(total: Total) -> u8 {
    match total {
        Total { bad: 1.., .. } => 1,
        Total { unreadable: 1.., .. } => 2,
        Total { unchecked: 1.., .. } => 3,
        _ => 0,
    }
}

fn run_verify(args: &VerifyArgs) -> Result<Total, String> {
    let keys = args.keys.as_deref().map(keys_in_file).transpose()?;
    let mut out = io::stdout().lock();
    let (mut total, mut attempts, mut written) = (Total::default(), Vec::new(), Ok(()));
    let mut report = |checked: Checked| {
        total.count(&checked);
        match args.output {
            Output::Human if written.is_ok() => written = human(&mut out, &checked),
            Output::Human => {}
            Output::Json => attempts.push(checked),
        }
    };
    verify(&args.path, keys.as_deref(), &mut report).map_err(|error| format!("{}: {error}", args.path.display()))?;
    let written = written.and_then(|()| match args.output {
        Output::Human => summary(&mut out, &total),
        Output::Json => {
            let result =
                serde_json::json!({"attempts": attempts, "total": total, "signatures_checked": keys.is_some()});
            json(&mut out, &result)
        }
    });
    // Who reads it, such as `| head`, may have enough: the verdict is the same.
    let written = written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) });
    written.map_err(|error| format!("cannot write the result: {error}"))?;
    if keys.is_none() {
        eprintln!("jct trace verify: no signature was checked: give the operator's public keys with --keys");
    }
    Ok(total)
}

impl Total {
    fn count(&mut self, checked: &Checked) {
        self.checked += usize::from(checked.verdict != Verdict::Removed);
        let place = match checked.verdict {
            Verdict::Good => &mut self.good,
            Verdict::Unchecked => &mut self.unchecked,
            Verdict::Bad => &mut self.bad,
            Verdict::Unreadable => &mut self.unreadable,
            Verdict::Removed => &mut self.removed,
        };
        *place += 1;
        self.incomplete += usize::from(checked.state == State::Incomplete);
    }
}

fn human(out: &mut impl Write, checked: &Checked) -> io::Result<()> {
    let judged = match checked.verdict {
        Verdict::Good => "good",
        Verdict::Unchecked => "unchecked",
        Verdict::Bad => "BAD",
        Verdict::Unreadable => "UNREADABLE",
        Verdict::Removed => "REMOVED",
    };
    // What somebody else named may hold control characters.
    let path = plain(&checked.path.to_string_lossy());
    let outcome = checked.outcome.as_deref().map(plain);
    let details = match (checked.state, &checked.keyid) {
        (State::Complete, keyid) => {
            let signed = keyid.as_ref().map(|keyid| format!(", signed by {keyid}")).unwrap_or_default();
            format!("  {}, {} files{signed}", outcome.unwrap_or_default(), checked.files)
        }
        (State::Incomplete, keyid) => {
            let signed = keyid.as_ref().map(|keyid| format!(", signed by {keyid}")).unwrap_or_default();
            format!("  incomplete: its files are bound by nothing{signed}")
        }
        (State::Unsealed, _) => String::new(),
    };
    writeln!(out, "{judged:<10} {path}{details}")?;
    let notes = checked.notes.iter().map(|note| format!("(note) {note}"));
    let mut lines = checked.problems.iter().cloned().chain(notes);
    lines.try_for_each(|line| writeln!(out, "           - {}", plain(&line)))
}

fn summary(out: &mut impl Write, total: &Total) -> io::Result<()> {
    let Total { checked, good, unchecked, bad, unreadable, removed, incomplete } = total;
    let attempts = if *checked == 1 { "attempt" } else { "attempts" };
    write!(out, "{checked} {attempts}: {good} good, {bad} bad")?;
    for (count, what) in [
        (unchecked, "with signatures not checked"),
        (unreadable, "unreadable"),
        (removed, "set aside to be removed"),
        (incomplete, "marked incomplete by the operator"),
    ] {
        if *count > 0 {
            write!(out, ", {count} {what}")?;
        }
    }
    writeln!(out)
}
