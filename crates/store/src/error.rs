//! What can go wrong with the record, by what a caller can do about it.

use jct_domain::{Id, Phase};

/// A result of the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why the store did not do what it was asked to. A failed write has changed nothing, unless it says otherwise.
///
/// The texts are for people and logs; decide by the variant, count by [`StoreError::category`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No Task with this id is recorded.
    #[error("no task {0} is recorded")]
    UnknownTask(Id),
    /// The record has moved on: what was asked for does not fit it. Read the row again; repeating is of no use.
    #[error("task {task_id}: {reason}")]
    Conflict {
        /// The Task.
        task_id: Id,
        /// What does not fit.
        reason: Conflict,
    },
    /// The database can't be reached, is locked by somebody else or its disk fails. Repeat later: whether a write that
    /// ended so took effect is not known, and repeating it is safe.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// No space is left for the database. Repeat once there is.
    #[error("the database has no space left, free some or enlarge its volume: {0}")]
    Full(String),
    /// The database can't be written to. Repeat once it can.
    #[error("the database is read-only, give back the right to write to it, its folder and its volume: {0}")]
    ReadOnly(String),
    /// A row holds what no version of this program wrote, or the file is damaged.
    #[error("{table} {id}: the record is corrupt: {detail}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The row; empty when the damage is not bound to one.
        id: String,
        /// What is wrong.
        detail: String,
    },
    /// A newer version of this program has migrated the database. Start that one, or restore a backup from before.
    #[error(
        "the database was migrated by a newer version (migration {0} is unknown to this one); \
         start that version, or restore a backup from before"
    )]
    NewerSchema(i64),
    /// There is no record where one is to be read.
    #[error("there is no record of JCT: {0}")]
    NoRecord(String),
    /// The database is of an earlier version, and what is asked for is not in it.
    #[error("the schema of the database is of version {found}, not {wanted}: run `jct db migrate` first")]
    OlderSchema {
        /// That of the database.
        found: i64,
        /// That of this program.
        wanted: i64,
    },
    /// The schema could not be brought up to date.
    #[error("the database could not be migrated: {0}")]
    Migration(String),
    /// An import into the database was begun and not finished: rows are missing.
    #[error(
        "an import into this database was begun and not finished: run `jct db import` again with the same export, or begin \
         with a new, empty database"
    )]
    ImportUnfinished,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A mistake in this program.
    #[error("the database refused a statement: {0}")]
    Internal(String),
}

/// In what way a request does not fit the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// It has ended.
    #[error("it has ended as {0}")]
    Ended(Phase),
    /// The attempt to start is not the next one.
    #[error("attempt {asked} is not the next one after {current}")]
    NotNext {
        /// The recorded attempt, 0 before the first.
        current: u32,
        /// The attempt asked for.
        asked: u32,
    },
    /// The attempt to start after is still open.
    #[error("attempt {0} has not ended")]
    AttemptOpen(u32),
    /// The attempt's outcome is recorded already: its Job must not run again.
    #[error("attempt {0} has ended")]
    AttemptEnded(u32),
    /// There is no such attempt.
    #[error("attempt {0} was never started")]
    UnknownAttempt(u32),
    /// No attempt is left.
    #[error("all {0} attempts are used")]
    AttemptsUsed(u32),
    /// A Task is recorded under the id.
    #[error("it is recorded")]
    Recorded,
    /// The phase does not lead there.
    #[error("{from} does not lead to {to}")]
    Phase {
        /// The recorded phase.
        from: Phase,
        /// The phase asked for.
        to: Phase,
    },
}

impl StoreError {
    /// A word for metric labels and log fields; frozen.
    pub fn category(&self) -> &'static str {
        match self {
            Self::UnknownTask(_) => "unknown",
            Self::Conflict { .. } => "conflict",
            Self::Unavailable(_) => "unavailable",
            Self::Full(_) => "full",
            Self::ReadOnly(_) => "read_only",
            Self::Corrupt { .. } => "corrupt",
            Self::NewerSchema(_) => "newer_schema",
            Self::NoRecord(_) => "no_record",
            Self::OlderSchema { .. } => "older_schema",
            Self::Migration(_) => "migration",
            Self::ImportUnfinished => "import_unfinished",
            Self::Closed => "closed",
            Self::Internal(_) => "internal",
        }
    }

    /// What is wrong, without what the database says of it: for those who need not know where it is and what is in it.
    pub fn summary(&self) -> String {
        let whole = self.to_string();
        match self {
            Self::Unavailable(detail)
            | Self::Full(detail)
            | Self::ReadOnly(detail)
            | Self::NoRecord(detail)
            | Self::Migration(detail)
            | Self::Internal(detail) => {
                whole.strip_suffix(detail.as_str()).unwrap_or(&whole).trim_end_matches(": ").into()
            }
            Self::Corrupt { .. } => "the record is corrupt".into(),
            Self::UnknownTask(_) | Self::Conflict { .. } => "the record does not fit".into(),
            Self::NewerSchema(_) | Self::OlderSchema { .. } | Self::ImportUnfinished | Self::Closed => whole,
        }
    }

    /// Whether the same request can succeed later without anybody changing it.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_) | Self::ReadOnly(_))
    }

    pub(super) fn corrupt(table: &'static str, id: impl ToString, detail: impl ToString) -> Self {
        Self::Corrupt { table, id: id.to_string(), detail: detail.to_string() }
    }

    pub(super) fn conflict(task_id: Id, reason: Conflict) -> Self {
        Self::Conflict { task_id, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_tells_what_is_wrong_and_not_where() {
        let detail = || "connection to db.internal:5432 as jct refused: row (secret)".to_owned();
        for error in [
            StoreError::Unavailable(detail()),
            StoreError::Full(detail()),
            StoreError::ReadOnly(detail()),
            StoreError::Migration(detail()),
            StoreError::Internal(detail()),
            StoreError::Corrupt { table: "tasks", id: detail(), detail: detail() },
        ] {
            let summary = error.summary();
            assert!(!summary.contains("internal:5432") && !summary.ends_with([':', ' ']), "{summary}");
            assert!(error.to_string().contains("internal:5432"), "the control");
        }
        assert_eq!(StoreError::Unavailable(detail()).summary(), "the database is not available");
        assert_eq!(StoreError::Closed.summary(), "the store is closed");
    }
}
