//! What the seven kinds are made of: actors, sources, references.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Kind;
use super::limits::{DIGEST, EXTERNAL_ID, URL};
use crate::table::Holds::{Choice, Text};
use crate::table::Need::{Optional, Required};
use crate::table::record;
use crate::{ActorKind, Id};

record! {
    /// A person, an agent or a system, by the author's account.
    pub struct Actor {
        /// human, agent or system.
        actor_kind: ActorKind = Required, Choice(ActorKind::NAMES);
        /// Identifier.
        actor_id: String = Required, Text(1, 128);
        /// A name for people.
        display: Option<String> = Optional, Text(1, 256);
    }
}

record! {
    /// Where something comes from.
    pub struct Source {
        /// The system, such as github.
        system: String = Required, Text(1, 64);
        /// Its name there.
        external_id: Option<String> = Optional, EXTERNAL_ID;
        /// Its address there.
        url: Option<String> = Optional, URL;
    }
}

record! {
    /// A document that the work needs.
    pub struct Document {
        /// For people.
        title: String = Required, Text(1, 512);
        /// Where it is.
        uri: String = Required, URL;
        /// What it was when it was listed, such as sha256:….
        digest: Option<String> = Optional, DIGEST;
        /// The part that matters.
        excerpt: Option<String> = Optional, Text(0, 4000);
    }
}

/// A reference: with its kind, it names exactly one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Ref {
    /// The kind of the object.
    pub kind: Kind,
    pub target: Target,
    /// What it is here, in a word.
    pub role: Option<String>,
}

/// The object that a [`Ref`] names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The one with this id.
    Id(Id),
    /// The custom resource of this name, in the same namespace. Only a manifest says so; once found, its id stands here.
    Name(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Ref {
    /// A reference by id, without a role.
    pub fn to(kind: Kind, id: Id) -> Self {
        Self { kind, target: Target::Id(id), role: None }
    }

    /// The id, unless the object is known by name alone.
    pub fn id(&self) -> Option<Id> {
        match &self.target {
            Target::Id(id) => Some(*id),
            Target::Name(_) => None,
        }
    }
}

/// A [`Ref`] in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default)]
    role: Option<String>,
}

/// Why JSON is no [`Ref`].
#[derive(Debug, thiserror::Error)]
#[error("a reference has either an id or a name")]
struct NotOneTarget;

impl TryFrom<Written> for Ref {
    type Error = NotOneTarget;

    fn try_from(written: Written) -> Result<Self, NotOneTarget> {
        let target = match (written.id, written.name) {
            (Some(id), None) => Target::Id(id),
            (None, Some(name)) => Target::Name(name),
            _ => return Err(NotOneTarget),
        };
        Ok(Self { kind: written.kind, target, role: written.role })
    }
}

impl From<Ref> for Written {
    fn from(reference: Ref) -> Self {
        let (id, name) = match reference.target {
            Target::Id(id) => (Some(id), None),
            Target::Name(name) => (None, Some(name)),
        };
        Self { kind: reference.kind, id, name, role: reference.role }
    }
}
