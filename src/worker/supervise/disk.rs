//! What the folders of an executor take on disk, and what it holds open without a name.

use std::collections::HashMap;
use std::fs::{self, Metadata, Permissions, ReadDir};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::Pid;

/// The least time between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// So many times as long as a look takes is the time to the next one: a large tree is not walked all the time.
const REST: u32 = 20;
/// What an entry takes at least, in bytes: a file system has only so many, and an empty file takes no block.
const ENTRY_BYTES: u64 = 4096;

/// Looks again and again until the folders, and what `holders` hold open of their file systems, take more than `limit` bytes.
/// Blocks; ends when `go_on` says no.
pub fn watch(folders: &[PathBuf], limit: u64, holders: impl Fn() -> Vec<Pid>, go_on: impl Fn() -> bool) -> bool {
    loop {
        let began = Instant::now();
        if used_bytes(folders).saturating_add(nameless_bytes(folders, &holders())) > limit {
            return true;
        }
        let next = Instant::now() + PAUSE.max(began.elapsed() * REST);
        while Instant::now() < next {
            if !go_on() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What the folders take, in bytes: blocks on disk, so that a hole in a file counts nothing. What cannot be counted, for its
/// path is too long, is more than anybody may have.
fn used_bytes(folders: &[PathBuf]) -> u64 {
    folders.iter().fold(0, |bytes, folder| bytes.saturating_add(walk(folder)))
}

fn walk(root: &Path) -> u64 {
    let mut bytes: u64 = 0;
    let mut waiting = vec![root.to_path_buf()];
    while let Some(dir) = waiting.pop() {
        let entries = match list(&dir) {
            Ok(entries) => entries,
            Err(error) if is_too_long(&error) => return u64::MAX,
            // Gone meanwhile.
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            // Not followed: what a link leads to is not the executor's.
            match entry.metadata() {
                Ok(metadata) => {
                    bytes += taken_bytes(&metadata).max(ENTRY_BYTES);
                    if metadata.is_dir() {
                        waiting.push(entry.path());
                    }
                }
                Err(error) if is_too_long(&error) => return u64::MAX,
                Err(_) => {}
            }
        }
    }
    bytes
}

/// The entries of a folder, also of one that its owner has closed: we are the same user.
fn list(dir: &Path) -> io::Result<ReadDir> {
    let refused = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => error,
        other => return other,
    };
    let metadata = dir.symlink_metadata()?;
    if !metadata.is_dir() {
        return Err(refused);
    }
    fs::set_permissions(dir, Permissions::from_mode(metadata.mode() | 0o700))?;
    fs::read_dir(dir)
}

/// What regular files without any name take that these processes hold open, in bytes.
fn nameless_bytes(folders: &[PathBuf], holders: &[Pid]) -> u64 {
    let devices: Vec<u64> = folders.iter().filter_map(|folder| Some(folder.metadata().ok()?.dev())).collect();
    let mut found = HashMap::new();
    for holder in holders {
        // Through the descriptor: the name that it had may be another's now.
        let open = fs::read_dir(format!("/proc/{holder}/fd")).into_iter().flatten().flatten();
        let files = open.filter_map(|descriptor| descriptor.path().metadata().ok());
        let nameless = files.filter(|file| file.is_file() && file.nlink() == 0 && devices.contains(&file.dev()));
        found.extend(nameless.map(|file| ((file.dev(), file.ino()), taken_bytes(&file))));
    }
    found.into_values().sum()
}

fn taken_bytes(metadata: &Metadata) -> u64 {
    metadata.blocks() * 512
}

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ENAMETOOLONG as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(dir: &tempfile::TempDir) -> u64 {
        used_bytes(&[dir.path().to_owned()])
    }

    #[test]
    fn holes_and_links_count_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/a"), vec![1; 1 << 20]).unwrap();
        fs::File::create(dir.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("root")).unwrap();
        let used = used(&dir);
        assert!(((1 << 20)..(2 << 20)).contains(&used), "{used}");
        assert!(watch(&[dir.path().to_owned()], 1 << 19, Vec::new, || true));
        assert!(!watch(&[dir.path().to_owned()], 1 << 30, Vec::new, || false));
    }

    #[test]
    fn empty_files_and_closed_folders_count() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..100 {
            fs::write(dir.path().join(n.to_string()), "").unwrap();
        }
        assert_eq!(used(&dir), 100 * ENTRY_BYTES);
        let closed = dir.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::write(closed.join("a"), vec![1; 1 << 20]).unwrap();
        fs::set_permissions(&closed, Permissions::from_mode(0o300)).unwrap();
        assert!(used(&dir) > 1 << 20);
    }

    #[test]
    fn what_lies_too_deep_is_too_much() {
        let dir = tempfile::tempdir().unwrap();
        let name = "d".repeat(200);
        let mut folder =
            nix::dir::Dir::open(dir.path(), nix::fcntl::OFlag::O_DIRECTORY, nix::sys::stat::Mode::empty()).unwrap();
        for _ in 0..25 {
            nix::sys::stat::mkdirat(&folder, name.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
            folder = nix::dir::Dir::openat(
                &folder,
                name.as_str(),
                nix::fcntl::OFlag::O_DIRECTORY,
                nix::sys::stat::Mode::empty(),
            )
            .unwrap();
        }
        assert_eq!(used(&dir), u64::MAX);
    }

    #[test]
    fn files_without_names_count_once_for_all_that_hold_them() {
        let dir = tempfile::tempdir().unwrap();
        let folders = [dir.path().to_owned()];
        let path = dir.path().join("a");
        fs::write(&path, vec![1; 1 << 20]).unwrap();
        let held = [fs::File::open(&path).unwrap(), fs::File::open(&path).unwrap()];
        let own = [Pid::this()];
        assert_eq!(nameless_bytes(&folders, &own), 0);
        fs::remove_file(path).unwrap();
        assert_eq!((used(&dir), nameless_bytes(&folders, &own)), (0, 1 << 20));
        drop(held);
        assert_eq!(nameless_bytes(&folders, &own), 0);
    }
}
