//! A repository of our own for one purpose: it borrows the objects of another one, and nothing else.
//!
//! Whatever lies in a working tree (its `.git`, whatever that is, hooks, configuration, filters of attributes) has no part
//! in what git does here.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::output::{explain, forward_output};
use super::{environment, options};
use crate::Failure;
use crate::files::{create_anew, remove};
use crate::process::Group;
use jct_domain::FailureReason;

/// Takes precedence over every `.gitattributes`: files are taken and written byte by byte, and shown by what they hold.
pub const ATTRIBUTES: &str = "* -text !eol !crlf !ident !filter !working-tree-encoding !diff !merge !whitespace\n";
/// How much of what git prints is kept, in bytes.
const MAX_OUTPUT_BYTES: usize = 1024 * 1024;

/// How git is started, and until when it may work.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Git as a command without arguments: what starts it bounds its memory.
    pub git: fn() -> Command,
    /// When all has to be done.
    pub deadline: Instant,
    /// Cancelled when the worker is to end.
    pub interrupted: CancellationToken,
}

/// See the module. Removed when dropped.
#[derive(Debug)]
pub struct Repository {
    dir: PathBuf,
    bounds: Bounds,
}

/// How a call of git ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code 0.
    pub success: bool,
    /// All that it complained of.
    pub stderr: Vec<u8>,
}

impl Repository {
    /// A new one at `dir`, in place of whatever is there, with the objects of the folders `objects`.
    ///
    /// # Errors
    /// [`FailureReason::WorkerFailed`] when it can't be made.
    pub async fn create(dir: &Path, objects: &[PathBuf], commit: &str, bounds: Bounds) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::worker("make a repository", &error);
        remove(dir).map_err(failed)?;
        for part in ["", "home", "git"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir.join(part)).map_err(failed)?;
        }
        let dir = dir.canonicalize().map_err(failed)?;
        let repository = Self { dir, bounds };
        let format = if commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
        repository.run(&["init", "--quiet", "--bare", "--template=", "--initial-branch=none", format]).await?;
        repository.borrow_objects(objects).map_err(failed)?;
        Ok(repository)
    }

    /// The folder for files that calls without a working tree name by relative paths.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What `git <args>` prints, without a working tree.
    ///
    /// # Errors
    /// As [`Repository::stream`], and [`FailureReason::WorkerFailed`] if git does not succeed.
    pub async fn run(&self, args: &[&str]) -> Result<String, Failure> {
        let mut output = Vec::new();
        let ended = self.stream(None, args, |chunk| keep(&mut output, chunk)).await?;
        if !ended.success {
            return Err(ended.failure(args));
        }
        Ok(String::from_utf8_lossy(&output).trim().to_owned())
    }

    /// Runs `git <args>` on `work_tree`.
    ///
    /// # Errors
    /// As [`Repository::stream`].
    pub async fn run_on(&self, work_tree: &Path, args: &[&str]) -> Result<Ended, Failure> {
        self.stream(Some(work_tree), args, |_| Ok(())).await
    }

    /// Runs `git <args>` and hands its output to `sink`, which may end it with an error.
    ///
    /// # Errors
    /// What `sink` says; [`FailureReason::WorkerFailed`] at the deadline or without git,
    /// [`FailureReason::Evicted`] when the worker is to end.
    pub async fn stream(
        &self,
        work_tree: Option<&Path>,
        args: &[&str],
        mut sink: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<Ended, Failure> {
        let mut git_dir = OsString::from("--git-dir=");
        git_dir.push(self.dir.join("git"));
        let mut command = (self.bounds.git)();
        let home = self.dir.join("home");
        let cwd = work_tree.unwrap_or(&self.dir);
        command.args(options(cwd)).args(["-c", "core.fileMode=true", "-c", "core.ignoreCase=false"]).arg(git_dir);
        if let Some(work_tree) = work_tree {
            let mut option = OsString::from("--work-tree=");
            option.push(work_tree);
            command.arg(option);
        }
        command.args(args).env_clear().envs(environment(cwd, &home, None));
        let mut group = Group::spawn(&mut command).map_err(|error| Failure::worker("start git", &error))?;
        let work = async {
            let (success, stderr) = forward_output(&mut group, &mut sink).await?;
            Ok(Ended { success, stderr })
        };
        let Bounds { git: _, deadline, interrupted } = &self.bounds;
        // Whichever ends first; dropping the group ends all of its processes.
        tokio::select! {
            ended = work => ended,
            () = tokio::time::sleep_until(*deadline) => {
                Err(Failure::new(FailureReason::WorkerFailed, "recording the change took too long"))
            }
            () = interrupted.cancelled() => {
                Err(Failure::new(FailureReason::Evicted, "the worker was told to end while it recorded the change"))
            }
        }
    }

    fn borrow_objects(&self, objects: &[PathBuf]) -> std::io::Result<()> {
        let mut list = Vec::new();
        for folder in objects {
            let folder = folder.canonicalize()?;
            if folder.as_os_str().as_bytes().contains(&b'\n') {
                return Err(std::io::Error::other("a folder of objects has a line break in its name"));
            }
            list.extend(folder.as_os_str().as_bytes());
            list.push(b'\n');
        }
        let write = |name: &str, bytes: &[u8]| {
            let path = self.dir.join("git").join(name);
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            create_anew(&path)?.write_all(bytes)
        };
        write("objects/info/alternates", &list)?;
        write("info/attributes", ATTRIBUTES.as_bytes())
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.dir) {
            tracing::warn!(%error, "a scratch repository was not removed");
        }
    }
}

impl Ended {
    /// The last lines of what git complained of, without secrets.
    pub fn complaint(&self) -> String {
        explain(&self.stderr, None)
    }

    /// The failure of a call that had no right to fail.
    pub fn failure(&self, args: &[&str]) -> Failure {
        let what = format!("run git {}", args.first().copied().unwrap_or_default());
        Failure::worker(&what, &self.complaint())
    }
}

/// The path of a record of git's, below `root`.
pub fn below(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(path))
}

fn keep(output: &mut Vec<u8>, chunk: &[u8]) -> Result<(), Failure> {
    output.extend(chunk);
    if output.len() > MAX_OUTPUT_BYTES {
        return Err(Failure::new(FailureReason::WorkerFailed, "git printed more than was to be expected"));
    }
    Ok(())
}
