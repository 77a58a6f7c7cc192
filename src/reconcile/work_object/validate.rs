//! What a work object says, understood once. Pure; the later steps never read the object again.

use super::view::WorkObject;
use super::waiting::{Place, Wanted};
use crate::crd::Trust;
use crate::crd::cwom::WorkObjectStatus;
use crate::crd::pinned_id;
use crate::domain::cwom::{Kind, Spec, read};
use crate::domain::json::{MAX_VALUES, TOO_MANY_VALUES, values_in};
use crate::domain::{Actor, Code, Finding, Id, Naming, SpecDigests};
use crate::reconcile::Error;
use crate::reconcile::head::Head;

/// A work object, understood.
#[derive(Clone, Debug)]
pub struct Understood {
    pub kind: Kind,
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
pub fn validate(kind: Kind, object: &WorkObject, document: &str, trust: &Trust) -> Result<Understood, Error> {
    let (spec, mut findings, digests) = parse(kind, document);
    let head = Head::read(kind.as_str(), &object.metadata, Some(&digests), trust)?;
    findings.extend(head.unfit_pin.clone());
    let spec = match spec {
        Some(spec) if findings.is_empty() => Ok(spec),
        _ => Err(findings),
    };
    let pin = pinned_id(object.metadata.annotations.as_ref()).ok().flatten();
    // Whoever wrote the spec as it stands; of one that nobody vouches for, nobody knows.
    let actor = head.author.as_ref().map_or_else(Actor::unverified, |author| Actor::authenticated(&author.user));
    Ok(Understood { kind, spec, actor, status: object.status.clone(), head, pin })
}

/// What is too much is not parsed at all, and has no digest: it is not what was sealed.
fn parse(kind: Kind, document: &str) -> (Option<Spec>, Vec<Finding>, SpecDigests) {
    let unfit =
        |message: String| (None, vec![Finding::new(Code::InvalidSpec, "spec", message)], SpecDigests::default());
    if values_in(document) > MAX_VALUES {
        return unfit(TOO_MANY_VALUES.into());
    }
    match serde_json::from_str(document) {
        Ok(document) => {
            let (spec, findings) = read(kind, &document, Naming::CustomResource);
            (spec, findings, SpecDigests::of(kind.as_str(), &document))
        }
        Err(error) => unfit(format!("cannot be read: {error}; JSON may nest 127 deep")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_that_is_too_much_is_refused_unparsed_and_one_too_deep_is_told() {
        let findings_of =
            |document: &str| parse(Kind::Issue, document).1.iter().map(ToString::to_string).collect::<String>();
        let crowd = format!(r#"{{"meta": {{"x": [{}0]}}}}"#, "0,".repeat(MAX_VALUES));
        assert!(findings_of(&crowd).starts_with("INVALID_SPEC: spec: the spec has more than 20000 JSON values"));
        let deep = format!(r#"{{"meta": {}1{}}}"#, "[".repeat(200), "]".repeat(200));
        assert!(
            findings_of(&deep).contains("spec: cannot be read: recursion limit exceeded"),
            "{}",
            findings_of(&deep)
        );
    }
}
