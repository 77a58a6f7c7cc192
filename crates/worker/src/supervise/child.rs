//! One child process group within its limits, its output on the way to the recorder.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::signal::Signal;
use nix::sys::time::TimeValLike as _;
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::disk::{self, Seen};
use crate::link::{End, Frame};
use jct_untrusted::process::{Descendants, Group, Reap, cancel_after, end_all_descendants, strike_all_descendants};

/// How long output is still read after the child has ended, for a process that escaped from its group.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The least time between two counts of the processes: a bomb doubles meanwhile, again and again.
const COUNT: Duration = Duration::from_millis(20);
/// So many times as long as a count takes is the time to the next one.
const REST: u32 = 10;
/// So many counts one after the other may fail: memory or descriptors may be short for a moment.
const FAILED_COUNTS: u32 = 5;
/// The most that a process gets to end by itself when the worker has to end.
const LAST_GRACE: Duration = Duration::from_secs(4);

/// What the child may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From its start to SIGTERM.
    pub budget: Duration,
    /// From SIGTERM to SIGKILL.
    pub kill_after: Duration,
    /// Threads of all its processes together.
    pub max_processes: u64,
    /// End all that descends from this process, also what left the group, and reap all that dies of it. Not for a process with
    /// other children.
    pub end_all: bool,
}

/// What ends the child from outside.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    /// Somebody wants that.
    pub interrupted: CancellationToken,
    /// A budget of models is used up, and the child goes on.
    pub used_up: CancellationToken,
}

/// How the child ended, and what it used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub end: End,
    /// Of what could not be seen, why.
    pub message: Option<String>,
    /// From its start to its end.
    pub wall: Duration,
    /// What it and its children computed.
    pub cpu: Duration,
    /// The largest of its processes at its peak, in bytes.
    pub peak_memory_bytes: u64,
}

/// Runs `command` with this input to its end, and leaves no process of it. Its output goes to `frames`; when nobody takes that any more it is
/// ended as if interrupted.
///
/// # Errors
/// When it can't be started.
pub async fn run(
    command: &mut Command,
    input: Stdio,
    limits: &Limits,
    mut disk: DiskWatch,
    frames: &mpsc::Sender<Frame>,
    stops: &Stops,
) -> io::Result<Ended> {
    let began = Instant::now();
    let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let mut group = Group::spawn_with(command, input)?;
    let id = group.child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let reap = if limits.end_all { Reap::AllBut(id) } else { Reap::Nothing };
    disk.begin(reap);
    let stop = CancellationToken::new();
    let stdout = tokio::spawn(forward(group.child.stdout.take(), frames.clone(), Frame::Stdout, stop.clone()));
    let stderr = tokio::spawn(forward(group.child.stderr.take(), frames.clone(), Frame::Stderr, stop.clone()));
    let budget = tokio::time::sleep(limits.budget);
    let (mut end, mut message) = tokio::select! {
        biased;
        status = group.child.wait() => (ended(status?), None),
        () = stops.interrupted.cancelled() => (End::Interrupted, None),
        () = stops.used_up.cancelled() => (End::OverModelBudget, None),
        () = frames.closed() => (End::Interrupted, None),
        () = budget => (End::OverBudget, None),
        seen = disk.seen() => because(seen, End::TooMuchDisk),
        seen = count(limits.max_processes, reap) => because(seen, End::TooManyProcesses),
    };
    if matches!(end, End::Interrupted | End::OverBudget | End::OverModelBudget) {
        let grace = if end == End::Interrupted { limits.kill_after.min(LAST_GRACE) } else { limits.kill_after };
        group.ask_to_end(grace).await;
    }
    if limits.end_all {
        strike_all_descendants(id);
    }
    group.signal(Signal::SIGKILL);
    group.child.wait().await?;
    if limits.end_all && !end_all_descendants().await {
        (end, message) = (End::NotEnded, None);
    }
    drop(disk);
    cancel_after(stop, LAST_WORDS);
    let _ = (stdout.await, stderr.await);
    let after = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let peak_memory_bytes = u64::try_from(after.max_rss()).unwrap_or(0) * 1024;
    let cpu = cpu(&after).saturating_sub(cpu(&before));
    Ok(Ended { end, message, wall: began.elapsed(), cpu, peak_memory_bytes })
}

/// The end that a watch brings.
fn because(seen: Seen, too_much: End) -> (End, Option<String>) {
    match seen {
        Seen::TooMuch => (too_much, None),
        Seen::Nothing(why) => (End::Unwatched, Some(why)),
    }
}

/// Counts the processes again and again until they are more than `limit`, or can't be counted.
async fn count(limit: u64, reap: Reap) -> Seen {
    let mut failed = 0;
    loop {
        let began = Instant::now();
        match Descendants::are_more_than(limit, reap) {
            Ok(true) => return Seen::TooMuch,
            Ok(false) => failed = 0,
            Err(error) => {
                failed += 1;
                if failed == FAILED_COUNTS {
                    return Seen::Nothing(format!("its processes can't be counted: {error}"));
                }
            }
        }
        tokio::time::sleep(COUNT.max(began.elapsed() * REST)).await;
    }
}

fn cpu(usage: &Usage) -> Duration {
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
}

/// Sends what `stream` has until its end, until `stop`, or until nobody takes it.
async fn forward(
    stream: Option<impl AsyncRead + Unpin>,
    frames: mpsc::Sender<Frame>,
    frame: fn(Vec<u8>) -> Frame,
    stop: CancellationToken,
) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            biased;
            read = stream.read(&mut buffer) => read.unwrap_or(0),
            () = stop.cancelled() => 0,
        };
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return };
        if frames.send(frame(bytes.to_vec())).await.is_err() {
            return;
        }
    }
}

/// Looks at the disk beside the rest, for it takes as long as the tree is large: in a thread that is there before the child is,
/// so that the child can be kept from it by its id.
#[derive(Debug)]
pub struct DiskWatch {
    begin: std::sync::mpsc::Sender<Reap>,
    go_on: Arc<AtomicBool>,
    seen: oneshot::Receiver<Seen>,
}

impl DiskWatch {
    /// A watch that waits for the child. `folders`: what that may write, which may take `limit` bytes.
    pub fn prepare(folders: Vec<std::path::PathBuf>, limit: u64) -> Self {
        let go_on = Arc::new(AtomicBool::new(true));
        let goes_on = go_on.clone();
        let (begin, begun) = std::sync::mpsc::channel();
        let (sender, seen) = oneshot::channel();
        std::thread::spawn(move || {
            let Ok(reap) = begun.recv() else { return };
            let holders = || Ok(Descendants::now(reap)?.processes);
            if let Some(found) = disk::watch(&folders, limit, holders, || goes_on.load(Ordering::Relaxed)) {
                let _ = sender.send(found);
            }
        });
        Self { begin, go_on, seen }
    }

    fn begin(&self, reap: Reap) {
        let _ = self.begin.send(reap);
    }

    /// What it found; a watch that is gone has seen its last.
    async fn seen(&mut self) -> Seen {
        let lost = |_| Seen::Nothing("the watch on the disk has ended".into());
        (&mut self.seen).await.unwrap_or_else(lost)
    }
}

impl Drop for DiskWatch {
    fn drop(&mut self) {
        self.go_on.store(false, Ordering::Relaxed);
    }
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

    struct Run {
        ended: Ended,
        stdout: String,
        stderr: String,
    }

    fn limits(budget: Duration) -> Limits {
        let kill_after = Duration::from_millis(200);
        Limits { budget, kill_after, max_processes: 1000, end_all: false }
    }

    async fn run_script(script: &str, limits: &Limits, interrupted: &CancellationToken) -> Run {
        run_watched(script, limits, DiskWatch::prepare(Vec::new(), 0), interrupted).await
    }

    async fn run_watched(script: &str, limits: &Limits, disk: DiskWatch, interrupted: &CancellationToken) -> Run {
        let (frames, mut arriving) = mpsc::channel(4);
        let collect = tokio::spawn(async move {
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            while let Some(frame) = arriving.recv().await {
                match frame {
                    Frame::Stdout(bytes) => stdout.extend(bytes),
                    Frame::Stderr(bytes) => stderr.extend(bytes),
                    Frame::Note(_) | Frame::Ended(_) => panic!("{frame:?}"),
                }
            }
            (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
        });
        let mut command = Command::new("sh");
        let stops = Stops { interrupted: interrupted.clone(), ..Stops::default() };
        let ended = run(command.args(["-c", script]), Stdio::null(), limits, disk, &frames, &stops).await.unwrap();
        drop(frames);
        let (stdout, stderr) = collect.await.unwrap();
        Run { ended, stdout, stderr }
    }

    #[rstest]
    #[case("echo hello; echo oops >&2; exit 3", End::Exited(3))]
    #[case("kill -KILL $$", End::Signalled(9))]
    #[case("exec sleep 1000", End::OverBudget)]
    #[case("trap '' TERM; while :; do sleep 0.01; done", End::OverBudget)]
    #[tokio::test]
    async fn tells_how_it_ended(#[case] script: &str, #[case] expected: End) {
        let budget = if expected == End::OverBudget { Duration::from_millis(300) } else { Duration::from_secs(60) };
        let seen = run_script(script, &limits(budget), &CancellationToken::new()).await;
        assert_eq!(seen.ended.end, expected);
        if expected == End::Exited(3) {
            assert_eq!((seen.stdout.as_str(), seen.stderr.as_str()), ("hello\n", "oops\n"));
        }
    }

    #[tokio::test]
    async fn is_ended_when_told_to() {
        let interrupted = CancellationToken::new();
        interrupted.cancel();
        let seen = run_script("sleep 1000", &limits(Duration::from_secs(60)), &interrupted).await;
        assert_eq!(seen.ended.end, End::Interrupted);
    }

    #[tokio::test]
    async fn is_ended_when_nobody_listens() {
        let (frames, arriving) = mpsc::channel(4);
        drop(arriving);
        let limits = limits(Duration::from_secs(60));
        let (mut command, disk) = (Command::new("sleep"), DiskWatch::prepare(Vec::new(), 0));
        let ended = run(command.arg("1000"), Stdio::null(), &limits, disk, &frames, &Stops::default()).await.unwrap();
        assert_eq!(ended.end, End::Interrupted);
    }

    #[tokio::test]
    async fn what_it_left_in_the_background_is_ended() {
        let limits = limits(Duration::from_secs(60));
        let seen = run_script("sleep 1000 & echo $!", &limits, &CancellationToken::new()).await;
        assert_eq!(seen.ended.end, End::Exited(0));
        // The kernel needs a moment to bury it.
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", seen.stdout.trim())).unwrap_or_default();
        let is_gone = |state: String| state.is_empty() || state.contains(") Z ");
        assert!((0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            is_gone(state())
        }));
    }

    #[tokio::test]
    async fn what_left_the_group_with_the_pipe_open_does_not_hold_us_up() {
        let limits = limits(Duration::from_secs(60));
        let seen = run_script("setsid sleep 20 & echo x", &limits, &CancellationToken::new()).await;
        assert_eq!((seen.ended.end, seen.stdout.as_str()), (End::Exited(0), "x\n"));
    }

    #[tokio::test]
    async fn disk_is_limited() {
        let dir = tempfile::tempdir().unwrap();
        let disk = DiskWatch::prepare(vec![dir.path().to_owned()], 1 << 20);
        let script = format!("head -c 4000000 /dev/zero >{}; sleep 1000", Path::new(dir.path()).join("x").display());
        let limits = limits(Duration::from_secs(60));
        let seen = run_watched(&script, &limits, disk, &CancellationToken::new()).await;
        assert_eq!(seen.ended.end, End::TooMuchDisk);
    }

    #[tokio::test]
    async fn usage_is_told() {
        let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        let seen = run_script(script, &limits(Duration::from_secs(60)), &CancellationToken::new()).await;
        assert!(seen.ended.cpu > Duration::ZERO && seen.ended.wall >= Duration::from_millis(1));
        assert!(seen.ended.peak_memory_bytes > 100_000);
    }
}
