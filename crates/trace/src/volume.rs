//! The operator's side of the trace volume: prepares an attempt's folder, checks what the worker left, and seals it.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::fcntl::{OFlag, OpenHow, openat2, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::folder::{RESOLVE, exists, open_beneath, read_beneath};
use super::inspect::{Found, inspect};
use super::read::TraceFolder;
use super::remove::{Freed, remove as remove_folder};
use jct_domain::Id;
use jct_domain::trace::{
    CANCEL_FILE, CLAIM_FILE, Expected, INCOMPLETE_FILE, Incomplete, MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest,
    PROVENANCE_FILE, TASK_FILE, folder,
};

/// The greatest `incomplete.json` that is read, in bytes.
const MAX_INCOMPLETE_BYTES: u64 = 1024 * 1024;

/// The trace volume as the operator has it mounted.
#[derive(Clone, Debug)]
pub struct TraceVolume {
    root: PathBuf,
}

impl TraceVolume {
    /// The volume mounted at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Makes an attempt's folder with its `task.json`; does nothing if that is there already. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be written.
    pub fn prepare(&self, namespace: &str, task_id: Id, attempt: u32, task_json: &[u8]) -> io::Result<()> {
        let path = self.path(namespace, task_id, attempt);
        fs::create_dir_all(&path)?;
        let target = path.join(TASK_FILE);
        if fs::read(&target).is_ok_and(|found| found == task_json) {
            return Ok(());
        }
        let temporary = path.join(".task.json.new");
        let mut file = File::create(&temporary)?;
        file.write_all(task_json)?;
        file.sync_all()?;
        fs::rename(&temporary, &target)?;
        File::open(&path)?.sync_all()
    }

    /// Whether a worker has begun to write into an attempt's folder. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be read.
    pub fn has_begun(&self, namespace: &str, task_id: Id, attempt: u32) -> io::Result<bool> {
        let path = self.path(namespace, task_id, attempt);
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let name = entry?.file_name();
            if ![TASK_FILE, ".task.json.new", CANCEL_FILE].contains(&&*name.to_string_lossy()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Leaves word in an attempt's folder that its worker is about to be ended because somebody wants that. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be written. A folder that is not there needs no word.
    pub fn announce_cancel(&self, namespace: &str, task_id: Id, attempt: u32) -> io::Result<()> {
        let path = self.path(namespace, task_id, attempt).join(CANCEL_FILE);
        match File::options().write(true).create_new(true).open(path) {
            Ok(file) => file.sync_all(),
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::AlreadyExists].contains(&error.kind()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads what the worker left and checks every digest. Blocks for as long as reading all of it takes.
    ///
    /// # Errors
    /// If the volume cannot be read; whatever is wrong with the trace itself is a [`Found`].
    pub fn inspect(&self, expected: &Expected) -> io::Result<Found> {
        match self.open(expected.namespace, expected.task_id, expected.attempt)? {
            Some(directory) => inspect(&directory, expected),
            None => Ok(Found::Incomplete),
        }
    }

    /// Writes down that an attempt left no trace that can be trusted, and why. What a pass before this one wrote stays; what
    /// the worker wrote in its place does not. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be written.
    pub fn mark_incomplete(&self, namespace: &str, note: &Incomplete) -> io::Result<()> {
        let path = self.path(namespace, note.task_id, note.attempt);
        fs::create_dir_all(&path)?;
        let directory = File::open(&path)?;
        let there = read_beneath(&directory, INCOMPLETE_FILE, MAX_INCOMPLETE_BYTES).ok();
        let there = there.and_then(|bytes| serde_json::from_slice::<Incomplete>(&bytes).ok());
        if there.is_some_and(|there| note.is_of_the_attempt_of(&there)) {
            return Ok(());
        }
        put(&path, &directory, INCOMPLETE_FILE, &serde_json::to_vec_pretty(note)?)
    }

    /// The manifest of an attempt and its bytes. Blocks.
    ///
    /// # Errors
    /// If it is not there or cannot be read.
    pub fn manifest(&self, namespace: &str, task_id: Id, attempt: u32) -> io::Result<(Manifest, Vec<u8>)> {
        self.document(namespace, task_id, attempt, MANIFEST_FILE, MAX_MANIFEST_BYTES)
    }

    /// The note that an attempt left no trace that can be trusted, and its bytes. Blocks.
    ///
    /// # Errors
    /// If it is not there or cannot be read.
    pub fn incomplete(&self, namespace: &str, task_id: Id, attempt: u32) -> io::Result<(Incomplete, Vec<u8>)> {
        self.document(namespace, task_id, attempt, INCOMPLETE_FILE, MAX_INCOMPLETE_BYTES)
    }

    fn document<T: serde::de::DeserializeOwned>(
        &self,
        namespace: &str,
        task_id: Id,
        attempt: u32,
        name: &str,
        max_bytes: u64,
    ) -> io::Result<(T, Vec<u8>)> {
        let directory = self.open(namespace, task_id, attempt)?.ok_or(io::ErrorKind::NotFound)?;
        let bytes = read_beneath(&directory, name, max_bytes)?;
        Ok((serde_json::from_slice(&bytes)?, bytes))
    }

    /// The folder of an attempt, to be read from; none if it is not there. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be read.
    pub fn folder(&self, namespace: &str, task_id: Id, attempt: u32) -> io::Result<Option<TraceFolder>> {
        Ok(self.open(namespace, task_id, attempt)?.map(TraceFolder::new))
    }

    /// Whether an attempt has its provenance. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be read.
    pub fn has_provenance(&self, namespace: &str, task_id: Id, attempt: u32) -> io::Result<bool> {
        let Some(directory) = self.open(namespace, task_id, attempt)? else { return Ok(false) };
        exists(&directory, PROVENANCE_FILE)
    }

    /// Removes what is no part of the trace of an attempt that has ended: the word that it was to be cancelled, what a pod left
    /// that could not claim it, and what lies where the provenance belongs, which before the outcome is recorded only the
    /// worker can have put there. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be written.
    pub fn clear(&self, namespace: &str, task_id: Id, attempt: u32) -> io::Result<()> {
        let Some(directory) = self.open(namespace, task_id, attempt)? else { return Ok(()) };
        let path = self.path(namespace, task_id, attempt);
        let claims = format!(".{CLAIM_FILE}.");
        let mut extra = Vec::new();
        for entry in fs::read_dir(&path)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(&claims) || [CANCEL_FILE, PROVENANCE_FILE].contains(&name.as_str()) {
                extra.push(name);
            }
        }
        if extra.is_empty() {
            return Ok(());
        }
        unsealed(&directory, || extra.iter().try_for_each(|name| remove(&path, &directory, name)))
    }

    /// Writes the provenance of an attempt, over one that is there, also into a folder that is sealed. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be written. What was there before is there still then.
    pub fn write_provenance(
        &self,
        namespace: &str,
        task_id: Id,
        attempt: u32,
        is_complete: bool,
        envelope: &[u8],
    ) -> io::Result<()> {
        let path = self.path(namespace, task_id, attempt);
        let directory = File::open(&path)?;
        unsealed(&directory, || {
            if is_complete {
                // Of a pass that could not believe the manifest yet.
                remove(&path, &directory, INCOMPLETE_FILE)?;
            }
            put(&path, &directory, PROVENANCE_FILE, envelope)
        })
    }

    fn path(&self, namespace: &str, task_id: Id, attempt: u32) -> PathBuf {
        self.root.join(folder(namespace, task_id, attempt))
    }

    fn open(&self, namespace: &str, task_id: Id, attempt: u32) -> io::Result<Option<File>> {
        match File::open(self.path(namespace, task_id, attempt)) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes away the right to write from a folder and the files of its manifest. Blocks; does what it can.
    pub fn seal(&self, namespace: &str, task_id: Id, attempt: u32, manifest: Option<&Manifest>) {
        let path = self.path(namespace, task_id, attempt);
        let Ok(directory) = File::open(&path) else { return };
        let files = manifest.map(|manifest| manifest.files.as_slice()).unwrap_or_default();
        for name in files.iter().map(|file| file.path.as_str()).chain([MANIFEST_FILE]) {
            if let Ok(file) = open_beneath(&directory, name) {
                let _ = file.set_permissions(Permissions::from_mode(0o444));
            }
        }
        let _ = directory.set_permissions(Permissions::from_mode(0o555));
    }

    /// Deletes an attempt's folder, sealed or not, whatever is in it; what is not there is no error. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be written. What is left then goes with the next try.
    pub fn remove(&self, namespace: &str, task_id: Id, attempt: u32) -> io::Result<Freed> {
        remove_folder(&self.root, namespace, &task_id.to_string(), &attempt.to_string())
    }

    /// Whether the root is there: a volume that is not mounted must not be filled.
    pub fn is_mounted(&self) -> bool {
        Path::new(&self.root).is_dir()
    }

    /// Where the volume is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// The present time and the reason, as a note for [`TraceVolume::mark_incomplete`].
pub fn incomplete(expected: &Expected, reason: &str, marked_at: Timestamp) -> Incomplete {
    Incomplete {
        task_id: expected.task_id,
        trace_id: expected.trace_id.clone(),
        attempt: expected.attempt,
        reason: reason.into(),
        marked_at,
    }
}

/// Writes a file of the operator's own into an attempt's folder: all of it or nothing, and for good.
fn put(path: &Path, directory: &File, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = format!(".{name}.new");
    remove(path, directory, &temporary)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).mode(Mode::from_bits_truncate(0o444)).resolve(RESOLVE);
    let mut file = File::from(openat2(directory, temporary.as_str(), how)?);
    file.write_all(content)?;
    file.sync_all()?;
    if is_directory(path, name) {
        remove(path, directory, name)?;
    }
    renameat(directory, temporary.as_str(), directory, name)?;
    directory.sync_all()
}

/// Removes what the worker, or a crash, left under a name that is the operator's.
fn remove(path: &Path, directory: &File, name: &str) -> io::Result<()> {
    if is_directory(path, name) {
        // Follows no link, and no worker can change what is above the folder.
        return fs::remove_dir_all(path.join(name));
    }
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(nix::Error::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_directory(path: &Path, name: &str) -> bool {
    fs::symlink_metadata(path.join(name)).is_ok_and(|found| found.is_dir())
}

/// Does `work` in a folder that may be sealed, and seals it again if it was.
fn unsealed(directory: &File, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let permissions = directory.metadata()?.permissions();
    if permissions.mode() & 0o200 != 0 {
        return work();
    }
    directory.set_permissions(Permissions::from_mode(0o755))?;
    let done = work();
    directory.set_permissions(permissions)?;
    done
}

#[cfg(test)]
#[path = "volume_tests.rs"]
mod tests;
