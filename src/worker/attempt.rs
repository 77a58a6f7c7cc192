//! One attempt at a Task: its verified `task.json`, its folders, and what can go wrong with it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::AttemptArgs;
use crate::domain::id::sha256_hex;
use crate::domain::trace::{MANIFEST_FILE, Source, TASK_FILE};
use crate::domain::{FailureReason, Task};

/// The greatest `task.json` that is read, in bytes: `inputs` and `metadata` at their limits, and the rest, escaped.
const MAX_TASK_BYTES: u64 = 4 * 1024 * 1024;
/// In the work folder: what `source` tells `run`.
const SOURCE_FILE: &str = "source.json";
/// In the work folder: what the executor says of its end.
const RESULT_FILE: &str = "result.json";

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
}

impl Attempt {
    /// Reads `task.json` and holds it against its digest.
    ///
    /// # Errors
    /// [`FailureReason::WorkerFailed`] if the trace is sealed already (the pod was started twice), or `task.json` can't
    /// be read, is not the operator's or has another form than this version knows. Nothing may be written then.
    pub fn load(args: &AttemptArgs) -> Result<Self, Failure> {
        if args.trace_dir.join(MANIFEST_FILE).symlink_metadata().is_ok() {
            return Err(Failure::new(FailureReason::WorkerFailed, "the trace of this attempt is sealed already"));
        }
        let bytes = read_regular(&args.trace_dir.join(TASK_FILE), MAX_TASK_BYTES)
            .map_err(|error| Failure::worker("read task.json", &error))?;
        if sha256_hex(&bytes) != args.task_sha256 {
            return Err(Failure::new(
                FailureReason::WorkerFailed,
                "task.json does not have the digest that was announced",
            ));
        }
        let task = serde_json::from_slice(&bytes).map_err(|error| Failure::worker("understand task.json", &error))?;
        Ok(Self { args: args.clone(), task })
    }

    /// Where the checkout is.
    pub fn source_dir(&self, chosen: Option<&Path>) -> PathBuf {
        chosen.map_or_else(|| self.args.work_dir.join("source"), Path::to_path_buf)
    }

    /// The home folder of child processes; it is empty.
    pub fn home_dir(&self) -> PathBuf {
        self.args.work_dir.join("home")
    }

    /// Where the executor says how it ended.
    pub fn result_file(&self) -> PathBuf {
        self.args.work_dir.join(RESULT_FILE)
    }

    /// Tells the next step what was fetched.
    ///
    /// # Errors
    /// When the work folder can't be written.
    pub fn write_source(&self, source: &Source) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(source).map_err(|error| Failure::worker("write source.json", &error))?;
        std::fs::write(self.args.work_dir.join(SOURCE_FILE), bytes)
            .map_err(|error| Failure::worker("write source.json", &error))
    }

    /// What the step before fetched.
    ///
    /// # Errors
    /// When it left nothing.
    pub fn read_source(&self) -> Result<Source, Failure> {
        let bytes = read_regular(&self.args.work_dir.join(SOURCE_FILE), 64 * 1024)
            .map_err(|error| Failure::worker("read source.json, which `jct worker source` leaves", &error))?;
        serde_json::from_slice(&bytes).map_err(|error| Failure::worker("understand source.json", &error))
    }
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
