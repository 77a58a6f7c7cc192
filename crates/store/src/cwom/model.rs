//! What callers ask of the record of work objects, and what they get.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use jct_domain::cwom::{FailureCategory, Kind, Object, Spec, Target};
use jct_domain::{Actor, Finding, Id, TraceId};

/// The record of a work object (contract section 2).
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectRow {
    /// The object. A reference that is not resolved yet has a name; all others have ids.
    pub object: Object,
    /// Where it belongs. An object refers to objects of its own namespace only.
    pub namespace: String,
    /// The custom resource behind it; none for an object that was made at the REST door or for a Task.
    pub origin: Option<ObjectOrigin>,
    /// The authenticated user, where one was vouched for.
    pub submitted_by: Option<String>,
    /// The Task that the object was made for, or that carries out the Run.
    pub task_id: Option<Id>,
    /// What the names in its custom resource stand for. A name once resolved stays.
    pub names: BTreeMap<String, Id>,
    /// When this row was made.
    pub recorded_at: Timestamp,
    /// When the custom resource was deleted; the row stays.
    pub deleted_at: Option<Timestamp>,
    /// The digest of the spec that is recorded, as its custom resource has it: who meets the same again need not read it.
    pub spec_sha256: Option<String>,
}

/// The custom resource behind an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectOrigin {
    pub name: String,
    pub uid: String,
}

/// An object as somebody wants it: new, or changed by its custom resource.
#[derive(Clone, Debug, PartialEq)]
pub struct PutObject {
    /// Derived from the custom resource, pinned by `jct.dev/id`, or new.
    pub id: Id,
    /// The id that is pinned.
    pub pin: Option<Id>,
    pub trace_id: TraceId,
    pub namespace: String,
    /// The custom resource. Without one the object is new, and every reference must be to an object that is there.
    pub origin: Option<ObjectOrigin>,
    /// The authenticated user, where one was vouched for.
    pub submitted_by: Option<String>,
    /// Who the audit entries name.
    pub actor: Actor,
    /// What it says. Only references of a custom resource may have names.
    pub spec: Spec,
    /// The digest of that, as the custom resource has it.
    pub spec_sha256: Option<String>,
    /// When the custom resource was created; now, without one.
    pub created_at: Timestamp,
    /// Now.
    pub at: Timestamp,
}

/// What became of a [`PutObject`].
#[derive(Clone, Debug, PartialEq)]
pub enum Put {
    /// It is in the record, as it is wanted.
    Recorded {
        row: Box<ObjectRow>,
        /// Whether this made the row, or changed it: others may wait for that.
        changed: bool,
        /// References that are left out until they can be resolved. Empty without a custom resource.
        unresolved: Vec<Unresolved>,
    },
    /// It can't be recorded without these. Nothing was written.
    Unresolved(Vec<Unresolved>),
    /// Another object has what must be unique. Nothing was written.
    Taken { by: Id, what: Unique },
    /// The change is not allowed. Nothing was written.
    Refused(Vec<Finding>),
}

/// What only one object may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// The id, among all objects and Tasks.
    Id,
    /// A Repo's slug, in its namespace.
    Slug,
    /// Namespace, name and version of a DoctrineRef, in its Kubernetes namespace.
    Doctrine,
}

/// A reference that does not lead to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// Where it stands in the spec, such as `inputs.context_packets[2]`, in snake_case.
    pub path: String,
    pub kind: Kind,
    pub target: Target,
    /// What is wrong with it.
    pub problem: RefProblem,
}

/// Why a reference does not lead to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefProblem {
    /// There is no such object in the namespace, yet.
    Missing,
    /// The id is that of an object of another kind.
    WrongKind(Kind),
    /// An Issue would come before itself, or be a part of itself.
    Circle,
}

/// A change of an object that has no custom resource.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchObject {
    pub kind: Kind,
    pub id: Id,
    /// The fields that change, as [`patch`](jct_domain::cwom::patch) reads them.
    pub change: Value,
    /// Who the audit entries name.
    pub actor: Actor,
    /// Now.
    pub at: Timestamp,
}

/// What became of a [`PatchObject`]. Only with `Patched` anything may have been written.
#[derive(Clone, Debug, PartialEq)]
pub enum Patched {
    /// The object is as it is wanted.
    Patched(Box<ObjectRow>),
    /// There is no such object.
    Unknown,
    /// The change does not fit the schema, or is not allowed.
    Refused(Vec<Finding>),
    /// It refers to what is not there.
    Unresolved(Vec<Unresolved>),
    /// Its custom resource says what it is; change that one.
    OfCustomResource(ObjectOrigin),
    /// The Task says what it is.
    OfTask(Id),
}

/// An object whose custom resource was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteObject {
    pub kind: Kind,
    /// Its id; one that has another is found by the uid.
    pub id: Id,
    /// The uid of the custom resource that is gone; another one's row is left alone.
    pub uid: String,
    pub actor: Actor,
    /// What else is to be said of that.
    pub note: Option<String>,
    /// Now.
    pub at: Timestamp,
}

/// A Run that no Task carries out, and that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailRun {
    pub id: Id,
    pub category: FailureCategory,
    pub message: String,
    pub actor: Actor,
    /// Now.
    pub at: Timestamp,
}

/// An object whose custom resource was not seen to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentObject {
    pub id: Id,
    /// Of the custom resource.
    pub namespace: String,
    /// Of the custom resource.
    pub name: String,
    /// Of the custom resource.
    pub uid: String,
    /// Whether another row has the same custom resource, so that this one is over.
    pub is_superseded: bool,
}

/// Which objects of a kind to list: those that fit every given filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectFilter {
    pub namespace: Option<String>,
    pub fields: Vec<(ObjectField, String)>,
}

/// A field to list objects by. One that the kind does not have fits no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectField {
    /// Of any kind: the trace.
    TraceId,
    /// Of a Repo.
    Slug,
    /// Of a Repo.
    Visibility,
    /// Of an Issue or a Run: the id of the Repo.
    Repo,
    /// Of a ContextPacket, a Run or an Artifact: the id of the Issue that it is for. Of a ContextPacket also: of an Issue
    /// that lists it.
    Issue,
    /// Of an Artifact: the id of the Run that made it.
    Run,
    /// Of an Issue or a Run.
    Status,
    /// Of an Issue, a DoctrineRef or an Artifact.
    Type,
    /// Of an Issue or a DoctrineRef.
    Priority,
    /// Of a Run.
    Mode,
    /// Of a ConstraintSnapshot.
    Scope,
    /// Of a ConstraintSnapshot: the `actor_id` of its owner.
    Owner,
    /// Of a DoctrineRef: the namespace of the doctrine.
    DoctrineNamespace,
}
