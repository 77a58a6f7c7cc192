//! The steps of a delivery's Job: `base` fetches the commit that a change is made on, `check` puts the sealed commit on it, `push` brings
//! it to its branch.
//!
//! `base` and `push` have the credential and the network and take nothing from the volume; `check` has neither, and alone opens what a
//! stranger's work left there. What `push` takes is the repository that `check` has made, read-only.

mod base;
mod bundle;
mod check;
mod push;
mod remote;
mod signed;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use jct_domain::FailureReason;
use jct_domain::delivery::{DeliveryEnding, DeliveryReason, DeliveryStep};
use jct_domain::executor::SandboxMode;
use jct_untrusted::Failure;
use jct_untrusted::git::output::{explain, forward_output};
use jct_untrusted::git::{environment, options};
use jct_untrusted::names::shorten;
use jct_untrusted::process::{self, Group};
use tokio::process::Command;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::launch::Launch;
use crate::memory;
use crate::sandbox::{ProcessLimits, Sandbox};

/// The branch of the repository that `check` leaves.
const CHANGE_REF: &str = "refs/jct/change";
/// Where `base` leaves what the change is made on.
const BASE_REF: &str = "refs/jct/base";
/// What git is made of, beside the folders of programs.
const READS: [&str; 6] = ["/usr", "/bin", "/lib", "/lib64", "/etc", "/proc"];
/// The most that git may print, in bytes.
const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// The longest message, in characters.
const MAX_MESSAGE_CHARS: usize = 1000;
/// Whoever owns the repository: another container of the same pod has made it.
const TRUST: &str = "[safe]\n\tdirectory = *\n";

/// What each step takes.
#[derive(Clone, Debug, Args)]
pub struct StepArgs {
    /// The repository that the steps share
    #[arg(long, value_name = "DIR")]
    pub repository: PathBuf,
    /// A folder of this container alone
    #[arg(long, value_name = "DIR")]
    pub scratch: PathBuf,
    /// The commit that the change is made on
    #[arg(long, value_name = "HEX")]
    pub base: String,
    /// How long it may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout_seconds: u32,
    /// The most of objects that are taken, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 30)]
    pub max_bytes: u64,
    /// Where to say how it ended
    #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
}

/// What the steps with a network take.
#[derive(Clone, Debug, Args)]
pub struct RemoteArgs {
    /// See [`StepArgs`].
    #[command(flatten)]
    pub step: StepArgs,
    /// Where the repository is, without a credential
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// The forge's name and the repository's, for messages
    #[arg(long, value_name = "NAME")]
    pub forge: String,
    /// Its name there
    #[arg(long, value_name = "OWNER/NAME")]
    pub repo: String,
    /// Where the Secret with the credential is mounted
    #[arg(long, value_name = "DIR")]
    pub credential: PathBuf,
    /// Who alone vouches for the forge's host: certificates in PEM
    #[arg(long, value_name = "PEM")]
    pub authorities: Option<String>,
    /// Schemes that a URL may have: of https, and where that is wanted http
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "https")]
    pub protocols: Vec<String>,
}

/// Arguments of `jct worker deliver-check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// See [`StepArgs`].
    #[command(flatten)]
    pub step: StepArgs,
    /// The folder of the sealed attempt
    #[arg(long, value_name = "DIR")]
    pub trace_dir: PathBuf,
    /// The digest of its manifest
    #[arg(long, value_name = "HEX")]
    pub manifest_sha256: String,
    /// The commit that was sealed
    #[arg(long, value_name = "HEX")]
    pub commit: String,
    /// The same commit with a signature, in base64: it is delivered in its place
    #[arg(long, value_name = "BASE64")]
    pub signed_commit: Option<String>,
}

/// Arguments of `jct worker deliver-push`.
#[derive(Clone, Debug, Args)]
pub struct PushArgs {
    /// See [`RemoteArgs`].
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// The branch, without refs/heads/
    #[arg(long, value_name = "NAME")]
    pub branch: String,
    /// The commit that is delivered
    #[arg(long, value_name = "HEX")]
    pub commit: String,
    /// The branch that the change should go into, without refs/heads/: it must be there
    #[arg(long, value_name = "NAME")]
    pub base_branch: Option<String>,
    /// Where the branch is by the record, which it is moved on from; none where there must not be one yet
    #[arg(long, value_name = "HEX")]
    pub expected: Option<String>,
}

/// Why a step ends.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stop {
    reason: DeliveryReason,
    message: String,
}

impl Stop {
    fn new(reason: DeliveryReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        let reason = match failure.reason {
            FailureReason::SourceUnavailable => DeliveryReason::ForgeUnavailable,
            FailureReason::SourceTooLarge => DeliveryReason::CheckFailed,
            FailureReason::Evicted => DeliveryReason::Interrupted,
            _ => DeliveryReason::WorkerFailed,
        };
        Self { reason, message: failure.message }
    }
}

fn broken(what: &'static str) -> impl Fn(std::io::Error) -> Stop {
    move |error| Stop::new(DeliveryReason::WorkerFailed, format!("cannot {what}: {error}"))
}

/// `jct worker deliver-base`.
pub fn base(args: &RemoteArgs) -> ExitCode {
    let done = DeliveryEnding::done(DeliveryStep::Base, &args.step.base);
    step(&args.step, DeliveryStep::Base, async |interrupted| base::fetch(args, interrupted).await.map(|()| done))
}

/// `jct worker deliver-check`.
pub fn check(args: &CheckArgs) -> ExitCode {
    let done = |commit: String| DeliveryEnding::done(DeliveryStep::Check, &commit);
    step(&args.step, DeliveryStep::Check, async |interrupted| check::check(args, interrupted).await.map(done))
}

/// `jct worker deliver-push`.
pub fn push(args: &PushArgs) -> ExitCode {
    let done = |was_there| DeliveryEnding { was_there, ..DeliveryEnding::done(DeliveryStep::Push, &args.commit) };
    step(&args.remote.step, DeliveryStep::Push, async |interrupted| push::push(args, interrupted).await.map(done))
}

fn step(
    args: &StepArgs,
    which: DeliveryStep,
    work: impl AsyncFnOnce(CancellationToken) -> Result<DeliveryEnding, Stop>,
) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(broken("start")).and_then(|runtime| {
        runtime.block_on(async {
            let interrupted = process::on_termination().map_err(broken("listen for signals"))?;
            prepare(&args.scratch).map_err(broken("prepare git"))?;
            work(interrupted).await
        })
    });
    let (ending, code) = match ended {
        Ok(ending) => (ending, ExitCode::SUCCESS),
        Err(Stop { reason, message }) => {
            let message = shorten(&jct_untrusted::redact::redact(&message), MAX_MESSAGE_CHARS);
            tracing::error!(%reason, message, "a step of the delivery failed");
            (DeliveryEnding::failed(which, reason, message), ExitCode::FAILURE)
        }
    };
    if let Err(error) = fs::write(&args.termination_log, serde_json::to_vec(&ending).unwrap_or_default()) {
        tracing::warn!(%error, "termination message not written");
    }
    code
}

fn prepare(scratch: &Path) -> std::io::Result<()> {
    fs::create_dir_all(scratch)?;
    fs::write(scratch.join("gitconfig"), TRUST)
}

/// Git on the shared repository, without the forge.
struct Local<'a> {
    args: &'a StepArgs,
    /// Whether git is confined as an executor is: the containers of a pod share its network, and what is opened here a stranger made.
    is_confined: bool,
    deadline: Instant,
    interrupted: CancellationToken,
}

/// How a call of git ended.
struct Ended {
    success: bool,
    output: Vec<u8>,
    complaint: String,
}

impl<'a> Local<'a> {
    fn new(args: &'a StepArgs, is_confined: bool, interrupted: CancellationToken) -> Self {
        Self { args, is_confined, deadline: deadline(args), interrupted }
    }

    fn git(&self) -> Result<Command, Stop> {
        if !self.is_confined {
            return Ok(memory::limited_git());
        }
        let StepArgs { repository, scratch, .. } = self.args;
        let programs = std::env::var_os("PATH").unwrap_or_default();
        let sandbox = Sandbox {
            reads: READS.iter().map(PathBuf::from).chain(std::env::split_paths(&programs)).collect(),
            writes: vec![repository.clone(), scratch.clone()],
            unix_sockets: false,
            model: false,
            supervisor: i32::try_from(std::process::id()).into_iter().collect(),
            limits: ProcessLimits { data_bytes: memory::data_limit(), ..ProcessLimits::default() },
            mode: SandboxMode::Required,
        };
        let own = std::env::current_exe().map_err(broken("find its own program"))?;
        Ok(Launch::Confined(sandbox).command(&own, "git"))
    }

    async fn run(&self, args: &[&str], input: Stdio) -> Result<Ended, Stop> {
        let StepArgs { repository, scratch, .. } = self.args;
        let mut command = self.git()?;
        command.args(options(repository)).args(args).env_clear().envs(environment(repository, scratch, None));
        let mut group = Group::spawn_with(&mut command, input).map_err(broken("start git"))?;
        let mut output = Vec::new();
        let work = async {
            let mut keep = |chunk: &[u8]| {
                output.extend(chunk);
                if output.len() > MAX_OUTPUT_BYTES {
                    return Err(Failure::worker("hear git out", &"it prints too much"));
                }
                Ok(())
            };
            let (success, complaint) = forward_output(&mut group, &mut keep).await?;
            Ok((success, explain(&complaint, None)))
        };
        let late = || Stop::new(DeliveryReason::WorkerFailed, "it took too long");
        let (success, complaint) = tokio::select! {
            ended = work => ended.map_err(|failure: Failure| Stop::from(failure))?,
            () = tokio::time::sleep_until(self.deadline) => return Err(late()),
            () = self.interrupted.cancelled() => return Err(Stop::new(DeliveryReason::Interrupted, "it was told to end")),
        };
        Ok(Ended { success, output, complaint })
    }

    /// What git prints, if it succeeds; else the commit is not to be had.
    async fn must(&self, args: &[&str], input: Stdio, what: &str) -> Result<Vec<u8>, Stop> {
        let ended = self.run(args, input).await?;
        if ended.success {
            return Ok(ended.output);
        }
        Err(Stop::new(DeliveryReason::CheckFailed, format!("{what}: {}", ended.complaint)))
    }
}

fn deadline(args: &StepArgs) -> Instant {
    Instant::now() + Duration::from_secs(args.timeout_seconds.into())
}

fn is_commit_id(id: &str) -> bool {
    matches!(id.len(), 40 | 64) && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
