//! One entry of the audit log (contract section 4).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Actor, Id, TraceId};
use crate::choices;

choices! {
    /// What was done to an entity.
    pub enum Action {
        /// It came into being.
        Created = "created",
        /// A field changed.
        Updated = "updated",
        /// Its status changed.
        StatusChanged = "status_changed",
        /// It was deleted; the record of it stays.
        Deleted = "deleted",
        /// It was linked to another entity.
        Linked = "linked",
        /// A link was removed.
        Unlinked = "unlinked",
    }
}

choices! {
    /// What kind of thing an entry is about.
    pub enum EntityKind {
        /// A Task.
        Task = "Task",
        /// One attempt of a Task.
        Job = "Job",
        /// The files of one attempt's trace, registered with their digests.
        Trace = "Trace",
        /// A work object: a repository.
        Repo = "Repo",
        /// A work object: work to be done.
        Issue = "Issue",
        /// A work object: what one has to know for it.
        ContextPacket = "ContextPacket",
        /// A work object: what it is done under.
        ConstraintSnapshot = "ConstraintSnapshot",
        /// A work object: a rule that binds it.
        DoctrineRef = "DoctrineRef",
        /// A work object: a try at it.
        Run = "Run",
        /// A work object: what came out.
        Artifact = "Artifact",
        /// What is shown for an attempt that succeeded.
        EvidencePack = "EvidencePack",
        /// What a reviewer decided about that.
        ReviewDecision = "ReviewDecision",
        /// A request that the gate denied: there is no object of it.
        AdmissionDenial = "AdmissionDenial",
        /// The record as a whole, of which administrators took what does not follow from its log.
        Database = "Database",
    }
}

/// One significant change of one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// A ULID; entries of one writer sort by it.
    pub id: Id,
    pub ts: Timestamp,
    #[serde(flatten, with = "flat_actor")]
    pub actor: Actor,
    pub action: Action,
    /// To what kind of thing.
    pub entity_kind: EntityKind,
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
