//! How a Task gets into the record: read whole, held against the policy, written once.

use kube::Resource as _;
use kube::api::GetParams;
use kube::core::Request;

use serde_json::Value;

use super::lost;
use super::validate::{Specification, Validated};
use crate::crd::status::DecisionAction;
use crate::crd::{TaskView, WholeTask, spec_of};
use crate::domain::Finding;
use crate::policy::Verdict;
use crate::reconcile::{Context, Error};
use crate::store::{Conflict, NewTask, NoteSpecChanges, Recording, Refusal, Shown, StoreError, TaskRow};

/// What the record says of a Task: written now if it was not there. None if the object is not the one that the watch showed:
/// it brings the news. Database, API server.
///
/// # Errors
/// If one of them does not answer.
pub async fn record(context: &Context, task: &Validated) -> Result<Option<Recording>, Error> {
    // By the uid, which nobody chooses. The id is one that the object claims, and may change.
    let row = context.store.task_by_uid(&task.head.uid).await.map_err(Error::store("read the record of a Task"))?;
    if let Some(row) = row.filter(|row| row.deleted_at.is_none() || task.head.is_being_deleted) {
        return Ok(Some(Recording::Known(Box::new(row))));
    }
    let Some(specification) = specification(context, task, true).await? else { return Ok(None) };
    record_as(context, task, specification, lost::shown(task.status.as_ref())).await.map(Some)
}

/// Records a Task again, whatever its status shows. Database, API server.
///
/// # Errors
/// If one of them does not answer.
pub async fn record_anew(
    context: &Context,
    task: &Validated,
    action: DecisionAction,
) -> Result<Option<Recording>, Error> {
    let Some(specification) = specification(context, task, action == DecisionAction::Rerun).await? else {
        return Ok(None);
    };
    record_as(context, task, specification, Shown::default()).await.map(Some)
}

/// Writes down who changed the spec since it was last looked at, before anything follows from it; none if nobody did. Database.
///
/// # Errors
/// If it does not answer.
pub async fn note_changes(context: &Context, task: &Validated, row: &TaskRow) -> Result<Option<TaskRow>, Error> {
    let noted = NoteSpecChanges {
        task_id: row.id,
        uid: task.head.uid.clone(),
        changes: task.head.changes.clone(),
        since_sealed: task.head.has_old_stamps,
    };
    if !noted.are_news(row) {
        return Ok(None);
    }
    context.store.note_spec_changes(noted).await.map(Some).map_err(Error::store("record who changed a Task"))
}

async fn record_as(
    context: &Context,
    task: &Validated,
    Specification { verdict, controls, sha256 }: Specification,
    shown: Shown,
) -> Result<Recording, Error> {
    match verdict {
        Verdict::Accepted(accepted) => {
            let new = NewTask {
                id: task.head.id,
                trace_id: task.head.trace_id.clone(),
                namespace: task.head.namespace.clone(),
                name: task.head.name.clone(),
                uid: task.head.uid.clone(),
                submitted_by: task.head.submitted_by.clone(),
                actor: task.actor.clone(),
                task: *accepted,
                executor: controls.executor,
                model: controls.model,
                delivery: controls.delivery,
                max_attempts: controls.max_attempts,
                create_cwom: controls.create_cwom,
                for_run: task.head.run,
                client: task.head.client.clone(),
                suspended: controls.suspend,
                shown,
                created_at: task.head.created_at,
                recorded_at: context.clock.now(),
            };
            context.store.record_task(new).await.map_err(Error::store("record a Task"))
        }
        Verdict::Refused(findings) => match ended_before(context, task, shown).await? {
            Some(recording) => Ok(recording),
            None => refuse(context, task, &findings, sha256).await,
        },
    }
}

/// The spec of the object, as it is now, held against the policy if it is `gated`; none if that is not the spec that the watch
/// showed, or which it showed whole. API server.
async fn specification(context: &Context, task: &Validated, gated: bool) -> Result<Option<Specification>, Error> {
    let judged = |spec: Result<Value, String>| match gated {
        true => Specification::of(&spec, &task.head, &context.policy),
        false => Specification::ungated(&spec),
    };
    if let Some(text) = &task.spec.text {
        return Ok(Some(judged(spec_of(text))));
    }
    // A spec is many times larger in memory than as text.
    let _permit = context.whole.acquire().await;
    let request = Request::new(TaskView::url_path(&(), Some(&task.head.namespace)));
    let request = request.get(&task.head.name, &GetParams::default());
    let request = request.map_err(|error| Error::api("read a Task")(kube::Error::BuildRequest(error)))?;
    let found = Error::unless_gone("read a Task", context.client.request::<WholeTask>(request).await)?;
    let Some(found) = found.filter(|found| found.metadata.uid.as_ref() == Some(&task.head.uid)) else {
        return Ok(None);
    };
    let specification = judged(found.spec());
    Ok(Some(specification).filter(|specification| specification.sha256 == task.spec.sha256))
}

/// What is to be shown of a Task that the gate refuses now, and that has ended by another way before. Database.
async fn ended_before(context: &Context, task: &Validated, shown: Shown) -> Result<Option<Recording>, Error> {
    if !(shown.has_ended && shown.by_itself) || lost::was_refused(task.status.as_ref()) {
        return Ok(None);
    }
    let removed = context.store.removed(task.head.id).await.map_err(Error::store("read the record of a Task"))?;
    Ok(Some(removed.map_or(Recording::Lost, |at| Recording::Removed { at })))
}

/// Writes down that a Task came past the webhooks and does not run. Database.
async fn refuse(
    context: &Context,
    task: &Validated,
    findings: &[Finding],
    spec_sha256: String,
) -> Result<Recording, Error> {
    let refusal = Refusal {
        id: task.head.id,
        trace_id: task.head.trace_id.clone(),
        namespace: task.head.namespace.clone(),
        name: task.head.name.clone(),
        uid: task.head.uid.clone(),
        actor: task.actor.clone(),
        findings: findings.to_vec(),
        spec_sha256,
        refused_at: context.clock.now(),
    };
    match context.store.record_refusal(refusal).await {
        Ok(findings) => Ok(Recording::Refused(findings)),
        // It claims the id of another one, or its own object is back from a backup.
        Err(StoreError::Conflict { reason: Conflict::Recorded, .. }) => {
            let row = context.store.task(task.head.id).await.map_err(Error::store("read the record of a Task"))?;
            let row = Box::new(row.ok_or(Error::Invalid("the record that it had a moment ago"))?);
            Ok(if row.uid == task.head.uid { Recording::Known(row) } else { Recording::IdTaken { by: row } })
        }
        Err(error) => Err(Error::store("record a refusal")(error)),
    }
}
