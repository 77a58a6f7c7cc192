//! `jct worker run`: in the executor's container, whatever its image is. Confines the executor, lets it run within its limits,
//! ends all that it started, and tells the recorder. It has no trace to write to, and no secret.

mod child;
mod confinement;
mod disk;
mod model;

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::child::DiskWatch;
use self::confinement::Place;
use self::model::Way;
use super::attempt::read_source;
use super::link::{Account, End, Frame, Note, Sender};
use super::sandbox::{ProcessLimits, Sandbox};
use super::work::Work;
use super::{RunArgs, memory};
use jct_domain::executor::Executor;
use jct_domain::{FailureReason, Task};
use jct_untrusted::Failure;
use jct_untrusted::files::read_regular;
use jct_untrusted::process;

/// The kernel counts the processes of a user on all of a node: a net far above what one executor may have.
const PROCESS_NET: u64 = 16_384;
/// Of the memory that a process may have, so much is taken for all, in hundredths.
const NEARLY_ALL_PERCENT: u64 = 90;
/// How many frames may wait for the recorder.
const WAITING_FRAMES: usize = 16;
/// How long the recorder may take for what is left at the end.
const LAST_FRAMES: Duration = Duration::from_secs(20);
/// What an executor finds programs by where its image says nothing.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts this program again without the environment that it has, if it has any: that is its image's, which may be anybody's,
/// and no library of ours is to be told anything by it. What it says of where programs are is kept for the executor.
///
/// # Errors
/// When that fails; it does not return otherwise.
pub fn forget_environment() -> std::io::Result<()> {
    if std::env::vars_os().next().is_none() {
        return Ok(());
    }
    let mut again = std::process::Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        // One argument: a path that looks like an option is none.
        let mut argument = OsString::from("--path=");
        argument.push(path);
        again.arg(argument);
    }
    Err(again.exec())
}

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
    let Some(link) = interrupted.run_until_cancelled(Sender::connect(&work.recorder_socket(), patience)).await else {
        return Ok(());
    };
    let mut link = link.map_err(|error| Failure::worker("reach the recorder", &error))?;
    // Only now: the source is there, and so is the Task.
    let executor: Executor =
        serde_json::from_str(&args.of.executor).map_err(|error| Failure::worker("understand --executor", &error))?;
    let task: Task = read_regular(&work.task_file(), 4 << 20)
        .and_then(|bytes| Ok(serde_json::from_slice(&bytes)?))
        .map_err(|error| Failure::worker("read the Task", &error))?;

    let (frames, mut waiting) = mpsc::channel(WAITING_FRAMES);
    let to_end = interrupted.clone();
    let sending = tokio::spawn(async move {
        loop {
            let frame = tokio::select! {
                frame = waiting.recv() => frame,
                is_wanted = link.wants_end() => {
                    if !is_wanted {
                        return Err(std::io::Error::other("the recorder is gone"));
                    }
                    to_end.cancel();
                    continue;
                }
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
    let disk = DiskWatch::prepare(work.writable(), executor.limits.max_disk_bytes);
    let patience = Duration::from_secs(args.patience_seconds.into());
    let way = match &executor.model {
        None => None,
        Some(_) => match interrupted.run_until_cancelled(model::open(work, patience)).await {
            Some(way) => Some(way?),
            None => return Ok(nothing_ran(End::Interrupted, None)),
        },
    };
    // All that there will be: what is started from here on is a process.
    let threads = process::own_threads().map_err(|error| Failure::worker("list its own threads", &error))?;
    let sandbox = sandbox(args, work, executor, &own, threads);
    let share = sandbox.limits.data_bytes;
    let place = Place { own: &own, work, namespaces: args.namespaces, as_root: args.as_root };
    let confinement = match in_place(work) {
        Ok(()) => place.confine(sandbox).await?,
        Err(why) => Err(why),
    };
    let launch = match confinement {
        Ok(confinement) => {
            let note = Note { event: "executor_confined".into(), fields: confinement.event() };
            let _ = frames.send(Frame::Note(note)).await;
            confinement.launch
        }
        Err(why) => return Ok(nothing_ran(End::Unconfined, Some(why))),
    };
    let budget = executor.budget_seconds(task.constraints.time_budget_seconds);
    let limits = child::Limits {
        budget: Duration::from_secs(budget.into()),
        kill_after: Duration::from_secs(executor.time.kill_after_seconds.into()),
        max_processes: executor.limits.max_processes.into(),
        end_all: true,
    };
    let argv = argv(executor, &own, work);
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Failure::new(FailureReason::ExecutorNotConfigured, "the executor has no command"));
    };
    let mut command = launch.command(&own, program);
    command.args(arguments).env_clear().envs(environment(args, work, executor, task)).current_dir(work.source());
    let kills_before = memory::oom_kills();
    let mut stops = child::Stops { interrupted: interrupted.clone(), ..child::Stops::default() };
    let (input, way) = match way {
        Some(Way { proxy, channel, word }) => {
            stops.used_up = word.used_up.clone();
            (Stdio::from(channel), Some((proxy, word)))
        }
        None => (Stdio::null(), None),
    };
    let ended = child::run(&mut command, input, &limits, disk, frames, &stops)
        .await
        .map_err(|error| Failure::worker("run the executor", &error))?;
    // The relay sees its end by this.
    drop(way);
    Ok(Account {
        end: ended.end,
        out_of_memory: memory::oom_kills() > kills_before || was_refused_memory(&ended, share),
        message: ended.message,
        wall_ms: milliseconds(ended.wall),
        cpu_ms: milliseconds(ended.cpu),
        peak_memory_bytes: ended.peak_memory_bytes,
    })
}

/// The account of an executor that was not started.
fn nothing_ran(end: End, message: Option<String>) -> Account {
    Account { end, out_of_memory: false, message, wall_ms: 0, cpu_ms: 0, peak_memory_bytes: 0 }
}

/// Whether it died by a signal with as much memory as its limit leaves it: what an allocation that is refused mostly ends in.
/// The limit is ours, and the peak the kernel's account: what it says of its end counts nothing.
fn was_refused_memory(ended: &child::Ended, share: Option<u64>) -> bool {
    let nearly_all = |share: u64| share / 100 * NEARLY_ALL_PERCENT;
    matches!(ended.end, End::Signalled(_)) && share.is_some_and(|share| ended.peak_memory_bytes >= nearly_all(share))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What it may do: see [`Work`] for who writes what.
fn sandbox(args: &RunArgs, work: &Work, executor: &Executor, own: &Path, supervisor: Vec<i32>) -> Sandbox {
    let mut reads = if args.reads.is_empty() { whole_image(work) } else { args.reads.clone() };
    reads.extend(work.readable());
    reads.push(own.to_owned());
    Sandbox {
        reads,
        writes: work.writable(),
        unix_sockets: !args.no_unix_sockets,
        model: executor.model.is_some(),
        supervisor,
        limits: ProcessLimits {
            processes: Some(PROCESS_NET.max(executor.limits.max_processes.into())),
            open_files: Some(executor.limits.max_open_files.into()),
            file_bytes: Some(executor.limits.max_file_bytes),
            data_bytes: memory::data_limit(),
        },
        mode: executor.sandbox,
    }
}

/// Everything in the image, whatever that is; nothing of ours but what is added by name.
fn whole_image(work: &Work) -> Vec<PathBuf> {
    beside(Path::new("/"), work.root())
}

/// The entries of `root` but devices and what leads to `work`. Links are left out: what one leads to in the image has an entry
/// of its own, and an image can have one that leads to what is ours.
fn beside(root: &Path, work: &Path) -> Vec<PathBuf> {
    let left_out = |path: &Path| work.starts_with(path) || path.ends_with("dev");
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let entries = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()));
    entries.map(|entry| entry.path()).filter(|path| !left_out(path)).collect()
}

/// Whether the folders that are handed to the executor are where they seem to be: a mount on a link of its image would be
/// somewhere else.
fn in_place(work: &Work) -> Result<(), String> {
    let is_folder = |folder: &&PathBuf| folder.symlink_metadata().is_ok_and(|found| found.is_dir());
    match work.mounted().iter().find(|folder| !is_folder(folder)) {
        None => Ok(()),
        Some(folder) => Err(format!("{} is no folder, or a link of the executor's image", folder.display())),
    }
}

/// Program and arguments.
fn argv(executor: &Executor, own: &Path, work: &Work) -> Vec<OsString> {
    let Some(builtin) = executor.builtin else {
        return executor.command.iter().map(|argument| model::filled_in(executor, argument).into()).collect();
    };
    let named = [
        ("--executor", OsString::from(builtin.as_str())),
        ("--task", work.task_file().into()),
        ("--source", work.source().into()),
        ("--commit", commit(work).into()),
        ("--artifacts", work.out().into()),
        ("--result", work.result_file().into()),
    ];
    let named = named.into_iter().flat_map(|(name, value)| [OsString::from(name), value]);
    [own.into(), "worker".into(), "execute".into()].into_iter().chain(named).collect()
}

/// The commit that is checked out.
fn commit(work: &Work) -> String {
    read_source(work).map(|source| source.commit).unwrap_or_default()
}

/// The environment of an executor, from nothing: docs/executors.md is its reference.
fn environment(args: &RunArgs, work: &Work, executor: &Executor, task: &Task) -> Vec<(OsString, OsString)> {
    let path = args.path.clone().unwrap_or_else(|| DEFAULT_PATH.into());
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
        ("JCT_COMMIT", commit(work).into()),
        ("JCT_TASK_ID", args.of.task_id.to_string().into()),
        ("JCT_TRACE_ID", args.of.trace_id.as_str().into()),
        ("JCT_TASK_NAMESPACE", args.of.namespace.clone().into()),
        ("JCT_ATTEMPT", args.of.attempt.to_string().into()),
        ("JCT_TIME_BUDGET_SECONDS", executor.budget_seconds(task.constraints.time_budget_seconds).to_string().into()),
    ];
    let own = own.into_iter().map(|(name, value)| (OsString::from(name), value));
    let of_model = model::variables(executor).into_iter().map(|(name, value)| (name.into(), value.into()));
    let env = executor.env.iter().map(|(name, value)| (name.into(), model::filled_in(executor, value).into()));
    own.chain(of_model).chain(env).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_an_image_open_nothing() {
        let image = tempfile::tempdir().unwrap();
        let root = image.path();
        for folder in ["usr", "dev", "work/private", "proc"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for (link, target) in [("bin", "usr/bin"), ("leak", "work/private"), ("out", "/"), ("devices", "dev")] {
            std::os::unix::fs::symlink(root.join(target), root.join(link)).unwrap();
        }
        let mut found = beside(root, &root.join("work"));
        found.sort();
        assert_eq!(found, [root.join("proc"), root.join("usr")]);
    }

    #[test]
    fn memory_was_refused_by_our_limit_and_the_kernels_account() {
        let ended = |end, peak_memory_bytes| child::Ended {
            end,
            message: None,
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
            peak_memory_bytes,
        };
        let share = Some(1000);
        assert!(was_refused_memory(&ended(End::Signalled(6), 950), share));
        assert!(!was_refused_memory(&ended(End::Signalled(6), 100), share), "whatever it said");
        assert!(!was_refused_memory(&ended(End::Exited(1), 950), share));
        assert!(!was_refused_memory(&ended(End::Signalled(6), 950), None));
    }

    #[test]
    fn a_scratch_folder_that_is_a_link_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (tmp, link) = (dir.path().join("tmp"), dir.path().join("link"));
        std::fs::create_dir(&tmp).unwrap();
        std::os::unix::fs::symlink(&tmp, &link).unwrap();
        assert_eq!(in_place(&Work::new(dir.path(), Some(&tmp))), Ok(()));
        assert!(in_place(&Work::new(dir.path(), Some(&link))).unwrap_err().contains("link"));
        assert!(in_place(&Work::new(&link, Some(&tmp))).is_err());
    }
}
