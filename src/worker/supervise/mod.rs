//! `jct worker run`: in the executor's container, whatever its image is. Confines the executor, lets it run within its limits,
//! ends all that it started, and tells the recorder. It has no trace to write to, and no secret.

mod child;
mod confinement;
mod disk;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::confinement::Place;
use super::attempt::{Failure, read_regular, read_source};
use super::link::{Account, End, Frame, Note, Sender};
use super::sandbox::{ProcessLimits, Sandbox};
use super::work::Work;
use super::{RunArgs, memory, process};
use crate::domain::executor::Executor;
use crate::domain::{FailureReason, Task};

/// The kernel counts the processes of a user on all of a node: a net far above what one executor may have.
const PROCESS_NET: u64 = 16_384;
/// How many frames may wait for the recorder.
const WAITING_FRAMES: usize = 16;
/// How long the recorder may take for what is left at the end.
const LAST_FRAMES: Duration = Duration::from_secs(20);
/// What an executor finds programs by where its image says nothing.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the executor to its end. Exit code 0 if the recorder knows how it ended, whatever that was.
pub async fn run(args: &RunArgs) -> ExitCode {
    process::adopt_orphans();
    process::close_ourselves();
    match supervise(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(reason = %failure.reason, message = failure.message, trace_id = %args.of.trace_id, "supervisor failed");
            ExitCode::FAILURE
        }
    }
}

async fn supervise(args: &RunArgs) -> Result<(), Failure> {
    let interrupted = process::on_termination().map_err(|error| Failure::worker("listen for signals", &error))?;
    process::end_with(args.of.parent);
    let work = Work::new(&args.of.work_dir, args.tmp_dir.as_deref());
    let patience = Duration::from_secs(args.patience_seconds.into());
    let Some(link) = interrupted.run_until_cancelled(Sender::connect(&work.door(), patience)).await else {
        return Ok(());
    };
    let mut link = link.map_err(|error| Failure::worker("reach the recorder", &error))?;
    // Only now: the source is there, and so is the Task.
    let executor: Executor = serde_json::from_str(&args.of.executor)
        .map_err(|error| Failure::worker("understand JCT_EXECUTOR_SPEC", &error))?;
    let task: Task = read_regular(&work.task_file(), 4 << 20)
        .and_then(|bytes| Ok(serde_json::from_slice(&bytes)?))
        .map_err(|error| Failure::worker("read the Task", &error))?;

    let (frames, mut waiting) = mpsc::channel(WAITING_FRAMES);
    let sending = tokio::spawn(async move {
        loop {
            let frame = tokio::select! {
                frame = waiting.recv() => frame,
                () = link.gone() => return Err(std::io::Error::other("the recorder is gone")),
            };
            match frame {
                Some(frame) => link.send(&frame).await?,
                None => return Ok(()),
            }
        }
    });
    let account = run_executor(args, &work, &executor, &task, &frames, &interrupted).await?;
    let _ = frames.send(Frame::Ended(account)).await;
    drop(frames);
    match tokio::time::timeout(LAST_FRAMES, sending).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(Failure::worker("tell the recorder how it ended", &error)),
        Ok(Err(error)) => Err(Failure::worker("tell the recorder how it ended", &error)),
        Err(error) => Err(Failure::worker("tell the recorder how it ended", &error)),
    }
}

async fn run_executor(
    args: &RunArgs,
    work: &Work,
    executor: &Executor,
    task: &Task,
    frames: &mpsc::Sender<Frame>,
    interrupted: &CancellationToken,
) -> Result<Account, Failure> {
    let own = std::env::current_exe().map_err(|error| Failure::worker("find its own program", &error))?;
    let place = Place { own: &own, work, namespaces: args.namespaces, as_root: args.as_root };
    let launch = match place.confine(sandbox(args, work, executor, &own)).await? {
        Ok(confinement) => {
            let note = Note { event: "executor_confined".into(), fields: confinement.event() };
            let _ = frames.send(Frame::Note(note)).await;
            confinement.launch
        }
        Err(why) => {
            return Ok(Account {
                end: End::Unconfined,
                out_of_memory: false,
                message: Some(why),
                wall_ms: 0,
                cpu_ms: 0,
                peak_memory_bytes: 0,
            });
        }
    };
    let budget = executor.budget_seconds(task.constraints.time_budget_seconds);
    let limits = child::Limits {
        budget: Duration::from_secs(budget.into()),
        kill_after: Duration::from_secs(executor.time.kill_after_seconds.into()),
        max_processes: executor.limits.max_processes.into(),
        disk: (work.writable(), executor.limits.max_disk_bytes),
        end_all: true,
    };
    let argv = argv(executor, &own);
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Failure::new(FailureReason::ExecutorNotConfigured, "the executor has no command"));
    };
    let mut command = launch.command(&own, program);
    command.args(arguments).env_clear().envs(environment(args, work, executor, task)).current_dir(work.source());
    let kills_before = memory::oom_kills();
    let ended = child::run(&mut command, &limits, frames, interrupted)
        .await
        .map_err(|error| Failure::worker("run the executor", &error))?;
    Ok(Account {
        end: ended.end,
        out_of_memory: memory::oom_kills() > kills_before,
        message: None,
        wall_ms: milliseconds(ended.wall),
        cpu_ms: milliseconds(ended.cpu),
        peak_memory_bytes: ended.peak_memory_bytes,
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What it may do: see [`Work`] for who writes what.
fn sandbox(args: &RunArgs, work: &Work, executor: &Executor, own: &Path) -> Sandbox {
    let mut reads = if args.reads.is_empty() { whole_image(work) } else { args.reads.clone() };
    reads.extend(work.readable());
    reads.push(own.to_owned());
    Sandbox {
        reads,
        writes: work.writable(),
        unix_sockets: !args.no_unix_sockets,
        supervisor: nix::unistd::getpid().as_raw(),
        limits: ProcessLimits {
            processes: Some(PROCESS_NET.max(executor.limits.max_processes.into())),
            open_files: Some(executor.limits.max_open_files.into()),
            file_bytes: Some(executor.limits.max_file_bytes),
            data_bytes: memory::share(),
        },
        mode: executor.sandbox,
    }
}

/// Everything in the image, whatever that is; nothing of ours but what is added by name.
fn whole_image(work: &Work) -> Vec<PathBuf> {
    let left_out = |path: &Path| work.root().starts_with(path) || path == Path::new("/dev");
    let entries = std::fs::read_dir("/").into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| !left_out(path)).collect()
}

/// Program and arguments.
fn argv(executor: &Executor, own: &Path) -> Vec<OsString> {
    match executor.builtin {
        None => executor.command.iter().map(OsString::from).collect(),
        Some(builtin) => {
            vec![own.into(), "worker".into(), "execute".into(), "--executor".into(), builtin.as_str().into()]
        }
    }
}

/// The environment of an executor, from nothing: docs/executors.md is its reference.
fn environment(args: &RunArgs, work: &Work, executor: &Executor, task: &Task) -> Vec<(OsString, OsString)> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let own: [(&str, OsString); 19] = [
        ("PATH", path),
        ("HOME", work.home().into()),
        ("TMPDIR", work.tmp().into()),
        ("LANG", "C.UTF-8".into()),
        ("LC_ALL", "C.UTF-8".into()),
        ("TZ", "UTC".into()),
        ("JCT_TASK_FILE", work.task_file().into()),
        ("JCT_WORKSPACE", work.source().into()),
        ("JCT_OUT", work.out().into()),
        ("JCT_RESULT_FILE", work.result_file().into()),
        ("JCT_OBJECTIVE", task.objective.clone().into()),
        ("JCT_OPERATION", task.operation.as_str().into()),
        ("JCT_TARGET_PATH", task.target.path.clone().into()),
        ("JCT_COMMIT", read_source(work).map(|source| source.commit).unwrap_or_default().into()),
        ("JCT_TASK_ID", args.of.task_id.to_string().into()),
        ("JCT_TRACE_ID", args.of.trace_id.as_str().into()),
        ("JCT_TASK_NAMESPACE", args.of.namespace.clone().into()),
        ("JCT_ATTEMPT", args.of.attempt.to_string().into()),
        ("JCT_TIME_BUDGET_SECONDS", executor.budget_seconds(task.constraints.time_budget_seconds).to_string().into()),
    ];
    let own = own.into_iter().map(|(name, value)| (OsString::from(name), value));
    own.chain(executor.env.iter().map(|(name, value)| (name.into(), value.into()))).collect()
}
