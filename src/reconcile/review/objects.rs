//! Review objects: each is answered once, by the replica that leads.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::super::{Context, Error};
use crate::crd::review::{Review, ReviewReason, ReviewSpec};
use crate::domain::denial::{Denial, Interface, Request};
use crate::domain::review::{Decision, Reviewer};
use crate::domain::{Actor, Id, SpecDigests, spec_digest};
use crate::shared::{AskedReview, NotReviewed, review};

/// How often what could not be answered is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How many are kept that could not be answered; the others wait for the next list.
const MOST_WAITING: usize = 1000;
/// Objects in a page of a list.
const PAGE: u32 = 50;

/// Answers Reviews until `stop`.
pub async fn watch(context: &Context, stop: &CancellationToken) {
    let all: Api<DynamicObject> = Api::all_with(context.client.clone(), &ApiResource::erase::<Review>(&()));
    let mut events = pin!(watcher(all, watcher::Config::default().page_size(PAGE)).default_backoff());
    let mut retry = tokio::time::interval(RETRY);
    retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut waiting: Vec<DynamicObject> = Vec::new();
    loop {
        let due = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => match event {
                Some(Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object))) => vec![object],
                Some(Ok(_)) => continue,
                Some(Err(error)) => {
                    warn!(%error, "Reviews cannot be watched; trying again");
                    continue;
                }
                None => return,
            },
            _ = retry.tick() => std::mem::take(&mut waiting),
        };
        for object in due {
            if let Err(error) = answer(context, &object).await {
                let name = object.metadata.name.as_deref();
                warn!(name, %error, "a Review cannot be answered; trying again");
                if waiting.len() < MOST_WAITING {
                    waiting.push(object);
                }
            }
        }
    }
}

/// Answers one that has no answer yet.
///
/// # Errors
/// If the record or the API server does not answer. Once more does once.
pub async fn answer(context: &Context, object: &DynamicObject) -> Result<(), Error> {
    let is_answered = object.data.pointer("/status/phase").is_some_and(|phase| !phase.is_null());
    if is_answered || object.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let spec = object.data.get("spec").unwrap_or(&Value::Null);
    let status = match serde_json::from_value::<ReviewSpec>(spec.clone()) {
        Ok(understood) => decide(context, object, spec, &understood).await?,
        // Past the schema: there is none that this could be about.
        Err(error) => failed(ReviewReason::EvidenceNotFound, &format!("the spec cannot be read: {error}"), None),
    };
    write(context, object, status).await
}

async fn decide(
    context: &Context,
    object: &DynamicObject,
    spec: &Value,
    understood: &ReviewSpec,
) -> Result<Value, Error> {
    let metadata = &object.metadata;
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let digests = SpecDigests::of("Review", spec);
    let believed = context.trust().read("Review", metadata, Some(&digests));
    // The version before knew no Reviews: a seal of its form is a copy.
    let submitter = believed.submitted.filter(|_| !believed.is_v1).map(|stamps| stamps.submitter);
    let user = submitter.as_ref().map(|submitter| submitter.user.clone());
    let not_found =
        || failed(ReviewReason::EvidenceNotFound, "there is no such evidence pack of this Task", user.as_deref());
    let (Ok(evidence_pack), Some(decision)) =
        (understood.evidence_pack.parse::<Id>(), Decision::parse(&understood.decision))
    else {
        return Ok(not_found());
    };
    let read = Error::store("read what is reviewed");
    let pack = context.store.evidence_pack(evidence_pack).await.map_err(read)?;
    let Some(pack) = pack.filter(|pack| pack.namespace == namespace) else { return Ok(not_found()) };
    let task = context.store.task(pack.task_id).await.map_err(Error::store("read the Task of a review"))?;
    let is_of_it = |task: &crate::store::TaskRow| {
        task.name == understood.task.name && understood.task.uid.as_ref().is_none_or(|uid| *uid == task.uid)
    };
    if !task.as_ref().is_some_and(is_of_it) {
        return Ok(not_found());
    }
    let created_at = metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let asked = AskedReview {
        id: Id::derive(created_at, metadata.uid.as_deref().unwrap_or_default()),
        evidence_pack,
        namespace: namespace.clone(),
        subject_sha256: understood.subject_sha256.clone(),
        reviewer: Reviewer {
            groups: submitter.and_then(|submitter| submitter.groups()).unwrap_or_default(),
            user: user.clone(),
        },
        decision,
        reason: understood.reason.clone(),
        criteria_overrides: Vec::new(),
        at: context.clock.now(),
    };
    let problem = match review(&context.store, asked).await.map_err(Error::store("record a review"))? {
        Ok((decision, _)) => {
            info!(id = %decision.id, namespace, by = user, decision = %decision.decision, "review recorded");
            return Ok(json!({
                "phase": "Recorded", "reason": ReviewReason::Recorded, "id": decision.id, "reviewer": user,
                "message": "the decision is on record",
            }));
        }
        Err(problem) => problem,
    };
    if let Some(finding) = problem.finding() {
        let actor = user.as_deref().map_or_else(Actor::unverified, Actor::authenticated);
        let denial = Denial {
            interface: Interface::Kubernetes,
            uid: metadata.uid.clone().unwrap_or_default(),
            authenticated: user.is_some(),
            actor,
            submitted_by: user.clone(),
            trace_id: pack.trace_id.clone(),
            namespace,
            name: metadata.name.clone(),
            generate_name: None,
            kind: "Review".into(),
            request: Request::Create,
            findings: vec![finding],
            findings_left_out: 0,
            spec_sha256: spec_digest(spec),
            denied_at: context.clock.now(),
        };
        // Once for each object: of its uid there is one entry.
        let denials = vec![denial.bounded()];
        context.store.record_denials(denials).await.map_err(Error::store("record a review that is refused"))?;
    }
    let reason = match &problem {
        NotReviewed::Stale(_) => ReviewReason::Stale,
        NotReviewed::NotAReviewer(_) => ReviewReason::NotAllowed,
        NotReviewed::UnknownPack => ReviewReason::EvidenceNotFound,
        NotReviewed::NotOpen(_) => ReviewReason::NotUnderReview,
    };
    Ok(failed(reason, &problem.to_string(), user.as_deref()))
}

fn failed(reason: ReviewReason, message: &str, reviewer: Option<&str>) -> Value {
    json!({"phase": "Failed", "reason": reason, "message": message, "reviewer": reviewer})
}

/// Writes the answer on this state of this object, or on none. API server.
async fn write(context: &Context, object: &DynamicObject, status: Value) -> Result<(), Error> {
    let metadata = &object.metadata;
    let (namespace, name) =
        (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default());
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), namespace, &ApiResource::erase::<Review>(&()));
    let patch =
        json!({"metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version}, "status": status});
    match api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        // It is not what it was: its new state comes by the watch.
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
        other => other.map(|_| ()).map_err(Error::api("answer a Review")),
    }
}
