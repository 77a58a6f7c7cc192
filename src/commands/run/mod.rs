//! `jct run`: a Task on this machine, without a cluster, for those who write executors or try JCT for the first time.

mod aside;
mod models;
mod report;
mod source;
mod stop;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use self::aside::SetAside;
use self::report::{complain, outcome, say, state_note};
use super::manifests::{PolicyArgs, executors_of, findings, id_of, is_ours, models_of, objects_in, read};
use super::output::Output;
use crate::domain::executor::{Executor, Executors, NoExecutor, SandboxMode};
use crate::domain::id::sha256_hex;
use crate::domain::model::Models;
use crate::domain::name::is_label;
use crate::domain::task::{Controls, Naming, Operation};
use crate::domain::{Actor, Finding, task};
use crate::local::{self, Process, Ran, Run, RunError, State};
use crate::manifest::Manifest;
use crate::policy::{Configured as Known, Verdict, configured_findings, judge};
use crate::store::{NewTask, Refusal, Shown};

/// What an executor may read of this machine, where there is such a thing; nobody's home is among it.
const SYSTEM: [&str; 10] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix/store", "/proc"];
/// Exit code where nothing could be run.
const NOT_RUN: u8 = 2;
/// Exit code where the gate refuses.
const REFUSED: u8 = 3;
/// Exit code of a Task that was cancelled, as shells have it for SIGINT.
const CANCELLED: u8 = 130;

/// Arguments of `jct run`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Exit codes: 0 the Task is completed; 1 it failed; 2 nothing could be run; 3 the policy gate refuses \
                        it; 130 it was cancelled.\n\nThe log goes to standard error as it happens, the outcome to standard \
                        output."
)]
pub struct RunArgs {
    /// A manifest with one Task; - reads standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub file: PathBuf,

    /// The repository: a folder of this machine or a URL. What is not committed does not count. A URL with a password belongs
    /// in the variable: command lines are for everybody to see
    #[arg(long, env = "JCT_REPO", hide_env_values = true, value_name = "PATH|URL")]
    pub repo: String,

    /// The configuration of executors, as the chart's value `executors`; the built-in ones are there without. Images are
    /// not used: commands run on this machine
    #[arg(long, env = "JCT_EXECUTORS_FILE", value_name = "FILE")]
    pub executors: Option<PathBuf>,

    /// The configuration of models, as the chart's value `models`: for executors that ask any. Keys are in the variables
    /// JCT_MODEL_KEY_PROVIDER, or ANTHROPIC_API_KEY, OPENAI_API_KEY and GEMINI_API_KEY for the hosts of these
    #[arg(long, env = "JCT_MODELS_FILE", value_name = "FILE")]
    pub models: Option<PathBuf>,

    /// A folder or file that the executor may read besides the system's own, such as a tool in a home; can be repeated
    #[arg(long = "read", value_name = "PATH")]
    pub reads: Vec<PathBuf>,

    /// Where record, traces and signing key are kept; ~/.local/state/jct without
    #[arg(long, env = "JCT_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// Namespace of a manifest that names none
    #[arg(short, long, default_value = "default")]
    pub namespace: String,

    /// What to do where this machine cannot confine the executor in full: required has the Task fail, best-effort runs it with
    /// what there is, and says what is missing. As the executor's configuration says without, which is required by default
    #[arg(long, value_enum, value_name = "MODE")]
    pub sandbox: Option<Confine>,

    /// Let the executor be root, where this is run as root, the machine gives no namespaces, and the sandbox is best-effort. It
    /// has no capabilities then, but owns what root owns: it can change modes and times of all files of root, and so make any
    /// program set-user-ID. With namespaces it is never root
    #[arg(long)]
    pub as_root: bool,

    /// What the gate goes by.
    #[command(flatten)]
    pub policy: PolicyArgs,

    /// Form of the outcome
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    pub output: Output,

    /// A command that does the work, in place of a configured executor
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// What to do where something is missing: [`SandboxMode`], as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Confine {
    /// The Task fails.
    Required,
    /// It runs with what there is.
    BestEffort,
}

/// Runs the Task, on this thread alone: the steps of a Task end with the thread that started them. [`RunArgs`] tells the exit
/// codes. Not to be called from within a runtime, and only by a program whose arguments these are: it begins anew.
pub fn run(args: &RunArgs) -> ExitCode {
    let done = aside::set_aside(args).and_then(|aside| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start the runtime")?.block_on(try_run(args, aside))
    });
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&error);
            ExitCode::from(NOT_RUN)
        }
    }
}

async fn try_run(args: &RunArgs, aside: SetAside) -> anyhow::Result<u8> {
    let manifest = the_task(&args.file)?;
    let url = source::url(&aside.repo)?;
    let configured = Configured {
        executors: args.executors.as_deref().map(executors_of).transpose()?.unwrap_or_default(),
        models: args.models.as_deref().map(models_of).transpose()?,
    };
    let stop = stop::on_signal()?;
    let state = State::open(&folder(args)?).await?;
    let done = gate_and_run(args, &manifest, (url, aside), &configured, &state, &stop).await;
    state.store.close().await;
    done
}

/// What the files say that the arguments name.
struct Configured {
    executors: Executors,
    models: Option<Models>,
}

async fn gate_and_run(
    args: &RunArgs,
    manifest: &Manifest,
    (url, aside): (String, SetAside),
    configured: &Configured,
    state: &State,
    stop: &CancellationToken,
) -> anyhow::Result<u8> {
    match local::close_leftovers(state).await.context("cannot close what an earlier run left open")? {
        0 => {}
        closed => say(format_args!("{closed} Tasks of runs that were killed are closed")),
    }
    let spec = manifest.spec();
    let (draft, _) = task::read(spec, Naming::CustomResource);
    let own = draft.repo.map(|repo| repo.to_string()).unwrap_or_default();
    let policy = args.policy.policy(&own);
    let mut findings = findings(manifest, &policy);
    findings.extend(configured.findings(args, manifest));
    let (verdict, controls) = judge(spec, Naming::CustomResource, &policy);
    let accepted = match verdict {
        Verdict::Accepted(task) if findings.is_empty() => *task,
        _ => return refuse(args, state, manifest, findings).await,
    };
    let now = Timestamp::now();
    let local = LocalTask::of(manifest, args, now)?;
    let actor = Actor::authenticated(&local.user);
    if let Some(field) = [("cancel", controls.cancel), ("suspend", controls.suspend)].iter().find(|(_, set)| *set) {
        bail!("spec.{} is true: nothing is run then; take it out", field.0);
    }
    if controls.asks().delivery.is_some() {
        say(format_args!(
            "nothing is delivered here: the change stays in the trace (spec.delivery is for the operator)"
        ));
    }
    let mut executor = executor(args, &configured.executors, &local.namespace, accepted.operation, &controls)?;
    if let (Ok(executor), Some(mode)) = (&mut executor, args.sandbox) {
        executor.sandbox = match mode {
            Confine::Required => SandboxMode::Required,
            Confine::BestEffort => SandboxMode::BestEffort,
        };
    }
    let models = match &mut executor {
        Ok(executor) => {
            models::access(configured.models.as_ref(), executor, &local.namespace, (&accepted, &controls), &aside)?
        }
        Err(_) => None,
    };
    let reads = reads(args, state)?;
    let new = NewTask {
        id: local.id,
        trace_id: local.trace_id,
        namespace: local.namespace,
        name: local.name,
        uid: local.uid,
        submitted_by: Some(local.user),
        actor,
        task: accepted,
        executor: controls.executor,
        model: controls.model,
        delivery: controls.delivery,
        max_attempts: controls.max_attempts,
        create_cwom: controls.create_cwom,
        for_run: None,
        client: None,
        suspended: false,
        shown: Shown::default(),
        created_at: now,
        recorded_at: now,
    };
    let program = std::env::current_exe().context("cannot find its own program")?;
    let process = Process { program, url, ways_out: aside.ways_out, reads, as_root: args.as_root };
    let run = Run { new, executor, models, process };
    match local::run(state, &run, stop).await? {
        Ran::Ended(row) => outcome(args.output, state, &row),
        Ran::Duplicate(row) => {
            say(format_args!("nothing is run: Task {} has this idempotencyKey; {}", row.id, state_note(&row)));
            outcome(args.output, state, &row)
        }
        Ran::Known(row) => {
            say(format_args!("nothing is run: Task {} was run before; {}", row.id, state_note(&row)));
            outcome(args.output, state, &row)
        }
    }
}

impl Configured {
    /// What the gate finds that needs more than the Task: models that its executor asks and that are not granted.
    fn findings(&self, args: &RunArgs, manifest: &Manifest) -> Vec<Finding> {
        let Some(models) = self.models.as_ref().filter(|_| args.command.is_empty()) else { return Vec::new() };
        let namespace = manifest.text("/metadata/namespace").unwrap_or(&args.namespace);
        let known = Known { models: Some((&self.executors, models)), forges: None };
        configured_findings(manifest.spec(), Naming::CustomResource, namespace, known)
    }
}

/// The one Task of a file.
fn the_task(file: &Path) -> anyhow::Result<Manifest> {
    let shown = file.display();
    let bytes = read(file).with_context(|| format!("cannot read {shown}"))?;
    let (all, unreadable) = objects_in(&bytes);
    if let Some(unreadable) = unreadable {
        bail!("{shown}: {unreadable}");
    }
    let mut tasks: Vec<Manifest> =
        all.into_iter().filter(|manifest| is_ours(manifest) && manifest.kind() == "Task").collect();
    match (tasks.pop(), tasks.len()) {
        (Some(task), 0) => Ok(task),
        (Some(_), others) => bail!("{shown} holds {} Tasks; give one at a time", others + 1),
        (None, _) => bail!("{shown} holds no Task (apiVersion: jct.dev/v1, kind: Task)"),
    }
}

/// What does the work: the command that was given, or what is configured, without its image.
fn executor(
    args: &RunArgs,
    executors: &Executors,
    namespace: &str,
    operation: Operation,
    controls: &Controls,
) -> anyhow::Result<Result<Executor, NoExecutor>> {
    if args.command.is_empty() {
        let found = executors.resolve(namespace, operation, controls.executor.as_deref()).cloned();
        return Ok(found.map(|executor| match executor.image {
            Some(image) => {
                say(format_args!("image {image} is not used: the command of {} runs on this machine", executor.name));
                Executor { image: None, ..executor }
            }
            None => executor,
        }));
    }
    let mut command = args.command.clone();
    if let (Some(program), Some(path)) = (command.first_mut(), own_program(args)) {
        *program = path.to_str().ok_or_else(|| anyhow!("the command's path is no UTF-8"))?.to_owned();
    }
    Ok(Ok(Executor::of_command("command", operation, command)))
}

/// The program of the command, where it is named by a path: relative to where we are, not to the workspace.
fn own_program(args: &RunArgs) -> Option<PathBuf> {
    let program = args.command.first().filter(|program| program.contains('/'))?;
    std::path::absolute(program).ok()
}

/// What the executor may read. Never the folder of record and key, or the executor could sign what it likes.
fn reads(args: &RunArgs, state: &State) -> anyhow::Result<Vec<PathBuf>> {
    let root = std::fs::canonicalize(state.root()).context("--state")?;
    let mut all: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    for path in args.reads.iter().cloned().chain(own_program(args)) {
        let found = std::fs::canonicalize(&path).with_context(|| format!("--read {}", path.display()))?;
        if found.to_str().is_none_or(|text| text.contains(',')) {
            bail!("--read {}: a path with a comma, or one that is no UTF-8, cannot be given", path.display());
        }
        if root.starts_with(&found) || found.starts_with(&root) {
            bail!(
                "--read {}: record and signing key are in {}: give less, or choose another --state",
                path.display(),
                root.display()
            );
        }
        // A name that is a link is there too: PATH and the command go by it.
        let shown = std::path::absolute(&path).with_context(|| format!("--read {}", path.display()))?;
        if shown != found && shown.to_str().is_some_and(|text| !text.contains(',')) {
            all.push(shown);
        }
        all.push(found);
    }
    if let Some(system) = all.iter().find(|path| root.starts_with(path)) {
        bail!("--state {}: every executor may read {}: choose another folder", root.display(), system.display());
    }
    Ok(all)
}

/// The folder of record and traces, absolute.
fn folder(args: &RunArgs) -> anyhow::Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let default = || {
        let state = variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/state")));
        state.map(|state| state.join("jct"))
    };
    let folder = args.state.clone().or_else(default);
    let folder = folder.ok_or_else(|| anyhow!("--state is required where HOME is not set"))?;
    std::path::absolute(&folder).with_context(|| format!("--state {}", folder.display()))
}

/// The names and ids of a Task that is made now.
struct LocalTask {
    user: String,
    namespace: String,
    name: String,
    id: crate::domain::Id,
    trace_id: crate::domain::TraceId,
    uid: String,
}

impl LocalTask {
    fn of(manifest: &Manifest, args: &RunArgs, now: Timestamp) -> anyhow::Result<Self> {
        let (id, trace_id, uid) = local::new_ids(now).map_err(|error| anyhow!("cannot get random bytes: {error}"))?;
        let pinned = id_of(manifest).ok().flatten();
        let namespace = manifest.text("/metadata/namespace").unwrap_or(&args.namespace);
        if !is_label(namespace) {
            bail!(
                "metadata.namespace: must be lower-case letters, digits and inner dashes, at most 63; is {namespace:?}"
            );
        }
        let suffix = if manifest.text("/metadata/name").is_some() { "" } else { &uid[..5] };
        Ok(Self {
            user: format!("local:{}", user_name(nix::unistd::getuid().as_raw())),
            namespace: namespace.into(),
            name: format!("{}{suffix}", manifest.name().unwrap_or("task-")),
            id: pinned.unwrap_or(id),
            trace_id,
            uid,
        })
    }
}

/// The user's name as /etc/passwd has it, else their number. Read by ourselves: the C library asks plugins for those that are
/// not there, such as LDAP's, and a static program that loads such a one may end by SIGSEGV.
fn user_name(id: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&users, id).map_or_else(|| id.to_string(), str::to_owned)
}

/// See passwd(5).
fn name_in(users: &str, id: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    })
}

/// Tells what is wrong, and records who was refused what.
async fn refuse(args: &RunArgs, state: &State, manifest: &Manifest, findings: Vec<Finding>) -> anyhow::Result<u8> {
    let now = Timestamp::now();
    let local = LocalTask::of(manifest, args, now)?;
    let refusal = Refusal {
        id: local.id,
        trace_id: local.trace_id,
        namespace: local.namespace,
        name: local.name.clone(),
        uid: local.uid,
        actor: Actor::authenticated(&local.user),
        findings,
        spec_sha256: sha256_hex(manifest.spec().to_string().as_bytes()),
        refused_at: now,
    };
    let findings = state.store.record_refusal(refusal).await.map_err(RunError::Store)?;
    report::refusal(args.output, &local.name, &findings)?;
    Ok(REFUSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_name_that_the_machine_knows() {
        let users = "root:x:0:0:root:/root:/bin/sh\n+::::::\nada:x:1000:1000::/home/ada:/bin/sh\nodd\n";
        assert_eq!((name_in(users, 0), name_in(users, 1000), name_in(users, 7)), (Some("root"), Some("ada"), None));
    }
}
