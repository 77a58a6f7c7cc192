//! Deleting an attempt's folder. What lies in it was written by an executor: no link is followed, nothing above the folder is
//! touched, and neither the depth of folders nor their permissions stand in the way.

use std::ffi::{CStr, CString};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, openat2, renameat};
use nix::sys::stat::{SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::folder::RESOLVE;

/// What the name of a folder begins with that is being deleted.
pub(super) const ASIDE: &str = ".removed-";
/// How many names of a folder are held in memory.
const MAX_NAMES: usize = 10_000;

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Files, and what else is no folder.
    pub files: u64,
    /// Their sizes.
    pub bytes: u64,
}

/// Deletes `<namespace>/<task id>/<attempt>` below `root`, and the folder of the Task with its last attempt. What is not
/// there is no error.
pub(super) fn remove(root: &Path, namespace: &str, task_id: &str, attempt: &str) -> io::Result<Freed> {
    let mut freed = Freed::default();
    let root = File::open(root)?;
    let Some(of_namespace) = open(&root, namespace)? else { return Ok(freed) };
    let Some(of_task) = open(&of_namespace, task_id)? else { return Ok(freed) };
    // Away at once under its name, so that nobody takes what is half deleted for a trace that was changed. What has the other
    // name is of a try that was interrupted.
    let aside = CString::new(format!("{ASIDE}{attempt}"))?;
    remove_all(&of_task, &aside, &mut freed)?;
    match renameat(&of_task, attempt, &of_task, aside.as_c_str()) {
        Ok(()) => remove_all(&of_task, &aside, &mut freed)?,
        Err(Errno::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    of_task.sync_all()?;
    match unlinkat(&of_namespace, task_id, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT | Errno::ENOTEMPTY | Errno::EEXIST) => Ok(freed),
        Err(error) => Err(error.into()),
    }
}

/// Deletes a folder that an executor wrote into, with all that it holds. What is not there is no error. Blocks.
///
/// # Errors
/// If something can't be deleted. What is left then goes with the next try.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let name = CString::new(name.as_bytes())?;
    remove_all(&File::open(parent)?, &name, &mut Freed::default())
}

fn remove_all(of_task: &File, name: &CStr, freed: &mut Freed) -> io::Result<()> {
    let Some(folder) = open_any(of_task, name)? else { return Ok(()) };
    empty(&folder, freed)?;
    remove_folder(of_task, name)
}

/// A folder of the operator's own.
fn open(directory: &File, name: &str) -> io::Result<Option<File>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat2(directory, name, OpenHow::new().flags(flags).resolve(RESOLVE)) {
        Ok(opened) => Ok(Some(File::from(opened))),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A folder that may be sealed, or that its maker has closed to everybody: made open to us first.
fn open_any(directory: &File, name: &CStr) -> io::Result<Option<File>> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let place = match openat2(directory, name, OpenHow::new().flags(flags).resolve(RESOLVE)) {
        Ok(opened) => File::from(opened),
        Err(Errno::ENOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // What is only a place can't be changed by fchmod. The way over /proc leads to just this folder, whatever its name is by now.
    fs::set_permissions(format!("/proc/self/fd/{}", place.as_raw_fd()), Permissions::from_mode(0o700))?;
    open(&place, ".")
}

/// Deletes all that is in `top`. Folders in folders are brought up into `top` one by one, so that no depth asks for more
/// memory or open files.
fn empty(top: &File, freed: &mut Freed) -> io::Result<()> {
    let mut moved = 0_u64;
    loop {
        let names = names(top)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            if is_folder(top, &name, freed)? {
                hollow(top, &name, &mut moved, freed)?;
                remove_folder(top, &name)?;
            } else {
                remove_file(top, &name)?;
            }
        }
    }
}

/// Takes everything out of the folder `name` in `top`: files are deleted, folders become folders of `top`.
fn hollow(top: &File, name: &CStr, moved: &mut u64, freed: &mut Freed) -> io::Result<()> {
    let Some(folder) = open_any(top, name)? else { return Ok(()) };
    loop {
        let names = names(&folder)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            if is_folder(&folder, &name, freed)? {
                // Who moves a folder must be allowed to write to it: its `..` changes.
                drop(open_any(&folder, &name)?);
                raise(&folder, &name, top, moved)?;
            } else {
                remove_file(&folder, &name)?;
            }
        }
    }
}

fn raise(folder: &File, name: &CStr, top: &File, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        match renameat(folder, name, top, format!("{ASIDE}{moved}").as_str()) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            // Somebody thought of the name before.
            Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether it is a folder; else it is counted, as about to be deleted.
fn is_folder(directory: &File, name: &CStr, freed: &mut Freed) -> io::Result<bool> {
    let stat = match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::ENOENT) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
        return Ok(true);
    }
    freed.files += 1;
    freed.bytes = freed.bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or_default());
    Ok(false)
}

fn names(directory: &File) -> io::Result<Vec<CString>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = openat2(directory, ".", OpenHow::new().flags(flags).resolve(RESOLVE))?;
    let mut opened = Dir::from_fd(opened)?;
    let mut names = Vec::new();
    for entry in opened.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if ![b".".as_slice(), b".."].contains(&name.to_bytes()) {
            names.push(name.to_owned());
        }
        if names.len() == MAX_NAMES {
            break;
        }
    }
    Ok(names)
}

fn remove_file(directory: &File, name: &CStr) -> io::Result<()> {
    gone(unlinkat(directory, name, UnlinkatFlags::NoRemoveDir))
}

fn remove_folder(directory: &File, name: &CStr) -> io::Result<()> {
    gone(unlinkat(directory, name, UnlinkatFlags::RemoveDir))
}

fn gone(removed: nix::Result<()>) -> io::Result<()> {
    match removed {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use nix::fcntl::openat;
    use nix::sys::stat::{Mode, mkdirat};

    use super::*;

    struct Fixture {
        root: tempfile::TempDir,
        folder: PathBuf,
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let folder = root.path().join("volume/team/task/1");
            fs::create_dir_all(&folder).unwrap();
            Self { root, folder }
        }

        fn remove(&self) -> io::Result<Freed> {
            remove(&self.root.path().join("volume"), "team", "task", "1")
        }

        /// Makes folders in folders, deeper than any path may be long.
        fn deepen(&self) {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            let mut place: std::os::fd::OwnedFd = File::open(&self.folder).unwrap().into();
            for _ in 0..3000 {
                mkdirat(&place, "d", Mode::S_IRWXU).unwrap();
                place = openat(&place, "d", flags, Mode::empty()).unwrap();
            }
        }

        fn chmod(&self, name: &str, mode: u32) {
            fs::set_permissions(self.folder.join(name), Permissions::from_mode(mode)).unwrap();
        }
    }

    #[test]
    fn a_sealed_folder_goes_and_its_neighbours_stay() {
        let fixture = Fixture::new();
        fs::create_dir(fixture.folder.join("artifacts")).unwrap();
        fs::write(fixture.folder.join("artifacts/report.md"), "# Report").unwrap();
        fs::write(fixture.folder.join("manifest.json"), "{}").unwrap();
        fixture.chmod("manifest.json", 0o444);
        fixture.chmod("artifacts", 0o000);
        fixture.chmod("", 0o555);
        let second = fixture.folder.with_file_name("2");
        fs::create_dir(&second).unwrap();
        assert_eq!(fixture.remove().unwrap(), Freed { files: 2, bytes: 10 });
        assert!(!fixture.folder.exists() && second.exists());
        assert_eq!(fixture.remove().unwrap(), Freed::default());

        let volume = fixture.root.path().join("volume");
        remove(&volume, "team", "task", "2").unwrap();
        assert!(!volume.join("team/task").exists() && volume.join("team").exists());
        assert_eq!(fixture.remove().unwrap(), Freed::default());
        assert!(remove(&fixture.root.path().join("nothing"), "team", "task", "1").is_err());
    }

    #[test]
    fn no_link_is_followed() {
        let fixture = Fixture::new();
        let outside = fixture.root.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        symlink(&outside, fixture.folder.join("folder")).unwrap();
        symlink("../../../../outside/secret", fixture.folder.join("file")).unwrap();
        symlink("nowhere", fixture.folder.join("dangling")).unwrap();
        fs::hard_link(outside.join("secret"), fixture.folder.join("hard")).unwrap();
        nix::unistd::mkfifo(&fixture.folder.join("pipe"), Mode::S_IRWXU).unwrap();
        fixture.remove().unwrap();
        assert!(!fixture.folder.exists());
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
        assert_eq!(fs::metadata(&outside).unwrap().permissions().mode() & 0o700, 0o700);
    }

    #[test]
    fn a_folder_that_is_a_link_is_left_alone() {
        let fixture = Fixture::new();
        let outside = fixture.root.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        fs::remove_dir(&fixture.folder).unwrap();
        symlink(&outside, &fixture.folder).unwrap();
        assert!(fixture.remove().is_err());
        fs::remove_file(fixture.folder.with_file_name(".removed-1")).unwrap();
        fs::remove_dir(fixture.folder.parent().unwrap()).unwrap();
        symlink(&outside, fixture.folder.parent().unwrap()).unwrap();
        assert!(fixture.remove().is_err());
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn a_try_that_was_interrupted_is_finished() {
        let fixture = Fixture::new();
        let aside = fixture.folder.with_file_name(".removed-1");
        fs::rename(&fixture.folder, &aside).unwrap();
        fs::write(aside.join("left"), "left").unwrap();
        assert_eq!(fixture.remove().unwrap(), Freed { files: 1, bytes: 4 });
        assert!(!fixture.folder.parent().unwrap().exists());
    }

    #[test]
    fn names_and_depth_are_no_obstacle() {
        let fixture = Fixture::new();
        fs::write(fixture.folder.join(".removed-1"), "").unwrap();
        fs::create_dir(fixture.folder.join(".removed-2")).unwrap();
        fs::write(fixture.folder.join(".removed-2/file"), "").unwrap();
        fixture.deepen();
        fs::write(fixture.folder.join(std::ffi::OsStr::from_bytes(b"\xff\n")), "").unwrap();
        assert_eq!(fixture.remove().unwrap().files, 3);
        assert!(!fixture.folder.exists());
    }

    #[test]
    fn a_tree_goes_whatever_its_makers_did_to_it() {
        let fixture = Fixture::new();
        fixture.deepen();
        fixture.chmod("d", 0o000);
        fixture.chmod("", 0o555);
        remove_tree(&fixture.folder).unwrap();
        assert!(!fixture.folder.exists() && fixture.folder.parent().unwrap().exists());
        remove_tree(&fixture.folder).unwrap();
    }
}
