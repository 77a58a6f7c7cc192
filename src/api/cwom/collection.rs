//! The table of the collections: everything in which one kind differs from another at this door.

use crate::api::query::Params;
use crate::domain::Id;
use crate::domain::cwom::{
    ArtifactType, DoctrinePriority, DoctrineType, IssueType, Kind, Mode, Priority, Scope, Status, Visibility,
};
use crate::store::ObjectField;

/// The objects of one kind.
#[derive(Debug)]
pub struct Collection {
    pub kind: Kind,
    /// What it can be listed by; `None` if it is not listed.
    pub filters: Option<&'static [Filter]>,
    pub changes: Changes,
    /// The lists that each object has.
    pub parts: &'static [Part],
}

/// A parameter that narrows a list.
#[derive(Debug)]
pub struct Filter {
    pub name: &'static str,
    /// The field that it is about.
    pub field: ObjectField,
    pub takes: Takes,
}

/// What a [`Filter`] takes.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    Choice(&'static [&'static str]),
    Id,
    Text,
}

/// What PATCH may do to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Nothing: there is no PATCH.
    None,
    /// Nothing, ever: PUT and PATCH say so (contract section 2, invariants).
    Never,
    /// What [`check_update`](crate::domain::cwom::check_update) allows. The status has a path of its own, besides.
    All,
    /// What it allows of these fields.
    Only(&'static [&'static str]),
}

/// A list that belongs to one object.
#[derive(Debug)]
pub struct Part {
    /// Of what it is a list.
    pub kind: Kind,
    /// The field of those that names the object.
    pub by: ObjectField,
    /// What the list can be narrowed by.
    pub filters: &'static [Filter],
}

/// Every collection, in the contract's order.
pub static COLLECTIONS: [Collection; 7] = [
    Collection {
        kind: Kind::Repo,
        filters: Some(&[choice("visibility", ObjectField::Visibility, Visibility::NAMES)]),
        changes: Changes::None,
        parts: &[],
    },
    Collection {
        kind: Kind::Issue,
        filters: Some(&[
            Filter { name: "repo_id", field: ObjectField::Repo, takes: Takes::Id },
            choice("status", ObjectField::Status, Status::NAMES),
            choice("type", ObjectField::Type, IssueType::NAMES),
            choice("priority", ObjectField::Priority, Priority::NAMES),
        ]),
        changes: Changes::All,
        parts: &[
            Part { kind: Kind::ContextPacket, by: ObjectField::Issue, filters: &[] },
            Part { kind: Kind::Artifact, by: ObjectField::Issue, filters: &[BY_ARTIFACT_TYPE] },
        ],
    },
    Collection {
        kind: Kind::Run,
        filters: Some(&[
            Filter { name: "issue_id", field: ObjectField::Issue, takes: Takes::Id },
            Filter { name: "repo_id", field: ObjectField::Repo, takes: Takes::Id },
            choice("status", ObjectField::Status, Status::NAMES),
            choice("mode", ObjectField::Mode, Mode::NAMES),
        ]),
        changes: Changes::Only(&["status", "telemetry", "cost", "outputs", "failure"]),
        parts: &[Part { kind: Kind::Artifact, by: ObjectField::Run, filters: &[BY_ARTIFACT_TYPE] }],
    },
    Collection { kind: Kind::Artifact, filters: Some(&[]), changes: Changes::None, parts: &[] },
    Collection { kind: Kind::ContextPacket, filters: None, changes: Changes::Never, parts: &[] },
    Collection {
        kind: Kind::ConstraintSnapshot,
        filters: Some(&[
            choice("scope", ObjectField::Scope, Scope::NAMES),
            Filter { name: "owner_id", field: ObjectField::Owner, takes: Takes::Text },
        ]),
        changes: Changes::Never,
        parts: &[],
    },
    Collection {
        kind: Kind::DoctrineRef,
        filters: Some(&[
            Filter { name: "namespace", field: ObjectField::DoctrineNamespace, takes: Takes::Text },
            choice("type", ObjectField::Type, DoctrineType::NAMES),
            choice("priority", ObjectField::Priority, DoctrinePriority::NAMES),
        ]),
        changes: Changes::None,
        parts: &[],
    },
];

const BY_ARTIFACT_TYPE: Filter = choice("type", ObjectField::Type, ArtifactType::NAMES);

const fn choice(name: &'static str, field: ObjectField, names: &'static [&'static str]) -> Filter {
    Filter { name, field, takes: Takes::Choice(names) }
}

impl Collection {
    /// The collection of `kind`.
    pub fn of(kind: Kind) -> &'static Self {
        let [repos, issues, runs, artifacts, packets, snapshots, doctrines] = &COLLECTIONS;
        match kind {
            Kind::Repo => repos,
            Kind::Issue => issues,
            Kind::Run => runs,
            Kind::Artifact => artifacts,
            Kind::ContextPacket => packets,
            Kind::ConstraintSnapshot => snapshots,
            Kind::DoctrineRef => doctrines,
        }
    }

    pub fn path(&self) -> String {
        format!("/cwom/{}", self.kind.collection())
    }

    /// The parameter that names a Kubernetes namespace. A DoctrineRef has a `namespace` of its own.
    pub fn namespace_parameter(&self) -> &'static str {
        match self.kind {
            Kind::DoctrineRef => "kubernetes_namespace",
            _ => "namespace",
        }
    }
}

impl Filter {
    /// The value asked for.
    pub fn read(&self, query: &mut Params) -> Option<(ObjectField, String)> {
        let value = match self.takes {
            Takes::Choice(names) => query.choice(self.name, names, |name| name).map(str::to_owned),
            Takes::Id => query.parsed::<Id>(self.name).map(String::from),
            Takes::Text => query.text(self.name),
        };
        value.map(|value| (self.field, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_collection() {
        for kind in Kind::ALL {
            assert_eq!(Collection::of(kind).kind, kind);
        }
    }

    #[test]
    fn what_is_immutable_and_what_may_be_patched_is_as_the_model_says() {
        for collection in &COLLECTIONS {
            assert_eq!(collection.changes == Changes::Never, collection.kind.is_immutable());
            if let Changes::Only(fields) = collection.changes {
                let known = |name: &&str| collection.kind.shape().fields.iter().any(|field| field.name == *name);
                assert!(fields.iter().all(known), "{fields:?}");
            }
        }
    }

    #[test]
    fn no_filter_has_the_name_of_another_parameter() {
        for collection in &COLLECTIONS {
            let others = ["limit", "offset", "cursor", collection.namespace_parameter()];
            let of_parts = collection.parts.iter().flat_map(|part| part.filters);
            let mut filters = collection.filters.into_iter().flatten().chain(of_parts);
            assert!(filters.all(|filter| !others.contains(&filter.name)));
        }
    }
}
