//! The steps of the worker as processes of this machine: what containers are in a pod.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::models::{Attending, ModelAccess};
use super::{Held, Run, State};
use crate::domain::FailureReason;
use crate::domain::trace::{Termination, folder};
use crate::domain::url::{self, SOURCE_URL};
use crate::jobs::{Attempt, arguments, attempt_args_with, job_name};
use crate::outcome::Ended;
use crate::store::TaskRow;
use crate::trace::remove_tree;

/// What a terminal sends to all that run at it.
const TERMINAL: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP];
/// How long steps may take to seal what there is once they are told to end.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// How the steps are started.
#[derive(Clone, Debug)]
pub struct Process {
    pub program: PathBuf,
    /// Where the repository is fetched from.
    pub url: String,
    /// How git gets out of this machine: variables for the step that fetches alone, such as those of proxies.
    pub ways_out: BTreeMap<String, String>,
    /// What the executor may read of the machine.
    pub reads: Vec<PathBuf>,
    /// Whether the executor may be root, where there are no namespaces.
    pub as_root: bool,
}

/// Runs the steps of an attempt to their end. `stop` ends them early.
///
/// # Errors
/// If a step cannot be started.
pub async fn steps(
    run: &Run,
    state: &State,
    (row, attempt): (&TaskRow, &Attempt<'_>),
    held: &Held,
    stop: &CancellationToken,
) -> io::Result<Ended> {
    let work = state.work(attempt.task_id, attempt.number);
    let steps = Steps { process: &run.process, models: run.models.as_ref(), state, row, attempt, held, work };
    let began = Timestamp::now();
    let ended = steps.run(stop).await;
    // Nothing of it is wanted any more: what is to stay is in the trace.
    if let Err(error) = remove_tree(&steps.work) {
        tracing::warn!(%error, path = %steps.work.display(), "the work folder is left behind");
    }
    Ok(Ended { started_at: Some(began), ended_at: Some(Timestamp::now()), ..ended? })
}

struct Steps<'a> {
    process: &'a Process,
    models: Option<&'a ModelAccess>,
    state: &'a State,
    row: &'a TaskRow,
    attempt: &'a Attempt<'a>,
    held: &'a Held,
    work: PathBuf,
}

impl Steps<'_> {
    async fn run(&self, stop: &CancellationToken) -> io::Result<Ended> {
        fs::create_dir_all(&self.work)?;
        // It may have secrets in its `env`, and everybody on the machine sees command lines. No executor sees this folder.
        let configuration = File::options().write(true).create_new(true).mode(0o600).open(self.configuration())?;
        serde_json::to_writer(configuration, self.attempt.executor)?;
        let mut source = [self.start("source")?];
        let ended = self.wait(&mut source, stop).await?;
        if !ended.iter().all(ExitStatus::success) {
            return Ok(self.ended("source", ended.first()));
        }
        // Only now: the step before made the folder in which it meets the supervisor.
        let begin = |access| Attending::begin(access, self.state, self.row, &self.work);
        let attending = self.models.map(begin).transpose()?;
        let mut both = [self.start("record")?, self.start("run")?];
        let ended = self.wait(&mut both, stop).await;
        if let Some(attending) = attending {
            attending.end().await;
        }
        Ok(self.ended("record", ended?.first()))
    }

    /// Where the executor's configuration is, for the steps alone.
    fn configuration(&self) -> PathBuf {
        self.work.join("executor.json")
    }

    fn start(&self, step: &str) -> io::Result<Child> {
        let Attempt { namespace, task_id, number, .. } = *self.attempt;
        let name = job_name(task_id, number);
        let mut command = Command::new(&self.process.program);
        command
            .args(["worker", step])
            // What is set here is the user's own affair, and no step's.
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .args(attempt_args_with(self.attempt, &format!("@{}", self.configuration().display())))
            .arg("--work-dir")
            .arg(&self.work)
            .args(arguments(&[("parent", &std::process::id().to_string())]))
            .current_dir(&self.work)
            .stdout(io::stderr().as_fd().try_clone_to_owned()?)
            .stderr(Stdio::inherit());
        if step == "run" {
            let reads: Vec<_> = self.process.reads.iter().map(|path| path.display().to_string()).collect();
            command.stdin(Stdio::null()).args(arguments(&[("read", &reads.join(","))])).arg("--no-unix-sockets");
            command.arg("--namespaces").args(self.process.as_root.then_some("--as-root"));
        } else {
            command
                // So that the Task is held for as long as one of them may write to its trace.
                .stdin(self.held.clone_lock()?)
                .args(arguments(&[("task-sha256", self.attempt.task_sha256), ("pod-uid", &name), ("pod-name", &name)]))
                .arg("--trace-dir")
                .arg(self.state.traces.root().join(folder(namespace, task_id, number)))
                .arg("--termination-log")
                .arg(self.termination(step));
        }
        if step == "source" {
            command.args(arguments(&[("protocols", &url::SCHEMES.join(","))])).env(SOURCE_URL, &self.process.url);
            command.envs(&self.process.ways_out);
        }
        // Until it has a session of its own, and knows what to do.
        let before = SigSet::from_iter(TERMINAL).thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let child = command.spawn();
        before.thread_set_mask()?;
        child
    }

    /// Waits for all; when `stop` comes first, leaves word that it is a cancellation, and tells them to end.
    async fn wait(&self, steps: &mut [Child], stop: &CancellationToken) -> io::Result<Vec<ExitStatus>> {
        let ended = stop.run_until_cancelled(all(steps)).await;
        if let Some(ended) = ended {
            return ended;
        }
        let Attempt { namespace, task_id, number, .. } = *self.attempt;
        self.state.traces.announce_cancel(namespace, task_id, number)?;
        for id in steps.iter().filter_map(Child::id).filter_map(|id| i32::try_from(id).ok()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        if let Ok(ended) = tokio::time::timeout(LAST_WORDS, all(steps)).await {
            return ended;
        }
        for step in steps.iter_mut() {
            step.start_kill()?;
        }
        all(steps).await
    }

    fn termination(&self, step: &str) -> PathBuf {
        self.work.join(format!("{step}.termination"))
    }

    fn ended(&self, step: &str, status: Option<&ExitStatus>) -> Ended {
        let termination =
            fs::read(self.termination(step)).ok().and_then(|bytes| serde_json::from_slice::<Termination>(&bytes).ok());
        let said = termination.as_ref().and_then(|said| Some((said.reason?, said.message.clone().unwrap_or_default())));
        let failure = match status {
            Some(status) if status.success() => None,
            Some(status) => Some(said.unwrap_or_else(|| {
                (FailureReason::WorkerFailed, format!("the worker ended with {status} and did not say why"))
            })),
            None => Some((FailureReason::WorkerFailed, "the worker was not seen to end".into())),
        };
        Ended {
            failure,
            termination,
            pod: Some(job_name(self.attempt.task_id, self.attempt.number)),
            exit_code: status.and_then(ExitStatus::code),
            started_at: None,
            ended_at: None,
            images: Vec::new(),
        }
    }
}

async fn all(steps: &mut [Child]) -> io::Result<Vec<ExitStatus>> {
    let mut ended = Vec::new();
    for step in steps {
        ended.push(step.wait().await?);
    }
    Ok(ended)
}
