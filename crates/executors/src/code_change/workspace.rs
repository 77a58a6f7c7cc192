//! The checkout that a patch goes into, and comes out of as the patch says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::process::Command;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::refusal;
use super::sections::Sections;
use crate::Assignment;
use jct_domain::FailureReason;
use jct_domain::executor::IgnoredFiles;
use jct_untrusted::Failure;
use jct_untrusted::files::{create_anew, read_regular, remove};
use jct_untrusted::git::listing::{ChangeRules, Listing, Records};
use jct_untrusted::git::repository::{ATTRIBUTES, Bounds, Repository};
use jct_untrusted::git::{environment, options};
use jct_untrusted::names::escaped;

/// The patch's name in a repository of ours.
const PATCH_FILE: &str = "inputs.patch";
/// How long git may take; the Task's budget ends it earlier.
const TIME_LIMIT: Duration = Duration::from_secs(86_400);
/// How many files there may be is for the harvest to say, not here.
const NO_LIMIT: ChangeRules =
    ChangeRules { max_changed_files: u32::MAX, max_patch_bytes: u64::MAX, ignored_files: IgnoredFiles::Deliver };
/// Files that a patch does not fit are looked at up to this number.
const MAX_LOOKED_AT: usize = 5;
/// And up to this size, in bytes.
const MAX_LOOKED_AT_BYTES: usize = 8 << 20;

/// A checkout, and the patch for it.
#[derive(Debug)]
pub struct Workspace<'a> {
    dir: &'a Path,
    commit: &'a str,
    tmp: &'a Path,
    git: fn() -> Command,
    patch: &'a str,
    sections: Sections<'a>,
    target_path: &'a str,
    /// Where the base commit's objects are, as it was before anything ran.
    objects: Vec<PathBuf>,
}

/// The tree that the patch gives.
#[derive(Debug)]
pub struct Patched {
    /// How many files it changes.
    pub files: u64,
    tree: String,
}

impl<'a> Workspace<'a> {
    /// The checkout of `assignment`.
    ///
    /// # Errors
    /// When it is no checkout of git's, or the patch names files in two ways.
    pub fn of(assignment: &'a Assignment, patch: &'a str, target_path: &'a str) -> anyhow::Result<Self> {
        let objects = assignment.source.join(".git/objects").canonicalize().context("the checkout has no objects")?;
        let borrowed = read_regular(&objects.join("info/alternates"), 64 * 1024).unwrap_or_default();
        let borrowed = String::from_utf8_lossy(&borrowed).lines().map(|line| objects.join(line)).collect::<Vec<_>>();
        Ok(Self {
            dir: &assignment.source,
            commit: &assignment.commit,
            tmp: &assignment.tmp,
            git: assignment.git,
            patch,
            sections: Sections::read(patch)?,
            target_path,
            objects: [vec![objects], borrowed].concat(),
        })
    }

    /// Applies the patch to the checkout and its index.
    ///
    /// # Errors
    /// When it does not apply, with file and hunk; [`FailureReason::ChangeNotAllowed`] if it leads out of the target's
    /// path or adds a repository.
    pub fn apply(&self) -> anyhow::Result<Patched> {
        block_on(async {
            let (repository, tree) = self.patched_repository().await?;
            let mut listing = Listing::default();
            let args = ["diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev", self.commit];
            let listed = repository.stream(None, &args, |chunk| listing.push(chunk, self.target_path)).await?;
            if !listed.success {
                return Err(listed.failure(&args).into());
            }
            listing.check(self.target_path, NO_LIMIT).map_err(|failure| {
                Failure::new(FailureReason::ChangeNotAllowed, format!("inputs.patch: {}", failure.message))
            })?;
            if listing.files == 0 {
                return Err(anyhow!("inputs.patch changes nothing at commit {}", self.commit));
            }
            self.hold_against_names(&repository).await?;
            self.write_into_checkout(&repository).await?;
            Ok(Patched { files: listing.files, tree })
        })
    }

    /// Makes the checkout what the patch gives, whatever was done to it since: also what git ignores is gone.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn put_back(&self, patched: &Patched) -> anyhow::Result<()> {
        block_on(async {
            let (repository, tree) = self.patched_repository().await?;
            anyhow::ensure!(tree == patched.tree, "the objects of the checkout changed during the verification");
            empty(self.dir).context("cannot remove what the verification left")?;
            let written = repository.run_on(self.dir, &["checkout-index", "--all", "--force"]).await?;
            anyhow::ensure!(written.success, "cannot put the patched tree back: {}", written.complaint());
            Ok(())
        })
    }

    /// A repository of ours whose index is the patched tree, and the tree's id. It is made of the base and the patch
    /// alone, so that nothing that ran in between has a part in it.
    async fn patched_repository(&self) -> anyhow::Result<(Repository, String)> {
        let deadline = Instant::now() + TIME_LIMIT;
        let bounds = Bounds { git: self.git, deadline, interrupted: CancellationToken::new() };
        let objects: Vec<PathBuf> = self.objects.iter().filter(|folder| folder.is_dir()).cloned().collect();
        let repository = Repository::create(&self.tmp.join("code-change"), &objects, self.commit, bounds).await?;
        repository.run(&["read-tree", self.commit]).await?;
        fs::write(repository.dir().join(PATCH_FILE), self.patch)?;
        let strip = format!("-p{}", self.sections.strip);
        let args = ["apply", "--cached", "--whitespace=nowarn", &strip, "--", PATCH_FILE];
        let applied = repository.stream(None, &args, |_| Ok(())).await?;
        if !applied.success {
            let complaint = String::from_utf8_lossy(&applied.stderr);
            let contents = self.contents(&repository, &refusal::files(&complaint)).await;
            return Err(anyhow!(refusal::explain(&self.sections, &complaint, &contents)));
        }
        let tree = repository.run(&["write-tree"]).await?;
        Ok((repository, tree))
    }

    /// Whether what the patch changed is what it names: nothing else, and all of it.
    async fn hold_against_names(&self, repository: &Repository) -> anyhow::Result<()> {
        let mut changed = BTreeSet::new();
        let mut records = Records::default();
        let args = ["diff-index", "--cached", "--name-only", "-z", "--no-renames", self.commit];
        let mut note = |record: &[u8]| {
            changed.insert(record.to_vec());
            Ok(())
        };
        let listed = repository.stream(None, &args, |chunk| records.push(chunk, &mut note)).await?;
        if !listed.success {
            return Err(listed.failure(&args).into());
        }
        let names = self.sections.names();
        let differing = match changed.difference(&names).next() {
            Some(other) => Some(format!("would change {:?}, which it does not name", escaped(other))),
            None => self.sections.unchanged(&changed).map(|name| format!("names {name:?}, but changes nothing there")),
        };
        match differing {
            None => Ok(()),
            Some(how) => Err(Failure::new(FailureReason::ChangeNotAllowed, format!("inputs.patch {how}")).into()),
        }
    }

    /// What `files` hold in the commit, as far as it is little enough to look at.
    async fn contents(&self, repository: &Repository, files: &[&str]) -> BTreeMap<String, Vec<u8>> {
        let mut contents = BTreeMap::new();
        for file in files.iter().take(MAX_LOOKED_AT) {
            let mut content = Vec::new();
            let object = format!("{}:{file}", self.commit);
            let args = ["cat-file", "blob", &object];
            let read = repository.stream(None, &args, |chunk| {
                content.extend(chunk);
                if content.len() > MAX_LOOKED_AT_BYTES {
                    return Err(Failure::new(FailureReason::ExecutorFailed, "too large to be looked at"));
                }
                Ok(())
            });
            if read.await.is_ok_and(|ended| ended.success) {
                contents.insert((*file).to_owned(), content);
            }
        }
        contents
    }

    /// With the checkout's own index, which commands may ask: nothing but ours has run in it yet.
    async fn write_into_checkout(&self, repository: &Repository) -> anyhow::Result<()> {
        let file = repository.dir().join(PATCH_FILE);
        let info = self.dir.join(".git/info");
        fs::create_dir_all(&info)?;
        create_anew(&info.join("attributes"))?.write_all(ATTRIBUTES.as_bytes())?;
        let strip = format!("-p{}", self.sections.strip);
        let args = ["apply", "--index", "--whitespace=nowarn", &strip, "--"].map(std::ffi::OsStr::new);
        let output = Command::new("git")
            .args(options(self.dir))
            .args(args)
            .arg(file)
            .env_clear()
            .envs(environment(self.dir, &repository.dir().join("home"), None))
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot start git")?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(anyhow!(refusal::explain(&self.sections, &complaint, &BTreeMap::new())))
    }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Removes all but `.git` from `dir`.
fn empty(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() == ".git" {
            continue;
        }
        let path = entry.path();
        if remove(&path).is_err() {
            // Some tools leave folders that may not be written.
            make_writable(&path)?;
            remove(&path)?;
        }
    }
    Ok(())
}

fn make_writable(path: &Path) -> io::Result<()> {
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}
