//! One entry of the audit log (contract section 4).

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Actor, Id, TraceId};

/// What was done to an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It came into being.
    Created,
    /// A field changed.
    Updated,
    /// Its status changed.
    StatusChanged,
    /// It was deleted; the record of it stays.
    Deleted,
    /// It was linked to another entity.
    Linked,
    /// A link was removed.
    Unlinked,
}

impl Action {
    /// Every action, in the contract's order.
    pub const ALL: [Self; 6] =
        [Self::Created, Self::Updated, Self::StatusChanged, Self::Deleted, Self::Linked, Self::Unlinked];

    /// The name in the database and in REST bodies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::StatusChanged => "status_changed",
            Self::Deleted => "deleted",
            Self::Linked => "linked",
            Self::Unlinked => "unlinked",
        }
    }

    /// The action with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What kind of thing an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EntityKind {
    /// A Task.
    Task,
    /// One attempt of a Task.
    Job,
    /// The files of one attempt's trace, registered with their digests.
    Trace,
    /// A work object: a repository.
    Repo,
    /// A work object: work to be done.
    Issue,
    /// A work object: what one has to know for it.
    ContextPacket,
    /// A work object: what it is done under.
    ConstraintSnapshot,
    /// A work object: a rule that binds it.
    DoctrineRef,
    /// A work object: a try at it.
    Run,
    /// A work object: what came out.
    Artifact,
    /// A request that the gate denied: there is no object of it.
    AdmissionDenial,
    /// The record as a whole, of which administrators took what does not follow from its log.
    Database,
}

impl EntityKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Task,
        Self::Job,
        Self::Trace,
        Self::Repo,
        Self::Issue,
        Self::ContextPacket,
        Self::ConstraintSnapshot,
        Self::DoctrineRef,
        Self::Run,
        Self::Artifact,
        Self::AdmissionDenial,
        Self::Database,
    ];

    /// The name in the database and in REST bodies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "Task",
            Self::Job => "Job",
            Self::Trace => "Trace",
            Self::Repo => "Repo",
            Self::Issue => "Issue",
            Self::ContextPacket => "ContextPacket",
            Self::ConstraintSnapshot => "ConstraintSnapshot",
            Self::DoctrineRef => "DoctrineRef",
            Self::Run => "Run",
            Self::Artifact => "Artifact",
            Self::AdmissionDenial => "AdmissionDenial",
            Self::Database => "Database",
        }
    }

    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One significant change of one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// A ULID; entries of one writer sort by it.
    pub id: Id,
    /// When.
    pub ts: Timestamp,
    /// Who.
    #[serde(flatten, with = "flat_actor")]
    pub actor: Actor,
    /// Did what.
    pub action: Action,
    /// To what kind of thing.
    pub entity_kind: EntityKind,
    /// To which one.
    pub entity_id: String,
    /// What it was before; none for a creation.
    pub before: Option<Value>,
    /// What it is now; none for a deletion.
    pub after: Option<Value>,
    /// A word for people.
    pub note: Option<String>,
    /// The trace it belongs to.
    pub trace_id: TraceId,
}

/// An actor as the two columns `actor_kind` and `actor_id`.
mod flat_actor {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::{Actor, ActorKind};

    #[derive(Serialize, Deserialize)]
    struct Columns {
        actor_kind: ActorKind,
        actor_id: String,
    }

    pub fn serialize<S: Serializer>(actor: &Actor, serializer: S) -> Result<S::Ok, S::Error> {
        Columns { actor_kind: actor.kind, actor_id: actor.id.clone() }.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Actor, D::Error> {
        Columns::deserialize(deserializer).map(|columns| Actor { kind: columns.actor_kind, id: columns.actor_id })
    }
}
