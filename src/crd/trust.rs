//! Which seals are believed, and what an object's annotations say by them.
//!
//! A seal that the operator made, or the webhook for an API server that showed its certificate, is believed where it holds.
//! Any other could have been had by whoever reaches the webhook's port. It counts only where nobody but the webhook can have
//! put it on the object: outside of the operator's own namespace, and as long as both webhook configurations were there.

use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;

use super::names::{CANCELLED_BY, CHANGED_BY};
use super::stamps::{Annotations, Issuer, Revision, Seal, Sealed, Stamps, canceller};
use crate::domain::{Principal, SpecChange, SpecDigests, StampKeys};

/// How far the seal on a new object may be from its creation. Both clocks may be off a little; a seal can't be kept for
/// another day.
pub const WINDOW: SignedDuration = SignedDuration::from_secs(300);

/// What is known now that decides on seals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Of the installation.
    pub keys: StampKeys,
    /// Since when both webhook configurations are there, if they are.
    pub covered_since: Option<Timestamp>,
    /// The operator's own namespace, which the webhooks leave alone.
    pub own_namespace: String,
}

/// What an object's annotations say, as far as that is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Believed {
    /// What was written down when it was created.
    pub submitted: Option<Stamps>,
    /// Whether that is all there is: the version before knew neither groups nor the object.
    pub is_v1: bool,
    /// Who wrote the spec as it stands.
    pub author: Option<Principal>,
    /// Who cancelled it, if it is cancelled.
    pub canceller: Option<Principal>,
    /// The last changes of a Task's spec, without gaps up to its generation.
    pub changes: Vec<SpecChange>,
}

impl Trust {
    /// Trust in these keys alone: as if the webhooks had been there always.
    pub fn in_keys(keys: StampKeys, own_namespace: &str) -> Self {
        Self { keys, covered_since: Some(Timestamp::UNIX_EPOCH), own_namespace: own_namespace.into() }
    }

    /// What the annotations of an object of `kind` say. Without its spec, what they say of that is not looked at.
    pub fn read(&self, kind: &str, metadata: &ObjectMeta, spec: Option<&SpecDigests>) -> Believed {
        let nothing = Annotations::new();
        let annotations = metadata.annotations.as_ref().unwrap_or(&nothing);
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let uid = metadata.uid.as_deref().unwrap_or_default();
        let object = Sealed::of(kind, namespace, metadata);
        let (submitted, wrote_this, is_v1) = match self.submitted(annotations, &object, metadata) {
            Some((stamps, Some(sha256))) => {
                let same = spec.is_none_or(|spec| spec.submitted == sha256);
                // What can't change of a Task, a Session or a Review is as it was submitted, or somebody else's.
                (Some(stamps).filter(|_| same || !["Task", "Session", "Review"].contains(&kind)), same, false)
            }
            Some((stamps, None)) => (Some(stamps), true, true),
            None => (None, false, false),
        };
        // A deletion is a generation of its own, and no change of the spec.
        let deletion = i64::from(metadata.deletion_timestamp.is_some());
        let of_spec = metadata.generation.map(|generation| generation - deletion);
        let generations = [metadata.generation, of_spec];
        let last = self.revision(annotations, &object, uid, generations, spec);
        let revision = last.as_ref().filter(|revision| generations.contains(&Some(revision.generation)));
        let submitter = submitted.as_ref().map(|stamps| &stamps.submitter);
        // Of the version before: unsealed, but put there by a webhook if that has been there all the time.
        let v1 = |name: &str| {
            let by_webhook = is_v1 && self.covered_since.zip(created(metadata)).is_some_and(|(since, at)| since <= at);
            let by_user = |user: &&String| by_webhook && !self.is_own_account(user);
            annotations.get(name).filter(by_user).map(Principal::named)
        };
        let author = match revision {
            _ if kind == "Task" => submitter.cloned(),
            Some(revision) => Some(revision.by.clone()),
            None if is_v1 && annotations.contains_key(CHANGED_BY) => v1(CHANGED_BY),
            None => submitter.filter(|_| wrote_this).cloned(),
        };
        let unchanged = of_spec.is_none_or(|generation| generation == 1);
        let canceller = match canceller(annotations, &object, uid, &self.keys) {
            Some((by, seal)) if self.believes(&seal, namespace) => Some(by),
            _ if unchanged && !annotations.contains_key(CANCELLED_BY) => submitter.cloned(),
            _ => v1(CANCELLED_BY),
        };
        let changes = match last {
            // What changed before seals knew of changes is nobody's news.
            None if is_v1 || kind != "Task" => Vec::new(),
            last => changes(of_spec, last.map(|last| last.changes)),
        };
        Believed { is_v1, author, canceller, changes, submitted }
    }

    /// Whether a seal that holds is believed.
    pub fn believes(&self, seal: &Seal, namespace: &str) -> bool {
        match seal.issuer {
            Issuer::Operator => true,
            _ if namespace == self.own_namespace => false,
            Issuer::ApiServer => true,
            Issuer::Anybody => self.covered_since.is_some_and(|since| since <= seal.at),
        }
    }

    /// Who submitted the object, and the digest of the spec that is under the seal: none under one of the version before.
    fn submitted(
        &self,
        annotations: &Annotations,
        object: &Sealed,
        metadata: &ObjectMeta,
    ) -> Option<(Stamps, Option<String>)> {
        let created_at = created(metadata)?;
        if let Some(found) = Stamps::verified(annotations, object, &self.keys) {
            let in_time = created_at.duration_since(found.seal.at).abs() <= WINDOW;
            let believed = in_time && self.believes(&found.seal, object.namespace);
            return believed.then_some((found.stamps, Some(found.spec_sha256)));
        }
        // Seals of that kind are not made any more: on a younger object it is a copy.
        let is_older = self.keys.since().is_some_and(|since| created_at < since);
        let stamps = Stamps::verified_v1(annotations, object.namespace, &self.keys);
        let believed = |stamps: &Stamps| {
            // While an update rolls out, a replica of the version before may put the operator's own name on what that makes for
            // others.
            is_older && object.namespace != self.own_namespace && !self.is_own_account(&stamps.submitter.user)
        };
        stamps.filter(believed).map(|stamps| (stamps, None))
    }

    /// Whether this is a service account of the operator's namespace.
    pub fn is_own_account(&self, user: &str) -> bool {
        let of_namespace = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
        of_namespace.is_some_and(|(namespace, _)| namespace == self.own_namespace)
    }

    /// The last change of the spec that is under a seal; nothing has changed since if it is of one of `generations`. One of these
    /// that left another spec than there is has not happened so.
    fn revision(
        &self,
        annotations: &Annotations,
        object: &Sealed,
        uid: &str,
        generations: [Option<i64>; 2],
        spec: Option<&SpecDigests>,
    ) -> Option<Revision> {
        let (revision, seal) = Revision::verified(annotations, object, uid, &self.keys)?;
        let same = spec.is_none_or(|spec| revision.spec_sha256.is_empty() || spec.whole == revision.spec_sha256);
        let is_last = generations.contains(&Some(revision.generation));
        let is_before = generations[1].is_none_or(|now| revision.generation < now);
        ((is_last && same || !is_last && is_before) && self.believes(&seal, object.namespace)).then_some(revision)
    }
}

fn created(metadata: &ObjectMeta) -> Option<Timestamp> {
    metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// The changes up to `generation`. Where nothing is known of the last ones, the last of all is by nobody, and stands for those
/// before it.
fn changes(generation: Option<i64>, known: Option<Vec<SpecChange>>) -> Vec<SpecChange> {
    let Some(generation) = generation.filter(|generation| *generation > 1) else { return Vec::new() };
    let mut known = known.unwrap_or_default();
    let first_gap = known.last().map_or(generation, |last| last.generation + 1);
    if first_gap <= generation {
        known.push(SpecChange::unseen(generation));
    }
    known
}
