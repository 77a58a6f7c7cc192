//! An admission request, answered. Pure but for the random bytes of a new trace id, which the caller passes in.

use std::collections::BTreeMap;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, Operation};
use kube::core::response::{Status, StatusCause, StatusDetails, StatusSummary};
use serde_json::{Value, json};

use crate::crd::names::{CANCELLED_BY, CHANGED_BY, FINALIZER, RESERVED, RUN, SUBMITTED_BY, TRACE_ID};
use crate::crd::{Stamps, pinned_id};
use crate::domain::{Code, Finding, StampKey, TraceId};
use crate::policy::{Policy, Subject};

/// Which of the two webhooks is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// Called first, before schema and CEL: stamps.
    Mutate,
    /// Called last, on the final object: decides.
    Validate,
}

/// What a review needs to know.
#[derive(Clone, Debug)]
pub struct Reviewer {
    /// What Tasks are held against.
    pub policy: Policy,
    /// Seals the stamps.
    pub key: StampKey,
    /// The one user whose stamps are taken over: the operator itself, which creates objects for its REST clients and for
    /// Runs, and cancels Tasks.
    pub trusted_user: String,
}

/// A review's answer, and for what it is a refusal.
#[derive(Clone, Debug)]
pub struct Review {
    /// To be sent.
    pub response: AdmissionResponse,
    /// What is wrong; empty if the request is admitted.
    pub findings: Vec<Finding>,
}

/// What the webhook answers. Only the gate's findings make a refusal, only their absence an admission.
enum Answer {
    Admit { patch: Vec<PatchOperation>, warnings: Vec<String> },
    Refuse(Vec<Finding>),
}

impl Reviewer {
    /// Answers `request`. `random` becomes the trace id of a new object.
    ///
    /// Anything but the creation and update of one of our objects is admitted unchanged: the rules bring nothing else.
    pub fn review(&self, door: Door, request: &AdmissionRequest<DynamicObject>, random: [u8; 16]) -> Review {
        let ours = request.kind.group == crate::crd::names::GROUP && request.sub_resource.is_none();
        let subject = Subject::parse(&request.kind.kind).filter(|_| ours);
        let answer = match (&request.object, subject) {
            (Some(object), Some(subject)) => match request.operation {
                Operation::Create => self.create(door, subject, request, object, random),
                Operation::Update => self.update(subject, request, object),
                Operation::Delete | Operation::Connect => admit(),
            },
            _ => admit(),
        };
        respond(request, answer)
    }

    fn create(
        &self,
        door: Door,
        subject: Subject,
        request: &AdmissionRequest<DynamicObject>,
        object: &DynamicObject,
        random: [u8; 16],
    ) -> Answer {
        let mut findings = subject.check_new(spec(object), &self.policy);
        findings.extend(pinned_id(object.metadata.annotations.as_ref()).err());
        if !findings.is_empty() {
            return Answer::Refuse(findings);
        }
        match door {
            Door::Mutate => self.stamp(subject, request, object, random),
            Door::Validate => self.check_stamp(request, object),
        }
    }

    /// Writes who submitted the object, whatever the manifest says about it.
    fn stamp(
        &self,
        subject: Subject,
        request: &AdmissionRequest<DynamicObject>,
        object: &DynamicObject,
        random: [u8; 16],
    ) -> Answer {
        let empty = BTreeMap::new();
        let given = object.metadata.annotations.as_ref().unwrap_or(&empty);
        let user = request.user_info.username.as_deref().unwrap_or_default();
        let trusted = user == self.trusted_user;
        let said = |name: &str| given.get(name).filter(|_| trusted);
        let stamps = Stamps {
            submitted_by: said(SUBMITTED_BY).map_or(user, String::as_str).into(),
            trace_id: said(TRACE_ID).and_then(|text| text.parse().ok()).unwrap_or_else(|| TraceId::from_random(random)),
            run: said(RUN).filter(|_| subject == Subject::Task).and_then(|text| text.parse().ok()),
        };
        let stamped = stamps.annotations(namespace(request), &self.key);

        let mut patch = Vec::new();
        if object.metadata.annotations.is_none() {
            patch.push(add(&["metadata", "annotations"], json!({})));
        }
        for name in RESERVED.iter().filter(|name| given.contains_key(**name) && !stamped.contains_key(**name)) {
            patch.push(remove(&["metadata", "annotations", name]));
        }
        for (name, value) in &stamped {
            patch.push(add(&["metadata", "annotations", name], json!(value)));
        }
        if is_cancelled(object) {
            patch.push(add(&["metadata", "annotations", CANCELLED_BY], json!(user)));
        }
        let finalizers = object.metadata.finalizers.as_deref().unwrap_or_default();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            let all: Vec<&str> = finalizers.iter().map(String::as_str).chain([FINALIZER]).collect();
            patch.push(add(&["metadata", "finalizers"], json!(all)));
        }
        let ignored = RESERVED.iter().filter(|name| !trusted && given.contains_key(**name));
        let warnings =
            ignored.map(|name| format!("metadata.annotations[{name}] is set by JCT; the given value is ignored"));
        Answer::Admit { patch, warnings: warnings.collect() }
    }

    /// Makes sure that what was stamped is what will be stored, other webhooks notwithstanding.
    fn check_stamp(&self, request: &AdmissionRequest<DynamicObject>, object: &DynamicObject) -> Answer {
        let user = request.user_info.username.as_deref().unwrap_or_default();
        let stamps = Stamps::verified(object.metadata.annotations.as_ref(), namespace(request), &self.key);
        let trusted = user == self.trusted_user;
        if stamps.is_some_and(|stamps| trusted || (stamps.submitted_by == user && stamps.run.is_none())) {
            return admit();
        }
        Answer::Refuse(vec![Finding::new(
            Code::InvalidSpec,
            format!("metadata.annotations[{SUBMITTED_BY}]"),
            "is not what JCT's mutating webhook wrote; is that webhook configured, and does another one change it?",
        )])
    }

    /// What may change is for the subject to say; reserved annotations are put back as they were, and who cancels a Task, or
    /// changes a work object, is noted.
    fn update(&self, subject: Subject, request: &AdmissionRequest<DynamicObject>, object: &DynamicObject) -> Answer {
        let Some(old) = &request.old_object else { return admit() };
        let findings = subject.check_change(spec(old), spec(object));
        if !findings.is_empty() {
            return Answer::Refuse(findings);
        }
        let user = request.user_info.username.as_deref();
        // The operator cancels for its REST clients, and says for whom.
        let for_whom = annotation(object, CANCELLED_BY).filter(|_| user == Some(&self.trusted_user));
        let cancels = is_cancelled(object) && !is_cancelled(old);
        let changes = subject != Subject::Task && spec(object) != spec(old);
        let mut patch = Vec::new();
        let mut warnings = Vec::new();
        for name in RESERVED {
            let found = annotation(object, name);
            let wanted = match name {
                CANCELLED_BY if cancels => for_whom.or(user),
                CHANGED_BY if changes => user,
                _ => annotation(old, name),
            };
            if found == wanted {
                continue;
            }
            if found != annotation(old, name) {
                warnings.push(format!("metadata.annotations[{name}] is kept by JCT as it was"));
            }
            match wanted {
                Some(value) => {
                    if object.metadata.annotations.is_none() && patch.is_empty() {
                        patch.push(add(&["metadata", "annotations"], json!({})));
                    }
                    patch.push(add(&["metadata", "annotations", name], json!(value)));
                }
                None => patch.push(remove(&["metadata", "annotations", name])),
            }
        }
        Answer::Admit { patch, warnings }
    }
}

/// The refusal of `request`, which is not looked at, for `findings`.
pub(super) fn refuse(request: &AdmissionRequest<DynamicObject>, findings: Vec<Finding>) -> Review {
    respond(request, Answer::Refuse(findings))
}

fn is_cancelled(object: &DynamicObject) -> bool {
    spec(object).get("cancel") == Some(&Value::Bool(true))
}

fn admit() -> Answer {
    Answer::Admit { patch: Vec::new(), warnings: Vec::new() }
}

fn respond(request: &AdmissionRequest<DynamicObject>, answer: Answer) -> Review {
    // kube's response starts out as an admission; every way through here overwrites that with an answer.
    let mut response = AdmissionResponse::from(request);
    match answer {
        Answer::Admit { patch, warnings } => {
            if !warnings.is_empty() {
                response.warnings = Some(warnings);
            }
            if !patch.is_empty() {
                response = response.with_patch(Patch(patch)).unwrap_or_else(|error| {
                    AdmissionResponse::from(request).deny(format!("the answer could not be written: {error}"))
                });
            }
            Review { response, findings: Vec::new() }
        }
        Answer::Refuse(findings) => {
            response.allowed = false;
            response.result = status(request, &findings);
            let codes: Vec<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
            response.audit_annotations.insert("codes".into(), codes.join(","));
            Review { response, findings }
        }
    }
}

/// A refusal as the API server passes it on: 422 Invalid, the code first, one cause for each finding.
fn status(request: &AdmissionRequest<DynamicObject>, findings: &[Finding]) -> Status {
    let message: Vec<String> = findings.iter().map(ToString::to_string).collect();
    Status {
        status: Some(StatusSummary::Failure),
        code: 422,
        message: message.join("; "),
        metadata: None,
        reason: "Invalid".into(),
        details: Some(StatusDetails {
            name: request.name.clone(),
            group: request.kind.group.clone(),
            kind: request.kind.kind.clone(),
            uid: String::new(),
            causes: findings
                .iter()
                .map(|finding| StatusCause {
                    reason: finding.code.as_str().into(),
                    // kubectl shows the causes' messages instead of the status message: the code must be there too.
                    message: format!("{}: {}", finding.code, finding.message),
                    field: finding.field.clone(),
                })
                .collect(),
            retry_after_seconds: 0,
        }),
    }
}

pub(super) fn spec(object: &DynamicObject) -> &Value {
    object.data.get("spec").unwrap_or(&Value::Null)
}

pub(super) fn annotation<'a>(object: &'a DynamicObject, name: &str) -> Option<&'a str> {
    object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

pub(super) fn namespace(request: &AdmissionRequest<DynamicObject>) -> &str {
    request.namespace.as_deref().unwrap_or_default()
}

fn add(path: &[&str], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path.iter().copied()), value })
}

fn remove(path: &[&str]) -> PatchOperation {
    PatchOperation::Remove(RemoveOperation { path: PointerBuf::from_tokens(path.iter().copied()) })
}
