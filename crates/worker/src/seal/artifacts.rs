//! What the executor left to become artifacts: regular files are copied into the trace, all else stays out, within limits.
//!
//! Nothing is followed: each folder is opened from the one above it, each file with `O_NOFOLLOW`, so that it makes no
//! difference whether anything still changes under us.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::dir::Dir;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use jct_domain::trace::ARTIFACTS_DIR;
use jct_untrusted::files::create_anew;
use jct_untrusted::names;

/// Deeper folders are refused.
const MAX_DEPTH: usize = 32;
/// Files with longer paths, in bytes, are refused: so that the manifest of all files stays readable.
const MAX_PATH_BYTES: usize = 1024;
/// How many entries are looked at, kept or not: an executor can make empty files without end.
const MAX_ENTRIES: u64 = 200_000;
/// How many names of one kind of finding are told.
const MAX_EXAMPLES: usize = 20;

/// How much an executor may leave.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Greatest number of files.
    pub max_files: u32,
    /// Greatest size of all together, in bytes.
    pub max_bytes: u64,
}

/// Names, of which only the first few are kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Examples {
    pub count: u64,
    /// The first of them, escaped.
    pub names: Vec<String>,
}

impl Examples {
    fn note(&mut self, name: String) {
        self.count += 1;
        if self.names.len() < MAX_EXAMPLES {
            self.names.push(name);
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Taken {
    /// What was taken, relative to the trace folder, sorted.
    pub files: Vec<String>,
    /// Left out: symlinks, hard links, devices, FIFOs, sockets, sparse giants, too deep or too long paths, reserved names.
    pub refused: Examples,
    /// Taken under another name: the new one.
    pub renamed: Examples,
    /// Left out because a limit was reached.
    pub over_limit: Examples,
    /// Left out because there was no time.
    pub too_late: Examples,
    /// The limit that was reached, in words.
    pub limit: Option<String>,
}

/// Copies what is in `from` into `into`, a folder of ours, which holds nothing of these names yet.
///
/// # Errors
/// When `into` can't be written. What can't be read in `from` is left out.
pub fn take(
    from: &Path,
    into: &Path,
    limits: Limits,
    reserved: &[&str],
    deadline: Option<Instant>,
) -> io::Result<Taken> {
    let mut walk = Walk { limits, reserved, deadline, entries: 0, total_bytes: 0, taken: Taken::default() };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match nix::fcntl::open(from, flags, Mode::empty()) {
        Ok(root) => walk.folder(root, into, "", 1)?,
        Err(nix::Error::ENOENT) => {}
        // The folder itself was replaced by something else.
        Err(_) => walk.taken.refused.note(ARTIFACTS_DIR.into()),
    }
    walk.taken.files.sort();
    Ok(walk.taken)
}

struct Walk<'a> {
    limits: Limits,
    reserved: &'a [&'a str],
    deadline: Option<Instant>,
    entries: u64,
    total_bytes: u64,
    taken: Taken,
}

impl Walk<'_> {
    fn folder(&mut self, dir: OwnedFd, into: &Path, name: &str, depth: usize) -> io::Result<()> {
        for entry in self.entries(dir.as_fd().try_clone_to_owned()?) {
            let plain = free_name(into, &names::plain(entry.as_bytes()));
            let path = if name.is_empty() { plain.clone() } else { format!("{name}/{plain}") };
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.taken.too_late.note(path);
                continue;
            }
            if path.len() > MAX_PATH_BYTES || self.reserved.contains(&path.as_str()) {
                self.taken.refused.note(path);
                continue;
            }
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
            let opened = CString::new(entry.as_bytes())
                .ok()
                .and_then(|entry| openat(&dir, entry.as_c_str(), flags, Mode::empty()).ok());
            let Some(file) = opened.map(File::from) else {
                self.taken.refused.note(path);
                continue;
            };
            let metadata = file.metadata()?;
            if metadata.is_dir() && depth < MAX_DEPTH {
                let below = into.join(&plain);
                self.folder(file.into(), &below, &path, depth + 1)?;
            } else if metadata.is_file() && metadata.nlink() == 1 {
                self.file(&file, &metadata, into.join(&plain), path, &entry)?;
            } else {
                self.taken.refused.note(path);
            }
        }
        Ok(())
    }

    /// The names in a folder, sorted.
    fn entries(&mut self, dir: OwnedFd) -> Vec<OsString> {
        let Ok(mut dir) = Dir::from_fd(dir) else { return Vec::new() };
        let mut found = Vec::new();
        for entry in dir.iter().flatten() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
            if name == "." || name == ".." {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                self.taken.limit.get_or_insert(format!("more than {MAX_ENTRIES} files and folders"));
                self.taken.over_limit.count += 1;
                break;
            }
            found.push(name);
        }
        found.sort();
        found
    }

    fn file(
        &mut self,
        file: &File,
        metadata: &fs::Metadata,
        target: PathBuf,
        path: String,
        entry: &OsStr,
    ) -> io::Result<()> {
        let Limits { max_files, max_bytes } = self.limits;
        let room = max_bytes - self.total_bytes;
        let broken = if self.taken.files.len() as u64 >= u64::from(max_files) {
            Some(format!("more than {max_files} artifacts"))
        } else if metadata.len() > room {
            Some(format!("more than {max_bytes} bytes of artifacts"))
        } else {
            None
        };
        if let Some(limit) = broken {
            self.taken.over_limit.note(path);
            self.taken.limit.get_or_insert(limit);
            return Ok(());
        }
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        // However it grows meanwhile, no more than there is room for.
        self.total_bytes += copy(file, &target, room)?;
        if entry.as_bytes() != target.file_name().unwrap_or_default().as_bytes() {
            self.taken.renamed.note(path.clone());
        }
        self.taken.files.push(format!("{ARTIFACTS_DIR}/{path}"));
        Ok(())
    }
}

fn copy(from: &File, into: &Path, most: u64) -> io::Result<u64> {
    let mut target = create_anew(into)?;
    let bytes = io::copy(&mut from.take(most), &mut target)?;
    target.sync_all()?;
    Ok(bytes)
}

/// `name`, or `name~N` where escaping has made two names the same.
fn free_name(dir: &Path, name: &str) -> String {
    let is_free = |name: &String| dir.join(name).symlink_metadata().is_err();
    let mut end = name.len().min(240);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let short = name.get(..end).unwrap_or_default();
    std::iter::once(name.to_owned())
        .chain((1..1000).map(|n| format!("{short}~{n}")))
        .find(is_free)
        .unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const LIMITS: Limits = Limits { max_files: 10, max_bytes: 1000 };

    struct Folders {
        _root: tempfile::TempDir,
        out: PathBuf,
        into: PathBuf,
    }

    impl Folders {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let (out, into) = (root.path().join("out"), root.path().join("into"));
            fs::create_dir(&out).unwrap();
            fs::create_dir(&into).unwrap();
            Self { _root: root, out, into }
        }

        fn take(&self) -> Taken {
            take(&self.out, &self.into, LIMITS, &["change.patch"], None).unwrap()
        }
    }

    #[test]
    fn only_regular_files_are_taken_and_no_link_is_followed() {
        let folders = Folders::new();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        fs::create_dir(folders.out.join("sub")).unwrap();
        fs::write(folders.out.join("sub/report.md"), "x").unwrap();
        fs::write(folders.out.join("change.patch"), "x").unwrap();
        symlink("/etc/passwd", folders.out.join("passwd")).unwrap();
        symlink(outside.path(), folders.out.join("dir")).unwrap();
        fs::hard_link(outside.path().join("secret"), folders.out.join("hard")).unwrap();
        nix::unistd::mkfifo(&folders.out.join("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folders.out.join("socket")).unwrap();
        let taken = folders.take();
        assert_eq!(taken.files, ["artifacts/sub/report.md"]);
        assert_eq!(taken.refused.names, ["change.patch", "dir", "fifo", "hard", "passwd", "socket"]);
        assert_eq!(fs::read(folders.into.join("sub/report.md")).unwrap(), b"x");
        assert_eq!(fs::read_dir(&folders.into).unwrap().count(), 1);
    }

    #[test]
    fn the_folder_itself_may_not_be_a_link() {
        let folders = Folders::new();
        fs::remove_dir(&folders.out).unwrap();
        assert!(folders.take().files.is_empty(), "nothing there is nothing left");
        symlink("/etc", &folders.out).unwrap();
        let taken = folders.take();
        assert!(taken.files.is_empty());
        assert_eq!(taken.refused.names, ["artifacts"]);
    }

    #[test]
    fn odd_names_are_escaped_without_loss() {
        let folders = Folders::new();
        fs::write(folders.out.join("a\nb"), "1").unwrap();
        fs::write(folders.out.join("a%0Ab"), "2").unwrap();
        fs::write(folders.out.join(OsStr::from_bytes(b"\xff")), "3").unwrap();
        let taken = folders.take();
        assert_eq!(taken.files, ["artifacts/%FF", "artifacts/a%0Ab", "artifacts/a%0Ab~1"]);
        assert_eq!(taken.renamed.count, 3);
        let all: String =
            ["%FF", "a%0Ab", "a%0Ab~1"].map(|name| fs::read_to_string(folders.into.join(name)).unwrap()).concat();
        assert_eq!(all, "312");
    }

    #[test]
    fn the_limits_are_named_and_kept() {
        let folders = Folders::new();
        for n in 0..12 {
            fs::write(folders.out.join(format!("{n:02}")), "x").unwrap();
        }
        let taken = folders.take();
        assert_eq!((taken.files.len(), taken.over_limit.count), (10, 2));
        assert_eq!(taken.limit.as_deref(), Some("more than 10 artifacts"));

        let folders = Folders::new();
        fs::write(folders.out.join("a"), vec![0; 600]).unwrap();
        fs::write(folders.out.join("b"), vec![0; 600]).unwrap();
        File::create(folders.out.join("c")).unwrap().set_len(1 << 40).unwrap();
        let taken = folders.take();
        assert_eq!(taken.files, ["artifacts/a"]);
        assert_eq!(taken.over_limit.names, ["b", "c"]);
        assert_eq!(taken.limit.as_deref(), Some("more than 1000 bytes of artifacts"));
    }

    #[test]
    fn deep_and_long_paths_are_refused() {
        let folders = Folders::new();
        let mut deep = folders.out.clone();
        for _ in 0..50 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("x"), "x").unwrap();
        let taken = folders.take();
        assert!(taken.files.is_empty());
        assert_eq!(taken.refused.count, 1);
    }

    #[test]
    fn when_time_is_up_the_rest_is_told() {
        let folders = Folders::new();
        fs::write(folders.out.join("a"), "x").unwrap();
        let taken = take(&folders.out, &folders.into, LIMITS, &[], Some(Instant::now())).unwrap();
        assert_eq!((taken.files.len(), taken.too_late.names), (0, vec!["a".to_owned()]));
    }
}
