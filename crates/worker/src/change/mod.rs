//! The harvest of a change: what an executor did to the checkout, as a patch and a commit that people can review.
//!
//! Run by a trusted process once no process of the executor is left, on a tree that the executor wrote, which is hostile:
//! see [`jct_untrusted::git::repository`] for what of it git never looks at. A change that may not be is refused as a whole.

mod message;
mod survey;

#[cfg(test)]
mod harvest_tests;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

pub use self::message::Identity;
use jct_domain::executor::IgnoredFiles;
use jct_domain::id::hex;
pub use jct_domain::trace::Change;
use jct_untrusted::Failure;
use jct_untrusted::files::{create_anew, open_regular};
use jct_untrusted::git::listing::{ChangeRules, Listing, Names, Records, not_allowed};
use jct_untrusted::git::repository::{Bounds, Ended, Repository};
use jct_untrusted::path::normalize;

/// The change as a patch: binary files too, for `git apply` at the base.
pub const PATCH_FILE: &str = "change.patch";
/// The change as a commit on the base, for `git fetch`.
pub const BUNDLE_FILE: &str = "change.bundle";
/// The commit itself, byte by byte as git has it: what a signature is made of.
pub const COMMIT_FILE: &str = "change.commit";
/// The change for people, one line a file.
pub const DIFFSTAT_FILE: &str = "diffstat.txt";
/// The patch that was asked for, in a repository of ours.
const ASKED_FILE: &str = "asked.patch";
/// The greatest diffstat, in bytes; the rest is cut.
const MAX_DIFFSTAT_BYTES: usize = 1024 * 1024;
/// Options of every comparison of two trees. Renames are told, nothing of the repository's own is asked how to show it.
const DIFF: [&str; 6] = ["diff-tree", "-M", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index"];

/// The patch that the change has to be.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// As `git diff` prints it.
    pub patch: &'a str,
    /// How many parts of its names are a prefix.
    pub strip: u8,
    /// Whether no change at all will do, for the executor has failed.
    pub none_will_do: bool,
}

/// What a harvest brought in.
#[derive(Debug, Default)]
pub struct Harvested {
    /// The change; none if nothing changed.
    pub change: Option<Change>,
    /// New files that a `.gitignore` of the tree names: in the change or left out, as the rules say.
    pub ignored: Names,
}

/// What is to be harvested, and where to.
#[derive(Clone, Debug)]
pub struct Harvest<'a> {
    /// A repository with the base commit, which the executor could not write: never the `.git` in `work_tree`.
    pub git_dir: &'a Path,
    /// The tree that the executor worked on.
    pub work_tree: &'a Path,
    /// The full id of the commit that was checked out.
    pub base_commit: &'a str,
    /// Changes elsewhere are refused; empty for all of the repository.
    pub target_path: &'a str,
    /// How large the change may be.
    pub rules: ChangeRules,
    /// What it has to be, where that is known.
    pub asked: Option<Asked<'a>>,
    pub identity: Identity<'a>,
    /// A folder for a moment, which the executor can't write. Whatever is there is replaced, and removed in the end.
    pub scratch: &'a Path,
    /// The folder that the files go to.
    pub into: &'a Path,
    /// Until when.
    pub bounds: Bounds,
}

/// Harvests the change, if anything changed.
///
/// The same tree, base and identity give the same commit and the same patch.
///
/// # Errors
/// [`ChangeNotAllowed`](jct_domain::FailureReason::ChangeNotAllowed) for a change that may not be: outside of the target's path, too large, with another
/// repository in it, unreadable, or not what was asked for. `WorkerFailed` and `Evicted` as the words say.
/// Nothing is in `into` then.
pub async fn harvest(harvest: &Harvest<'_>) -> Result<Harvested, Failure> {
    let Harvest { git_dir, work_tree, base_commit, target_path, rules, asked, identity, scratch, into, bounds } =
        harvest;
    let base = *base_commit;
    let target_path = normalize(target_path)?;
    if !base.bytes().all(|byte| byte.is_ascii_hexdigit()) || !matches!(base.len(), 40 | 64) {
        return Err(Failure::worker("record the change", &format!("{base:?} is no commit")));
    }
    let work_tree = plain_folder(work_tree).map_err(|error| not_allowed(format!("the checkout is gone: {error}")))?;
    let into = plain_folder(into).map_err(|error| Failure::worker("find the folder of artifacts", &error))?;
    let objects = [git_dir.join("objects")];
    let repository = Repository::create(scratch, &objects, base, bounds.clone()).await?;
    repository.run(&["read-tree", base]).await?;
    let ignored = survey::survey(&repository, &work_tree, base, *rules).await?;
    let add: &[&str] = match rules.ignored_files {
        IgnoredFiles::Deliver => &["add", "--all", "--force", "--", "."],
        IgnoredFiles::LeaveOut => &["add", "--all", "--", "."],
    };
    let added = repository.run_on(&work_tree, add).await?;
    if !added.success {
        return Err(not_added(&added));
    }
    let (files_changed, paths) = list(&repository, base, &target_path, *rules).await?;
    let tree = repository.run(&["write-tree"]).await?;
    if let Some(asked) = asked.filter(|asked| files_changed > 0 || !asked.none_will_do) {
        compare_with_asked(&repository, base, &tree, asked).await?;
    }
    if files_changed == 0 {
        return Ok(Harvested { change: None, ignored });
    }
    let git_ref = format!("refs/heads/jct/{}", identity.task_id.to_string().to_lowercase());
    let commit = commit(&repository, &message::commit(&tree, base, identity), &git_ref).await?;
    write_patch(&repository, base, &commit, *rules).await?;
    prove(&repository, base, &tree).await?;
    let (insertions, deletions) = count_lines(&repository, base, &commit).await?;
    write_diffstat(&repository, base, &commit).await?;
    // With a HEAD, which is what `git fetch` and `git pull` ask a bundle for when nobody names a branch.
    repository.run(&["symbolic-ref", "HEAD", &git_ref]).await?;
    repository.run(&["bundle", "create", "--quiet", BUNDLE_FILE, "HEAD", &git_ref, &format!("^{base}")]).await?;

    let publish = |name| {
        publish(repository.dir(), &into, name).map_err(|error| Failure::worker(&format!("write {name}"), &error))
    };
    publish(DIFFSTAT_FILE)?;
    publish(COMMIT_FILE)?;
    let (bundle_sha256, bundle_bytes) = publish(BUNDLE_FILE)?;
    let (patch_sha256, patch_bytes) = publish(PATCH_FILE)?;
    let change = Change {
        base_commit: base.into(),
        commit,
        git_ref,
        files_changed,
        insertions,
        deletions,
        patch_sha256,
        patch_bytes,
        bundle_sha256,
        bundle_bytes,
        tree: Some(tree),
        paths,
    };
    Ok(Harvested { change: Some(change), ignored })
}

/// Whether `tree` is what the patch that was asked for gives.
async fn compare_with_asked(repository: &Repository, base: &str, tree: &str, asked: Asked<'_>) -> Result<(), Failure> {
    write(repository, ASKED_FILE, asked.patch.as_bytes())?;
    repository.run(&["read-tree", base]).await?;
    let strip = format!("-p{}", asked.strip);
    let args = ["apply", "--cached", "--whitespace=nowarn", &strip, "--", ASKED_FILE];
    let applied = repository.stream(None, &args, |_| Ok(())).await?;
    if !applied.success {
        return Err(not_allowed(format!("inputs.patch does not apply to what was fetched: {}", applied.complaint())));
    }
    let expected = repository.run(&["write-tree"]).await?;
    if expected == tree {
        return Ok(());
    }
    let mut names = Names::default();
    let mut records = Records::default();
    let args = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", &expected, tree];
    let mut note = |record: &[u8]| {
        names.note(record);
        Ok(())
    };
    let listed = repository.stream(None, &args, |chunk| records.push(chunk, &mut note)).await?;
    if !listed.success {
        return Err(listed.failure(&args));
    }
    Err(not_allowed(format!("the workspace is not what inputs.patch makes of the commit: {} differ", names.summary())))
}

/// The folder's real path. The folder itself is no symlink.
fn plain_folder(path: &Path) -> io::Result<std::path::PathBuf> {
    if path.symlink_metadata()?.is_dir() { path.canonicalize() } else { Err(io::Error::other("it is no folder")) }
}

/// What git could not take in is the executor's doing, unless the machine is to blame.
fn not_added(ended: &Ended) -> Failure {
    let complaint = ended.complaint();
    let machine = ["No space left", "Out of memory", "out of memory", "Input/output error", "Disk quota", "signal 9"];
    if machine.iter().any(|words| complaint.contains(words)) {
        return Failure::worker("record the change", &complaint);
    }
    not_allowed(format!("the tree can't be recorded: {complaint}"))
}

/// The number of changed files, if they all may be changed, and which they are.
async fn list(
    repository: &Repository,
    base: &str,
    target_path: &str,
    rules: ChangeRules,
) -> Result<(u64, Vec<String>), Failure> {
    let mut listing = Listing::default();
    let args = ["diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev", base];
    let listed = repository.stream(None, &args, |chunk| listing.push(chunk, target_path)).await?;
    if !listed.success {
        return Err(listed.failure(&args));
    }
    listing.check(target_path, rules)?;
    Ok((listing.files, listing.paths))
}

/// Stores the commit under its ref; gives its id.
async fn commit(repository: &Repository, content: &str, git_ref: &str) -> Result<String, Failure> {
    write(repository, COMMIT_FILE, content.as_bytes())?;
    let commit = repository.run(&["hash-object", "-t", "commit", "-w", "--no-filters", "--", COMMIT_FILE]).await?;
    repository.run(&["update-ref", git_ref, &commit]).await?;
    Ok(commit)
}

async fn write_patch(repository: &Repository, base: &str, commit: &str, rules: ChangeRules) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::worker("write the patch", &error);
    let mut file = create_anew(&repository.dir().join(PATCH_FILE)).map_err(failed)?;
    let mut room = rules.max_patch_bytes;
    let args = [&DIFF[..], &["-p", "--binary", base, commit]].concat();
    let written = repository
        .stream(None, &args, |chunk| {
            room = room
                .checked_sub(chunk.len() as u64)
                .ok_or_else(|| not_allowed(format!("the patch is larger than {} bytes", rules.max_patch_bytes)))?;
            file.write_all(chunk).map_err(failed)
        })
        .await?;
    if written.success { Ok(()) } else { Err(written.failure(&args)) }
}

/// Whether the patch on the base gives the tree, for what people will apply is the patch.
async fn prove(repository: &Repository, base: &str, tree: &str) -> Result<(), Failure> {
    repository.run(&["read-tree", base]).await?;
    repository.run(&["apply", "--cached", "--whitespace=nowarn", "--", PATCH_FILE]).await?;
    let applied = repository.run(&["write-tree"]).await?;
    if applied == tree { Ok(()) } else { Err(Failure::worker("prove the patch", &"it gives another tree")) }
}

/// Lines that are new, and lines that are gone.
async fn count_lines(repository: &Repository, base: &str, commit: &str) -> Result<(u64, u64), Failure> {
    let text = repository.run(&[&DIFF[..], &["--shortstat", base, commit]].concat()).await?;
    let count = |word: &str| {
        let part = text.split(',').find(|part| part.contains(word));
        part.and_then(|part| part.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    Ok((count("insertion"), count("deletion")))
}

async fn write_diffstat(repository: &Repository, base: &str, commit: &str) -> Result<(), Failure> {
    let mut text = Vec::new();
    let args = [&DIFF[..], &["--stat=100", "--summary", base, commit]].concat();
    let output = repository
        .stream(None, &args, |chunk| {
            let room = MAX_DIFFSTAT_BYTES.saturating_sub(text.len());
            text.extend(chunk.iter().take(room));
            Ok(())
        })
        .await?;
    if !output.success {
        return Err(output.failure(&args));
    }
    write(repository, DIFFSTAT_FILE, &text)
}

fn write(repository: &Repository, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(repository.dir().join(name), bytes).map_err(|error| Failure::worker(&format!("write {name}"), &error))
}

/// Copies `name`, in place of whatever the executor left under that name; gives its digest and size.
fn publish(from: &Path, into: &Path, name: &str) -> io::Result<(String, u64)> {
    let mut file = open_regular(&from.join(name))?;
    let mut copy = Copied { file: create_anew(&into.join(name))?, hash: Sha256::new() };
    let bytes = io::copy(&mut file, &mut copy)?;
    copy.file.sync_all()?;
    Ok((hex(&copy.hash.finalize()), bytes))
}

struct Copied {
    file: File,
    hash: Sha256,
}

impl Write for Copied {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
