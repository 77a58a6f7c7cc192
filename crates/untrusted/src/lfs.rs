//! Files of Git LFS: the repository has pointers to them, and what they point to is not fetched. Found by what they hold.

use std::path::Path;

use crate::Failure;
use crate::files::read_regular;
use crate::git::listing::{Names, Records};
use crate::git::repository::below;

/// Pointers are smaller than this, in bytes: <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>.
pub const MAX_POINTER_BYTES: u64 = 1024;

/// The pointers in a tree, as they are found.
#[derive(Debug, Default)]
pub struct Pointers {
    records: Records,
    /// Where they are.
    pub found: Names,
}

/// Whether a file of this size may be a pointer.
pub fn may_be_pointer(size_bytes: u64) -> bool {
    (100..MAX_POINTER_BYTES).contains(&size_bytes)
}

impl Pointers {
    /// Takes the next bytes of a listing by `git ls-tree -r -z --long`, and looks at what of it was checked out in `workspace`.
    ///
    /// # Errors
    /// As [`Records::push`].
    pub fn push(&mut self, workspace: &Path, chunk: &[u8]) -> Result<(), Failure> {
        let Self { records, found } = self;
        records.push(chunk, |record| {
            if let Some(path) = candidate(record)
                && read_regular(&below(workspace, path), MAX_POINTER_BYTES).is_ok_and(|bytes| is_pointer(&bytes))
            {
                found.note(path);
            }
            Ok(())
        })
    }
}

/// The path in `<mode> <type> <id> <size>\t<path>`, if it may be that of a pointer.
fn candidate(record: &[u8]) -> Option<&[u8]> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let mut columns = std::str::from_utf8(record.get(..tab)?).ok()?.split_ascii_whitespace();
    let is_file = columns.next()?.starts_with("100");
    let size_bytes = columns.nth(2)?.parse().ok()?;
    if is_file && may_be_pointer(size_bytes) { record.get(tab + 1..) } else { None }
}

/// Whether a file that holds this is a pointer: a version, then sorted keys, of which there is an id and a size.
pub fn is_pointer(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.strip_prefix("version "));
    let is_known = matches!(version, Some("https://git-lfs.github.com/spec/v1" | "https://hawser.github.com/spec/v1"));
    let has = |key: &str| text.lines().any(|line| line.strip_prefix(key).is_some_and(|value| !value.is_empty()));
    is_known && has("oid sha256:") && has("size ")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
        oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

    #[rstest]
    #[case::pointer(POINTER.into(), true)]
    #[case::with_an_extension(POINTER.replace("oid", "ext-0-foo sha256:abc\noid"), true)]
    #[case::words_about_it(format!("A pointer looks so:\n{POINTER}"), false)]
    #[case::no_size(POINTER.replace("size 12345\n", ""), false)]
    #[case::another_version(POINTER.replace("spec/v1", "spec/v9"), false)]
    fn pointers_are_known_by_what_they_hold(#[case] text: String, #[case] expected: bool) {
        assert_eq!(is_pointer(text.as_bytes()), expected);
    }

    #[test]
    fn only_small_files_are_looked_at() {
        assert_eq!(candidate(b"100644 blob aa     130\ta b"), Some(&b"a b"[..]));
        for other in ["100644 blob aa    1024\ta", "120000 blob aa     130\ta", "160000 commit aa       -\ta", "x"] {
            assert_eq!(candidate(other.as_bytes()), None, "{other}");
        }
    }
}
