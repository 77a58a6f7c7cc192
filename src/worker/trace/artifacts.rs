//! What the executor left in `artifacts/`: regular files stay, all else goes, within limits.
//!
//! Run only when no process of the executor is left, so that nothing changes under the sweep.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::files;
use super::names;
use crate::domain::trace::ARTIFACTS_DIR;

/// Deeper folders are removed.
const MAX_DEPTH: usize = 32;
/// Files with longer paths, in bytes, are removed: so that the manifest of all files stays readable.
const MAX_PATH_BYTES: usize = 1024;
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
    /// How many there were.
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

/// What the sweep found.
#[derive(Debug, Default)]
pub struct Swept {
    /// What stays, relative to the trace folder, sorted.
    pub files: Vec<String>,
    /// Removed: symlinks, devices, fifos, sockets, too deep or too long paths.
    pub refused: Examples,
    /// Renamed: `new (was old)`.
    pub renamed: Examples,
    /// Removed because a limit was reached.
    pub over_limit: Examples,
    /// The limit that was reached, in words.
    pub limit: Option<String>,
    total_bytes: u64,
}

/// Sweeps `artifacts/` in `trace_dir`.
///
/// # Errors
/// When the folder can't be read or changed.
pub fn sweep(trace_dir: &Path, limits: Limits) -> io::Result<Swept> {
    let mut swept = Swept::default();
    let root = trace_dir.join(ARTIFACTS_DIR);
    match root.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => walk(&root, ARTIFACTS_DIR, 1, limits, &mut swept)?,
        Ok(_) => {
            files::remove(&root)?;
            swept.refused.note(ARTIFACTS_DIR.into());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    swept.files.sort();
    Ok(swept)
}

fn walk(dir: &Path, name: &str, depth: usize, limits: Limits, swept: &mut Swept) -> io::Result<()> {
    let mut entries: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(dir)? {
        entries.push(entry?.file_name());
    }
    entries.sort();
    for entry in entries {
        let (path, name) = rename_if_needed(dir, name, &entry, swept)?;
        let metadata = path.symlink_metadata()?;
        let too_long = name.len() > MAX_PATH_BYTES;
        if metadata.is_dir() && depth < MAX_DEPTH && !too_long {
            walk(&path, &name, depth + 1, limits, swept)?;
        } else if metadata.is_file() && !too_long {
            keep_within(limits, &path, name, metadata.len(), swept)?;
        } else {
            files::remove(&path)?;
            swept.refused.note(names::plain(name.as_bytes()));
        }
    }
    Ok(())
}

fn keep_within(limits: Limits, path: &Path, name: String, size_bytes: u64, swept: &mut Swept) -> io::Result<()> {
    let total_bytes = swept.total_bytes.saturating_add(size_bytes);
    let broken = if swept.files.len() as u64 >= u64::from(limits.max_files) {
        Some(format!("more than {} artifacts", limits.max_files))
    } else if total_bytes > limits.max_bytes {
        Some(format!("more than {} bytes of artifacts", limits.max_bytes))
    } else {
        None
    };
    match broken {
        Some(limit) => {
            files::remove(path)?;
            swept.over_limit.note(name);
            swept.limit.get_or_insert(limit);
        }
        None => {
            swept.total_bytes = total_bytes;
            swept.files.push(name);
        }
    }
    Ok(())
}

/// The path of `entry` in `dir` and its name below the trace folder, after an odd name was replaced by a plain one.
fn rename_if_needed(dir: &Path, dir_name: &str, entry: &OsString, swept: &mut Swept) -> io::Result<(PathBuf, String)> {
    let plain = names::plain(entry.as_bytes());
    let path = dir.join(entry);
    if entry.as_bytes() == plain.as_bytes() {
        return Ok((path, format!("{dir_name}/{plain}")));
    }
    let free = (0..1000).map(|n| if n == 0 { plain.clone() } else { numbered(&plain, n) });
    for candidate in free {
        let target = dir.join(&candidate);
        if target.symlink_metadata().is_err() {
            fs::rename(&path, &target)?;
            let name = format!("{dir_name}/{candidate}");
            swept.renamed.note(name.clone());
            return Ok((target, name));
        }
    }
    Err(io::Error::other("too many artifacts with names that differ only in what is escaped"))
}

fn numbered(name: &str, n: u32) -> String {
    let mut end = name.len().min(240);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{n}", name.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::fs::symlink;

    use super::*;

    const LIMITS: Limits = Limits { max_files: 10, max_bytes: 1000 };

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(ARTIFACTS_DIR)).unwrap();
        dir
    }

    #[test]
    fn only_regular_files_stay_and_no_link_is_followed() {
        let dir = folder();
        let root = dir.path().join(ARTIFACTS_DIR);
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/report.md"), "x").unwrap();
        symlink("/etc/passwd", root.join("passwd")).unwrap();
        symlink(outside.path(), root.join("dir")).unwrap();
        nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let swept = sweep(dir.path(), LIMITS).unwrap();
        assert_eq!(swept.files, ["artifacts/sub/report.md"]);
        assert_eq!(swept.refused.count, 4);
        assert!(outside.path().join("secret").exists());
        assert!(root.join("passwd").symlink_metadata().is_err());
    }

    #[test]
    fn artifacts_itself_may_not_be_a_link() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/etc", dir.path().join(ARTIFACTS_DIR)).unwrap();
        let swept = sweep(dir.path(), LIMITS).unwrap();
        assert!(swept.files.is_empty());
        assert_eq!(swept.refused.names, ["artifacts"]);
    }

    #[test]
    fn odd_names_are_escaped_without_loss() {
        let dir = folder();
        let root = dir.path().join(ARTIFACTS_DIR);
        fs::write(root.join("a\nb"), "1").unwrap();
        fs::write(root.join("a%0Ab"), "2").unwrap();
        fs::write(root.join(OsStr::from_bytes(b"\xff")), "3").unwrap();
        let swept = sweep(dir.path(), LIMITS).unwrap();
        assert_eq!(swept.files, ["artifacts/%FF", "artifacts/a%0Ab", "artifacts/a%0Ab~1"]);
        assert_eq!(swept.renamed.count, 2);
    }

    #[test]
    fn the_limits_are_named_and_kept() {
        let dir = folder();
        for n in 0..12 {
            fs::write(dir.path().join(format!("artifacts/{n:02}")), "x").unwrap();
        }
        let swept = sweep(dir.path(), LIMITS).unwrap();
        assert_eq!((swept.files.len(), swept.over_limit.count), (10, 2));
        assert_eq!(swept.limit.as_deref(), Some("more than 10 artifacts"));

        let dir = folder();
        fs::write(dir.path().join("artifacts/a"), vec![0; 600]).unwrap();
        fs::write(dir.path().join("artifacts/b"), vec![0; 600]).unwrap();
        let swept = sweep(dir.path(), LIMITS).unwrap();
        assert_eq!(swept.files, ["artifacts/a"]);
        assert_eq!(swept.limit.as_deref(), Some("more than 1000 bytes of artifacts"));
        assert!(!dir.path().join("artifacts/b").exists());
    }

    #[test]
    fn deep_and_long_paths_are_refused() {
        let dir = folder();
        let mut deep = dir.path().join(ARTIFACTS_DIR);
        for _ in 0..50 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("x"), "x").unwrap();
        let swept = sweep(dir.path(), LIMITS).unwrap();
        assert!(swept.files.is_empty());
        assert_eq!(swept.refused.count, 1);
    }
}
