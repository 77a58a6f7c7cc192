//! One attempt at a Task: its verified `task.json`, its folders, and what can go wrong with it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use nix::fcntl::OFlag;

use super::AttemptArgs;
use super::work::Work;
use jct_domain::id::sha256_hex;
use jct_domain::trace::{CLAIM_FILE, Claim, MANIFEST_FILE, Source, TASK_FILE};
use jct_domain::{FailureReason, Task};

/// The greatest `task.json` that is read, in bytes: `inputs` and `metadata` at their limits, and the rest, escaped.
const MAX_TASK_BYTES: u64 = 4 * 1024 * 1024;

/// Why a step ended without success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Failure {
    /// For the manifest and the Task's status.
    pub reason: FailureReason,
    /// In a sentence, for people.
    pub message: String,
}

impl Failure {
    /// A failure for `reason`.
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// The worker itself failed: it could not do `what`.
    pub fn worker(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self::new(FailureReason::WorkerFailed, format!("cannot {what}: {error}"))
    }
}

/// An attempt whose `task.json` is the one that the operator wrote.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Which one, and where.
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
    /// In words.
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

/// Opens a regular file for reading. A symlink is not followed, a fifo does not block.
///
/// # Errors
/// Also when it is anything but a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// The bytes of a regular file of at most `limit` bytes.
///
/// # Errors
/// As [`open_regular`], and when the file is larger.
pub fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "12345").unwrap();
        assert_eq!(read_regular(&file, 5).unwrap(), b"12345");
        assert!(read_regular(&file, 4).is_err());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(read_regular(&link, 5).is_err());
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read_regular(&fifo, 5).is_err());
        assert!(read_regular(dir.path(), 5).is_err());
    }
}
