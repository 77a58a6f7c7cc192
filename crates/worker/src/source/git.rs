//! Runs git under a deadline, and ends its whole group when that passes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::memory;
use jct_domain::FailureReason;
use jct_untrusted::Failure;
use jct_untrusted::git::output::{explain, forward_output};
use jct_untrusted::git::{environment, options};
use jct_untrusted::process::Group;

/// How much of what git prints is kept, in bytes.
const MAX_OUTPUT_BYTES: usize = 16 * 1024 * 1024;
/// How git tells the status of an answer.
const HTTP_STATUS: &str = "returned error: ";
/// Those that say that it is elsewhere.
const REDIRECTS: [&str; 6] = ["300", "301", "302", "303", "307", "308"];
/// How git says that what it fetches from has not all, and what to do about it.
const INCOMPLETE: [(&str, &str); 3] = [
    (
        "shallow roots",
        "what is fetched from is a shallow clone, without the beginning of its history: complete it there, by `git fetch --unshallow`",
    ),
    ("promisor remote", PARTIAL),
    ("lazy fetching disabled", PARTIAL),
];
const PARTIAL: &str = "what is fetched from is a partial clone (made with --filter), without all of its files: complete it there, by \
                       `git fetch --refetch --no-filter`, or name the repository that it was cloned from";
/// How often the size of what is fetched is looked at.
const SIZE_CHECK: Duration = Duration::from_millis(250);

/// Calls of git that share a deadline.
#[derive(Debug)]
pub struct Git {
    /// Home of git; holds its only configuration.
    pub home: PathBuf,
    /// The scheme that it may use.
    pub protocol: &'static str,
    /// When all has to be done.
    pub deadline: Instant,
    /// Cancelled when the worker is to end.
    pub interrupted: CancellationToken,
    /// `user:password`: never to be told.
    pub credentials: Option<String>,
    /// What git asks for these: its own `store`, which reads a file, or our own.
    pub helper: Option<String>,
    /// Certificates of those who alone vouch for the host.
    pub authorities: Option<PathBuf>,
    /// The greatest size of the packs, in bytes.
    pub max_pack_bytes: u64,
}

/// How a call ended that was not ended by us.
#[derive(Debug)]
pub struct Ended {
    /// Exit code 0.
    pub success: bool,
    /// What it complained of, in a few words, without secrets.
    pub complaint: String,
}

impl Git {
    /// Runs `git <args>` in `dir`.
    ///
    /// # Errors
    /// As [`Git::stream`], and [`FailureReason::SourceUnavailable`] if git prints more than is sensible.
    pub async fn run(&self, dir: &Path, args: &[&str]) -> Result<(Ended, Vec<u8>), Failure> {
        let mut output = Vec::new();
        let ended = self
            .stream(dir, args, |chunk| {
                output.extend(chunk);
                if output.len() > MAX_OUTPUT_BYTES {
                    return Err(unavailable("the repository lists too many refs"));
                }
                Ok(())
            })
            .await?;
        Ok((ended, output))
    }

    /// Runs `git <args>` in `dir` and hands its output to `sink`, which may end it with an error.
    ///
    /// # Errors
    /// What `sink` says; [`FailureReason::SourceUnavailable`] at the deadline, [`FailureReason::SourceTooLarge`] when
    /// packs grow too large, [`FailureReason::Evicted`] on SIGTERM, [`FailureReason::WorkerFailed`] without git.
    pub async fn stream(
        &self,
        dir: &Path,
        args: &[&str],
        mut sink: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<Ended, Failure> {
        let mut command = memory::limited_git();
        command
            .args(options(dir))
            .args(["-c".into(), OsString::from(format!("protocol.{}.allow=always", self.protocol))])
            .args(self.helper.iter().flat_map(|helper| ["-c".into(), format!("credential.helper={helper}")]))
            .args(args)
            .env_clear()
            .envs(environment(dir, &self.home, Some(self.protocol)))
            .envs(self.authorities.iter().map(|file| ("GIT_SSL_CAINFO", file)));
        let mut group = Group::spawn(&mut command).map_err(|error| Failure::worker("start git", &error))?;
        let work = async {
            let (success, complaint) = forward_output(&mut group, &mut sink).await?;
            Ok(Ended { success, complaint: explain(&complaint, self.credentials.as_deref()) })
        };
        // Whichever ends first; dropping the group ends all of its processes.
        tokio::select! {
            ended = work => ended,
            failure = self.too_large(dir) => Err(failure),
            () = tokio::time::sleep_until(self.deadline) => Err(unavailable("fetching the source took too long")),
            () = self.interrupted.cancelled() => {
                Err(Failure::new(FailureReason::Evicted, "the worker was told to end while it fetched the source"))
            }
        }
    }

    /// Ends when the packs in `dir` are too large.
    async fn too_large(&self, dir: &Path) -> Failure {
        let packs = dir.join("objects/pack");
        loop {
            tokio::time::sleep(SIZE_CHECK).await;
            let sizes = std::fs::read_dir(&packs).into_iter().flatten().flatten();
            let bytes: u64 = sizes.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum();
            if bytes > self.max_pack_bytes {
                let message = format!("the repository's history is larger than {} bytes", self.max_pack_bytes);
                return Failure::new(FailureReason::SourceTooLarge, message);
            }
        }
    }
}

impl Ended {
    /// The failure of a call that did not succeed. `what` begins its message.
    pub fn failure(&self, what: &str) -> Failure {
        if REDIRECTS.iter().any(|code| self.complaint.contains(&format!("{HTTP_STATUS}{code}"))) {
            return unavailable(format!(
                "{what}: its server redirects to another place, which is not followed: only the repository that the Task names \
                 was allowed. If it was renamed or moved, name it as it is called now; if its server always redirects, the \
                 operator's source.urlTemplate must name the last place ({})",
                self.complaint
            ));
        }
        for (sign, cause) in INCOMPLETE {
            if self.complaint.contains(sign) {
                return unavailable(format!("{what}: {cause} ({})", self.complaint));
            }
        }
        let message = format!("{what}: {}", self.complaint);
        // A tree or a history made to need much memory would need it again.
        let out_of_memory =
            ["out of memory", "Out of memory", "died of signal 9"].iter().any(|words| message.contains(words));
        if out_of_memory { Failure::new(FailureReason::SourceTooLarge, message) } else { unavailable(message) }
    }
}

/// The failure of a source that can't be had.
pub fn unavailable(message: impl Into<String>) -> Failure {
    Failure::new(FailureReason::SourceUnavailable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_out_of_memory_is_a_source_too_large() {
        let ended = |complaint: &str| Ended { success: false, complaint: complaint.into() };
        let failure =
            ended("fatal: Out of memory, malloc failed (tried to allocate 9 bytes)").failure("fetching failed");
        assert_eq!(failure.reason, FailureReason::SourceTooLarge);
        assert_eq!(ended("fatal: x").failure("fetching failed"), unavailable("fetching failed: fatal: x"));
    }

    #[test]
    fn what_has_not_all_is_told_with_what_to_do() {
        let ended =
            |complaint: &str| Ended { success: false, complaint: complaint.into() }.failure("fetching failed").message;
        let shallow = ended("warning: rejected refs/jct/target because shallow roots are not allowed to be updated");
        assert!(shallow.contains("git fetch --unshallow"), "{shallow}");
        let partial = ended("fatal: could not fetch 00750edc from promisor remote");
        assert!(partial.contains("git fetch --refetch --no-filter"), "{partial}");
    }

    #[test]
    fn a_redirect_is_told_with_what_to_do() {
        let ended = |status: &str| Ended {
            success: false,
            complaint: format!(
                "fatal: unable to access 'http://host/a/b.git/': The requested URL returned error: {status}"
            ),
        };
        let failure = ended("301").failure("the repository can't be reached");
        assert_eq!(failure.reason, FailureReason::SourceUnavailable);
        assert!(failure.message.contains("redirects") && failure.message.contains("source.urlTemplate"), "{failure}");
        assert!(!ended("403").failure("x").message.contains("redirects"));
    }
}
