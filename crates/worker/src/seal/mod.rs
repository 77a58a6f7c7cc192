//! The writer of a trace (contract section 6): events as they happen, and a manifest that seals them.
//!
//! Both containers of an attempt write to the same files: the sequence of events goes on where the other one stopped.

mod artifacts;
mod files;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use artifacts::Limits;

use super::attempt::Attempt;
use jct_domain::FailureReason;
use jct_domain::executor::Executor;
use jct_domain::id::sha256_hex;
use jct_domain::trace::{
    ARTIFACTS_DIR, CANCEL_FILE, CLAIM_FILE, Change, EVENTS_FILE, Event, ExecutorResult, LOG_FILE, MANIFEST_FILE,
    MANIFEST_VERSION, MAX_MANIFEST_BYTES, MODEL_BODIES_FILE, MODEL_FILE, Manifest, Outcome, STDERR_FILE, STDOUT_FILE,
    Source, TASK_FILE, Usage,
};
use jct_untrusted::Failure;
use jct_untrusted::files::{read_regular, remove};
use jct_untrusted::names::{self, is_troublesome, shorten};
use jct_untrusted::redact::Rules;

/// The files of a trace beside the artifacts; anything else in the folder is removed before it is sealed.
const PLAIN_FILES: [&str; 8] =
    [CLAIM_FILE, EVENTS_FILE, LOG_FILE, MODEL_BODIES_FILE, MODEL_FILE, STDERR_FILE, STDOUT_FILE, TASK_FILE];
/// The greatest `events.jsonl` that another container may have left, in bytes.
const MAX_EVENTS_BYTES: u64 = 64 * 1024 * 1024;
/// The greatest message in the manifest, in characters.
const MAX_MESSAGE_CHARS: usize = 4000;

/// A trace that is being written.
#[derive(Debug)]
pub struct Trace {
    dir: PathBuf,
    attempt: Attempt,
    /// Or why its configuration is none.
    executor: Result<Executor, String>,
    rules: Arc<Rules>,
    events: File,
    log: File,
    last_seq: u64,
    started_at: Timestamp,
    artifacts: Vec<String>,
    change: Option<Change>,
}

/// How the attempt ended, for the manifest.
#[derive(Debug, Default)]
pub struct Ending {
    pub source: Option<Source>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    pub exit_code: Option<i32>,
    /// What the executor said of its work.
    pub result: Option<ExecutorResult>,
    /// What it made of the workspace.
    pub change: Option<Change>,
    pub usage: Option<Usage>,
}

/// What sealing a trace gave.
#[derive(Debug)]
pub struct Sealed {
    /// As written.
    pub manifest: Manifest,
    /// The digest of `manifest.json`.
    pub manifest_sha256: String,
}

impl Trace {
    /// Opens the trace of `attempt`, which may have events already.
    ///
    /// # Errors
    /// When its files can't be read or written.
    pub fn open(attempt: &Attempt) -> io::Result<Self> {
        let dir = attempt.args.trace_dir.clone();
        let events_path = dir.join(EVENTS_FILE);
        let mut events = files::open_append(&events_path)?;
        let log = files::open_append(&dir.join(LOG_FILE))?;
        let earlier = read_regular(&events_path, MAX_EVENTS_BYTES)?;
        if earlier.last().is_some_and(|byte| *byte != b'\n') {
            // The container before this one died in the middle of a line.
            events.write_all(b"\n")?;
        }
        let lines = || earlier.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let last_seq = lines().filter_map(parse).map(|event| event.seq).max().unwrap_or(0);
        let started_at = lines().find_map(parse).map_or_else(Timestamp::now, |event| event.ts);
        let executor = serde_json::from_str::<Executor>(&attempt.args.of.executor).map_err(|error| error.to_string());
        let patterns = executor.as_ref().map(|executor| executor.redact.as_slice()).unwrap_or_default();
        let rules = Arc::new(Rules::compile(patterns));
        let attempt = attempt.clone();
        Ok(Self {
            dir,
            attempt,
            executor,
            rules,
            events,
            log,
            last_seq,
            started_at,
            artifacts: Vec::new(),
            change: None,
        })
    }

    /// What does the work.
    ///
    /// # Errors
    /// When its configuration can't be understood.
    pub fn executor(&self) -> Result<&Executor, Failure> {
        self.executor.as_ref().map_err(|error| Failure::worker("understand --executor", error))
    }

    /// What is a secret.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.clone()
    }

    /// Where outputs go; an empty folder is made if there is none.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn artifacts_dir(&self) -> io::Result<PathBuf> {
        let path = self.dir.join(ARTIFACTS_DIR);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Takes the regular files in `from` as artifacts, until `deadline`; what a name in `reserved` has is not taken.
    ///
    /// # Errors
    /// The outer one when the trace can't be written, the inner one when a limit is broken: what is within it is kept.
    pub fn take_outputs(
        &mut self,
        from: &Path,
        limits: Limits,
        reserved: &[&str],
        deadline: Option<Instant>,
    ) -> io::Result<Result<(), Failure>> {
        let into = self.artifacts_dir()?;
        let taken = artifacts::take(from, &into, limits, reserved, deadline)?;
        for (event, examples) in [
            ("artifacts_refused", &taken.refused),
            ("artifacts_renamed", &taken.renamed),
            ("artifacts_over_limit", &taken.over_limit),
            ("artifacts_too_late", &taken.too_late),
        ] {
            if examples.count > 0 {
                self.event(event, json!({"count": examples.count, "names": examples.names}))?;
            }
        }
        self.artifacts.extend(taken.files);
        Ok(match taken.limit {
            None => Ok(()),
            Some(limit) => {
                let message = format!("the executor left {limit}; what is over the limit is not kept");
                Err(Failure::new(FailureReason::ExecutorFailed, message))
            }
        })
    }

    /// Keeps what a change is, and counts its files in the folder of artifacts, which we made ourselves.
    pub fn add_change(&mut self, change: Change, files: &[&str]) {
        self.artifacts.extend(files.iter().map(|name| format!("{ARTIFACTS_DIR}/{name}")));
        self.change = Some(change);
    }

    /// The change, if there is one.
    pub fn change(&self) -> Option<Change> {
        self.change.clone()
    }

    /// When the attempt's first step began.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// The artifacts so far, relative to their folder.
    pub fn artifacts(&self) -> impl Iterator<Item = &str> {
        self.artifacts.iter().filter_map(|name| name.strip_prefix(ARTIFACTS_DIR)?.strip_prefix('/'))
    }

    /// Notes that something happened; `fields` is a JSON object. Texts in it are redacted.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn event(&mut self, event: &str, fields: Value) -> io::Result<()> {
        let mut fields = if let Value::Object(fields) = fields { fields } else { Map::new() };
        fields.values_mut().for_each(|value| redact_texts(&self.rules, value));
        self.last_seq += 1;
        let event = Event {
            ts: Timestamp::now(),
            seq: self.last_seq,
            event: event.into(),
            trace_id: self.attempt.args.of.trace_id.clone(),
            fields,
        };
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        self.events.write_all(&line)?;
        let line = for_people(&event);
        self.log.write_all(line.as_bytes())?;
        write_to_container_log(line.as_bytes());
        Ok(())
    }

    /// Shows lines of a log, which have no secrets any more, to whoever follows.
    pub fn show(&self, log: &str, lines: &[u8]) {
        write_to_container_log(for_followers(log, lines).as_bytes());
    }

    /// Notes the end, and writes the manifest last.
    ///
    /// # Errors
    /// When a step fails: there is no manifest then, and the trace is not to be trusted.
    pub fn seal(mut self, ending: Ending) -> io::Result<Sealed> {
        let Ending { source, failure, exit_code, result, change, usage } = ending;
        self.remove_strangers()?;
        let outcome = if failure.is_some() { Outcome::Failed } else { Outcome::Succeeded };
        let reason = failure.as_ref().map(|failure| failure.reason);
        let summary = result.as_ref().and_then(|result| result.summary.clone());
        let message = failure.map(|failure| failure.message).or(summary);
        let message = message.map(|message| shorten(&self.rules.redact(&message), MAX_MESSAGE_CHARS));
        self.event("attempt_ended", json!({"outcome": outcome, "reason": reason, "message": message}))?;
        self.events.sync_all()?;
        self.log.sync_all()?;

        let mut names = std::mem::take(&mut self.artifacts);
        names.extend(
            PLAIN_FILES.into_iter().filter(|name| self.dir.join(name).symlink_metadata().is_ok()).map(Into::into),
        );
        names.sort();
        let files = names.iter().map(|name| files::entry(&self.dir, name)).collect::<io::Result<_>>()?;
        let args = self.attempt.args;
        let executor = self.executor.ok();
        let manifest = Manifest {
            version: MANIFEST_VERSION.into(),
            task_id: args.of.task_id,
            trace_id: args.of.trace_id,
            namespace: args.of.namespace,
            attempt: args.of.attempt,
            executor: executor.as_ref().map(|executor| executor.name.clone()).unwrap_or_default(),
            image: executor.and_then(|executor| executor.image),
            executor_sha256: Some(sha256_hex(args.of.executor.as_bytes())),
            worker: concat!("jct ", env!("CARGO_PKG_VERSION")).into(),
            task_sha256: args.task_sha256,
            source,
            outcome,
            reason,
            message,
            exit_code,
            result,
            change,
            usage,
            started_at: self.started_at,
            ended_at: Timestamp::now(),
            files,
        };
        let bytes = serde_json::to_vec_pretty(&manifest)?;
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(io::Error::other(format!("the manifest would be larger than {MAX_MANIFEST_BYTES} bytes")));
        }
        files::write_atomically(&self.dir, MANIFEST_FILE, &bytes)?;
        Ok(Sealed { manifest, manifest_sha256: sha256_hex(&bytes) })
    }

    /// Leaves nothing in the folder that the manifest does not cover.
    fn remove_strangers(&mut self) -> io::Result<()> {
        let mut removed = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let known = name == ARTIFACTS_DIR || PLAIN_FILES.iter().any(|file| name == *file);
            let path = self.dir.join(&name);
            let is_file = path.symlink_metadata()?.is_file();
            if (!known || (name != ARTIFACTS_DIR && !is_file)) && remove(&path).is_ok() && name != CANCEL_FILE {
                removed.push(names::plain(name.as_encoded_bytes()));
            }
        }
        removed.sort();
        if removed.is_empty() {
            return Ok(());
        }
        let count = removed.len();
        removed.truncate(20);
        self.event("files_removed", json!({"count": count, "names": removed}))
    }
}

fn parse(line: &[u8]) -> Option<Event> {
    serde_json::from_slice(line).ok()
}

/// To the container's log, which is no part of the trace: nobody may listen.
fn write_to_container_log(bytes: &[u8]) {
    let _ = io::stdout().lock().write_all(bytes);
}

/// Lines of a log after its name, harmless to a terminal: what would rule it, or write over the name, is escaped.
fn for_followers(log: &str, lines: &[u8]) -> String {
    let name = log.trim_end_matches(".log");
    let lines = String::from_utf8_lossy(lines);
    lines.lines().fold(String::with_capacity(lines.len() + 64), |mut shown, line| {
        shown.extend([name, " | ", &escape_odd(line), "\n"]);
        shown
    })
}

fn redact_texts(rules: &Arc<Rules>, value: &mut Value) {
    match value {
        Value::String(text) => *text = rules.redact(text),
        Value::Array(values) => values.iter_mut().for_each(|value| redact_texts(rules, value)),
        Value::Object(fields) => fields.values_mut().for_each(|value| redact_texts(rules, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// One line: time, event, `key=value` pairs. Values are JSON unless plain, so that nothing in them breaks the line.
fn for_people(event: &Event) -> String {
    use std::fmt::Write as _;
    let mut line = format!("{} {}", event.ts.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"), event.event);
    for (key, value) in event.fields.iter().filter(|(_, value)| !value.is_null()) {
        let plain = value.as_str().filter(|text| text.bytes().all(|b| b.is_ascii_graphic() && b != b'"'));
        let _ = match plain {
            Some(text) if !text.is_empty() => write!(line, " {key}={text}"),
            _ => write!(line, " {key}={}", escape_odd(&value.to_string())),
        };
    }
    line.push('\n');
    line
}

fn escape_odd(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut text, c| {
        if !matches!(c, '\\' | '\t') && is_troublesome(c) {
            text.extend(c.escape_unicode())
        } else {
            text.push(c)
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_follows_a_log_keeps_the_rule_of_the_terminal() {
        let lines = b"plain\tC:\\x\r\n\x1b[2J\rattempt_ended\n\xffend";
        let shown = "stdout | plain\tC:\\x\nstdout | \\u{1b}[2J\\u{d}attempt_ended\nstdout | \u{fffd}end\n";
        assert_eq!(for_followers("stdout.log", lines), shown);
    }
}
