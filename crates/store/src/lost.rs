//! What callers ask of the store about Tasks whose object shows more than the record knows.

use jiff::Timestamp;

use super::model::Failure;
use jct_domain::{Actor, Id, Phase};

/// What the status of an object shows of the Task's way: a status can be written only by who wrote a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub has_ended: bool,
    /// By itself, and not as a copy of another one or for want of an id of its own.
    pub by_itself: bool,
    /// The latest attempt; 0 if there was none.
    pub attempt: u32,
    pub runs: bool,
}

impl Shown {
    /// Whether there is more than a record can miss that has the attempts up to this one.
    pub fn is_beyond(self, attempt: u32) -> bool {
        self.attempt > attempt.saturating_add(1)
    }
}

/// The end of a Task whose record was lost, as the status of its object shows it. An administrator decided that it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptEnd {
    pub task_id: Id,
    /// How it ended; a terminal phase.
    pub phase: Phase,
    /// Why, unless it is completed.
    pub failure: Option<Failure>,
    /// The last attempt; 0 if there was none.
    pub attempt: u32,
    /// The id of that attempt's row.
    pub job_id: Id,
    pub job_name: Option<String>,
    /// The commit that it worked on.
    pub commit: Option<String>,
    /// Its trace, below the root of the volume.
    pub trace_path: Option<String>,
    /// The digest of that trace's manifest.
    pub manifest_sha256: Option<String>,
    /// How many files that trace has.
    pub trace_files: Option<u32>,
    /// When it was queued.
    pub queued_at: Option<Timestamp>,
    /// When the first worker began.
    pub started_at: Option<Timestamp>,
    /// When the Task ended; now, where the status does not say.
    pub completed_at: Timestamp,
    /// Who decided, as far as anybody vouches for that.
    pub by: Actor,
    /// Who they say they are.
    pub claims: String,
}

/// A Task whose record was lost, and that an administrator lets run again: its next attempt comes after those that its status
/// shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAgain {
    pub task_id: Id,
    /// The last attempt that the status shows; 0 if there was none.
    pub after: u32,
    /// Who decided, as far as anybody vouches for that.
    pub by: Actor,
    /// Who they say they are.
    pub claims: String,
    /// Now.
    pub at: Timestamp,
}
