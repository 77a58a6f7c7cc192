//! What the metadata of one of our objects says, understood once. Pure; alike for Tasks and work objects.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Error;
use crate::crd::names::{CLIENT, FINALIZER, TRACE_ID};
use crate::crd::trust::Believed;
use crate::crd::{Trust, pinned_id};
use crate::domain::client::is_client;
use crate::domain::{Finding, Id, Principal, SpecChange, SpecDigests, TraceId};

/// The metadata of an object, understood.
#[derive(Clone, Debug)]
pub struct Head {
    /// The key of its record: pinned, or derived.
    pub id: Id,
    /// What is wrong with the id that it pins; it has the derived one then.
    pub unfit_pin: Option<Finding>,
    /// On everything that it touches.
    pub trace_id: TraceId,
    pub uid: String,
    pub namespace: String,
    pub name: String,
    /// Of the spec.
    pub generation: Option<i64>,
    /// Of the object.
    pub resource_version: Option<String>,
    pub created_at: Timestamp,
    /// Whether it is being deleted.
    pub is_being_deleted: bool,
    /// Whether our finalizer is on it.
    pub has_finalizer: bool,
    /// When it was asked to be deleted.
    pub deleted_at: Option<Timestamp>,
    /// The user that the webhook vouches for; none where no webhook looked.
    pub submitted_by: Option<String>,
    /// The Run that a Task carries out, if the operator says so.
    pub run: Option<Id>,
    /// The program that asked for it on somebody's behalf, by its own account.
    pub client: Option<String>,
    /// Who wrote the spec as it stands; none where nobody vouches for that.
    pub author: Option<Principal>,
    /// Whether the stamps are of the version before, which knew no groups.
    pub has_old_stamps: bool,
    /// Who cancelled it, if it is cancelled; none where nobody vouches for that.
    pub canceller: Option<Principal>,
    /// The last changes of a Task's spec.
    pub changes: Vec<SpecChange>,
}

impl Head {
    /// Understands the metadata of an object of `kind`. Who did what to it is believed only under a seal, and of its `spec`
    /// only if that is the one under the seal; without one that is not looked at.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it lacks what every stored object has.
    pub fn read(kind: &str, metadata: &ObjectMeta, spec: Option<&SpecDigests>, trust: &Trust) -> Result<Self, Error> {
        let uid = metadata.uid.clone().ok_or(Error::Invalid("metadata.uid"))?;
        let name = metadata.name.clone().ok_or(Error::Invalid("metadata.name"))?;
        let namespace = metadata.namespace.clone().ok_or(Error::Invalid("metadata.namespace"))?;
        let created_at = metadata.creation_timestamp.as_ref().ok_or(Error::Invalid("metadata.creationTimestamp"))?.0;
        let annotations = metadata.annotations.as_ref();
        let (id, unfit_pin) = match pinned_id(annotations) {
            Ok(pinned) => (pinned, None),
            Err(finding) => (None, Some(finding)),
        };
        let trace_id = annotations.and_then(|annotations| annotations.get(TRACE_ID)?.parse().ok());
        let Believed { submitted, is_v1, author, canceller, changes } = trust.read(kind, metadata, spec);
        Ok(Self {
            id: id.unwrap_or_else(|| Id::derive(created_at, &uid)),
            unfit_pin,
            trace_id: trace_id.unwrap_or_else(|| TraceId::derive(&uid)),
            uid,
            name,
            namespace,
            generation: metadata.generation,
            resource_version: metadata.resource_version.clone(),
            created_at,
            is_being_deleted: metadata.deletion_timestamp.is_some(),
            has_finalizer: metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER),
            deleted_at: metadata.deletion_timestamp.as_ref().map(|time| time.0),
            client: annotations.and_then(|annotations| annotations.get(CLIENT)).filter(|name| is_client(name)).cloned(),
            run: submitted.as_ref().and_then(|stamps| stamps.run),
            submitted_by: submitted.map(|stamps| stamps.submitter.user),
            author,
            has_old_stamps: is_v1,
            canceller,
            changes,
        })
    }
}
