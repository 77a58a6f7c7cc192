//! What the folders of an executor take on disk, and what it holds open without a name.
//!
//! The folders are the executor's, while one looks: it renames, replaces and closes them as it likes. So all is done by
//! descriptors, and no link is ever followed. What it keeps from being counted is more than it may have; what can't be
//! counted for any other reason is told, and never taken for nothing.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{Pid, geteuid};

use jct_untrusted::process::{is_gone, is_running};

/// The least time between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// So many times as long as a look takes is the time to the next one: a large tree is not walked all the time.
const REST: u32 = 20;
/// What an entry takes at least, in bytes: a file system has only so many, and an empty file takes no block.
const ENTRY_BYTES: u64 = 4096;
/// How often a folder is opened again that is closed while it is looked at.
const REOPENED: usize = 3;
/// Of the paths of folders that are still to be looked at, more is not kept in mind, in bytes: a tree that is made to need our
/// memory is too large.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// So many looks one after the other may fail. One may: memory or descriptors may be short for a moment.
const FAILED_LOOKS: usize = 3;
/// The time to the next look after one that failed.
const AGAIN: Duration = Duration::from_millis(200);

/// What a watch ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// More is taken than may be.
    TooMuch,
    /// It can't look any more: why.
    Nothing(String),
}

/// Looks again and again until the folders, and what `holders` hold open of their file systems, take more than `limit` bytes,
/// or until that can't be seen. Blocks; ends with nothing when `go_on` says no.
pub fn watch(
    folders: &[PathBuf],
    limit: u64,
    holders: impl Fn() -> io::Result<Vec<Pid>>,
    go_on: impl Fn() -> bool,
) -> Option<Seen> {
    let mut failed = 0;
    loop {
        let began = Instant::now();
        let rest = match look(folders, limit, &holders) {
            Ok(taken) if taken > limit => return Some(Seen::TooMuch),
            Ok(_) => {
                failed = 0;
                PAUSE.max(began.elapsed() * REST)
            }
            Err(error) => {
                failed += 1;
                if failed == FAILED_LOOKS {
                    return Some(Seen::Nothing(error.to_string()));
                }
                AGAIN
            }
        };
        let next = Instant::now() + rest;
        while Instant::now() < next {
            if !go_on() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn look(folders: &[PathBuf], limit: u64, holders: &impl Fn() -> io::Result<Vec<Pid>>) -> io::Result<u64> {
    let used = used_bytes(folders, limit)?;
    if used > limit {
        return Ok(used);
    }
    Ok(used.saturating_add(nameless_bytes(folders, &holders()?)?))
}

/// What the folders take, in bytes: blocks on disk, so that a hole in a file counts nothing. What cannot be counted, for its
/// path is too long or it is kept closed, is more than anybody may have. Not all is counted when it is more than `enough`.
fn used_bytes(folders: &[PathBuf], enough: u64) -> io::Result<u64> {
    let mut bytes: u64 = 0;
    for folder in folders {
        bytes = bytes.saturating_add(walk(folder, enough)?);
    }
    Ok(bytes)
}

fn walk(root: &Path, enough: u64) -> io::Result<u64> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let root = match open(root, flags, Mode::empty()) {
        Ok(root) => root,
        Err(error) if is_no_folder(error) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let mut bytes: u64 = 0;
    let mut waiting = vec![PathBuf::new()];
    let mut waiting_bytes = 0;
    while let Some(path) = waiting.pop() {
        waiting_bytes -= path.as_os_str().len();
        let mut listed = list(&root, &path, enough - bytes);
        for _ in 1..REOPENED {
            if !listed.as_ref().is_err_and(|error| *error == Errno::EACCES) {
                break;
            }
            let _ = reopen(&root, &path);
            listed = list(&root, &path, enough - bytes);
        }
        match listed {
            Ok(Listed { taken, folders }) => {
                bytes = bytes.saturating_add(taken);
                let folders = folders.into_iter().map(|name| path.join(name));
                waiting.extend(folders.inspect(|path| waiting_bytes += path.as_os_str().len()));
            }
            Err(error) if is_no_folder(error) => {}
            Err(Errno::EACCES) if is_anothers(&root, &path) => {}
            Err(Errno::EACCES | Errno::ENAMETOOLONG) => return Ok(u64::MAX),
            Err(error) => return Err(error.into()),
        }
        if bytes > enough || waiting_bytes > MAX_WAITING_BYTES {
            return Ok(u64::MAX);
        }
    }
    Ok(bytes)
}

/// What is in a folder.
struct Listed {
    /// By its entries, in bytes.
    taken: u64,
    folders: Vec<PathBuf>,
}

/// The entries of the folder at `path` in `root`; not all of them when they take more than `enough`.
fn list(root: &OwnedFd, path: &Path, enough: u64) -> nix::Result<Listed> {
    let folder = descend(root, path, OFlag::O_RDONLY)?;
    let mut entries = Dir::openat(&folder, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut listed = Listed { taken: 0, folders: Vec::new() };
    for entry in entries.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        // Not followed: what a link leads to is not the executor's.
        let found = match fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(error) if is_no_folder(error) => continue,
            Err(error) => return Err(error),
        };
        listed.taken = listed.taken.saturating_add(blocks(&found).max(ENTRY_BYTES));
        if is_folder(&found) {
            listed.folders.push(OsStr::from_bytes(name.to_bytes()).into());
        }
        if listed.taken > enough {
            break;
        }
    }
    Ok(listed)
}

/// Opens the folder at `path` in `root`, folder by folder: none of them is a link, whatever is renamed meanwhile.
fn descend(root: &OwnedFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    if path.as_os_str().len() >= nix::libc::PATH_MAX.cast_unsigned() as usize {
        return Err(Errno::ENAMETOOLONG);
    }
    let common = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut folder: Option<OwnedFd> = None;
    for name in path {
        let next = openat(folder.as_ref().unwrap_or(root), name, OFlag::O_PATH | common, Mode::empty())?;
        folder = Some(next);
    }
    openat(folder.as_ref().unwrap_or(root), ".", flags | common, Mode::empty())
}

/// Opens the folder at `path` for us again, and all that lead to it: their owner, as whom we run too, closed them.
fn reopen(root: &OwnedFd, path: &Path) -> io::Result<()> {
    let mut at = PathBuf::new();
    open_up(root)?;
    for name in path {
        let parent = descend(root, &at, OFlag::O_PATH)?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        open_up(&openat(&parent, name, flags, Mode::empty())?)?;
        at.push(name);
    }
    Ok(())
}

/// Lets us into a folder that is ours.
fn open_up(folder: &OwnedFd) -> io::Result<()> {
    let found = fstat(folder)?;
    if is_folder(&found) && found.st_uid == geteuid().as_raw() && found.st_mode & 0o700 != 0o700 {
        // By what the descriptor stands for, not by a name.
        let itself = format!("/proc/self/fd/{}", folder.as_raw_fd());
        fs::set_permissions(itself, fs::Permissions::from_mode((found.st_mode & 0o7777) | 0o700))?;
    }
    Ok(())
}

/// Whether the folder that can't be listed is not ours: no executor has put anything there then.
fn is_anothers(root: &OwnedFd, path: &Path) -> bool {
    let folder = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => descend(root, parent, OFlag::O_PATH)
            .and_then(|parent| fstatat(parent.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW)),
        _ => fstat(root),
    };
    folder.is_ok_and(|found| found.st_uid != geteuid().as_raw())
}

/// What regular files without any name take that these processes hold open, in bytes.
///
/// # Errors
/// Also when one of them hides what it holds open. A process does so by itself for a moment, on the way from one program to
/// another.
fn nameless_bytes(folders: &[PathBuf], holders: &[Pid]) -> io::Result<u64> {
    let mut devices = Vec::new();
    for folder in folders {
        match folder.metadata() {
            Ok(metadata) => devices.push(metadata.dev()),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let mut found = HashMap::new();
    for holder in holders {
        for descriptor in open_files(*holder)? {
            // Through the descriptor: the name that it had may be another's now.
            match descriptor.and_then(|descriptor| descriptor.path().metadata()) {
                Ok(file) if file.is_file() && file.nlink() == 0 && devices.contains(&file.dev()) => {
                    found.insert((file.dev(), file.ino()), file.blocks() * 512);
                }
                Ok(_) => {}
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(hidden(*holder, &error)),
            }
        }
    }
    Ok(found.into_values().sum())
}

/// The descriptors of a process: those of any of its threads that lives, for they share them, and the first one of a process
/// may end long before the others, and show none.
fn open_files(holder: Pid) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    let mut open = None;
    for thread in there(fs::read_dir(format!("/proc/{holder}/task")))?.into_iter().flatten() {
        let Some(thread) = there(thread)?.map(|thread| thread.path()) else { continue };
        let listed = there(fs::read_dir(thread.join("fd")));
        if is_running(&thread)? {
            open = listed.map_err(|error| hidden(holder, &error))?;
            break;
        }
    }
    Ok(open.into_iter().flatten())
}

/// What is there, or none if it is gone.
fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn hidden(holder: Pid, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("what process {holder} holds open can't be seen: {error}"))
}

fn is_folder(found: &FileStat) -> bool {
    found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits()
}

fn blocks(found: &FileStat) -> u64 {
    u64::try_from(found.st_blocks).unwrap_or(0) * 512
}

/// Gone meanwhile, or replaced by what is no folder.
fn is_no_folder(error: Errno) -> bool {
    matches!(error, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP)
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
