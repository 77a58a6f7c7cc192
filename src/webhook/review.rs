//! An admission request, answered. Pure: the time and the random bytes of a new trace id are passed in.

use std::sync::Arc;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, Operation};
use kube::core::response::{Status, StatusCause, StatusDetails, StatusSummary};
use serde_json::{Value, json};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{Caller, stamping};
use crate::crd::names::{FINALIZER, GROUP, ID, reserved};
use crate::crd::stamps::{Annotations, Issuer};
use crate::crd::{Trust, pinned_id};
use crate::domain::applied::{LAST_APPLIED, applied};
use crate::domain::executor::Executors;
use crate::domain::forge::Forges;
use crate::domain::model::Models;
use crate::domain::task::Controls;
use crate::domain::{Code, DeletionNote, Finding, Naming, Task};
use crate::policy::{Configured, Policy, Subject, Verdict, advice_on, configured_findings_on, judge};
use crate::shared::{Clock, Deletions};

/// Which of the webhooks is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Called first, before schema and CEL: stamps.
    Mutate,
    /// Called last, on the final object: decides.
    Validate,
    /// Called where something is deleted: notes by whom, and never refuses.
    Deletion,
}

/// Who seals what is answered to `caller`.
fn issuer(caller: Caller) -> Issuer {
    match caller {
        Caller::Authenticated => Issuer::ApiServer,
        Caller::Anonymous => Issuer::Anybody,
    }
}

/// What a review needs to know.
#[derive(Clone, Debug)]
pub struct Reviewer {
    /// What Tasks are held against.
    pub policy: Policy,
    /// What stamps are sealed with, and which are believed.
    pub trust: watch::Receiver<Arc<Trust>>,
    /// The operator itself, which creates objects for its REST clients and for Runs, and cancels Tasks: it seals those stamps
    /// itself, and they are kept if their seal holds. Nobody's stamps are taken over for a name alone.
    pub trusted_user: String,
    /// Where it is noted who deletes what.
    pub deletions: Deletions,
    /// What may do the work: whoever makes a Task that nothing can do is warned.
    pub executors: watch::Receiver<Arc<Executors>>,
    /// Which models who may ask: whoever makes a Task that would ask others is refused.
    pub models: watch::Receiver<Arc<Models>>,
    /// Where changes may be delivered: whoever makes a Task that would deliver elsewhere is refused.
    pub forges: watch::Receiver<Arc<Forges>>,
    /// By which stamps are dated.
    pub clock: Clock,
}

/// One request, and what it is reviewed with.
pub(super) struct Context<'a> {
    pub(super) trust: &'a Trust,
    pub(super) request: &'a AdmissionRequest<DynamicObject>,
    pub(super) by_operator: bool,
    pub(super) issuer: Issuer,
    pub(super) now: Timestamp,
    pub(super) random: [u8; 16],
}

/// A review's answer, and for what it is a refusal.
#[derive(Clone, Debug)]
pub struct Review {
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
    /// Answers `request` of `caller`. `random` becomes the trace id of a new object.
    ///
    /// Anything but the creation and update of one of our objects is admitted unchanged: the rules bring nothing else.
    pub fn review(
        &self,
        endpoint: Endpoint,
        caller: Caller,
        request: &AdmissionRequest<DynamicObject>,
        random: [u8; 16],
        now: Timestamp,
    ) -> Review {
        let ours = request.kind.group == GROUP && request.sub_resource.is_none();
        let subject = Subject::parse(&request.kind.kind).filter(|_| ours);
        let trust = self.trust.borrow().clone();
        let by_operator = !self.trusted_user.is_empty() && user(request) == self.trusted_user;
        let context = Context { trust: &trust, request, by_operator, issuer: issuer(caller), now, random };
        let answer = match (&request.object, subject) {
            _ if endpoint == Endpoint::Deletion => self.deletion(caller, request, now),
            (Some(object), Some(subject)) => match request.operation {
                Operation::Create => self.create(endpoint, subject, &context, object),
                Operation::Update => update(endpoint, subject, &context, object),
                Operation::Delete | Operation::Connect => admit(),
            },
            _ => admit(),
        };
        respond(request, if endpoint == Endpoint::Mutate { warned_of_copy(&context, answer) } else { answer })
    }

    fn deletion(&self, caller: Caller, request: &AdmissionRequest<DynamicObject>, now: Timestamp) -> Answer {
        // What is being deleted already is not deleted by who asks now.
        let object = request.old_object.as_ref().filter(|object| object.metadata.deletion_timestamp.is_none());
        let uid = object.and_then(|object| object.metadata.uid.as_deref());
        if let Some(uid) = uid.filter(|_| request.operation == Operation::Delete && !request.dry_run) {
            let (vouched_for, keys) = (caller == Caller::Authenticated, &self.trust.borrow().keys);
            let note = DeletionNote::new(uid, namespace(request), user(request), vouched_for, now, keys);
            note.into_iter().for_each(|note| self.deletions.note(note));
        }
        admit()
    }

    fn create(&self, endpoint: Endpoint, subject: Subject, context: &Context, object: &DynamicObject) -> Answer {
        let (mut findings, accepted) = match subject {
            Subject::Task => match judge(spec(object), Naming::CustomResource, &self.policy) {
                (Verdict::Accepted(task), controls) => (Vec::new(), Some((task, controls))),
                (Verdict::Refused(findings), _) => (findings, None),
            },
            Subject::Work(_) | Subject::Session | Subject::Review => {
                (subject.check_new(spec(object), &self.policy), None)
            }
        };
        if let Some((task, controls)) = &accepted {
            let (executors, models) = (self.executors.borrow().clone(), self.models.borrow().clone());
            let forges = self.forges.borrow().clone();
            let configured = Configured { models: Some((&executors, &models)), forges: Some(&forges) };
            let (asks, namespace) = (controls.asks(), namespace(context.request));
            findings.extend(configured_findings_on(task, asks, Naming::CustomResource, namespace, configured));
        }
        findings.extend(pinned_id(object.metadata.annotations.as_ref()).err());
        if !findings.is_empty() {
            return Answer::Refuse(findings);
        }
        match endpoint {
            Endpoint::Mutate => self.warned(context, accepted, stamp(subject, context, object)),
            Endpoint::Deletion => admit(),
            // What was stamped is what will be stored, other webhooks notwithstanding.
            Endpoint::Validate if stamping::is_submitted(context, object) => admit(),
            Endpoint::Validate => changed_stamps(crate::crd::names::SUBMITTED_BY),
        }
    }
}

impl Reviewer {
    /// The same answer, with what a Task will fail of, which may name an executor.
    fn warned(&self, context: &Context, task: Option<(Box<Task>, Controls)>, answer: Answer) -> Answer {
        match (answer, task) {
            (Answer::Admit { patch, mut warnings }, Some((task, controls))) => {
                let executors = self.executors.borrow().clone();
                let namespace = namespace(context.request);
                let named = controls.executor.as_deref();
                warnings.extend(advice_on(&task, named, Naming::CustomResource, namespace, &executors));
                Answer::Admit { patch, warnings }
            }
            (answer, _) => answer,
        }
    }
}

/// The same answer, with what client-side `kubectl apply` will fail of, if not now then after the next edit.
fn warned_of_copy(context: &Context, answer: Answer) -> Answer {
    let copy = context.request.object.as_ref().and_then(|object| annotation(object, LAST_APPLIED));
    match (answer, copy.and_then(|copy| applied(copy.len()))) {
        (Answer::Admit { patch, mut warnings }, Some(warning)) => {
            warnings.push(warning);
            Answer::Admit { patch, warnings }
        }
        (answer, _) => answer,
    }
}

/// Writes who submitted the object, whatever the manifest says about it.
fn stamp(subject: Subject, context: &Context, object: &DynamicObject) -> Answer {
    let wanted = stamping::submission(subject, context, object);
    let (mut patch, warnings) = put(object, &wanted.annotations, |name| {
        let ignored = !wanted.are_given && annotation(object, name).is_some();
        ignored.then(|| format!("metadata.annotations[{name}] is set by JCT; the given value is ignored"))
    });
    let finalizers = object.metadata.finalizers.as_deref().unwrap_or_default();
    // Nothing is recorded of a Session; a Review is recorded once, and may go.
    let is_recorded = !matches!(subject, Subject::Session | Subject::Review);
    if is_recorded && !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        let all: Vec<&str> = finalizers.iter().map(String::as_str).chain([FINALIZER]).collect();
        patch.push(add(&["metadata", "finalizers"], json!(all)));
    }
    Answer::Admit { patch, warnings: warnings.into_iter().chain(wanted.warning).collect() }
}

/// What may change is for the subject to say, and never an id; reserved annotations are put back as they were, and who
/// changes or cancels the object is noted.
fn update(endpoint: Endpoint, subject: Subject, context: &Context, object: &DynamicObject) -> Answer {
    let Some(old) = &context.request.old_object else { return admit() };
    let mut findings = subject.check_change(spec(old), spec(object));
    if annotation(old, ID) != annotation(object, ID) {
        let message = "cannot be added, changed or removed once the object is there";
        findings.push(Finding::new(Code::InvalidSpec, format!("metadata.annotations[{ID}]"), message));
    }
    if !findings.is_empty() {
        return Answer::Refuse(findings);
    }
    if endpoint == Endpoint::Validate {
        return stamping::altered(context, old, object).map_or_else(admit, changed_stamps);
    }
    let wanted = stamping::revision(subject, context, old, object);
    let (patch, warnings) = put(object, &wanted.annotations, |name| {
        let kept = !wanted.are_given && annotation(object, name) != annotation(old, name);
        kept.then(|| format!("metadata.annotations[{name}] is kept by JCT as it was"))
    });
    Answer::Admit { patch, warnings: warnings.into_iter().chain(wanted.warning).collect() }
}

fn changed_stamps(name: &str) -> Answer {
    Answer::Refuse(vec![Finding::new(
        Code::InvalidSpec,
        format!("metadata.annotations[{name}]"),
        "is not what JCT's mutating webhook wrote; is that webhook configured, and does another one change it?",
    )])
}

/// The patch by which the reserved annotations of `object` become `wanted`, and a warning for each that was given otherwise.
fn put(
    object: &DynamicObject,
    wanted: &Annotations,
    warning: impl Fn(&str) -> Option<String>,
) -> (Vec<PatchOperation>, Vec<String>) {
    let (mut patch, mut warnings) = (Vec::new(), Vec::new());
    for name in reserved() {
        let (found, value) = (annotation(object, name), wanted.get(name));
        if found == value.map(String::as_str) {
            continue;
        }
        warnings.extend(warning(name));
        match value {
            Some(value) => {
                if object.metadata.annotations.is_none() && patch.is_empty() {
                    patch.push(add(&["metadata", "annotations"], json!({})));
                }
                patch.push(add(&["metadata", "annotations", name], json!(value)));
            }
            None => patch.push(remove(&["metadata", "annotations", name])),
        }
    }
    (patch, warnings)
}

/// The refusal of `request`, which is not looked at, for `findings`.
pub(super) fn refuse(request: &AdmissionRequest<DynamicObject>, findings: Vec<Finding>) -> Review {
    respond(request, Answer::Refuse(findings))
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

pub(super) fn user(request: &AdmissionRequest<DynamicObject>) -> &str {
    request.user_info.username.as_deref().unwrap_or_default()
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
