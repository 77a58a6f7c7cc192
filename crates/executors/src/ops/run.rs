//! Runs commands one after the other, each as a process group of its own, and leaves no process behind.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitStatus;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::record::{OUTPUT_DIR, Record, State};
use super::spec::Command;
use crate::{Achieved, Assignment, step};
use jct_untrusted::capture::{Captured, capture};
use jct_untrusted::files::create_anew;
use jct_untrusted::process::{self, Group};

/// Greatest size of the file of each output, in bytes.
const MAX_OUTPUT_BYTES: u64 = 4 << 20;
/// From SIGTERM to SIGKILL: less than the worker gives the executor itself.
const KILL_AFTER: Duration = Duration::from_secs(2);
/// How long output is still read after a command has ended, for a process that escaped from its group.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Variables that a command has from ours: all that an executor has, but the way to the result, which is ours to tell.
const INHERITED: [&str; 15] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "TZ",
    "JCT_TASK_FILE",
    "JCT_OBJECTIVE",
    "JCT_OPERATION",
    "JCT_TARGET_PATH",
    "JCT_TIME_BUDGET_SECONDS",
    "JCT_TASK_ID",
    "JCT_TRACE_ID",
    "JCT_TASK_NAMESPACE",
    "JCT_ATTEMPT",
];

/// Where commands run.
#[derive(Debug)]
pub struct Place {
    workspace: PathBuf,
    artifacts: PathBuf,
    commit: String,
    /// Whether this process is there for the commands alone: its output is theirs, and its children are.
    owns_process: bool,
}

impl Place {
    /// That of an executor, whose children are all of the commands.
    pub fn of(assignment: &Assignment) -> Self {
        Self {
            workspace: assignment.source.clone(),
            artifacts: assignment.artifacts.clone(),
            commit: assignment.commit.clone(),
            owns_process: true,
        }
    }
}

/// Runs `commands` until one fails that may not. What each printed is in a file of the artifacts, and passed on live.
///
/// # Errors
/// The name and the end of the command that failed; or why something can't be recorded.
pub fn run_all(commands: &[Command], place: &Place) -> anyhow::Result<Achieved> {
    if place.owns_process {
        process::adopt_orphans();
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let interrupted = process::on_termination()?;
        run_in_order(commands, place, &interrupted).await
    })
}

async fn run_in_order(
    commands: &[Command],
    place: &Place,
    interrupted: &CancellationToken,
) -> anyhow::Result<Achieved> {
    let began = Instant::now();
    let mut record = Record::new(&place.artifacts, commands);
    record.write()?;
    let mut log = Vec::new();
    let mut forgiven = 0;
    for (at, command) in commands.iter().enumerate() {
        step(&format!("Running {} of {}: {}", at + 1, commands.len(), command.name));
        let ended = run(at, command, place, &mut record, interrupted).await?;
        let message = format!("{} {}", command.name, ended.message);
        step(&message);
        if ended.state == State::Succeeded {
            log.push(message);
        } else if command.continue_on_error && ended.state != State::Interrupted {
            forgiven += 1;
            log.push(format!("{message}; went on, as it may fail"));
        } else {
            return Err(anyhow!("command {:?} ({}) {}", command.name, command.field, ended.message));
        }
    }
    let forgiven = if forgiven > 0 { format!("; {forgiven} failed, as they may") } else { String::new() };
    let summary = format!("ran {} commands in {:.1} s{forgiven}", commands.len(), began.elapsed().as_secs_f64());
    Ok(Achieved { summary, decision_log: log })
}

/// The end of a command.
struct Ended {
    state: State,
    /// Goes on from its name.
    message: String,
}

enum Waited {
    Ended(ExitStatus),
    TimedOut(u64),
    Interrupted,
}

async fn run(
    at: usize,
    command: &Command,
    place: &Place,
    record: &mut Record,
    interrupted: &CancellationToken,
) -> anyhow::Result<Ended> {
    fs::create_dir_all(place.artifacts.join(OUTPUT_DIR))?;
    let began = Instant::now();
    let mut logs = None;
    record.update(at, |entry| {
        entry.state = State::Running;
        entry.started_at = Some(Timestamp::now());
        logs = Some([entry.stdout.path.clone(), entry.stderr.path.clone()]);
    })?;
    let [stdout, stderr] = logs.ok_or_else(|| anyhow!("{}: is not in the record", command.field))?;
    let logs = [create_anew(&place.artifacts.join(stdout))?, create_anew(&place.artifacts.join(stderr))?];
    let result = supervise(command, place, logs, interrupted).await;
    let elapsed = began.elapsed().as_secs_f64();
    let mut ended = Ended { state: State::Failed, message: String::new() };
    record.update(at, |entry| {
        entry.ended_at = Some(Timestamp::now());
        entry.duration_seconds = Some(elapsed);
        match result {
            Ok((waited, [stdout, stderr])) => {
                entry.stdout.note(&stdout);
                entry.stderr.note(&stderr);
                ended = end_of(&waited, elapsed, &stderr.last_line);
                if let Waited::Ended(status) = waited {
                    (entry.exit_code, entry.signal) = code_and_signal(status);
                }
            }
            Err(error) => {
                ended.message = format!("could not be started: {error:#}");
                entry.error = Some(format!("{error:#}"));
            }
        }
        entry.state = ended.state;
    })?;
    Ok(ended)
}

async fn supervise(
    command: &Command,
    place: &Place,
    [stdout, stderr]: [File; 2],
    interrupted: &CancellationToken,
) -> anyhow::Result<(Waited, [Captured; 2])> {
    let mut group = start(command, place)?;
    let stop = CancellationToken::new();
    let [live_out, live_err]: [Box<dyn Write + Send>; 2] = if place.owns_process {
        [Box::new(io::stdout()), Box::new(io::stderr())]
    } else {
        [Box::new(io::sink()), Box::new(io::sink())]
    };
    let out = Tee { stream: group.child.stdout.take(), copy: live_out, ended_line: true };
    let err = Tee { stream: group.child.stderr.take(), copy: live_err, ended_line: true };
    let out = tokio::spawn(capture(Some(out), stdout, MAX_OUTPUT_BYTES, stop.clone()));
    let err = tokio::spawn(capture(Some(err), stderr, MAX_OUTPUT_BYTES, stop.clone()));
    let limit = Duration::from_secs(command.timeout_seconds.unwrap_or(u64::MAX / 4));
    let waited = tokio::select! {
        biased;
        status = group.child.wait() => Waited::Ended(status?),
        () = interrupted.cancelled() => Waited::Interrupted,
        () = tokio::time::sleep(limit) => Waited::TimedOut(limit.as_secs()),
    };
    if !matches!(waited, Waited::Ended(_)) {
        group.ask_to_end(KILL_AFTER).await;
    }
    group.signal(Signal::SIGKILL);
    group.child.wait().await?;
    if place.owns_process {
        process::end_all_descendants().await;
    }
    process::cancel_after(stop, LAST_WORDS);
    Ok((waited, [out.await??, err.await??]))
}

fn start(command: &Command, place: &Place) -> anyhow::Result<Group> {
    let Some((program, arguments)) = command.argv.split_first() else { anyhow::bail!("there is no program") };
    let dir = working_dir(&place.workspace, &command.working_dir)?;
    let inherited = INHERITED.iter().filter_map(|name| std::env::var_os(name).map(|value| (*name, value)));
    let mut child = tokio::process::Command::new(program);
    child.args(arguments).current_dir(&dir).env_clear().envs(inherited);
    child.env("JCT_WORKSPACE", &place.workspace).env("JCT_OUT", &place.artifacts).env("JCT_COMMIT", &place.commit);
    child.env("CI", "true").env("TERM", "dumb").env("PWD", &dir).envs(&command.env);
    Group::spawn(&mut child).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow!("the worker's image has no program {program:?}"),
        io::ErrorKind::PermissionDenied => anyhow!("{program:?} may not be run: {error}"),
        _ => anyhow!("{program:?}: {error}"),
    })
}

/// The folder, after every symlink in it was followed.
fn working_dir(workspace: &Path, relative: &str) -> anyhow::Result<PathBuf> {
    let failed = |error: io::Error| anyhow!("workingDir {relative:?}: {error}");
    let root = workspace.canonicalize().map_err(failed)?;
    let dir = root.join(relative).canonicalize().map_err(failed)?;
    anyhow::ensure!(dir.starts_with(&root), "workingDir {relative:?} leads out of the workspace");
    anyhow::ensure!(dir.is_dir(), "workingDir {relative:?} is no folder");
    Ok(dir)
}

fn end_of(waited: &Waited, seconds: f64, last_line: &str) -> Ended {
    let (state, message) = match waited {
        Waited::Interrupted => (State::Interrupted, "was interrupted: the worker was told to end".into()),
        Waited::TimedOut(limit) => (State::TimedOut, format!("was ended after its limit of {limit} s")),
        Waited::Ended(status) => match code_and_signal(*status) {
            (Some(0), _) => {
                return Ended { state: State::Succeeded, message: format!("succeeded after {seconds:.1} s") };
            }
            (Some(code), _) => (State::Failed, format!("ended with exit code {code}")),
            (None, signal) => {
                let signal = signal.unwrap_or(0);
                let name = Signal::try_from(signal).map_or("unknown", Signal::as_str);
                (State::Failed, format!("was ended by signal {signal} ({name})"))
            }
        },
    };
    Ended { state, message: if last_line.is_empty() { message } else { format!("{message}: {last_line}") } }
}

fn code_and_signal(status: ExitStatus) -> (Option<i32>, Option<i32>) {
    use std::os::unix::process::ExitStatusExt;
    (status.code(), status.signal())
}

/// A stream that is copied as it is read. The copy always ends with a whole line.
struct Tee<R> {
    stream: Option<R>,
    copy: Box<dyn Write + Send>,
    ended_line: bool,
}

impl<R: AsyncRead + Unpin> AsyncRead for Tee<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        ready!(Pin::new(stream).poll_read(cx, buffer))?;
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        if let Some(last) = bytes.last() {
            self.ended_line = *last == b'\n';
            // Who reads ours may be gone; the file is kept all the same.
            let _ = self.copy.write_all(bytes).and_then(|()| self.copy.flush());
        }
        Poll::Ready(Ok(()))
    }
}

impl<R> Drop for Tee<R> {
    fn drop(&mut self) {
        if !self.ended_line {
            let _ = self.copy.write_all(b"\n").and_then(|()| self.copy.flush());
        }
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
