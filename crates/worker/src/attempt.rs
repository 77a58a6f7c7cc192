//! One attempt at a Task: its verified `task.json`, and its folders.

use std::fs::File;
use std::io;

use jiff::Timestamp;

use super::AttemptArgs;
use super::work::Work;
use jct_domain::id::sha256_hex;
use jct_domain::trace::{CLAIM_FILE, Claim, MANIFEST_FILE, Source, TASK_FILE};
use jct_domain::{FailureReason, Task};
use jct_untrusted::Failure;
use jct_untrusted::files::read_regular;

/// The greatest `task.json` that is read, in bytes: `inputs` and `metadata` at their limits, and the rest, escaped.
const MAX_TASK_BYTES: u64 = 4 * 1024 * 1024;

/// An attempt whose `task.json` is the one that the operator wrote.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub args: AttemptArgs,
    /// What is to be done.
    pub task: Task,
    /// `task.json`, byte by byte.
    pub task_json: Vec<u8>,
}

impl Attempt {
    /// Reads `task.json`, holds it against its digest, and claims the attempt for this pod.
    ///
    /// # Errors
    /// [`Refused`] if the trace is sealed already or another pod has claimed it, or `task.json` can't be read, is not the
    /// operator's or has another form than this version knows. Nothing may be written then.
    pub fn load(args: &AttemptArgs) -> Result<Self, Refused> {
        let refused = |failure| Refused { failure, claimed_by: None };
        if args.trace_dir.join(MANIFEST_FILE).symlink_metadata().is_ok() {
            let failure = Failure::new(FailureReason::WorkerFailed, "the trace of this attempt is sealed already");
            return Err(Refused { failure, claimed_by: read_claim(args).map(|claim| claim.pod) });
        }
        let bytes = read_regular(&args.trace_dir.join(TASK_FILE), MAX_TASK_BYTES)
            .map_err(|error| refused(Failure::worker("read task.json", &error)))?;
        if sha256_hex(&bytes) != args.task_sha256 {
            return Err(refused(Failure::new(
                FailureReason::WorkerFailed,
                "task.json does not have the digest that was announced",
            )));
        }
        let task =
            serde_json::from_slice(&bytes).map_err(|error| refused(Failure::worker("understand task.json", &error)))?;
        claim(args)?;
        Ok(Self { args: args.clone(), task, task_json: bytes })
    }

    /// The folder that its containers share.
    pub fn work(&self) -> Work {
        Work::new(&self.args.of.work_dir, None)
    }

    /// Tells the recorder what was fetched.
    ///
    /// # Errors
    /// When the work folder can't be written.
    pub fn write_source(&self, source: &Source) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(source).map_err(|error| Failure::worker("write source.json", &error))?;
        std::fs::write(self.work().source_file(), bytes).map_err(|error| Failure::worker("write source.json", &error))
    }
}

/// What the step before fetched into `work`.
///
/// # Errors
/// When it left nothing.
pub fn read_source(work: &Work) -> Result<Source, Failure> {
    let bytes = read_regular(&work.source_file(), 64 * 1024)
        .map_err(|error| Failure::worker("read source.json, which `jct worker source` leaves", &error))?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::worker("understand source.json", &error))
}

/// Why a pod may not work at an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub failure: Failure,
    /// The pod that has it, if another one does.
    pub claimed_by: Option<String>,
}

/// Makes the attempt this pod's, if it is no other's: a Job can start two pods for one attempt, and the second one must not
/// write into the trace of the first.
fn claim(args: &AttemptArgs) -> Result<(), Refused> {
    let lost = |error: io::Error| Refused { failure: Failure::worker("claim the attempt", &error), claimed_by: None };
    let path = args.trace_dir.join(CLAIM_FILE);
    let claim = Claim { pod_uid: args.pod_uid.clone(), pod: args.pod_name.clone(), claimed_at: Timestamp::now() };
    let bytes = serde_json::to_vec(&claim).map_err(|error| lost(error.into()))?;
    let own = args.trace_dir.join(format!(".{CLAIM_FILE}.{}", claim.pod_uid));
    std::fs::write(&own, bytes).and_then(|()| File::open(&own)?.sync_all()).map_err(lost)?;
    // In full or not at all, and for one alone, whoever comes when.
    let linked = std::fs::hard_link(&own, &path);
    std::fs::remove_file(&own).map_err(lost)?;
    match linked {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match read_claim(args) {
            Some(found) if found.pod_uid == args.pod_uid => Ok(()),
            found => {
                let by = found.map_or_else(|| "another pod".to_owned(), |claim| format!("pod {}", claim.pod));
                let message = format!("this attempt is {by}'s; nothing is done here");
                let failure = Failure::new(FailureReason::WorkerFailed, message);
                Err(Refused { failure, claimed_by: Some(by) })
            }
        },
        Err(error) => Err(lost(error)),
    }
}

fn read_claim(args: &AttemptArgs) -> Option<Claim> {
    serde_json::from_slice(&read_regular(&args.trace_dir.join(CLAIM_FILE), 64 * 1024).ok()?).ok()
}
