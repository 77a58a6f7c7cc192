//! Who submitted, changed or cancelled an object, under which trace, for which Run: written down in annotations, and sealed.
//!
//! A seal is on the object too: its kind, namespace, name and what its spec says. Seals of different uses, and of who makes
//! them, are kept apart by what they are put on. Which of them is believed is for [`Trust`](super::Trust) to say.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::api::ObjectMeta;
use kube::core::Status;

use super::names::{CANCELLED, CHANGED, CHANGES, RUN, STAMP, SUBMITTED, SUBMITTED_BY, TRACE_ID, UserAnnotations};
use crate::domain::choices;
use crate::domain::{Id, Principal, SpecChange, StampKeys, TraceId};

/// Annotations of an object.
pub type Annotations = BTreeMap<String, String>;

/// The form of the seals that are made now. One without a form is of the version before, which sealed no object.
const VERSION: &str = "v2";

choices! {
    /// Who makes a seal.
    pub enum Issuer {
        /// The operator, on an object that it creates or cancels itself.
        Operator = "operator",
        /// The webhook, asked by an API server that showed its client certificate.
        ApiServer = "api-server",
        /// The webhook, asked by it is not known whom: of any use only where webhooks are certain to have been called.
        Anybody = "anybody",
    }
}

/// How much of `generateName` the API server takes for a name.
const MAX_GENERATED_PREFIX: usize = 58;

/// The object that a seal is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed<'a> {
    pub kind: &'a str,
    pub namespace: &'a str,
    /// What it is called; empty before the API server has made a name.
    pub name: &'a str,
    /// What its name begins with, where the API server makes it.
    pub generate_name: &'a str,
}

impl<'a> Sealed<'a> {
    /// The object of `kind` with this metadata.
    pub fn of(kind: &'a str, namespace: &'a str, metadata: &'a ObjectMeta) -> Self {
        let name = metadata.name.as_deref().unwrap_or_default();
        Self { kind, namespace, name, generate_name: metadata.generate_name.as_deref().unwrap_or_default() }
    }

    /// Its name as far as it is known when the seal is made: whole, or how it begins.
    fn called(&self) -> [&'a str; 2] {
        if self.name.is_empty() { ["", self.generate_name] } else { [self.name, ""] }
    }

    /// All that may have been known of its name when a seal was made.
    fn may_have_been_called(&self) -> impl Iterator<Item = [&'a str; 2]> {
        // The API server takes so much of it, and adds five characters.
        let kept = self.generate_name.get(..MAX_GENERATED_PREFIX).unwrap_or(self.generate_name);
        let made = !kept.is_empty() && self.name.starts_with(kept);
        [Some(self.called()), made.then_some(["", self.generate_name])].into_iter().flatten()
    }
}

/// What every seal says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    pub issuer: Issuer,
    pub at: Timestamp,
}

/// What is written down when an object is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamps {
    pub submitter: Principal,
    /// The trace that the object belongs to.
    pub trace_id: TraceId,
    /// The Run that a Task carries out.
    pub run: Option<Id>,
}

/// What was written down when an object was created, under a seal that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    pub stamps: Stamps,
    /// The digest of the spec that was submitted.
    pub spec_sha256: String,
    pub seal: Seal,
}

impl Stamps {
    /// The annotations of `object`, whose spec has this digest, with the seal on them.
    pub fn annotations(&self, object: &Sealed, spec_sha256: &str, seal: &Seal, keys: &StampKeys) -> Annotations {
        let Self { submitter, trace_id, run } = self;
        let run = run.map(|run| run.to_string());
        let parts = submitted_parts(object, object.called(), self, run.as_deref(), spec_sha256, seal);
        let stamp = text(seal, &[spec_sha256], &keys.seal(&borrowed(&parts)));
        let mut annotations = of_user(SUBMITTED, submitter, stamp);
        annotations.insert(TRACE_ID.into(), trace_id.to_string());
        annotations.extend(run.map(|run| (RUN.to_owned(), run)));
        annotations
    }

    /// What is written on `object`, if the seal on it holds.
    pub fn verified(annotations: &Annotations, object: &Sealed, keys: &StampKeys) -> Option<Submission> {
        let (seal, [spec_sha256], mac) = parsed(annotations.get(STAMP)?)?;
        let stamps = Self { submitter: user(annotations, SUBMITTED)?, ..Self::unsealed(annotations)? };
        let run = stamps.run.map(|run| run.to_string());
        let holds = object.may_have_been_called().any(|called| {
            let parts = submitted_parts(object, called, &stamps, run.as_deref(), spec_sha256, &seal);
            keys.verify(&borrowed(&parts), mac)
        });
        holds.then(|| Submission { spec_sha256: spec_sha256.to_owned(), seal, stamps })
    }

    /// The same of an object that the version before has sealed: its seal is on namespace, user, trace id and Run alone.
    pub fn verified_v1(annotations: &Annotations, namespace: &str, keys: &StampKeys) -> Option<Self> {
        let stamps = Self::unsealed(annotations)?;
        let Self { submitter, trace_id, run } = &stamps;
        keys.verify_v1(namespace, &submitter.user, trace_id, *run, annotations.get(STAMP)?).then_some(stamps)
    }

    fn unsealed(annotations: &Annotations) -> Option<Self> {
        Some(Self {
            submitter: Principal::named(annotations.get(SUBMITTED_BY)?),
            trace_id: annotations.get(TRACE_ID)?.parse().ok()?,
            run: annotations.get(RUN).map(|run| run.parse::<Id>()).transpose().ok()?,
        })
    }
}

/// What is written down when a spec changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    pub by: Principal,
    /// The generation that it led to.
    pub generation: i64,
    /// The digest of the spec as it became; empty where the webhook did not read it whole.
    pub spec_sha256: String,
    /// Of a Task: its last changes, this one the last.
    pub changes: Vec<SpecChange>,
}

impl Revision {
    /// The annotations of `object`, which has this uid, with the seal on them.
    pub fn annotations(&self, object: &Sealed, uid: &str, seal: &Seal, keys: &StampKeys) -> Annotations {
        let (generation, changes) = (self.generation.to_string(), self.changes_text());
        let parts = self.parts(object, uid, &generation, changes.as_deref(), seal);
        let stamp = text(seal, &[&generation, &self.spec_sha256], &keys.seal(&borrowed(&parts)));
        let mut annotations = of_user(CHANGED, &self.by, stamp);
        annotations.extend(changes.map(|changes| (CHANGES.to_owned(), changes)));
        annotations
    }

    /// What is written on `object`, if the seal on it holds.
    pub fn verified(annotations: &Annotations, object: &Sealed, uid: &str, keys: &StampKeys) -> Option<(Self, Seal)> {
        let (seal, [generation, spec_sha256], mac) = parsed(annotations.get(CHANGED[4])?)?;
        let changes = annotations.get(CHANGES);
        let revision = Self {
            by: user(annotations, CHANGED)?,
            generation: generation.parse().ok()?,
            spec_sha256: spec_sha256.to_owned(),
            changes: changes.map_or(Some(Vec::new()), |text| serde_json::from_str(text).ok())?,
        };
        let parts = revision.parts(object, uid, generation, changes.map(String::as_str), &seal);
        keys.verify(&borrowed(&parts), mac).then_some((revision, seal))
    }

    fn changes_text(&self) -> Option<String> {
        // Texts and numbers always serialize.
        (!self.changes.is_empty()).then(|| serde_json::to_string(&self.changes).unwrap_or_default())
    }

    fn parts(&self, object: &Sealed, uid: &str, generation: &str, changes: Option<&str>, seal: &Seal) -> Vec<String> {
        let of_change = [uid, generation, changes.unwrap_or_default(), &self.spec_sha256];
        let object = [object.kind, object.namespace, object.name];
        parts("changed", seal, &object, &self.by, &of_change)
    }
}

/// Whether the stamps alone are why an object was refused that JCT made itself: another webhook, or a replica of the version before
/// while an update rolls out, has changed them. That passes.
pub fn are_refused(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes).peekable();
    causes.peek().is_some() && causes.all(|cause| cause.field.starts_with("metadata.annotations["))
}

/// The annotations of `object`, which has this uid, that `by` cancelled it.
pub fn cancellation(by: &Principal, object: &Sealed, uid: &str, seal: &Seal, keys: &StampKeys) -> Annotations {
    let mac = keys.seal(&borrowed(&cancelled_parts(by, object, uid, seal)));
    of_user(CANCELLED, by, text(seal, &[], &mac))
}

/// Who cancelled `object`, if the seal on that holds.
pub fn canceller(annotations: &Annotations, object: &Sealed, uid: &str, keys: &StampKeys) -> Option<(Principal, Seal)> {
    let (seal, [], mac) = parsed(annotations.get(CANCELLED[4])?)?;
    let by = user(annotations, CANCELLED)?;
    keys.verify(&borrowed(&cancelled_parts(&by, object, uid, &seal)), mac).then_some((by, seal))
}

fn submitted_parts(
    object: &Sealed,
    called: [&str; 2],
    stamps: &Stamps,
    run: Option<&str>,
    spec_sha256: &str,
    seal: &Seal,
) -> Vec<String> {
    let [name, generate_name] = called;
    let of_work = [stamps.trace_id.as_str(), run.unwrap_or_default(), spec_sha256];
    parts("submitted", seal, &[object.kind, object.namespace, name, generate_name], &stamps.submitter, &of_work)
}

fn cancelled_parts(by: &Principal, object: &Sealed, uid: &str, seal: &Seal) -> Vec<String> {
    parts("cancelled", seal, &[object.kind, object.namespace, object.name, uid], by, &[])
}

fn parts(used_for: &str, seal: &Seal, object: &[&str], user: &Principal, what: &[&str]) -> Vec<String> {
    let head = [format!("jct stamp {VERSION} {used_for}"), seal.issuer.as_str().into(), micros(seal.at)];
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    head.into_iter().chain(texts(object)).chain(user.under_seal()).chain(texts(what)).collect()
}

fn borrowed(parts: &[String]) -> Vec<&str> {
    parts.iter().map(String::as_str).collect()
}

fn micros(at: Timestamp) -> String {
    at.as_microsecond().to_string()
}

/// `v2.<issuer>.<microseconds>.<what else>.<mac>`.
fn text(seal: &Seal, middle: &[&str], mac: &str) -> String {
    let head = [VERSION.to_owned(), seal.issuer.as_str().to_owned(), micros(seal.at)];
    let all: Vec<String> =
        head.into_iter().chain(middle.iter().map(|part| (*part).to_owned())).chain([mac.into()]).collect();
    all.join(".")
}

fn parsed<const N: usize>(stamp: &str) -> Option<(Seal, [&str; N], &str)> {
    let mut parts = stamp.split('.');
    if parts.next() != Some(VERSION) {
        return None;
    }
    let issuer = Issuer::parse(parts.next()?)?;
    let at = Timestamp::from_microsecond(parts.next()?.parse().ok()?).ok()?;
    let mut rest: Vec<&str> = parts.collect();
    let mac = rest.pop()?;
    Some((Seal { issuer, at }, rest.try_into().ok()?, mac))
}

fn of_user(names: UserAnnotations, user: &Principal, stamp: String) -> Annotations {
    let [name, uid, groups, extra, seal] = names;
    let texts = [name, uid, groups, extra].into_iter().zip(user.texts());
    let said = texts.filter(|(annotation, text)| *annotation == name || !text.is_empty());
    said.map(|(annotation, text)| (annotation.to_owned(), text.to_owned())).chain([(seal.to_owned(), stamp)]).collect()
}

fn user(annotations: &Annotations, names: UserAnnotations) -> Option<Principal> {
    let found = |name: &str| annotations.get(name).cloned();
    let [name, uid, groups, extra, _] = names;
    Some(Principal::from_texts(found(name)?, found(uid), found(groups), found(extra)))
}
