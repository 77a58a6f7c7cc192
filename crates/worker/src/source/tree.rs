//! Counts the tree of a commit as `git ls-tree -r -z --long` lists it, and finds the target's path in it. Pure.

use jct_domain::FailureReason;
use jct_untrusted::Failure;
use jct_untrusted::git::listing::Names;
use jct_untrusted::lfs::may_be_pointer;
use jct_untrusted::path::{normalize, path_not_found};

/// A longer entry is no honest tree's, in bytes.
const MAX_ENTRY_BYTES: usize = 64 * 1024;

/// How large a source may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Greatest number of files.
    pub max_files: u64,
    /// Greatest size of all together, in bytes.
    pub max_bytes: u64,
}

/// The sums over the tree so far.
#[derive(Debug)]
pub struct Tree {
    limits: Limits,
    path: String,
    partial: Vec<u8>,
    path_found: bool,
    /// Files, symlinks and submodules.
    pub files: u64,
    /// Size of the files, in bytes.
    pub bytes: u64,
    /// Submodules, which are not fetched.
    pub submodules: Names,
    /// Symlinks, which are not followed.
    pub symlinks: u64,
    /// Whether a file has the size of a pointer to one of Git LFS.
    pub may_have_pointers: bool,
}

impl Tree {
    /// An empty tree in which `path` is looked for.
    ///
    /// # Errors
    /// [`FailureReason::PathNotFound`] if the path leads out of the repository.
    pub fn new(limits: Limits, path: &str) -> Result<Self, Failure> {
        let path = normalize(path)?;
        let path_found = path.is_empty();
        let partial = Vec::new();
        Ok(Self {
            limits,
            path,
            partial,
            path_found,
            files: 0,
            bytes: 0,
            submodules: Names::default(),
            symlinks: 0,
            may_have_pointers: false,
        })
    }

    /// Takes the next bytes of the listing.
    ///
    /// # Errors
    /// [`FailureReason::SourceTooLarge`] as soon as a limit is passed; [`FailureReason::PathNotFound`] as soon as the
    /// path is seen to lead out. The listing need not be read on then.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            let mut entry = std::mem::take(&mut self.partial);
            entry.extend(rest.get(..end).unwrap_or_default());
            rest = rest.get(end + 1..).unwrap_or_default();
            self.entry(&entry)?;
        }
        self.partial.extend(rest);
        if self.partial.len() > MAX_ENTRY_BYTES {
            return Err(too_large("the tree has an entry with a path of more than 64 KiB".into()));
        }
        Ok(())
    }

    /// The end of the listing.
    ///
    /// # Errors
    /// [`FailureReason::PathNotFound`] if the path was not seen.
    pub fn finish(&self) -> Result<(), Failure> {
        if self.path_found {
            return Ok(());
        }
        Err(path_not_found(&self.path, "the repository has no such file or folder at this ref"))
    }

    /// `<mode> <type> <id> <size>\t<path>`
    fn entry(&mut self, entry: &[u8]) -> Result<(), Failure> {
        let malformed = || Failure::new(FailureReason::WorkerFailed, "git ls-tree printed something unexpected");
        let tab = entry.iter().position(|byte| *byte == b'\t').ok_or_else(malformed)?;
        let (head, path) = entry.split_at(tab);
        let path = path.get(1..).unwrap_or_default();
        let head = std::str::from_utf8(head).map_err(|_| malformed())?;
        let mut columns = head.split_ascii_whitespace();
        let mode = columns.next().ok_or_else(malformed)?;
        let size_bytes = columns.nth(2).and_then(|size| size.parse::<u64>().ok()).unwrap_or(0);

        self.files += 1;
        self.bytes = self.bytes.saturating_add(size_bytes);
        if mode == "160000" {
            self.submodules.note(path);
        }
        self.may_have_pointers |= may_be_pointer(size_bytes);
        self.symlinks += u64::from(mode == "120000");
        if self.files > self.limits.max_files {
            return Err(too_large(format!("the tree has more than {} files", self.limits.max_files)));
        }
        if self.bytes > self.limits.max_bytes {
            return Err(too_large(format!("the tree's files are larger than {} bytes", self.limits.max_bytes)));
        }
        self.look_for_path(mode, path)
    }

    fn look_for_path(&mut self, mode: &str, path: &[u8]) -> Result<(), Failure> {
        let wanted = self.path.as_bytes();
        let is_inside = |inner: &[u8], outer: &[u8]| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
        };
        if is_inside(wanted, path) && mode == "120000" {
            return Err(path_not_found(&self.path, "it is or passes a symlink, which may lead out of the repository"));
        }
        if is_inside(wanted, path) && mode == "160000" {
            return Err(path_not_found(&self.path, "it is or passes a submodule, which is not fetched"));
        }
        self.path_found |= is_inside(path, wanted) || wanted.is_empty();
        Ok(())
    }
}

fn too_large(message: String) -> Failure {
    Failure::new(FailureReason::SourceTooLarge, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const LISTING: &str = "100644 blob aaaa      12\tREADME.md\x00100755 blob aaaa       3\tsrc/a/b.rs\x00\
        120000 blob aaaa       9\tlink\x00160000 commit aaaa       -\tvendor/sub\x00100644 blob aaaa 1\tsrc-old/x\x00";
    const LIMITS: Limits = Limits { max_files: 5, max_bytes: 25 };

    fn count(limits: Limits, path: &str) -> Result<Tree, Failure> {
        let mut tree = Tree::new(limits, path)?;
        tree.push(LISTING.as_bytes())?;
        tree.finish()?;
        Ok(tree)
    }

    #[rstest]
    #[case("")]
    #[case(".")]
    #[case("README.md")]
    #[case("./src//a/")]
    #[case("src/a/b.rs")]
    #[case("vendor")]
    fn finds(#[case] path: &str) {
        let tree = count(LIMITS, path).unwrap();
        assert_eq!((tree.files, tree.bytes, tree.submodules.count(), tree.symlinks), (5, 25, 1, 1));
    }

    #[rstest]
    #[case("../../etc", "out of the repository")]
    #[case("/etc", "out of the repository")]
    #[case("src/../..", "out of the repository")]
    #[case("link", "symlink")]
    #[case("link/passwd", "symlink")]
    #[case("vendor/sub/x", "submodule")]
    #[case("sr", "no such")]
    #[case("src/a/b.rs/c", "no such")]
    fn does_not_find(#[case] path: &str, #[case] expected: &str) {
        let failure = count(LIMITS, path).unwrap_err();
        assert_eq!(failure.reason, FailureReason::PathNotFound);
        assert!(failure.message.contains(expected), "{failure}");
    }

    #[test]
    fn limits_hold() {
        for limits in [Limits { max_files: 4, ..LIMITS }, Limits { max_bytes: 24, ..LIMITS }] {
            assert_eq!(count(limits, "").unwrap_err().reason, FailureReason::SourceTooLarge);
        }
        let mut tree = Tree::new(LIMITS, "").unwrap();
        assert!(tree.push(&[b'x'; MAX_ENTRY_BYTES + 1]).is_err());
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(size in 1usize..200) {
            let mut tree = Tree::new(LIMITS, "src").unwrap();
            for chunk in LISTING.as_bytes().chunks(size) {
                tree.push(chunk).unwrap();
            }
            tree.finish().unwrap();
            prop_assert_eq!((tree.files, tree.bytes), (5, 25));
        }
    }
}
