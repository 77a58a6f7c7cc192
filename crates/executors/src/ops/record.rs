//! `commands.json`: what was run, how it ended, and where its output is.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::spec::Command;
use jct_untrusted::capture::Captured;
use jct_untrusted::redact::redact;

/// The version of this form; fields may be added in 1.x.
const SCHEMA_VERSION: &str = "1.0";
/// The record's name among the artifacts.
const RECORD_FILE: &str = "commands.json";
/// The folder of outputs among the artifacts.
pub const OUTPUT_DIR: &str = "commands";
/// The greatest length of the part of a file's name that tells the command, in characters.
const MAX_SLUG_CHARS: usize = 40;

/// The whole record, written anew whenever something changes: who is ended in between leaves it.
#[derive(Debug, Serialize)]
pub struct Record {
    schema_version: &'static str,
    /// In the order of the list.
    pub commands: Vec<Entry>,
    #[serde(skip)]
    artifacts: PathBuf,
}

/// One command.
#[derive(Debug, Serialize)]
pub struct Entry {
    pub name: String,
    /// The program and its arguments, without secrets.
    pub argv: Vec<String>,
    /// Relative to the workspace.
    pub working_dir: String,
    /// The names of its own variables; their values are the Task's.
    pub env: Vec<String>,
    /// Its own limit, in seconds.
    pub timeout_seconds: Option<u64>,
    /// Whether the next one is run although this one fails.
    pub continue_on_error: bool,
    pub state: State,
    /// What it ended with, if by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why it could not be started.
    pub error: Option<String>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// How long it took, in seconds.
    pub duration_seconds: Option<f64>,
    pub stdout: Output,
    pub stderr: Output,
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// An earlier one failed, or its turn has not come.
    NotRun,
    /// It runs, or whoever ran it was ended meanwhile.
    Running,
    /// Exit code 0.
    Succeeded,
    Failed,
    /// It was ended at its own limit.
    TimedOut,
    /// It was ended because the Task's time was up, or its worker was told to end.
    Interrupted,
}

/// A stream of a command.
#[derive(Debug, Serialize)]
pub struct Output {
    /// Among the artifacts.
    pub path: String,
    /// As printed.
    pub bytes: u64,
    /// Whether the file holds only the beginning.
    pub truncated: bool,
}

impl Record {
    /// A record of commands of which none was run yet.
    pub fn new(artifacts: &Path, commands: &[Command]) -> Self {
        let commands = commands.iter().enumerate().map(|(at, command)| Entry::new(at, command)).collect();
        Self { schema_version: SCHEMA_VERSION, commands, artifacts: artifacts.into() }
    }

    /// Changes the entry at `at`, and writes the record.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn update(&mut self, at: usize, change: impl FnOnce(&mut Entry)) -> anyhow::Result<()> {
        self.commands.get_mut(at).map(change);
        self.write()
    }

    /// Writes the record, in full or not at all.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self) -> anyhow::Result<()> {
        let temporary = self.artifacts.join(format!(".{RECORD_FILE}.tmp"));
        fs::write(&temporary, serde_json::to_string_pretty(self)?)?;
        Ok(fs::rename(temporary, self.artifacts.join(RECORD_FILE))?)
    }
}

impl Entry {
    fn new(at: usize, command: &Command) -> Self {
        let Command { name, argv, working_dir, timeout_seconds, continue_on_error, env, field: _ } = command;
        let output = |stream| Output {
            path: format!("{OUTPUT_DIR}/{:02}-{}.{stream}.log", at + 1, slug(name)),
            bytes: 0,
            truncated: false,
        };
        Self {
            name: redact(name),
            argv: argv.iter().map(|argument| redact(argument)).collect(),
            working_dir: working_dir.clone(),
            env: env.keys().cloned().collect(),
            timeout_seconds: *timeout_seconds,
            continue_on_error: *continue_on_error,
            state: State::NotRun,
            exit_code: None,
            signal: None,
            error: None,
            started_at: None,
            ended_at: None,
            duration_seconds: None,
            stdout: output("stdout"),
            stderr: output("stderr"),
        }
    }
}

impl Output {
    /// Notes what was captured.
    pub fn note(&mut self, captured: &Captured) {
        self.bytes = captured.printed_bytes;
        self.truncated = captured.truncated;
    }
}

/// `name` as a part of a file's name.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in redact(name).chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
        if slug.len() >= MAX_SLUG_CHARS {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "command".into() } else { slug.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_plain_file_names() {
        assert_eq!(slug("make -j2 Test"), "make-j2-test");
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
        assert_eq!(slug("größe"), "gr-e");
        assert_eq!(slug("…"), "command");
        assert_eq!(slug(&"x".repeat(100)).len(), MAX_SLUG_CHARS);
    }
}
