//! What a Task object says, understood once. Pure; the later steps never read the object again.

use kube::core::DeserializeGuard;
use serde_json::Value;

use crate::crd::{Task as TaskObject, TaskStatus, Trust};
use crate::domain::id::sha256_hex;
use crate::domain::task::{Controls, Naming};
use crate::domain::{Actor, Code, Finding, Principal};
use crate::policy::{Policy, Verdict, judge};
use crate::reconcile::Error;
use crate::reconcile::head::Head;
use crate::store::TaskRow;

/// A Task object, understood.
#[derive(Clone, Debug)]
pub struct Validated {
    /// What its metadata says.
    pub head: Head,
    /// Who acts, for the audit log.
    pub actor: Actor,
    /// Who cancelled it, for the audit log.
    pub canceller: Actor,
    /// What the gate says of it, now.
    pub verdict: Verdict,
    /// How it is to be handled.
    pub controls: Controls,
    /// Digest of the spec as it was written.
    pub spec_sha256: String,
    /// The status in the cache.
    pub status: Option<TaskStatus>,
    /// Whether there is an object at all: see [`Validated::orphan`].
    pub has_object: bool,
}

impl Validated {
    /// A recorded Task whose object is gone, as if it were being deleted: all that is left to do is to close it.
    pub fn orphan(row: &TaskRow) -> Self {
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
                author: None,
                has_old_stamps: false,
                canceller: None,
                changes: Vec::new(),
            },
            actor: Actor::controller(),
            canceller: Actor::controller(),
            verdict: Verdict::Accepted(Box::new(row.task.clone())),
            controls: Controls::default(),
            spec_sha256: String::new(),
            status: None,
            has_object: false,
        }
    }
}

/// Understands `object`. One that does not even fit the types is understood as far as its metadata goes, and refused.
///
/// # Errors
/// [`Error::Invalid`] if it lacks what every stored object has.
pub fn validate(object: &DeserializeGuard<TaskObject>, policy: &Policy, trust: &Trust) -> Result<Validated, Error> {
    let (metadata, spec, status) = match &object.0 {
        Ok(task) => (&task.metadata, Ok(task.spec.to_json()), task.status.clone()),
        Err(invalid) => (&invalid.metadata, Err(&invalid.error), None),
    };
    // One that can't be read is not the one that was sealed.
    let document = spec.as_ref().map_or(&Value::Null, |spec| spec);
    let head = Head::read("Task", metadata, Some(document), trust)?;
    let (mut verdict, controls, spec_sha256) = match spec {
        Ok(spec) => {
            let (verdict, controls) = judge(&spec, Naming::CustomResource, policy);
            (verdict, controls, sha256_hex(spec.to_string().as_bytes()))
        }
        Err(error) => {
            let finding = Finding::new(Code::InvalidSpec, "spec", error.clone());
            (Verdict::Refused(vec![finding]), Controls::default(), String::new())
        }
    };
    if let Some(finding) = &head.unfit_pin {
        verdict = Verdict::Refused(verdict.findings().iter().chain([finding]).cloned().collect());
    }
    // The kind is that of who did it: what the Task claims of its requester is a field of its own.
    let actor =
        |who: Option<&Principal>| who.map_or_else(Actor::unverified, |principal| Actor::authenticated(&principal.user));
    Ok(Validated {
        actor: actor(head.author.as_ref()),
        canceller: actor(head.canceller.as_ref()),
        head,
        verdict,
        controls,
        spec_sha256,
        status,
        has_object: true,
    })
}
