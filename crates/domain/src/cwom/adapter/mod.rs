//! Task ↔ CWOM (contract section 2). Pure; ids are derived from the Task's, so a replay makes the same objects.
//!
//! What only a Task knows stands under [`TASK_META`] in the `meta` of the objects, so that
//! `issue_to_task(task_to_cwom(t)) == t` for every Task.

mod attempt;
mod first_meta;
mod from_task;
mod to_task;

#[cfg(test)]
mod tests;

use jiff::Timestamp;

use super::{Actor, ConstraintSnapshot, ContextPacket, Issue, Kind, Object, Ref, Repo, Status};
use crate::task::RequestedBy;
use crate::{Id, Phase, TraceId};
pub use attempt::{
    Attempt, AttemptState, Ending, artifact_of_file, failure_category, is_of_interest, run_id, run_of_attempt,
};
pub use first_meta::add_first_meta;
pub use from_task::task_to_cwom;
pub use to_task::{IssueView, MadeByJct, issue_to_task, task_document};

/// The key in `meta` under which stands what only a Task knows.
pub const TASK_META: &str = "task";
/// The name of the data blob that holds a Task's inputs.
pub const TASK_INPUTS: &str = "task-inputs";

/// The Task that objects are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    pub task_id: Id,
    /// When it was created; so were the objects.
    pub created_at: Timestamp,
    /// Its trace, which is theirs too.
    pub trace_id: &'a TraceId,
}

impl Origin<'_> {
    /// The id of the object that has this role for the Task.
    fn id(&self, role: &str) -> Id {
        Id::derive_for(self.created_at, &self.task_id.to_string(), &format!("cwom/{role}"))
    }
}

/// The objects that a Task makes.
#[derive(Clone, Debug, PartialEq)]
pub struct CwomBundle {
    /// To be made unless one has its slug; see [`CwomBundle::use_repo`].
    pub repo: Object<Repo>,
    pub issue: Object<Issue>,
    /// What one has to know for it.
    pub context_packet: Object<ContextPacket>,
    /// What it is done under.
    pub constraint_snapshot: Object<ConstraintSnapshot>,
}

impl CwomBundle {
    /// Lets the Issue name a Repo that was there before, in place of the bundle's own.
    pub fn use_repo(&mut self, repo: Object<Repo>) {
        self.issue.spec.repo = Ref::to(Kind::Repo, repo.id);
        self.repo = repo;
    }

    /// The bundle as [`issue_to_task`] reads it.
    pub fn view(&self) -> IssueView<'_> {
        IssueView {
            repo: &self.repo.spec,
            issue: &self.issue.spec,
            context_packet: Some(&self.context_packet.spec),
            constraint_snapshot: Some(&self.constraint_snapshot.spec),
            made_by_jct: MadeByJct::ALL,
            requester: None,
        }
    }

    /// What its Runs refer to.
    pub fn ids(&self) -> CwomIds {
        CwomIds {
            repo: self.repo.id,
            issue: self.issue.id,
            context_packet: self.context_packet.id,
            constraint_snapshot: self.constraint_snapshot.id,
        }
    }
}

/// The ids of the objects that a Task made, as REST answers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CwomIds {
    /// The Repo, which may have been there before.
    pub repo: Id,
    pub issue: Id,
    pub context_packet: Id,
    pub constraint_snapshot: Id,
}

impl CwomIds {
    /// The ids that `task_to_cwom` gives, with `repo` for the Repo where one with the slug was there before.
    pub fn of(origin: &Origin, repo: Option<Id>) -> Self {
        Self {
            repo: repo.unwrap_or_else(|| origin.id("repo")),
            issue: origin.id("issue"),
            context_packet: origin.id("context_packet"),
            constraint_snapshot: origin.id("constraint_snapshot"),
        }
    }
}

/// The status of the Issue of a Task in this phase.
pub fn issue_status(phase: Phase) -> Status {
    match phase {
        Phase::Pending => Status::Planned,
        Phase::Queued => Status::Ready,
        Phase::Running => Status::Running,
        Phase::Completed => Status::Done,
        Phase::Failed => Status::Failed,
        Phase::Cancelled => Status::Canceled,
    }
}

impl From<&RequestedBy> for Actor {
    fn from(RequestedBy { kind, id, label }: &RequestedBy) -> Self {
        Self { actor_kind: *kind, actor_id: id.clone(), display: label.clone() }
    }
}

/// The first `most` characters.
fn shortened(text: &str, most: usize) -> String {
    text.chars().filter(|c| *c != '\0').take(most).collect()
}
