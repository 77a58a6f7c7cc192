//! Why the work at an attempt ended without success.

use jct_domain::FailureReason;

/// Why a step ended without success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Failure {
    /// For the manifest and the Task's status.
    pub reason: FailureReason,
    /// In a sentence, for people.
    pub message: String,
}

impl Failure {
    /// A failure for `reason`.
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// The worker itself failed: it could not do `what`.
    pub fn worker(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self::new(FailureReason::WorkerFailed, format!("cannot {what}: {error}"))
    }
}
