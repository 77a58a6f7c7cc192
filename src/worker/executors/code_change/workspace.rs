//! The checkout that a patch goes into, and comes out of as the patch says.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::patch;
use crate::domain::FailureReason;
use crate::worker::attempt::{Failure, read_regular};
use crate::worker::change::Bounds;
use crate::worker::change::Rules;
use crate::worker::change::listing::Listing;
use crate::worker::change::repository::{ATTRIBUTES, Repository};
use crate::worker::executors::Assignment;
use crate::worker::trace;

/// The patch's name in a repository of ours.
const PATCH_FILE: &str = "inputs.patch";
/// How long git may take; the Task's budget ends it earlier.
const TIME_LIMIT: Duration = Duration::from_secs(86_400);
/// How many files there may be is for the harvest to say, not here.
const NO_LIMIT: Rules = Rules { max_changed_files: u32::MAX, max_patch_bytes: u64::MAX };

/// A checkout, and the patch for it.
#[derive(Debug)]
pub struct Workspace<'a> {
    dir: &'a Path,
    commit: &'a str,
    tmp: &'a Path,
    patch: &'a str,
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
    /// When it is no checkout of git's.
    pub fn of(assignment: &'a Assignment, patch: &'a str, target_path: &'a str) -> anyhow::Result<Self> {
        let objects = assignment.source.join(".git/objects").canonicalize().context("the checkout has no objects")?;
        let borrowed = read_regular(&objects.join("info/alternates"), 64 * 1024).unwrap_or_default();
        let borrowed = String::from_utf8_lossy(&borrowed).lines().map(|line| objects.join(line)).collect::<Vec<_>>();
        Ok(Self {
            dir: &assignment.source,
            commit: &assignment.commit,
            tmp: &assignment.tmp,
            patch,
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
            listing.judge(self.target_path, NO_LIMIT).map_err(|failure| {
                Failure::new(FailureReason::ChangeNotAllowed, format!("inputs.patch: {}", failure.message))
            })?;
            if listing.files == 0 {
                return Err(anyhow!("inputs.patch changes nothing at commit {}", self.commit));
            }
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
        let bounds = Bounds { deadline: Instant::now() + TIME_LIMIT, interrupted: CancellationToken::new() };
        let objects: Vec<PathBuf> = self.objects.iter().filter(|folder| folder.is_dir()).cloned().collect();
        let repository = Repository::create(&self.tmp.join("code-change"), &objects, self.commit, bounds).await?;
        repository.run(&["read-tree", self.commit]).await?;
        fs::write(repository.dir().join(PATCH_FILE), self.patch)?;
        let args = ["apply", "--cached", "--whitespace=nowarn", "--", PATCH_FILE];
        let applied = repository.stream(None, &args, |_| Ok(())).await?;
        if !applied.success {
            return Err(anyhow!(patch::explain(self.patch, &String::from_utf8_lossy(&applied.stderr))));
        }
        let tree = repository.run(&["write-tree"]).await?;
        Ok((repository, tree))
    }

    /// With the checkout's own index, which commands may ask: nothing but ours has run in it yet.
    async fn write_into_checkout(&self, repository: &Repository) -> anyhow::Result<()> {
        let file = repository.dir().join(PATCH_FILE);
        let info = self.dir.join(".git/info");
        fs::create_dir_all(&info)?;
        trace::create_anew(&info.join("attributes"))?.write_all(ATTRIBUTES.as_bytes())?;
        let args = ["apply", "--index", "--whitespace=nowarn", "--"].map(std::ffi::OsStr::new);
        let output = tokio::process::Command::new("git")
            .args(crate::worker::git::options(self.dir))
            .args(args)
            .arg(file)
            .env_clear()
            .envs(crate::worker::git::environment(self.dir, &repository.dir().join("home"), None))
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot start git")?;
        if output.status.success() {
            return Ok(());
        }
        Err(anyhow!(patch::explain(self.patch, &String::from_utf8_lossy(&output.stderr))))
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
        if trace::remove(&path).is_err() {
            // Some tools leave folders that may not be written.
            make_writable(&path)?;
            trace::remove(&path)?;
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
