//! Handing out the files of an attempt's folder. A name is only ever looked for beneath the folder, a link is never followed,
//! and what was opened is read by its descriptor: another file of that name does not take its place.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use jct_domain::id::hex;
use sha2::{Digest as _, Sha256};

use super::folder::{finding, open_beneath};

/// How much is read at once to hash a file, in bytes.
const PIECE: usize = 256 * 1024;

/// The folder of an attempt.
#[derive(Debug)]
pub struct TraceFolder(File);

/// A file of a trace that is there, or what is wrong with it.
pub type Opened = Result<File, String>;

/// Which content a descriptor had when it was looked at: whatever changes a file changes this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    device: u64,
    inode: u64,
    /// In bytes.
    pub size_bytes: u64,
    changed: (i64, i64),
}

impl TraceFolder {
    pub(super) fn new(directory: File) -> Self {
        Self(directory)
    }

    /// Opens the regular file called `name`, relative to the folder. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be read; whatever an executor can bring about is in the inner one.
    pub fn open(&self, name: &str) -> io::Result<Opened> {
        match open_beneath(&self.0, name) {
            Ok(file) => Ok(Ok(file)),
            Err(error) => finding(error, name).map(Err),
        }
    }
}

impl Stamp {
    /// That of `file` as it is now. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be read.
    pub fn of(file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size_bytes: found.size(),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    /// When the file was last changed, in seconds of Unix time.
    pub fn changed_at(&self) -> i64 {
        self.changed.0
    }

    /// The SHA-256 of the `file` that has this stamp, in lower-case hex digits; none if it changes meanwhile. Blocks for as long
    /// as reading all of it takes.
    ///
    /// # Errors
    /// If the volume cannot be read.
    pub fn sha256(&self, file: &File) -> io::Result<Option<String>> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        while at < self.size_bytes {
            let read = file.read_at(&mut buffer, at)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
            hash.update(bytes);
            at += read as u64;
        }
        let is_same = at == self.size_bytes && Self::of(file)? == *self;
        Ok(is_same.then(|| hex(&hash.finalize())))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rstest::rstest;

    use super::*;

    #[test]
    fn a_file_that_grows_or_changes_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.md");
        fs::write(&path, "abc").unwrap();
        let file = File::open(&path).unwrap();
        let stamp = Stamp::of(&file).unwrap();
        let sha256 = stamp.sha256(&file).unwrap().unwrap();
        assert_eq!(sha256, jct_domain::id::sha256_hex(b"abc"));
        fs::write(&path, "abcd").unwrap();
        assert_ne!(Stamp::of(&file).unwrap(), stamp);
        assert_eq!(stamp.sha256(&file).unwrap(), None, "longer");
        fs::write(&path, "a").unwrap();
        assert_eq!(stamp.sha256(&file).unwrap(), None, "shorter");
    }

    #[rstest]
    #[case("report.md", true)]
    #[case("../secret", false)]
    #[case("/etc/hostname", false)]
    #[case("link", false)]
    #[case("away/hostname", false)]
    #[case("artifacts", false)]
    #[case("twice", false)]
    #[case("none", false)]
    fn nothing_but_plain_files_of_the_folder_are_opened(#[case] name: &str, #[case] opens: bool) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("1");
        fs::create_dir_all(path.join("artifacts")).unwrap();
        fs::write(root.path().join("secret"), "secret").unwrap();
        fs::write(path.join("report.md"), "report").unwrap();
        fs::write(path.join("twice"), "twice").unwrap();
        fs::hard_link(path.join("twice"), root.path().join("elsewhere")).unwrap();
        symlink("report.md", path.join("link")).unwrap();
        symlink("/etc", path.join("away")).unwrap();
        let folder = TraceFolder::new(File::open(&path).unwrap());
        assert_eq!(folder.open(name).unwrap().is_ok(), opens, "{name}");
    }
}
