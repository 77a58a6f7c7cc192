//! A refused request as the audit log keeps it. Pure, as the review is.

use jiff::Timestamp;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, Operation};

use super::Caller;
use super::review::{Reviewer, annotation, namespace, spec};
use crate::crd::Stamps;
use crate::crd::names::{SUBMITTED_BY, TRACE_ID};
use crate::crd::stamps::Sealed;
use crate::domain::denial::{Interface, Request, request_uid};
use crate::domain::id::sha256_hex;
use crate::domain::{Actor, Denial, Finding, TraceId};

impl Reviewer {
    /// What is to be written down of `request`, refused for `findings`. None for a dry run, which leaves no trace, and for a
    /// Session, by which nobody asks for work.
    ///
    /// The API server asks the validating webhook only about what the mutating one admitted, so a request is denied once.
    pub fn denial(
        &self,
        request: &AdmissionRequest<DynamicObject>,
        findings: Vec<Finding>,
        caller: Caller,
        random: [u8; 16],
        now: Timestamp,
    ) -> Option<Denial> {
        if request.dry_run || findings.is_empty() || ["Session", "Review"].contains(&&*request.kind.kind) {
            return None;
        }
        let object = request.object.as_ref()?;
        let user = request.user_info.username.as_deref().unwrap_or_default();
        // The operator creates for its REST clients, and says for whom and under which trace.
        let stamped = match request.operation {
            Operation::Create if user != self.trusted_user => None,
            Operation::Create => Some(object),
            _ => request.old_object.as_ref(),
        };
        // What a caller says whom nobody has vouched for must be under our seal: others would tell it of a foreign trace.
        let trust = self.trust.borrow().clone();
        let is_sealed = || {
            let Some(object) = stamped else { return false };
            let sealed = Sealed::of(&request.kind.kind, namespace(request), &object.metadata);
            let annotations = object.metadata.annotations.as_ref();
            annotations.is_some_and(|annotations| Stamps::verified(annotations, &sealed, &trust.keys).is_some())
        };
        let stamped = stamped.filter(|_| caller == Caller::Authenticated || is_sealed());
        let stamp = |name| stamped.and_then(|object| annotation(object, name));
        let submitted_by = stamp(SUBMITTED_BY).or(match request.operation {
            Operation::Create => Some(user),
            _ => None,
        });
        let who = match request.operation {
            Operation::Create => submitted_by.unwrap_or(user),
            _ => user,
        };
        let given = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        Some(Denial {
            interface: Interface::Kubernetes,
            uid: request_uid(&request.uid),
            actor: Actor::authenticated(who),
            authenticated: caller == Caller::Authenticated,
            submitted_by: submitted_by.map(str::to_owned),
            trace_id: stamp(TRACE_ID).and_then(|text| text.parse().ok()).unwrap_or(TraceId::from_random(random)),
            namespace: namespace(request).to_owned(),
            name: given(&request.name),
            generate_name: object.metadata.generate_name.clone().filter(|_| request.name.is_empty()),
            kind: request.kind.kind.clone(),
            request: match request.operation {
                Operation::Create => Request::Create,
                _ => Request::Update,
            },
            findings,
            findings_left_out: 0,
            spec_sha256: sha256_hex(spec(object).to_string().as_bytes()),
            denied_at: now,
        })
    }
}
