//! What changed, as `git diff-index --raw -z` lists it, and whether it may. Pure.

use crate::Failure;
use crate::names::escaped;
use crate::path::is_within;
use jct_domain::FailureReason;
use jct_domain::executor::IgnoredFiles;
use jct_domain::trace::{MAX_PATHS, MAX_PATHS_BYTES};

/// How many names are told of each kind of finding.
const MAX_EXAMPLES: usize = 5;
/// A longer record is no honest tree's, in bytes.
const MAX_RECORD_BYTES: usize = 64 * 1024;

/// How large a change may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeRules {
    /// Greatest number of files, a renamed one counted twice.
    pub max_changed_files: u32,
    /// Greatest size of the patch, in bytes.
    pub max_patch_bytes: u64,
    /// Whether new files that a `.gitignore` of the tree names are a part of it.
    pub ignored_files: IgnoredFiles,
}

/// Splits a stream at NULs.
#[derive(Debug, Default)]
pub struct Records {
    partial: Vec<u8>,
}

impl Records {
    /// Hands on each record that became complete.
    ///
    /// # Errors
    /// What `each` says, and [`FailureReason::ChangeNotAllowed`] for an endless record.
    pub fn push(&mut self, chunk: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        for part in chunk.split_inclusive(|byte| *byte == 0) {
            match part.split_last() {
                Some((0, text)) => {
                    self.partial.extend(text);
                    each(&std::mem::take(&mut self.partial))?;
                }
                _ => self.partial.extend(part),
            }
            if self.partial.len() > MAX_RECORD_BYTES {
                return Err(not_allowed("a path in the tree is longer than 64 KiB"));
            }
        }
        Ok(())
    }
}

/// The changed files, as far as they are seen.
#[derive(Debug, Default)]
pub struct Listing {
    records: Records,
    mode: Option<Vec<u8>>,
    /// How many there are.
    pub files: u64,
    /// Which they are, escaped, as far as there is room for their names.
    pub paths: Vec<String>,
    path_bytes: usize,
    outside: Names,
    repositories: Names,
}

/// Names, of which the first few are told.
#[derive(Debug, Default)]
pub struct Names {
    count: u64,
    first: Vec<String>,
}

impl Names {
    /// Notes one more.
    pub fn note(&mut self, path: &[u8]) {
        self.count += 1;
        if self.first.len() < MAX_EXAMPLES {
            self.first.push(format!("{:?}", escaped(path)));
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first few, and how many more there are.
    pub fn summary(&self) -> String {
        let more = self.count - self.first.len() as u64;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", self.first.join(", "))
    }
}

impl Listing {
    /// Takes the next bytes of the listing: `:<old mode> <new mode> <old id> <new id> <status>`, then the path.
    ///
    /// # Errors
    /// As [`Records::push`].
    pub fn push(&mut self, chunk: &[u8], target_path: &str) -> Result<(), Failure> {
        let Self { records, mode, files, paths, path_bytes, outside, repositories } = self;
        records.push(chunk, |record| {
            let Some(new_mode) = mode.take() else {
                *mode = Some(record.split(|byte| *byte == b' ').nth(1).unwrap_or_default().to_vec());
                return Ok(());
            };
            *files += 1;
            *path_bytes += record.len();
            if paths.len() < MAX_PATHS && *path_bytes <= MAX_PATHS_BYTES {
                paths.push(escaped(record));
            }
            if !is_within(record, target_path) {
                outside.note(record);
            }
            if new_mode == b"160000" {
                repositories.note(record);
            }
            Ok(())
        })
    }

    /// Whether this change may be.
    ///
    /// # Errors
    /// [`FailureReason::ChangeNotAllowed`] with everything that is wrong with it.
    pub fn check(&self, target_path: &str, rules: ChangeRules) -> Result<(), Failure> {
        let mut findings = Vec::new();
        if !self.repositories.is_empty() {
            findings.push(format!("nested repository at {}", self.repositories.summary()));
        }
        if !self.outside.is_empty() {
            findings.push(format!("outside of target.path {target_path:?}: {}", self.outside.summary()));
        }
        if self.files > u64::from(rules.max_changed_files) {
            let (files, limit) = (self.files, rules.max_changed_files);
            findings.push(format!("{files} changed files are more than {limit}"));
        }
        if findings.is_empty() { Ok(()) } else { Err(not_allowed(findings.join("; "))) }
    }
}

/// The failure of a change that may not be.
pub fn not_allowed(message: impl Into<String>) -> Failure {
    Failure::new(FailureReason::ChangeNotAllowed, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RAW: &[u8] =
        b":100644 100644 a b M\0src/a\0:000000 100644 0 b A\0src-old/x\n\xff\0:000000 160000 0 b A\0src/sub\0";
    const RULES: ChangeRules =
        ChangeRules { max_changed_files: 2, max_patch_bytes: 1, ignored_files: IgnoredFiles::Deliver };

    proptest! {
        #[test]
        fn everything_wrong_is_told_however_it_is_cut(size in 1usize..100) {
            let mut listing = Listing::default();
            for chunk in RAW.chunks(size) {
                listing.push(chunk, "src").unwrap();
            }
            prop_assert_eq!(listing.files, 3);
            let failure = listing.check("src", RULES).unwrap_err();
            prop_assert_eq!(failure.reason, FailureReason::ChangeNotAllowed);
            prop_assert_eq!(
                failure.message,
                "nested repository at \"src/sub\"; outside of target.path \"src\": \"src-old/x%0A%FF\"; \
                 3 changed files are more than 2"
            );
        }
    }

    #[test]
    fn many_names_are_counted() {
        let mut names = Names::default();
        (0..9).for_each(|n| names.note(format!("f{n}").as_bytes()));
        assert_eq!(names.summary(), r#""f0", "f1", "f2", "f3", "f4" and 4 more"#);
    }

    #[test]
    fn an_endless_path_is_refused() {
        assert!(Listing::default().push(&[b'x'; MAX_RECORD_BYTES + 1], "").is_err());
    }
}
