//! What a work object says, understood once. Pure; the later steps never read the object again.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::view::WorkObject;
use super::waiting::{Place, Wanted};
use crate::crd::cwom::WorkObjectStatus;
use crate::crd::names::CHANGED_BY;
use crate::crd::pinned_id;
use crate::domain::cwom::{Kind, Spec, read};
use crate::domain::json::{MAX_VALUES, TOO_MANY_VALUES, values_in};
use crate::domain::{Actor, ActorKind, Code, Finding, Id, Naming, StampKey};
use crate::reconcile::Error;
use crate::reconcile::head::Head;

/// A work object, understood.
#[derive(Clone, Debug)]
pub struct Understood {
    /// Which kind.
    pub kind: Kind,
    /// What its metadata says.
    pub head: Head,
    /// The id that its annotation pins.
    pub pin: Option<Id>,
    /// What its spec says, or all that is wrong with it.
    pub spec: Result<Spec, Vec<Finding>>,
    /// Who acts, for the audit log.
    pub actor: Actor,
    /// The status in the cache, in short.
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

/// Understands `object`, whose spec is `document`. One that does not fit its kind is understood as far as its metadata goes.
///
/// # Errors
/// [`Error::Invalid`] if it lacks what every stored object has.
pub fn validate(kind: Kind, object: &WorkObject, document: &str, key: &StampKey) -> Result<Understood, Error> {
    let head = Head::read(&object.metadata, key)?;
    let (spec, mut findings) = parse(kind, document);
    findings.extend(head.unfit_pin.clone());
    let spec = match spec {
        Some(spec) if findings.is_empty() => Ok(spec),
        _ => Err(findings),
    };
    let pin = pinned_id(object.metadata.annotations.as_ref()).ok().flatten();
    Ok(Understood { kind, spec, actor: actor(&object.metadata, &head), status: object.status.clone(), head, pin })
}

/// What is too much is not parsed at all.
fn parse(kind: Kind, document: &str) -> (Option<Spec>, Vec<Finding>) {
    let unfit = |message: String| (None, vec![Finding::new(Code::InvalidSpec, "spec", message)]);
    if values_in(document) > MAX_VALUES {
        return unfit(TOO_MANY_VALUES.into());
    }
    match serde_json::from_str(document) {
        Ok(document) => read(kind, &document, Naming::CustomResource),
        Err(error) => unfit(format!("cannot be read: {error}; JSON may nest 127 deep")),
    }
}

/// Who changed the spec last; of an object that nobody vouches for, nobody knows.
fn actor(metadata: &ObjectMeta, head: &Head) -> Actor {
    let changed_by = metadata.annotations.as_ref().and_then(|annotations| annotations.get(CHANGED_BY));
    match &head.submitted_by {
        Some(submitted_by) => Actor::authenticated(changed_by.unwrap_or(submitted_by), ActorKind::Human),
        None => Actor::unverified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_that_is_too_much_is_refused_unparsed_and_one_too_deep_is_told() {
        let told = |document: &str| parse(Kind::Issue, document).1.iter().map(ToString::to_string).collect::<String>();
        let crowd = format!(r#"{{"meta": {{"x": [{}0]}}}}"#, "0,".repeat(MAX_VALUES));
        assert!(told(&crowd).starts_with("INVALID_SPEC: spec: the spec has more than 20000 JSON values"));
        let deep = format!(r#"{{"meta": {}1{}}}"#, "[".repeat(200), "]".repeat(200));
        assert!(told(&deep).contains("spec: cannot be read: recursion limit exceeded"), "{}", told(&deep));
    }
}
