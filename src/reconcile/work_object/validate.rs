//! What a work object says, understood once. Pure; the later steps never read the object again.

use kube::core::DynamicObject;
use serde_json::Value;

use super::waiting::{Place, Wanted};
use crate::crd::Trust;
use crate::crd::cwom::WorkObjectStatus;
use crate::domain::cwom::{Kind, Spec, read};
use crate::domain::{Actor, Finding, Naming, SpecDigests};
use crate::reconcile::Error;
use crate::reconcile::head::Head;

/// A work object, understood.
#[derive(Clone, Debug)]
pub struct Understood {
    /// Which kind.
    pub kind: Kind,
    /// What its metadata says.
    pub head: Head,
    /// What its spec says, or all that is wrong with it.
    pub spec: Result<Spec, Vec<Finding>>,
    /// Who acts, for the audit log.
    pub actor: Actor,
    /// The status in the cache.
    pub status: Option<WorkObjectStatus>,
}

impl Understood {
    /// Where it is.
    pub fn place(&self) -> Place {
        Place { kind: self.kind, namespace: self.head.namespace.clone(), name: self.head.name.clone() }
    }

    /// Every object that its spec refers to.
    pub fn wants(&self) -> Vec<Wanted> {
        let Ok(spec) = &self.spec else { return Vec::new() };
        let wanted = spec.refs().into_iter().map(|(_, reference)| Wanted {
            kind: reference.kind,
            namespace: self.head.namespace.clone(),
            target: reference.target.clone(),
        });
        wanted.collect()
    }
}

/// Understands `object`. One that does not fit its kind is understood as far as its metadata goes.
///
/// # Errors
/// [`Error::Invalid`] if it lacks what every stored object has.
pub fn validate(kind: Kind, object: &DynamicObject, trust: &Trust) -> Result<Understood, Error> {
    let document = object.data.get("spec").unwrap_or(&Value::Null);
    let head = Head::read(kind.as_str(), &object.metadata, Some(&SpecDigests::of(kind.as_str(), document)), trust)?;
    let (spec, mut findings) = read(kind, document, Naming::CustomResource);
    findings.extend(head.unfit_pin.clone());
    let spec = match spec {
        Some(spec) if findings.is_empty() => Ok(spec),
        _ => Err(findings),
    };
    let status = object.data.get("status").cloned().and_then(|status| serde_json::from_value(status).ok());
    // Whoever wrote the spec as it stands; of one that nobody vouches for, nobody knows.
    let actor = head.author.as_ref().map_or_else(Actor::unverified, |author| Actor::authenticated(&author.user));
    Ok(Understood { kind, spec, actor, status, head })
}
