//! What a Task object says, understood once. Pure; the later steps never read the object again.

use jiff::Timestamp;
use kube::core::DeserializeGuard;

use crate::crd::names::CANCELLED_BY;
use crate::crd::{Task as TaskObject, TaskStatus};
use crate::domain::id::sha256_hex;
use crate::domain::task::{Controls, Naming};
use crate::domain::{Actor, ActorKind, Code, Finding, Id, StampKey, TraceId};
use crate::policy::{Policy, Verdict, judge};
use crate::reconcile::Error;
use crate::reconcile::head::Head;
use crate::store::TaskRow;

/// A Task object, understood.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The key of its record.
    pub id: Id,
    /// On everything that it touches.
    pub trace_id: TraceId,
    /// Kubernetes' own id.
    pub uid: String,
    /// Where it is.
    pub namespace: String,
    /// What it is called.
    pub name: String,
    /// Of the spec.
    pub generation: Option<i64>,
    /// Of the object.
    pub resource_version: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Whether it is being deleted.
    pub is_being_deleted: bool,
    /// Whether our finalizer is on it.
    pub has_finalizer: bool,
    /// The Run that it carries out, if the operator made it for one.
    pub run: Option<Id>,
    /// The user that the webhook vouches for; none where no webhook looked.
    pub submitted_by: Option<String>,
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
            id: row.id,
            trace_id: row.trace_id.clone(),
            uid: row.uid.clone(),
            namespace: row.namespace.clone(),
            name: row.name.clone(),
            generation: None,
            resource_version: None,
            created_at: row.created_at,
            is_being_deleted: true,
            has_finalizer: false,
            run: None,
            submitted_by: row.submitted_by.clone(),
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
pub fn validate(object: &DeserializeGuard<TaskObject>, policy: &Policy, key: &StampKey) -> Result<Validated, Error> {
    let (metadata, spec, status) = match &object.0 {
        Ok(task) => (&task.metadata, Ok(task.spec.to_json()), task.status.clone()),
        Err(invalid) => (&invalid.metadata, Err(&invalid.error), None),
    };
    let Head {
        id,
        unfit_pin,
        trace_id,
        uid,
        namespace,
        name,
        generation,
        resource_version,
        created_at,
        is_being_deleted,
        has_finalizer,
        submitted_by,
        run,
    } = Head::read(metadata, key)?;

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
    if let Some(finding) = unfit_pin {
        verdict = Verdict::Refused(verdict.findings().iter().cloned().chain([finding]).collect());
    }
    let cancelled_by = metadata.annotations.as_ref().and_then(|annotations| annotations.get(CANCELLED_BY));
    let claimed = match &verdict {
        Verdict::Accepted(task) => task.requested_by.kind,
        Verdict::Refused(_) => ActorKind::System,
    };
    let authenticated = |user: &str| Actor::authenticated(user, claimed);
    Ok(Validated {
        id,
        trace_id,
        uid,
        namespace,
        name,
        generation,
        resource_version,
        created_at,
        is_being_deleted,
        has_finalizer,
        run,
        actor: submitted_by.as_deref().map_or_else(Actor::unverified, authenticated),
        canceller: cancelled_by.map_or_else(Actor::unverified, |user| authenticated(user)),
        submitted_by,
        verdict,
        controls,
        spec_sha256,
        status,
        has_object: true,
    })
}
