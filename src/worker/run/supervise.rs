//! One child process group within its time budget.

use std::fs::File;
use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::capture::{Captured, capture};
use crate::worker::process::{Group, end_all_children};

/// How long output is still read after the child has ended, for a process that escaped from its group.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the child may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From its start to SIGTERM.
    pub budget: Duration,
    /// From SIGTERM to SIGKILL.
    pub kill_after: Duration,
    /// Greatest size of each log, in bytes.
    pub max_log_bytes: u64,
    /// End every child of this process afterwards, also those that left the group. Not for a process with other children.
    pub end_all_children: bool,
}

/// Why the child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// Its budget was used up.
    OverBudget,
    /// The worker was told to end.
    Interrupted,
}

/// The child's end and what it printed.
#[derive(Debug)]
pub struct Supervised {
    /// Why it ended.
    pub end: End,
    /// Standard output.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
}

/// Runs `command` to its end, and leaves no process of its group.
///
/// # Errors
/// When it can't be started, or a log can't be written.
pub async fn supervise(
    command: &mut Command,
    limits: Limits,
    [stdout, stderr]: [File; 2],
    interrupted: &CancellationToken,
) -> io::Result<Supervised> {
    let mut group = Group::spawn(command)?;
    let stop = CancellationToken::new();
    let stdout = tokio::spawn(capture(group.child.stdout.take(), stdout, limits.max_log_bytes, stop.clone()));
    let stderr = tokio::spawn(capture(group.child.stderr.take(), stderr, limits.max_log_bytes, stop.clone()));
    let end = tokio::select! {
        biased;
        status = group.child.wait() => ended(status?),
        () = interrupted.cancelled() => End::Interrupted,
        () = tokio::time::sleep(limits.budget) => End::OverBudget,
    };
    if matches!(end, End::Interrupted | End::OverBudget) {
        group.signal(Signal::SIGTERM);
        let _ = tokio::time::timeout(limits.kill_after, group.child.wait()).await;
    }
    group.signal(Signal::SIGKILL);
    group.child.wait().await?;
    if limits.end_all_children {
        end_all_children().await;
    }
    let deadline = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(LAST_WORDS).await;
        deadline.cancel();
    });
    let (stdout, stderr) = (stdout.await??, stderr.await??);
    Ok(Supervised { end, stdout, stderr })
}

fn ended(status: std::process::ExitStatus) -> End {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Signalled(signal.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rstest::rstest;

    use super::*;

    async fn run(dir: &Path, script: &str, budget: Duration, interrupted: &CancellationToken) -> Supervised {
        let limits =
            Limits { budget, kill_after: Duration::from_millis(200), max_log_bytes: 1000, end_all_children: false };
        let logs = ["out", "err"].map(|name| File::create(dir.join(name)).unwrap());
        supervise(Command::new("sh").args(["-c", script]), limits, logs, interrupted).await.unwrap()
    }

    #[rstest]
    #[case("echo hello; echo oops >&2; exit 3", End::Exited(3))]
    #[case("kill -KILL $$", End::Signalled(9))]
    #[case("exec sleep 1000", End::OverBudget)]
    #[case("trap '' TERM; while :; do sleep 0.01; done", End::OverBudget)]
    #[tokio::test]
    async fn tells_how_it_ended(#[case] script: &str, #[case] expected: End) {
        let dir = tempfile::tempdir().unwrap();
        let budget = if expected == End::OverBudget { Duration::from_millis(300) } else { Duration::from_secs(60) };
        let supervised = run(dir.path(), script, budget, &CancellationToken::new()).await;
        assert_eq!(supervised.end, expected);
        if expected == End::Exited(3) {
            assert_eq!(std::fs::read_to_string(dir.path().join("out")).unwrap(), "hello\n");
            assert_eq!(supervised.stderr.last_line, "oops");
        }
    }

    #[tokio::test]
    async fn is_ended_when_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let interrupted = CancellationToken::new();
        interrupted.cancel();
        let supervised = run(dir.path(), "sleep 1000", Duration::from_secs(60), &interrupted).await;
        assert_eq!(supervised.end, End::Interrupted);
    }

    #[tokio::test]
    async fn what_it_left_in_the_background_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let script = "sleep 1000 & echo $!";
        let supervised = run(dir.path(), script, Duration::from_secs(60), &CancellationToken::new()).await;
        assert_eq!(supervised.end, End::Exited(0));
        let id = std::fs::read_to_string(dir.path().join("out")).unwrap();
        let state = std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }

    #[tokio::test]
    async fn what_left_the_group_with_the_pipe_open_does_not_hold_us_up() {
        let dir = tempfile::tempdir().unwrap();
        let supervised =
            run(dir.path(), "setsid sleep 20 & echo x", Duration::from_secs(60), &CancellationToken::new()).await;
        assert_eq!((supervised.end, supervised.stdout.printed_bytes), (End::Exited(0), 2));
    }
}
