//! What the reserved annotations of an object are to be: who submits, changes and cancels it, sealed.
//!
//! The operator seals what it writes about others itself. Its word is kept where that seal holds, and never taken for a name
//! alone: whoever reaches the port may say any name.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use kube::core::admission::AdmissionRequest;
use serde_json::Value;

use super::read::is_digested;
use super::review::{Context, annotation, namespace, spec, user};
use crate::crd::Stamps;
use crate::crd::names::{CANCELLED, CANCELLED_BY, CHANGED, CHANGED_BY, CHANGES, RUN, SUBMITTED, TRACE_ID, reserved};
use crate::crd::stamps::{Annotations, Issuer, Revision, Seal, Sealed, cancellation, canceller};
use crate::crd::trust::WINDOW;
use crate::domain::spec_change::MAX_SPEC_CHANGES;
use crate::domain::{Principal, SpecChange, TraceId, spec_digest, submitted_digest};
use crate::policy::Subject;

/// The reserved annotations as they are to be.
pub(super) struct Wanted {
    pub(super) annotations: Annotations,
    /// Whether those that came with the object are JCT's own, so that nobody is to be warned of them.
    pub(super) are_given: bool,
    /// What the user is to be told besides.
    pub(super) warning: Option<String>,
}

/// Those of a new object.
pub(super) fn submission(subject: Subject, context: &Context, object: &DynamicObject) -> Wanted {
    let Context { trust, request, .. } = context;
    let (given, sealed) = (given(object), sealed(request, object));
    let spec_sha256 = submitted_digest(sealed.kind, spec(object));
    let me = principal(request);
    let found = Stamps::verified(&given, &sealed, &trust.keys).filter(|found| is_ours(context, &found.seal));
    let (stamps, are_given) = match found {
        Some(found)
            if context.by_operator && found.seal.issuer == Issuer::Operator && found.spec_sha256 == spec_sha256 =>
        {
            let names = SUBMITTED.into_iter().chain([TRACE_ID, RUN]);
            let kept = names.filter_map(|name| Some((name.to_owned(), given.get(name)?.clone())));
            return Wanted { annotations: kept.collect(), are_given: true, warning: None };
        }
        // Another webhook has changed the spec since it was sealed.
        Some(found) if context.by_operator => (found.stamps, true),
        // This request comes for the second time, for the same reason.
        Some(found) if found.stamps.submitter == me && found.stamps.run.is_none() => (found.stamps, true),
        // While an update of JCT rolls out, a replica of the version before may have sealed it.
        _ => match Stamps::verified_v1(&given, sealed.namespace, &trust.keys).filter(|_| context.by_operator) {
            Some(stamps) => (stamps, true),
            None => (Stamps { submitter: me, trace_id: TraceId::from_random(context.random), run: None }, false),
        },
    };
    let stamps = Stamps { run: stamps.run.filter(|_| subject == Subject::Task), ..stamps };
    let annotations = stamps.annotations(&sealed, &spec_sha256, &seal(context), &trust.keys);
    Wanted { annotations, are_given, warning: warning(&stamps.submitter) }
}

/// Whether what is written on a new object is what JCT wrote of this request.
pub(super) fn is_submitted(context: &Context, object: &DynamicObject) -> bool {
    let sealed = sealed(context.request, object);
    let Some(found) = Stamps::verified(&given(object), &sealed, &context.trust.keys) else {
        return is_submitted_v1(context, object);
    };
    let same_user = found.stamps.submitter.user == user(context.request) && found.stamps.run.is_none();
    let same_spec = found.spec_sha256 == submitted_digest(sealed.kind, spec(object));
    same_spec && is_ours(context, &found.seal) && (same_user || context.by_operator)
}

/// The same by a replica of the version before, while an update rolls out. It does not know what the operator makes for others,
/// and puts the operator's own name on that: it is to be made again, when that replica is gone.
fn is_submitted_v1(context: &Context, object: &DynamicObject) -> bool {
    let Context { trust, request, .. } = context;
    let rolls_out = trust.keys.since().is_some_and(|since| context.now < since);
    let found = Stamps::verified_v1(&given(object), namespace(request), &trust.keys).filter(|_| rolls_out);
    found.is_some_and(|stamps| {
        let by_user = stamps.submitter.user == user(request) && stamps.run.is_none() && !context.by_operator;
        by_user || context.by_operator && stamps.submitter.user != user(request)
    })
}

/// Those of an object that is changed: as they were, but for who changes its spec or cancels it.
pub(super) fn revision(subject: Subject, context: &Context, old: &DynamicObject, object: &DynamicObject) -> Wanted {
    let Context { trust, request, .. } = context;
    let kept = reserved().filter_map(|name| Some((name.to_owned(), annotation(old, name)?.to_owned())));
    let mut annotations: Annotations = kept.collect();
    if spec(object) == spec(old) {
        return Wanted { annotations, are_given: false, warning: None };
    }
    let (given, sealed, uid) = (given(object), sealed(request, old), uid(old));
    // The operator cancels for its REST clients and for Runs, and says for whom.
    let vouched = canceller(&given, &sealed, uid, &trust.keys);
    let vouched = vouched.filter(|(_, seal)| context.by_operator && is_ours(context, seal));
    let by = vouched.as_ref().map_or_else(|| principal(request), |(by, _)| by.clone());
    if is_cancelled(object) != is_cancelled(old) {
        annotations.retain(|name, _| !CANCELLED.contains(&name.as_str()));
    }
    if is_cancelled(object) && !is_cancelled(old) {
        let name_alone = Principal::new(&by.user, by.uid.clone(), &[], &BTreeMap::new());
        annotations.extend(cancellation(&name_alone, &sealed, uid, &seal(context), &trust.keys));
    }
    let before = Revision::verified(&annotations, &sealed, uid, &trust.keys);
    let again = Revision::verified(&given, &sealed, uid, &trust.keys);
    let again = again.is_some_and(|(revision, seal)| revision.by == by && is_ours(context, &seal));
    let generation = generation(old);
    let change = change(old, object, generation, &by, context);
    let mut changes = before.map(|(revision, _)| revision.changes).unwrap_or_default();
    changes.push(change);
    let first = changes.len().saturating_sub(MAX_SPEC_CHANGES);
    let changes = if subject == Subject::Task { changes.split_off(first) } else { Vec::new() };
    annotations.retain(|name, _| !CHANGED.contains(&name.as_str()) && name != CHANGES);
    let revision = Revision { by, generation, spec_sha256: revised(object), changes };
    annotations.extend(revision.annotations(&sealed, uid, &seal(context), &trust.keys));
    Wanted { annotations, are_given: again || vouched.is_some(), warning: warning(&revision.by) }
}

/// The first reserved annotation of a changed object that JCT did not write so.
pub(super) fn altered(context: &Context, old: &DynamicObject, object: &DynamicObject) -> Option<&'static str> {
    let changes = spec(object) != spec(old);
    let cancels = is_cancelled(object) && !is_cancelled(old);
    let may_change = |name: &str| {
        let of_change = CHANGED.contains(&name) || name == CHANGES;
        (changes && of_change) || (is_cancelled(object) != is_cancelled(old) && CANCELLED.contains(&name))
    };
    if let Some(name) = reserved().find(|name| !may_change(name) && annotation(old, name) != annotation(object, name)) {
        return Some(name);
    }
    let (given, sealed, uid, keys) = (given(object), sealed(context.request, old), uid(old), &context.trust.keys);
    let by_user = |by: &Principal| context.by_operator || by.user == user(context.request);
    let is_revised = Revision::verified(&given, &sealed, uid, keys).is_some_and(|(revision, seal)| {
        let same = revision.spec_sha256 == revised(object) && revision.generation == generation(old);
        same && by_user(&revision.by) && is_ours(context, &seal)
    });
    if changes && !is_revised {
        return Some(CHANGED_BY);
    }
    let found = canceller(&given, &sealed, uid, keys);
    let is_noted = found.is_some_and(|(by, seal)| by_user(&by) && is_ours(context, &seal));
    (cancels && !is_noted).then_some(CANCELLED_BY)
}

/// Whether a seal that holds is of this moment, and the operator's, or what the webhook makes for this caller.
fn is_ours(context: &Context, seal: &Seal) -> bool {
    let ours = seal.issuer == Issuer::Operator || seal.issuer == context.issuer;
    ours && context.now.duration_since(seal.at).abs() <= WINDOW
}

fn change(
    old: &DynamicObject,
    object: &DynamicObject,
    generation: i64,
    by: &Principal,
    context: &Context,
) -> SpecChange {
    let flag = |object, name: &str| spec(object).get(name).and_then(Value::as_bool).unwrap_or_default();
    let changed = |name: &str| Some(flag(object, name)).filter(|now| *now != flag(old, name));
    let (suspend, cancel) = (changed("suspend"), changed("cancel"));
    SpecChange { generation, by: Some(by.user.clone()), at: Some(context.now), suspend, cancel }
}

/// The digest of a changed spec; none of one that was not read whole, which is under the seal by its generation alone.
fn revised(object: &DynamicObject) -> String {
    if is_digested(object) { String::new() } else { spec_digest(spec(object)) }
}

/// The generation that a change of the spec of `old` leads to.
fn generation(old: &DynamicObject) -> i64 {
    old.metadata.generation.unwrap_or(1).saturating_add(1)
}

fn seal(context: &Context) -> Seal {
    Seal { issuer: context.issuer, at: context.now }
}

fn sealed<'a>(request: &'a AdmissionRequest<DynamicObject>, object: &'a DynamicObject) -> Sealed<'a> {
    Sealed::of(&request.kind.kind, namespace(request), &object.metadata)
}

fn given(object: &DynamicObject) -> Annotations {
    object.metadata.annotations.clone().unwrap_or_default()
}

fn uid(object: &DynamicObject) -> &str {
    object.metadata.uid.as_deref().unwrap_or_default()
}

fn is_cancelled(object: &DynamicObject) -> bool {
    spec(object).get("cancel") == Some(&Value::Bool(true))
}

fn warning(of: &Principal) -> Option<String> {
    let message = "JCT does not keep all that the API server says of you (groups, extra fields): too much for an annotation; \
                   what you may do can't be asked later, and no Run of yours is carried out";
    of.is_cut().then(|| message.to_owned())
}

/// The user of a request.
pub(super) fn principal(request: &AdmissionRequest<DynamicObject>) -> Principal {
    let info = &request.user_info;
    let nothing = BTreeMap::new();
    let groups = info.groups.as_deref().unwrap_or_default();
    Principal::new(user(request), info.uid.clone(), groups, info.extra.as_ref().unwrap_or(&nothing))
}
