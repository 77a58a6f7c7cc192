//! From what a custom resource or a REST body refers to, to objects that are in the record. Pure.

use std::collections::BTreeMap;

use super::links::{Join, Linked, field_of, is_required};
use super::model::{ObjectOrigin, RefProblem, Unresolved};
use super::view::Objects;
use crate::Result;
use jct_domain::Id;
use jct_domain::cwom::{Kind, Ref, Spec, Target};

/// The object whose references are resolved.
pub(super) struct Referrer<'a> {
    pub(super) id: Id,
    pub(super) namespace: &'a str,
    pub(super) origin: Option<&'a ObjectOrigin>,
    /// What its names stood for before. A name once resolved stays.
    pub(super) names: &'a BTreeMap<String, Id>,
}

/// A spec whose names are ids, as far as they are known.
pub(super) struct Resolved {
    pub(super) spec: Spec,
    /// What its names stand for.
    pub(super) names: BTreeMap<String, Id>,
    pub(super) unresolved: Vec<Unresolved>,
}

impl Resolved {
    /// Whether it lacks what an object of its kind can't be without.
    pub(super) fn lacks_required(&self) -> bool {
        self.unresolved.iter().any(|left| is_required(&left.path))
    }

    /// The paths of the references that are left.
    pub(super) fn left_out(&self) -> Vec<String> {
        self.unresolved.iter().map(|left| left.path.clone()).collect()
    }
}

/// Resolves what `spec` refers to.
pub(super) fn resolve(objects: &Objects, spec: &Spec, referrer: &Referrer<'_>) -> Result<Resolved> {
    let mut resolved = Resolved { spec: spec.clone(), names: BTreeMap::new(), unresolved: Vec::new() };
    let Resolved { spec, names, unresolved } = &mut resolved;
    let mut outcome = Ok(());
    spec.each_ref_mut(&mut |link, reference| {
        let found = match &reference.target {
            Target::Id(id) => by_id(objects, reference.kind, *id, referrer).map(|problem| problem.map_or(Ok(*id), Err)),
            Target::Name(name) => Ok(by_name(objects, reference.kind, name, referrer).ok_or(RefProblem::Missing)),
        };
        match found {
            Ok(Ok(id)) => {
                if let Target::Name(name) = &reference.target {
                    names.insert(key(reference.kind, name), id);
                }
                reference.target = Target::Id(id);
            }
            Ok(Err(problem)) => {
                let Ref { kind, target, role: _ } = reference.clone();
                unresolved.push(Unresolved { path: link.path(), kind, target, problem });
            }
            Err(error) => outcome = Err(error),
        }
    });
    outcome?;
    drop_circles(objects, &mut resolved, referrer.id);
    Ok(resolved)
}

/// What a name is remembered under.
pub(super) fn key(kind: Kind, name: &str) -> String {
    format!("{kind}/{name}")
}

fn by_name(objects: &Objects, kind: Kind, name: &str, referrer: &Referrer<'_>) -> Option<Id> {
    let itself = referrer.origin.filter(|origin| origin.name == name).map(|_| referrer.id);
    let known = referrer.names.get(&key(kind, name)).copied();
    known.or_else(|| objects.named(kind, referrer.namespace, name)).or(itself)
}

/// What is wrong with a reference by id. One to another namespace leads nowhere, as far as this one is concerned.
fn by_id(objects: &Objects, kind: Kind, id: Id, referrer: &Referrer<'_>) -> Result<Option<RefProblem>> {
    if id == referrer.id {
        return Ok(None);
    }
    if objects.row(kind, id)?.is_some_and(|row| row.namespace == referrer.namespace) {
        return Ok(None);
    }
    let holder = objects.holders.get(&id).filter(|holder| holder.namespace == referrer.namespace);
    let other = holder.and_then(|holder| holder.kind).filter(|other| *other != kind);
    Ok(Some(other.map_or(RefProblem::Missing, RefProblem::WrongKind)))
}

/// Leaves out what would put an Issue before itself, or make it a part of itself.
fn drop_circles(objects: &Objects, resolved: &mut Resolved, id: Id) {
    let kind = resolved.spec.kind();
    let left_out = resolved.left_out();
    let mut order = objects.order_without(id);
    let mut circles = Vec::new();
    for (path, reference) in resolved.spec.refs() {
        let (Some(join), Some(to)) = (Join::of(kind, field_of(&path)), reference.id()) else { continue };
        if left_out.contains(&path) {
            continue;
        }
        let link = Linked { join, from: id, to };
        let is_circle = match link.edge() {
            Some(edge) => order.closes_circle(edge),
            None => join == Join::IssueDuplicates && to == id,
        };
        if is_circle {
            let Ref { kind, target, role: _ } = reference.clone();
            circles.push(Unresolved { path, kind, target, problem: RefProblem::Circle });
        } else if let Some(edge) = link.edge() {
            order.add(edge);
        }
    }
    resolved.unresolved.extend(circles);
}
