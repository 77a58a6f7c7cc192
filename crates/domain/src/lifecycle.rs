//! The states of a Task, the ways between them, and why an attempt fails (contract section 1).

use crate::choices;

choices! {
    /// Where a Task is on its way.
    pub enum Phase {
        /// Accepted; not yet recorded, or held back because it is suspended.
        Pending = "pending",
        /// Recorded; its Job is created or waits for quota or a place to run.
        Queued = "queued",
        /// Its worker runs.
        Running = "running",
        /// Ended with the work done.
        Completed = "completed",
        /// Ended without.
        Failed = "failed",
        /// Ended because somebody asked for it.
        Cancelled = "cancelled",
    }
}

impl Phase {
    /// The name in `.status.phase` of the custom resource.
    pub fn as_condition(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Queued => "Queued",
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Whether the Task has ended. A terminal phase never changes.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether a Task in this phase may go to `next`.
    ///
    /// Back from running to queued is a retry: the next attempt waits for its worker.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => next != Self::Pending,
            Self::Queued => matches!(next, Self::Running) || next.is_terminal(),
            Self::Running => next == Self::Queued || next.is_terminal(),
            Self::Completed | Self::Failed | Self::Cancelled => false,
        }
    }
}

macro_rules! failure_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $retry:ident;)+) => {
        choices! {
            /// Why an attempt, and with the last one the Task, failed: `.status.reason`, the manifest's `reason`, the
            /// record's `error.reason`. A policy code stands here as it is.
            pub enum FailureReason {
                $($(#[doc = $doc])+ $name = $text,)+
            }
        }

        impl FailureReason {
            /// What it means, for the reference pages.
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }

            /// Whether another attempt could end differently.
            pub fn is_retryable(self) -> bool {
                match self { $(Self::$name => failure_reasons!(@ $retry),)+ }
            }
        }
    };
    (@ retry) => { true };
    (@ no_retry) => { false };
}

failure_reasons! {
    /// The specification does not fit the schema.
    InvalidSpec = "INVALID_SPEC", no_retry;
    /// The operation is not one of the four.
    InvalidOperation = "INVALID_OPERATION", no_retry;
    /// The repository is outside the allowed prefixes.
    RepoNotAllowed = "REPO_NOT_ALLOWED", no_retry;
    /// The time budget is below the minimum.
    TimeBudgetTooLow = "TIME_BUDGET_TOO_LOW", no_retry;
    /// The time budget is above the maximum.
    TimeBudgetTooHigh = "TIME_BUDGET_TOO_HIGH", no_retry;
    /// Network access was asked for.
    NetworkAccessDenied = "NETWORK_ACCESS_DENIED", no_retry;
    /// Secrets were asked for.
    SecretsAccessDenied = "SECRETS_ACCESS_DENIED", no_retry;
    /// The executor asks models, none of which is granted to the namespace and the repository.
    ModelNotAllowed = "MODEL_NOT_ALLOWED", no_retry;
    /// The Task asks for more of models than its executor and its grant have.
    BudgetTooHigh = "BUDGET_TOO_HIGH", no_retry;
    /// What the Task makes may not be delivered as it asks.
    DeliveryNotAllowed = "DELIVERY_NOT_ALLOWED", no_retry;
    /// Who reviewed it may not: of a Review, and of no Task.
    ReviewNotAllowed = "REVIEW_NOT_ALLOWED", no_retry;
    /// The review is about something else: of a Review, and of no Task.
    ReviewStale = "REVIEW_STALE", no_retry;
    /// As many Tasks of the namespace were open as may be: it was not admitted.
    TooManyTasks = "TOO_MANY_TASKS", no_retry;
    /// No executor is configured for the operation, or the named one does not exist.
    ExecutorNotConfigured = "ExecutorNotConfigured", no_retry;
    /// The id pinned by `jct.dev/id` belongs to another Task.
    IdConflict = "IdConflict", no_retry;
    /// Another Task of the namespace, which asks for something else, has the idempotency key.
    IdempotencyKeyReused = "IdempotencyKeyReused", no_retry;
    /// The object shows an end, or attempts, of which the record knows nothing: the database was lost or is an older one.
    RecordLost = "RecordLost", no_retry;
    /// Nobody vouches for who wrote the Run as it stands.
    AuthorUnknown = "AuthorUnknown", no_retry;
    /// Who wrote the Run as it stands may not create Tasks in its namespace.
    AuthorNotAllowed = "AuthorNotAllowed", no_retry;
    /// The repository could not be fetched.
    SourceUnavailable = "SourceUnavailable", retry;
    /// The forge has no such repository, or shows it to others only.
    SourceNotFound = "SourceNotFound", no_retry;
    /// The repository has no such branch, tag or commit.
    RefNotFound = "RefNotFound", no_retry;
    /// The tree at the ref has more files or bytes than the limits allow.
    SourceTooLarge = "SourceTooLarge", no_retry;
    /// The path does not exist in the repository, or leads out of it.
    PathNotFound = "PathNotFound", no_retry;
    /// The executor ended with an error.
    ExecutorFailed = "ExecutorFailed", retry;
    /// The executor changed what it may not: outside of the path, too much, or another repository within.
    ChangeNotAllowed = "ChangeNotAllowed", no_retry;
    /// The executor was ended because its time budget was used up.
    TimeBudgetExceeded = "TimeBudgetExceeded", retry;
    /// The executor used more processes or disk than its configuration allows, or what it used could not be seen.
    LimitExceeded = "LimitExceeded", retry;
    /// The node's kernel cannot confine the executor, and its configuration does not allow it to run without.
    SandboxUnavailable = "SandboxUnavailable", no_retry;
    /// A budget of models was used up: the attempt's, the Task's, the namespace's or the grant's of the day.
    ModelBudgetExceeded = "ModelBudgetExceeded", no_retry;
    /// The executor failed, and its model could not be had.
    ModelUnavailable = "ModelUnavailable", retry;
    /// The Task was cancelled while its worker ran.
    Cancelled = "Cancelled", no_retry;
    /// The worker ran out of memory.
    OomKilled = "OOMKilled", retry;
    /// The worker was told to end before its time: the node evicted it or is drained, or its pod was deleted.
    Evicted = "Evicted", retry;
    /// The worker's pod went away before its time, and nothing tells why.
    Interrupted = "Interrupted", retry;
    /// The Job disappeared before its outcome was known.
    JobDeleted = "JobDeleted", retry;
    /// The node stopped answering while the worker ran on it.
    NodeLost = "NodeLost", retry;
    /// The worker's image could not be pulled.
    ImagePullFailed = "ImagePullFailed", retry;
    /// The worker's container could not be started.
    StartFailed = "StartFailed", retry;
    /// The worker ended without a sealed trace, or the trace does not match its digests.
    TraceInvalid = "TraceInvalid", retry;
    /// The worker failed in a way that it does not know.
    WorkerFailed = "WorkerFailed", retry;
}

impl FailureReason {
    /// Whether the cluster failed the attempt, not the executor: such attempts are repeated apart from `maxAttempts`. A Job
    /// that was deleted is none: somebody wanted that.
    pub fn is_infrastructure(self) -> bool {
        matches!(self, Self::Evicted | Self::Interrupted | Self::NodeLost | Self::ImagePullFailed | Self::StartFailed)
    }
}

impl From<crate::Code> for FailureReason {
    fn from(code: crate::Code) -> Self {
        use crate::Code;
        match code {
            Code::InvalidSpec => Self::InvalidSpec,
            Code::InvalidOperation => Self::InvalidOperation,
            Code::RepoNotAllowed => Self::RepoNotAllowed,
            Code::TimeBudgetTooLow => Self::TimeBudgetTooLow,
            Code::TimeBudgetTooHigh => Self::TimeBudgetTooHigh,
            Code::NetworkAccessDenied => Self::NetworkAccessDenied,
            Code::SecretsAccessDenied => Self::SecretsAccessDenied,
            Code::ModelNotAllowed => Self::ModelNotAllowed,
            Code::BudgetTooHigh => Self::BudgetTooHigh,
            Code::DeliveryNotAllowed => Self::DeliveryNotAllowed,
            Code::ReviewNotAllowed => Self::ReviewNotAllowed,
            Code::ReviewStale => Self::ReviewStale,
            Code::TooManyTasks => Self::TooManyTasks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn terminal_phases_never_change() {
        for phase in Phase::ALL {
            for next in Phase::ALL {
                assert!(!(phase.is_terminal() && phase.may_become(next)), "{phase} -> {next}");
            }
            assert_eq!(Phase::parse(phase.as_str()), Some(phase));
        }
    }

    #[test]
    fn every_policy_code_is_a_reason_of_the_same_name() {
        for code in Code::ALL {
            assert_eq!(FailureReason::from(code).as_str(), code.as_str());
        }
    }

    #[test]
    fn reasons_round_trip() {
        for reason in FailureReason::ALL {
            assert_eq!(FailureReason::parse(reason.as_str()), Some(reason));
        }
    }
}
