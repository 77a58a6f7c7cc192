//! A look at a tree before git takes it in: what would cost too much or mislead git is refused by its names and sizes.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use jct_domain::FailureReason;
use jct_domain::executor::IgnoredFiles;
use jct_untrusted::Failure;
use jct_untrusted::git::listing::{ChangeRules, Names, Records, not_allowed};
use jct_untrusted::git::repository::{Repository, below};
use jct_untrusted::names::escaped;

/// Files that changed in size may have so many bytes together for each byte of the greatest patch.
const BYTES_FOR_A_PATCH_BYTE: u64 = 16;
/// And so many in any case: much of a file may stay as it is.
const ALWAYS_ALLOWED_BYTES: u64 = 64 << 20;

/// Looks at every file of `base` and at every new one; gives those new ones that a `.gitignore` of the tree names.
///
/// # Errors
/// [`FailureReason::ChangeNotAllowed`] for another repository in the tree, a tracked file that became a device or the like,
/// what can't be read, or more changed files or bytes than there may be.
pub async fn survey(
    repository: &Repository,
    work_tree: &Path,
    base: &str,
    rules: ChangeRules,
) -> Result<Names, Failure> {
    let mut survey = Survey {
        rules,
        files: 0,
        bytes: 0,
        repositories: Names::default(),
        specials: Names::default(),
        ignored: Names::default(),
    };
    let mut records = Records::default();
    let args = ["ls-tree", "-r", "-z", "--long", "--full-tree", base];
    let listed =
        repository.stream(None, &args, |chunk| records.push(chunk, |record| survey.tracked(work_tree, record))).await?;
    if !listed.success {
        return Err(listed.failure(&args));
    }
    for ignored in [false, true] {
        let mut records = Records::default();
        let args = ["ls-files", "--others", "--exclude-standard", "-z", "--ignored"];
        let args = args.get(..if ignored { 5 } else { 4 }).unwrap_or(&args);
        let listed = repository
            .stream(Some(work_tree), args, |chunk| {
                records.push(chunk, |record| survey.untracked(work_tree, record, ignored))
            })
            .await?;
        if !listed.success {
            return Err(not_allowed(format!("the tree can't be read: {}", listed.complaint())));
        }
        // Git goes on without a folder that it can't open; what is in it would be lost without a word.
        if String::from_utf8_lossy(&listed.stderr).contains("could not open directory") {
            return Err(not_allowed(format!("the tree can't be read in full: {}", listed.complaint())));
        }
    }
    survey.check()?;
    Ok(survey.ignored)
}

struct Survey {
    rules: ChangeRules,
    files: u64,
    bytes: u64,
    repositories: Names,
    specials: Names,
    ignored: Names,
}

impl Survey {
    /// `<mode> <type> <id> <size>\t<path>`
    fn tracked(&mut self, work_tree: &Path, record: &[u8]) -> Result<(), Failure> {
        let malformed = || Failure::new(FailureReason::WorkerFailed, "git ls-tree printed something unexpected");
        let tab = record.iter().position(|byte| *byte == b'\t').ok_or_else(malformed)?;
        let (head, path) = record.split_at(tab);
        let path = path.get(1..).unwrap_or_default();
        let mut columns = std::str::from_utf8(head).map_err(|_| malformed())?.split_ascii_whitespace();
        let mode = columns.next().ok_or_else(malformed)?;
        let size_bytes = columns.nth(2).and_then(|size| size.parse::<u64>().ok());
        let found = metadata_of(work_tree, path)?;
        if mode == "160000" {
            if metadata_of(work_tree, &[path, b"/.git"].concat())?.is_some() {
                self.repositories.note(path);
            }
            return Ok(());
        }
        match found {
            Some(metadata) if is_special(&metadata) => self.specials.note(path),
            Some(metadata) if Some(metadata.len()) != size_bytes && !metadata.is_dir() => self.changed(metadata.len()),
            // The files in it are listed as new ones.
            Some(_) => {}
            None => self.changed(0),
        }
        Ok(())
    }

    fn untracked(&mut self, work_tree: &Path, path: &[u8], ignored: bool) -> Result<(), Failure> {
        if ignored {
            self.ignored.note(path);
            if self.rules.ignored_files == IgnoredFiles::LeaveOut {
                return Ok(());
            }
        }
        // Git names a folder only if it is a repository.
        if let Some(path) = path.strip_suffix(b"/") {
            self.repositories.note(path);
            return Ok(());
        }
        let bytes = metadata_of(work_tree, path)?.map_or(0, |metadata| metadata.len());
        self.changed(bytes);
        Ok(())
    }

    fn changed(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn check(&self) -> Result<(), Failure> {
        let ChangeRules { max_changed_files, max_patch_bytes, ignored_files } = self.rules;
        let max_bytes = max_patch_bytes.saturating_mul(BYTES_FOR_A_PATCH_BYTE).max(ALWAYS_ALLOWED_BYTES);
        let mut findings = Vec::new();
        if !self.repositories.is_empty() {
            findings.push(format!("nested repository at {}", self.repositories.summary()));
        }
        if !self.specials.is_empty() {
            findings.push(format!("neither file nor symlink any more: {}", self.specials.summary()));
        }
        if self.files > u64::from(max_changed_files) {
            findings.push(format!("{} changed files are more than {max_changed_files}", self.files));
        }
        if self.bytes > max_bytes {
            findings.push(format!("changed files of {} bytes are more than {max_bytes}", self.bytes));
        }
        if findings.is_empty() {
            return Ok(());
        }
        if !self.ignored.is_empty() && ignored_files == IgnoredFiles::Deliver {
            findings.push(format!(
                "new files that .gitignore names are a part of it: {} (the executor's outputs.ignoredFiles: leave-out \
                 leaves such out)",
                self.ignored.summary()
            ));
        }
        Err(not_allowed(findings.join("; ")))
    }
}

fn is_special(metadata: &Metadata) -> bool {
    !metadata.is_file() && !metadata.is_dir() && !metadata.is_symlink()
}

/// What is at `path`; none if there is nothing.
fn metadata_of(work_tree: &Path, path: &[u8]) -> Result<Option<Metadata>, Failure> {
    match below(work_tree, path).symlink_metadata() {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(not_allowed(format!("{:?} can't be read: {error}", escaped(path)))),
    }
}
