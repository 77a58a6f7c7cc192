//! The folder of runs on this machine: record, traces, keys, work.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::private;
use crate::checkpoint::CheckpointFile;
use crate::domain::Id;
use crate::domain::checkpoint::CHECKPOINTS_FILE;
use crate::domain::id::hex;
use crate::signing::{FileKeyError, KeyRing, keys_in};
use crate::store::{DatabaseUrl, Store, StoreError, StoreSettings};
use crate::trace::TraceVolume;

/// The longest path of a Unix socket is 107 bytes; in a work folder, its name takes this much of them.
const MAX_WORK_PATH_BYTES: usize = 107 - "/private/door".len();

/// A folder, opened.
#[derive(Debug)]
pub struct State {
    root: PathBuf,
    pub store: Store,
    pub traces: TraceVolume,
    pub keys: KeyRing,
    /// Checkpoints of the audit log.
    pub checkpoints: CheckpointFile,
}

/// What is wrong with the folder.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A part of it.
    #[error("--state {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The record.
    #[error("--state {}: the record cannot be opened: {source}", path.display())]
    Store { path: PathBuf, source: StoreError },
    /// The keys.
    #[error("--state: {0}")]
    Keys(#[from] FileKeyError),
    /// Somebody else's, or open to others.
    #[error("--state {}: {problem}; choose a folder of your own", path.display())]
    NotOwn {
        /// The folder, or what is in it.
        path: PathBuf,
        /// Why it is not one for the user alone.
        problem: String,
    },
    /// Its path is too long for the socket in it.
    #[error("--state {} has a path of {bytes} bytes, which is too long for a socket in it; choose one of at most {most}", path.display(), most = State::MAX_PATH_BYTES)]
    TooLong { path: PathBuf, bytes: usize },
    /// Another process runs that Task.
    #[error("Task {0} is being run by another process")]
    Busy(Id),
    /// The record has the Task as refused.
    #[error("Task {0} was refused before, and that is final: give it another id, or none")]
    Refused(Id),
    /// The record has another Task under the id.
    #[error("the id {0} is that of another Task, which asks for something else: give this one another id, or none")]
    IdTaken(Id),
    /// The record has another Task with the key.
    #[error(
        "spec.idempotencyKey is that of another Task, which asks for something else: give this one another key, or none"
    )]
    KeyReused,
    /// It has run, and retention has removed its record.
    #[error("Task {id} has run, and its record was removed by retention at {at}: it does not run again")]
    Removed { id: Id, at: jiff::Timestamp },
}

impl State {
    /// The longest path that a folder may have, in bytes.
    pub const MAX_PATH_BYTES: usize = MAX_WORK_PATH_BYTES - "/work/01ARZ3NDEKTSV4RRFFQ69G5FAV-10".len();

    /// Opens the folder at `root`, an absolute path; makes it, for its owner alone, where it is not there.
    ///
    /// # Errors
    /// [`StateError`] names what cannot be had.
    pub async fn open(root: &Path) -> Result<Self, StateError> {
        let bytes = root.as_os_str().len();
        if bytes > Self::MAX_PATH_BYTES {
            return Err(StateError::TooLong { path: root.into(), bytes });
        }
        private::folders(root)?;
        let record = root.join("record.db");
        // Only one may make its tables.
        let opening = root.join(".opening.lock");
        let locked = private::file(&opening).and_then(|file| file.lock().map(|()| file));
        let locked = locked.map_err(|source| StateError::Io { path: opening, source })?;
        // SQLite gives the files beside it the same mode.
        private::file(&record).map_err(|source| StateError::Io { path: record.clone(), source })?;
        let store = Store::open(&StoreSettings::new(DatabaseUrl::file(&record))).await;
        let store = store.map_err(|source| StateError::Store { path: record, source })?;
        drop(locked);
        let keys = keys_in(root)?;
        let checkpoints = CheckpointFile::new(root.join(CHECKPOINTS_FILE));
        private::files(root)?;
        Ok(Self { store, traces: TraceVolume::new(root.join("traces")), keys, checkpoints, root: root.into() })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The record's file.
    pub fn record(&self) -> PathBuf {
        self.root.join("record.db")
    }

    /// The scratch folder of an attempt.
    pub fn work(&self, id: Id, attempt: u32) -> PathBuf {
        self.root.join(format!("work/{id}-{attempt}"))
    }

    /// Marks a Task as being run by this process and those that it starts; none if another one does.
    ///
    /// # Errors
    /// If the mark can't be written.
    pub fn hold(&self, id: Id) -> Result<Option<Held>, StateError> {
        let path = self.root.join(format!("running/{id}"));
        mark(&path).map_err(|source| StateError::Io { path, source })
    }

    /// The Tasks with a mark: those that are being run, and those whose run was killed.
    ///
    /// # Errors
    /// If the marks can't be read.
    pub fn marked(&self) -> Result<Vec<Id>, StateError> {
        let path = self.root.join("running");
        let failed = |source| StateError::Io { path: path.clone(), source };
        let mut marked = Vec::new();
        for entry in fs::read_dir(&path).map_err(failed)? {
            marked.extend(entry.map_err(failed)?.file_name().to_str().and_then(|name| name.parse::<Id>().ok()));
        }
        Ok(marked)
    }
}

/// Takes the mark at `path`, which may be there from one who was killed.
fn mark(path: &Path) -> io::Result<Option<Held>> {
    loop {
        let file = match File::options().write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => match new_mark(path)? {
                Some(file) => return Ok(Some(Held { file, path: path.into() })),
                None => continue,
            },
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            // Whoever had it may have removed it since it was opened: then it marks nothing.
            Ok(()) if !is_at(&file, path)? => {}
            Ok(()) => return Ok(Some(Held { file, path: path.into() })),
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// A mark that is locked from the moment it can be seen: one that is not is of a run that was killed. None where another one was
/// faster.
fn new_mark(path: &Path) -> io::Result<Option<File>> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let unseen = path.with_extension(hex(&random));
    let file = File::create_new(&unseen)?;
    let made = file.lock().and_then(|()| fs::hard_link(&unseen, path));
    fs::remove_file(&unseen)?;
    match made {
        Ok(()) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let file = file.metadata()?;
    Ok((file.dev(), file.ino()) == (there.dev(), there.ino()))
}

/// A Task that is being run: held until the last process that has it ends.
#[derive(Debug)]
pub struct Held {
    file: File,
    path: PathBuf,
}

impl Held {
    /// The mark, for a process to keep.
    ///
    /// # Errors
    /// Without a file descriptor left.
    pub fn clone_lock(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The Task has ended.
    pub fn release(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_is_held_by_one_however_marks_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(folder.path()).await.unwrap());
        let id = Id::derive("2026-03-01T12:00:00Z".parse().unwrap(), "uid");
        let holders = Arc::new(AtomicUsize::new(0));
        let threads = [(); 4].map(|()| {
            let (state, holders) = (state.clone(), holders.clone());
            std::thread::spawn(move || {
                for _ in 0..5000 {
                    let Some(held) = state.hold(id).unwrap() else { continue };
                    assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                    std::thread::yield_now();
                    holders.fetch_sub(1, Ordering::SeqCst);
                    held.release();
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(state.marked().unwrap().is_empty());
    }
}
