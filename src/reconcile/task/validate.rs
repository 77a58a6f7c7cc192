//! What a Task object says, understood once. Pure; the later steps never read the object again.
//!
//! The watch brings no spec: [`validate`] understands what it does bring, [`Specification::of`] a spec that was read for the
//! purpose of recording it.

use serde_json::Value;

use super::Object;
use crate::crd::names::ID;
use crate::crd::{SpecView, TaskStatus, TaskView, Trust};
use crate::domain::digest::SpecDigests;
use crate::domain::task::{Controls, Naming};
use crate::domain::{Actor, Code, Finding, Principal, spec_digest};
use crate::policy::{Policy, Verdict, judge};
use crate::reconcile::Error;
use crate::reconcile::head::Head;
use crate::store::TaskRow;

/// A Task object, understood as far as the watch brings it.
#[derive(Clone, Debug)]
pub struct Validated {
    pub head: Head,
    /// Who acts, for the audit log.
    pub actor: Actor,
    /// Who cancelled it, for the audit log.
    pub canceller: Actor,
    /// What is known of its spec.
    pub spec: SpecView,
    /// The status in the cache.
    pub status: Option<TaskStatus>,
    /// What is wrong with the id that it pins by now, though it is recorded under another one.
    pub ignored_pin: Option<String>,
    /// Whether there is an object at all: see [`Validated::orphan`].
    pub has_object: bool,
    /// Whether it is its turn to have its first worker.
    pub has_turn: bool,
    /// How it ends if its object goes before its end.
    pub if_deleted: &'static str,
    /// Whether this machine's clock differs from the API server's.
    pub clock_is_off: bool,
}

/// Said of a Task whose object went before its end.
const DELETED: &str = "its object was deleted before its end";
/// Said of a record that is not the one of its object.
const SECOND: &str = "another record is that of its object, whose id had been changed while it lived";

impl Validated {
    /// A recorded Task whose object is gone, as if it were being deleted: all that is left to do is to close it. Or one whose
    /// object has another record: `is_second`.
    pub fn orphan(row: &TaskRow, is_second: bool) -> Self {
        Self {
            head: Head {
                id: row.id,
                unfit_pin: None,
                trace_id: row.trace_id.clone(),
                uid: row.uid.clone(),
                namespace: row.namespace.clone(),
                name: row.name.clone(),
                generation: None,
                resource_version: None,
                created_at: row.created_at,
                is_being_deleted: true,
                has_finalizer: false,
                deleted_at: None,
                submitted_by: row.submitted_by.clone(),
                run: None,
                client: None,
                author: None,
                has_old_stamps: false,
                canceller: None,
                changes: Vec::new(),
            },
            actor: Actor::controller(),
            canceller: Actor::controller(),
            spec: SpecView::default(),
            status: None,
            ignored_pin: None,
            has_object: false,
            has_turn: true,
            if_deleted: if is_second { SECOND } else { DELETED },
            clock_is_off: false,
        }
    }

    /// The same, known by its record: by the id of that, whatever the object claims by now.
    #[must_use]
    pub fn recorded_as(mut self, row: &TaskRow) -> Self {
        if self.head.id != row.id || self.head.unfit_pin.is_some() {
            let id = row.id;
            self.ignored_pin = Some(format!(
                "the annotation {ID} is not what it was when the Task was recorded under the id {id}: that has no effect"
            ));
        }
        self.head.id = row.id;
        self.head.trace_id = row.trace_id.clone();
        self
    }
}

/// Understands `object`, however little of it fits.
///
/// # Errors
/// [`Error::Invalid`] if it lacks what every stored object has.
pub fn validate(object: &Object, trust: &Trust) -> Result<Validated, Error> {
    let TaskView { metadata, spec, status } = object;
    // One that can't be read has no digest: it is not what was sealed.
    let digests = SpecDigests { whole: spec.sha256.clone(), submitted: spec.submitted_sha256.clone() };
    let head = Head::read("Task", metadata, Some(&digests), trust)?;
    // The kind is that of who did it: what the Task claims of its requester is a field of its own.
    let actor =
        |who: Option<&Principal>| who.map_or_else(Actor::unverified, |principal| Actor::authenticated(&principal.user));
    Ok(Validated {
        actor: actor(head.author.as_ref()),
        canceller: actor(head.canceller.as_ref()),
        head,
        spec: spec.clone(),
        status: status.clone(),
        ignored_pin: None,
        has_object: true,
        has_turn: true,
        if_deleted: DELETED,
        clock_is_off: false,
    })
}

/// A spec, read whole.
#[derive(Clone, Debug)]
pub struct Specification {
    /// What the gate says of it, now.
    pub verdict: Verdict,
    /// How the Task is to be handled.
    pub controls: Controls,
    /// Digest of the spec as it was written; empty for one that cannot be read.
    pub sha256: String,
}

impl Specification {
    /// Understands a spec without asking the gate: what ran before is not held against the policy of today.
    pub fn ungated(spec: &Result<Value, String>) -> Self {
        let permissive = Policy { allowed_repo_prefixes: vec![String::new()], ..Policy::default() };
        Self::judged(spec, &permissive)
    }

    /// Understands the spec of the object that `head` is of; `Err` says why it cannot be read.
    pub fn of(spec: &Result<Value, String>, head: &Head, policy: &Policy) -> Self {
        let mut specification = Self::judged(spec, policy);
        if let Some(finding) = &head.unfit_pin {
            let findings = specification.verdict.findings().iter().chain([finding]).cloned();
            specification.verdict = Verdict::Refused(findings.collect());
        }
        specification
    }

    fn judged(spec: &Result<Value, String>, policy: &Policy) -> Self {
        match spec {
            Ok(spec) => {
                let (verdict, controls) = judge(spec, Naming::CustomResource, policy);
                Self { verdict, controls, sha256: spec_digest(spec) }
            }
            Err(error) => Self {
                verdict: Verdict::Refused(vec![Finding::new(Code::InvalidSpec, "spec", error.clone())]),
                controls: Controls::default(),
                sha256: String::new(),
            },
        }
    }
}
