//! Delivery: how a change that is approved gets to its forge, and what is said of it there.
//!
//! What is delivered is what was sealed. Nothing is ever forced or deleted on a forge, and no branch is touched that is not the Task's own.

mod inert;
mod request;

use serde::{Deserialize, Serialize};

use crate::choices;
use crate::task::git_ref_problem;
pub use inert::{block, line, word};
pub use request::{MAX_BODY_CHARS, MAX_TITLE_CHARS, PullRequest, Signed};

choices! {
    /// How far it is. The Task's own phase does not depend on it.
    pub enum DeliveryPhase {
        /// Somebody is asked whether it may be delivered.
        AwaitingReview = "AwaitingReview",
        /// It may be, and nothing has begun.
        Pending = "Pending",
        /// A Job is at it, or the forge is asked for the pull request.
        Delivering = "Delivering",
        /// It is on the forge.
        Delivered = "Delivered",
        /// Whoever was asked said no.
        Rejected = "Rejected",
        /// Nobody said anything in time.
        Expired = "Expired",
        /// It can't be delivered, for the reason that is told.
        Failed = "Failed",
    }
}

impl DeliveryPhase {
    /// Whether nothing follows.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Rejected | Self::Expired | Self::Failed)
    }
}

choices! {
    /// Why something was not delivered, or not yet.
    pub enum DeliveryReason {
        /// There is a branch of this name that JCT did not make for this Task.
        BranchExists = "BranchExists",
        /// Somebody changed the branch after JCT's last delivery to it.
        BranchMoved = "BranchMoved",
        /// The branch that a follow-up goes to is gone.
        BranchMissing = "BranchMissing",
        /// The forge has no such base: its branch is gone, or the commit that the change was made on.
        BaseMissing = "BaseMissing",
        /// What is in the trace is not what was sealed or approved.
        CheckFailed = "CheckFailed",
        /// The grant, the forge or the mode is not configured any more.
        NotAllowed = "NotAllowed",
        /// There is no usable credential for writing.
        CredentialMissing = "CredentialMissing",
        /// The forge does not take the credential, or what is pushed.
        ForgeRefused = "ForgeRefused",
        /// The forge does not answer, or not sensibly.
        ForgeUnavailable = "ForgeUnavailable",
        /// JCT's own Job failed.
        WorkerFailed = "WorkerFailed",
        /// The Job was told to end: its node drains, or is too full.
        Interrupted = "Interrupted",
    }
}

impl DeliveryReason {
    /// Whether the same may well succeed later, with nobody changing anything.
    pub fn passes(self) -> bool {
        matches!(self, Self::ForgeUnavailable | Self::WorkerFailed | Self::Interrupted)
    }
}

choices! {
    /// The containers of a delivery.
    pub enum DeliveryStep {
        /// Fetches the commit that the change is made on.
        Base = "base",
        /// Looks at what was sealed; has neither credential nor network.
        Check = "check",
        /// Pushes what was looked at.
        Push = "push",
    }
}

/// What a container of a delivery says as it ends, in its termination message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryEnding {
    /// Which container.
    pub step: DeliveryStep,
    /// What went wrong; nothing did where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeliveryReason>,
    /// The same in words, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The commit that was checked, and is on the branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether it was on the branch before: somebody pushed it earlier, and could not say so.
    #[serde(default)]
    pub was_there: bool,
}

impl DeliveryEnding {
    /// The ending of a step that did what it was to do, with this commit.
    pub fn done(step: DeliveryStep, commit: &str) -> Self {
        Self { step, reason: None, message: None, commit: Some(commit.into()), was_there: false }
    }

    /// The ending of a step that could not.
    pub fn failed(step: DeliveryStep, reason: DeliveryReason, message: impl Into<String>) -> Self {
        Self { step, reason: Some(reason), message: Some(message.into()), commit: None, was_there: false }
    }
}

/// Why no branch can have this name; `None` when one can.
///
/// The rules of `git check-ref-format --branch`, and none that git or people would take for something else: a full ref, `HEAD`, a
/// commit's id.
pub fn branch_problem(name: &str) -> Option<&'static str> {
    if let Some(problem) = git_ref_problem(name) {
        return Some(problem);
    }
    if name.starts_with("refs/") || name == "HEAD" {
        return Some("must be the name of a branch, without refs/heads/");
    }
    if matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some("must not look like a commit's id");
    }
    None
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    /// Names that are near the edges of the rules.
    fn names() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "[a-z0-9]{1,4}",
            "[-./@{}~^:?*\\[\\\\ ]",
            Just(".lock".to_owned()),
            Just("@{".to_owned()),
            Just("..".to_owned()),
            Just("/".to_owned()),
            Just("HEAD".to_owned()),
            Just("refs/heads/".to_owned()),
            "\\PC",
            "[\u{1}-\u{1f}\u{7f}\u{a0}]",
        ];
        prop::collection::vec(part, 1..6).prop_map(|parts| parts.concat())
    }

    fn git_takes(name: &str) -> bool {
        let mut command = Command::new("git");
        command
            .args(["check-ref-format", "--branch", name])
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().unwrap().success()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Git takes some names more: a branch named like a commit, with blanks that are not ASCII.
        #[test]
        fn what_we_take_git_takes(name in names()) {
            if branch_problem(&name).is_none() {
                prop_assert!(git_takes(&name), "{name:?}");
            } else if git_takes(&name) {
                let is_ours = name.starts_with("refs/") || matches!(&*name, "HEAD" | "@") || name.chars().any(|c| c.is_whitespace() || c.is_control());
                prop_assert!(is_ours || name.contains("@{"), "{name:?} is refused for nothing");
            }
        }
    }

    #[test]
    fn no_branch_is_named_like_something_else() {
        assert!(git_takes("jct/add-docs-01arz3nd") && branch_problem("jct/add-docs-01arz3nd").is_none());
        for name in ["refs/heads/x", "HEAD", &"a".repeat(40), "-x", "a..b", "a.lock", "a\u{a0}b"] {
            assert!(branch_problem(name).is_some(), "{name}");
        }
    }

    #[test]
    fn an_ending_reads_back() {
        let ending = DeliveryEnding::failed(DeliveryStep::Push, DeliveryReason::BranchMoved, "somebody did");
        let json = serde_json::to_string(&ending).unwrap();
        assert_eq!(json, r#"{"step":"push","reason":"BranchMoved","message":"somebody did","was_there":false}"#);
        assert_eq!(serde_json::from_str::<DeliveryEnding>(&json).unwrap(), ending);
    }
}
