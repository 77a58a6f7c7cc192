//! CWOM 0.1, the canonical work object model (contract section 2):
//! Issue + ContextPacket + ConstraintSnapshot + DoctrineRef → Run → Artifact.
//!
//! A kind is a Rust type and a table of its fields ([`crate::table`]). [`read()`] turns what somebody wrote, at either door, into
//! a [`Spec`] and all findings; [`check_update()`] says which changes are allowed; [`schema()`] describes a kind in OpenAPI.
//! An [`Object`] is a spec with the head that every kind has.

pub mod adapter;
mod brief;
mod kinds;
pub mod limits;
mod object;
mod primitives;
mod read;
mod status;
mod update;

#[cfg(test)]
mod read_tests;
#[cfg(test)]
pub mod strategy;

pub use crate::table::{Link, Part, Shape};
pub use brief::{restore, shorten};
pub use kinds::*;
pub use object::{InvalidObject, Object};
pub use primitives::{Actor, Document, Ref, Source, Target};
pub use read::{patch, read};
pub use status::Status;
pub use update::{Change, change, check_update};

use serde::Serialize;
use serde_json::{Map, Value};

use super::Naming;
use super::audit::EntityKind;
use crate::choices;

choices! {
    /// The seven kinds.
    pub enum Kind {
        /// A repository.
        Repo = "Repo",
        /// Work to be done.
        Issue = "Issue",
        /// What one has to know for it.
        ContextPacket = "ContextPacket",
        /// What it is done under.
        ConstraintSnapshot = "ConstraintSnapshot",
        /// A rule that binds it.
        DoctrineRef = "DoctrineRef",
        /// A try at it.
        Run = "Run",
        /// What came out.
        Artifact = "Artifact",
    }
}

impl Kind {
    /// The key of one object in a REST body, such as `context_packet`.
    pub fn snake_case(self) -> &'static str {
        match self {
            Self::Repo => "repo",
            Self::Issue => "issue",
            Self::ContextPacket => "context_packet",
            Self::ConstraintSnapshot => "constraint_snapshot",
            Self::DoctrineRef => "doctrine_ref",
            Self::Run => "run",
            Self::Artifact => "artifact",
        }
    }

    /// The last part of the path of all of them at REST and in the console.
    pub const fn collection(self) -> &'static str {
        match self {
            Self::Repo => "repos",
            Self::Issue => "issues",
            Self::ContextPacket => "context-packets",
            Self::ConstraintSnapshot => "constraint-snapshots",
            Self::DoctrineRef => "doctrine-refs",
            Self::Run => "runs",
            Self::Artifact => "artifacts",
        }
    }

    /// The plural name of the custom resource.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Repo => "repos",
            Self::Issue => "issues",
            Self::ContextPacket => "contextpackets",
            Self::ConstraintSnapshot => "constraintsnapshots",
            Self::DoctrineRef => "doctrinerefs",
            Self::Run => "runs",
            Self::Artifact => "artifacts",
        }
    }

    /// Whether no field may change once the object is created.
    pub fn is_immutable(self) -> bool {
        matches!(self, Self::ContextPacket | Self::ConstraintSnapshot)
    }
}

/// What the author of an object of this kind writes: [`crate::table::schema::schema()`].
pub fn schema(kind: Kind, naming: Naming) -> Value {
    crate::table::schema::schema(&[kind.shape()], naming)
}

impl From<Kind> for EntityKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Repo => Self::Repo,
            Kind::Issue => Self::Issue,
            Kind::ContextPacket => Self::ContextPacket,
            Kind::ConstraintSnapshot => Self::ConstraintSnapshot,
            Kind::DoctrineRef => Self::DoctrineRef,
            Kind::Run => Self::Run,
            Kind::Artifact => Self::Artifact,
        }
    }
}

/// The fields of one kind, without the head.
pub trait WorkSpec: Part + Serialize + Sized {
    const KIND: Kind;

    /// Fills in what is by default as old as the object.
    #[must_use]
    fn settled(self, _created_at: jiff::Timestamp) -> Self {
        self
    }
}

macro_rules! specs {
    ($($kind:ident),+) => {
        /// The fields of an object of any of the seven kinds, without the head.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        #[allow(missing_docs)]
        pub enum Spec {
            $($kind(Box<$kind>),)+
        }

        impl Kind {
            /// The table of its fields.
            pub const fn shape(self) -> &'static Shape {
                match self { $(Self::$kind => &$kind::SHAPE,)+ }
            }
        }

        impl Spec {
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)+ }
            }

            /// Words to find it by.
            pub fn tags(&self) -> &[String] {
                match self { $(Self::$kind(spec) => &spec.tags,)+ }
            }

            /// Free-form.
            pub fn meta(&self) -> &Map<String, Value> {
                match self { $(Self::$kind(spec) => &spec.meta,)+ }
            }

            /// The spec of this kind that was serialized as `json`: stored JSON, which nobody but JCT wrote.
            ///
            /// # Errors
            /// If it is not one; what people wrote is for [`read()`].
            pub fn from_json(kind: Kind, json: Value) -> Result<Self, serde_json::Error> {
                match kind { $(Kind::$kind => serde_json::from_value(json).map(Self::$kind),)+ }
            }

            fn part(&self) -> &dyn Part {
                match self { $(Self::$kind(spec) => spec.as_ref(),)+ }
            }

            fn part_mut(&mut self) -> &mut dyn Part {
                match self { $(Self::$kind(spec) => spec.as_mut(),)+ }
            }

            /// Fills in what is by default as old as the object.
            #[must_use]
            pub fn settled(self, created_at: jiff::Timestamp) -> Self {
                match self { $(Self::$kind(spec) => Self::$kind(Box::new(spec.settled(created_at))),)+ }
            }
        }

        $(impl From<$kind> for Spec {
            fn from(spec: $kind) -> Self {
                Self::$kind(Box::new(spec))
            }
        })+
    };
}
specs!(Repo, Issue, ContextPacket, ConstraintSnapshot, DoctrineRef, Run, Artifact);

macro_rules! work_specs {
    ($($kind:ident),+) => {
        $(impl WorkSpec for $kind {
            const KIND: Kind = Kind::$kind;
        })+
    };
}
work_specs!(Repo, Issue, ContextPacket, DoctrineRef, Run, Artifact);

impl WorkSpec for ConstraintSnapshot {
    const KIND: Kind = Kind::ConstraintSnapshot;

    fn settled(self, created_at: jiff::Timestamp) -> Self {
        Self { captured_at: self.captured_at.or(Some(created_at)), ..self }
    }
}

impl Spec {
    /// The status that its author states; none for a kind without one.
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Issue(issue) => Some(issue.status),
            Self::Run(run) => Some(run.status),
            _ => None,
        }
    }

    /// Every reference, with its place, in the order of the fields.
    pub fn refs(&self) -> Vec<(String, &Ref)> {
        let mut refs = Vec::new();
        self.part().each_ref(Link { field: "", index: None }, &mut |link, reference| {
            refs.push((link.path(), reference));
        });
        refs
    }

    /// Shows every reference to `change`, so that names can become ids.
    pub fn each_ref_mut(&mut self, change: &mut dyn FnMut(Link<'_>, &mut Ref)) {
        self.part_mut().each_ref_mut(Link { field: "", index: None }, change);
    }

    /// The fields as REST bodies and rows have them: snake_case, every field present.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}
