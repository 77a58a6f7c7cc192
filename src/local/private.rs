//! Who may look into the folder of runs: its user alone, whatever the folder was before, and whatever the umask is.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::unistd::geteuid;

use super::StateError;
use crate::domain::checkpoint::CHECKPOINTS_FILE;

const FOLDERS: [&str; 3] = ["traces", "work", "running"];
const FILES: [&str; 8] = [
    "record.db",
    "record.db-wal",
    "record.db-shm",
    "signing.key",
    "keys.json",
    CHECKPOINTS_FILE,
    ".opening.lock",
    ".keys.lock",
];
/// A folder for its owner alone.
const OWN_FOLDER: u32 = 0o700;
/// A file for its owner alone.
const OWN_FILE: u32 = 0o600;
/// What group and others may do.
const OTHERS: u32 = 0o077;
/// What lets group and others put something else in a name's place.
const OTHERS_WRITE: u32 = 0o022;

/// Makes the folder `root` and those in it, for their owner alone, where they are not there. A folder that was there is closed to
/// others unless it holds other things besides: that may be meant for others, and each thing in it that is ours is closed then.
///
/// # Errors
/// [`StateError`]: what can't be made, is somebody else's, or holds other things and is open to be written by others.
pub fn folders(root: &Path) -> Result<(), StateError> {
    make(root)?;
    let found = own(root)?;
    if found.mode() & OTHERS != 0 {
        if holds_other_things(root).map_err(|source| StateError::Io { path: root.into(), source })? {
            if found.mode() & OTHERS_WRITE != 0 {
                let problem = "others may write it, and it holds other things than runs".into();
                return Err(StateError::NotOwn { path: root.into(), problem });
            }
        } else {
            close(root, OWN_FOLDER)?;
        }
    }
    for path in FOLDERS.map(|name| root.join(name)) {
        make(&path)?;
        if own(&path)?.mode() & OTHERS != 0 {
            close(&path, OWN_FOLDER)?;
        }
    }
    Ok(())
}

/// Closes the files of the folder that are there.
///
/// # Errors
/// As [`folders`].
pub fn files(root: &Path) -> Result<(), StateError> {
    for path in FILES.map(|name| root.join(name)).iter().filter(|path| path.symlink_metadata().is_ok()) {
        if own(path)?.mode() & OTHERS != 0 {
            close(path, OWN_FILE)?;
        }
    }
    Ok(())
}

/// A file for its owner alone from the moment that it is there.
///
/// # Errors
/// If it can't be opened.
pub fn file(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(OWN_FILE).open(path)
}

fn make(path: &Path) -> Result<(), StateError> {
    let made = DirBuilder::new().recursive(true).mode(OWN_FOLDER).create(path);
    made.map_err(|source| StateError::Io { path: path.into(), source })
}

/// What is at `path`, if it is this user's.
fn own(path: &Path) -> Result<Metadata, StateError> {
    let found = fs::metadata(path).map_err(|source| StateError::Io { path: path.into(), source })?;
    let user = geteuid();
    if found.uid() == user.as_raw() {
        return Ok(found);
    }
    let problem = format!("it belongs to user {}, and this is user {user}", found.uid());
    Err(StateError::NotOwn { path: path.into(), problem })
}

fn close(path: &Path, mode: u32) -> Result<(), StateError> {
    let closed = fs::set_permissions(path, Permissions::from_mode(mode));
    closed.map_err(|source| StateError::Io { path: path.into(), source })
}

fn holds_other_things(root: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        if !FOLDERS.iter().chain(&FILES).any(|own| name == *own) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[rstest]
    #[case::own(None, 0o755, 0o700)]
    #[case::ours(Some("record.db"), 0o775, 0o700)]
    #[case::shared(Some("notes.txt"), 0o755, 0o755)]
    fn what_is_there_is_closed_to_others(#[case] holds: Option<&str>, #[case] before: u32, #[case] after: u32) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for name in holds.into_iter().chain(["signing.key"]) {
            fs::write(root.join(name), "").unwrap();
            fs::set_permissions(root.join(name), Permissions::from_mode(0o644)).unwrap();
        }
        fs::create_dir(root.join("traces")).unwrap();
        fs::set_permissions(root.join("traces"), Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(root, Permissions::from_mode(before)).unwrap();
        folders(root).unwrap();
        files(root).unwrap();
        assert_eq!(mode(root), after);
        assert_eq!((mode(&root.join("traces")), mode(&root.join("signing.key"))), (0o700, 0o600));
        let others = root.join("notes.txt");
        assert!(!others.exists() || mode(&others) == 0o644, "what is not ours is left alone");
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = if geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(4711), None).unwrap();
            dir.path()
        } else {
            Path::new("/usr")
        };
        let refused = folders(path).unwrap_err().to_string();
        assert!(refused.contains("it belongs to user"), "{refused}");
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes.txt"), "").unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).unwrap();
        let refused = folders(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("others may write it"), "{refused}");
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o7777, 0o1777, "it is left as it was");
        assert!(!dir.path().join("traces").exists());
    }
}
